"""How numbers stand on the pages: a true minus sign, no minus zero, and a spread on its number's line."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP, Decimal

MINUS, NO_BREAK = "\N{MINUS SIGN}", "\N{NO-BREAK SPACE}"
ZERO = re.compile(r"(?<![\w.])[-+](0(?:\.0+)?)(?![\w.])")
NEGATIVE = re.compile(r"(?<![\w.)\]}])-(?=\.?\d)")


def typeset(text: str) -> str:
    r"""A formatted number, or a text with numbers, as print has it; names and dates keep their hyphens.

    >>> typeset("-1.5 ± 0.2, 2026-11-27"), typeset("-0.0"), typeset("-0.0 to +0.0")
    ('−1.5\xa0±\xa00.2, 2026-11-27', '0.0', '0.0 to 0.0')
    """
    text = ZERO.sub(r"\1", text)  # a reader takes minus nothing for a slip
    return NEGATIVE.sub(MINUS, together(text))


def together(text: str) -> str:
    """A text whose lines never break beside ±."""
    return re.sub(r"\s?±\s?", lambda sign: sign[0].replace(" ", NO_BREAK).replace("\n", NO_BREAK), text)


def rounded(printed: str, decimals: int) -> str:
    """A printed number with fewer decimals; a five goes up, as a reader would do it.

    >>> rounded("60.65", 1), rounded("57.54", 1)
    ('60.7', '57.5')
    """
    return str(Decimal(printed).quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP))

"""Equations by their address: the label ``eq-scda-1`` is [SCDA-1] beside the formula and where a text refers to it."""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx
from sphinx.domains.math import MathDomain

NUMBER = re.compile(r'(<span class="eqno">)\(([^()<]*)\)')


def address(label: str) -> str:
    """What a label is shown as.

    >>> address("eq-scda-1"), address("eq-pool")
    ('SCDA-1', 'POOL')
    """
    return label.removeprefix("eq-").upper()


class Addressed(MathDomain):
    """Sphinx's equations with their addresses for numbers."""

    def note_equation(self, docname: str, labelid: str, location: Any = None) -> None:
        """Remember an equation by its address in the place of a number."""
        super().note_equation(docname, labelid, location)
        self.data["objects"][labelid] = (docname, address(labelid))


def in_brackets(page: str) -> str:
    """A page's HTML with the addresses beside formulas as the text writes them; Sphinx puts numbers in parentheses."""
    return NUMBER.sub(r"\1[\2]", page)


def register(app: Sphinx) -> None:
    """Put the domain in the place of Sphinx's."""
    app.add_domain(Addressed, override=True)

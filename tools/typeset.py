"""Numbers that notebooks print, set as `tools.numerals` sets those of roles."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

from tools.numerals import together, typeset

VERBATIM = (nodes.literal, nodes.literal_block, nodes.math, nodes.math_block, nodes.raw, nodes.comment)


class Typeset(SphinxPostTransform):
    """Numbers that a notebook glued or put into a table, once all of them are there; ± everywhere but in code."""

    default_priority = 10  # myst_nb fills in other pages' numbers at 5

    def apply(self, **kwargs: Any) -> None:
        """Look at each text of the page."""
        for text in list(self.document.findall(nodes.Text)):
            if not _inside(text, VERBATIM):
                numbers = "pasted-text" in text.parent.get("classes", ()) or _inside(text, (nodes.entry,))
                shown = typeset(str(text)) if numbers else together(str(text))
                if shown != str(text):
                    text.parent.replace(text, nodes.Text(shown))


def _inside(text: nodes.Text, kinds: tuple[type, ...]) -> bool:
    node = text.parent
    while node is not None and not isinstance(node, kinds):
        node = node.parent
    return node is not None


def register(app: Sphinx) -> None:
    """Add it to the book's extension."""
    app.add_post_transform(Typeset)

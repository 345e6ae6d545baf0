"""Equations by their address: the label ``eq-scda-1`` is [SCDA-1] beside the formula and where a text refers to it."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.domains.math import MathDomain
from sphinx.transforms.post_transforms import SphinxPostTransform

NAMED = re.compile(r"(\[[A-Z]+-\d+\])")
UNLINKED = (nodes.reference, nodes.literal, nodes.literal_block, nodes.title, nodes.math, nodes.math_block, nodes.raw)
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


class Links(SphinxPostTransform):
    """``[SCDA-1]`` in a text or a docstring leads to the formula."""

    default_priority = 20

    def apply(self, **kwargs: Any) -> None:
        """Look at each text of the page that is neither code nor a link already."""
        for text in list(self.document.findall(nodes.Text)):
            if NAMED.search(text) and not isinstance(text.parent, UNLINKED):
                text.parent.replace(text, [self._linked(part) for part in NAMED.split(text) if part])

    def _linked(self, part: str) -> nodes.Node:
        domain, nothing = self.env.get_domain("math"), nodes.inline()
        place = (self.env, self.env.docname, self.app.builder, "eq", f"eq-{part.strip('[]').lower()}")
        found = domain.resolve_xref(*place, addnodes.pending_xref(), nothing) if NAMED.fullmatch(part) else None
        if found is None:
            return nodes.Text(part)
        found["classes"].append("ask-equation")
        return found


def register(app: Sphinx) -> None:
    """Put the domain in the place of Sphinx's, and link what names an equation."""
    app.add_domain(Addressed, override=True)
    app.add_post_transform(Links)

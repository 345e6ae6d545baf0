"""What the records and the ledger are drawn with: Markdown tables from ``results/`` and ``book/ledger.yml``.

``{recorded-table}`` writes a table of roles, so that a record types no number and no role twice::

    ```{recorded-table}
    | row | paper, CUB | ours |
    | {0} | published SCDA/3/{1}/CUB top1 | scda_cub40/{2} top1:.1f ± scda_cub40/{2} top1 std:.1f |
    SCDA | SCDA | SCDA
    all cells | Pool5 | avg&max
    ```

The first line is the header, the second the templates, and each further line the texts that fill them. A cell's part
``NAME/value:format`` becomes a recorded number, ``published ADDRESS`` a printed one; all else stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from tools.numerals import NO_BREAK, together
from tools.project import ROOT, ToolError
from tools.results import RESULTS

LEDGER = ROOT / "book" / "ledger.yml"
PAPERS = ("SCDA", "CLP", "IA", "PCL", "ASK")
RECORDED = re.compile(r"[\w-]+/[^|±]*?:[-+]?\.(\d)[f%]")
SHOWN = ("same order", "different", "reduced")
"""Statuses that stand on a result file."""
STATUSES = (*SHOWN, "needs the data", "to come")
WHOSE = {"ours": "Ours:", "theirs": "the paper's:"}
KEYS = {"paper", "item", "what", "status", "result", "ours", "theirs", "why", "command", "page"}


def read_ledger() -> list[dict[str, str]]:
    """The entries of ``book/ledger.yml``, checked.

    Raises:
        ToolError: If an entry has an unknown key or status, or a status without what it stands on.
    """
    entries: list[dict[str, str]] = yaml.safe_load(LEDGER.read_text(encoding="utf-8"))
    for entry in entries:
        check_entry(entry)
    return entries


def check_entry(entry: Mapping[str, Any]) -> None:
    """Refuse an entry that says more than there is.

    Raises:
        ToolError: If a key is unknown, or a status lacks its result file, reason or command.
    """
    name = f"ledger, {entry.get('paper')} {entry.get('item')}"
    if unknown := set(entry) - KEYS:
        raise ToolError(f"{name}: unknown key {sorted(unknown)[0]!r}")
    if entry.get("paper") not in PAPERS or entry.get("status") not in STATUSES or not entry.get("what"):
        raise ToolError(f"{name}: needs a paper, what it shows, and a status: one of {', '.join(STATUSES)}")
    if entry["status"] in SHOWN:
        if not (RESULTS / f"{entry.get('result')}.json").is_file():
            raise ToolError(f"{name}: status {entry['status']!r} without results/{entry.get('result')}.json")
        if not entry.get("ours") or not entry.get("page"):
            raise ToolError(f"{name}: status {entry['status']!r} needs 'ours' and the 'page' that shows it")
    if entry["status"] in ("different", "reduced") and not entry.get("why"):
        raise ToolError(f"{name}: status {entry['status']!r} needs a reason under 'why'")
    if entry["status"] == "needs the data" and not entry.get("command"):
        raise ToolError(f"{name}: status 'needs the data' needs its command")


def with_roles(cell: str) -> str:
    """A cell with its numbers as roles; a spread stays on its number's line, and an interval on one."""
    if cell.startswith("published "):
        return f"{{published}}`{cell.removeprefix('published ').strip()}`"
    shown = together(RECORDED.sub(lambda match: f"{{recorded}}`{match[0]}`", cell))
    return shown.replace("` to {", f"`{NO_BREAK}to{NO_BREAK}{{")


def cells_of(line: str) -> list[str]:
    """The texts between a line's bars."""
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def table_lines(content: Sequence[str]) -> Iterator[str]:
    """The Markdown of a ``{recorded-table}``; columns of numbers are set to the right.

    Raises:
        ToolError: If there is no header or no template, they differ in length, or a column mixes decimals.
    """
    lines = [line for line in content if line.strip()]
    if len(lines) < 3:
        raise ToolError("recorded-table: expected a header, a line of templates, and at least one row")
    header, templates = cells_of(lines[0]), cells_of(lines[1])
    if len(header) != len(templates):
        raise ToolError(f"recorded-table: {len(header)} headings, but {len(templates)} templates")
    rows = [list(_filled(templates, line)) for line in lines[2:]]
    columns = list(zip(*rows, strict=True))
    for name, cells in zip(header, columns, strict=True):
        check_decimals(name, cells)
    numeric = [any(RECORDED.search(cell) or cell.startswith("published ") for cell in cells) for cells in columns]
    yield f"| {' | '.join(header)} |"
    yield f"| {' | '.join('---:' if right else '---' for right in numeric)} |"
    for row in rows:
        yield f"| {' | '.join(map(with_roles, row))} |"


def _filled(templates: Sequence[str], line: str) -> Iterator[str]:
    texts = cells_of(line)
    for template in templates:
        try:
            yield template.format(*texts)
        except IndexError:
            raise ToolError(f"recorded-table: the row {line!r} has too few texts for {template!r}") from None


def check_decimals(name: str, cells: Sequence[str]) -> None:
    """Refuse a column whose recorded numbers differ in their decimals.

    Raises:
        ToolError: If they do.
    """
    if len(found := {match[1] for cell in cells for match in RECORDED.finditer(cell)}) > 1:
        raise ToolError(
            f"recorded-table: the column {name!r} mixes numbers with {' and '.join(sorted(found))} decimals"
        )


def ledger_lines(paper: str, entries: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """The Markdown of a paper's part of the ledger: what it shows, and what became of it."""
    done = sum(entry["status"] in SHOWN for entry in entries)
    yield from (f"{done} of {len(entries)} shown.", "")
    yield from (f"| {paper} | what it shows | here |", "| --- | --- | --- |")
    for entry in entries:
        yield f"| {entry['item'].replace(' ', NO_BREAK)} | {entry['what']} | {outcome(entry)} |"


def outcome(entry: Mapping[str, str]) -> str:
    """An entry's status in words, with its reason or command, and its numbers where it has some."""
    status = entry["status"].replace(" ", NO_BREAK)
    status = f"[{status}]({entry['page']})" if entry.get("page") else status
    note = entry.get("why") or (f"`{entry['command']}`" if entry.get("command") else "")
    numbers = [f"{whose} {with_roles(entry[key])}" for key, whose in WHOSE.items() if entry.get(key)]
    return ". ".join([f"{status}: {note}" if note else status, *filter(None, ["; ".join(numbers)])])


class Drawn(SphinxDirective):
    """A directive whose content is Markdown that it makes itself."""

    has_content = True

    def lines(self) -> Iterator[str]:
        """The Markdown."""
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        """Parse what `lines` gives, in the page's own syntax."""
        try:
            lines = list(self.lines())
        except ToolError as error:
            return [self.state.document.reporter.error(str(error), line=self.lineno)]
        box = nodes.container(classes=["ask-recorded"])
        self.state.nested_parse(StringList(lines, source="recorded"), self.content_offset, box)
        return [box]


class RecordedTable(Drawn):
    """``{recorded-table}``: see the module."""

    def lines(self) -> Iterator[str]:
        """The table's Markdown."""
        for name in sorted({match[0].partition("/")[0] for match in RECORDED.finditer("\n".join(self.content))}):
            self.env.note_dependency(str(RESULTS / f"{name}.json"))
        return table_lines(list(self.content))


class Ledger(Drawn):
    """``{ledger} SCDA``: a paper's entries of ``book/ledger.yml``."""

    required_arguments = 1

    def lines(self) -> Iterator[str]:
        """The table's Markdown."""
        self.env.note_dependency(str(LEDGER))
        (paper,) = self.arguments
        if paper not in PAPERS:
            raise ToolError(f"ledger: no paper {paper!r}; there are {', '.join(PAPERS)}")
        return ledger_lines(paper, [entry for entry in read_ledger() if entry["paper"] == paper])


def register(app: Sphinx) -> None:
    """Add both directives to the book's extension."""
    app.add_directive("recorded-table", RecordedTable)
    app.add_directive("ledger", Ledger)

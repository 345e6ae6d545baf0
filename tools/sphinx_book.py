"""The book's Sphinx extension.

* a chapter's page is rendered from its executed copy (``_build/executed/PROFILE``), never executed again;
* a line under each chapter's title opens it in Colab, where the repository's address is set;
* sliders' saved state is slimmed: code once for the book, frames as image files;
* ``{published}`` shows a number that a paper printed, from one data file;
* nothing is loaded from another host: sphinx_thebe is unhooked, MathJax comes from its package.
"""

from __future__ import annotations

import html
import importlib.metadata
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util import logging
from sphinx.util.typing import ExtensionMetadata

from ask_lib.errors import ChoiceError
from tools import equations, panels, records, typeset
from tools.cover import draw_cover
from tools.project import BUILD, FRAMES, ToolError, executed_path
from tools.records import Drawn
from tools.results import printed, result_text
from tools.static_widgets import bundle, slim_notebook

LOGGER = logging.getLogger(__name__)
ASSETS = BUILD / "assets"
COLAB = "https://colab.research.google.com/github"
GITHUB = "https://github.com/"
# The parts of MathJax that a page can ask for; the package also has other inputs and outputs.
MATHJAX_PARTS = ("tex-mml-chtml.js", "tex-chtml.js", "output/chtml", "input/tex/extensions", "a11y", "sre", "ui")
NOT_SET = "They have no Colab links: `make repository URL=...` sets the repository's address."


def repository_url(config: Config) -> str:
    """The repository's address, ``repository.url`` in ``_config.yml``; empty where it is not set.

    The chapters carry the same address in their first cell, so a link made from anything else would open a notebook
    that cannot install the library.
    """
    url = str((config.html_theme_options or {}).get("repository_url") or "")
    return url.removesuffix("/").removesuffix(".git")


def colab_line(config: Config, page: str) -> str:
    """The Markdown of the Colab link of one notebook page; empty where no address is set."""
    url = repository_url(config)
    if not url.startswith(GITHUB):
        return ""
    branch = config.html_theme_options.get("repository_branch") or "main"
    return f"[Open in Colab]({COLAB}/{url.removeprefix(GITHUB)}/blob/{branch}/{page}){{.ask-colab}}"


def _set_theme_buttons(app: Sphinx, config: Config) -> None:
    """One address for all of the theme's buttons; none of them where it is not set."""
    url = repository_url(config)
    options = config.html_theme_options
    options["repository_url"] = url
    for name in ("use_repository_button", "use_issues_button", "use_edit_page_button"):
        options[name] = bool(url.startswith(GITHUB) and options.get(name))
    if not url.startswith(GITHUB):
        options["launch_buttons"] = {}


def _make_asset_folder(app: Sphinx, config: Config) -> None:
    """Sphinx checks its static folders before any of them can be filled."""
    ASSETS.mkdir(parents=True, exist_ok=True)


def _unhook_thebe(app: Sphinx, config: Config) -> None:
    """Jupyter Book always loads sphinx_thebe, whose script names a CDN."""
    for name, listeners in app.events.listeners.items():
        kept = [item for item in listeners if not item.handler.__module__.startswith("sphinx_thebe")]
        app.events.listeners[name] = kept
    app.registry.css_files[:] = [item for item in app.registry.css_files if item[0] != "sphinx-thebe.css"]


def _make_assets(app: Sphinx) -> None:
    """Write what the pages load and git does not hold: the sliders' script, their style, the drawn figures."""
    (ASSETS / "ask-explorer.js").write_text(bundle(), encoding="utf-8")
    import ask_lib.show

    style = Path(ask_lib.show.__path__[0]) / "explorer.css"
    shutil.copyfile(style, ASSETS / "ask-explorer.css")
    draw_cover(ASSETS / "cover.png")


def _read_executed(app: Sphinx, docname: str, source: list[str]) -> None:
    """Put the executed copy in the place of a notebook's source."""
    path = Path(app.env.doc2path(docname))
    if path.suffix != ".ipynb":
        return
    profile = app.config.ask_profile
    executed = executed_path(path, profile)
    app.env.note_dependency(str(executed))
    if not executed.is_file():
        LOGGER.warning("%s is not executed for profile %s: run `make book`", docname, profile, type="ask")
        return
    notebook = json.loads(executed.read_text(encoding="utf-8"))
    notebook = slim_notebook(notebook, FRAMES, _to_root(docname) + "_static/frames/")
    _add_head(notebook, app, path.relative_to(app.srcdir).as_posix())
    source[0] = json.dumps(notebook)


def _to_root(docname: str) -> str:
    return "../" * docname.count("/")


def _add_head(notebook: dict[str, Any], app: Sphinx, page: str) -> None:
    """The line under a chapter's title."""
    if not (line := colab_line(app.config, page)):
        return
    cell = next(cell for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    title, blank, rest = "".join(cell["source"]).partition("\n\n")
    cell["source"] = f"{title}\n\n{line}{blank}{rest}"


class BuildLine(Drawn):
    """``{build-line}``: how these pages were made."""

    def lines(self) -> Iterator[str]:
        """The profile, and why there are no Colab links where there are none."""
        yield f"These pages show a run of the `{self.config.ask_profile}` profile."
        if not repository_url(self.config).startswith(GITHUB):
            yield NOT_SET


def recorded_role(
    name: str, rawtext: str, text: str, lineno: int, inliner: Any, options: Any = None, content: Any = None
) -> tuple[list[nodes.Node], list[nodes.system_message]]:
    """``{recorded}`NAME/value:.2f``` shows a value of ``results/NAME.json``; its tooltip says which run."""
    try:
        number, where = result_text(text)
    except (ToolError, ValueError) as error:
        message = inliner.reporter.error(str(error), line=lineno)
        return [inliner.problematic(rawtext, rawtext, message)], [message]
    return [_sourced(rawtext, number, where)], []


def _sourced(rawtext: str, number: str, where: str) -> nodes.raw:
    """A number with its source. Focusable, so that a tap or the Tab key shows it too: a title needs a mouse."""
    shown, source = html.escape(number), html.escape(where)
    markup = f'<abbr class="ask-published" tabindex="0" title="{source}" aria-label="{shown} ({source})">{shown}</abbr>'
    return nodes.raw(rawtext, markup, format="html")


def published_role(
    name: str, rawtext: str, text: str, lineno: int, inliner: Any, options: Any = None, content: Any = None
) -> tuple[list[nodes.Node], list[nodes.system_message]]:
    """``{published}`PAPER/table/row/column``` shows the number; its tooltip says where it was printed."""
    try:
        node = _sourced(rawtext, *printed(text))
    except ChoiceError as error:
        message = inliner.reporter.error(str(error), line=lineno)
        return [inliner.problematic(rawtext, rawtext, message)], [message]
    return [node], []


def _copy_mathjax(app: Sphinx, error: Exception | None) -> None:
    """Copy the parts of MathJax that the pages can load from its Python package."""
    if error is not None:
        return
    source, target = mathjax_folder(), Path(app.outdir) / "_static" / "mathjax"
    for part in MATHJAX_PARTS:
        if (source / part).is_dir():
            shutil.copytree(source / part, target / part, dirs_exist_ok=True)
        elif (source / part).is_file():
            target.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / part, target / part)


def mathjax_folder() -> Path:
    """MathJax 3 as the package sphinx-mathjax-offline installs it."""
    files = importlib.metadata.files("sphinx-mathjax-offline") or []
    core = next(item for item in files if item.name == "tex-chtml.js")
    return Path(str(core.locate())).parent


def named(page: str) -> str:
    """A page's HTML with equations' addresses in brackets, and the names that its makers leave out or write over.

    References are no list items (docutils). Folding parts of the sidebar have no name; a button that shows "Search
    Ctrl+K" is called "Search", and the colour mode's icons name it anew (pydata-sphinx-theme). A folded solution is
    called "Toggle hidden content" whatever its title (myst_nb).
    """
    page = equations.in_brackets(page).replace('role="doc-biblioentry"', 'role="listitem"')
    page = page.replace('<summary aria-label="Toggle hidden content">', "<summary>")
    page = re.sub(r"(>([^<]*)</a><details[^>]*><summary)>", r'\1 aria-label="Pages below \2">', page)
    page = re.sub(r'(<i class="theme-switch [^>]*) title="[^"]*">', r'\1 aria-hidden="true">', page)
    return re.sub(r'(search-button-field [^>]*) aria-label="Search"', r"\1", page)


def _name_parts(app: Sphinx, error: Exception | None) -> None:
    for path in Path(app.outdir).rglob("*.html"):
        page = path.read_text(encoding="utf-8")
        if named(page) != page:
            path.write_text(named(page), encoding="utf-8")


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register all of it."""
    app.add_config_value("ask_profile", os.environ.get("ASK_PROFILE", "book"), "env")
    app.add_role("published", published_role)
    app.add_role("recorded", recorded_role)
    for part in (records, panels, typeset, equations):
        part.register(app)
    app.add_directive("build-line", BuildLine)
    app.connect("config-inited", _set_theme_buttons, priority=100)
    app.connect("config-inited", _make_asset_folder, priority=100)
    app.connect("config-inited", _unhook_thebe)
    app.connect("builder-inited", _make_assets, priority=100)
    app.connect("source-read", _read_executed)
    app.connect("build-finished", _copy_mathjax)
    app.connect("build-finished", _name_parts)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}

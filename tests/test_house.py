"""The house rules that a reader relies on, held by reading the files."""

from __future__ import annotations

import ast
import importlib
import inspect
import io
import json
import logging
import re
import subprocess
import sys
import tokenize
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from tests.chapter import in_markdown
from tests.conftest import ROOT
from tools.notebooks import INSTALLER, INSTALLER_CELL, assigned, check, configured_address, dump, parameters_cell, tidy
from tools.project import CAP_SECONDS, ToolError, notebooks, read_json

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

# Who may import whom: package -> packages of ask_lib that it may use besides itself.
ARROWS = {
    "errors": set(),
    "checks": {"errors"},
    "reproduce": {"errors", "checks"},
    "files": {"errors", "checks"},
    "results": {"errors", "checks", "files", "reproduce"},
    "command": {"errors"},
    "methods": {"errors", "checks"},
    "data": {"errors", "checks", "reproduce", "files", "results", "methods", "ask_scenes"},
    "models": {"errors", "checks", "reproduce", "files", "results", "methods", "data.download"},
    "evaluate": {"errors", "checks", "reproduce", "files", "results", "methods"},
    "represent": {"errors", "checks", "reproduce", "files", "results", "methods", "data", "models", "evaluate"},
    "train": {
        "errors", "checks", "reproduce", "files", "results", "methods", "data", "models", "evaluate", "represent",
        "command", "ask_scenes",
    },
    "show": {"errors", "checks", "files", "methods"},
    "ask_scenes": {"errors", "checks", "files", "command"},
}  # fmt: skip
OURS = ("ask_lib", "ask_scenes", "experiments", "tools")


def tracked(*suffixes: str) -> list[Path]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    paths = [ROOT / name for name in names if not suffixes or name.endswith(suffixes)]
    return [path for path in paths if path.is_file()]


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in found if name.split(".")[0] in OURS and name != "ask_lib"}


def forbidden(package: str, imported: set[str]) -> set[str]:
    allowed = ARROWS[package] | {package}
    inside = {name.removeprefix("ask_lib.") for name in imported if name.split(".")[0] in ("ask_lib", "ask_scenes")}
    bad = {name for name in inside if not any(name == a or name.startswith(a + ".") for a in allowed)}
    # `from ask_lib.data import download` names both the package and the module: the module decides.
    bad = {name for name in bad if not any(a.startswith(name + ".") for a in allowed)}
    return bad | {name for name in imported if name.split(".")[0] in ("tools", "experiments")}


def modules_of(*packages: str) -> list[Path]:
    return sorted(path for package in packages for path in (ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("path", modules_of("ask_lib", "ask_scenes"), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_run_downwards_only(path: Path):
    package, *parts = path.relative_to(ROOT).with_suffix("").parts
    if package == "ask_lib" and parts == ["__init__"]:
        assert imports_of(path) == set()
        return
    assert forbidden(parts[0] if package == "ask_lib" else package, imports_of(path)) == set()


def test_an_import_that_runs_up_would_be_seen():
    assert forbidden("methods", {"ask_lib.data.image_folder"}) == {"data.image_folder"}
    assert forbidden("models", {"ask_lib.data.download", "ask_lib.data.image_folder"}) == {"data.image_folder"}
    assert forbidden("show", {"tools.project"}) == {"tools.project"}
    assert forbidden("train", {"experiments.scda"}) == {"experiments.scda"}
    assert forbidden("ask_scenes", {"ask_scenes.rooms", "ask_lib.models.small"}) == {"models.small"}
    assert forbidden("methods", {"ask_scenes.rooms"}) == {"ask_scenes.rooms"}


def test_importing_the_library_loads_torch_and_numpy_only_and_changes_nothing():
    code = (
        "import sys, torch, numpy; before = set(sys.modules); state = torch.get_rng_state().sum().item();"
        "flags = (torch.backends.cudnn.benchmark, torch.get_num_threads(), torch.get_default_dtype());"
        "import ask_lib, ask_lib.reproduce, ask_lib.methods.scda, ask_lib.show.record;"
        "new = {name.split('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names);"
        "assert new == {'ask_lib'}, new;"
        "assert state == torch.get_rng_state().sum().item();"
        "assert flags == (torch.backends.cudnn.benchmark, torch.get_num_threads(), torch.get_default_dtype())"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd="/")


# --- dependencies -------------------------------------------------------------------------------------------------


def pins() -> dict[str, list[Requirement]]:
    found: dict[str, list[Requirement]] = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        requirement = Requirement(line)
        found.setdefault(requirement.name.lower(), []).append(requirement)
    return found


def requirements() -> list[Requirement]:
    project = PYPROJECT["project"]
    texts = [*project["dependencies"], *(text for extra in project["optional-dependencies"].values() for text in extra)]
    return [Requirement(text) for text in texts]


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_each_requirement_has_a_pin_that_satisfies_it(requirement: Requirement):
    pinned = pins()[requirement.name.lower()]
    for pin in pinned:
        (specifier,) = pin.specifier
        assert specifier.operator == "=="
        assert requirement.specifier.contains(specifier.version)


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_the_package_has_lower_bounds_only(requirement: Requirement):
    operators = {specifier.operator for specifier in requirement.specifier}
    allowed = {">=", "<"} if requirement.name == "jupyter-book" else {">="}
    assert operators <= allowed and ">=" in operators


@pytest.mark.parametrize("name", ["torch", "torchvision", "numpy", "jupyter-book", "papermill", "ipywidgets", "pytest"])
def test_the_installed_versions_are_the_pinned_ones(name: str):
    wanted = [pin for pin in pins()[name] if pin.marker is None or pin.marker.evaluate()]
    assert [str(pin.specifier) for pin in wanted] == [f"=={version(name).split('+')[0]}"]


def test_environment_yml_agrees_with_the_package():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    pip = next(item["pip"] for item in environment["dependencies"] if isinstance(item, dict))
    python = next(item for item in environment["dependencies"] if str(item).startswith("python="))
    assert Requirement(f"x{PYPROJECT['project']['requires-python']}").specifier.contains(python.removeprefix("python="))
    assert "--constraint constraints.txt" in pip
    extras = re.fullmatch(r"--editable \.\[(.*)\]", next(item for item in pip if "editable" in item))
    assert extras and set(extras[1].split(",")) <= set(PYPROJECT["project"]["optional-dependencies"])
    makefile_default = re.search(r'default="([a-z,]+)"', (ROOT / "tools" / "environment.py").read_text())
    assert makefile_default and makefile_default[1] == extras[1]


def test_the_extras_are_those_promised():
    assert {"book", "test", "docs"} <= set(PYPROJECT["project"]["optional-dependencies"])


# --- files --------------------------------------------------------------------------------------------------------


def test_no_file_names_a_registry_host_or_a_path_of_a_machine():
    bad = re.compile(r"(?<!no-emit-)index-url|files\.pythonhosted|pypi\.org/simple|/root/|/work/main|/tmp/wt")
    seen = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in tracked(".py", ".toml", ".txt", ".yml", ".yaml", ".md", ".ipynb", ".cff", "Makefile", "run")
        if path != Path(__file__).resolve() and (match := bad.search(path.read_text()))
    ]
    assert seen == []


def test_no_large_file_and_no_foreign_script_is_committed():
    large = [str(path.relative_to(ROOT)) for path in tracked() if path.stat().st_size > 4_000_000]
    scripts = {str(path.relative_to(ROOT)) for path in tracked(".js", ".mjs")}
    assert large == []
    assert scripts <= {"ask_lib/show/explorer.js", "book/style/offline.js"}


OF_THE_PAPERS = {  # what the papers bring beside the frame, and each method's budget in lines
    "SCDA": (620, "methods/scda.py methods/encoding.py"),
    "ASK": (
        1937,
        "methods/dlfs.py methods/hha.py models/ask.py models/two_stream.py data/rgbd.py data/nyudv2.py data/sunrgbd.py "
        "evaluate/keypoints.py train/tasks/ask.py",
    ),
    "CLP": (350, "methods/cross_layer_pooling.py represent/cross_layer.py"),
    "IA": (500, "methods/interactive.py represent/interactive.py"),
}


def test_the_library_stays_small():
    library = ROOT / "ask_lib"
    lines = {
        path.relative_to(library).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in tracked(".py")
        if path.is_relative_to(library)
    }
    for paper, (budget, files) in OF_THE_PAPERS.items():
        own = {name: lines.pop(name) for name in files.split()}
        assert sum(own.values()) < budget, (paper, own)
    largest = sorted(lines, key=lines.__getitem__)[-8:]
    assert sum(lines.values()) < 6920, {name: lines[name] for name in largest}


def test_the_workflows_and_the_hooks_are_valid_yaml_with_least_rights():
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        workflow = yaml.safe_load(path.read_text())
        assert workflow["permissions"] == {"contents": "read"}, path.name
    yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())


PINNED = re.compile(r"uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")


def loose_actions(workflow: str) -> list[str]:
    """Lines that use an action by anything but a whole commit with its version beside it."""
    lines = [line.strip().removeprefix("- ") for line in workflow.splitlines()]
    return [line for line in lines if line.startswith("uses:") and not PINNED.fullmatch(line)]


def test_the_workflows_pin_actions_by_commit():
    workflows = [path.read_text() for path in (ROOT / ".github").rglob("*.yml")]
    assert sum(text.count("uses:") for text in workflows) > 5
    assert [line for text in workflows for line in loose_actions(text)] == []


@pytest.mark.parametrize("ref", ["v4", "main", "11bd719", "11bd71901bbe5b1630ceea73d27597364c9af683"])
def test_an_action_that_is_not_pinned_would_be_seen(ref: str):
    assert loose_actions(f"steps:\n  - uses: actions/checkout@{ref}\n") != []


@pytest.mark.parametrize(
    "command",
    [
        ["check-jsonschema", "--builtin-schema", "vendor.github-workflows", "{workflows}"],
        ["zizmor", "--offline", "--quiet", ".github"],
    ],
    ids=["schema", "security"],
)
def test_the_workflows_pass_their_linters(command: list[str]):
    workflows = [str(path) for path in sorted((ROOT / ".github" / "workflows").glob("*.yml"))]
    expanded = [part for item in command for part in (workflows if item == "{workflows}" else [item])]
    program = Path(sys.executable).with_name(expanded[0])
    result = subprocess.run([program, *expanded[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_citation_and_package_agree_on_the_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == version("ask-lib")


# --- notebooks and prose ------------------------------------------------------------------------------------------


def test_notebooks_are_committed_tidy():
    assert check(notebooks()) == []


@pytest.mark.parametrize("path", notebooks(), ids=lambda p: p.stem)
def test_a_chapter_starts_with_a_title_its_settings_and_the_installer(path: Path, caplog: pytest.LogCaptureFixture):
    cells = read_json(path)["cells"]
    assert "".join(cells[0]["source"]).startswith("# ")
    settings, installer = [cell for cell in cells if cell["cell_type"] == "code"][:2]
    assert "parameters" in settings["metadata"]["tags"] and installer == INSTALLER_CELL
    found = assigned(settings)
    assert found["REPOSITORY"] == configured_address() and found["PROFILE"] == "book"

    import papermill

    with caplog.at_level(logging.WARNING):
        assert set(papermill.inspect_notebook(path)) == set(found)
    assert caplog.messages == []


def test_the_installer_is_ten_lines_and_never_brings_torch():
    assert len([line for line in INSTALLER.splitlines() if line]) <= 10
    assert {"torch", "torchvision", "numpy"} <= set(re.findall(r'"(\w+)"', INSTALLER))


@pytest.mark.parametrize(
    "source",
    ["import os", "print(1)", "N = len('a')", "N: int = 1", "if True:\n    N = 1", "N = ", "a.b = 1", "A = B = 1"],
)
def test_anything_but_assignments_among_the_settings_would_be_seen(tmp_path: Path, source: str):
    notebook = read_json(notebooks()[0])
    settings = parameters_cell(notebook, "")
    settings["source"] = ["".join(settings["source"]), f"\n{source}"]
    (tmp_path / "loose.ipynb").write_text(dump(notebook))
    with pytest.raises(ToolError, match="assignments of plain values only"):
        check([tmp_path / "loose.ipynb"])


@pytest.mark.parametrize("change", ["edited", "moved", "missing"])
def test_another_installer_would_be_seen_and_is_mended(tmp_path: Path, change: str):
    notebook = read_json(notebooks()[0])
    place = notebook["cells"].index(INSTALLER_CELL)
    cell = notebook["cells"].pop(place)
    if change == "edited":
        notebook["cells"].insert(place, {**cell, "source": ["!pip install torch"]})
    elif change == "moved":
        notebook["cells"].append(cell)
    path = tmp_path / "other.ipynb"
    path.write_text(dump(notebook))
    assert check([path]) == ["other.ipynb"]
    assert dump(tidy(read_json(path), configured_address())) == notebooks()[0].read_text()


def test_outputs_and_a_foreign_address_would_be_seen(tmp_path: Path):
    notebook = read_json(notebooks()[0])
    code = next(cell for cell in notebook["cells"] if cell["cell_type"] == "code")
    code["execution_count"] = 3
    path = tmp_path / "dirty.ipynb"
    path.write_text(dump(notebook))
    assert check([path]) == ["dirty.ipynb"]
    clean = tidy(notebook, "https://github.com/owner/name")
    assert 'REPOSITORY = "https://github.com/owner/name"' in "".join(
        next(cell for cell in clean["cells"] if cell["cell_type"] == "code")["source"]
    )


NOT_PROSE = re.compile(r"\$\$.*?\$\$|\$[^$\n]+\$|\{[\w:]+\}`[^`]*`|`[^`\n]*`|\(https?://[^)]*\)|<[^>]+>", re.DOTALL)
TYPED = re.compile(r"\d+\.\d+|\d+(?:\.\d+)?\s?(?:%|percent\b|per cent)")


def prose_of(markdown: str) -> str:
    """Markdown less math, code, roles and links' addresses; directives like admonitions keep their text."""
    code = re.sub(r"^```(?!\{(?:note|tip|warning|admonition|important|dropdown)).*?^```\s*$", " ", markdown,
                  flags=re.MULTILINE | re.DOTALL)  # fmt: skip
    return NOT_PROSE.sub(" ", code)


def all_markdown() -> list[tuple[str, str]]:
    pages = [(path.name, path.read_text()) for path in sorted((ROOT / "book").rglob("*.md"))]
    return pages + [(path.name, text) for path in notebooks() for text in in_markdown(read_json(path))]


@pytest.mark.parametrize(("name", "text"), all_markdown(), ids=lambda value: value[:24].replace("\n", " "))
def test_no_result_is_typed_into_prose(name: str, text: str):
    typed = [match[0] for match in TYPED.finditer(prose_of(text)) if match[0] not in ("3.11",)]
    assert typed == [], name


@pytest.mark.parametrize("fault", ["It reaches 59.72 there.", "about 60 % of them", "12 percent", "| row | 0.9 |"])
def test_a_typed_result_would_be_seen(fault: str):
    assert TYPED.search(prose_of(fault))


@pytest.mark.parametrize(
    "fine", ["$0.5$", "`3.11`", "{glue:text}`a:.2f`", "```python\nx = 0.5\n```", "[a](https://x.y/1.2)"]
)
def test_math_code_and_roles_are_not_prose(fine: str):
    assert not TYPED.search(prose_of(fine))


# --- equations ----------------------------------------------------------------------------------------------------

TAG = re.compile(r"\[([A-Z]+-\d+)\]")
METHODS = [
    *sorted((ROOT / "ask_lib" / "methods").glob("*.py")),
    ROOT / "ask_lib" / "models" / "ask.py",
    ROOT / "ask_lib" / "represent" / "interactive.py",
]


def tags_of(code: str) -> tuple[set[str], set[str]]:
    """The equations that a file names anywhere, and those that stand beside a line that computes something."""
    beside, busy = set(), 0  # busy: the last line on which there was code
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        if token.type == tokenize.COMMENT and token.start[0] == busy:
            beside |= set(TAG.findall(token.string))
        elif token.type in (tokenize.NAME, tokenize.OP, tokenize.NUMBER):
            busy = token.end[0]
    return set(TAG.findall(code)), beside


@pytest.mark.parametrize("path", METHODS, ids=lambda path: path.stem)
def test_each_equation_stands_on_a_line_that_computes_it(path: Path):
    named, beside = tags_of(path.read_text())
    assert named == beside


def test_a_tag_in_a_docstring_or_a_comment_alone_would_be_seen():
    assert tags_of('def f(x):\n    """[NWP-1]"""\n    # [NWP-2]\n    return x  # [NWP-3]\n') == (
        {"NWP-1", "NWP-2", "NWP-3"}, {"NWP-3"},
    )  # fmt: skip
    assert tags_of('"""[NWP-1]"""  # [NWP-1]\n')[1] == set()


def test_each_equation_of_the_code_has_its_label_in_the_book_and_back():
    by_file = {path: tags_of(path.read_text())[1] for path in METHODS}
    labels = [label for _, text in all_markdown() for label in re.findall(r"\(eq-([a-z]+-\d+)\)", text)]
    assert sorted(tag.lower() for tags in by_file.values() for tag in tags) == sorted(labels)
    assert len(labels) == len(set(labels)) > 0


# --- the pages of the library --------------------------------------------------------------------------------------

AUTO = re.compile(r"^\.\. auto(module|class|function):: ([\w.]+)\n(?:   :members:(.*)\n)?", re.MULTILINE)


WHAT_IS_DRAWN = {"Scene", "scene_of", "content_hash", "Layout", "layout_of"}  # parts of a drawing, for who changes it


def listed() -> set[tuple[str, str]]:
    """What the pages list, as (module, name); the name is ``*`` where all of a module is listed."""
    found = set()
    for page in (ROOT / "book").glob("api_*.md"):
        for kind, name, members in AUTO.findall(page.read_text()):
            if kind == "module":
                found |= {(name, each.strip()) for each in (members.strip() or "*").split(",")}
            else:
                found.add(tuple(name.rsplit(".", 1)))
    return found


def test_what_the_pages_list_is_there():
    for module, name in listed():
        assert name == "*" or hasattr(importlib.import_module(module), name), f"{module}.{name}"


@pytest.mark.parametrize("package", ["ask_lib.represent", "ask_lib.train", "ask_scenes.rooms", "ask_scenes.objects"])
def test_what_a_package_offers_is_listed(package: str):
    module, pages = importlib.import_module(package), listed()
    for name in module.__all__:
        thing = getattr(module, name)
        if (inspect.isfunction(thing) or inspect.isclass(thing)) and name not in WHAT_IS_DRAWN:
            assert {(thing.__module__, name), (thing.__module__, "*"), (package, name)} & pages, name


@pytest.mark.parametrize("package", ["methods", "evaluate"])
def test_a_file_that_holds_methods_is_listed_whole(package: str):
    names = {f"ask_lib.{package}.{path.stem}" for path in modules_of(f"ask_lib/{package}") if path.stem != "__init__"}
    assert names <= {module for module, name in listed() if name == "*"}


def test_how_long_a_chapter_may_take_is_told():
    told = (ROOT / "book" / "how_to_read.md").read_text()
    for profile, seconds in CAP_SECONDS.items():
        (row,) = re.findall(rf"^\| `{profile}` \|.*", told, re.MULTILINE)
        limit = f"{seconds:g} seconds" if seconds < 600 else f"{seconds / 60:g} minutes"
        assert f"at most {limit} a chapter" in row or seconds == float("inf")


def test_published_numbers_are_texts_with_their_own_digits():
    data = json.loads((ROOT / "ask_lib" / "show" / "published.json").read_text())
    for tables in data["papers"].values():
        for table in tables.values():
            for row in table["rows"].values():
                assert len(row) == len(table["columns"])
                assert all(value is None or re.fullmatch(r"\d+(\.\d+)?", value) for value in row)

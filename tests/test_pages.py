"""The rendered pages in a headless Chromium, opened from the disk: what book.md promises, on every page."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from ask_lib.show.record import recorded_values
from tests.browser import Visit, open_browser, open_page
from tools.notebooks import configured_address
from tools.numerals import typeset
from tools.project import executed_path, notebooks, read_json, site_path, toc_pages

pytestmark = pytest.mark.browser
SITE = site_path("smoke")
PAGES = [*toc_pages(), "search", "genindex"]
START = SITE / "notebooks" / "00_start_here.html"
AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    assert (SITE / "index.html").is_file(), "make test renders the smoke profile before pytest"
    with open_browser() as running:
        yield running


def settled(visit: Visit) -> Visit:
    """The page after its formulas are set and its sliders drawn."""
    visit.page.wait_for_function("() => !window.MathJax || (window.MathJax.startup && window.MathJax.startup.document)")
    visit.page.wait_for_function(
        "() => [...document.querySelectorAll('script[type*=widget-view]')].length <= "
        "document.querySelectorAll('.ask-explorer').length"
    )
    visit.page.evaluate("() => document.querySelectorAll('img').forEach(image => { image.loading = 'eager'; })")
    visit.page.wait_for_function("() => [...document.querySelectorAll('article img')].every(image => image.complete)")
    visit.page.evaluate("() => window.MathJax && window.MathJax.startup ? window.MathJax.startup.promise : null")
    return visit


@pytest.mark.parametrize("page", PAGES)
def test_a_page_keeps_the_promises(browser: Any, page: str):
    """One load a page: light, dark, and as narrow as a phone."""
    with open_page(SITE / f"{page}.html", browser) as visit:
        settled(visit)
        assert visit.page.evaluate(BAD_IMAGES) == []
        for mode in ("light", "dark"):
            visit.page.emulate_media(color_scheme=mode)
            visit.page.wait_for_function("mode => document.documentElement.dataset.theme === mode", arg=mode)
            assert visit.overflow() <= 0, "the page scrolls sideways"
            contrast, where = visit.page.evaluate(LEAST_CONTRAST)
            assert contrast >= 4.5, f"{mode}: {where}"
            assert grave(visit, colours=True) == [], mode
        visit.page.emulate_media(color_scheme="light")
        assert grave(visit) == []
        visit.page.set_viewport_size({"width": 390, "height": 844})
        assert visit.overflow() <= 0, "the page scrolls sideways on a phone"
        assert visit.foreign() == []
        assert visit.problems == []


def grave(visit: Visit, colours: bool = False) -> list[str]:
    """What axe-core calls critical or serious: of the colours, or of all else.

    With a rule that axe leaves out by default: a name must not hide what is written.
    """
    visit.page.evaluate("source => { window.axe || window.eval(source); }", AXE)
    rules = {"color-contrast": {"enabled": False}, "label-content-name-mismatch": {"enabled": True}}
    options: dict[str, Any] = {"runOnly": ["color-contrast", "link-in-text-block"]} if colours else {"rules": rules}
    options |= {"resultTypes": ["violations"], "preload": False}
    script = ONE_TEXT_A_COLOUR if colours else "options => axe.run(options)"
    found = visit.page.evaluate(script, options)
    return [
        f"{one['id']}: {node['html'][:200]}"
        for one in found["violations"]
        if one["impact"] in ("critical", "serious")
        for node in one["nodes"]
    ]


# A page of code has thousands of coloured words, each of which axe weighs; one of each colour on each ground tells as
# much in a tenth of the time. Links are all looked at.
ONE_TEXT_A_COLOUR = """async options => {
  await new Promise(done => setTimeout(done, 300));  // colours fade from one mode to the other
  const ground = el => { for (; el; el = el.parentElement) { const c = getComputedStyle(el).backgroundColor;
    if (!/, 0\\)|transparent/.test(c)) return c; } return ''; };
  const one = new Map();
  for (const el of document.body.querySelectorAll('*')) {
    if (![...el.childNodes].some(n => n.nodeType === 3 && n.data.trim()) || !el.offsetParent) continue;
    const style = getComputedStyle(el), link = el.closest('p a') ? one.size : '';
    const key = [style.color, ground(el), style.fontSize, style.fontWeight, style.opacity, link].join();
    if (!one.has(key)) one.set(key, el);
  }
  return axe.run({include: [...one.values()]}, options); }"""

# Images that did not load or that have no alt text; the theme's own are marked as decoration or hidden.
BAD_IMAGES = """() => [...document.querySelectorAll('article img')]
  .filter(i => !(i.closest('[role=img]')?.ariaLabel || i.alt).trim() || i.naturalWidth === 0).map(i => i.src)"""

# The smallest contrast of text to the background behind it, over the article's paragraphs, captions and read-outs.
LEAST_CONTRAST = """() => {
  const parse = c => (c.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
  const lum = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const back = el => { for (; el; el = el.parentElement) { const c = parse(getComputedStyle(el).backgroundColor);
    if (c.length < 4 || c[3] > .5) return c; } return [255, 255, 255]; };
  let least = 21, where = '';
  for (const el of document.querySelectorAll('article p, article li, article td, article figcaption, article output')) {
    if (!el.textContent.trim() || !el.offsetParent) continue;
    const style = getComputedStyle(el), a = lum(parse(style.color)), b = lum(back(el));
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < least) { least = ratio; where = el.tagName + ': ' + el.textContent.trim().slice(0, 60); }
  }
  return [least, where]; }"""


def test_the_checks_see_planted_faults(browser: Any, tmp_path: Path):
    page = tmp_path / "bad.html"
    page.write_text(
        "<html data-theme='light'><body><article><p style='color:#bbb;background:#fff'>pale</p><img src='none.png'>"
        "<div style='width:3000px'>wide</div><script>console.error('oh')</script>"
        "<div role='list'><p>no item</p></div><a href='x.html'></a>"
        "<script src='http://example.invalid/x.js'></script></article></body></html>"
    )
    with open_page(page, browser, width=390) as visit:
        assert visit.foreign() == ["http://example.invalid/x.js"]
        assert any("oh" in problem for problem in visit.problems)
        assert visit.overflow() > 0
        assert len(visit.page.evaluate(BAD_IMAGES)) == 1
        assert visit.page.evaluate(LEAST_CONTRAST)[0] < 2
        faults = {line.partition(":")[0] for line in grave(visit)}
        assert faults >= {"image-alt", "aria-required-children", "link-name", "html-has-lang"}
        assert {line.partition(":")[0] for line in grave(visit, colours=True)} == {"color-contrast"}


def test_formulas_are_set_by_the_books_own_mathjax(browser: Any):
    with open_page(SITE / "book" / "notation.html", browser) as visit:
        settled(visit)
        assert visit.page.locator("mjx-container").count() >= 10
        assert any("_static/mathjax/" in url for url in visit.requests)
        fonts = [url for url in visit.requests if url.endswith(".woff")]
        assert fonts and all(url.startswith("file:") for url in fonts)


def test_an_equation_has_one_name_everywhere(browser: Any):
    with open_page(SITE / "book" / "how_to_read.html", browser) as visit:  # {eq}
        (link,) = visit.page.locator("article a[href*='#equation-eq-scda-1']").all()
        assert link.inner_text() == "[SCDA-1]"
        home = str(link.get_attribute("href"))
    with open_page(SITE / "book" / "api_methods.html", browser) as visit:  # a docstring
        link = visit.page.locator("a.ask-equation", has_text="[SCDA-1]").first
        assert link.get_attribute("href") == home
    page, _, name = home.partition("#")
    with open_page(SITE / "book" / page, browser) as visit:  # the formula
        assert visit.page.inner_text(f"#{name} .eqno").startswith("[SCDA-1]")


SIZES = """() => ['h1', 'h2', 'h3'].map(name => {
  const made = document.querySelector('article section').appendChild(document.createElement(name));
  return parseFloat(getComputedStyle(made).fontSize); })"""


@pytest.mark.parametrize("width", [1280, 390])
def test_headings_are_the_larger_the_higher(browser: Any, width: int):
    with open_page(START, browser, width=width) as visit:
        first, second, third = visit.page.evaluate(SIZES)
        assert first > 1.15 * second > 1.3 * third


# Rows of a figure's parts that are shown, and the size of 11 points in them, in CSS pixels.
ROWS = """() => [...document.querySelectorAll('.ask-panels')].map(row => {
  const shown = [...row.querySelectorAll('img')].filter(image => image.offsetParent);
  const scale = shown.map(image => image.clientWidth / image.naturalWidth * 144 / 72 * 11);
  return [shown.length, new Set(shown.map(image => image.offsetTop)).size, Math.min(...scale)]; })"""


@pytest.mark.parametrize("dark", [False, True])
def test_panels_wrap_so_that_labels_can_be_read(browser: Any, dark: bool):
    for width, rows in ((1280, 1), (390, 2)):
        with open_page(START, browser, width=width, dark=dark) as visit:
            settled(visit)
            ((count, found, size),) = visit.page.evaluate(ROWS)
            assert (count, found) == (4, rows) and size >= 9.5


def test_a_wide_table_keeps_its_first_column_in_view(browser: Any):
    with open_page(SITE / "book" / "records" / "scda.html", browser, width=390) as visit:
        tables = visit.page.locator(".ask-recorded .pst-scrollable-table-container").all()
        table = max(tables, key=lambda each: each.evaluate("e => e.scrollWidth"))
        assert table.evaluate("e => { e.scrollLeft = 120; return e.scrollLeft }") > 50
        left = "e => e.querySelector('td').getBoundingClientRect().left - e.getBoundingClientRect().left"
        assert abs(table.evaluate(left)) <= 1
        assert "\u2212" in visit.page.inner_text("article")
        assert not re.search(r"(?<!\w)-\d| \u00b1|\u00b1 ", visit.page.inner_text("article"))


def test_search_works_from_the_disk(browser: Any):
    with open_page((SITE / "search.html").resolve().as_uri() + "?q=descriptor", browser) as visit:
        visit.page.wait_for_selector("#search-results li")
        assert visit.page.locator("#search-results li").count() >= 2
        assert visit.foreign() == []
        assert visit.problems == []


@pytest.mark.parametrize("source", notebooks(), ids=lambda path: path.stem)
def test_a_chapter_shows_every_figure_slider_and_value_of_its_run(browser: Any, source: Path):
    notebook = read_json(executed_path(source, "smoke"))
    outputs = [output.get("data", {}) for cell in notebook["cells"] for output in cell.get("outputs", [])]
    texts = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown"]
    figures = sum("image/png" in data for data in outputs) + sum(text.count("```{figure}") for text in texts)
    views = [data for data in outputs if "application/vnd.jupyter.widget-view+json" in data]
    sliders = sum("Explorer" in "".join(data["text/plain"]) for data in views)  # the others are progress bars
    assert figures and sliders, "a chapter has figures and a slider"
    with open_page(SITE / "notebooks" / f"{source.stem}.html", browser) as visit:
        settled(visit)
        assert visit.page.locator("article figure:has(img[src*='_images/'])").count() == figures
        assert visit.page.locator(".ask-explorer").count() == sliders
        text = visit.page.inner_text("article")
        assert "smoke profile" not in text and "make repository" not in text, "a builder's message"
        links = [link.get_attribute("href") for link in visit.page.locator("a.ask-colab").all()]
        assert all(link.endswith(f"/notebooks/{source.name}") for link in links)
        assert len(links) == bool(configured_address())
        for name, spec in re.findall(r"\{glue:text\}`(\w+)(?::(\+?\.\d+f))?`", " ".join(texts)):
            value = recorded_values(notebook)[name]
            assert typeset(format(value, spec) if spec else str(value)) in text, name


# --- the slider of chapter 00, from file://, with no kernel ------------------------------------------------------


@pytest.fixture
def start(browser: Any) -> Iterator[Visit]:
    with open_page(START, browser) as visit:
        visit.page.wait_for_selector(".ask-explorer input[type=range]")
        yield visit


def kept(visit: Visit) -> int:
    return int(
        re.match(r"\s*(\d+) of", visit.page.inner_text(".ask-explorer output[aria-live], .ask-explorer [role=status]"))[
            1
        ]
    )


def alt(visit: Visit) -> str:
    return str(visit.page.get_attribute(".ask-explorer img", "alt"))


def test_at_one_it_is_the_mask_of_the_chapter(start: Visit):
    values = recorded_values(read_json(executed_path(notebooks()[0], "smoke")))
    assert kept(start) == values["first_kept"] > 0


def test_the_slider_follows_the_keyboard(start: Visit):
    slider = start.page.locator(".ask-explorer input[type=range]")
    slider.focus()
    before, words = kept(start), alt(start)
    for _ in range(5):
        start.page.keyboard.press("ArrowRight")
    assert kept(start) < before and alt(start) != words
    start.page.keyboard.press("Home")
    everything = kept(start)
    start.page.keyboard.press("End")
    assert kept(start) < before <= everything
    assert start.problems == [] and start.foreign() == []


def test_the_slider_follows_the_mouse(start: Visit):
    slider = start.page.locator(".ask-explorer input[type=range]")
    slider.scroll_into_view_if_needed()
    before = kept(start)
    box = slider.bounding_box()
    start.page.mouse.click(box["x"] + 0.8 * box["width"], box["y"] + box["height"] / 2)
    assert kept(start) < before


def test_the_picture_can_be_chosen(start: Visit):
    before = alt(start)
    start.page.locator(".ask-explorer select").first.select_option(index=1)
    assert alt(start) != before


def test_without_javascript_the_page_still_says_what_the_slider_shows(browser: Any):
    with open_page(START, browser, java_script_enabled=False) as visit:
        text = visit.page.inner_text("article")
        assert "need JavaScript" in text


# --- Colab ----------------------------------------------------------------------------------------------------------


def test_the_colab_line_follows_the_one_setting():
    from types import SimpleNamespace

    from tools.sphinx_book import colab_line

    def config(url: str) -> Any:
        return SimpleNamespace(html_theme_options={"repository_url": url, "repository_branch": "main"})

    page = "notebooks/00_start_here.ipynb"
    wanted = "https://colab.research.google.com/github/owner/book/blob/main/notebooks/00_start_here.ipynb"
    assert f"({wanted})" in colab_line(config("https://github.com/owner/book/"), page)
    assert colab_line(config(""), page) == ""


def test_how_the_pages_were_made_is_told_once(browser: Any):
    with open_page(SITE / "book" / "how_to_read.html", browser) as visit:
        text = visit.page.inner_text("article")
        assert "run of the smoke profile" in text
        assert ("make repository URL=" in text) != bool(configured_address())


def test_the_saved_state_holds_no_code():
    text = START.read_text()
    (state,) = re.findall(r'<script type="application/vnd.jupyter.widget-state\+json">(.*?)</script>', text, re.DOTALL)
    for model in json.loads(state)["state"].values():
        assert "_esm" not in model["state"] and "_css" not in model["state"]
    assert len(text) < 300_000

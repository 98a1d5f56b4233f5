"""The page in a real browser, as readers use it: pointer, keyboard, both themes, both widths."""

import shutil

import pytest

from rsna.board.report import write_report
from rsna.config.verbs import ReportOptions
from rsna.runs.run import find_runs, open_run

CHROMIUM = next((path for name in ("chromium", "chromium-browser") if (path := shutil.which(name))), None)
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="browser tests need playwright")
    if CHROMIUM is None:
        pytest.skip("browser tests need chromium (Debian: apt-get install chromium)")
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def report(pictured, ranked, tmp_path_factory):
    out = tmp_path_factory.mktemp("page") / "report.html"
    options = ReportOptions(out=str(out), images=2, resamples=50)
    write_report([*find_runs(ranked)[0], open_run(pictured)], options)
    return out


@pytest.fixture
def page(browser, report):
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    opened = context.new_page()
    said: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on(
        "request", lambda request: said.extend([] if request.url.startswith(("file:", "data:")) else [request.url])
    )
    opened.goto(report.as_uri())
    yield opened
    assert said == []  # no errors, and nothing asked of a network
    context.close()


def _column(page, number: int) -> list[float]:
    cells = page.locator("table.sortable >> nth=0").locator(f"tbody tr > :nth-child({number})")
    values = [cell.get_attribute("data-value") for cell in cells.all()]
    return [float(value) for value in values if value]


def test_columns_sort_both_ways_with_the_missing_last(page):
    head = page.locator("table.sortable >> nth=0").locator("thead th").nth(5)
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert len(_column(page, 6)) == 3
    assert _column(page, 6) == sorted(_column(page, 6), reverse=True)
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert _column(page, 6) == sorted(_column(page, 6))
    last = page.locator("table.sortable >> nth=0").locator("tbody tr").last
    assert "begun" in last.inner_text()


def test_a_link_opens_its_run_and_only_that(page):
    page.get_by_role("link", name="poor").click()
    shown = page.locator("article.run:visible")
    assert shown.count() == 1
    assert shown.locator("h2").inner_text() == "poor"
    page.wait_for_function("document.activeElement.textContent === 'poor'")
    page.go_back()
    page.wait_for_function("document.querySelector('article.run:not([hidden]) h2').textContent !== 'poor'")


def test_the_keyboard_reaches_everything(page):
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.get_by_role("link", name="pictured").focus()
    page.keyboard.press("Enter")
    view = page.locator("article.run:visible button.view").first
    view.focus()
    page.keyboard.press("Enter")
    assert page.locator("dialog").is_visible()
    page.keyboard.press("Escape")
    assert page.locator("dialog").is_hidden()
    assert view.evaluate("view => view === document.activeElement")


def test_the_theme_follows_the_system_and_the_switch(browser, report):
    for scheme, other in (("light", "dark"), ("dark", "light")):
        page = browser.new_page(color_scheme=scheme)
        page.goto(report.as_uri())

        def background(page=page):
            return page.evaluate("getComputedStyle(document.body).backgroundColor")

        before = background()
        page.locator("#theme").click()
        assert page.evaluate("document.documentElement.dataset.theme") == other
        assert background() != before
        page.close()


def test_heat_can_be_taken_away(page):
    pytest.importorskip("captum", reason="heat maps need captum")
    page.get_by_role("link", name="pictured").click()
    heat = page.locator("article.run:visible .heat").first
    assert heat.is_visible()
    page.locator("article.run:visible .heat-switch").uncheck()
    assert heat.is_hidden()


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_sticks_out_at_either_width(page, width):
    page.set_viewport_size({"width": width, "height": 800})
    for number in range(1, 7):
        page.evaluate(f"location.hash = '#run-{number}'")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_words_stand_out_from_what_they_stand_on(page, theme):
    """WCAG contrast of 4.5 for the page's text colours on both of its surfaces."""
    page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
    ratios = page.evaluate(
        """() => {
      const probe = document.body.appendChild(document.createElement("i"));
      const light = (name) => {
        probe.style.color = `var(--${name})`;
        const parts = getComputedStyle(probe).color.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255);
        const linear = parts.map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
      };
      const ratio = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      return ["ink", "soft", "a", "b", "bad"].flatMap((word) => ["bg", "card", "tint"].map(
        (surface) => [word, surface, ratio(light(word), light(surface))]));
    }"""
    )
    assert [entry for entry in ratios if entry[2] < 4.5] == []

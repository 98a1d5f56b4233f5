"""The page in a real browser, as readers use it: pointer, keyboard, both themes, three widths."""

import re
import shutil

import pytest

from rsna.board.report import write_report
from rsna.config.board import ReportOptions
from rsna.runs.run import find_runs, open_run

CHROMIUM = next((path for name in ("chromium", "chromium-browser") if (path := shutil.which(name))), None)
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
WIDTHS = (390, 1280, 2560)
"""A telephone, a laptop and a large screen, CSS pixels."""


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


@pytest.fixture(scope="module")
def paper(pictured, tmp_path_factory):
    out = tmp_path_factory.mktemp("paper") / "paper.html"
    options = ReportOptions(run=(str(pictured),), out=str(out), images=2, resamples=50)
    write_report([open_run(pictured)], options)
    return out


@pytest.fixture
def page(browser, report):
    """
    The report, watched. Waits go through locators: the page's policy forbids the text of a function to be
    evaluated again, as `wait_for_function` does whenever it has to look twice.
    """
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
    head = page.locator("table.sortable >> nth=0").locator("thead th").nth(0)  # a run that is not ranked has none
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert _column(page, 1) == [3, 2, 1]
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert _column(page, 1) == [1, 2, 3]
    last = page.locator("table.sortable >> nth=0").locator("tbody tr").last
    assert "begun" in last.inner_text()


def test_a_link_opens_its_run_in_place_of_the_ranking_and_there_is_a_way_back(page):
    page.set_viewport_size({"width": 390, "height": 500})
    link = page.get_by_role("link", name="poor")
    link.scroll_into_view_if_needed()
    before = page.evaluate("scrollY")
    link.click()
    page.locator(":focus", has_text=re.compile("^poor$")).wait_for()
    assert page.locator("article.run").count() == 1
    assert page.locator("#board").is_hidden()
    page.evaluate("scrollTo(0, 3000)")
    back = page.get_by_role("link", name="← Ranking")
    assert 0 <= back.bounding_box()["y"] < 60  # sticks to the top
    back.click()
    page.locator("#board").wait_for(state="visible")
    assert page.evaluate("scrollY") == pytest.approx(before, abs=2)
    assert page.evaluate("document.activeElement.textContent") == "poor"
    page.go_back()
    page.locator("article.run h2", has_text=re.compile("^poor$")).wait_for()


def test_neighbours_in_the_ranking_are_one_step_away(page):
    page.evaluate("location.hash = '#run-1'")
    page.get_by_role("link", name="Next run: ").click()
    page.locator("article.run#run-2").wait_for()
    page.get_by_role("link", name="Run before: ").click()
    page.locator("article.run#run-1").wait_for()


def test_words_filter_the_ranking(page):
    page.evaluate("document.querySelector('.filter').hidden = false")
    rows = page.locator("table.ranking tbody tr:visible")
    assert rows.count() == 6
    page.locator("#filter").fill("GOOD test_eff")
    assert rows.count() == 1
    assert page.locator(".filter output").inner_text() == "1 of 6 runs"
    assert page.locator(".group:visible").count() == 1
    page.locator("#filter").fill("")
    assert rows.count() == 6


def test_the_head_of_the_ranking_stays_in_sight(page):
    page.set_viewport_size({"width": 1280, "height": 300})
    page.locator("table.ranking tbody tr").nth(3).scroll_into_view_if_needed()
    page.evaluate("document.querySelector('table.ranking tbody tr:nth-child(3)').scrollIntoView({block: 'end'})")
    head = page.locator("table.ranking thead th").first.bounding_box()
    assert page.evaluate("scrollY") > 0
    assert head["y"] >= 0


def test_the_keyboard_reaches_everything(page):
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.get_by_role("link", name="pictured").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("article.run button.view")
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


def test_an_enlarged_picture_says_which_it_is_and_has_the_scale_of_its_heat(page):
    pytest.importorskip("captum", reason="heat maps need captum")
    page.get_by_role("link", name="pictured").click()
    view, large = page.locator("article.run:visible button.view").first, page.locator("#large")
    for heated in (True, False):
        page.locator("article.run:visible .heat-switch").set_checked(heated)
        view.click()
        assert re.fullmatch(r"[LR] (CC|MLO) [01]\.\d{4}", large.locator(".name").inner_text())
        assert large.locator(".scale").count() == large.locator(".heat").count() == int(heated)
        large.get_by_role("button", name="Close").click()


HIDDEN = """() => {
  const said = [];
  const words = ["td", "th", "dd", "p", "figcaption", "li", "h2", ".tick"].map((name) => `main ${name}`).join();
  for (const cell of document.querySelectorAll(words)) {
    const box = cell.getBoundingClientRect();
    if (!box.width) continue;
    const inside = box.left >= -1 && box.right <= innerWidth + 1;
    const cut = cell.scrollWidth > cell.clientWidth + 1 && getComputedStyle(cell).overflowX !== "visible";
    if (!inside || (cut && cell.clientWidth)) said.push(`${cell.tagName} ${cell.textContent.trim()} to ${box.right}`);
  }
  return said;
}"""
"""What stands outside of the window, or is cut off by its own frame."""


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_sticks_out_or_is_cut_off_at_any_width(page, paper, width):
    page.set_viewport_size({"width": width, "height": 800})
    for place in ("", *(f"#run-{number}" for number in range(1, 7)), paper.as_uri()):
        if place == paper.as_uri():
            page.goto(place)
        else:
            page.evaluate("place => { location.hash = place }", place)
            page.locator(place or "#board").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.evaluate(HIDDEN) == []


@pytest.mark.parametrize("width", WIDTHS)
def test_every_figure_of_the_ranking_is_in_sight(page, width):
    """On a telephone rows are cards; on a wide screen every column is one."""
    page.set_viewport_size({"width": width, "height": 800})
    row = page.locator("table.ranking tbody tr.leader").first
    said = row.inner_text()
    for name in ("nested pF1", "raw pF1", "AUROC", "AUPRC"):
        cell = row.locator(f'td[data-label="{name}"]')
        assert cell.is_visible()
        assert re.search(r"\d\.\d{4}", cell.inner_text())
    assert " to " in row.locator('td[data-label="nested pF1"]').inner_text()
    assert all(words in said for words in ("test_efficientnet", "64×32", "2/2", "0123456+", "2 × T4"))
    behind = page.locator('table.ranking td[data-label="from leader"]').filter(has_text="p ").first
    assert behind.is_visible()


@pytest.mark.parametrize(("width", "theme"), [(390, "light"), (1280, "dark")])
def test_axe_has_nothing_serious_to_say(browser, report, paper, width, theme):
    """axe-core, by Deque (MPL-2.0): WCAG 2 A and AA."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-core needs axe-playwright-python")
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme, reduced_motion="reduce")
    tab = context.new_page()
    options = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"], "resultTypes": ["violations"]}
    for url in (report.as_uri(), f"{report.as_uri()}#run-1", f"{report.as_uri()}#run-6", paper.as_uri()):
        tab.goto("about:blank")
        tab.goto(url)
        found = axe.Axe().run(tab, options=options).response["violations"]
        serious = [
            (rule["id"], node["html"], node.get("failureSummary"))
            for rule in found
            if rule["impact"] in ("serious", "critical")
            for node in rule["nodes"]
        ]
        assert serious == []
    context.close()


def test_the_paper_prints_on_few_pages(browser, paper, tmp_path):
    tab = browser.new_page()
    tab.goto(paper.as_uri())
    tab.pdf(path=tmp_path / "paper.pdf", prefer_css_page_size=True)
    pages = re.findall(rb"/Type\s*/Page\b", (tmp_path / "paper.pdf").read_bytes())
    assert 2 <= len(pages) <= 7
    tab.close()


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

"""The page of runs compared: one file that holds everything, also on a telephone."""

import re

import numpy as np
import pandas as pd
import pytest

from rsna.board.compare import compare_runs
from rsna.board.compare_page import write_comparison
from rsna.config.board import CompareOptions
from rsna.dataset.source import load_table
from rsna.runs.run import open_run
from tests.board.runs import drawn, write_run
from tests.board.test_page import browser  # noqa: F401 (a fixture)


@pytest.fixture(scope="module")
def pair(pictured, tmp_path_factory):
    """The run with images, and another on the same ones whose name needs escaping."""
    folder = tmp_path_factory.mktemp("pair")
    oof = load_table(pictured.parents[1] / "set").frame.drop(columns="path")
    rng = np.random.default_rng(5)
    noise = oof.groupby("prediction_id")["cancer"].transform(lambda c: rng.normal(1.2 * c.iloc[0], 1.0))
    oof = oof.assign(probability=1 / (1 + np.exp(-noise)), fold=pd.factorize(oof["patient_id"])[0] % 2)
    data = {"root": str(pictured.parents[1] / "set"), "name": "demo", "sampling": "enriched"}
    other = write_run(folder / "b3 <i>&", oof, dataset="a" * 12, data=data, name="b3", optim={"lr": 0.01})
    return [open_run(pictured), open_run(other)]


@pytest.fixture(scope="module")
def written(pair, tmp_path_factory):
    out = tmp_path_factory.mktemp("page") / "compare.html"
    options = CompareOptions(runs=tuple(str(run.path) for run in pair), out=str(out), images=1)
    found = compare_runs(pair, resamples=50)
    write_comparison(found, options)
    return out, found


def test_the_page_needs_no_other_file_and_no_network(written):
    page = written[0].read_text(encoding="utf-8")
    assert "default-src 'none'" in page
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', page)
    assert "url(" not in page
    assert "<i>&" not in page
    assert "b3 &lt;i&gt;&amp;" in page


def test_everything_of_the_comparison_is_on_it(written):
    page, found = written[0].read_text(encoding="utf-8"), written[1]
    one = found.others[0]
    assert "<code>optim.lr</code>" in page
    assert page.count('class="plot"') == 4
    for name, gap in one.comparison.differences.items():
        assert f"{abs(gap.value):.4f}" in page, name
    shown = [part.breasts.head(1)["prediction_id"].tolist() for part in one.disagreements]
    assert all(f"<b>{breast}</b>" in page for breasts in shown for breast in breasts)
    assert page.count('<figure class="case card">') == sum(map(len, shown)) > 0
    assert len(re.findall('src="data:image/jpeg', page)) >= sum(map(len, shown))
    assert "simulated mammograms" not in page  # the record says so, not the look of them


def test_breasts_without_pictures_say_why_once(tmp_path):
    runs = [open_run(write_run(tmp_path / name, drawn(seed=seed))) for name, seed in (("a", 1), ("b", 2))]
    out = tmp_path / "compare.html"
    for images, said in ((2, 1), (0, 0)):
        options = CompareOptions(runs=("a", "b"), out=str(out), images=images)
        write_comparison(compare_runs(runs, resamples=20), options)
        page = out.read_text(encoding="utf-8")
        assert page.count("neither files nor prepared images are at hand") == said
        assert "nowhere" not in page  # the folder that was looked in
        assert "<img" not in page


def test_a_history_that_is_torn_costs_its_curves_alone(tmp_path):
    runs = [write_run(tmp_path / name, drawn(seed=seed)) for name, seed in (("a", 1), ("b", 2))]
    (runs[0] / "fold0" / "history.csv").write_text("epoch\nsoon\n")
    out = tmp_path / "compare.html"
    options = CompareOptions(runs=("a", "b"), out=str(out), images=0)
    write_comparison(compare_runs([open_run(run) for run in runs], resamples=20), options)
    page = out.read_text(encoding="utf-8")
    assert "fold0/history.csv: cannot be read" in page
    assert "Learning curves" not in page


@pytest.mark.parametrize("width", [390, 1280, 2560])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_sticks_out_and_nothing_is_said_to_the_console(browser, written, width, theme):  # noqa: F811
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=theme)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(written[0].as_uri())
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    cells = page.locator("table.gaps td.gap")
    assert all(cell.is_visible() for cell in cells.all())
    for cell in cells.all():
        box = cell.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
    view = page.locator("button.view").first
    view.click()
    assert page.locator("dialog").is_visible()
    page.keyboard.press("Escape")
    assert said == []
    page.close()

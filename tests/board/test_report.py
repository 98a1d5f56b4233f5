import re
from dataclasses import replace

import pytest

from rsna.board.report import write_report
from rsna.config.verbs import ReportOptions
from rsna.runs.errors import RunError
from rsna.runs.run import Run, find_runs, open_run


@pytest.fixture(scope="module")
def page(pictured, ranked, tmp_path_factory) -> str:
    out = tmp_path_factory.mktemp("page") / "report.html"
    options = ReportOptions(out=str(out), images=2, resamples=50)
    write_report([open_run(pictured), *find_runs(ranked)[0]], options, left_out=["runs/bad: broken"])
    return out.read_text()


def test_the_page_needs_no_other_file_and_no_network(page):
    assert "default-src 'none'" in page
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', page)
    assert "url(" not in page
    assert "@import" not in page


def test_every_run_has_its_section_and_its_link(page):
    sections = re.findall(r'<article class="run" id="(run-\d+)"', page)
    assert len(sections) == 6
    assert sorted(set(re.findall(r'<a href="#(run-\d+)">', page))) == sorted(sections)


def test_ids_are_all_there_is_of_a_patient(page, pictured):
    """No age, no path, no name: only aggregates by age band."""
    assert str(pictured.parents[1]) not in page
    gallery = page[page.index('<div class="gallery">') :]
    gallery = gallery[: gallery.index("</article>")]
    assert not re.search(r"\bage\b", re.sub(r"base64,[^\"]+", "", gallery))


def test_what_is_left_out_and_what_is_incomplete_is_said(page):
    assert "runs/bad: broken" in page
    assert page.count("The leader is the best of 3 runs") == 1
    assert "1 of 2 folds are finished" in page
    assert "checkpoint=best" in page


def test_words_from_run_folders_are_escaped(pictured, tmp_path):
    run = open_run(pictured)
    data = run.record.data.model_copy(update={"name": "<script>alert(1)</script>"})
    run = replace(run, record=run.record.model_copy(update={"data": data}))
    write_report([run], ReportOptions(out=str(tmp_path / "r.html"), images=0, resamples=0))
    assert "<script>alert" not in (tmp_path / "r.html").read_text()


def test_no_run_is_an_error(tmp_path):
    with pytest.raises(RunError, match="no run to report on"):
        write_report([], ReportOptions(out=str(tmp_path / "r.html")))


def test_each_run_is_evaluated_once(ranked, tmp_path, monkeypatch):
    evaluated, evaluate = [], Run.evaluate

    def counted(run):
        evaluated.append(run.name)
        return evaluate(run)

    monkeypatch.setattr(Run, "evaluate", counted)
    runs = find_runs(ranked)[0]
    write_report(runs, ReportOptions(out=str(tmp_path / "r.html"), images=0, resamples=20))
    assert sorted(evaluated) == sorted(run.name for run in runs)

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from rsna.board.leaderboard import leaderboard
from rsna.board.report import columns, write_report
from rsna.config.board import ReportOptions
from rsna.runs.errors import RunError
from rsna.runs.run import Run, find_runs, open_run
from tests.board.runs import drawn, write_run


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


def test_the_leader_is_sorted_with_what_is_behind_it(page):
    values = re.findall(r'data-label="from leader" data-value="([^"]*)"', page)
    (leader,) = re.findall(r'data-label="from leader" data-value="([^"]*)"><span class="tag lead">leads', page)
    assert leader == "0"
    assert any(value and float(value) < 0 for value in values)


def test_words_from_run_folders_are_escaped(pictured, tmp_path):
    run = open_run(pictured)
    data = run.record.data.model_copy(update={"name": "<script>alert(1)</script>"})
    run = replace(run, record=run.record.model_copy(update={"data": data}))
    write_report([run], ReportOptions(out=str(tmp_path / "r.html"), images=0, resamples=0))
    assert "<script>alert" not in (tmp_path / "r.html").read_text()


class Elements(HTMLParser):
    """Counts elements that a browser builds at once, and those of each template."""

    def __init__(self) -> None:
        super().__init__()
        self.built, self.of_templates, self.within = 0, [], False

    def handle_starttag(self, tag, attributes):
        if tag == "template":
            self.within = True
            self.of_templates.append(0)
        elif self.within:
            self.of_templates[-1] += 1
        else:
            self.built += 1

    def handle_endtag(self, tag):
        self.within = self.within and tag != "template"


def test_a_page_of_55_runs_is_small(ranked, tmp_path):
    """What each further run adds, times 55: bytes of the file, and elements with the largest run opened."""
    pages = []
    for names in (["good"], ["good", "poor", "twin"]):
        file = tmp_path / f"{len(names)}.html"
        runs = [open_run(ranked / name) for name in names]
        write_report(runs, ReportOptions(out=str(file), images=6, resamples=50))
        pages.append(file.read_text())
    one, three = pages
    counted = [Elements() for _ in pages]
    for elements, page in zip(counted, pages, strict=True):
        elements.feed(page)
    added = (counted[1].built - counted[0].built) / 2
    assert len(counted[1].of_templates) == 3
    assert counted[0].built + 54 * added + max(counted[1].of_templates) < 10_000
    assert len(one.encode()) + 54 * (len(three.encode()) - len(one.encode())) / 2 < 3e6


def test_of_many_runs_none_has_a_gallery_but_those_that_are_named(ranked, tmp_path, monkeypatch):
    monkeypatch.setattr("rsna.board.report.PICTURED", 1)
    runs = [open_run(ranked / name) for name in ("good", "poor")]
    for named, has in (((), False), ((str(ranked / "good"), str(ranked / "poor")), True)):
        write_report(runs, ReportOptions(run=named, out=str(tmp_path / "r.html"), images=1, resamples=20))
        page = (tmp_path / "r.html").read_text()
        assert ('<div class="gallery">' in page) == has
        assert ("draws what it gets wrong" in page) != has


def test_columns_that_no_run_fills_are_left_out(ranked):
    groups = leaderboard(find_runs(ranked)[0], resamples=0)
    names = [column.name for column in columns(groups[0])]
    assert names[:3] == ["rank", "run", "nested pF1"]
    assert "hardware" in names
    assert not {"public", "private", "seeds", "from leader"} & set(names)


def test_seeds_are_one_row_with_a_link_and_a_page_each(tmp_path):
    folders = [write_run(tmp_path / f"s{seed}", drawn(seed=seed), seed=seed) for seed in (0, 1)]
    out = tmp_path / "r.html"
    write_report([open_run(folder) for folder in folders], ReportOptions(out=str(out), images=0, resamples=20))
    page = out.read_text()
    assert page.count('<tr role="row" class="leader">') == 1
    assert "1 more seed<" in page
    assert len(re.findall(r"<template data-run", page)) == 2


def test_one_run_that_is_named_is_written_as_a_paper(ranked, tmp_path):
    out = tmp_path / "r.html"
    run = open_run(ranked / "good")
    write_report([run], ReportOptions(run=(str(run.path),), out=str(out), images=2, resamples=20))
    page = out.read_text()
    assert re.findall(r'<section id="(\w+)"', page) == [
        "summary", "data", "method", "results", "subgroups", "failures", "limits", "checklists",
    ]  # fmt: skip
    assert page.count("<svg") == 6
    assert "Missed cancers" in page
    assert str(run.path) not in page


def test_one_run_with_nothing_to_score_has_a_page_that_says_so(tmp_path):
    run = open_run(write_run(tmp_path / "none", drawn(40).assign(cancer=0)))
    out = tmp_path / "r.html"
    write_report([run], ReportOptions(run=(str(run.path),), out=str(out), resamples=20))
    assert "none of the 80 breasts is positive" in out.read_text()


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

"""The text of a run, as the report's page and the model card show it."""

from dataclasses import replace

import pytest

from rsna.paper.blocks import Table, Words, to_markdown
from rsna.paper.checklists import CLAIM, STARD
from rsna.paper.subject import Subject
from rsna.paper.text import sections
from rsna.runs.run import open_run
from rsna.runs.set_schema import LabelOrigin
from tests.board.runs import drawn, write_run


def of(folder, **config) -> Subject:
    oof = drawn().assign(machine_id=7, density="B")
    return Subject.of_run(open_run(write_run(folder / "b3", oof, **config)), resamples=50)


def text(subject: Subject, key: str) -> str:
    return to_markdown("", [section for section in sections(subject) if section.key == key])


def table(subject: Subject, key: str, name: str) -> dict[str, tuple[str, ...]]:
    found = [block for section in sections(subject) if section.key == key for block in section.blocks]
    one = next(block for block in found if isinstance(block, Table) and block.name.startswith(name))
    return {row[0]: row[1:] for row in one.rows}


def test_a_run_reads_like_a_paper(tmp_path):
    subject = of(tmp_path)
    assert [section.title for section in sections(subject)] == [
        "Summary", "Data", "Method", "Results", "Subgroups", "Failures", "Limits", "Reporting guidelines",
    ]  # fmt: skip
    assert "240 breasts of 120 patients" in text(subject, "summary")
    assert "no diagnosis may rest on it" in text(subject, "summary")


def test_data_have_counts_prevalence_and_machines(tmp_path):
    subject = of(tmp_path)
    said = table(subject, "data", "The set")
    assert said["breasts in these folds"] == ("240, of which 24 with cancer (10.00%)",)
    assert said["machines"] == ("1: 7 100%",)
    assert said["views"] == ("2: CC 50%, MLO 50%",)
    assert said["age"] == ("40 to 79 years, median 59.5 (quartiles 49.75 and 69.25)",)
    assert table(subject, "data", "Folds")["fold 0"][:3] == ("60", "120", "12")


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"trainer": {"epochs": 7, "ema": 0.99}}, ["each for 7 epochs", "moving average (decay 0.99)"]),
        ({"optim": {"lr": 1e-3, "clip_norm": 0.0}}, ["learning rate 0.001"]),
        ({"sampler": {"kind": "balanced", "positives": 2}}, ["at least 2 of a breast with cancer"]),
        ({"loss": {"label_smoothing": 0.1, "soft_positive": 0.9}}, ["smoothed by 0.1 and 0.9 in place of 1"]),
        ({"augment": {"mixup": 0.4, "affine": 0.0}}, ["mixup (α 0.4)"]),
        ({"checkpoint": "best", "soup": 3}, ["flatters the metrics below", "averaged over 3 epochs"]),
        ({"soup": 5, "trainer": {"epochs": 3}}, ["averaged over 3 epochs"]),
        ({"unit": "breast", "fusion": {"kind": "attention"}, "compare": True},
         ["joined by attention", "other breast is looked at", "over each breast."]),
        ({"preprocess": {"size": [64, 32], "crop": "none", "window": None, "orientation": "keep"}},
         ["to its full stored range, not cropped, kept as it lies, and scaled to 64×32"]),
        ({"folds": {"n_folds": 2, "by": "machine_id"}}, []),
        ({"evaluation": {"flip_tta": True, "aggregate": "max"}}, ["its mirror image", "is the maximum of its images"]),
    ],
)  # fmt: skip
def test_the_method_is_the_configuration_in_sentences(tmp_path, config, says):
    said = text(of(tmp_path, **config), "method")
    assert all(words in said for words in says)
    assert "shift" in said or "augment" in config


def test_results_are_those_of_the_run_with_intervals(tmp_path):
    subject = of(tmp_path)
    metrics, ends = subject.metrics.pooled, subject.metrics.pooled.ends("auroc")
    said = table(subject, "results", "Metrics")
    assert said["AUROC"] == (f"{metrics.get('auroc'):.3f}", f"{ends[0]:.3f} to {ends[1]:.3f}")
    points = table(subject, "results", "Operating points")
    assert points["sensitivity"][2].startswith(f"{subject.points[2].sensitivity:.1%} (")
    breasts = subject.evaluation.breasts
    missed = int(((breasts["cancer"] == 1) & ~breasts["recalled"]).sum())
    assert f"{missed} of 24 cancers are missed" in text(subject, "failures")
    assert f"Missed by machine: 7 {missed} of 24." in text(subject, "failures")
    assert table(subject, "failures", "Each breast")["cancer"] == (str(24 - missed), str(missed))
    assert "site 1" in table(subject, "subgroups", "Subgroups")


def test_limits_are_those_of_this_run(tmp_path):
    said = text(of(tmp_path / "a", checkpoint="best"), "limits")
    assert "epoch was chosen on the very fold" in said
    assert "24 cancers are few" in said
    part = Subject.of_run(open_run(write_run(tmp_path / "part", drawn(), trained=(0,))))
    assert "Only 1 of 2 folds are counted" in text(part, "limits")
    assert "other patients of this fold" in text(part, "method")


def test_every_item_of_the_guidelines_is_answered_or_said_not_to_be(tmp_path):
    subject = of(tmp_path)
    for name, items in (("CLAIM", CLAIM), ("STARD", STARD)):
        rows = table(subject, "checklists", name)
        open_items = rows.pop("not answered")[0].split(", ")
        answered = [item for item in map(str, items) if item not in open_items]
        said = ", ".join(cells[0] for cells in rows.values())
        assert all(f"{item} {words}" in said for item, words in items.items() if str(item) in answered)
        assert len(answered) + len(open_items) == len(items)
        assert len(answered) > 8


def test_ground_truth_is_an_answer_where_the_set_says_what_it_is(tmp_path):
    subject = of(tmp_path)
    assert "14 ground truth" not in text(subject, "checklists")
    label = LabelOrigin(
        dataset="INbreast",
        cancer_from="birads>=4",
        meaning="assessment",
        licence="by request",
        release="ask",
        images=10,
    )
    data = subject.run.record.data.model_copy(update={"labels": (label,)})
    known = replace(subject.run, record=subject.run.record.model_copy(update={"data": data}))
    subject = replace(subject, runs=(known,))
    assert "14 ground truth" in text(subject, "checklists")
    assert "it is no diagnosis" in text(subject, "data")
    assert table(subject, "data", "The set")["cancer means"] == ("INbreast: birads>=4, assessment",)


def test_nothing_says_where_it_was_trained(tmp_path):
    whole = to_markdown("", sections(of(tmp_path)))
    assert str(tmp_path) not in whole
    assert "nowhere" not in whole


def test_a_run_that_has_learned_nothing_is_said_to(tmp_path):
    run = open_run(write_run(tmp_path / "flat", drawn(signal=0.0)))
    found = [
        b for section in sections(Subject.of_run(run)) for b in section.blocks if isinstance(b, Words) and b.remark
    ]
    assert any("has learned nothing" in block.text for block in found)


def test_cancers_without_a_threshold_are_not_said_to_be_missed(tmp_path):
    oof = drawn(seed=5)
    oof.loc[oof["fold"] == 1, "cancer"] = 0
    subject = Subject.of_run(open_run(write_run(tmp_path / "b3", oof)), resamples=50)
    said = text(subject, "failures")
    assert "0 of 0 cancers are missed and" in said
    assert "120 breasts are not among these" in said
    assert table(subject, "subgroups", "Subgroups")["site 1"][2] == "–"


def test_how_many_resamples_stand_behind_each_interval_is_said(tmp_path):
    subject = of(tmp_path)
    assert "over 2,000 resamples of patients, those of operating points and subgroups over 50;" in text(
        subject, "method"
    )

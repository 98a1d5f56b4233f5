"""A fold starts from the same fold of a run, and never from what has seen the patients that it validates."""

import re
import shutil
from pathlib import Path

import pytest
import torch

from rsna.bundle.make import make_bundle
from rsna.config.settings import ConfigError
from rsna.config.verbs import BundleMakeOptions
from rsna.dataset.folds import folds_hash
from rsna.runs.errors import RunError
from rsna.runs.run import open_run
from rsna.runs.schema import WEIGHTS
from rsna.runs.start_weights import Start, start_weights
from tests.board.runs import BACKBONE, drawn
from tests.board.runs import write_run as write_board_run
from tests.inference.runs import write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "first")


@pytest.fixture(scope="module")
def folds(run):
    return open_run(run).folds


def hashes(folds, dataset="0" * 12):
    return {"folds": folds_hash(folds), "dataset": dataset}


def turned(folds):
    """Every patient on the other side."""
    return folds.assign(fold=1 - folds["fold"])


def strangers(folds):
    return folds.assign(patient_id="x" + folds["patient_id"], image_id="x" + folds["image_id"])


def test_a_fold_starts_from_the_same_fold(run, folds):
    for whose in (folds, strangers(folds)):
        for fold in (0, 1):
            notes = []
            found = start_weights(str(run), fold, whose, hashes(whose), notes)
            assert found.weights == str(run / f"fold{fold}" / "model.safetensors")
            assert [target.name for target in found.learnt.targets] == ["cancer"]
            assert "each fold starts from the same fold of" in notes[0]


@pytest.mark.parametrize("within", ["", "fold0/model.safetensors", "fold0/checkpoints/last.ckpt"])
def test_patients_that_a_fold_validates_were_not_learnt_from(run, folds, within):
    if within.endswith("ckpt"):
        (run / "fold0" / "checkpoints").mkdir(exist_ok=True)
        torch.save({}, run / within)
    told = r"was trained on 40 of the 40 patients that fold 1 validates.*folds\.file=.*folds\.csv.*model\.weights="
    # Of the run's own folds, fold 1 would start from fold 1; its file of fold 0 has learnt from fold 1's patients.
    with pytest.raises(ConfigError, match=told):
        start_weights(str(run / within), 1, folds if within else turned(folds), hashes(folds), [])
    assert start_weights(str(run / within), 0, folds, hashes(folds), [])
    assert start_weights(str(run / within), 0, strangers(folds), hashes(folds), [])


@pytest.mark.parametrize("within", ["", "fold0", "fold0/model.safetensors"])
def test_a_link_is_what_it_leads_to(run, folds, tmp_path, within):
    link = tmp_path / "link"
    link.symlink_to(run / within)
    file = link / ("fold0/model.safetensors" if not within else "" if within.endswith("tensors") else WEIGHTS)
    with pytest.raises(ConfigError, match=r"fold 0 of .* was trained on 40 of the 40 patients that fold 1 validates"):
        start_weights(str(file), 1, folds, hashes(folds), [])
    found = start_weights(str(file), 0, folds, hashes(folds), [])
    assert found.weights == str(file)
    assert [target.name for target in found.learnt.targets] == ["cancer"]


def test_a_link_within_a_run_is_held_against_both_runs(run, folds, tmp_path):
    """By its name of fold 1 of other people, by what it holds of fold 0 of these."""
    others = write_board_run(tmp_path / "others", drawn(), networks=True)
    file = others / "fold1" / WEIGHTS
    file.unlink()
    file.symlink_to(run / "fold0" / WEIGHTS)
    for source in (others, file):
        with pytest.raises(ConfigError, match=re.escape(f"fold 0 of {run} was trained on")):
            start_weights(str(source), 1, folds, hashes(folds), [])
    own = open_run(others).folds
    with pytest.raises(ConfigError, match=re.escape(f"fold 1 of {others} was trained on")):
        start_weights(str(others / "fold1" / WEIGHTS), 0, own, hashes(own), [])


def test_a_copy_elsewhere_is_a_file_like_any_other(run, folds, tmp_path):
    copy = shutil.copy(run / "fold0" / "model.safetensors", tmp_path / "model.safetensors")
    for source in (str(copy), "package:anything", "", str(tmp_path / "absent.pth")):
        assert start_weights(source, 1, folds, hashes(folds), []) == Start(source, learnt=None)


def test_what_a_run_started_from_counts_as_well(run, folds, tmp_path):
    """A run on other people, which started from weights that know these."""
    between = write_run(tmp_path / "between", model={"backbone": "efficientnet_b0", "pretrained": False,
                                                     "weights": str(run / "fold1" / "model.safetensors")})  # fmt: skip
    apart = folds.assign(patient_id=folds["patient_id"].where(folds["fold"] == 0, "y" + folds["patient_id"]))
    with pytest.raises(ConfigError, match=re.escape(f"fold 1 of {run} was trained on")):
        start_weights(str(between), 0, apart, hashes(apart), [])
    file = tmp_path / "gone.safetensors"
    shutil.copy(run / "fold0" / "model.safetensors", file)
    lost = write_run(
        tmp_path / "lost", model={"backbone": "efficientnet_b0", "pretrained": False, "weights": str(file)}
    )
    file.unlink()
    notes = []
    start_weights(str(lost), 0, folds, hashes(folds), notes)
    assert any(f"itself started from {file}, which is not there" in note for note in notes)


def test_extra_sets_of_a_run_are_told(folds, tmp_path):
    notes = []
    extra = write_run(tmp_path / "extra", data={"root": "a", "name": "a", "sampling": "enriched", "extra": ["data/b"]})
    start_weights(str(extra), 0, folds, hashes(folds), notes)
    assert any("was also trained on data/b" in note for note in notes)


def test_a_fold_that_is_not_there_is_named(folds, tmp_path):
    half = write_run(tmp_path / "half", trained=(0,))
    with pytest.raises(RunError, match=r"no weights for fold 1 to start from \(finished folds: 0\); train it there"):
        start_weights(str(half), 1, folds, hashes(folds), [])


def test_of_a_bundle_its_hashes_speak(run, folds, tmp_path):
    bundle = make_bundle(BundleMakeOptions(run=str(run), out=str(tmp_path / "bundle"), host="none"))
    archive = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", bundle))
    recorded = open_run(run).record.hashes.model_dump()
    for source in (bundle, archive):
        notes = []
        found = start_weights(str(source), 1, folds, recorded, notes)
        assert Path(found.weights).name == "fold1.safetensors"
        assert [target.name for target in found.learnt.targets] == ["cancer"]
        assert not notes
    with pytest.raises(ConfigError, match="trained on this very set in other folds"):
        start_weights(str(bundle), 1, folds, recorded | {"folds": "0" * 12}, [])
    start_weights(str(bundle), 1, folds, hashes(turned(folds)), notes)
    assert "does not say on whom it was trained" in notes[0]
    with pytest.raises(RunError, match="holds folds 0, 1, and no weights that fold 2"):
        start_weights(str(bundle), 2, folds, recorded, [])


@pytest.fixture
def bundle(run, tmp_path):
    return make_bundle(BundleMakeOptions(run=str(run), out=str(tmp_path / "bundle"), host="none"))


def test_a_file_of_a_bundle_is_of_its_fold(run, folds, bundle, tmp_path):
    recorded = open_run(run).record.hashes.model_dump()
    link = tmp_path / "link.safetensors"
    link.symlink_to(bundle / "fold0.safetensors")
    for file in (bundle / "fold0.safetensors", link):
        notes = []
        found = start_weights(str(file), 0, folds, recorded, notes)
        assert found.weights == str(file)
        assert [target.name for target in found.learnt.targets] == ["cancer"]
        assert not notes
        with pytest.raises(ConfigError, match=r"fold 0 of .*bundle was trained on every patient that fold 1 validates"):
            start_weights(str(file), 1, folds, recorded, [])
        with pytest.raises(ConfigError, match="trained on this very set in other folds"):
            start_weights(str(file), 0, folds, recorded | {"folds": "0" * 12}, [])
        start_weights(str(file), 1, strangers(folds), hashes(strangers(folds)), notes)
        assert "does not say on whom it was trained" in notes[0]
    (bundle / "fold0.safetensors").write_bytes(b"changed")
    with pytest.raises(RunError, match="SHA-256 is not the recorded one"):
        start_weights(str(link), 0, folds, recorded, [])


def test_another_file_in_the_folder_of_a_bundle_is_told(run, folds, bundle):
    recorded = open_run(run).record.hashes.model_dump()
    (bundle / "more").mkdir()
    file = Path(shutil.copy(bundle / "fold0.safetensors", bundle / "more" / "mine.safetensors"))
    notes = []
    assert start_weights(str(file), 1, folds, recorded, notes) == Start(str(file), learnt=None)
    assert "does not say on whom a file that is none of its folds was trained" in notes[0]
    (bundle / "bundle.json").write_text("{}")
    start_weights(str(file), 1, folds, recorded, notes)
    assert "lies in a bundle that cannot be read" in notes[1]


def started_from(folder, weights):
    return write_board_run(
        folder, drawn(), networks=True,
        model={"backbone": BACKBONE, "pretrained": False, "weights": str(weights)},
    )  # fmt: skip


@pytest.mark.parametrize("source", ["bundle", "bundle.zip", "bundle/fold1.safetensors"])
def test_a_bundle_that_a_run_started_from_counts_as_well(run, folds, bundle, tmp_path, source):
    shutil.make_archive(str(bundle), "zip", bundle)
    recorded = open_run(run).record.hashes.model_dump()
    between = started_from(tmp_path / "between", tmp_path / source)
    with pytest.raises(ConfigError, match=r"fold 1 of .* was trained on every patient that fold 0 validates"):
        start_weights(str(between / "fold1" / WEIGHTS), 0, folds, recorded, [])
    start_weights(str(between), 1, folds, recorded, [])
    apart = strangers(folds)
    notes = []
    start_weights(str(between), 1, apart, hashes(apart), notes)
    assert any("does not say on whom it was trained" in note for note in notes)


def test_what_the_run_of_a_bundle_started_from_is_told(folds, bundle, tmp_path):
    between = started_from(tmp_path / "between", bundle)
    second = make_bundle(BundleMakeOptions(run=str(between), out=str(tmp_path / "second"), host="none"))
    notes = []
    start_weights(str(second), 1, folds, hashes(folds), notes)
    assert any("was made of a run that started from bundle; whether" in note for note in notes)


def test_runs_that_start_in_a_circle_are_read_once(folds, tmp_path):
    for name, other in (("a", "b"), ("b", "a")):
        started_from(tmp_path / name, tmp_path / other)
    notes = []
    assert start_weights(str(tmp_path / "a"), 1, strangers(folds), hashes(folds), notes)
    assert len(notes) == 1


def test_a_set_that_was_a_fold_is_known_by_the_ids_that_its_patients_have_there(folds, tmp_path):
    """Its run calls them after the set, whose own table does not."""
    split = drawn(40).assign(patient_id=lambda rows: ("other:" + rows["patient_id"]).where(rows["fold"] == 1, "x"))
    by = write_board_run(tmp_path / "by", split, networks=True, folds={"by": "dataset"})
    own = drawn(40)
    with pytest.raises(ConfigError, match=r"fold 0 of .* was trained on 20 of the 20 patients that fold 1 validates"):
        start_weights(str(by / "fold0" / WEIGHTS), 1, own, hashes(own), [])
    assert start_weights(str(by / "fold1" / WEIGHTS), 1, own, hashes(own), [])

"""What a trained model says of itself wherever it judges images."""

import json
import shutil
from dataclasses import replace

import pytest

from rsna.bundle.make import make_bundle, summary
from rsna.cli.main import main
from rsna.config.verbs import BundleMakeOptions
from rsna.dataset.targets import get_targets
from rsna.demo import DemoSettings, write_demo
from rsna.runs.errors import RunError
from rsna.runs.trained_ensemble import load_ensemble
from rsna.runs.trained_model import load_trained
from tests.board.runs import BACKBONE, drawn, write_run
from tests.inference.runs import write_exams

SIMULATED = "this model was trained on simulated mammograms: what it says of real ones means nothing"
NOTHING = "this model has learned nothing that these breasts show: AUROC 0."


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Exams, the sample, and runs: trained on the sample, without signal, and neither."""
    folder = tmp_path_factory.mktemp("place")
    write_exams(folder / "exams", 1)
    write_demo(folder / "sample", DemoSettings(n_train=1, n_test=1), workers=1)
    demo = {"root": "nowhere", "name": "demo", "sampling": "enriched", "demo": True}
    write_run(folder / "simulated", drawn(40), networks=True, data=demo)
    write_run(folder / "nothing", drawn(40, signal=0.0), networks=True)
    write_run(folder / "real", drawn(40), networks=True)
    for name in ("simulated", "nothing", "real"):
        options = BundleMakeOptions(run=str(folder / name), out=str(folder / f"{name}-bundle"), host="none")
        make_bundle(options)
    return folder


CASES = [("simulated", SIMULATED), ("nothing", NOTHING), ("real", None)]


@pytest.mark.parametrize(("name", "said"), CASES)
@pytest.mark.parametrize("ending", ["", "-bundle"])
def test_every_verb_that_judges_says_what_the_model_is_worth(place, name, said, ending, tmp_path, capsys):
    run, exams = place / f"{name}{ending}", place / "exams"
    image = next(exams.rglob("*.dcm"))
    verbs = [
        ["infer", f"run={run}", f"input={exams}", f"out={tmp_path / 's.csv'}", "workers=1"],
        ["predict", f"run={run}", f"input={exams}", "workers=1"],
        ["explain", f"run={run}", f"image={image}", f"out={tmp_path / 'explain'}"],
    ]
    for verb in verbs if not ending else verbs[1:2]:
        assert main(verb) == 0
        printed = capsys.readouterr().out
        assert said in printed if said else "this model" not in printed, verb
    assert main(["predict", f"run={run}", f"input={image}", "format=json", "workers=1"]) == 0
    notes = json.loads(capsys.readouterr().out)["notes"]
    assert len(notes) == (1 if said else 0)
    assert not said or said in notes[0]


@pytest.mark.parametrize(("name", "said"), CASES)
def test_a_bundle_says_it_where_it_is_made_and_on_its_card(place, name, said):
    bundle = place / f"{name}-bundle"
    assert (f"note: {said}" in summary(bundle)) if said else "note:" not in summary(bundle)
    card = (bundle / "README.md").read_text()
    assert ("**It has learned nothing that these breasts show: AUROC" in card) == (name == "nothing")
    assert ("The images are simulated" in card) == (name == "simulated")


def test_judging_the_sample_itself_goes_without(place):
    trained = load_ensemble(place / "simulated")
    files = sorted((place / "sample").rglob("*.dcm"))
    assert trained.notes(files) == []
    assert trained.notes([*files, next((place / "exams").rglob("*.dcm"))]) == [SIMULATED]
    assert trained.notes([]) == [SIMULATED]
    assert trained.notes([files[0].read_bytes()]) == [SIMULATED]  # nobody knows where they come from


def test_a_run_on_the_samples_files_is_one_of_simulated_images_whatever_the_folder(place, tmp_path):
    copied = shutil.copy(next((place / "sample").rglob("*.dcm")), tmp_path / "0001.dcm")
    oof = drawn(40)
    run = write_run(tmp_path / "copied", oof.assign(path=str(copied)))
    assert json.loads((run / "run.json").read_text())["data"]["simulated"]
    real = next((place / "exams").rglob("*.dcm"))
    run = write_run(tmp_path / "real", oof.assign(path=str(real)))
    assert not json.loads((run / "run.json").read_text())["data"]["simulated"]


@pytest.mark.parametrize("key", ["threshold", "pooled"])
def test_edited_metrics_predict_nothing(place, tmp_path, key):
    run = shutil.copytree(place / "real", tmp_path / "run")
    content = json.loads((run / "cv" / "metrics.json").read_text())
    content["breasts"][key]["value" if key == "threshold" else "prevalence"] = 0.99
    (run / "cv" / "metrics.json").write_text(json.dumps(content))
    with pytest.raises(RunError, match=r"cv/metrics.json: was changed after it was written"):
        load_trained(run)
    load_trained(run, (0,))  # whose own metrics are whole


def test_whom_the_weights_had_learnt_from_before_counts_as_trained_on(tmp_path):
    """The second of two stages, on other people than the first; a circle of names ends."""
    first = drawn(40)
    other = {name: "x" + first[name] for name in ("patient_id", "image_id", "prediction_id")}
    stages = {"one": first, "two": first.assign(**other), "three": first.iloc[:80]}
    starts = {"one": "", "two": str(tmp_path / "one"), "three": str(tmp_path / "two" / "fold0" / "model.safetensors")}
    for name, oof in stages.items():
        model = {"backbone": BACKBONE, "pretrained": False, "weights": starts[name]}
        data = {"root": "nowhere", "name": "demo", "sampling": "enriched", "extra": [f"{name}-extra"]}
        write_run(tmp_path / name, oof, networks=True, model=model, data=data)
    known = load_trained(tmp_path / "three")
    assert known.trained_on == {*first["patient_id"], *other["patient_id"]}
    assert [place.name for place in known.extra_sets] == ["three-extra", "two-extra", "one-extra"]
    # A name elsewhere says nothing; where it leads to, does.
    (tmp_path / "link.safetensors").symlink_to(starts["three"])
    model["weights"] = str(tmp_path / "link.safetensors")
    write_run(tmp_path / "linked", first.iloc[:80], networks=True, model=model, data=data)
    assert load_trained(tmp_path / "linked").trained_on == known.trained_on
    (tmp_path / "one").rename(tmp_path / "gone")
    (tmp_path / "one").symlink_to(tmp_path / "three")
    assert load_trained(tmp_path / "two").trained_on == {*stages["three"]["patient_id"], *other["patient_id"]}


def test_predictions_of_another_network_of_the_same_weights_have_another_hash(place):
    trained = load_trained(place / "real")
    model, targets = trained.model, trained.targets
    others = [
        replace(trained, model=replace(model, resize=32)),
        replace(trained, model=replace(model, pooling="max")),
        replace(trained, targets=get_targets(("biopsy", *(target.name for target in targets)))),
    ]
    assert len({trained.model_hash, *(other.model_hash for other in others)}) == 4
    # How it was trained is in the weights.
    assert replace(trained, model=replace(model, drop_rate=0.7, pretrained=False)).model_hash == trained.model_hash

"""Breasts with all that their networks may be told, as strangers send them: infer and Predictor say the same."""

import shutil

import numpy as np
import pandas as pd
import pytest

import rsna
from rsna.config.external import ValidateOptions
from rsna.config.verbs import InferOptions
from rsna.dataset.table_inputs import TableInput
from rsna.inference.infer import infer
from rsna.inference.validate import describe, load_labelled, predict_tables
from rsna.runs.trained_ensemble import load_ensemble
from tests.inference.runs import write_exams, write_run

INPUTS = (
    TableInput("age", ()),
    TableInput("view", ("CC", "MLO")),
    TableInput("implant", ("0", "1")),
    TableInput("machine_id", ("49", "Acme M1")),
)
HEADER = {
    "PatientAge": "063Y", "BreastImplantPresent": "YES", "Manufacturer": "Acme", "ManufacturerModelName": "M1",
}  # fmt: skip

TOLERANCE = 5e-5
"""Batches of other sizes differ in the last digits."""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two folds that compare breasts, weigh images, and are told of them; not to be changed."""
    folder = tmp_path_factory.mktemp("runs") / "told"
    return write_run(folder, unit="breast", compare=True, inputs=INPUTS, fusion={"kind": "attention", "width": 16})


@pytest.fixture
def exams(tmp_path):
    write_exams(tmp_path / "exams", 3, **HEADER)
    return tmp_path / "exams"


def table_of(exams):
    return pd.read_csv(exams / "test.csv", dtype=str)


def predict(run, exams, tmp_path, **options):
    given = {"workers": 1, "submit": "probability", "backend": "torch"} | options
    return infer(InferOptions(run=str(run), input=str(exams), out=str(tmp_path / "submission.csv"), **given))


def by_breast(done):
    return done.breasts.set_index("prediction_id")["probability"]


def predictors(run, given, **options):
    with rsna.Predictor(run, workers=1, backend="torch", **options) as predictor:
        found = predictor.predict(given)
    return pd.Series({breast.prediction_id: breast.probability for breast in found.breasts}), found.notes


def test_a_file_is_decoded_once_for_both_breasts_in_whatever_order_the_table_has_them(run, exams, tmp_path):
    expected, _ = predictors(run, exams)
    table = table_of(exams)
    for order in (table, table.sort_values("laterality", kind="stable"), table.sample(frac=1, random_state=0)):
        order.to_csv(exams / "test.csv", index=False)
        done = predict(run, exams, tmp_path)
        assert done.stages.prepared == 12
        np.testing.assert_allclose(by_breast(done)[expected.index], expected, atol=TOLERANCE)
    assert expected.nunique() == 6


def test_what_the_table_does_not_say_is_what_the_header_says_for_infer_and_predictor_alike(
    run, exams, tmp_path, capsys
):
    told = table_of(exams).assign(age="63", implant="1", machine_id="Acme M1")
    told.to_csv(exams / "test.csv", index=False)
    expected = by_breast(predict(run, exams, tmp_path))
    assert "headers say" not in capsys.readouterr().out
    names = ["age", "implant", "machine_id", "view"]
    holes = told.assign(**{name: told[name].where(np.arange(12) % 4 == k) for k, name in enumerate(names)})
    for table, count in ((told.drop(columns=names), 12), (holes, 9)):
        table.to_csv(exams / "test.csv", index=False)
        np.testing.assert_allclose(by_breast(predict(run, exams, tmp_path))[expected.index], expected, atol=TOLERANCE)
        lines = [f"table_inputs: {name} of {count} images is what their headers say" for name in names]
        said = capsys.readouterr().out
        assert all(line in said for line in lines)
        found, notes = predictors(run, exams)
        np.testing.assert_allclose(found[expected.index], expected, atol=TOLERANCE)
        assert all(line in "\n".join(notes) for line in lines)
        unknown = "table_inputs: age, view, implant, machine_id is not known of any image by the table"
        assert (unknown in said) == any(note.startswith(unknown) for note in notes) == (count == 12)
    (exams / "test.csv").unlink()
    np.testing.assert_allclose(by_breast(predict(run, exams, tmp_path))[expected.index], expected, atol=TOLERANCE)
    for given in (exams, sorted(exams.rglob("*.dcm")), [file.read_bytes() for file in exams.rglob("*.dcm")]):
        np.testing.assert_allclose(predictors(run, given)[0][expected.index], expected, atol=TOLERANCE)


def test_what_a_labelled_table_does_not_say_is_said_of_each_set(run, tmp_path, capsys):
    for name, patients in (("one", 2), ("two", 3)):
        table = write_exams(tmp_path / name, patients, **HEADER)
        table.assign(cancer=table["prediction_id"].eq("p0_L").astype(int)).to_csv(
            tmp_path / name / "train.csv", index=False
        )
        (tmp_path / name / "train_images").symlink_to("test_images")
    sets = tuple(str(tmp_path / name) for name in ("one", "two"))
    trained = load_ensemble(run)
    tables = [load_labelled(root, "population") for root in sets]
    describe(trained, tables, {})
    unknown = "note: table_inputs: age, implant, machine_id is not known of any image by the table"
    assert capsys.readouterr().out.count(unknown) == 2
    options = ValidateOptions(sets, run=str(run), workers=1, backend="torch")
    predict_tables(options, trained, tables, {})
    said = capsys.readouterr().out
    assert [said.count(f"note: table_inputs: age of {count} images is what") for count in (8, 12, 20)] == [1, 1, 0]


def test_what_the_table_says_counts_and_a_machine_that_training_has_not_seen_is_unknown(run, exams, tmp_path):
    table = table_of(exams)
    known = by_breast(predict(run, exams, tmp_path))
    found = {}
    for name, column in {"age": {"age": "41"}, "text": {"age": "041Y"}, "new": {"machine_id": "170"}}.items():
        table.assign(**column).to_csv(exams / "test.csv", index=False)
        found[name] = by_breast(predict(run, exams, tmp_path))
        assert ((found[name] - known).abs() > TOLERANCE).all()
        np.testing.assert_allclose(predictors(run, exams)[0][known.index], found[name], atol=TOLERANCE)
    np.testing.assert_array_equal(found["age"], found["text"])


def test_breasts_that_the_table_names_in_its_own_way_are_compared_by_exam(run, exams, tmp_path):
    expected = by_breast(predict(run, exams, tmp_path))
    table = table_of(exams)
    names = {name: f"case{number}" for number, name in enumerate(expected.index)}
    table.assign(prediction_id=table["prediction_id"].map(names)).to_csv(exams / "test.csv", index=False)
    done, (found, _) = by_breast(predict(run, exams, tmp_path)), predictors(run, exams)
    for name, own in names.items():
        assert done[own] == pytest.approx(expected[name], abs=TOLERANCE)
        assert found[own] == pytest.approx(expected[name], abs=TOLERANCE)


def test_exams_without_a_name_leave_two_breasts_of_one_side_that_are_not_compared(run, exams, tmp_path):
    table = table_of(exams)
    table = table[table["prediction_id"] == "p0_L"].assign(prediction_id=["p0_first_L", "p0_second_L"])
    table.to_csv(exams / "test.csv", index=False)
    together, (found, _) = by_breast(predict(run, exams, tmp_path)), predictors(run, exams)
    table[:1].to_csv(exams / "test.csv", index=False)
    alone = by_breast(predict(run, exams, tmp_path))["p0_first_L"]
    assert together["p0_first_L"] == pytest.approx(alone, abs=TOLERANCE)
    assert found["p0_first_L"] == pytest.approx(alone, abs=TOLERANCE)


def test_a_copy_among_the_files_is_of_no_breast_and_beside_none(run, exams):
    files = sorted((exams / "test_images" / "p0").iterdir())
    expected, _ = predictors(run, files)
    found, notes = predictors(run, [*files, files[0]])
    np.testing.assert_allclose(found[expected.index], expected, atol=TOLERANCE)
    assert "a copy of" in " ".join(notes)


def test_a_breast_of_many_images_one_of_one_and_one_without_the_other_side(run, exams, tmp_path):
    table = table_of(exams)
    many = []
    for number in range(11):
        source = exams / "test_images" / "p0" / f"1{2 * (number % 2)}.dcm"
        shutil.copy(source, source.with_name(f"x{number}.dcm"))
        many.append({"patient_id": "p0", "image_id": f"x{number}", "laterality": "L", "prediction_id": "p0_L"})
    table = table[~table["image_id"].isin(["21", "23", "31", "32", "33"])]  # p1 has no right, p2 one image
    pd.concat([table, pd.DataFrame(many)]).to_csv(exams / "test.csv", index=False)
    done = predict(run, exams, tmp_path, batch_size=4)
    views = done.breasts.set_index("prediction_id")["views"].to_dict()
    assert views == {"p0_L": 13, "p0_R": 2, "p1_L": 2, "p2_L": 1}
    assert not done.breasts["filled"].any()
    one_by_one = predict(run, exams, tmp_path, batch_size=1)
    np.testing.assert_allclose(by_breast(one_by_one), by_breast(done), atol=TOLERANCE)
    found, _ = predictors(run, exams, batch_size=1)
    np.testing.assert_allclose(found[by_breast(done).index], by_breast(done), atol=TOLERANCE)


def test_a_damaged_file_costs_itself_and_a_breast_of_damaged_files_gets_the_fallback(run, exams, tmp_path, capsys):
    whole = by_breast(predict(run, exams, tmp_path))
    for image_id in ("10", "20", "22"):
        (exams / "test_images" / f"p{int(image_id[0]) - 1}" / f"{image_id}.dcm").write_bytes(b"no dicom")
    done = predict(run, exams, tmp_path)
    said = capsys.readouterr().out
    breasts = done.breasts.set_index("prediction_id")
    assert breasts["views"].to_dict() == {"p0_L": 1, "p0_R": 2, "p1_L": 0, "p1_R": 2, "p2_L": 2, "p2_R": 2}
    assert breasts["filled"].to_dict() == {name: name == "p1_L" for name in breasts.index}
    assert breasts.loc["p1_L", "probability"] == pytest.approx(0.1)
    assert "1 breasts have no readable image and get the training prevalence 0.1000 (first: p1_L)" in said
    assert said.count("failed: ") == 3
    # The other side of each looks another, too.
    changed = (breasts["probability"] - whole).abs() > TOLERANCE
    assert changed.to_dict() == {name: name[:2] != "p2" for name in whole.index}


def test_under_a_time_budget_breasts_that_were_not_reached_get_the_fallback_and_the_next_start_goes_on(
    run, exams, tmp_path, monkeypatch
):
    whole = by_breast(predict(run, exams, tmp_path / "whole"))
    stops = []
    monkeypatch.setattr("rsna.inference.infer.Clock.over", property(lambda clock: len(stops) > 0 or stops.append(1)))
    cut = predict(run, exams, tmp_path, time_budget="1h", batch_size=4)
    monkeypatch.undo()
    breasts = cut.breasts.set_index("prediction_id")
    assert breasts["filled"].sum() == 4  # of two exams
    assert set(cut.images.loc[cut.images["probability"].isna(), "failure"]) == {
        "the time budget was spent before its turn"
    }
    np.testing.assert_allclose(
        breasts.loc[~breasts["filled"], "probability"], whole[~breasts["filled"]], atol=TOLERANCE
    )
    rest = predict(run, exams, tmp_path)
    assert rest.stages.prepared == 8
    np.testing.assert_allclose(by_breast(rest), whole, atol=TOLERANCE)

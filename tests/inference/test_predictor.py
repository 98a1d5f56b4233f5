"""The Python API: one exam in any shape, typed results, failures as values."""

import shutil
import threading

import numpy as np
import pandas as pd
import pydicom
import pytest

import rsna
from rsna.config.verbs import InferOptions
from rsna.dataset.table import TableError
from rsna.inference.infer import infer
from rsna.runs.weights import read_weights
from tests.board.runs import put_weights
from tests.inference.crashing import crash_on_one
from tests.inference.runs import write_exams

RUNTIMES = (
    1e-5  # a Predictor converts networks for a faster runtime where one is installed, infer for many images alone
)


@pytest.fixture(scope="module")
def exams(tmp_path_factory):
    root = tmp_path_factory.mktemp("exams")
    write_exams(root, 1)
    return root


@pytest.fixture(scope="module")
def predictor(run):
    with rsna.Predictor(run, workers=1) as made:
        yield made


@pytest.fixture(scope="module")
def expected(predictor, exams):
    return predictor.predict(exams)


def test_the_same_numbers_as_infer(run, exams, expected, tmp_path):
    out = tmp_path / "submission.csv"
    done = infer(InferOptions(run=str(run), input=str(exams), out=str(out), submit="probability", workers=1))
    by_image = done.images.set_index("image_id")["probability"]
    np.testing.assert_allclose(
        [i.probability for i in expected.images], by_image[[i.image_id for i in expected.images]], atol=RUNTIMES
    )
    by_breast = done.submission.set_index("prediction_id")["cancer"]
    assert [b.prediction_id for b in expected.breasts] == ["p0_L", "p0_R"]
    np.testing.assert_allclose([b.probability for b in expected.breasts], by_breast, atol=RUNTIMES)


def test_paths_bytes_and_data_sets_give_the_same(predictor, exams, expected):
    files = sorted((exams / "test_images" / "p0").iterdir())
    for given in (
        files,
        [str(file) for file in files],
        [file.read_bytes() for file in files],
        [pydicom.dcmread(file) for file in files],
    ):
        found = predictor.predict(given)
        assert not found.failures
        np.testing.assert_allclose(
            [i.probability for i in found.images], [i.probability for i in expected.images], atol=1e-6
        )
        assert [b.prediction_id for b in found.breasts] == ["p0_L", "p0_R"]
    one = predictor.predict(files[0])
    assert one.images[0].probability == pytest.approx(expected.images[0].probability, abs=1e-3)
    assert one.breasts[0].views == 1


@pytest.fixture(scope="module")
def two_exams(tmp_path_factory):
    """Folders of DICOM files: an exam of 2018 and one of 2022 of patient p0."""
    root = tmp_path_factory.mktemp("two")
    for year in (2018, 2022):
        tags = {"StudyInstanceUID": f"1.2.{year}", "StudyDate": f"{year}0305"}
        write_exams(root / f"{year}" / "DICOM", 1, **tags)
        (root / f"{year}" / "DICOM" / "test.csv").unlink()
    return root


def test_exams_of_one_patient_have_breasts_of_their_own_however_they_are_given(run, predictor, two_exams, tmp_path):
    folders = [two_exams / "2018", two_exams / "2022"]
    files = sorted(two_exams.rglob("*.dcm"))
    breasts = [f"p0_1.2.{year}_{side}" for year in (2018, 2022) for side in "LR"]
    for given in (two_exams, folders, files, [folders[0], *files[4:]], [file.read_bytes() for file in files]):
        assert [breast.prediction_id for breast in predictor.predict(given).breasts] == breasts
    for folder in folders:
        assert [breast.prediction_id for breast in predictor.predict(folder).breasts] == ["p0_L", "p0_R"]
    out = tmp_path / "submission.csv"
    done = infer(InferOptions(run=str(run), input=str(two_exams), out=str(out), workers=1))
    assert done.submission["prediction_id"].tolist() == breasts
    assert done.breasts["views"].tolist() == [2] * 4


@pytest.mark.parametrize("patient", ["ANONYMOUS", ""])
def test_exams_that_name_nobody_are_patients_of_their_own_however_they_are_given(
    predictor, two_exams, tmp_path, patient
):
    for file in sorted(two_exams.rglob("*.dcm")):
        dataset = pydicom.dcmread(file)
        dataset.PatientID = patient
        to = tmp_path / file.relative_to(two_exams)
        to.parent.mkdir(parents=True, exist_ok=True)
        dataset.save_as(to)
    files = sorted(tmp_path.rglob("*.dcm"))
    for given in (tmp_path, [tmp_path / "2018", tmp_path / "2022"], files):
        found = predictor.predict(given)
        assert len({breast.prediction_id for breast in found.breasts}) == 4
        assert [breast.views for breast in found.breasts] == [2] * 4
        assert "each of these exams counts as a patient of its own" in " ".join(found.notes)
    content = [file.read_bytes() for file in files]
    assert len(predictor.predict(content).breasts) == (4 if patient else 0)  # bytes lie in no folder


def test_a_copy_counts_once_and_is_said(predictor, two_exams):
    files = sorted((two_exams / "2018").rglob("*.dcm"))
    for given in (
        [*files, files[0]],
        [two_exams / "2018", files[0]],
        [file.read_bytes() for file in [*files, files[0]]],
    ):
        found = predictor.predict(given)
        assert [image.prediction_id for image in found.images] == ["p0_L", "p0_R", "p0_L", "p0_R", ""]
        assert [breast.views for breast in found.breasts] == [2, 2]
        assert "a copy of" in found.notes[-1]


def test_an_image_that_fails_is_named_among_its_breasts_failures(predictor, two_exams, tmp_path):
    shutil.copytree(two_exams, tmp_path, dirs_exist_ok=True)
    file = sorted(tmp_path.rglob("*.dcm"))[2]  # left
    file.write_bytes(file.read_bytes()[:-200])
    found = predictor.predict([tmp_path / "2018", tmp_path / "2022"])
    assert [(breast.prediction_id, breast.views, len(breast.failures)) for breast in found.breasts] == [
        ("p0_1.2.2018_L", 1, 1), ("p0_1.2.2018_R", 2, 0), ("p0_1.2.2022_L", 2, 0), ("p0_1.2.2022_R", 2, 0),
    ]  # fmt: skip


def test_a_file_named_by_its_uid_keeps_the_whole_name(predictor, exams, tmp_path):
    file = tmp_path / "1.2.840.100.7"
    file.write_bytes((exams / "test_images" / "p0" / "10.dcm").read_bytes())
    for given in (file, tmp_path):
        assert [image.image_id for image in predictor.predict(given).images] == ["1.2.840.100.7"]


def test_a_side_that_had_to_be_guessed_is_said(predictor, exams):
    dataset = pydicom.dcmread(exams / "test_images" / "p0" / "10.dcm")
    dataset.ImageLaterality, dataset.ViewPosition = "", "L MLO"
    found = predictor.predict(dataset)
    assert [breast.prediction_id for breast in found.breasts] == ["p0_L"]
    assert any("the laterality is read from (0018,5101) View Position 'L MLO'" in note for note in found.notes)


def test_results_are_whole(predictor, expected):
    breast = expected.breasts[0]
    assert breast.above_threshold == (breast.probability >= predictor.trained.threshold)
    odds, calibrated = breast.probability / (1 - breast.probability), breast.calibrated / (1 - breast.calibrated)
    line = predictor.trained.calibration
    assert calibrated == pytest.approx(odds**line.slope * np.exp(line.intercept), rel=1e-6)
    assert line.slope != 1
    assert line.intercept != 0
    image = expected.images[0]
    assert image.geometry.source == (160, 120)
    assert image.geometry.size == (64, 32)
    assert expected.to_dict()["images"][0]["geometry"]["size"] == [64, 32]
    assert "p0_L" in expected.table()
    assert expected._repr_html_().count("<table>") == 2
    assert "<th>p0_L</th>" in expected._repr_html_()


def test_a_file_that_cannot_be_read_is_an_error_value(predictor, exams, expected):
    file = exams / "test_images" / "p0" / "10.dcm"
    found = predictor.predict([file, b"no dicom", exams / "absent.dcm", 7, pydicom.Dataset()])
    assert [bool(i.failure) for i in found.images] == [False, True, True, True, True]
    assert "NotDicom" in found.images[1].failure
    assert "FileNotFoundError" in found.images[2].failure
    assert "TypeError: a int is no path" in found.images[3].failure
    assert len(found.breasts) == 1
    assert predictor.predict([b"nothing"]).breasts == ()


def test_networks_that_give_no_number_are_a_failure_of_every_image(run, exams, tmp_path):
    broken = shutil.copytree(run, tmp_path / "broken")
    state = read_weights(broken / "fold0" / "model.safetensors")
    state["classifier.bias"].fill_(np.nan)
    put_weights(broken, 0, state)
    with rsna.Predictor(broken, folds=(0,), images=0, workers=1) as predictor:
        found = predictor.predict(exams)
    assert [(i.probability, i.failure) for i in found.images] == [(None, "the networks gave no number")] * 4
    assert found.breasts == ()


def test_a_file_that_crashes_its_process_is_an_error_value(run, exams, expected, monkeypatch):
    monkeypatch.setattr("rsna.inference.predictor.prepare_source_each", crash_on_one)
    with rsna.Predictor(run, workers=1) as predictor:
        found = predictor.predict(exams)
    assert [bool(i.failure) for i in found.images] == [False, True, False, False]
    assert "WorkerCrashed" in found.images[1].failure
    breast = next(b for b in found.breasts if b.prediction_id == "p0_R")
    assert breast.views == 1
    assert "WorkerCrashed" in breast.failures[0]


def test_a_breast_is_predicted_at_once_from_the_images_that_can_be_read(run, breast_run, exams, expected):
    files = sorted((exams / "test_images" / "p0").iterdir())
    with rsna.Predictor(breast_run, workers=1, batch_size=3, folds=(0,)) as breasts:
        whole = breasts.predict(files)
        part = breasts.predict([*files[:3], b"no dicom", files[3].with_name("gone.dcm")])
    with rsna.Predictor(run, workers=1, folds=(0,)) as single:
        images = single.predict(files)
    by_breast = {breast.prediction_id: breast for breast in whole.breasts}
    for breast, places in (("p0_L", (0, 2)), ("p0_R", (1, 3))):
        logits = [np.log(p / (1 - p)) for p in (images.images[place].probability for place in places)]
        together = 1 / (1 + np.exp(-np.mean(logits)))  # one linear layer stands behind the mean of the features
        assert by_breast[breast].probability == pytest.approx(together, abs=1e-5)
        assert [whole.images[place].probability for place in places] == [by_breast[breast].probability] * 2
    assert [bool(image.failure) for image in part.images] == [False, False, False, True, True]
    assert {b.prediction_id: b.views for b in part.breasts} == {"p0_L": 2, "p0_R": 1}
    assert part.breasts[1].probability == pytest.approx(images.images[1].probability, abs=1e-5)


def test_threads_share_a_predictor(predictor, exams, expected):
    files = sorted((exams / "test_images" / "p0").iterdir())
    found = {}

    def work(number):
        found[number] = predictor.predict(files)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for n in range(6):
        assert [i.image_id for i in found[n].images] == [i.image_id for i in expected.images]
        np.testing.assert_allclose(
            [i.probability for i in found[n].images], [i.probability for i in expected.images], atol=1e-6
        )


def test_rows_without_files_and_empty_folders(predictor, exams, tmp_path):
    pd.read_csv(exams / "test.csv").to_csv(tmp_path / "test.csv", index=False)
    found = predictor.predict(tmp_path)
    assert {i.failure for i in found.images} == {"no file for this row"}
    assert found.breasts == ()
    with pytest.raises(TableError, match="holds no mammogram"):
        predictor.predict(_empty(tmp_path))


def _empty(folder):
    (folder / "empty").mkdir()
    return folder / "empty"

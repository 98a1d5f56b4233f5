"""The Python API: one exam in any shape, typed results, failures as values."""

import threading

import numpy as np
import pandas as pd
import pydicom
import pytest

import rsna
from rsna.config.verbs import InferOptions
from rsna.dataset.table import TableError
from rsna.inference.infer import infer
from tests.inference.crashing import crash_on_one
from tests.inference.runs import write_exams


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
        [i.probability for i in expected.images], by_image[[i.image_id for i in expected.images]], atol=1e-6
    )
    by_breast = done.submission.set_index("prediction_id")["cancer"]
    assert [b.prediction_id for b in expected.breasts] == ["p0_L", "p0_R"]
    np.testing.assert_allclose([b.probability for b in expected.breasts], by_breast, atol=1e-6)


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


def test_a_file_named_by_its_uid_keeps_the_whole_name(predictor, exams, tmp_path):
    file = tmp_path / "1.2.840.100.7"
    file.write_bytes((exams / "test_images" / "p0" / "10.dcm").read_bytes())
    for given in (file, tmp_path):
        assert [image.image_id for image in predictor.predict(given).images] == ["1.2.840.100.7"]


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


def test_a_file_that_crashes_its_process_is_an_error_value(run, exams, expected, monkeypatch):
    monkeypatch.setattr("rsna.inference.predictor.prepare_source", crash_on_one)
    with rsna.Predictor(run, workers=1) as predictor:
        found = predictor.predict(exams)
    assert [bool(i.failure) for i in found.images] == [False, True, False, False]
    assert "WorkerCrashed" in found.images[1].failure
    breast = next(b for b in found.breasts if b.prediction_id == "p0_R")
    assert breast.views == 1
    assert "WorkerCrashed" in breast.failures[0]


def test_a_breast_is_predicted_at_once_from_the_images_that_can_be_read(run, exams, expected):
    files = sorted((exams / "test_images" / "p0").iterdir())
    with rsna.Predictor(run, workers=1, unit="breast", batch_size=3, folds=(0,)) as breasts:
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

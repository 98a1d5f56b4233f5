import csv
import hashlib
import io
import resource
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

import cv2
import imagecodecs
import numpy as np
import pandas as pd
import pydicom
import pytest
from pydicom.encaps import generate_frames
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from rsna.config.data import PreprocessSettings
from rsna.config.settings import ConfigError
from rsna.dataset.source import load_table
from rsna.demo import DemoSettings, anatomy, lesions, machines, plan, scene, write_demo
from rsna.demo.writer import TEST_COLUMNS, TRAIN_COLUMNS, dicom_bytes
from rsna.dicom import read_mammogram
from rsna.prepare.image import prepare_image

SMALL = DemoSettings(n_train=2, n_test=1, prevalence=0.5)
"""Every patient has a cancer in one breast."""


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("demo") / "sample"
    write_demo(root, SMALL, workers=1)
    return root


def _hashes(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as lines:
        return list(csv.DictReader(lines))


def _patient(machine_id: int, **settings: float) -> plan.Patient:
    patients = plan.plan_patients(DemoSettings(n_train=60, **settings), "train")  # type: ignore[arg-type]
    return next(p for p in patients if p.machine.machine_id == machine_id)


def _render(patient: plan.Patient, index: int = 0) -> tuple[scene.Scene, machines.Exposure, bytes]:
    rng = np.random.default_rng(5)
    drawn = scene.draw_scene(patient, patient.shots[index], rng)
    exposure = machines.expose(patient.machine, drawn.picture, drawn.air, rng)
    return drawn, exposure, dicom_bytes(patient, patient.shots[index], exposure)


class TestSample:
    def test_the_same_seed_gives_the_same_bytes_with_any_number_of_workers(self, sample: Path, tmp_path: Path) -> None:
        write_demo(tmp_path / "again", SMALL, workers=2)
        assert _hashes(tmp_path / "again") == _hashes(sample)

    def test_films_are_pictures_under_the_same_table(self, sample: Path, tmp_path: Path) -> None:
        write_demo(tmp_path / "films", replace(SMALL, films=True), workers=1)
        assert (tmp_path / "films" / "train.csv").read_bytes() == (sample / "train.csv").read_bytes()
        table = load_table(tmp_path / "films", "train", "films").frame
        assert all(path.endswith(".png") for path in table["path"])
        _, geometry = prepare_image(table["path"][0], PreprocessSettings(size=(64, 32)))
        assert geometry.source != geometry.fitted

    def test_another_seed_gives_other_images(self, sample: Path, tmp_path: Path) -> None:
        write_demo(tmp_path / "other", DemoSettings(seed=1, n_train=1, n_test=1))
        images = {digest for name, digest in _hashes(sample).items() if name.endswith(".dcm")}
        assert not images & set(_hashes(tmp_path / "other").values())

    def test_tables_have_the_competitions_columns_and_a_file_for_every_row(self, sample: Path) -> None:
        for split, columns in (("train", TRAIN_COLUMNS), ("test", TEST_COLUMNS)):
            rows = _rows(sample / f"{split}.csv")
            assert tuple(rows[0]) == columns
            named = {sample / f"{split}_images" / row["patient_id"] / f"{row['image_id']}.dcm" for row in rows}
            assert named == set((sample / f"{split}_images").rglob("*.dcm"))
            assert len(named) == len(rows)

    def test_test_labels_go_with_the_test_table(self, sample: Path) -> None:
        rows, labels = _rows(sample / "test.csv"), _rows(sample / "test_labels.csv")
        assert [row["image_id"] for row in rows] == [row["image_id"] for row in labels]
        assert [row["prediction_id"] for row in rows] == [f"{row['patient_id']}_{row['laterality']}" for row in labels]
        assert {row["cancer"] for row in labels} == {"0", "1"}

    def test_every_image_of_a_cancer_has_one_malignant_finding_and_no_other_image_has(self, sample: Path) -> None:
        malignant = Counter(r["image_id"] for r in _rows(sample / "train_lesions.csv") if r["malignant"] == "1")
        for row in _rows(sample / "train.csv"):
            assert malignant[row["image_id"]] == int(row["cancer"])

    def test_a_sample_that_is_there_is_left_alone(self, sample: Path) -> None:
        before = {path: path.stat().st_mtime_ns for path in sample.rglob("*")}
        write_demo(sample, SMALL)
        assert {path: path.stat().st_mtime_ns for path in sample.rglob("*")} == before

    def test_other_settings_replace_a_sample_whole(self, tmp_path: Path) -> None:
        root = tmp_path / "sample"
        write_demo(root, DemoSettings(n_train=1, n_test=1))
        old = set(_hashes(root))
        write_demo(root, DemoSettings(seed=4, n_train=1, n_test=1))
        assert not {name for name in old & set(_hashes(root)) if name.endswith(".dcm")}
        assert [path.name for path in tmp_path.iterdir()] == ["sample"]

    def test_a_folder_with_other_files_is_refused_and_kept(self, tmp_path: Path) -> None:
        (tmp_path / "mine.txt").write_text("mine")
        with pytest.raises(FileExistsError, match="name another folder"):
            write_demo(tmp_path, SMALL)
        assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]

    def test_a_file_in_the_folders_place_is_refused_and_kept(self, tmp_path: Path) -> None:
        (tmp_path / "sample").write_text("mine")
        with pytest.raises(FileExistsError, match="name another folder"):
            write_demo(tmp_path / "sample", SMALL)
        assert (tmp_path / "sample").read_text() == "mine"


@pytest.mark.slow
def test_a_linear_model_on_small_images_learns_little_from_the_default_sample(tmp_path: Path) -> None:
    write_demo(tmp_path / "sample")
    table = load_table(tmp_path / "sample", "train", "demo").frame
    settings = PreprocessSettings(size=(32, 16))
    pixels = np.stack([prepare_image(path, settings)[0].ravel() / 255 for path in table["path"]])
    labels = table["cancer"].to_numpy()
    probabilities = cross_val_predict(
        make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000)),
        pixels,
        labels,
        groups=table["patient_id"],
        cv=StratifiedGroupKFold(4, shuffle=True, random_state=0),
        method="predict_proba",
    )[:, 1]
    breasts = table.assign(probability=probabilities).groupby("prediction_id")[["cancer", "probability"]].mean()
    assert breasts["cancer"].mean() == pytest.approx(DemoSettings().prevalence, abs=0.01)
    assert roc_auc_score(breasts["cancer"], breasts["probability"]) < 0.7


def _bands(drawn: scene.Scene) -> list[float]:
    """How much of each size stands out of an image, at most and on the whole."""
    rows = np.flatnonzero((~drawn.air).any(axis=1))
    scale = 160 / (rows[-1] - rows[0])
    picture = cv2.resize(drawn.picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    tissue = cv2.resize((~drawn.air).astype(np.uint8), picture.shape[::-1])
    inside = cv2.erode(tissue, np.ones((9, 9)), borderValue=1) > 0
    blurred = [cv2.GaussianBlur(picture, (0, 0), sigma) for sigma in (0.8, 1.6, 3.2, 6.4, 12.8)]
    bands = [(finer - coarser)[inside] for finer, coarser in zip(blurred[:-1], blurred[1:], strict=True)]
    grain = cv2.GaussianBlur((picture - blurred[0]) ** 2, (0, 0), 4)[inside]
    levels = [float(np.log(grain.max())), float(np.log(np.median(grain) + 1e-6)), float(np.median(picture[inside]))]
    return levels + [float(value) for b in bands for value in (np.percentile(b, 99.9), b.max(), b.std(), b.min())]


@pytest.mark.slow
def test_cancers_are_found_by_what_stands_out_not_all_of_them_and_more_in_two_views_than_in_one() -> None:
    patients = plan.plan_patients(DemoSettings(n_train=80, prevalence=0.4, scale=0.5), "train")
    images = [
        (breast, patient, shot, scene.draw_scene(patient, shot, np.random.default_rng(shot.image_id)))
        for patient in patients
        for breast in patient.breasts
        for shot in {s.view: s for s in patient.shots if s.laterality == breast.laterality and s.view != "ML"}.values()
    ]
    table = pd.DataFrame({
        "patient": [patient.patient_id for _, patient, _, _ in images],
        "breast": [f"{patient.patient_id}_{shot.laterality}" for _, patient, shot, _ in images],
        "cancer": [breast.cancer for breast, _, _, _ in images],
    })  # fmt: skip
    table["probability"] = cross_val_predict(
        make_pipeline(StandardScaler(), LogisticRegression(C=0.3, max_iter=500, class_weight="balanced")),
        np.array([_bands(drawn) for _, _, _, drawn in images]),
        table["cancer"],
        groups=table["patient"],
        cv=StratifiedGroupKFold(4, shuffle=True, random_state=0),
        method="predict_proba",
    )[:, 1]
    breasts = table.groupby("breast")[["cancer", "probability"]].mean()
    one_view = roc_auc_score(table["cancer"], table["probability"])
    both_views = roc_auc_score(breasts["cancer"], breasts["probability"])
    assert 0.80 < one_view < 0.94
    assert 0.90 < both_views < 0.985
    assert both_views > one_view + 0.03


class TestPlan:
    PATIENTS = plan.plan_patients(DemoSettings(), "train")

    def test_prevalence_is_met_exactly(self) -> None:
        settings = DemoSettings(n_train=50, prevalence=0.2)
        breasts = [b for p in plan.plan_patients(settings, "train") for b in p.breasts]
        assert sum(b.cancer for b in breasts) == 20

    def test_labels_agree_with_each_other_as_in_the_competition(self) -> None:
        for patient in self.PATIENTS:
            for breast in patient.breasts:
                malignant = [f for f in breast.findings if f.kind in plan.MALIGNANT]
                assert len(malignant) == breast.cancer
                assert breast.biopsy or not breast.cancer
                assert breast.cancer or not breast.invasive
                assert not (breast.cancer and breast.difficult)
                assert breast.difficult or breast.cancer or not breast.biopsy
                if patient.machine.site_id == 1:
                    assert (breast.birads == 0) == (breast.cancer or breast.difficult)
                else:
                    assert (breast.birads == 0) == (breast.difficult and not breast.biopsy)

    def test_every_breast_has_both_views_and_every_image_its_own_id(self) -> None:
        for patient in self.PATIENTS:
            for side in ("L", "R"):
                assert {"CC", "MLO"} <= {shot.view for shot in patient.shots if shot.laterality == side}
        ids = [shot.image_id for patient in self.PATIENTS for shot in patient.shots]
        assert len(set(ids)) == len(ids) > 4 * len(self.PATIENTS)

    def test_every_machine_and_density_comes_and_the_splits_share_no_patient(self) -> None:
        assert {p.machine for p in self.PATIENTS} == set(machines.MACHINES)
        assert {p.density for p in self.PATIENTS} == set("ABCD")
        test = {p.patient_id for p in plan.plan_patients(DemoSettings(), "test")}
        assert not test & {p.patient_id for p in self.PATIENTS}

    def test_benign_findings_come_in_breasts_with_and_without_cancer_alike(self) -> None:
        patients = plan.plan_patients(DemoSettings(n_train=1500, prevalence=0.5), "train")
        counts: dict[bool, list[int]] = {True: [], False: []}
        for breast in (b for p in patients for b in p.breasts):
            counts[breast.cancer].append(sum(f.kind not in plan.MALIGNANT for f in breast.findings))
        assert np.mean(counts[True]) == pytest.approx(np.mean(counts[False]), rel=0.12)

    @pytest.mark.parametrize(
        ("key", "value"), [("n_train", 0), ("prevalence", 0.6), ("seed", -1), ("distractors", 3.0), ("n_test", 20_000)]
    )
    def test_a_setting_out_of_range_is_named(self, key: str, value: float) -> None:
        with pytest.raises(ConfigError, match=key):
            DemoSettings(**{key: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("machine", machines.MACHINES, ids=lambda m: str(m.machine_id))
class TestMachines:
    def test_stored_values_survive_compression(self, machine: machines.Machine) -> None:
        _, exposure, content = _render(_patient(machine.machine_id))
        dataset = pydicom.dcmread(io.BytesIO(content))
        if machine.codec == "jpeg2000":
            stored = dataset.pixel_array
        else:  # pydicom has no permissive plugin for it, and the reader of this project shall not judge itself
            stored = imagecodecs.ljpeg_decode(next(generate_frames(dataset.PixelData, number_of_frames=1)))
        assert np.array_equal(stored, exposure.stored)
        assert exposure.stored.max() < 2**machine.bits
        assert dataset.BitsStored == machine.bits

    def test_the_first_window_shows_the_picture(self, machine: machines.Machine) -> None:
        drawn, _, content = _render(_patient(machine.machine_id))
        shown = read_mammogram(content)
        # A window's step is a grey level; beyond its ends a sigmoid is cut off.
        assert np.abs(shown - drawn.picture)[~drawn.air].max() < 0.012
        assert shown[drawn.air].max() < 0.02

    def test_the_codestream_declares_the_machines_precision(self, machine: machines.Machine) -> None:
        _, _, content = _render(_patient(machine.machine_id))
        if machine.codec == "jpeg2000":
            size = content.index(b"\xff\x4f\xff\x51")  # SOC, SIZ; then Lsiz … Csiz take 40 bytes
            assert (content[size + 42] & 0x7F) + 1 == machine.precision
            coding = content.index(b"\xff\x52", size)
            assert content[coding + 9] == 5  # wavelet levels
        else:
            frame = content.index(b"\xff\xc3")  # SOF3: lossless Huffman
            assert content[frame + 4] == machine.precision
            scan = content.index(b"\xff\xda", frame)
            assert content[scan + 7] == 1  # predictor, as .70 demands

    def test_the_breast_stands_on_its_side(self, machine: machines.Machine) -> None:
        patient = _patient(machine.machine_id)
        for index in range(2):
            drawn, _, _ = _render(patient, index)
            columns = drawn.picture.mean(axis=0)
            left, right = columns[: columns.size // 3].mean(), columns[-columns.size // 3 :].mean()
            assert (left > right) == (patient.shots[index].laterality == "L")


class TestFindings:
    PATIENT = _patient(49, prevalence=0.5)
    VIEWS: tuple[plan.View, ...] = ("CC", "MLO")

    def _finding(self, kind: plan.Kind, depth: float = 0.5) -> plan.Finding:
        return plan.Finding(kind, depth, 0.3, -0.2, size=8.0, contrast=0.5, seen_cc=1.0, seen_oblique=0.2, seed=11)

    @pytest.mark.parametrize("depth", [0.35, 0.5, 0.65])
    def test_both_views_show_a_finding_at_its_depth_inside_the_breast(self, depth: float) -> None:
        for view in self.VIEWS:
            layout = anatomy.lay_out(self.PATIENT, view, np.random.default_rng(3))
            x, y = lesions.place(self._finding("spiculated", depth), view, layout)
            assert layout.skin_distance[round(y), round(x)] > 8.0
            assert layout.muscle_depth[round(y), round(x)] < 0
            shown = (layout.nipple[0] - x) / (layout.nipple[0] - anatomy.MARGIN)
            assert shown == pytest.approx(depth, abs=0.1)

    @pytest.mark.parametrize("kind", get_args(plan.Kind))
    def test_a_finding_brightens_its_surroundings_and_nothing_else(self, kind: plan.Kind) -> None:
        picture = np.full((300, 300), 0.3, np.float32)
        lesions.draw(picture, self._finding(kind), "CC", (150.0, 140.0), 0.5)
        y, x = np.mgrid[:300, :300]
        distance = np.hypot(x - 150, y - 140) * 0.5  # millimetres
        changed = np.abs(picture - 0.3)
        assert changed[distance < 2 * 8].max() > 0.1
        assert changed[distance > 4 * 8 + 3].max() == 0
        assert picture.mean() > 0.3

    @pytest.mark.parametrize("kind", get_args(plan.Kind))
    def test_a_view_that_hides_a_finding_shows_less_of_it(self, kind: plan.Kind) -> None:
        changed = {}
        for view in self.VIEWS:
            picture = np.full((300, 300), 0.3, np.float32)
            lesions.draw(picture, self._finding(kind), view, (150.0, 140.0), 0.5)
            changed[view] = np.abs(picture - 0.3).sum()
        assert changed["MLO"] < 0.4 * changed["CC"]

    def test_no_finding_is_hidden_in_both_views(self) -> None:
        patients = plan.plan_patients(DemoSettings(n_train=300, prevalence=0.5), "train")
        findings = [f for p in patients for b in p.breasts for f in b.findings]
        assert {max(f.seen_cc, f.seen_oblique) for f in findings} == {1.0}
        assert np.mean([min(f.seen_cc, f.seen_oblique) < 0.5 for f in findings]) == pytest.approx(0.2, abs=0.05)

    def test_a_cancer_changes_little_of_the_image(self) -> None:
        patient = next(p for p in plan.plan_patients(DemoSettings(), "train") if p.breasts[0].cancer)
        index = next(i for i, shot in enumerate(patient.shots) if shot.laterality == "L")
        drawn, _, _ = _render(patient, index)
        inside = ~drawn.air
        finding, x, y = next(c for c in drawn.centres if c[0].kind in plan.MALIGNANT)
        row, column = np.mgrid[: inside.shape[0], : inside.shape[1]]
        within = np.hypot(column - x, row - y) < finding.size / patient.machine.pitch
        assert inside[within].all()
        assert within.sum() / inside.sum() < 0.1


class TestFiner:
    def test_a_finer_sample_has_the_same_patients_in_more_pixels(self) -> None:
        usual, finer = (plan.plan_patients(DemoSettings(scale=scale), "train") for scale in (1.0, 4.5))
        for one, other in zip(usual, finer, strict=True):
            assert (other.patient_id, other.breasts, other.shots) == (one.patient_id, one.breasts, one.shots)
            assert other.machine.size[0] > 2000
            assert other.depth == pytest.approx(one.depth, rel=0.002)

    def test_a_finer_image_is_the_same_picture(self) -> None:
        usual, finer = (_render(_patient(49, scale=scale))[0].picture for scale in (1.0, 2.0))
        smaller = cv2.resize(finer, usual.shape[::-1], interpolation=cv2.INTER_AREA)
        assert finer.shape == (2 * usual.shape[0], 2 * usual.shape[1])
        assert np.corrcoef(smaller.ravel(), usual.ravel())[0, 1] > 0.97


@pytest.mark.parametrize("density", "BCD")
def test_the_power_of_tissue_falls_with_frequency_as_that_of_mammograms(density: Literal["B", "C", "D"]) -> None:
    """Of twelve of the competition's images, exponents were 1.9 to 3.4 at wavelengths of 3 to 16 mm."""
    patient = replace(_patient(49), density=density)
    picture = _render(patient, next(i for i, shot in enumerate(patient.shots) if shot.view == "CC"))[0].picture
    side, exponents = 64, []
    window = np.outer(np.hanning(side), np.hanning(side))
    row, column = np.mgrid[-side // 2 : side // 2, -side // 2 : side // 2]
    rings = np.round(np.hypot(row, column)).astype(int)
    for top in range(0, picture.shape[0] - side, side // 2):
        for left in range(0, picture.shape[1] - side, side // 2):
            part = picture[top : top + side, left : left + side]
            if part.min() > 0.05:
                power = np.abs(np.fft.fftshift(np.fft.fft2((part - part.mean()) * window))) ** 2
                means = np.bincount(rings.ravel(), power.ravel()) / np.bincount(rings.ravel())
                exponents.append(-np.polyfit(np.log(np.arange(2, 12)), np.log(means[2:12]), 1)[0])
    assert len(exponents) >= 6
    assert 1.6 < np.median(exponents) < 3.6


def test_a_full_disk_is_said_with_the_file_and_leaves_nothing(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))  # the workers have it, too
    try:
        with pytest.raises(OSError, match=rf"^the embedded sample: {tmp_path}/sample/train_images/.*cannot be written"):
            write_demo(tmp_path / "sample", DemoSettings(n_train=1, n_test=1), workers=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())

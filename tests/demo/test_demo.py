import csv
import hashlib
import io
from collections import Counter
from pathlib import Path

import imagecodecs
import numpy as np
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
        return plan.Finding(kind, depth, lateral=0.3, height=-0.2, size=8.0, contrast=0.5, seed=11)

    @pytest.mark.parametrize("depth", [0.35, 0.5, 0.65])
    def test_both_views_show_a_finding_at_its_depth_inside_the_breast(self, depth: float) -> None:
        for view in self.VIEWS:
            layout = anatomy.lay_out(self.PATIENT, view, np.random.default_rng(3))
            x, y = lesions.place(self._finding("spiculated", depth), view, layout)
            assert layout.skin_distance[round(y), round(x)] > 8.0
            assert layout.muscle[round(y), round(x)] < 0.1
            shown = (layout.nipple[0] - x) / (layout.nipple[0] - anatomy.MARGIN)
            assert shown == pytest.approx(depth, abs=0.1)

    @pytest.mark.parametrize("kind", ["spiculated", "cluster", "round", "coarse", "clip"])
    def test_a_finding_brightens_its_surroundings_and_nothing_else(self, kind: plan.Kind) -> None:
        picture = np.full((300, 300), 0.3, np.float32)
        lesions.draw(picture, self._finding(kind), "CC", (150.0, 140.0), 0.5)
        y, x = np.mgrid[:300, :300]
        distance = np.hypot(x - 150, y - 140) * 0.5  # millimetres
        changed = np.abs(picture - 0.3)
        assert changed[distance < 8].max() > 0.2
        assert changed[distance > 4 * 8 + 3].max() == 0
        assert picture.mean() > 0.3

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

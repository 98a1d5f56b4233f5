import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from rsna.board.pixels import images_beside
from rsna.config.data import PreprocessSettings
from rsna.config.model import ModelSettings
from rsna.config.settings import ConfigError
from rsna.dataset.examples import ExampleSpec
from rsna.dataset.table_inputs import TableInput
from rsna.dicom.errors import DicomError
from rsna.inference.exam import load_test_set
from rsna.inference.explain import explain, grad_cam
from rsna.inference.heat import grey_original, heat_on_original
from rsna.inference.predictor import Predictor
from rsna.model.backbone import Features
from rsna.model.network import MammogramNet, build_model
from rsna.prepare.geometry import Geometry
from rsna.runs.trained_ensemble import load_ensemble
from tests.inference.runs import write_exams, write_run
from tests.prepare import phantoms
from tests.prepare.files import write_dicom


class Brightness(nn.Module):
    """A backbone whose one feature is the brightness of blocks of 16 × 16 pixels."""

    def forward(self, images):
        return nn.functional.avg_pool2d(images, 16).relu()


def brightness_network(**settings) -> MammogramNet:
    network = MammogramNet(Brightness(), Features(1), ModelSettings(pretrained=False, **settings), 1, ExampleSpec())
    nn.init.ones_(network.classifier.weight)
    return network


def spot() -> np.ndarray:
    """Bright from row 64 to 95 and from column 32 to 63, black elsewhere."""
    image = np.zeros((128, 64), np.uint8)
    image[64:96, 32:64] = 255
    return image


def peak(heat: np.ndarray) -> tuple[float, float]:
    """Centre of what is at least nine tenths of the highest."""
    rows, columns = np.nonzero(heat >= 0.9 * heat.max())
    return rows.mean(), columns.mean()


@pytest.fixture(autouse=True)
def _captum():
    pytest.importorskip("captum", reason="heat maps need captum")


@pytest.mark.parametrize("settings", [{}, {"resize": 32}, {"resize": 128, "crop": 96}])
def test_heat_is_where_the_evidence_is(settings):
    heat = grad_cam([brightness_network(**settings)], spot(), 0)
    assert heat.shape == (128, 64)
    assert peak(heat) == pytest.approx((79.5, 47.5), abs=8)


@pytest.mark.parametrize("backbone", ["vit_tiny_patch16_224", "swin_s3_tiny_224"])
def test_networks_of_tokens_and_windows_have_heat_too(backbone):
    torch.manual_seed(0)
    network = build_model(ModelSettings(backbone, pretrained=False), 1)
    nn.init.normal_(network.classifier.weight)
    heat = grad_cam([network], spot(), 0)
    assert heat.shape == (128, 64)
    assert np.isfinite(heat).all()


def test_what_the_centre_crop_leaves_out_has_no_heat():
    heat = grad_cam([brightness_network(crop=32)], np.full((128, 64), 255, np.uint8), 0)
    assert heat[64, 32] > 0
    assert heat[:40].max() == heat[:, :12].max() == 0


def test_evidence_against_has_no_heat():
    network = brightness_network()
    nn.init.constant_(network.classifier.weight, -1.0)
    assert grad_cam([network], spot(), 0).max() == 0


def test_sixteen_bits_and_several_networks():
    network = brightness_network()
    eight, sixteen = spot(), spot().astype(np.uint16) * 257
    np.testing.assert_allclose(grad_cam([network], sixteen, 0), grad_cam([network] * 2, eight, 0), atol=1e-5)


@pytest.mark.parametrize("what", ["classifier", "everything"])
def test_randomised_weights_change_the_map(what):
    """Adebayo et al., Sanity Checks for Saliency Maps (2018)."""
    maps = []
    breast = phantoms.breast(256, 128, side="left", muscle=True, seed=1)[0]
    image = (255 * (breast / breast.max())).astype(np.uint8)
    for seed in (0, 1):
        torch.manual_seed(seed if what == "everything" else 0)
        network = build_model(ModelSettings(backbone="test_efficientnet", pretrained=False), 1)
        torch.manual_seed(seed)
        nn.init.normal_(network.classifier.weight)
        maps.append(grad_cam([network], image, 0))
    assert min(one.max() for one in maps) > 0
    assert np.corrcoef(maps[0].ravel(), maps[1].ravel())[0, 1] < 0.9


@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("scale", [1, 2])
def test_heat_lands_on_the_original_through_crop_mirror_scale_and_padding(flipped, scale):
    geometry = Geometry((400, 300), (40, 60, 240, 360), flipped, (120, 80), (4, 0), (128, 96))
    heat = np.zeros((128, 96), np.float32)
    heat[60:64, 30:34] = 1
    on_original = heat_on_original(heat, geometry, (400 // scale, 300 // scale))
    x, y = geometry.to_original([[32.0, 62.0]])[0]
    row, column = peak(on_original)
    assert (scale * (column + 0.5), scale * (row + 0.5)) == pytest.approx((x, y), abs=1.5 * scale)
    everywhere = heat_on_original(np.ones((128, 96), np.float32), geometry, (400, 300))
    assert everywhere.sum() == 200 * 300


@pytest.fixture(scope="module")
def explained(tmp_path_factory):
    """A right breast, what two folds explain of it, and where on it the breast is."""
    folder = tmp_path_factory.mktemp("explained")
    image, breast = phantoms.breast(400, 300, side="right", muscle=True, seed=3)
    file = folder / "1.dcm"
    write_dicom(file, image, "jpeg2000", PatientID="p", ImageLaterality="R", ViewPosition="MLO")
    trained = load_ensemble(write_run(folder / "run"))
    (found,) = explain(trained, images_beside(None, file), file, 0)
    return file, trained, found, breast


def test_a_file_is_explained_on_its_own_pixels(explained):
    file, trained, found, _ = explained
    assert found.weight is None
    assert found.original.shape == found.heat.shape == found.spread.shape == (400, 300)
    assert (found.folds, found.networks) == ((0, 1), 2)
    assert (found.side, found.view) == ("R", "MLO")
    assert found.picture().shape == (400, 300, 3)
    assert explain(trained, images_beside(None, file), file, 80)[0].original.shape == (80, 60)


def test_nothing_is_coloured_outside_of_the_breast(explained):
    _, _, found, breast = explained
    assert found.breast_found
    assert found.top == found.heat.max() > 0
    picture = found.picture()
    coloured = (picture != found.original[..., None]).any(axis=2)
    near = cv2.dilate(breast.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0  # to some pixels of the skin
    assert coloured[breast].mean() > 0.2
    assert not coloured[~near].any()
    assert not found.spread[~near].any()
    assert 0 < found.outside < 1


def test_the_probability_is_that_which_is_predicted(explained):
    file, _, found, _ = explained
    with Predictor(file.parent / "run", backend="torch", workers=1) as predictor:
        (image,) = predictor.predict(file).images
    assert found.probability == pytest.approx(image.probability, abs=1e-5)


def test_the_arithmetic_is_that_which_the_run_was_trained_in_by_choice(explained, monkeypatch):
    file, trained, _, _ = explained
    asked = []
    monkeypatch.setattr("rsna.inference.explain.choose_precision", lambda _, wanted: asked.append(wanted) or "32")
    exact = replace(trained, members=tuple(replace(member, precision="32") for member in trained.members))
    explain(exact, images_beside(None, file), file, 40)
    assert asked == ["32"]


def test_heat_and_spread_are_mean_and_deviation_over_folds(explained):
    file, _, found, _ = explained
    alone = [explain(load_ensemble(file.parent / "run", (k,)), images_beside(None, file), file, 0)[0] for k in (0, 1)]
    assert max(one.spread.max() for one in alone) < 1e-3 * found.top
    one, other = (fold.heat for fold in alone)
    np.testing.assert_allclose(found.heat, (one + other) / 2, atol=1e-6)
    np.testing.assert_allclose(found.spread, np.abs(one - other) / 2, atol=1e-3 * found.top)
    assert found.spread.max() > 0


def test_members_of_other_crops_are_shown_what_any_of_them_is_shown(explained, tmp_path):
    file, _, _, _ = explained
    model = {"backbone": "test_efficientnet", "pretrained": False}
    runs = [
        str(write_run(tmp_path / crop, preprocess={"size": [64, 64], "crop": crop}, model=model))
        for crop in ("breast", "none")
    ]
    (alone,) = explain(load_ensemble(runs[0]), images_beside(None, file), file, 0)
    assert alone.box != (0, 0, 300, 400)
    for both in (runs, runs[::-1]):
        (found,) = explain(load_ensemble(both), images_beside(None, file), file, 0)
        assert found.box == (0, 0, 300, 400)


def test_the_figure_has_a_panel_of_the_spread_and_a_scale(explained):
    file, trained, found, _ = explained
    (alone,) = explain(load_ensemble(file.parent / "run", (0,)), images_beside(None, file), file, 0)
    both, one = found.figure("run", trained.threshold), alone.figure("run", trained.threshold)
    assert both.shape[1] > one.shape[1] + found.box[2] - found.box[0]
    coloured = np.ptp(one.astype(int), axis=2) > 25
    right = np.flatnonzero(coloured.any(axis=0)).max()  # of the scale: words are grey
    rows = np.flatnonzero(coloured[:, right])
    lightness = one[rows, right].astype(int).sum(axis=1)
    assert lightness[: len(rows) // 4].mean() > lightness[-len(rows) // 4 :].mean() + 60  # the highest is above


def test_originals_are_not_enlarged():
    class Small:
        size, levels, has_window = (50, 40), 0, True

        def size_at(self, level):
            return self.size

        def display(self, stored, *, window=0, box=None):
            assert stored == 0
            return np.full(self.size, 0.7, np.float32)

    grey = grey_original(Small(), PreprocessSettings(), 500)
    assert grey.shape == (50, 40)
    assert (grey == round(0.7 * 255)).all()


def test_prediction_never_needs_captum():
    code = "import sys; import rsna.inference.infer, rsna.inference.explain; sys.exit('captum' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_without_captum_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(ConfigError, match="pip install"):
        grad_cam([brightness_network()], spot(), 0)


def test_a_breast_with_a_damaged_file_is_explained_by_the_rest_which_is_said(tmp_path):
    options = {"unit": "breast", "compare": True, "fusion": {"kind": "attention", "width": 8}}
    options["model"] = {"backbone": "test_efficientnet", "pretrained": False}
    trained = load_ensemble(write_run(tmp_path / "run", inputs=(TableInput("view", ("CC", "MLO")),), **options))
    write_exams(tmp_path / "exams", 1)
    images = load_test_set(tmp_path / "exams").images
    files = dict(zip(images["image_id"], images["path"], strict=True))
    for image_id in ("10", "11"):  # of the left breast's two images, and of the right breast's
        Path(files[image_id]).write_bytes(b"no dicom")
    (found,) = explain(trained, images, Path(files["12"]), 40)
    assert found.file == Path(files["12"])
    assert found.weight == pytest.approx(1)
    assert [line.partition(": ")[0] for line in found.lost] == [files["10"], files["11"]]
    with Predictor(tmp_path / "run", backend="torch", workers=1) as predictor:
        said = {image.image_id: image.probability for image in predictor.predict(tmp_path / "exams").images}
    assert found.probability == pytest.approx(said["12"], abs=1e-5)
    with pytest.raises(DicomError):
        explain(trained, images, Path(files["10"]), 40)

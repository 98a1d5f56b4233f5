"""The crop on digitised films, and on whatever else is no plain mammogram."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from rsna.config.data import PreprocessSettings
from rsna.demo import DemoSettings
from rsna.demo.films import Film, draw_film
from rsna.demo.plan import plan_patients
from rsna.prepare.crop import find_breast
from rsna.prepare.image import prepare_image
from tests.prepare import phantoms

FILMS = 200


@dataclass(frozen=True)
class Shown:
    """What a prepared image shows of a film."""

    found: bool
    chest_wall: str
    breast: float
    """Share of the breast."""
    labels: int
    """Labels that show more than a twentieth of themselves, beyond what the halo of the breast takes in."""


def _shown(film: Film, folder: Path) -> Shown:
    """The way of a user's file: PNG, overview, crop; all that the outline blackens is seen beside its box alone."""
    cv2.imwrite(str(folder / "film.png"), film.picture)
    pixels, geometry = prepare_image(folder / "film.png", PreprocessSettings())
    whole, _ = prepare_image(folder / "film.png", PreprocessSettings(crop="boxes", boxes="-"), geometry.box)
    kept = ((pixels >= whole / 2) & (whole > 0))[geometry.content]
    kept = kept[:, ::-1] if geometry.flipped else kept
    x0, y0, x1, y1 = geometry.box

    def counts(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels of each piece, on the film and shown."""
        n, pieces = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
        part = pieces[y0:y1, x0:x1].astype(np.float32)
        scaled = cv2.resize(part, geometry.fitted[::-1], interpolation=cv2.INTER_NEAREST).astype(np.int64)
        seen = np.bincount(scaled[kept], minlength=n) / np.prod(geometry.scale)
        return np.bincount(pieces.ravel(), minlength=n)[1:], seen[1:]

    (sizes, seen), (breast, breast_seen) = counts(film.labels), counts(film.breast)
    shown = int(((sizes >= 30) & (seen > np.maximum(20, 0.05 * sizes))).sum())
    side = "right" if geometry.flipped else "left"
    return Shown(geometry.breast_found, side, breast_seen.sum() / breast.sum(), shown)


def test_prepared_films_show_the_breast_on_its_side_and_no_labels(tmp_path: Path) -> None:
    """The harshest of everything at once: of public films, fewer than one in ten had any of it."""
    patients = plan_patients(DemoSettings(n_train=FILMS // 4), "train")
    trouble: dict[str, list[str]] = {"not found": [], "wrong side": [], "label kept": [], "breast cut": []}
    shots = [(patient, shot) for patient in patients for shot in patient.shots[:4]]
    for number, (patient, shot) in enumerate(shots):
        film = draw_film(patient, shot, np.random.default_rng([0, shot.image_id]))
        shown = _shown(film, tmp_path)
        wrong = {
            "not found": not shown.found,
            "wrong side": shown.chest_wall != film.chest_wall,
            "label kept": shown.labels > 0,
            "breast cut": shown.breast < 0.9,
        }
        for kind in (kind for kind, is_so in wrong.items() if is_so):
            trouble[kind].append(f"{number}: {', '.join(film.traits)}")
    print(f"{len(shots)} films: " + ", ".join(f"{len(films)} {kind}" for kind, films in trouble.items()))
    assert len(shots) == FILMS
    counts = [len(films) for films in trouble.values()]
    assert all(np.array(counts) <= (3, 1, 14, 2)), trouble


@pytest.mark.parametrize("text", ["R MLO", "28-1131"])
@pytest.mark.parametrize("level", [0.65, 0.9])
@pytest.mark.parametrize("gap", [1, 6])
def test_thin_writing_against_the_breast_is_blackened_on_a_file_of_any_size(
    text: str, level: float, gap: int, tmp_path: Path
) -> None:
    image, tissue = phantoms.breast(700, 560)
    (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.6, 1)
    drawn = np.zeros((height + 12, width + 12), np.uint8)
    cv2.putText(drawn, text, (6, height + 5), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 255, 1, cv2.LINE_AA)
    cv2.rectangle(drawn, (0, 0), (drawn.shape[1] - 1, drawn.shape[0] - 1), 255, 2)
    ink = drawn.astype(np.float32) * np.float32(level / 255)
    left = int(np.flatnonzero(tissue[380])[-1]) + 1 + gap
    where = np.s_[380 : 380 + ink.shape[0], left : left + ink.shape[1]]
    ink[tissue[where]] = 0
    image[where] = np.maximum(image[where], ink)
    labels = np.zeros_like(tissue)
    labels[where] = ink > 0.3
    picture = np.rint(image * 255).astype(np.uint8)
    shown = _shown(Film(picture, tissue, labels, "left", ()), tmp_path)
    assert shown.labels == 0
    assert shown.breast > 0.95


@pytest.mark.parametrize("edge", ["above", "below", "left", "right"])
@pytest.mark.parametrize("width", [1, 2, 5, 13, 30])
@pytest.mark.parametrize("level", [0.15, 1.0])
@pytest.mark.parametrize("side", ["left", "right"])
def test_bright_lines_at_an_edge_change_nothing(edge: str, width: int, level: float, side: str) -> None:
    image, _ = phantoms.breast(side=side, muscle=True)
    image = phantoms.with_label(image, at=(0.62 if side == "left" else 0.05, 0.1))
    plain = find_breast(image)
    lines = {"above": np.s_[:width], "below": np.s_[-width:], "left": np.s_[:, :width], "right": np.s_[:, -width:]}
    barred = image.copy()
    barred[lines[edge]] = level
    found = find_breast(barred)
    assert found.found
    assert found.chest_wall == side
    assert not found.outline[(image == 1) & (plain.outline == 0)].any()
    for ours, theirs in zip(found.box, plain.box, strict=True):
        assert abs(ours - theirs) <= width + 6


@pytest.mark.parametrize("grain", [0.01, 0.03, 0.06, 0.1])
@pytest.mark.parametrize("muscle", [False, True])
@pytest.mark.parametrize("fog", [0.0, 0.1])
def test_grain_in_the_air_hides_no_breast(grain: float, muscle: bool, fog: float) -> None:
    image, tissue = phantoms.breast(muscle=muscle)
    rng = np.random.default_rng(3)
    noisy = np.clip(fog + image * (1 - fog) + grain * rng.standard_normal(image.shape), 0, 1)
    found = find_breast(noisy)
    assert found.found
    assert found.chest_wall == "left"
    assert found.outline[tissue].mean() > 0.95
    assert found.outline.mean() < 1.7 * tissue.mean()


@pytest.mark.parametrize("gap", [-6, 0, 4, 12])
@pytest.mark.parametrize("size", [(30, 90), (60, 40)])
def test_a_label_against_the_breast_is_left_out(gap: int, size: tuple[int, int]) -> None:
    image, tissue = phantoms.breast()
    tip = int(np.flatnonzero(tissue[260])[-1]) + 1 + gap
    where = np.s_[245 : 245 + size[0], tip : tip + size[1]]
    image[where] = 0.95
    kept = find_breast(image)
    box = np.zeros(image.shape, np.bool_)
    box[kept.box[1] : kept.box[3], kept.box[0] : kept.box[2]] = True
    assert (kept.outline.astype(np.bool_) & box)[where].mean() < 0.05
    assert kept.outline[tissue].mean() > 0.94


def _lying() -> np.ndarray:
    return np.rot90(phantoms.breast()[0]).copy()


def _two_breasts() -> np.ndarray:
    return np.hstack([phantoms.breast(side="right")[0], phantoms.breast(side="left")[0]])


def _specimen() -> np.ndarray:
    y, x = np.mgrid[:400, :300]
    return np.where(np.hypot(y - 200, x - 150) < 70, 0.5 + 0.1 * np.sin(x / 9) * np.sin(y / 7), 0)


def _both_sides() -> np.ndarray:
    return phantoms.breast(depth=1.3)[0]


def _implant() -> np.ndarray:
    image, _ = phantoms.breast()
    y, x = np.indices(image.shape)
    image[np.hypot(x, (y - 264) * 0.6) < 90] = 1.0
    return image


@pytest.mark.parametrize("draw", [_lying, _two_breasts, _specimen, _both_sides, _implant], ids=lambda f: f.__name__)
def test_what_is_no_plain_mammogram_is_kept(draw: object) -> None:
    image = draw()  # type: ignore[operator]
    found = find_breast(image)
    x0, y0, x1, y1 = found.box
    assert 0 <= x0 < x1 <= image.shape[1]
    assert 0 <= y0 < y1 <= image.shape[0]
    tissue = image > 0.1
    kept = np.zeros_like(tissue)
    kept[y0:y1, x0:x1] = found.outline[y0:y1, x0:x1] > 0
    assert kept[tissue].mean() > (0.45 if draw is _two_breasts else 0.95)


def _one_bright_pixel() -> np.ndarray:
    image = np.zeros((300, 200))
    image[150, 100] = 1
    return image


@pytest.mark.parametrize(
    "image",
    [_one_bright_pixel(), np.full((300, 200), 255, np.uint8), np.ones((1, 700)), np.eye(2), np.arange(900.0)[None]]
    + [np.random.default_rng(seed).random((rows, 3)) for seed, rows in enumerate((3, 9, 400))],
    ids=lambda image: "×".join(map(str, image.shape)),
)
def test_pictures_without_a_breast_are_kept_whole(image: np.ndarray) -> None:
    found = find_breast(image)
    assert not found.found
    assert found.box == (0, 0, image.shape[1], image.shape[0])

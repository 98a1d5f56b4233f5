"""Screening films as a digitiser gave them: what stands on a film beside the breast, and what scanning adds.

Lead letters and paper labels, step wedges, tape, scratches, dust, fog and grain on the film; its edges, a crooked
place on the glass and the frame of the picture from the digitiser. What is where is kept, so that whatever looks for
the breast can be judged.
"""

from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from rsna.demo import texture
from rsna.demo.plan import Patient, Shot
from rsna.demo.scene import draw_scene
from rsna.demo.texture import Image

Mask = npt.NDArray[np.bool_]

_TRIES = 30
"""Places that are tried for a label before the film goes without it."""

_GRAIN = (0.0, 0.01, 0.03, 0.06, 0.1)
"""Standard deviations of the grain of air, in the displayed range; tissue, less exposed, has a third of it."""

_BAR_WIDTHS = (1, 1, 2, 3, 5, 8, 16, 30)
"""Pixels that the bright edge of a film takes of a picture of some 500."""


@dataclass(frozen=True, eq=False)
class Film:
    """A digitised film and what is where on it."""

    picture: npt.NDArray[np.uint8]
    """(H, W) uint8, dense tissue bright."""
    breast: Mask
    """(H, W) bool, with skin."""
    labels: Mask
    """(H, W) bool, labels, letters, wedges and tape that no breast hides."""
    chest_wall: Literal["left", "right"]
    traits: tuple[str, ...]
    """What was done to it, for a person who looks for the reason of a mistake."""


@dataclass
class _Sheet:
    """A film while it is drawn; all of (H, W)."""

    picture: Image
    breast: Mask
    labels: Mask
    traits: list[str]

    def place(self, patch: Image, top: int, left: int) -> None:
        """Lays a label on the film."""
        where = np.s_[top : top + patch.shape[0], left : left + patch.shape[1]]
        self.picture[where] = patch
        self.labels[where], self.breast[where] = patch > 0.3, False


def draw_film(patient: Patient, shot: Shot, rng: np.random.Generator) -> Film:
    """Draws one film; every trait comes and goes by ``rng``, so that some films have none and some nearly all."""
    # A film has none of what a digital machine does: no marks of its own, no processing.
    emulsion = replace(
        patient.machine,
        labels=0.0,
        paddle=False,
        neighbours=0.0,
        frame=0.0,
        contrast=0.8,
        brightness=1.1,
        sharpness=0.0,
    )
    bare = replace(patient, machine=emulsion)
    drawn = draw_scene(bare, shot, rng)
    sheet = _Sheet(drawn.picture, ~drawn.air, np.zeros(drawn.air.shape, np.bool_), [])
    if rng.random() < 0.25:
        _cut_close(sheet, rng)
    _fog(sheet, rng)
    for _ in range(int(rng.choice([0, 1, 2, 3], p=[0.15, 0.45, 0.25, 0.15]))):
        _place_label(sheet, rng)
    if rng.random() < 0.2:
        _place_wedge(sheet, rng)
    if rng.random() < 0.2:
        _tape(sheet, rng)
    _grain(sheet, rng)
    _scratch(sheet, rng)
    if rng.random() < 0.3:
        _turn(sheet, rng)
    _edges(sheet, rng)
    if rng.random() < 0.4:
        _pad(sheet, rng)
    picture = np.rint(np.clip(sheet.picture, 0, 1) * 255).astype(np.uint8)
    side: Literal["left", "right"] = "left" if shot.laterality == "L" else "right"
    return Film(picture, sheet.breast, sheet.labels, side, tuple(sheet.traits))


def _cut_close(sheet: _Sheet, rng: np.random.Generator) -> None:
    """A small film: the breast runs out of it above and below."""
    sheet.traits.append("three edges")
    rows = np.flatnonzero(sheet.breast.any(axis=1))
    height = rows[-1] - rows[0]
    top, bottom = rows[0] + int(height * rng.uniform(0.0, 0.1)), rows[-1] - int(height * rng.uniform(0.02, 0.12))
    for name in ("picture", "breast", "labels"):
        setattr(sheet, name, getattr(sheet, name)[top:bottom].copy())


def _fog(sheet: _Sheet, rng: np.random.Generator) -> None:
    """Air is never black: base and fog, on some films brighter in a corner than fat elsewhere."""
    rows, columns = sheet.picture.shape
    base = float(rng.choice([0.0, 0.04, 0.1, 0.18]))
    slope = float(rng.choice([0.0, 0.03, 0.08, 0.16], p=[0.3, 0.3, 0.25, 0.15]))
    sheet.traits.append(f"fog {base:g}±{slope:g}")
    y, x = np.mgrid[-0.5 : 0.5 : rows * 1j, -0.5 : 0.5 : columns * 1j]
    angle = rng.uniform(0, 2 * np.pi)
    blotches = texture.sample(texture.cloud(), *texture.turned(rng, *_grid(rows, columns), 1.0))
    fog = np.clip(base + slope * (0.5 + np.cos(angle) * x + np.sin(angle) * y) + 0.1 * slope * blotches, 0, 1)
    curve = sheet.picture ** float(rng.uniform(0.75, 1.2))  # films differ in contrast
    sheet.picture = (fog + (1 - fog) * curve).astype(np.float32)


def _grid(rows: int, columns: int) -> tuple[Image, Image]:
    y, x = np.mgrid[:rows, :columns].astype(np.float32)
    return x, y


def _place_label(sheet: _Sheet, rng: np.random.Generator) -> None:
    """Lead letters, a light box with dark writing or a dark box with a bright rim; some touch the breast or an edge."""
    patch = _label(sheet.picture.shape, rng)
    rows, columns = sheet.picture.shape
    height, width = patch.shape
    where = str(rng.choice(["anywhere", "edge", "breast"], p=[0.5, 0.2, 0.3]))
    for _ in range(_TRIES):
        top, left = int(rng.integers(rows - height)), int(rng.integers(columns - width))
        if where == "edge":
            left = 0 if left < (columns - width) / 2 else columns - width
        elif where == "breast":
            left = _beside_breast(sheet.breast[top : top + height], width)
        taken = (sheet.breast | sheet.labels)[top : top + height, left : left + width]
        if 0 <= left <= columns - width and not taken.any():
            sheet.place(patch, top, left)
            sheet.traits.append(f"label {where}")
            return


def _beside_breast(rows: Mask, width: int) -> int:
    """The first column of a label of ``width`` that touches the breast in these rows from the side of the air."""
    columns = np.flatnonzero(rows.any(axis=0))
    if columns.size == 0:
        return -1
    stands_left = columns[0] < rows.shape[1] - 1 - columns[-1]
    return int(columns[-1]) + 1 if stands_left else int(columns[0]) - width


def _label(shape: tuple[int, int], rng: np.random.Generator) -> Image:
    text = str(rng.choice(["R MLO", "L-CC", "RMLO", "LCC 12", "MLO L", "R", "28-1131"]))
    scale, thickness = float(rng.uniform(0.4, 1.1)), int(rng.integers(1, 4))
    (width, height), under = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thickness)
    rim = int(rng.integers(3, 9))
    size = (min(height + under + 2 * rim, shape[0] // 3), min(width + 2 * rim, shape[1] // 3))
    ink = np.zeros(size, np.uint8)
    cv2.putText(ink, text, (rim, size[0] - under - rim), cv2.FONT_HERSHEY_SIMPLEX, scale, 255, thickness, cv2.LINE_AA)
    level, style = float(rng.uniform(0.65, 1.0)), str(rng.choice(["light box", "letters", "rimmed box"]))
    patch = ink.astype(np.float32) / np.float32(255) * np.float32(level)
    if style == "light box":
        patch = np.float32(level) - patch * np.float32(0.8)
    elif style == "rimmed box":
        cv2.rectangle(patch, (0, 0), (size[1] - 1, size[0] - 1), level, 2)
    turned = np.rot90(patch, int(rng.integers(1, 4))) if rng.random() < 0.3 else patch
    return np.ascontiguousarray(turned[: shape[0] // 3, : shape[1] // 3])


def _place_wedge(sheet: _Sheet, rng: np.random.Generator) -> None:
    """A step wedge along the edge away from the chest wall."""
    rows, columns = sheet.picture.shape
    steps, width = int(rng.integers(6, 12)), int(columns * rng.uniform(0.05, 0.1))
    wedge = np.repeat(np.linspace(0.1, 1.0, steps, dtype=np.float32), int(rows * 0.5) // steps)[:, None]
    wedge = np.tile(wedge[:: int(rng.choice([1, -1]))], (1, width))
    top = int(rng.integers(rows - len(wedge)))
    left = 0 if sheet.breast[:, -1].any() else columns - width
    if not (sheet.breast | sheet.labels)[top : top + len(wedge), left : left + width].any():
        sheet.place(wedge, top, left)
        sheet.traits.append("wedge")


def _tape(sheet: _Sheet, rng: np.random.Generator) -> None:
    """A translucent strip across the air, from edge to edge."""
    rows, columns = sheet.picture.shape
    strip = np.zeros((rows, columns), np.float32)
    width, level = int(rng.integers(6, 40)), float(rng.uniform(0.05, 0.3))
    if rng.random() < 0.5:
        left = int(columns * rng.uniform(0.75, 1.0)) if not sheet.breast[:, -1].any() else int(columns * 0.1)
        strip[:, max(0, left - width) : left] = level
    else:
        top = int(rng.choice([0, rows - width]))
        strip[top : top + width] = level
    sheet.picture = np.where(sheet.breast, sheet.picture, np.minimum(sheet.picture + strip, 1)).astype(np.float32)
    sheet.labels |= (strip > 0) & ~sheet.breast
    sheet.traits.append("tape")


def _grain(sheet: _Sheet, rng: np.random.Generator) -> None:
    amount = float(rng.choice(_GRAIN))
    sheet.traits.append(f"grain {amount:g}")
    noise = rng.standard_normal(sheet.picture.shape, dtype=np.float32)
    noise = texture.blur(noise, float(rng.choice([0.3, 0.6, 0.9])))
    share = np.where(sheet.breast | sheet.labels, 0.3, 1.0).astype(np.float32)
    sheet.picture = sheet.picture + noise / noise.std() * np.float32(amount) * share


def _scratch(sheet: _Sheet, rng: np.random.Generator) -> None:
    """Scratches from edge to edge and dust, bright or dark."""
    rows, columns = sheet.picture.shape
    for _ in range(int(rng.choice([0, 1, 3], p=[0.5, 0.3, 0.2]))):
        layer = np.zeros((rows, columns), np.uint8)
        start, end = (round(float(at) * min(rows, columns)) for at in rng.uniform(0, 1, 2))
        upright = rng.random() < 0.5
        first, last = ((start, 0), (end, rows)) if upright else ((0, start), (columns, end))
        cv2.line(layer, first, last, 255, int(rng.integers(1, 3)), cv2.LINE_AA)
        depth = np.float32(rng.choice([-0.3, 0.2, 0.5]) / 255)
        sheet.picture = np.asarray(sheet.picture + layer * depth, np.float32)
        sheet.traits.append("scratch")
    for _ in range(int(rng.choice([0, 40]))):
        centre = (int(rng.integers(columns)), int(rng.integers(rows)))
        cv2.circle(sheet.picture, centre, int(rng.integers(0, 3)), float(rng.uniform(0.6, 1.0)), -1)


def _turn(sheet: _Sheet, rng: np.random.Generator) -> None:
    """The film lay crooked: its corners show the glass, black or white."""
    rows, columns = sheet.picture.shape
    turn = cv2.getRotationMatrix2D((columns / 2, rows / 2), float(rng.uniform(-4, 4)), 1.0)
    glass = float(rng.choice([0.0, 1.0]))

    def turned(image: Image, fill: float) -> Image:
        return np.asarray(cv2.warpAffine(image, turn, (columns, rows), borderValue=fill), np.float32)

    sheet.picture = turned(sheet.picture, glass)
    sheet.breast, sheet.labels = (turned(mask.astype(np.float32), 0.0) > 0.5 for mask in (sheet.breast, sheet.labels))
    sheet.traits.append(f"turned on {glass:g}")


def _edges(sheet: _Sheet, rng: np.random.Generator) -> None:
    """Bars where the film ends, of one pixel or many, at any of the four edges, the chest wall's too."""
    for edge, name in enumerate(("above", "below", "left", "right")):
        if rng.random() < 0.6:
            continue
        width, level = int(rng.choice(_BAR_WIDTHS)), float(rng.choice([0.0, 0.5, 0.8, 1.0]))
        where = (np.s_[:width], np.s_[-width:], np.s_[:, :width], np.s_[:, -width:])[edge]
        bar = sheet.picture[where]
        grain = rng.standard_normal(bar.shape, dtype=np.float32) * np.float32(rng.choice([0.0, 0.02]))
        sheet.picture[where] = level + grain
        sheet.breast[where], sheet.labels[where] = False, False
        sheet.traits.append(f"bar {name} {width} {level:g}")


def _pad(sheet: _Sheet, rng: np.random.Generator) -> None:
    """Black or white columns, as where all pictures of a set were brought to one size."""
    columns = sheet.picture.shape[1]
    wide = [int(columns * share) for share in rng.choice([0.0, 0.05, 0.2, 0.4], 2)]
    level = float(rng.choice([0.0, 1.0], p=[0.8, 0.2]))
    sheet.picture = np.pad(sheet.picture, ((0, 0), wide), constant_values=level)
    sheet.breast, sheet.labels = (np.pad(mask, ((0, 0), wide)) for mask in (sheet.breast, sheet.labels))
    sheet.traits.append(f"padded {wide} {level:g}")

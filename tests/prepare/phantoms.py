"""Simple breasts for tests: half an ellipse of textured tissue at the chest wall, and what gets in its way."""

import cv2
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.float32]


def breast(
    rows: int = 480,
    columns: int = 384,
    *,
    side: str = "left",
    muscle: bool = False,
    seed: int = 0,
    depth: float = 0.45,
    height: float = 0.6,
) -> tuple[Picture, npt.NDArray[np.bool_]]:
    """(rows, columns) float32 in [0, 1] with air at 0, and where tissue is; ``depth`` and ``height`` are shares."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:rows, :columns].astype(np.float32)
    shape = (x / (depth * columns)) ** 2 + ((y - 0.55 * rows) / (height / 2 * rows)) ** 2
    tissue = shape < 1
    if muscle:
        tissue |= x / (0.3 * columns) + y / (0.6 * rows) < 1
    grain = cv2.GaussianBlur(rng.normal(size=(rows, columns)).astype(np.float32), (0, 0), max(1.0, rows / 120))
    image = 0.35 + 0.12 * grain / grain.std() + 0.25 * np.clip(1 - shape, 0, 1)
    if muscle:
        image[x / (0.25 * columns) + y / (0.5 * rows) < 1] += 0.25
    image = np.where(tissue, np.clip(image, 0.12, 0.95), 0).astype(np.float32)
    if side == "right":
        image, tissue = image[:, ::-1].copy(), tissue[:, ::-1].copy()
    return image, tissue


def with_label(image: Picture, text: str = "R-MLO", at: tuple[float, float] = (0.62, 0.1)) -> Picture:
    """Burnt-in letters, as bright as anything, at shares (x, y) of the picture."""
    rows, columns = image.shape
    letters = np.zeros((rows, columns), np.uint8)
    place = (round(at[0] * columns), round(at[1] * rows))
    cv2.putText(letters, text, place, cv2.FONT_HERSHEY_SIMPLEX, rows / 600, 255, max(1, rows // 240), cv2.LINE_AA)
    return np.maximum(image, letters.astype(np.float32) / 255)


def with_plate(image: Picture) -> Picture:
    """A solid bright plate in the corner far from the breast, as some machines print ids on."""
    rows, columns = image.shape
    out = image.copy()
    out[: rows // 10, columns - columns // 4 :] = 0.9
    return out


def with_frame(image: Picture, share: float = 0.04, level: float = 1.0) -> Picture:
    """White around the picture, as collimator blades leave it; the breast stands against it."""
    rows, columns = image.shape
    width = max(1, round(share * rows))
    out = np.full((rows + 2 * width, columns + 2 * width), level, np.float32)
    out[width:-width, width:-width] = image
    return out


def with_bar(image: Picture, level: float = 0.4) -> Picture:
    """A bar of middle grey above the picture."""
    bar = np.full((image.shape[0] // 20, image.shape[1]), level, np.float32)
    return np.vstack([bar, image])


def with_bar_behind(image: Picture) -> Picture:
    """A white bar along the upper edge that ends where the muscle begins."""
    out = image.copy()
    edge = out[: image.shape[0] // 40]
    edge[edge == 0] = 1.0
    return out


def with_paddle(image: Picture) -> Picture:
    """The edge of a compression paddle: a thin line from top to bottom."""
    out = image.copy()
    column = int(0.65 * image.shape[1])
    out[:, column : column + 4] = np.maximum(out[:, column : column + 4], 0.3)
    return out


def with_clips(image: Picture) -> Picture:
    """Metal on the skin and in the breast, brighter than everything else."""
    out = image.copy()
    rows, columns = image.shape
    for x, y in ((0.1, 0.5), (0.2, 0.6), (0.7, 0.8), (0.3, 0.45)):
        cv2.circle(out, (round(x * columns), round(y * rows)), max(1, rows // 160), 1.6, -1)
    return out


def with_padding(image: Picture) -> Picture:
    """Rows above and below that the detector does not have, darker than air."""
    nothing = np.zeros((image.shape[0] // 12, image.shape[1]), np.float32)
    return np.vstack([nothing, np.maximum(image, 0.05), nothing])


def with_noise(image: Picture) -> Picture:
    """Grey and grainy air, as on scanned film."""
    rng = np.random.default_rng(1)
    fog = np.linspace(0.06, 0.1, image.shape[1], dtype=np.float32)
    return np.maximum(image, fog) + rng.normal(0, 0.01, image.shape).astype(np.float32)


def with_belly(image: Picture) -> Picture:
    """A strip of the body below the breast, along the chest wall on the left."""
    rows, columns = image.shape
    out = image.copy()
    strip = out[rows // 2 :, : max(2, columns // 16)]
    np.maximum(strip, 0.4, out=strip)
    return out


HAZARDS = {
    "label": with_label,
    "plate": with_plate,
    "bar": with_bar,
    "bar behind": with_bar_behind,
    "paddle": with_paddle,
    "clips": with_clips,
    "padding": with_padding,
    "noise": with_noise,
    "belly": with_belly,
}

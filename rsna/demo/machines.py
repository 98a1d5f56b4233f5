"""The scanners of the sample, after what the headers of the competition's files say of ten of them.

A machine turns a picture as a reader would see it into stored values, such that the machine's own window brings the
picture back. Sizes are the real ones divided by 4 to 8.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from rsna.demo.texture import Image

Codec = Literal["jpeg2000", "jpeg_lossless"]


@dataclass(frozen=True)
class Machine:
    """One scanner: how large, how deep and in which sense its files store pixels."""

    machine_id: int
    site_id: int
    share: float
    """Share of the patients, before rounding. Rarer machines come more often than in the competition."""
    size: tuple[int, int]
    """Rows, columns."""
    pitch: float
    """Millimetres per pixel."""
    bits: int
    """Bits Stored (0028,0101)."""
    codec: Codec
    precision: int
    """Bits that the codestream itself declares; 16 in many real files whatever Bits Stored says."""
    inverted: bool = False
    """MONOCHROME1 instead of MONOCHROME2."""
    sigmoid: bool = False
    """VOI LUT Function SIGMOID with several windows, instead of one LINEAR window."""
    centre: float = 0.0
    """Centre of the first window; 0 stands for the full range of Bits Stored."""
    width: float = 0.0
    padding: bool = True
    """Whether the file has a Pixel Padding Value (0028,0120)."""
    sign: int = 1
    """Pixel Intensity Relationship Sign (0028,1041)."""
    labels: float = 0.5
    """Share of the images with a label such as ``R-MLO`` burnt in beside the breast."""
    paddle: bool = False
    """The compression paddle's edge shows as a faint stripe."""
    neighbours: float = 0.3
    """Share of the images in which something of the arm, the belly or the other breast lies in a corner."""
    frame: float = 0.0
    """Share of the images with a bright collimator edge along one border."""
    contrast: float = 1.0
    """Exponent of the curve from tissue to brightness; above 1 fat is dark."""
    brightness: float = 1.0
    """Factor of that curve."""
    sharpness: float = 0.0
    """How far fine detail is amplified before it is shown."""
    full_header: bool = False
    """Whether files say SOP Class, Modality and View Position, which the competition's do not."""
    implants: bool = False

    def finer(self, scale: float) -> "Machine":
        """The same machine with ``scale`` times the pixels along each side of the same picture."""
        rows, columns = self.size
        return replace(self, size=(round(rows * scale), round(columns * scale)), pitch=self.pitch / scale)


MACHINES = (
    Machine(49, 1, 0.20, (585, 475), 0.49, 12, "jpeg2000", 12, labels=0.6, implants=True,
            contrast=1.2, brightness=1.3, sharpness=0.6),
    Machine(216, 1, 0.08, (574, 478), 0.40, 12, "jpeg_lossless", 16, sigmoid=True, centre=2574, width=900,
            padding=False, sign=-1, labels=0.0, frame=0.4,
            contrast=1.5, brightness=1.35),
    Machine(93, 1, 0.08, (612, 479), 0.50, 12, "jpeg_lossless", 12, sigmoid=True, centre=2779, width=900, sign=-1,
            labels=0.0,
            contrast=1.6, brightness=1.4),
    Machine(210, 1, 0.06, (592, 442), 0.40, 10, "jpeg2000", 10, inverted=True, padding=False, labels=1.0,
            full_header=True,
            contrast=0.9, brightness=0.95, sharpness=0.6),
    Machine(170, 1, 0.08, (475, 366), 0.49, 12, "jpeg2000", 12, labels=0.6, full_header=True, implants=True,
            contrast=1.2, brightness=1.15, sharpness=0.5),
    Machine(190, 1, 0.04, (574, 478), 0.40, 12, "jpeg_lossless", 12, sigmoid=True, centre=2455, width=900,
            padding=False, sign=-1, labels=0.0,
            contrast=1.45, brightness=1.3, sharpness=0.2),
    Machine(21, 2, 0.18, (555, 416), 0.43, 12, "jpeg2000", 16, labels=1.0,
            contrast=0.95, brightness=1.3, sharpness=0.5),
    Machine(48, 2, 0.14, (585, 475), 0.49, 12, "jpeg2000", 12, labels=0.6, frame=0.2,
            contrast=1.3, brightness=1.2, sharpness=0.6),
    Machine(29, 2, 0.14, (669, 614), 0.40, 16, "jpeg2000", 16, inverted=True, sigmoid=True, centre=1802, width=1092,
            labels=0.0, paddle=True,
            contrast=1.0, brightness=0.8, sharpness=0.6),
)  # fmt: skip


@dataclass(frozen=True)
class Exposure:
    """Stored values of one image and the header values that go with them."""

    stored: npt.NDArray[np.uint16]
    """(H, W) uint16 below 2 ** bits."""
    windows: tuple[tuple[int, int], ...]
    """Centre and width, the one that was meant first."""
    padding: int | None


def expose(machine: Machine, picture: "Image", air: npt.NDArray[np.bool_], rng: np.random.Generator) -> Exposure:
    """Stored values which the first window shows as ``picture``.

    Args:
        machine: Decides depth, sense and windows.
        picture: (H, W) float32 in [0, 1], bright is dense.
        air: (H, W) bool, pixels that the machine blanks to its background value.
        rng: Draws the window of this exposure.
    """
    top = 2**machine.bits - 1
    centre, width = (top + 1) / 2, float(top + 1)
    windows = [(round(centre), round(width))]
    shown = np.clip(picture, 0.004, 0.996)
    if machine.sigmoid:
        centre = machine.centre + round(float(rng.normal(0, 60)))
        width = machine.width
        windows = [(round(c), round(w)) for c, w in ((centre, width), (centre + 66, 0.83 * width),
                                                     (centre - 96, 1.17 * width))]  # fmt: skip
        position = np.log(shown / (1 - shown)) / 4  # PS3.3 C.11.2.1.3.1 solved for the input
    else:
        if machine.machine_id == 21 and rng.random() < 0.3:
            # Some of this machine's files are shown through a narrow window instead of the full range.
            centre, width = float(rng.choice([1638, 1717])), 1500.0
            windows = [(round(centre), round(width))]
        position = shown - 0.5
    values = centre + (-position if machine.inverted else position) * width
    background = 0
    if machine.inverted:
        background = min(top, round(centre + 1.28 * width)) if machine.sigmoid else top
    values[air] = background
    stored = np.clip(np.round(values), 0, top).astype(np.uint16)
    return Exposure(stored, tuple(windows), background if machine.padding else None)

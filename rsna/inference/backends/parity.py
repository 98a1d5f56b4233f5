"""Whether networks in another arithmetic predict what torch predicts in 32 bits."""

import tempfile
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rsna.config.data import PreprocessSettings
from rsna.dataset.examples import ExampleSpec
from rsna.demo import DemoSettings, write_demo
from rsna.evaluation.calibration import sigmoid
from rsna.inference.batch import Batch, stack_batch
from rsna.inference.exam import load_test_set
from rsna.parallel.pool import map_tasks
from rsna.parallel.progress import Progress
from rsna.prepare.file_task import prepare_source
from rsna.runs.errors import RunError

if TYPE_CHECKING:
    from rsna.inference.networks import Networks


def check_images(preprocess: PreprocessSettings, folder: str = "", most: int = 16) -> npt.NDArray[Any]:
    """(N, H, W) uint8 or uint16 prepared images, 1 ≤ N ≤ ``most``, of a folder, or simulated mammograms without one.

    Raises:
        RunError: None of the folder's images can be read.
        TableError: The folder cannot be used.
    """
    with tempfile.TemporaryDirectory(prefix="rsna-parity-") as temporary:
        if not folder:
            folder = f"{temporary}/demo"
            write_demo(folder, DemoSettings(n_train=1, n_test=-(-most // 4)), workers=1)
        images = load_test_set(folder).images
        paths = images.loc[images["failure"].eq(""), "path"].tolist()[:most]
        with Progress("prepare", len(paths)) as progress:
            outcomes = progress.over(map_tasks(partial(prepare_source, settings=preprocess), paths))
            pixels = [outcome.value.pixels for outcome in outcomes if outcome.value is not None]
    if not pixels:
        raise RunError(f"images={folder}: none of its images could be read")
    return np.stack(pixels)


def largest_difference(
    ours: "Networks", expected: "Networks", images: npt.NDArray[Any], column: int, spec: ExampleSpec | None = None
) -> float:
    """Largest difference of a probability on these images, over every network; for the rest see :func:`compare`."""
    found, wanted = compare(ours, expected, images, column, spec)
    return float(np.abs(sigmoid(found) - sigmoid(wanted)).max())


def largest_anywhere(
    ours: "Networks", expected: "Networks", images: npt.NDArray[Any], column: int, spec: ExampleSpec | None = None
) -> float:
    """Largest difference of a probability that the differences of the logits can make.

    At a probability of 0.5 a logit counts most, a quarter: few images happen to lie there, and others will.
    """
    found, wanted = compare(ours, expected, images, column, spec)
    return float(np.abs(found - wanted).max()) / 4


def compare(
    ours: "Networks", expected: "Networks", images: npt.NDArray[Any], column: int, spec: ExampleSpec | None = None
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Logits as found and as expected, of every network.

    Args:
        ours: What is asked about.
        expected: Torch in 32 bits.
        images: (N, H, W), predicted all at once, the first by itself, and in pairs, of which the last is an example by
            itself where N is odd.
        column: Of the logits.
        spec: What the networks take beside images, None for nothing. In pairs every value of a table comes, and of
            every second pair the second image is of the other breast; elsewhere nothing is known.
    """
    n, spec = len(images), spec or ExampleSpec()
    values = [np.resize([*range(len(one.values))] or [40.0, 60.0, np.nan], n) for one in spec.inputs]
    table = np.stack(values, axis=1).astype(np.float32) if values else None
    other = np.arange(n) % 4 == 1 if spec.compare else None
    pairs = stack_batch([list(images[start : start + 2]) for start in range(0, len(images), 2)])
    pairs = replace(pairs, table=table, other=other)
    found = [ours.logits(Batch(images)), ours.logits(Batch(images[:1])), ours.logits(pairs)]
    apart = expected.logits(Batch(images))
    wanted = [apart, apart[:, :1], expected.logits(pairs)]
    return np.concatenate(found, axis=1)[..., column], np.concatenate(wanted, axis=1)[..., column]

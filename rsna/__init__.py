"""Mammograms in, cancer probabilities out: the RSNA screening mammography pipeline.

- ``read_mammogram(file)``: the pixels of a DICOM file for display.
- ``open_mammogram(file)``: its tags and pixels, read when they are asked for.
- ``Predictor(run)``: predicts files and exams with a run or a bundle.
- ``pf1(labels, probabilities)``: the competition's metric, probabilistic F1.

Each is imported when it is first used, so that ``import rsna`` is cheap; what it does is to choose how the threads of
torch and its like wait (`rsna.cores`) and to keep libraries from reporting their use (`rsna.telemetry`), unless the
environment says so. The rooms, in the order in which a mammogram passes them: ``dicom``, ``prepare``, ``dataset``,
``evaluation``, ``model``, ``runs``, ``inference``, ``training``, ``board``.
"""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from rsna.cores import set_threads as _set_threads
from rsna.lazy import lazy_names as _lazy_names
from rsna.telemetry import switch_off as _switch_off
from rsna.version import __version__ as __version__

if _TYPE_CHECKING:
    from rsna.dicom import open_mammogram as open_mammogram
    from rsna.dicom import read_mammogram as read_mammogram
    from rsna.evaluation.metrics import pf1 as pf1
    from rsna.inference.predictor import Predictor as Predictor

# Before torch, NumPy and scikit-learn are imported by whatever room comes first: they look once.
_set_threads()
_switch_off()

__all__ = ["Predictor", "open_mammogram", "pf1", "read_mammogram"]

__getattr__, __dir__ = _lazy_names(
    globals(),
    {
        "Predictor": "rsna.inference.predictor",
        "open_mammogram": "rsna.dicom",
        "pf1": "rsna.evaluation.metrics",
        "read_mammogram": "rsna.dicom",
    },
)

"""Mammograms in, cancer probabilities out: the RSNA screening mammography pipeline.

The rooms, in the order in which a mammogram passes them: ``dicom``, ``dataset``, ``evaluation``, ``model``,
``inference``, ``training``, ``board``. Names below are imported when
they are first used, so that ``import rsna`` is cheap.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rsna.dicom import open_mammogram as open_mammogram
    from rsna.dicom import read_mammogram as read_mammogram
    from rsna.evaluation.metrics import pf1 as pf1
    from rsna.inference.predictor import Predictor as Predictor

_HOMES = {
    "Predictor": "rsna.inference.predictor",
    "open_mammogram": "rsna.dicom",
    "pf1": "rsna.evaluation.metrics",
    "read_mammogram": "rsna.dicom",
}

__all__ = ["Predictor", "open_mammogram", "pf1", "read_mammogram"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'rsna' has no attribute {name!r}")

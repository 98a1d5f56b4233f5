"""Mammograms in, cancer probabilities out: the RSNA screening mammography pipeline.

- ``read_mammogram(file)``: the pixels of a DICOM file for display.
- ``open_mammogram(file)``: its tags and pixels, read when they are asked for.
- ``Predictor(run)``: predicts files and exams with a run or a bundle.
- ``pf1(labels, probabilities)``: the competition's metric, probabilistic F1.

Each is imported when it is first used, so that ``import rsna`` is cheap. The rooms, in the order in which a mammogram
passes them: ``dicom``, ``prepare``, ``dataset``, ``evaluation``, ``model``, ``runs``, ``inference``, ``training``,
``board``.
"""

from typing import TYPE_CHECKING as _TYPE_CHECKING

if _TYPE_CHECKING:
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


def __getattr__(name: str) -> object:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'rsna' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})

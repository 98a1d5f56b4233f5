"""Folders and label tables → one checked table of images; its folds, its targets, its prepared images.

``source`` reads a set: an adapter of ``adapters`` knows its layout, ``table`` checks it. A folder of DICOM files
without a table gets one by :mod:`rsna.archive`.
"""

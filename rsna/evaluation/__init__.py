"""Predictions → numbers. NumPy, pandas and scikit-learn; no torch.

The way of the figures: `predictions` reads anybody's file, `breasts` turns images into breasts, `pf1` and `threshold`
score them, `metrics.evaluate` puts the figures of one run together, `bootstrap` adds patient-level intervals and the
paired test, `slices`, `calibration` and `ensemble` look closer, `calls` scores a threshold brought from elsewhere.
"""

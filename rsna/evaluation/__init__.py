"""Predictions → metrics. NumPy, pandas, SciPy and scikit-learn; no torch.

The way through: `predictions` reads anybody's file, `breasts` turns images into breasts, `counts` sorts them once and
counts them in many resamples, `metrics` is the table of metrics, one function each, `bootstrap` adds patient-level
intervals and the paired test, `evaluate` puts together what is known of one run. `slices`, `calibration`, `compare`,
`ensemble` and `targets` look closer; `tables` shows results.
"""

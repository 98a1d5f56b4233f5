"""A configuration in, trained folds with out-of-fold predictions out."""

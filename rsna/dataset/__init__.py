"""Folders and label tables → one checked table of images; folds; targets."""

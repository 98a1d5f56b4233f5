"""Rows of a table → batches of a fold, resumable at any batch."""

"""Examples of a fold → batches, resumable at any batch."""

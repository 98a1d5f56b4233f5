"""A test set predicted in parts, by any processes on any machines, and merged into one submission."""

"""What a run and a bundle are on disk: the only reader and the only writer of both."""

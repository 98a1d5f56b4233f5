"""File → prepared image with its geometry; the cache of prepared images."""

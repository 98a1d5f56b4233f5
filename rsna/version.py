"""The version of the package, by itself: a checkout that nobody has installed has no metadata to read it from."""

__version__ = "0.1.0"

"""Runs and bundles of this room are those of the inference tests."""

from tests.inference.conftest import breast_run, run  # noqa: F401

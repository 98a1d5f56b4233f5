"""`rsna VERB key=value …`: one grammar for every verb."""

from rsna.cli.main import main

__all__ = ["main"]

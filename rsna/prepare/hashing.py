"""The *preprocessing* hash: over everything that decides the pixels of a prepared image."""

from dataclasses import replace

from rsna.config.data import PreprocessSettings
from rsna.config.settings import ConfigError, digest
from rsna.files import sha256

PREPROCESSING_VERSION = 6
"""Raised by hand whenever the same settings give other pixels; part of the preprocessing hash."""


def preprocessing_hash(settings: PreprocessSettings) -> str:
    """12 hexadecimal characters over everything that decides the pixels; a file of boxes counts by its content.

    Raises:
        ConfigError: The file of boxes cannot be read.
    """
    boxes = ""
    if settings.boxes:
        try:
            boxes = sha256(settings.boxes)
        except OSError as error:
            raise ConfigError(f"boxes {settings.boxes}: {error.strerror}") from error
    return digest(PREPROCESSING_VERSION, replace(settings, crop="none", boxes=""), settings.crop, boxes)

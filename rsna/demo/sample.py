"""The sample on disk, in the competition's layout: written where it is not there yet."""

from pathlib import Path
from typing import get_args

from rsna.config.data import Split
from rsna.config.settings import digest, to_mapping
from rsna.demo.plan import DemoSettings
from rsna.files import FileError, read_json, temporary_beside, write_json

DEMO_VERSION = 2
"""Raised by hand when the same settings give other bytes."""


def write_demo(root: str | Path, settings: DemoSettings | None = None, workers: int | None = None) -> None:
    """Writes the embedded sample to ``root``, or leaves it where it is there already with the same settings.

    The competition's layout: ``train.csv``, ``train_images/<patient_id>/<image_id>.dcm`` (or ``.png``), ``test.csv``,
    ``test_images/``; besides, ``test_labels.csv`` has what the competition keeps to itself, ``train_lesions.csv`` and
    ``test_lesions.csv`` say what was drawn where (x, y, radius in pixels of the file), ``settings.json`` how it was
    made. The bytes are a function of the settings alone, however many ``workers`` (processes; None for one a core)
    there are. The folder appears whole or not at all.

    Raises:
        FileExistsError: ``root`` holds something that is no embedded sample.
        OSError: The disk is full, or the folder may not be written.
    """
    settings = settings or DemoSettings()
    root = Path(root)
    made_with = demo_digest(settings)
    if _digest_of(root) == made_with:
        return
    if root.is_file() or (root.is_dir() and _digest_of(root) is None and any(root.iterdir())):
        raise FileExistsError(f"{root} holds something else than the embedded sample: name another folder")
    # Decoders and what draws, which nobody needs who has it already.
    from rsna.demo.writer import write_split

    with temporary_beside(root) as temporary:
        for split in get_args(Split):
            write_split(temporary, settings, split, workers)
        write_json(
            temporary / "settings.json",
            {"digest": made_with, "version": DEMO_VERSION, "settings": to_mapping(settings)},
        )
        _put_in_place(temporary, root, made_with)


def demo_digest(settings: DemoSettings) -> str:
    """What the sample's bytes depend on, 12 hexadecimal characters."""
    return digest(settings, DEMO_VERSION)


def _digest_of(root: Path) -> str | None:
    path = root / "settings.json"
    if not path.is_file():
        return None
    try:
        found = read_json(path)
    except FileError:  # and so the folder is no sample
        return None
    return str(found["digest"]) if isinstance(found, dict) and "digest" in found else None


def _put_in_place(temporary: Path, root: Path, made_with: str) -> None:
    with temporary_beside(root.with_name(f"{root.name}.old")) as old:
        if root.exists():
            root.rename(old)
        try:
            temporary.rename(root)
        except OSError:
            if _digest_of(root) != made_with:  # else another process was faster, with the same bytes
                if old.exists() and not root.exists():
                    old.rename(root)
                raise

"""Folders as disks have them: names that no table can hold, too long, without permission, and what is no file."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CHINESE = "乳腺影像资料库二零二四年上半年筛查组第三批次左右双侧"
"""25 characters, which are 225 bytes when quoted."""

NAMES = ("two\nlines", " blanks ", "50%", "#1?", "it's", '"quoted"', "a,b;c", "=1+1", "-rf", "a\\b", CHINESE, "x" * 240)
"""Names of folders that are read like any other."""


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that any user may enter; whatever is in it goes, paths that are too long for Python included."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        subprocess.run(["rm", "-rf", folder], check=True)


@contextmanager
def plain_user() -> Iterator[None]:
    """Gives up root's rights, for whom no file is locked."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def spoil(folder: Path, image: Path) -> list[str]:
    """Fills a folder with what cannot be read, and copies of ``image`` where they cannot be reached.

    Returns:
        What is to be said of them: the beginning of a path below the folder, as a line of text has it.
    """
    for name in (b"M\xfcller", b"\xff.dcm"):
        (folder / os.fsdecode(name)).mkdir()
        shutil.copy(image, folder / os.fsdecode(name) / "1.dcm")
    (folder / "locked").mkdir()
    shutil.copy(image, folder / "locked" / "1.dcm")
    (folder / "locked").chmod(0o644)  # its names can be listed, its files not looked at
    (folder / "loop").symlink_to("loop")
    (folder / "gone.dcm").symlink_to("nowhere")
    os.mkfifo(folder / "pipe.dcm")
    (folder / "null.dcm").symlink_to("/dev/null")
    too_deep(folder, "d" * 250, 20, image)
    return ["M\\xfcller", "\\xff.dcm", "locked/1.dcm", "loop", "gone.dcm", "d" * 250]


def too_deep(folder: Path, name: str, levels: int, image: Path) -> None:
    """Folders in folders until their path is longer than the system takes (PATH_MAX, 4,096 bytes)."""
    here = os.open(folder, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    copy = os.open("1.dcm", os.O_WRONLY | os.O_CREAT, dir_fd=here)
    os.write(copy, image.read_bytes())
    os.close(copy)
    os.close(here)

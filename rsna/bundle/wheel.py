"""The project as a wheel, packed from the package that runs: from a checkout and an installed package alike."""

import base64
import hashlib
import zipfile
from importlib.metadata import distribution
from pathlib import Path

from rsna.bundle.kaggle import NOTEBOOK, notebook

PROJECT = "rsna-mammography"

_ENTRY_TIME = (2020, 1, 1, 0, 0, 0)
"""Time stamp of every entry: the same package, the same bytes."""

_METADATA = ("METADATA", "WHEEL", "entry_points.txt")


def pack_project(folder: Path) -> Path:
    """Writes the project's wheel, with conf/ and the notebook; needs neither a build backend nor a network.

    The layout is that of PEP 427 (binary distribution format).
    """
    package = Path(__file__).resolve().parents[1]
    conf = package / "conf" if (package / "conf").is_dir() else package.parent / "conf"
    contents = {f"rsna/{file.relative_to(package)}": file.read_bytes() for file in _files(package)}
    contents |= {f"rsna/conf/{file.relative_to(conf)}": file.read_bytes() for file in _files(conf)}
    contents[f"rsna/notebooks/{NOTEBOOK}"] = notebook().read_bytes()
    found = distribution(PROJECT)
    stem = f"{PROJECT.replace('-', '_')}-{found.version}"
    for name in _METADATA:
        if text := found.read_text(name):
            contents[f"{stem}.dist-info/{name}"] = text.encode()
    record = "".join(f"{name},{_hash(content)},{len(content)}\n" for name, content in sorted(contents.items()))
    contents[f"{stem}.dist-info/RECORD"] = f"{record}{stem}.dist-info/RECORD,,\n".encode()
    wheel = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(zipfile.ZipInfo(name, _ENTRY_TIME), content, zipfile.ZIP_DEFLATED)
    return wheel


def _files(folder: Path) -> list[Path]:
    return sorted(
        file
        for file in folder.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts and not file.name.startswith(".")
    )


def _hash(content: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()

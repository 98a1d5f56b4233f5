"""A new Python environment that holds only chosen packages of this one, and commands without a network."""

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def closure(names: Iterable[str]) -> set[str]:
    """Canonical names of installed packages and of everything they require here."""
    found, seen = set[str](), set[tuple[str, frozenset[str]]]()
    waiting = [(canonicalize_name(name), frozenset[str]()) for name in names]
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            required = distribution(name).requires or []
        except PackageNotFoundError:
            continue
        found.add(name)
        for requirement in map(Requirement, required):
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                waiting.append((canonicalize_name(requirement.name), frozenset(requirement.extras)))
    return found


def make_environment(folder: Path, names: Iterable[str]) -> Path:
    """Creates a virtual environment in which, beside pip, exactly these packages are visible, as links to ours.

    Returns:
        Its Python.
    """
    venv.create(folder, with_pip=True, symlinks=True)
    python = folder / "bin" / "python"
    site = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    for name in names:
        found = distribution(name)
        for entry in {file.parts[0] for file in found.files or [] if file.parts[0] not in ("..", "__pycache__")}:
            if not (site / entry).exists():
                (site / entry).symlink_to(Path(str(found.locate_file(entry))))
    return python


def clean_variables() -> dict[str, str]:
    """Our environment variables without those that lead Python, pip or this project elsewhere."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "PIP_", "RSNA_"))}
    # pip's settings may name indexes and folders with wheels.
    return kept | {"PIP_CONFIG_FILE": os.devnull}


def no_network() -> list[str]:
    """The front of a command that runs without a network; empty where this machine does not allow that."""
    unshare = shutil.which("unshare")
    if unshare is None:
        return []
    command = [unshare, "--map-root-user", "--net"]
    allowed = subprocess.run([*command, "true"], capture_output=True)
    return command if allowed.returncode == 0 else []

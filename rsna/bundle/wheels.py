"""Wheels that a bundle brings: the project's own, and with pip those of what its host lacks; no source packages."""

import base64
import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from email.parser import HeaderParser
from importlib.metadata import distribution, requires
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from rsna.bundle.kaggle import NOTEBOOK, notebook
from rsna.config.settings import ConfigError
from rsna.parallel.progress import Progress
from rsna.runs.schema import Host

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
    files = [file for file in sorted(folder.rglob("*")) if file.is_file() and not file.name.startswith(".")]
    return [file for file in files if "__pycache__" not in file.parts]


def _hash(content: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def read_packages(host: str) -> dict[str, str]:
    """Canonical name → version ("" where any will do) of what ``kaggle`` holds, or else a file of ``pip freeze``.

    Raises:
        ConfigError: No such file, or a line that is no name==version.
    """
    file = Path(__file__).with_name("kaggle.txt") if host == "kaggle" else Path(host).expanduser()
    if not file.is_file():
        raise ConfigError(f"host: {host} is neither kaggle, nor none, nor a file")
    packages: dict[str, str] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        text = line.partition("#")[0].strip()
        if not text or text.startswith("-"):
            continue
        name, _, version = text.partition("==")
        try:
            # `pip freeze` writes name @ URL for what did not come from an index; its version is not known.
            packages[canonicalize_name(Requirement(name).name)] = version.strip().partition("+")[0]
        except InvalidRequirement as error:
            raise ConfigError(f"host: {file}: {line!r} is no name==version") from error
    return packages


def fetch_wheels(host: Host, packages: Mapping[str, str], folder: Path) -> None:
    """Fetches what the project needs beyond the host's packages, and what these wheels need in turn.

    Raises:
        ConfigError: pip finds no wheel; its own words say which.
    """
    markers, fetched = _markers(host), set[str]()

    def is_lacking(requirement: Requirement) -> bool:
        name = canonicalize_name(requirement.name)
        if name in fetched or (requirement.marker is not None and not requirement.marker.evaluate(markers)):
            return False
        held = packages.get(name)
        return held is None or (held != "" and not requirement.specifier.contains(held, prereleases=True))

    wanted = [Requirement(text) for text in requires(PROJECT) or []]
    while lacking := sorted({f"{r.name}{r.specifier}" for r in wanted if is_lacking(r)}):
        before = set(folder.glob("*.whl"))
        with Progress(f"pip downloads {len(lacking)} wheels ({', '.join(lacking)})"):
            _download(lacking, host, markers["platform_machine"], folder)
        new = sorted(set(folder.glob("*.whl")) - before)
        fetched |= {parse_wheel_filename(wheel.name)[0] for wheel in new}
        wanted = [requirement for wheel in new for requirement in _requirements(wheel)]


def _markers(host: Host) -> dict[str, str]:
    """What markers of requirements (PEP 508) are held against."""
    machine = host.platform.split("_", 1)[1] if host.platform.startswith("linux_") else host.platform
    windows, mac = host.platform.startswith("win"), host.platform.startswith("macosx")
    return {
        "python_version": host.python,
        "python_full_version": f"{host.python}.0",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "sys_platform": "win32" if windows else "darwin" if mac else "linux",
        "platform_system": "Windows" if windows else "Darwin" if mac else "Linux",
        "os_name": "nt" if windows else "posix",
        "platform_machine": next((m for m in ("x86_64", "aarch64", "arm64", "amd64") if machine.endswith(m)), machine),
        "extra": "",
    }


def _download(requirements: list[str], host: Host, machine: str, folder: Path) -> None:
    # pip takes tags literally: wheels for an older glibc are named by it.
    older = [f"manylinux2014_{machine}", f"manylinux_2_27_{machine}"] if host.platform.startswith("manylinux") else []
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--python-version", host.python, "--implementation", "cp", "--dest", str(folder)]
    command += [part for platform in dict.fromkeys([host.platform, *older]) for part in ("--platform", platform)]
    done = subprocess.run([*command, *requirements], capture_output=True, encoding="utf-8", errors="replace")
    if done.returncode:
        reasons = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise ConfigError(
            f"host: pip finds no wheels of {', '.join(requirements)} for Python {host.python} on "
            f"{host.platform}: {' '.join(reasons[-2:]) or done.stderr.strip()[-300:]}"
        )


def _requirements(wheel: Path) -> list[Requirement]:
    with zipfile.ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        metadata = HeaderParser().parsestr(archive.read(name).decode())
    return [Requirement(text) for text in metadata.get_all("Requires-Dist") or []]

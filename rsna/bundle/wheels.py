"""Wheels of what a host lacks, for its Python and platform, fetched with pip; no source packages."""

import subprocess
import sys
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.parser import HeaderParser
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from rsna.bundle.wheel import PROJECT
from rsna.config.settings import ConfigError


@dataclass(frozen=True)
class Host:
    """A machine that will install a bundle without a network."""

    holds: Mapping[str, str]
    """Canonical name → version of what is installed; "" where any version will do."""
    python: str
    """As 3.12."""
    platform: str
    """As manylinux_2_28_x86_64."""

    @property
    def environment(self) -> dict[str, str]:
        """What markers of requirements (PEP 508) are held against."""
        machine = self.platform.split("_", 1)[1] if self.platform.startswith("linux_") else self.platform
        machine = next((m for m in ("x86_64", "aarch64", "arm64", "amd64") if machine.endswith(m)), machine)
        windows, mac = self.platform.startswith("win"), self.platform.startswith("macosx")
        return {
            "python_version": self.python,
            "python_full_version": f"{self.python}.0",
            "implementation_name": "cpython",
            "platform_python_implementation": "CPython",
            "sys_platform": "win32" if windows else "darwin" if mac else "linux",
            "platform_system": "Windows" if windows else "Darwin" if mac else "Linux",
            "os_name": "nt" if windows else "posix",
            "platform_machine": machine,
            "extra": "",
        }

    def lacks(self, requirement: Requirement) -> bool:
        """Whether a requirement must be brought."""
        if requirement.marker is not None and not requirement.marker.evaluate(self.environment):
            return False
        held = self.holds.get(canonicalize_name(requirement.name))
        return held is None or (held != "" and not requirement.specifier.contains(held, prereleases=True))


def read_host(host: str, python: str, platform: str) -> Host:
    """The host ``kaggle``, or that of a file with what ``pip freeze`` prints there.

    Raises:
        ConfigError: No such file, or a line that is no name==version.
    """
    file = Path(__file__).with_name("kaggle.txt") if host == "kaggle" else Path(host).expanduser()
    if not file.is_file():
        raise ConfigError(f"host: {host} is neither kaggle, nor none, nor a file")
    holds: dict[str, str] = {}
    for line in file.read_text().splitlines():
        text = line.partition("#")[0].strip()
        if not text or text.startswith("-"):
            continue
        name, _, version = text.partition("==")
        try:
            # `pip freeze` writes name @ URL for what did not come from an index; its version is not known.
            holds[canonicalize_name(Requirement(name).name)] = version.strip().partition("+")[0]
        except InvalidRequirement as error:
            raise ConfigError(f"host: {file}: {line!r} is no name==version") from error
    return Host(holds, python, platform)


def fetch_wheels(host: Host, folder: Path) -> list[Path]:
    """Fetches what the project needs beyond what the host holds, and what these need in turn.

    Raises:
        ConfigError: pip finds no wheel; its own words say which.
    """
    fetched: dict[str, Path] = {}
    wanted = [Requirement(text) for text in requires(PROJECT) or []]
    while lacking := _unique(r for r in wanted if host.lacks(r) and canonicalize_name(r.name) not in fetched):
        before = set(folder.glob("*.whl"))
        _download(lacking, host, folder)
        new = set(folder.glob("*.whl")) - before
        fetched |= {canonicalize_name(parse_wheel_filename(wheel.name)[0]): wheel for wheel in new}
        wanted = [requirement for wheel in sorted(new) for requirement in _requirements(wheel)]
    return sorted(fetched.values())


def _unique(requirements: Iterable[Requirement]) -> list[str]:
    return sorted({f"{r.name}{r.specifier}" for r in requirements})


def _download(requirements: list[str], host: Host, folder: Path) -> None:
    glibc = host.platform.startswith("manylinux")
    machine = host.environment["platform_machine"]
    platforms = [host.platform, *([f"manylinux2014_{machine}", f"manylinux_2_27_{machine}"] if glibc else [])]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--python-version", host.python, "--implementation", "cp", "--dest", str(folder)]
    command += [part for platform in dict.fromkeys(platforms) for part in ("--platform", platform)]
    done = subprocess.run([*command, *requirements], capture_output=True, text=True)
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

"""Does a bundle work where nothing but its host's packages is there, and no network?"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.tags import sys_tags
from packaging.utils import canonicalize_name, parse_wheel_filename

from rsna.bundle.wheels import PROJECT
from rsna.config.verbs import BundleVerifyOptions
from rsna.demo import DemoSettings, write_demo
from rsna.files import temporary_beside
from rsna.inference.predictor import Predictor
from rsna.parallel.progress import Progress
from rsna.runs.bundle import Bundle, one_path, open_bundle
from rsna.runs.errors import RunError

TOLERANCE = 1e-3
"""Difference in probability between here and there that other versions of the host's packages may make."""


@dataclass(frozen=True)
class Verified:
    """What was found."""

    files: int
    """Files whose hashes are right."""
    predicted: int
    """Simulated images that were predicted."""
    brought: tuple[str, ...] = ()
    """Packages that were installed from the bundle; empty where nothing was installed."""
    cut: bool = False
    """Whether the network was cut while it was installed and predicted with."""
    difference: float = 0.0
    """Largest difference in probability between the new environment and this one."""


def verify_bundle(options: BundleVerifyOptions) -> Verified:
    """Checks every file, then installs and predicts in a new environment.

    Raises:
        RunError: A file is missing or changed, a wheel is not for this Python, installing or predicting fails.
    """
    bundle = open_bundle(one_path(options.run).absolute())  # other processes work in another folder
    with Progress("check files"):
        bundle.check_files()
    files = len(bundle.record.files)
    with temporary_beside(Path(tempfile.gettempdir(), "rsna-verify").absolute()) as folder:
        folder.mkdir(mode=0o700)
        exams = folder / "exams"
        write_demo(exams, DemoSettings(n_train=1, n_test=1), workers=1)
        with Predictor(bundle.folder, workers=1, backend="torch") as predictor:  # as its host has it
            here = {image.image_id: image.probability for image in predictor.predict(exams).images}
        if any(probability is None for probability in here.values()):
            raise RunError(f"{bundle.folder}: simulated images could not be predicted")
        if not options.install:
            return Verified(files, len(here))
        brought = _wheels(bundle)
        there = _elsewhere(bundle, folder, exams, set(brought))
    difference = max(abs((here[name] or 0.0) - there.get(name, float("inf"))) for name in here)
    if difference > TOLERANCE:
        raise RunError(f"{bundle.folder}: probabilities differ by {difference:.2g} once it is installed elsewhere")
    return Verified(files, len(here), tuple(brought), bool(no_network()), difference)


def _wheels(bundle: Bundle) -> list[str]:
    """Canonical names of the packages that the bundle brings; wheels that cannot be installed here are refused."""
    usable, names = set(sys_tags()), list[str]()
    for file in sorted(name for name in bundle.record.files if name.endswith(".whl")):
        name, _, _, tags = parse_wheel_filename(file)
        if not tags & usable:
            host = bundle.record.host
            raise RunError(
                f"{bundle.folder / file}: is for Python {host.python} on {host.platform}, which this is not. "
                "Its files are whole; verify it there, or here with install=false"
            )
        names.append(name)
    if PROJECT not in names:
        raise RunError(f"{bundle.folder}: does not hold the project's wheel; make it again")
    return names


def _elsewhere(bundle: Bundle, folder: Path, exams: Path, brought: set[str]) -> dict[str, float]:
    """Probabilities by image_id, predicted in an environment that holds what the bundle does not bring."""
    with Progress("make a new environment"):
        python = str(make_environment(folder / "environment", sorted(closure([PROJECT]) - brought)))
    printed = ""
    install = ["-m", "pip", "install", "--quiet", "--no-index", "--find-links", str(bundle.folder), PROJECT]
    predict = ["-m", "rsna.cli", "predict", f"input={exams}", f"run={bundle.folder}", "format=json", "workers=1"]
    for what, command in (("install the bundle in it", install), ("predict in it", predict)):
        with Progress(what):
            done = subprocess.run(
                [*no_network(), python, *command],
                cwd=folder,
                env=clean_variables(),
                capture_output=True,
                encoding="utf-8",
                errors="replace",
            )
        printed = done.stdout
        if done.returncode:
            said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
            raise RunError(f"{bundle.folder}: does not work once it is installed elsewhere:\n{said}")
    images = json.loads(printed)["images"]
    return {image["image_id"]: float(image["probability"]) for image in images if not image["failure"]}


def summary(verified: Verified, bundle: str) -> str:
    """What `rsna bundle verify` prints."""
    text = f"{bundle}: {verified.files} files are whole, {verified.predicted} simulated images predicted"
    if not verified.brought:
        return f"{text}; nothing was installed"
    network = "with the network cut" if verified.cut else "the network could not be cut here"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return (
        f"{text}; installed into a new environment of Python {version}, {network}: {', '.join(verified.brought)}; "
        f"probabilities there differ by at most {verified.difference:.1g}"
    )


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
    """The Python of a new virtual environment that sees, beside pip, just these of our packages, as links to them."""
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

"""Carries to a GPU machine without network what it lacks beside torch, timm and Lightning, for benchmarks/gpu.py.

    python benchmarks/gpu_wheels.py [--python 3.12]    # make gpu-wheels: where there is a network
    python benchmarks/gpu_wheels.py --install          # there: make gpu-check does it

Wheels of the versions in constraints.txt for Linux on x86-64, some 36 MB, go to build/gpu-wheels, which git ignores:
copy the folder with the checkout. They are installed into build/gpu-site, for gpu.py alone; the machine's own
packages stay as they are.
"""

import argparse
import shutil
import subprocess
import sys
from importlib.util import find_spec

from common import ROOT

CARRIED = {
    "pydicom": "pydicom", "pydantic": "pydantic", "pydantic-core": "pydantic_core",
    "annotated-types": "annotated_types", "typing-inspection": "typing_inspection", "imagecodecs": "imagecodecs",
    "hydra-core": "hydra", "omegaconf": "omegaconf", "albumentations": "albumentations", "albucore": "albucore",
    "stringzilla": "stringzilla", "simsimd": "simsimd", "antlr4-python3-runtime": "antlr4",
}  # fmt: skip
"""Package → the module that it brings."""
SOURCE = "antlr4-python3-runtime"
"""Is published as source alone: pure Python, so that it is built here for everywhere."""
WHEELS, SITE = ROOT / "build" / "gpu-wheels", ROOT / "build" / "gpu-site"
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
MOST_MB = 50


def fetch(python: str) -> None:
    """Downloads the wheels; what lay there before is gone.

    Raises:
        SystemExit: A wheel is missing, or all are too large to be carried.
    """
    shutil.rmtree(WHEELS, ignore_errors=True)
    WHEELS.mkdir(parents=True)
    pip = [sys.executable, "-m", "pip", "--quiet"]
    common = ["--no-deps", "--constraint", str(ROOT / "constraints.txt")]
    platforms = [argument for platform in PLATFORMS for argument in ("--platform", platform)]
    target = ["--only-binary=:all:", "--python-version", python, *platforms, "--dest", str(WHEELS)]
    for command in (
        [*pip, "download", *common, *target, *(name for name in CARRIED if name != SOURCE)],
        [*pip, "wheel", *common, "--wheel-dir", str(WHEELS), SOURCE],
    ):
        if subprocess.run(command, check=False).returncode:
            raise SystemExit("pip failed, see above; --python names the other machine's version")
    files = list(WHEELS.glob("*.whl"))
    size = sum(file.stat().st_size for file in files) / 1e6
    print(f"{len(files)} wheels for Python {python}, {size:.0f} MB: {WHEELS.relative_to(ROOT)}")
    if size > MOST_MB:
        raise SystemExit(f"more than {MOST_MB} MB")


def install() -> None:
    """Installs what was carried, unless nothing is missing; without the folder it says what is.

    Raises:
        SystemExit: A wheel does not fit this Python.
    """
    sys.path.append(str(SITE))
    missing = [package for package, module in CARRIED.items() if find_spec(module) is None]
    if not missing:
        return
    if not WHEELS.is_dir():
        print(f"missing here: {', '.join(missing)}; `make gpu-wheels` fetches them where there is a network")
        return
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--upgrade"]
    files = sorted(str(file) for file in WHEELS.glob("*.whl"))
    if subprocess.run([*command, "--target", str(SITE), *files], check=False).returncode:
        python = ".".join(map(str, sys.version_info[:2]))
        raise SystemExit(f"the wheels do not fit here: fetch them by `make gpu-wheels GPU_PYTHON={python}`")
    print(f"{len(files)} wheels installed into {SITE.relative_to(ROOT)}; missing were {', '.join(missing)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default="3.12", metavar="VERSION", help="of the other machine; default 3.12")
    parser.add_argument("--install", action="store_true", help="install what was fetched, where something is missing")
    options = parser.parse_args()
    if options.install:
        install()
    else:
        fetch(options.python)


if __name__ == "__main__":
    main()

"""The notebooks: here, and the submission where there is no network and nothing but torch, timm and a bundle."""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from rsna.bundle.make import make_bundle
from rsna.bundle.verify import clean_variables, closure, make_environment, no_network
from rsna.config.data import PreprocessSettings
from rsna.config.settings import ConfigError
from rsna.config.verbs import BundleMakeOptions
from rsna.prepare.cache import Cache
from rsna.prepare.table import prepare_table
from rsna.runs.bundle import open_bundle
from tests.inference.runs import SIZE, write_exams, write_run
from tests.prepare.files import write_set

HELD = ["torch", "timm", "ipykernel", "opencv-python-headless"]

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"

EXECUTE = """
import sys, nbformat
from jupyter_client import KernelManager
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], 4)
# Over files instead of TCP: without a network there is no loopback either.
manager = KernelManager(transport="ipc", ip=sys.argv[3] + "/kernel")
manager.kernel_spec.argv[0] = sys.argv[2]
NotebookClient(notebook, km=manager, timeout=280, resources={"metadata": {"path": sys.argv[3]}}).execute()
nbformat.write(notebook, sys.argv[4])
"""
"""Runs notebook 1 with the Python 2 in the folder 3, and writes what came of it to 4."""


def execute(notebook, python, folder, environment, front=()):
    """Executes a notebook; returns everything that its cells printed or showed as text."""
    done = folder / "executed.ipynb"
    command = [*front, sys.executable, "-c", EXECUTE, notebook, python, folder, done]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-4000:]
    cells = nbformat.read(done, 4).cells
    return "\n".join(json.dumps(output) for cell in cells for output in cell.get("outputs", []))


def variables(bundle, exams, out):
    return clean_variables() | {
        "RSNA_BUNDLE": str(bundle),
        "RSNA_INPUT": str(exams),
        "RSNA_OUT": str(out),
        "RSNA_BUDGET": "1h",
    }


@pytest.mark.parametrize("unit", ["image", "breast"])
def test_the_notebook_predicts_with_a_run(run, breast_run, tmp_path, unit):
    """Where nothing is to be installed: the same code as infer.py."""
    write_exams(tmp_path / "exams", 1)
    said = execute(
        NOTEBOOKS / "kaggle_submission.ipynb",
        sys.executable,
        tmp_path,
        variables(run if unit == "image" else breast_run, tmp_path / "exams", tmp_path / "submission.csv"),
    )
    assert pd.read_csv(tmp_path / "submission.csv")["prediction_id"].tolist() == ["p0_L", "p0_R"]
    assert "2 breasts" in said
    assert "0 images failed, 0 breasts have none" in said
    assert "image/png" in said
    assert "images/s" in said


@pytest.fixture(scope="module")
def bundle(run, tmp_path_factory):
    """A bundle for a machine that holds torch, timm, OpenCV and a notebook server, as Kaggle's, and what they need."""
    folder = tmp_path_factory.mktemp("offline")
    held = sorted(closure(HELD))
    (folder / "held.txt").write_text("\n".join(f"{name}=={importlib.metadata.version(name)}" for name in held))
    try:
        return make_bundle(
            BundleMakeOptions(
                run=str(run),
                out=str(folder / "bundle"),
                host=str(folder / "held.txt"),
                python=f"{sys.version_info.major}.{sys.version_info.minor}",
            )
        )
    except ConfigError as error:
        pytest.skip(f"the wheels cannot be fetched here: {error}")


@pytest.mark.slow
def test_the_notebook_runs_without_a_network(bundle, tmp_path):
    """A new environment, no network, inputs that cannot be written; all but torch and timm from the bundle."""
    front = no_network()
    if not front:
        pytest.skip("this machine does not allow a network namespace (unshare --map-root-user --net)")
    python = make_environment(tmp_path / "environment", sorted(closure(HELD)))
    absent = subprocess.run([python, "-c", "import pydicom"], capture_output=True)
    assert absent.returncode != 0
    exams = tmp_path / "exams"
    write_exams(exams, 1)
    (tmp_path / "work").mkdir()
    # Root may write anywhere unless the file system itself says no.
    read_only = f'mount --bind "{exams}" "{exams}" && mount -o remount,ro,bind "{exams}"'
    cut = [*front, "--mount", "sh", "-c", f'{read_only} && ! touch "{exams}/x" 2>/dev/null && exec "$@"', "sh"]
    said = execute(
        NOTEBOOKS / "kaggle_submission.ipynb",
        python,
        tmp_path / "work",
        variables(bundle, exams, tmp_path / "work" / "submission.csv"),
        cut,
    )
    assert pd.read_csv(tmp_path / "work" / "submission.csv")["prediction_id"].tolist() == ["p0_L", "p0_R"]
    assert "0 images failed, 0 breasts have none" in said
    installed = list((tmp_path / "environment").glob("lib/*/site-packages/rsna"))
    assert installed
    assert not installed[0].is_symlink()
    heavy = "from importlib.util import find_spec; print([n for n in ('hydra', 'mlflow', 'rich') if find_spec(n)])"
    assert subprocess.run([python, "-c", heavy], capture_output=True, text=True).stdout.strip() == "[]"


@pytest.mark.slow
def test_verify_installs_and_predicts_elsewhere(bundle, tmp_path):
    """As documented, from the folder that the bundle lies in; OpenCV is the host's, and there a link."""
    (folder := tmp_path / "it's [mine], é").mkdir()
    shutil.copytree(bundle, folder / "a bundle")
    command = [sys.executable, "-m", "rsna.cli", "bundle", "verify", "run=a bundle"]
    variables = {**os.environ, "PYTHONPATH": str(NOTEBOOKS.parent)}
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    cut = "with the network cut" if no_network() else "the network could not be cut here"
    assert (
        f"a bundle: {len(open_bundle(bundle).record.files)} files are whole, 4 simulated images predicted"
        in done.stdout
    )
    assert f"{cut}: annotated-types, " in done.stdout
    assert "opencv" not in done.stdout
    assert {"imagecodecs", "pydicom", "rsna-mammography"} <= set(done.stdout.replace(",", "").replace(";", "").split())


def test_the_exploring_notebook_shows_a_run(tmp_path):
    table = write_set(tmp_path / "data", 8).assign(cancer=[1, 0, 1, 0, 0, 0, 0, 0])
    table.to_csv(tmp_path / "data" / "train.csv", index=False)
    settings = PreprocessSettings(size=SIZE)
    prepare_table(table, settings, Cache.create(tmp_path / "cache", "tiny", settings), workers=1)
    run = write_run(
        tmp_path / "run",
        data={"root": str(tmp_path / "data"), "name": "tiny", "sampling": "enriched"},
        cache_dir=str(tmp_path / "cache"),
    )
    variables = clean_variables() | {"RSNA_RUN": str(run), "PYTHONPATH": str(NOTEBOOKS.parent)}
    said = execute(NOTEBOOKS / "explore.ipynb", sys.executable, tmp_path, variables)
    assert "8 images, 2 patients, 4 breasts" in said
    assert "8 prepared images" in said
    assert said.count("image/png") == 3
    assert "320 images predicted out of fold, 2 folds" in said

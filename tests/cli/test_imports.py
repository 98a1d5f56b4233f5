"""A verb imports what it uses, and a set of which everything is prepared is told so without opening an image."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from rsna.cli.main import VERBS
from rsna.demo import DemoSettings, demo_digest, write_demo
from rsna.files import write_json
from tests.board.runs import drawn, write_run
from tests.prepare.files import write_set

CODE = """
import json, os, sys
opened = []
sys.addaudithook(lambda event, args: event == "open" and isinstance(args[0], str) and opened.append(args[0]))
from rsna.cli.main import main
codes = [main(arguments) for arguments in json.loads(sys.argv[1])]
images = [name for name in opened if name.endswith((".dcm", ".tif"))]
packages = {name.partition(".")[0] for name, module in sys.modules.items() if module}
print("\\n" + json.dumps({"codes": codes, "images": len(images), "packages": sorted(packages)}))
"""

NETWORKS = {
    "torch",
    "timm",
    "torchvision",
    "pytorch_lightning",
    "lightning_fabric",
    "albumentations",
    "captum",
    "mlflow",
}
FITS = {"scipy", "sklearn", "matplotlib"}
PIXELS = {"cv2", "imagecodecs", "pydicom", "PIL"}
CONFIGURATION = {"hydra", "omegaconf", "antlr4", "yaml"}
TABLES = {"numpy", "pandas", "pyarrow"}


def run_verbs(*lines: list[str], refused: bool = False) -> dict:
    """What was imported and opened by these command lines, one after the other in a process of their own."""
    command = [sys.executable, "-c", CODE, json.dumps(lines)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert all(bool(code) == refused for code in found["codes"]), done.stdout + done.stderr
    return found | {"packages": set(found["packages"])}


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("imports") / "runs"
    for seed, name in enumerate(("one", "two")):
        write_run(folder / name, drawn(seed=seed))
    return folder


@pytest.fixture(scope="module")
def labels(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("imports") / "train.csv"
    images = drawn()
    images.assign(image_id=range(len(images)), laterality=images["prediction_id"].str[-1]).to_csv(file, index=False)
    return file


def test_help_of_every_verb_needs_no_table_and_no_configuration():
    found = run_verbs(["--help"], ["--version"], *([*name.split(), "--help"] for name in VERBS))
    assert not (TABLES | CONFIGURATION | PIXELS | FITS | NETWORKS) & found["packages"]


def test_train_py_help_is_the_same_light_help():
    code = (
        "import runpy, sys; sys.argv = ['train.py', '--help']\ntry: runpy.run_path('train.py', run_name='__main__')\n"
    )
    code += "finally: print(sorted({'numpy', 'pandas', 'hydra', 'torch', 'yaml'} & set(sys.modules)))"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=60)
    assert done.stdout.endswith("[]\n"), done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["leaderboard", "runs={runs}", "resamples=50"],
        ["leaderboard", "submit", "run={runs}/one", "public=0.5"],
        ["compare", "runs=[{runs}/one,{runs}/two]", "resamples=50", "out="],
        ["evaluate", "run={runs}/one", "slices=true", "resamples=100"],
        ["folds", "make", "labels={labels}", "out={labels}.folds.csv"],
        ["folds", "check", "splits={labels}.folds.csv"],
    ],
    ids=lambda arguments: " ".join(word for word in arguments if "=" not in word),
)
def test_verbs_on_tables_load_neither_pixels_nor_networks(arguments, runs, labels):
    if arguments[:2] == ["folds", "check"]:
        pd.read_csv(labels)[["patient_id", "image_id", "fold"]].to_csv(f"{labels}.folds.csv", index=False)
    found = run_verbs([argument.format(runs=runs, labels=labels) for argument in arguments])
    assert not (NETWORKS | PIXELS | {"hydra", "matplotlib"}) & found["packages"]
    if arguments[0] != "folds":  # which scikit-learn makes
        assert not FITS & found["packages"]


def test_ensemble_means_load_no_scikit_learn(runs):
    found = run_verbs(["ensemble", f"run=[{runs}/one,{runs}/two]", "method=mean", "resamples=100"])
    assert not (NETWORKS | PIXELS | {"sklearn", "matplotlib"}) & found["packages"]


REFUSED = [
    ["infer", "run={runs}/none", "input={labels}"],
    ["infer", "run={runs}/one", "input={runs}/none"],
    ["infer", "run={runs}/one", "input={runs}"],
    ["predict", "run={runs}/one", "input={runs}/none"],
    ["predict", "run={runs}/none", "input={labels}"],
    ["infer", "run=[{runs}/one,{runs}/none]", "input={labels}"],
    ["validate", "run={runs}/none", "input={labels}"],
    ["validate", "run={runs}/one", "input=[{runs},{runs}/none]"],
    ["validate", "run={runs}/none", "input=[{runs},{runs}/two]"],
    ["calibrate", "run={runs}/none", "input={labels}", "out={runs}/ours.json"],
    ["calibrate", "run={runs}/one", "input={runs}/none", "out={runs}/ours.json"],
    ["audit", "input={runs}/none", "run={runs}/one", "out={runs}/audit"],
    ["audit", "input={runs}", "run={runs}/none", "out={runs}/audit"],
    ["bundle", "make", "run={runs}/none", "out={runs}/bundle"],
    ["bundle", "make", "run={runs}/one", "out={runs}/bundle", "host=none"],
    ["bundle", "make", "run=[{runs}/one,{runs}/two]", "out={runs}/bundle", "host=none"],
    ["bundle", "verify", "run={runs}/one"],
    ["export", "run={runs}/none"],
    ["export", "run={runs}/one"],
    ["export", "run=[{runs}/one,{runs}/two]"],
    ["explain", "run={runs}/none", "image=1"],
    ["explain", "run={runs}/one", "image=nobody"],
    ["explain", "run=[{runs}/one,{runs}/two]", "image=nobody"],
    ["report", "run={runs}/none"],
    ["compare", "runs=[{runs}/one,{runs}/none]"],
    ["compare", "runs={runs}/one"],
    ["models", "size=[1]"],
    ["train", "data.root={runs}/none"],
    ["train", "data.root={runs}"],
    ["train", "data.root={runs}", "trainer.epochs=0"],
    ["train", "data.root={runs}", "folds.by=machine_id"],
    ["table", "input={runs}"],
    ["datasets", "nobody"],
    ["browse", "batches=1", "data.root={runs}/none"],
]
"""Command lines that are refused for what no network is needed to know: the run at ``{runs}/one`` has no weights."""


@pytest.mark.parametrize("arguments", REFUSED, ids=" ".join)
def test_what_is_refused_without_a_network_does_not_wait_for_torch(arguments, runs, labels):
    given = [argument.format(runs=runs, labels=labels) for argument in arguments]
    assert not NETWORKS & run_verbs(given, refused=True)["packages"]


def test_a_report_without_pictures_loads_no_network(runs, tmp_path):
    found = run_verbs(["report", f"run={runs}/one", f"out={tmp_path / 'report.html'}", "resamples=50"])
    assert not NETWORKS & found["packages"]
    found = run_verbs(["report", f"run={runs}/one", f"out={tmp_path / 'report.html'}", "resamples=50", "images=0"])
    assert not (NETWORKS | PIXELS) & found["packages"]


def test_a_comparison_loads_no_network(runs, tmp_path):
    arguments = ["compare", f"runs=[{runs}/one,{runs}/two]", f"out={tmp_path / 'compare.html'}", "resamples=50"]
    assert not NETWORKS & run_verbs(arguments)["packages"]
    assert not (NETWORKS | PIXELS) & run_verbs([*arguments, "images=0"])["packages"]


def test_the_configuration_is_printed_without_a_network():
    code = "import sys\nfrom rsna.cli.main import main\ntry: main(['train', '--cfg', 'job'])\n"
    code += "finally: print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "global_batch_size" in done.stdout
    assert done.stdout.endswith("False\n"), done.stderr


def test_the_sample_that_is_there_is_prepared_without_what_draws_it(tmp_path):
    data = ["data.demo=true", f"data.root={tmp_path / 'demo'}", f"cache_dir={tmp_path / 'cache'}", "prepare.workers=1"]
    write_demo(tmp_path / "demo", DemoSettings(n_train=2, n_test=1))
    write_json(
        tmp_path / "demo" / "settings.json", {"digest": demo_digest(DemoSettings())}
    )  # as if all of it were there
    arguments = ["prepare", *data, "preprocess.size=[64,32]"]
    run_verbs(arguments)
    found = run_verbs(arguments)
    assert not (NETWORKS | PIXELS | FITS) & found["packages"]
    assert found["images"] == 0


def test_prepare_with_nothing_to_do_loads_no_decoder_and_opens_no_image(tmp_path):
    table = write_set(tmp_path / "set", 4).drop(columns="path").assign(patient_id="1", cancer=0)
    table.to_csv(tmp_path / "set" / "train.csv", index=False)
    arguments = ["prepare", f"data.root={tmp_path / 'set'}", "preprocess.size=[64,32]", "prepare.workers=1"]
    arguments.append(f"cache_dir={tmp_path / 'cache'}")
    assert PIXELS & run_verbs(arguments)["packages"]
    time.sleep(2.1)  # folders that changed just now may change once more at the same time, as disks count it
    assert not (NETWORKS | PIXELS | FITS) & run_verbs(arguments)["packages"]
    found = run_verbs(arguments)
    assert not (NETWORKS | PIXELS | FITS | {"pandas", "pyarrow"}) & found["packages"]
    assert found["images"] == 0

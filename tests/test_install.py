"""The package works installed from a wheel outside the checkout, editable, and without what training needs."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import rsna
from rsna.config.compose import conf_dir

ROOT = Path(__file__).parents[1]


def python(code: str, cwd: Path, path: Path | None = None) -> str:
    """Runs code in a fresh process outside of the checkout; ``path`` comes before everything installed."""
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "RSNA_DATA")}
    environment |= {"PYTHONPATH": str(path)} if path else {}
    done = subprocess.run([sys.executable, "-c", code], cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = out.glob("*.whl")
    return file


def test_a_checkout_that_is_not_installed_knows_its_version(tmp_path) -> None:
    """On a borrowed environment it is put on the path and nothing more; a run's record names it all the same."""
    code = (
        "import importlib.metadata as metadata, sys\n"
        "known = metadata.version\n"
        "def version(name):\n"
        "    if name == 'rsna-mammography':\n"
        "        raise metadata.PackageNotFoundError(name)\n"
        "    return known(name)\n"
        "metadata.version = version\n"
        "import rsna.bundle.make, rsna.runs.schema\n"
        "from rsna.cli.main import main\n"
        "main(['--version'])"
    )
    assert python(code, tmp_path, ROOT) == f"rsna {rsna.__version__}"


def test_a_wheel_holds_the_package_and_its_configuration_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert "rsna/conf/config.yaml" in names
    tops = {name.split("/")[0] for name in names}
    assert tops == {"rsna", next(top for top in tops if top.endswith(".dist-info"))}


def test_an_installed_wheel_composes_outside_the_checkout(wheel, tmp_path):
    site = tmp_path / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(wheel)], check=True
    )
    code = "import rsna.config.compose as c; print(c.conf_dir()); print(c.compose(['experiment=demo']).run)"
    folder, run = python(code, tmp_path, site).splitlines()
    assert Path(folder) == site / "rsna" / "conf"
    assert run == "runs/demo"


def test_an_editable_install_reads_the_checkouts_configuration(tmp_path):
    if "site-packages" in str(Path(rsna.__file__)):
        pytest.skip("the package under test is not installed editable")
    assert conf_dir() == ROOT / "conf"
    assert python("import rsna.config.compose as c; print(c.conf_dir())", tmp_path) == str(ROOT / "conf")


BASE = """
import importlib, pkgutil, sys
class Absent:
    names = {"pytorch_lightning", "hydra", "omegaconf", "mlflow", "albumentations", "rich", "matplotlib"}
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name.split(".")[0])
sys.meta_path.insert(0, Absent())
"""


def test_inference_needs_nothing_of_training(tmp_path):
    code = BASE + (
        "import rsna.inference\n"
        "for m in pkgutil.walk_packages(rsna.inference.__path__, 'rsna.inference.'): importlib.import_module(m.name)\n"
        "from rsna.cli.main import main; print(main(['infer', '--help']))"
    )
    assert python(code, tmp_path).endswith("0")


def test_a_missing_extra_is_named(tmp_path):
    code = (
        BASE + "import sys; from rsna.cli.main import main; sys.stderr = sys.stdout; print(main(['train', 'fold=0']))"
    )
    said = python(code, tmp_path)
    assert "is not installed; pip install 'rsna-mammography[train]'" in said
    assert said.endswith("1")


def test_importing_the_package_is_cheap(tmp_path):
    code = "import rsna, sys; print(sorted({'torch', 'pandas', 'numpy', 'pydicom'} & set(sys.modules)))"
    assert python(code, tmp_path) == "[]"


def test_public_names_are_there():
    for name in rsna.__all__:
        assert callable(getattr(rsna, name))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = rsna.nothing

"""Bundles: made of a run, read like one, and never believed."""

import hashlib
import io
import json
import shutil
import tarfile
import zipfile

import numpy as np
import pytest
from safetensors.torch import load_file

from rsna.bundle.kaggle import NOTEBOOK, notebook
from rsna.bundle.make import make_bundle, summary
from rsna.bundle.verify import verify_bundle
from rsna.bundle.wheel import pack_project
from rsna.config.settings import ConfigError
from rsna.config.verbs import BundleMakeOptions, BundleVerifyOptions, InferOptions
from rsna.inference.infer import infer
from rsna.runs.errors import RunError
from rsna.runs.trained_model import load_trained
from tests.inference.runs import write_exams


@pytest.fixture(scope="module")
def made(run, tmp_path_factory):
    """A bundle without wheels of others, not to be changed."""
    out = tmp_path_factory.mktemp("bundles") / "tiny"
    return make_bundle(BundleMakeOptions(run=str(run), out=str(out), target="none", precision="fp32"))


@pytest.fixture
def bundle(made, tmp_path):
    """A copy to spoil."""
    return shutil.copytree(made, tmp_path / "bundle")


def about(bundle):
    return json.loads((bundle / "bundle.json").read_text())


def rewrite(bundle, **values):
    (bundle / "bundle.json").write_text(json.dumps(about(bundle) | values))


def test_a_bundle_says_what_it_is(made, run):
    said = about(made)
    assert said["format"] == 2
    assert sorted(said["weights"]) == ["0", "1"]
    assert said["metrics"]["pooled"]["intervals"]["pf1_nested"].keys() >= {"low", "high"}
    assert said["versions"]["torch"]
    assert "root" not in said["config"]["data"]
    assert str(run) not in json.dumps(said)
    for name, digest in said["files"].items():
        assert hashlib.sha256((made / name).read_bytes()).hexdigest() == digest
    wheels = [name for name in said["files"] if name.endswith(".whl")]
    assert len(wheels) == 1
    names = zipfile.ZipFile(made / wheels[0]).namelist()
    assert "rsna/conf/config.yaml" in names
    assert "rsna/inference/infer.py" in names
    assert not [name for name in names if "__pycache__" in name]
    assert "fold0.safetensors" in summary(made)


def test_metadata_for_upload(made):
    dataset = json.loads((made / "dataset-metadata.json").read_text())
    kernel = json.loads((made / "kernel" / "kernel-metadata.json").read_text())
    assert kernel["dataset_sources"] == [dataset["id"]]
    assert kernel["enable_internet"] is False
    assert (made / "kernel" / kernel["code_file"]).is_file()


def test_the_wheel_carries_the_notebook_for_bundles_made_of_an_installed_package(tmp_path):
    with zipfile.ZipFile(pack_project(tmp_path)) as wheel:
        assert wheel.read(f"rsna/notebooks/{NOTEBOOK}") == notebook().read_bytes()


def test_a_bundle_is_the_same_recipe_as_its_run(made, run):
    ours, theirs = load_trained(made), load_trained(run)
    for key in ("preprocess", "model", "targets", "aggregate", "threshold", "recalled", "prevalence", "calibration"):
        assert getattr(ours, key) == getattr(theirs, key), key
    assert load_trained(made, (1,)).folds == (1,)


def test_a_bundle_and_its_archives_predict_as_the_run(made, run, tmp_path):
    write_exams(tmp_path / "exams", 1)

    def predict(source):
        out = str(tmp_path / f"{source.name}.csv")
        options = InferOptions(run=str(source), input=str(tmp_path / "exams"), out=out, workers=1, submit="probability")
        return infer(options).submission["cancer"]

    expected = predict(run)
    np.testing.assert_allclose(predict(made), expected, atol=1e-6)
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", made)
    np.testing.assert_allclose(predict(tmp_path / archive), expected, atol=1e-6)
    archive = shutil.make_archive(str(tmp_path / "packed"), "gztar", made.parent, made.name)
    np.testing.assert_allclose(predict(tmp_path / archive), expected, atol=1e-6)


def test_fp16_is_half_the_size_and_nearly_the_same(made, run, tmp_path):
    small = make_bundle(BundleMakeOptions(run=str(run), out=str(tmp_path / "half"), target="none"))
    assert (small / "fold0.safetensors").stat().st_size < 0.52 * (made / "fold0.safetensors").stat().st_size
    full, half = load_file(made / "fold0.safetensors"), load_file(small / "fold0.safetensors")
    for key, value in full.items():
        np.testing.assert_allclose(half[key].float(), value.float(), rtol=1e-3, atol=1e-4)


def test_only_a_bundle_is_overwritten(run, made, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("do not lose")
    with pytest.raises(ConfigError, match="holds files and is no bundle"):
        make_bundle(BundleMakeOptions(run=str(run), out=str(tmp_path / "mine"), target="none"))
    with pytest.raises(ConfigError, match="is a bundle already"):
        make_bundle(BundleMakeOptions(run=str(made), out=str(tmp_path / "new"), target="none"))
    with pytest.raises(ConfigError, match="neither kaggle, nor none, nor a file"):
        make_bundle(BundleMakeOptions(run=str(run), out=str(tmp_path / "new"), target="kagle"))
    assert not (tmp_path / "new").exists()


def test_a_changed_file_is_refused_before_it_is_used(bundle):
    content = bytearray((bundle / "fold1.safetensors").read_bytes())
    content[-1] ^= 1
    (bundle / "fold1.safetensors").write_bytes(content)
    with pytest.raises(RunError, match=r"fold1.safetensors: its SHA-256 is not the recorded one"):
        load_trained(bundle).networks()
    with pytest.raises(RunError, match=r"fold1.safetensors: its SHA-256"):
        verify_bundle(BundleVerifyOptions(bundle=str(bundle)))


def test_verify_without_installing(bundle):
    found = verify_bundle(BundleVerifyOptions(bundle=str(bundle), install=False))
    assert found.files == 3
    assert found.predicted == 4


def test_a_missing_file_is_named(bundle):
    (bundle / "fold0.safetensors").unlink()
    with pytest.raises(RunError, match=r"fold0.safetensors: is missing"):
        load_trained(bundle)


def test_names_that_lead_out_of_the_folder_are_refused(bundle, tmp_path):
    (tmp_path / "outside.safetensors").write_bytes((bundle / "fold0.safetensors").read_bytes())
    for name in ("../outside.safetensors", str(tmp_path / "outside.safetensors")):
        rewrite(bundle, weights={"0": name}, files={name: "0" * 64})
        with pytest.raises(RunError, match="is no plain file of this folder"):
            load_trained(bundle)
    (bundle / "link.safetensors").symlink_to(tmp_path / "outside.safetensors")
    rewrite(bundle, weights={"0": "link.safetensors"}, files={"link.safetensors": "0" * 64})
    with pytest.raises(RunError, match="is no plain file of this folder"):
        load_trained(bundle)


def test_a_newer_format_and_other_preprocessing_are_refused_with_the_reason(bundle):
    rewrite(bundle, format=3)
    with pytest.raises(RunError, match=r"is of format 3, this version reads up to 2; .*version 0"):
        load_trained(bundle)
    rewrite(bundle, format=2, hashes=about(bundle)["hashes"] | {"preprocessing": "abc"})
    with pytest.raises(RunError, match="was trained with preprocessing abc, this version prepares with"):
        load_trained(bundle)


def test_a_description_that_is_none_is_refused(bundle):
    rewrite(bundle, weights=None, threshold="high")
    with pytest.raises(RunError, match="lacks weights, threshold"):
        load_trained(bundle)
    (bundle / "bundle.json").write_text("[1]")
    with pytest.raises(RunError, match="says no format"):
        load_trained(bundle)
    (bundle / "bundle.json").write_text("{")
    with pytest.raises(RunError, match="is not JSON"):
        load_trained(bundle)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("weights", {"x": "fold0.safetensors"}, "is not numbers of folds, each with the name of its file"),
        ("weights", {"-1": "fold0.safetensors"}, "is not numbers of folds"),
        ("weights", {"0": 1}, "is not numbers of folds"),
        ("aggregate", "median", "'median' is not one of mean, max, top2"),
        ("arithmetic", "64", "'64' is not one of auto, 32, bf16, fp16"),
        ("hashes", {}, "is not hashes with that of preprocessing"),
        ("hashes", {"preprocessing": None}, "is not hashes with that of preprocessing"),
        ("threshold", 7, r"7 is not a number in \[0, 1\]"),
        ("threshold", True, r"True is not a number in \[0, 1\]"),
        ("recalled", -0.1, r"-0.1 is not a number in \[0, 1\]"),
        ("prevalence", float("nan"), r"nan is not a number in \[0, 1\]"),
        ("calibration", {"slope": 0, "intercept": 0}, "is not a slope above 0 and an intercept"),
        ("calibration", {"slope": float("inf"), "intercept": 0}, "is not a slope above 0 and an intercept"),
        ("calibration", {"slope": 1, "intercept": float("nan")}, "is not a slope above 0 and an intercept"),
        ("calibration", {"slope": 1}, "is not a slope above 0 and an intercept"),
        ("target", {"python": "3.12"}, "is not a Python and a platform"),
        ("targets", [1], "is not a list of names"),
        ("files", {"fold0.safetensors": None}, "is not names of files, each with its SHA-256"),
    ],
)
def test_values_changed_by_hand_are_named(bundle, key, value, message):
    rewrite(bundle, **{key: value})
    with pytest.raises(RunError, match=rf"bundle\.json: {key}: .*{message}.*; the file was changed"):
        load_trained(bundle)


def test_pickles_are_not_read(bundle):
    """A weight file that is a pickle is refused even where its hash is the recorded one."""
    import pickle

    content = pickle.dumps({"a": 1})
    (bundle / "fold0.safetensors").write_bytes(content)
    rewrite(bundle, files=about(bundle)["files"] | {"fold0.safetensors": hashlib.sha256(content).hexdigest()})
    with pytest.raises(RunError, match="cannot be loaded into"):
        load_trained(bundle).networks()


def test_archives_cannot_write_outside_their_folder(tmp_path):
    for name in ("../evil.txt", "/tmp/evil.txt", "a/../../evil.txt", "..\\evil.txt", "C:evil.txt"):
        with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
            archive.writestr(name, "evil")
        with pytest.raises(RunError, match="leads out of the folder"):
            load_trained(tmp_path / "bad.zip")
        with tarfile.open(tmp_path / "bad.tar", "w") as archive:
            info = tarfile.TarInfo(name)
            info.size = 4
            archive.addfile(info, io.BytesIO(b"evil"))
        with pytest.raises(RunError, match="leads out of the folder"):
            load_trained(tmp_path / "bad.tar")


def test_archives_with_links_are_refused(tmp_path):
    with tarfile.open(tmp_path / "bad.tar", "w") as archive:
        link = tarfile.TarInfo("bundle.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(RunError, match="is a link or a device"):
        load_trained(tmp_path / "bad.tar")
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        info = zipfile.ZipInfo("bundle.json")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(RunError, match="is a link or a device"):
        load_trained(tmp_path / "bad.zip")


def test_what_is_no_archive_of_a_bundle_is_refused(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"PK nothing")
    with pytest.raises(RunError, match="is neither a folder, nor a .zip or .tar"):
        load_trained(tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(RunError, match=r"there is no bundle.json in this archive"):
        load_trained(tmp_path / "b.zip")

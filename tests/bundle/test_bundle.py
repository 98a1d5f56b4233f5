"""Bundles: made of a run, read like one, and never believed."""

import hashlib
import io
import json
import os
import re
import shlex
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from rsna.bundle.kaggle import NOTEBOOK, notebook, write_metadata
from rsna.bundle.make import make_bundle, summary
from rsna.bundle.verify import verify_bundle
from rsna.bundle.wheels import pack_project
from rsna.config.settings import ConfigError
from rsna.config.verbs import BundleMakeOptions, BundleVerifyOptions, InferOptions
from rsna.files import InUseError, only_writer
from rsna.inference.infer import infer
from rsna.runs.bundle import open_bundle
from rsna.runs.errors import RunError
from rsna.runs.schema import BUNDLE_FORMAT
from rsna.runs.trained_ensemble import load_ensemble
from rsna.runs.trained_model import load_trained
from tests.board.runs import rewrite as write_again
from tests.inference.runs import write_exams


@pytest.fixture(scope="module")
def made(run, tmp_path_factory):
    """A bundle without wheels of others, not to be changed."""
    out = tmp_path_factory.mktemp("bundles") / "tiny"
    return make_bundle(BundleMakeOptions(run=str(run), out=str(out), host="none", precision="fp32"))


@pytest.fixture
def bundle(made, tmp_path):
    """A copy to spoil."""
    return shutil.copytree(made, tmp_path / "bundle")


def about(bundle):
    return json.loads((bundle / "bundle.json").read_text())


def rewrite(bundle, **values):
    write_again(bundle / "bundle.json", **values)


def rewrite_member(bundle, **values):
    """Changes values of the only member."""
    rewrite(bundle, members=[about(bundle)["members"][0] | values])


def test_a_bundle_says_what_it_is(made, run):
    said = about(made)
    assert said["format"] == BUNDLE_FORMAT
    (member,) = said["members"]
    assert sorted(member["weights"]) == ["0", "1"]
    assert (said["method"], said["member_weights"]) == ("mean", [])
    assert said["metrics"]["pooled"]["intervals"]["pf1_nested"].keys() >= {"low", "high"}
    assert said["versions"]["torch"]
    assert "root" not in member["config"]["data"]
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


def test_the_title_of_a_kernel_is_no_longer_than_kaggle_takes(tmp_path):
    for title in ("Mammograms of a site", "Mammograms of a site that has a long name, v2 in all"[:50], "x" * 50):
        write_metadata(tmp_path, "someone", title)
        kernel = json.loads((tmp_path / "kernel" / "kernel-metadata.json").read_text())
        assert len(kernel["title"]) <= 50
        assert kernel["title"].startswith(title[:39].strip())
        assert kernel["title"].endswith(" submission")
        assert kernel["id"] == "someone/" + re.sub(r"\W+", "-", kernel["title"].lower())
    for title in ("small", "x" * 51, "乳房X線攝影"):
        with pytest.raises(ConfigError, match=r"^title: "):
            BundleMakeOptions(run="runs/x", out="x", title=title)


def test_the_wheel_carries_the_notebook_for_bundles_made_of_an_installed_package(tmp_path):
    with zipfile.ZipFile(pack_project(tmp_path)) as wheel:
        assert wheel.read(f"rsna/notebooks/{NOTEBOOK}") == notebook().read_bytes()


def test_a_bundle_is_the_same_trained_model_as_its_run(made, run):
    ours, theirs = load_trained(made), load_trained(run)
    for key in ("preprocess", "model", "targets", "spec", "flip", "precision"):
        assert getattr(ours, key) == getattr(theirs, key), key
    ours, theirs = load_ensemble(made), load_ensemble(run)
    for key in ("method", "aggregate", "threshold", "recalled", "prevalence", "calibration", "metrics", "simulated"):
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
    small = make_bundle(BundleMakeOptions(run=str(run), out=str(tmp_path / "half"), host="none"))
    assert (small / "fold0.safetensors").stat().st_size < 0.52 * (made / "fold0.safetensors").stat().st_size
    full, half = load_file(made / "fold0.safetensors"), load_file(small / "fold0.safetensors")
    for key, value in full.items():
        np.testing.assert_allclose(half[key].float(), value.float(), rtol=1e-3, atol=1e-4)


def test_only_a_bundle_is_overwritten(run, made, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("do not lose")
    with pytest.raises(ConfigError, match="holds files and is no bundle"):
        make_bundle(BundleMakeOptions(run=str(run), out=str(tmp_path / "mine"), host="none"))
    with pytest.raises(ConfigError, match=r"thesis.txt is a file; name a folder"):
        make_bundle(BundleMakeOptions(run=str(run), out=str(tmp_path / "mine" / "thesis.txt"), host="none"))
    with pytest.raises(RunError, match="is a bundle already"):
        make_bundle(BundleMakeOptions(run=str(made), out=str(tmp_path / "new"), host="none"))
    with pytest.raises(ConfigError, match="neither kaggle, nor none, nor a file"):
        make_bundle(BundleMakeOptions(run=str(run), out=str(tmp_path / "new"), host="kagle"))
    assert not (tmp_path / "new").exists()


def test_a_changed_file_is_refused_before_it_is_used(bundle):
    content = bytearray((bundle / "fold1.safetensors").read_bytes())
    content[-1] ^= 1
    (bundle / "fold1.safetensors").write_bytes(content)
    with pytest.raises(RunError, match=r"fold1.safetensors: its SHA-256 is not the recorded one"):
        load_trained(bundle)
    assert load_trained(bundle, (0,)).networks()  # what is not used is not asked
    with pytest.raises(RunError, match=r"fold1.safetensors: its SHA-256"):
        verify_bundle(BundleVerifyOptions(run=str(bundle)))


def test_verify_without_installing(bundle):
    found = verify_bundle(BundleVerifyOptions(run=str(bundle), install=False))
    assert found.files == 4
    assert found.predicted == 4


def test_a_missing_file_is_named(bundle):
    (bundle / "fold0.safetensors").unlink()
    with pytest.raises(RunError, match=r"fold0.safetensors: is missing"):
        load_trained(bundle)


def test_names_that_lead_out_of_the_folder_are_refused(bundle, tmp_path):
    (tmp_path / "outside.safetensors").write_bytes((bundle / "fold0.safetensors").read_bytes())
    for name in ("../outside.safetensors", str(tmp_path / "outside.safetensors")):
        rewrite_member(bundle, weights={"0": name}, folds={"0": 0})
        rewrite(bundle, files={name: "0" * 64})
        with pytest.raises(RunError, match="is no plain file of this folder"):
            load_trained(bundle)


def test_files_that_are_links_count_by_what_they_lead_to(made, tmp_path):
    """A cache of files, as of DVC or the Hugging Face Hub, links to them."""
    linked = shutil.copytree(made, tmp_path / "linked", copy_function=lambda source, to: Path(to).symlink_to(source))
    assert load_trained(linked).networks()
    open_bundle(linked).check_files()
    file = linked / "fold0.safetensors"
    for target, said in (("fold1.safetensors", "SHA-256 is not"), ("nowhere", "missing"), ("/dev/zero", "missing")):
        file.unlink()
        file.symlink_to(target)
        with pytest.raises(RunError, match=rf"fold0.safetensors: .*{said}"):
            load_trained(linked)


def test_another_format_and_other_preprocessing_are_refused_with_the_reason(bundle):
    versions = about(bundle)["versions"] | {"rsna-mammography": "9.1"}
    for format in (BUNDLE_FORMAT + 1, BUNDLE_FORMAT - 1):
        rewrite(bundle, format=format, versions=versions)
        with pytest.raises(
            RunError, match=rf"is of format {format}, this version reads format {BUNDLE_FORMAT}; .*version 9.1"
        ):
            load_trained(bundle)
    rewrite(bundle, format=BUNDLE_FORMAT)
    rewrite_member(bundle, hashes=about(bundle)["members"][0]["hashes"] | {"preprocessing": "abc"})
    with pytest.raises(RunError, match="was trained with preprocessing abc, this version prepares with"):
        load_trained(bundle)


def test_a_description_that_is_none_is_refused(bundle):
    rewrite(bundle, members=[])
    with pytest.raises(RunError, match=r"bundle.json: members: .*at least 1 item.*; the file was cut off or changed"):
        load_trained(bundle)
    rewrite(bundle, members=None)
    with pytest.raises(RunError, match=r"bundle.json: members: .*, not None; the file was cut off or changed"):
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
        ("weights", {"x": "fold0.safetensors"}, r"weights\.x.*valid integer"),
        ("weights", {"-1": "fold0.safetensors"}, r"weights\.-1.*greater than or equal to 0"),
        ("weights", {"0": 1}, r"weights\.0: .*valid string, not 1"),
        ("aggregate", "median", "aggregate: .*'mean', 'max' or 'top2', not 'median'"),
        ("precision", "64", "precision: .*'auto', '32', 'bf16' or 'fp16', not '64'"),
        ("stored", "int8", "stored: .*'fp16' or 'fp32', not 'int8'"),
        ("hashes", {}, r"hashes\.preprocessing: Field required"),
        ("hashes", {"preprocessing": None}, r"hashes\.preprocessing: .*valid string, not None"),
        ("threshold", 7, "threshold: .*less than or equal to 1, not 7"),
        ("threshold", True, "threshold: .*valid number, not True"),
        ("threshold", "high", "threshold: .*valid number, not 'high'"),
        ("recalled", -0.1, "recalled: .*greater than or equal to 0, not -0.1"),
        ("prevalence", float("nan"), "is not JSON|prevalence: .*finite number"),
        ("calibration", {"slope": 0, "intercept": 0}, r"calibration\.slope: .*greater than 0, not 0"),
        ("calibration", {"slope": float("inf"), "intercept": 0}, r"calibration\.slope: .*finite number"),
        ("calibration", {"slope": 1, "intercept": float("nan")}, r"calibration\.intercept: .*finite number"),
        ("calibration", {"slope": 1}, r"calibration\.intercept: Field required"),
        ("host", {"holds": "kaggle", "python": "3.12"}, r"host\.platform: Field required"),
        ("targets", [1], r"targets\.0: .*valid string, not 1"),
        ("files", {"fold0.safetensors": None}, r"files\.fold0\.safetensors: .*valid string, not None"),
        ("preprocess", {"size": [0, 0]}, r"preprocess\.size"),
        ("model", {"backbones": "b0"}, r"model\.backbones: there is no such key"),
        ("method", "median", "method: .*'any' or 'weights', not 'median'"),
        ("member_weights", [2.0], r"member_weights\.0: .*less than or equal to 1, not 2.0"),
        ("surprise", 1, "surprise: Extra inputs are not permitted"),
    ],
)
def test_values_changed_by_hand_are_named(bundle, key, value, message):
    (rewrite if key in about(bundle) or key == "surprise" else rewrite_member)(bundle, **{key: value})
    with pytest.raises(
        RunError, match=rf"bundle\.json: .*(?:{message}).*; the file was (?:cut off or )?changed"
    ) as error:
        load_trained(bundle)
    assert "\n" not in str(error.value)


def test_a_fold_without_weights_is_named(bundle):
    rewrite_member(bundle, folds={"0": 7})
    with pytest.raises(RunError, match=r"bundle: .* is not recorded in bundle.json"):
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
        name = name.replace("evil.txt", "bundle.json") if "C:" not in name else "C:/bundle.json"
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


def test_members_that_a_bundle_does_not_record_are_skipped_and_links_in_the_place_of_its_files_refused(made, tmp_path):
    def pack(name, *links):
        with tarfile.open(tmp_path / name, "w") as archive:
            for path, target in links:
                link = tarfile.TarInfo(path)
                link.type, link.linkname = tarfile.SYMTYPE, target
                archive.addfile(link)
            archive.add(made, "b", filter=lambda info: None if info.name in dict(links) else info)
        return tmp_path / name

    opened = open_bundle(pack("a.tar", ("latest", "b"), ("../evil", "/etc"), ("b/mine", "/etc/passwd"), ("/x", "b")))
    assert {file.name for file in opened.folder.iterdir()} == {"bundle.json", *opened.record.files}
    opened.check_files()
    with pytest.raises(RunError, match=r"fold1\.safetensors' is a link or a device"):
        open_bundle(pack("b.tar", ("b/fold1.safetensors", "fold0.safetensors")))


@pytest.mark.parametrize("kind", ["tar", "zip", "gztar"])
def test_a_bundle_lies_at_any_depth_of_its_archive_and_its_files_alone_are_unpacked(bundle, tmp_path, kind):
    """A .tar is opened although the wheel in it makes it look like a .zip."""
    (bundle / "bomb").write_bytes(bytes(1 << 20))
    folder = tmp_path / "a" / "b c" / "d"
    folder.parent.mkdir(parents=True)
    bundle.rename(folder)
    for base in (".", "a", "a/b c/d"):
        archive = shutil.make_archive(str(tmp_path / "packed"), kind, tmp_path if base == "." else tmp_path / base, ".")
        opened = open_bundle(archive)
        assert {file.name for file in opened.folder.iterdir()} == {"bundle.json", *opened.record.files}
        opened.check_files()


def test_an_archive_of_two_bundles_is_refused(made, tmp_path):
    for name in ("one", "two"):
        (tmp_path / "both" / name).mkdir(parents=True)
        shutil.copy(made / "bundle.json", tmp_path / "both" / name)
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "both")
    with pytest.raises(RunError, match="holds several bundles"):
        open_bundle(archive)


def test_recorded_names_and_sizes_alone_are_unpacked(bundle, tmp_path):
    rewrite(bundle, sizes=about(bundle)["sizes"] | {"fold0.safetensors": 7})
    with pytest.raises(RunError, match=r"fold0.safetensors has [\d,]+ bytes, not 7 as recorded"):
        open_bundle(shutil.make_archive(str(tmp_path / "packed"), "tar", bundle))
    rewrite(bundle, files={"kernel/kernel-metadata.json": "0" * 64}, sizes={"kernel/kernel-metadata.json": 2})
    opened = open_bundle(shutil.make_archive(str(tmp_path / "packed"), "tar", bundle))
    with pytest.raises(RunError, match="is no plain file of this folder"):
        opened.check_files()


def test_a_bundle_that_is_made_anew_replaces_the_old_one_at_once(run, tmp_path):
    out = tmp_path / "it's a bundle"
    options = BundleMakeOptions(run=str(run), out=str(out), host="none")
    assert make_bundle(options) == out
    (out / "old.txt").touch()
    (out / "kernel" / "mine.txt").touch()
    (out / "fold7.safetensors").write_bytes(b"old")
    rewrite(out, files=about(out)["files"] | {"fold7.safetensors": hashlib.sha256(b"old").hexdigest()})
    with (
        only_writer(out),
        pytest.raises(InUseError, match=rf"it's a bundle: is being written by process {os.getpid()} on"),
    ):
        make_bundle(options)
    assert (out / "old.txt").exists()
    make_bundle(options)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["it's a bundle"]
    assert (out / "old.txt").exists()  # not ours to remove
    assert (out / "kernel" / "mine.txt").exists()
    assert not (out / "fold7.safetensors").exists()
    open_bundle(out).check_files()
    line = summary(out).splitlines()[-1].removeprefix("upload: ").split(", then ")[0]
    assert shlex.split(line)[-1] == str(out)


def test_what_is_no_archive_of_a_bundle_is_refused(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"PK nothing")
    with pytest.raises(RunError, match="is neither a folder, nor a .zip or .tar"):
        load_trained(tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(RunError, match=r"there is no bundle.json in this archive"):
        load_trained(tmp_path / "b.zip")

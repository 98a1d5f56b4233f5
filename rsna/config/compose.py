"""How Hydra's composition of conf/ with a command line becomes one frozen Config."""

import os
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from rsna.config.data import DATA_VARIABLE, DEFAULT_ROOT
from rsna.config.schema import Config
from rsna.config.settings import ConfigError, fields_of, from_mapping, is_group, require, to_mapping, unknown_key
from rsna.files import first_line

_FULL_ERROR = "HYDRA_FULL_ERROR"
_NO_TEXT = re.compile(r"[+-]?[\d._]*\d[\d._]*(e[+-]?\d+)?|[+-]?inf|nan|true|false", re.IGNORECASE)
"""What Hydra takes for a number or a truth."""
_ITEM = re.compile(r"'[^']*'|\"[^\"]*\"|[^\[\],\s][^\[\],]*")
"""A value, an item of a list, or one choice of a sweep; quoted as a whole or not at all."""


def conf_dir() -> Path:
    """The folder conf/: inside an installed package, or at the top of a checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "conf", package.parent / "conf"):
        if (folder / "config.yaml").is_file():
            return folder
    raise ConfigError(f"conf/ is neither in {package} nor in {package.parent}; install the package again")


def groups() -> dict[str, dict[str, str]]:
    """Options of every group of conf/, each with the comment in the first line of its file."""
    return {
        folder.name: {
            file.stem: next(
                (line[2:] for line in file.read_text(encoding="utf-8").splitlines() if re.match("# (?!@)", line)), ""
            )
            for file in sorted(folder.glob("*.yaml"))
        }
        for folder in sorted(conf_dir().iterdir())
        if folder.is_dir()
    }


def compose(arguments: Sequence[str]) -> Config:
    """Composes conf/ with ``key=value`` overrides, for every verb that needs a configuration.

    Raises:
        ConfigError: A misspelt key, an unknown group, a value that is not allowed, a sweep.
    """
    found: list[Any] = []
    flags, overrides, said = read_arguments(arguments)
    require(not is_sweep(flags, overrides), "-m: train.py alone sweeps; give one configuration")
    if said and os.environ.get("RANK", "0") == "0":  # of torchrun's processes the first one speaks
        print(said, file=sys.stderr)
    if not flags and not any("hydra" in override for override in overrides):
        return freeze(_compose_plain(overrides))
    run_hydra(flags, overrides, lambda composed: found.append(composed))  # no method: Hydra looks for a function's file
    if not found:
        sys.exit(0)  # --cfg and its like print and do nothing
    return freeze(found[0])


def is_sweep(flags: Sequence[str], overrides: Sequence[str]) -> bool:
    """Whether a command line asks for several jobs."""
    mode = any(override.lower().startswith("hydra.mode=multirun") for override in overrides)
    return mode or bool({"-m", "--multirun"} & set(flags))


def _compose_plain(overrides: Sequence[str]) -> Any:
    """What :func:`run_hydra` composes twice, to learn its mode, where nothing is asked of Hydra itself."""
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    _store_schema()
    try:
        with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
            return hydra.compose("config", list(overrides))
    except (HydraException, OmegaConfBaseException, YAMLError, ValueError) as error:
        raise _explain(error) from error


def _store_schema() -> None:
    """Tells Hydra the keys. It needs mutable schemas and knows no Literal: from_mapping checks the values."""
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf

    schema = OmegaConf.create(to_mapping(Config()))
    OmegaConf.set_struct(schema, True)
    ConfigStore.instance().store(name="schema", node=schema)


def run_hydra(flags: Sequence[str], overrides: Sequence[str], task: Callable[[Any], Any]) -> None:
    """Calls ``task``, a function, with the composition, or for each job of a sweep, as Hydra's own ``main`` does."""
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    _store_schema()
    # Hydra reads the command line itself, wants overrides in one row, and ends the process at an error unless the
    # variable asks for the error itself.
    folder, full, argv = str(conf_dir()), os.environ.get(_FULL_ERROR), sys.argv
    sys.argv, os.environ[_FULL_ERROR] = ["train.py", *overrides, *flags], "1"
    try:
        hydra.main(version_base="1.3", config_path=folder, config_name="config")(task)()
    except (HydraException, OmegaConfBaseException, YAMLError, ValueError) as error:
        raise _explain(error) from error
    finally:
        sys.argv = argv
        os.environ.pop(_FULL_ERROR)
        os.environ |= {_FULL_ERROR: full} if full is not None else {}


def read_arguments(arguments: Sequence[str]) -> tuple[list[str], list[str], str]:
    """A command line as Hydra must be given it.

    Without any data and without a named experiment, the experiment is ``demo``: one more override, which is said.

    Returns:
        Hydra's flags; the overrides, whose text is quoted where Hydra would take it for a number; the line to say, or
        nothing.
    """
    # Hydra's flags change between its releases, and with them which of them take a value.
    from hydra._internal.utils import get_args_parser

    flags = get_args_parser().parse_intermixed_args(list(arguments))
    given = list(arguments)
    for override in flags.overrides:
        given.remove(override)
    _refuse_twice(flags.overrides)
    sweep = is_sweep(given, flags.overrides)
    overrides = [_check_override(override, sweep) for override in flags.overrides]
    keys = {re.split("[=@]", override.lstrip("+~"))[0] for override in overrides}
    named = keys & {"experiment", "data", "data.root"} or flags.config_name or flags.config_path
    if named or os.environ.get(DATA_VARIABLE) or DEFAULT_ROOT.is_dir():
        return given, overrides, ""
    said = f"neither ${DATA_VARIABLE} nor {DEFAULT_ROOT} is there: experiment=demo, the embedded sample"
    return given, [*overrides, "experiment=demo"], said


def _refuse_twice(overrides: Sequence[str]) -> None:
    """Of a key, or a group, that is given twice with two values Hydra would take the last, and say nothing."""
    given: dict[str, str] = {}
    for override in overrides:
        key, equals, value = override.lstrip("+").partition("=")
        if not equals or override.startswith("~") or re.split("[./]", key)[0] == "hydra":
            continue
        known = given.setdefault(key, value)
        require(known == value, f"{key}: is given twice, as {known} and as {value}; give it once")


def _explain(error: Exception) -> ConfigError:
    """A Hydra error in a line or two, its cause included, with the keys and options that are near."""
    from hydra.errors import MissingConfigException

    if isinstance(error, MissingConfigException) and error.options and error.missing_cfg_file:
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        return ConfigError(f"{group}: there is no {option!r}; options: {', '.join(error.options)}")
    for wrong in (error, error.__cause__):
        if found := re.search(r"full_key: (\S+)", str(wrong)):
            where = re.match(r"In '(\S+)'", str(error))
            try:
                _key_type(found[1])
            except ConfigError as unknown:
                return ConfigError(f"{where[1]}: {unknown}" if where else str(unknown))
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and "object_type" not in line]
    cause = str(error.__cause__ or "").splitlines()[:1]
    return ConfigError("; ".join([*lines[:4], *cause]))


def freeze(composed: Any) -> Config:
    """An OmegaConf composition → the checked, frozen configuration."""
    from omegaconf import OmegaConf
    from omegaconf.errors import InterpolationKeyError, OmegaConfBaseException

    try:
        mapping: Any = OmegaConf.to_container(composed, resolve=True)
    except InterpolationKeyError as error:
        raise ConfigError(
            f"{error.full_key}: ${{…}} stands for another key's value, and none is called so ({first_line(error)}); "
            "where it is text, write \\${…}"
        ) from error
    except OmegaConfBaseException as error:
        raise _explain(error) from error
    mapping.pop("hydra", None)
    if isinstance(data := mapping.get("data"), dict) and data.get("root") == "":
        data["root"] = str(DEFAULT_ROOT)  # RSNA_DATA that is set to nothing is not set
    return from_mapping(Config, mapping)


def _check_override(argument: str, sweep: bool) -> str:
    """Refuses what Hydra would not say in words; returns the override as Hydra must be given it."""
    key, equals, value = argument.lstrip("+~").partition("=")
    if not equals:
        require(argument.startswith("~"), f"{argument!r}: write overrides as key=value, flags before or behind them")
        return argument
    if re.split("[./]", key)[0] == "hydra":
        return argument
    group = key.partition("@")[0]
    if options := groups().get(group):
        chosen = value.strip() not in ("", "null") and not value.startswith(("[", "{"))
        require(chosen, f"{argument}: choose one of {', '.join(options)}; without {group}= it is the default")
        return argument
    # A group of the user's own, too, is without a dot; whether there is one, Hydra knows.
    known = "." in key or key in fields_of(Config)
    return _fit_override(argument, _key_type(key), sweep) if known else argument


def _fit_override(argument: str, kind: Any, sweep: bool) -> str:
    """A ``key=value`` for Hydra, whose grammar has numbers, lists and sweeps of its own, read by the type of its key.

    To Hydra ``name=1.50`` is 1.5, so numbers are quoted where text is meant.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    options = get_args(kind)
    listed = options == (str, ...)
    choice = get_origin(kind) is Literal and all(isinstance(option, str) for option in options)
    text = kind is str or listed or choice
    key, _, value = argument.partition("=")
    try:
        read = OverridesParser.create().parse_override(argument)
        # What has commas or brackets is a list, a mapping or a sweep to Hydra.
        odd = kind is str and (not isinstance(read.value(), (str, int, float, bool)) or read.is_sweep_override())
        if not odd or (sweep and read.is_sweep_override()):
            return f"{key}={_ITEM.sub(_as_text, value)}" if text else argument
    except HydraException as error:
        if not text:
            raise ConfigError(f"{argument}: Hydra cannot read this value: {first_line(error)}") from None
    quoted = ",".join(_quoted(item) for item in (value.strip("[]").split(",") if listed else [value]))
    raise ConfigError(
        f"{argument}: blanks and signs in this value mean something to Hydra; put it into two pairs of quotes, "
        f"the outer one for the shell: {shlex.quote(f'{key}=[{quoted}]' if listed else f'{key}={quoted}')}"
    )


def _quoted(item: str) -> str:
    """Text between Hydra's quotes, in which a quote, a backslash ahead of one, and an interpolation are escaped."""
    text = re.sub(r"""^\s*(['"])(.*?)\1?\s*$""", r"\2", item).strip()
    quote = "'" if '"' in text and "'" not in text else '"'
    text = re.sub(rf"(\\*)({quote}|$)", lambda m: m[1] * 2 + ("\\" + quote if m[2] else ""), text)
    return quote + text.replace("${", "\\${") + quote


def _as_text(item: re.Match[str]) -> str:
    bare = item[0].rstrip()
    return f"'{bare}'" if _NO_TEXT.fullmatch(bare) else item[0]


def _key_type(key: str) -> Any:
    """Type of a dotted key; one that is not there is refused."""
    cls: Any = Config
    for part in key.split("."):
        known = fields_of(cls) if is_group(cls) else {}
        if part not in known:
            raise unknown_key(key, part, known)
        cls = known[part].annotation
    return cls

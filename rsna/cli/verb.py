"""What a verb of the command line is, and which of its errors are said in a line."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rsna.config.settings import fields_of, from_mapping, parse_assignments

_TRAIN_EXTRA = {
    "albumentations", "captum", "filelock", "hydra", "jinja2", "matplotlib", "mlflow", "omegaconf",
    "pytorch_lightning", "rich",
}  # fmt: skip


@dataclass(frozen=True)
class Verb:
    """A verb with options of its own, given as key=value."""

    name: str
    summary: str
    """One line for the list of verbs."""
    options: type[Any]
    """Settings class: keys, defaults, docstrings."""
    run: Callable[[Any], int]
    """Takes the options, returns the exit code."""
    examples: tuple[str, ...] = ()

    def __call__(self, arguments: Sequence[str]) -> int:
        return self.run(from_mapping(self.options, parse_assignments(arguments)))

    def help(self) -> str:
        """What `rsna VERB --help` prints."""
        return _help(self, f"Keys:\n{_describe(self.options)}")


@dataclass(frozen=True)
class ConfiguredVerb:
    """A verb that works on the whole configuration, composed from conf/ with overrides, as train.py does."""

    name: str
    summary: str
    run: Callable[[Sequence[str], Any], int]
    """Takes the overrides and its own options, returns the exit code."""
    options: type[Any] | None = None
    """Settings class of the keys that are this verb's own, if any."""
    examples: tuple[str, ...] = ()
    page: Callable[[], str] | None = None
    """Writes the whole help, where it is not that of all other verbs."""

    def __call__(self, arguments: Sequence[str]) -> int:
        if self.options is None:
            return self.run(arguments, None)
        own = fields_of(self.options)
        mine = [argument for argument in arguments if argument.partition("=")[0] in own]
        overrides = [argument for argument in arguments if argument not in mine]
        return self.run(overrides, from_mapping(self.options, parse_assignments(mine)))

    def help(self) -> str:
        """What `rsna VERB --help` prints."""
        if self.page:
            return self.page()
        own = [f"Keys of its own:\n{_describe(self.options)}"] if self.options else []
        return _help(self, *own, "Keys of the configuration: those of `rsna train --help`.")


def _help(verb: Verb | ConfiguredVerb, *keys: str) -> str:
    examples = "Examples:\n" + "\n".join(f"  {example}" for example in verb.examples)
    return "\n\n".join([f"rsna {verb.name} key=value …\n\n{verb.summary}", *keys, examples])


def _describe(options: type[Any]) -> str:
    from rsna.config.reference import describe

    return describe(options)


def speaks_for_itself(error: BaseException) -> bool:
    """The project's own errors say what, where and how to mend; anything else is a defect and shows its traceback."""
    if isinstance(error, ModuleNotFoundError) and error.name in _TRAIN_EXTRA:
        error.msg = f"{error.name} is not installed; pip install 'rsna-mammography[train]'"
        return True
    return type(error).__module__.startswith("rsna.") or isinstance(error, OSError)

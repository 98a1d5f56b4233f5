"""What a verb of the command line is, and which of its errors are said in a line."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from textwrap import indent
from typing import Any, get_origin

from rsna.cli.announce import tell
from rsna.config.settings import fields_of, from_mapping, parse_assignments
from rsna.parallel.progress import Start

TRAIN_EXTRA = {
    "albumentations", "captum", "hydra", "jinja2", "matplotlib", "mlflow", "omegaconf",
    "pytorch_lightning",
}  # fmt: skip
"""Packages that `.[train]` brings, as they are imported."""


@dataclass(frozen=True)
class Verb:
    """A verb with its options, given as key=value."""

    name: str
    summary: str
    """One line for the list of verbs."""
    examples: str
    """Command lines, one a line."""
    options: type[Any] | None
    """Settings class of the keys that are this verb's own, if any."""
    configured: bool
    """Whether it works on the whole configuration, composed from conf/ with overrides, as train.py does."""
    says: Callable[..., str]
    """What it is going to do, from what it is called with; said ahead of everything that takes long."""
    run: Callable[..., int | None]
    """Takes the overrides, where configured, and the options; returns the exit code, where it is not 0."""
    bare: str = ""
    """Key that an argument without = stands for, or several a list of, if any."""
    others: str = "Keys of the configuration: those of `rsna train --help`."
    """What the keys are, where configured, that are not this verb's own."""

    def __call__(self, arguments: Sequence[str]) -> int:
        own = fields_of(self.options) if self.options else {}
        if self.bare:
            bare = [one for one in arguments if "=" not in one]
            if len(bare) > 1 and get_origin(own[self.bare].annotation) is tuple:
                bare = [f"[{','.join(bare)}]"]
            arguments = [*(f"{self.bare}={one}" for one in bare), *(one for one in arguments if "=" in one)]
        mine = [argument for argument in arguments if not self.configured or argument.partition("=")[0] in own]
        given: list[Any] = [[argument for argument in arguments if argument not in mine]] if self.configured else []
        if self.options:
            given.append(from_mapping(self.options, parse_assignments(mine)))
        tell(self.name, self.says(*given))
        with Start(f"rsna {self.name}"):
            return self.run(*given) or 0

    def help(self) -> str:
        """What `rsna VERB --help` prints."""
        from rsna.config.reference import describe, train_help

        if self.name == "train":  # whose keys are the configuration itself
            return train_help()
        parts = [f"rsna {self.name} key=value …", self.summary]
        if self.options:
            parts.append(f"{'Keys of its own' if self.configured else 'Keys'}:\n{describe(self.options)}")
        if self.configured:
            parts.append(self.others)
        return "\n\n".join([*parts, f"Examples:\n{indent(self.examples, '  ')}"])


def verb(
    name: str,
    options: type[Any] | None = None,
    *,
    says: Callable[..., str],
    configured: bool = False,
    bare: str = "",
    others: str = Verb.others,
) -> Callable[[Callable[..., int | None]], Verb]:
    """Makes a function a verb. Its docstring is the help: a line that says what the verb does, then examples.

    Args:
        name: One word, or two.
        options: Settings class of its own keys.
        says: See `Verb.says`; "" for nothing.
        configured: See `Verb.configured`.
        bare: See `Verb.bare`.
        others: See `Verb.others`.
    """

    def make(run: Callable[..., int | None]) -> Verb:
        summary, _, examples = inspect.cleandoc(run.__doc__ or "").partition("\n\n")
        return Verb(name, summary, examples, options, configured, says, run, bare, others)

    return make


def speaks_for_itself(error: BaseException) -> bool:
    """The project's own errors say what, where and how to mend; anything else is a defect and shows its traceback."""
    if isinstance(error, ModuleNotFoundError) and error.name in TRAIN_EXTRA:
        error.msg = f"{error.name} is not installed; pip install 'rsna-mammography[train]'"
        return True
    return type(error).__module__.startswith("rsna.") or isinstance(error, OSError)

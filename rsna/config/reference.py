"""What can be typed, for people: the lines of ``--help`` and docs/configuration.md, both from the schema.

``python -m rsna.config.reference > docs/configuration.md`` writes the page anew.
"""

import json
import re
import textwrap
from collections.abc import Iterable
from typing import Any

from pydantic_core import to_jsonable_python

from rsna.config.compose import groups
from rsna.config.schema import Config
from rsna.config.settings import allowed, fields_of, is_group

_WIDTH = 118
_OBVIOUS = {"text", "true or false", "a whole number", "a finite number", "a list of text", "a list of whole numbers"}
"""What the default of a key shows already."""

TRAIN_EXAMPLES = """
python train.py fold=0                       one fold of $RSNA_DATA, else data/rsna, else the embedded sample
python train.py fold=all                     every fold, then all of them pooled in runs/<name>-<data>/cv
python train.py experiment=demo fold=all     the embedded sample
python train.py data.root=/archive           your folder, in the competition's layout or with paths in train.csv
python train.py data.limit=200 trainer=debug      a try
python train.py name=view targets=[view]     another target under another name
python train.py preprocess=large model=b5 trainer.epochs=20
python train.py fold=all seeds=[0,1,2]       three runs that differ in their seed: one row of the leaderboard
python train.py -m optim.lr=1e-3,1e-4        a sweep: each job in a run folder of its own
python train.py --config-dir=/my/conf experiment=mine      an experiment file of your own
""".strip()

_INTRODUCTION = """
# Configuration

Written by `python -m rsna.config.reference > docs/configuration.md`; `train.py --help` prints the same. Values are YAML
under `conf/`, composed by Hydra, and `key=value` on the command line; unknown keys and values out of range are refused
before any work; training says at its start which keys were set that others make nothing of, such as
`fusion.max_images` with `unit=image`. Files of your own, and sweeps: [training.md](training.md).
""".strip()


def describe(cls: type[Any], prefix: str = "") -> str:
    """Lines ``key=default  sentence [what is allowed]`` for every field of a settings class."""
    rows = _rows(cls, prefix)
    return _columns(
        [(f"{key}={default}", f"{text} [{takes}]" if takes else text) for key, default, takes, text in rows]
    )


def train_help() -> str:
    """What ``train.py --help`` prints: every key and group of the schema, whatever machine this is."""
    parts = [
        "python train.py [flags] group=option key=value …\n\n"
        "Trains folds of an experiment, predicts each out of fold, and scores pF1 by breast. The same command again\n"
        "resumes what is unfinished and keeps what is finished.",
        "Examples:\n" + textwrap.indent(TRAIN_EXAMPLES, "  "),
        "Groups, chosen as group=option; an experiment chooses several:",
    ]
    parts += [f"{group}\n{_columns(options.items())}" for group, options in groups().items()]
    parts.append("Keys, with their defaults before any group, and what is allowed:")
    parts += [f"{title}\n{describe(cls, prefix)}" for title, cls, prefix in _sections()]
    parts.append(
        "Flags of Hydra: -m sweeps, --cfg job prints the composed configuration, --config-dir=DIR adds a folder with\n"
        "groups of your own, -cn NAME takes another config.yaml, --hydra-help lists the rest."
    )
    return "\n\n".join(parts)


def configuration_page() -> str:
    """docs/configuration.md."""
    parts = [_INTRODUCTION, f"```\n{TRAIN_EXAMPLES}\n```", "## Groups"]
    for group, options in groups().items():
        parts.append(f"`{group}=`\n\n" + "\n".join(f"- `{name}`: {line}" for name, line in options.items()))
    parts.append("## Keys")
    for title, cls, prefix in _sections():
        parts.append(f"### {title}")
        rows = ["| key | default | allowed | |", "|---|---|---|---|"]
        for key, default, takes, sentence in _rows(cls, prefix):
            cells = (f"`{key}`", f"`{default}`" if default else "", takes, sentence)
            rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        parts.append("\n".join(rows))
    return "\n\n".join(parts) + "\n"


def _columns(rows: Iterable[tuple[str, str]]) -> str:
    """Keys on the left, their text wrapped on the right."""
    width = min(max(len(key) for key, _ in rows), 36)
    indent, lines = " " * (width + 4), []
    for key, text in rows:
        # A key that is wider stands in a line of its own.
        left = f"  {key:<{width}}  " if len(key) <= width else f"  {key}\n{indent}"
        lines.append(left + f"\n{indent}".join(textwrap.wrap(text, _WIDTH - width - 4)))
    return "\n".join(lines)


def _sections() -> list[tuple[str, type[Any], str]]:
    """(title, class, prefix of its keys): the experiment's own keys, then its groups in order."""
    inner = [
        (f"{name}: {field.description}", field.annotation, f"{name}.")
        for name, field in fields_of(Config).items()
        if is_group(field.annotation)
    ]
    return [("The experiment", Config, ""), *inner]


def _rows(cls: type[Any], prefix: str) -> list[tuple[str, str, str, str]]:
    """(key, default, what is allowed where that says more, sentence) of every field that is no group."""
    rows = []
    for name, field in fields_of(cls).items():
        if is_group(field.annotation):
            continue
        value = "…" if field.is_required() else to_jsonable_python(field.get_default())
        default = json.dumps(value, ensure_ascii=False).strip('"')
        # The default shows which kind of number it is.
        takes = re.sub("a (finite|whole) number (?=[≥>i])", "", allowed(field))
        sentence = " ".join((field.description or "").split())
        rows.append((f"{prefix}{name}", default, "" if takes in _OBVIOUS else takes, sentence))
    return rows


if __name__ == "__main__":
    print(configuration_page(), end="")

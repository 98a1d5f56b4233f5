"""Sections of a text, and the same as Markdown; pages write them as HTML."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Words:
    """A paragraph."""

    text: str
    remark: bool = False
    """Whether it must not be overlooked."""


@dataclass(frozen=True)
class Table:
    """Rows of cells, of which the first names the row."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    name: str = ""
    """What it is a table of."""


@dataclass(frozen=True)
class Lines:
    """Lines for a terminal."""

    text: str


@dataclass(frozen=True)
class Section:
    """A titled part, and which items of the reporting guidelines it answers."""

    title: str
    blocks: tuple[Words | Table | Lines, ...]
    key: str = ""
    """By which a page knows where its pictures belong."""
    claim: tuple[int, ...] = ()
    """Items of CLAIM (Mongan et al., 2020)."""
    stard: tuple[str, ...] = ()
    """Items of STARD (Bossuyt et al., 2015)."""


def to_markdown(title: str, sections: Sequence[Section]) -> str:
    """A document of these sections."""
    parts = [f"# {title}"]
    for section in sections:
        parts += [f"## {section.title}", *map(_markdown, section.blocks)]
    return "\n\n".join(parts) + "\n"


def _markdown(block: Words | Table | Lines) -> str:
    if isinstance(block, Words):
        return f"**{block.text}**" if block.remark else block.text
    if isinstance(block, Lines):
        return f"```\n{block.text}\n```"
    lines = [f"| {' | '.join(map(_cell, row))} |" for row in (block.head, ("---",) * len(block.head), *block.rows)]
    table = "\n".join(lines)
    return f"{block.name}:\n\n{table}" if block.name else table


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")

"""The house as docs/architecture.md has it: rooms that one can take in, words that are the field's."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "rsna").rglob("*.py"))
ROOMS = sorted({file.relative_to(ROOT / "rsna").parts[0] for file in FILES if file.parent != ROOT / "rsna"})

RETIRED = (
    "ledger", "lies_at", "hang_up", "bury", "last_words", "farewell", "tired", "lesser", "own_words", "recipe",
)  # fmt: skip
"""Words that stood for something that has a term: parts of identifiers, singular."""


def lines(file: Path) -> int:
    return file.read_text().count("\n")


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_can_be_taken_in(room):
    folder = ROOT / "rsna" / room
    for place in {folder, *(file.parent for file in folder.rglob("*.py"))}:
        assert len(list(place.glob("*.py"))) <= 18, f"{place}: split it by what its files are about"
    share = sum(lines(file) for file in folder.rglob("*.py")) / sum(map(lines, FILES))
    assert share <= 0.12, f"rsna/{room} holds {share:.1%} of the lines"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_file_tells_one_story_and_says_which(file):
    tree = ast.parse(file.read_text())
    assert lines(file) <= 400
    said = ast.get_docstring(tree)
    assert said or not tree.body, "a module says in a line what it holds"
    assert not re.search(r"TODO|FIXME|beyond the obvious", file.read_text())
    long = [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and _body_lines(node) > 60]
    assert not long, f"longer than 60 lines: {long}"


def _body_lines(node: ast.FunctionDef) -> int:
    body = node.body[1:] if ast.get_docstring(node) else node.body
    return node.end_lineno - body[0].lineno + 1 if body else 0


@pytest.mark.parametrize("word", RETIRED)
def test_words_that_have_a_term_are_not_names(word):
    names = Counter(
        name
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text()))
        for name in (getattr(node, "name", None), getattr(node, "id", None), getattr(node, "arg", None))
        if isinstance(name, str) and re.search(rf"(^|_){word}s?($|_)", name.lower())
    )
    assert not names


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_text_is_utf_8_whatever_the_locale(file):
    """What reads or writes text says so: in another locale a good file is no text, and a good table is another one."""
    silent = []
    for call in (node for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)):
        name = getattr(call.func, "attr", getattr(call.func, "id", ""))
        given = {keyword.arg for keyword in call.keywords}
        modes = [ast.unparse(node).strip("'") for node in [*call.args, *(keyword.value for keyword in call.keywords)]]
        binary = any(re.fullmatch(r"[rwax+]*b[rwax+]*", mode) for mode in modes)
        owner = ast.unparse(call.func).rpartition(".")[0]
        opens = name == "open" and owner not in ("Image", "os", "tarfile", "zipped") and not binary
        texts = name in ("read_text", "write_text") and owner not in ("", "found")  # an installed package
        if (texts or opens or {"text", "universal_newlines"} & given) and "encoding" not in given:
            silent.append(f"line {call.lineno}: {ast.unparse(call)}")
    assert not silent

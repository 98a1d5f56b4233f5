"""What the pages name is there: files, headings, commands with their keys, rooms in their order."""

import re
import tomllib
from pathlib import Path

import pytest

from rsna.cli.main import VERBS
from rsna.config.compose import groups
from rsna.config.schema import Config
from rsna.config.settings import fields_of, is_group

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")]
PAGES += sorted((ROOT / "docs").rglob("*.md"))

PROGRAM = r"(?:python )?(?:train|infer)\.py|rsna"
"""What a documented command line begins with."""


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def anchors(page: Path) -> set[str]:
    """Of a page's headings, as GitHub makes them."""
    prose = re.sub(r"^```.*?^```", "", text_of(page), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def is_key(name: str, cls=Config) -> bool:
    """Whether the configuration has a dotted key."""
    first, _, rest = name.partition(".")
    if not is_group(cls) or first not in fields_of(cls):
        return False
    return not rest or is_key(rest, fields_of(cls)[first].annotation)


def keys_of(verb: str) -> set[str]:
    """Those of a verb's own, and those of the work that it has others do."""
    names = [verb, verb.removeprefix("slurm ")] if verb != "slurm status" else [verb]
    return {key for name in names if (options := VERBS[name].options) for key in fields_of(options)}


def commands(text: str) -> list[tuple[str, list[str]]]:
    """Verb and keys of every command line in a text."""
    found = []
    for match in re.finditer(rf"(?<![\w/.-])({PROGRAM}) ([^`\n]*)", re.sub(r"\\\n\s*", " ", text)):
        words = re.split(r"[#|;]| {4,}| && ", match[2])[0].split()
        words = [*re.findall("train|infer", match[1]), *words]
        verb = next((name for n in (2, 1) if (name := " ".join(words[:n])) in VERBS), "")
        if verb:
            given = (re.match(r"""['"]?\+{0,2}([a-z_][\w./]*)=""", word) for word in words[len(verb.split()) :])
            found.append((verb, [one[1] for one in given if one]))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading_that_are_there(page):
    for file, anchor in re.findall(r"\]\(([^)#:\s]*)(?:#([^)]*))?\)", text_of(page)):
        target = page.parent / file if file else page
        assert target.exists(), file
        assert not anchor or anchor in anchors(target), f"{file}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_of_this_repository_that_is_named_is_there(page):
    prose = re.sub(r"^```.*?^```", "", text_of(page), flags=re.DOTALL | re.MULTILINE)
    for name in re.findall(r"`((?:rsna|tests|benchmarks|docs|conf|notebooks)/[\w./*-]+)`", prose):
        assert list(ROOT.glob(name.rstrip("/"))), name
    for name in re.findall(r"python (benchmarks/\w+\.py)", text_of(page)):
        assert name == "benchmarks/NAME.py" or (ROOT / name).is_file(), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_has_a_verb_and_keys_that_are_there(page):
    for verb, keys in commands(text_of(page)):
        own = keys_of(verb)
        for key in keys:
            known = key in own or key == "seeds" or key.startswith("hydra")
            known |= VERBS[verb].configured and (is_key(key) or key in groups())
            assert known, f"rsna {verb} {key}="


def test_commands_are_found():
    text = "`rsna folds make labels=a out=b`\npython train.py -m \\\n    'data.root=a b' fold=all  # x=1\nrsna is\n"
    assert commands(text) == [("folds make", ["labels", "out"]), ("train", ["data.root", "fold"])]
    assert sum(len(commands(text_of(page))) for page in PAGES) > 200


def test_rooms_stand_in_the_architecture_in_the_order_in_which_they_import():
    rooms = re.findall(r"^\| `(\w+)(?:\.py|/)` \|", text_of(ROOT / "docs" / "architecture.md"), re.MULTILINE)
    contracts = tomllib.loads(text_of(ROOT / "pyproject.toml"))["tool"]["importlinter"]["contracts"]
    assert rooms == next(one["layers"] for one in contracts if one["type"] == "layers")[::-1]


def test_what_can_be_installed_besides_stands_in_the_readme():
    extras = {*tomllib.loads(text_of(ROOT / "pyproject.toml"))["project"]["optional-dependencies"]} - {"bench", "test"}
    install = text_of(ROOT / "README.md").split("## Install")[1].split("\n## ")[0]
    assert {extra for extra in extras if not re.search(rf"'\.\[{extra}\]'|`{extra}`", install)} == set()


def test_every_decision_stands_in_their_list():
    folder = ROOT / "docs" / "decisions"
    listed = re.findall(r"^\| \[[^]]*\]\(([^)]*)\)", text_of(folder / "README.md"), re.MULTILINE)
    assert sorted(listed) == sorted({file.name for file in folder.glob("*.md")} - {"README.md"})


def test_the_first_pages_accuracy_is_that_of_the_tables():
    section = re.split(r"^## ", text_of(ROOT / "README.md"), flags=re.MULTILINE)
    said = re.findall(r"0\.\d{3} \(0\.\d{3} to 0\.\d{3}\)", next(one for one in section if "How accurate" in one))
    tables = text_of(ROOT / "docs" / "accuracy.md")
    assert len(said) > 4
    assert not [one for one in said if f"| {one}" not in tables]

"""What adapters say of their sets is what people read."""

from pathlib import Path

import pytest

from rsna.archive.catalogue import details, listing, page
from rsna.cli.main import main
from rsna.dataset.adapters import adapters, is_proxy

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_of_data_sets_is_current():
    said = "write it anew: python -m rsna.archive.catalogue > docs/data-sets.md"
    assert (DOCS / "data-sets.md").read_text(encoding="utf-8") == page(), said


def test_the_list_has_every_set_with_its_licence():
    lines = {line.split()[0]: line for line in listing().splitlines() if line}
    for name, adapter in adapters().items():
        assert adapter.FACTS.licence in lines[name]
        assert f"  {adapter.FACTS.release}  " in lines[name]
        assert all(choice in lines[name] for choice in adapter.FACTS.cancer if is_proxy(choice))


def test_a_set_is_told_of_by_its_name_alone(capsys):
    assert main(["datasets", "vindr"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    facts = adapters()["vindr"].FACTS
    for part in (
        facts.title,
        facts.source,
        "20,000 images, ? patients",
        "cancer_from=birads5, a proxy",
        *facts.defects,
    ):
        assert part in said
    assert main(["datasets"]) == 0
    assert capsys.readouterr().out.strip() == listing()


@pytest.mark.parametrize("arguments", [["vindr", "cmmd"], ["name=[vindr,cmmd]"]])
def test_of_several_sets_each_is_told_of(arguments, capsys):
    assert main(["datasets", *arguments]) == 0
    assert capsys.readouterr().out == f"{details('vindr')}\n\n{details('cmmd')}\n"


@pytest.mark.parametrize("arguments", [["vinder"], ["name=vinder"], ["vindr", "vinder"], ["vinder", "vindr"]])
def test_a_set_that_is_not_known_is_answered_with_those_that_are(arguments, capsys):
    assert main(["datasets", *arguments]) == 1
    said = capsys.readouterr()
    assert "there is no set vinder; rsna datasets lists bmcd, cbis_ddsm" in said.err
    assert not said.out

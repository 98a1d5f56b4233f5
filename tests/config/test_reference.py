"""What is printed and written about keys follows the schema, whatever machine this is."""

from pathlib import Path

from rsna.config.compose import groups
from rsna.config.reference import configuration_page, train_help
from rsna.config.schema import Config
from rsna.config.settings import fields_of, flatten, is_group, to_mapping

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_of_the_configuration_is_current():
    assert (DOCS / "configuration.md").read_text() == configuration_page(), (
        "write it anew: python -m rsna.config.reference > docs/configuration.md"
    )


def test_every_key_has_a_sentence():
    for name, field in fields_of(Config).items():
        inner = fields_of(field.annotation) if is_group(field.annotation) else {}
        mute = [key for key, one in {name: field, **{f"{name}.{key}": one for key, one in inner.items()}}.items()
                if not one.description]  # fmt: skip
        assert not mute, f"{mute}: write a docstring under the field; --help prints it"


def test_the_help_of_train_has_every_key_and_option_with_what_is_allowed():
    said = train_help()
    assert all(f"  {key}=" in said for key in flatten(to_mapping(Config())))
    assert all(f"  {option} " in said for options in groups().values() for option in options)
    words = " ".join(said.split())
    assert "trainer.epochs=10 Passes over the training folds. [≥ 1]" in words
    assert "optim.warmup_epochs=1.0 Length of the warm-up, epochs; may be a fraction. [≥ 0]" in words
    assert max(map(len, said.splitlines())) <= 120


def test_the_help_does_not_depend_on_whether_data_is_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RSNA_DATA", raising=False)
    without = train_help()
    monkeypatch.setenv("RSNA_DATA", str(tmp_path))
    assert train_help() == without

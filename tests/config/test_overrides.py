"""What stands on the command line reaches the configuration as it was meant, or the message says how to write it."""

import shlex

import pytest

from rsna.config.compose import compose, read_arguments
from rsna.config.settings import ConfigError


@pytest.fixture(autouse=True)
def _a_set(tmp_path, monkeypatch):
    """Somebody's set, so that no experiment is chosen for them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RSNA_DATA", str(tmp_path))


def read(*arguments: str) -> list[str]:
    return read_arguments(arguments)[1]


@pytest.mark.parametrize(
    "text", ["007", "2024_01_02", "1.50", "1e3", "+5", "-1", "inf", "true", "False", "1:30", "yes"]
)
def test_text_that_looks_like_a_number_stays_text(text):
    config = compose([f"name={text}", f"data.root={text}", f"data.extra=[{text}, b,{text}]"])
    assert (config.name, config.data.root, config.data.extra) == (text, text, (text, "b", text))


@pytest.mark.parametrize("root", ["/odd/Mäx data #2 [x] & (1)", "2024_01_02", "0010", "1.50", "a, b", "true", "~/a=b"])
def test_quoted_text_is_taken_as_it_is(root):
    data = compose([f'data.root="{root}"', f'data.extra=["{root}"]']).data
    assert (data.root, data.extra) == (root, (root,))


def test_quotes_of_one_item_leave_the_others_text():
    assert compose(["data.extra=['/a b',2024_01, 2 ,\"1.50\"]"]).data.extra == ("/a b", "2024_01", "2", "1.50")
    assert read("-m", "name='a',1.50") == ["name='a','1.50'"]


def test_a_choice_that_looks_like_a_number_can_be_chosen():
    config = compose(["trainer.precision=32", "model.in_chans=3"])
    assert (config.trainer.precision, config.model.in_chans) == ("32", 3)


def test_sweeps_over_text_and_numbers():
    assert read("-m", "name=1.0,1.50", "seed=1,2") == ["name='1.0','1.50'", "seed=1,2"]


@pytest.mark.parametrize(
    ("override", "advice"),
    [
        ("data.root=/odd/Mäx data", """'data.root="/odd/Mäx data"'"""),
        ("data.root=~/a #2", """'data.root="~/a #2"'"""),
        ("data.root='a (1)", """'data.root="a (1)"'"""),
        ("data.extra=[/a & b,/c]", """'data.extra=["/a & b","/c"]'"""),
    ],
)
def test_what_hydra_cannot_read_is_shown_with_its_quotes(override, advice):
    with pytest.raises(ConfigError) as error:
        read(override)
    assert str(error.value).startswith(f"{override}: ")
    assert str(error.value).endswith(advice)


def test_a_number_or_list_that_hydra_cannot_read_is_shown():
    with pytest.raises(ConfigError, match=r"^preprocess.size=\[1,2: Hydra cannot read this value: "):
        read("preprocess.size=[1,2")


@pytest.mark.parametrize(
    "text",
    ["/data/it's", '/a"b', "/a'b\"c", "/a 'b'", "/a,b", "/a=b", "[x]", "/{x}", "/a(b)", "/é 日本", "~", "a;b", "`x`",
     "null", "choice(a)", "range(1,3)", "/a,b\\", "/$x,${y}", "\\\"'"],
)  # fmt: skip
def test_what_is_not_taken_as_it_stands_is_refused_with_what_to_type(text):
    """The shell makes one word of the advice, and that word is taken as it is."""
    for key, given in (("data.root", text), ("data.extra", f"[{text}]")):
        if key == "data.extra" and (
            "," in text or text in ("null", "[x]", "choice(a)")
        ):  # these are items, a null, a list
            continue
        with pytest.raises(ConfigError) as error:
            compose([f"{key}={given}"])
        advice = shlex.split(str(error.value).split("for the shell: ")[1])
        config = compose(advice).data
        assert (config.root if key == "data.root" else config.extra[0]) == text


def test_commas_are_a_sweep_where_one_is_asked_for():
    assert read("-m", "data.root=/a,/b") == ["data.root=/a,/b"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["optim.lr=1e-3", "fold=1", "optim.lr=1e-4"], "optim.lr: is given twice, as 1e-3 and as 1e-4; give it once"),
        (["experiment=smal", "experiment=small"], "experiment: is given twice, as smal and as small"),
        (["-m", "seed=0,1", "seed=2"], "seed: is given twice, as 0,1 and as 2"),
    ],
)
def test_a_key_that_is_given_twice_with_two_values_is_refused(given, said):
    with pytest.raises(ConfigError, match=said):
        read(*given)


def test_a_key_may_be_repeated_and_a_group_have_keys_of_its_own():
    assert read("fold=1", "model=b3", "fold=1", "model.drop_rate=0.1") == [
        "fold=1", "model=b3", "fold=1", "model.drop_rate=0.1",
    ]  # fmt: skip

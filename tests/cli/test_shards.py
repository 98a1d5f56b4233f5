"""Where shards are missing, commands are printed that give them, as they are typed."""

import shlex

import pytest

from rsna.cli.main import main
from rsna.cli.shards import to_arguments
from rsna.config.settings import from_mapping, parse_assignments
from rsna.config.verbs import InferOptions
from tests.prepare.files import write_set


@pytest.mark.parametrize(
    "typed",
    [
        ["run=runs/a", "input=/exams"],
        ["run=[runs/a,runs/b]", "input=a b", "weights=[0.25,0.75]", "flip=true", "folds=[0,2]"],
        ['run=["runs/a,b",runs/c]', "input=x", "strict=true", "threshold=0.5", "flip=false", "workers=3"],
    ],
)
def test_options_are_read_as_they_are_written(typed):
    options = from_mapping(InferOptions, parse_assignments(typed))
    assert from_mapping(InferOptions, parse_assignments(to_arguments(options))) == options
    assert sorted(to_arguments(options)) == sorted(typed)


def test_a_set_is_prepared_by_the_commands_that_merge_prints(tmp_path, capsys):
    root = tmp_path / "a set"
    write_set(root, 6).assign(patient_id=list("123456"), cancer=1).to_csv(root / "train.csv", index=False)
    given = ["data=rsna", f"data.root={root}", "preprocess.size=[64,32]", "prepare.workers=1"]
    given += [f"cache_dir={tmp_path / 'cache'}"]
    assert main(["prepare", "shard=2/3", *given]) == 0
    said = capsys.readouterr().out
    assert "shard 2/3 of cache " in said
    assert "breasts with cancer" in said  # a note, which is no command
    assert main(["prepare", "merge", *given]) == 1
    said = capsys.readouterr()
    assert "of 6 images are not prepared (first: " in said.err
    assert "; shards 1,3 of 3. Nothing is merged" in said.err
    commands = [shlex.split(line) for line in said.out.splitlines()]
    assert commands == [["rsna", "prepare", f"shard={number}/3", *given] for number in (1, 3)]
    for command in commands:
        assert main(command[1:]) == 0
    for verb in (["prepare", "merge"], ["prepare"]):
        capsys.readouterr()
        assert main([*verb, *given]) == 0
        assert "6 prepared images (0 now in" in capsys.readouterr().out


def test_where_nothing_was_prepared_the_whole_is_asked_for(tmp_path, capsys):
    root = tmp_path / "set"
    write_set(root, 1).drop(columns="path").assign(patient_id="1", cancer=0).to_csv(root / "train.csv", index=False)
    given = ["data=rsna", f"data.root={root}", f"cache_dir={tmp_path / 'cache'}"]
    assert main(["prepare", "merge", *given]) == 1
    assert shlex.split(capsys.readouterr().out) == ["rsna", "prepare", *given]


@pytest.mark.parametrize("shard", ["0/4", "5/4", "x"])
@pytest.mark.parametrize("verb", [["prepare"], ["infer", "run=a", "input=b"]])
def test_what_is_no_shard_is_wrong_usage(verb, shard, capsys):
    assert main([*verb, f"shard={shard}"]) == 2
    assert f"rsna {verb[0]}: shard: " in capsys.readouterr().err


def test_a_merge_is_of_all_shards(capsys):
    assert main(["infer", "merge", "run=a", "input=b", "shard=1/2"]) == 2
    assert "shard: all of them are merged; leave it out" in capsys.readouterr().err
    assert main(["prepare", "merge", "shard=1/2"]) == 2
    assert "shard: there is no such key" in capsys.readouterr().err


def test_workers_of_a_configuration_are_refused_where_a_cluster_has_its_own(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("rsna.config.keys.find_spec", lambda _: object())
    assert main(["prepare", "engine=ray", "prepare.workers=2", f"data.root={tmp_path}"]) == 2
    assert "prepare.workers: with engine=ray it is one for each CPU" in capsys.readouterr().err

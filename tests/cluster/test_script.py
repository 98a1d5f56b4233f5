"""The file that sbatch is given, on any machine: what stands in it, what is refused before, what it costs to write."""

import re
import shlex
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from rsna.cli import main
from rsna.cluster.script import ranges
from rsna.cluster.status import numbers
from rsna.config.schema import Config
from rsna.config.settings import ConfigError, from_mapping
from rsna.config.slurm import SlurmInferOptions, SlurmOptions, SlurmPrepareOptions, SlurmTrainOptions
from rsna.config.verbs import InferOptions
from tests.cli.test_imports import FITS, NETWORKS, PIXELS, TABLES, run_verbs

TRAIN = ["slurm", "train", "data.root=set", "experiment=strong_b3", "dry_run=true"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def written(folder, *arguments: str, run: str = "run") -> str:
    """train.sbatch of these arguments, which bash can read."""
    assert main([*TRAIN, f'run="{run}"', *arguments]) == 0
    file = folder / run / "slurm" / "train.sbatch"
    subprocess.run(["bash", "-n", str(file)], check=True, timeout=60)
    return file.read_text()


def test_a_file_for_folds_is_what_a_person_would_write(tmp_path):
    text = written(
        tmp_path, "fold=0,2,3", "partition=gpu", "time=8:00:00", "memory=32G", "account=mammo", "after=12:13"
    )
    directives = [line.removeprefix("#SBATCH ") for line in text.splitlines() if line.startswith("#SBATCH ")]
    assert directives == [
        "--job-name=run", f"--chdir={tmp_path}", f"--output={tmp_path}/run/slurm/fold%a-%A.log", "--open-mode=append",
        "--array=0,2-3", "--nodes=1", "--ntasks-per-node=1", "--cpus-per-task=8", "--gpus-per-node=1", "--mem=32G",
        "--time=8:00:00", "--partition=gpu", "--account=mammo", "--dependency=afterok:12:13",
        "--kill-on-invalid-dep=yes", "--signal=B:USR1@120", "--requeue",
    ]  # fmt: skip
    assert f"{sys.executable} -m rsna.cli train \\\n" in text
    assert '    fold="$SLURM_ARRAY_TASK_ID" &\n' in text


def test_the_file_of_the_documentation_is_the_one_that_its_command_writes(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "cluster.md").read_text(encoding="utf-8").split("## SLURM")[1]
    command = shlex.split(re.search(r"^rsna (slurm train .*)$", page, re.MULTILINE)[1])
    besides = shlex.split(re.search(r"^`(memory=.*)` besides", page, re.MULTILINE)[1])
    assert main([*command, *besides, "dry_run=true"]) == 0
    said = re.search(r"```bash\n(.*?)```", page, re.DOTALL)[1]
    said = said.replace("/home/me/project", str(tmp_path)).replace("/opt/venv/bin/python", sys.executable)
    assert (tmp_path / "runs" / "strong_b3-embed" / "slurm" / "train.sbatch").read_text(encoding="utf-8") == said


def test_the_environment_is_set_up_by_lines_of_ones_own(tmp_path):
    text = written(
        tmp_path, "setup=[module load cuda,source '/opt/my venv/bin/activate']", "python=python3",
        "prefix=apptainer exec --nv image.sif", "extra=[--mail-type=END,--exclude=n7]", "at_once=2", "fold=all",
    )  # fmt: skip
    assert (
        "#SBATCH --mail-type=END\n#SBATCH --exclude=n7\n\nmodule load cuda\nsource '/opt/my venv/bin/activate'\n"
        in text
    )
    assert "\napptainer exec --nv image.sif python3 -m rsna.cli train \\\n" in text
    assert "#SBATCH --array=0-3%2\n" in text


def test_names_that_mean_something_to_bash_and_sbatch_are_kept(tmp_path):
    text = written(tmp_path, run="my $HOME's 5%a")
    assert f"""#SBATCH --output="{tmp_path}/my $HOME's 5%%a/slurm/fold%a-%A.log"\n""" in text
    assert """'run="my $HOME'"'"'s 5%a"' \\\n""" in text


def test_braces_in_an_argument_are_taken_literally(tmp_path):
    argument = 'name="{task}-{command}"'
    assert f"    '{argument}' \\\n" in written(tmp_path, argument)


def test_several_nodes_meet_at_the_first(tmp_path):
    text = written(tmp_path, "nodes=2", "gpus=4", "fold=0")
    assert 'meet="$(hostname):$((20000 + SLURM_JOB_ID % 10000))"\n' in text
    assert '--nnodes="$SLURM_NNODES" --nproc-per-node=4 \\\n' in text
    assert "-m rsna.training.torchrun \\\n" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["time=8h"], "time: '8h' is no limit such as 90 (minutes), 8:00:00 or 1-12"),
        (["extra=[exclude]"], "extra: 'exclude' is no option of sbatch"),
        (["after=job"], "after: 'job' is no number of a job"),
        (["partition=a b"], "partition: 'a b' holds blanks"),
        (["fold=0", "fold=1"], "fold: is given twice, as 0 and as 1; give it once"),
        (["fold=0,7"], "fold: there is no fold 7"),
        (["fold=all", "folds.by=site_id"], "fold: how many folds there are is known when the table is read"),
        (["seeds=[0,1]"], "seeds: submit each seed by itself, into a folder of its own: seed=0 run=runs/NAME-seed_0"),
        (["trainer.epochs=0"], "trainer.epochs: 0 is below 1"),
        (["partitoin=gpu"], "partitoin"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_written(tmp_path, capsys, arguments, message):
    assert main([*TRAIN, "run=run", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_without_sbatch_it_is_said_what_else_can_be_done(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main([*TRAIN[:-1], "run=run", "fold=0"]) == 1
    said = capsys.readouterr().err
    assert "sbatch is not on PATH, so this is no machine of a SLURM cluster; dry_run=true only writes the file" in said


def test_a_job_that_was_submitted_is_named_though_the_one_behind_it_is_refused(tmp_path, capsys, monkeypatch):
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.parent.mkdir()
    sbatch.write_text("#!/bin/sh\ncase $* in *dependency*) echo sbatch: error: full >&2; exit 1;; esac; echo 7\n")
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", f"{sbatch.parent}:/usr/bin:/bin")
    assert main(["slurm", "infer", "run=run", "input=exams", "out=out.csv", "shards=3"]) == 1
    said = capsys.readouterr()
    assert said.out.startswith("job 7: ")
    assert "merge.sbatch: full. Change the keys" in said.err


def test_a_run_may_begin_where_its_jobs_were_written(tmp_path):
    from rsna.runs.run_directory import check_run

    written(tmp_path, "fold=0")
    check_run(tmp_path / "run", Config(), {})


def test_predicting_is_an_array_of_shards_and_the_merging(tmp_path, capsys):
    assert main(["slurm", "infer", "run=run", "input=exams", "out=out.csv", "shards=3", "dry_run=true"]) == 0
    array, merge = (tmp_path / "out.slurm" / name for name in ("infer.sbatch", "merge.sbatch"))
    assert "#SBATCH --array=1-3\n" in array.read_text()
    assert '    shard="$SLURM_ARRAY_TASK_ID"/3 &\n' in array.read_text()
    assert "-m rsna.cli infer merge \\\n" in merge.read_text()
    said = capsys.readouterr().out
    assert f"sbatch --dependency=afterany:JOB {tmp_path / 'out.slurm' / 'merge.sbatch'} (JOB: of infer.sbatch)" in said
    assert main(["slurm", "infer", "run=run", "input=exams", "out=out.txt", "dry_run=true"]) == 2
    assert "neither .csv nor .parquet" in capsys.readouterr().err


def test_keys_of_a_job_are_none_of_the_works(tmp_path):
    def names(*options):
        return {field.name for one in options for field in fields(one)}

    assert not names(SlurmTrainOptions, SlurmPrepareOptions) & names(Config)
    assert not names(SlurmInferOptions) & names(InferOptions)


def test_a_login_node_is_asked_for_little():
    found = run_verbs([*TRAIN, "run=run"], ["slurm", "infer", "run=run", "input=exams", "dry_run=true"])
    unwanted = (NETWORKS | PIXELS | FITS | TABLES) & found["packages"]
    assert not unwanted


@pytest.mark.parametrize(
    ("folds", "text"),
    [
        ([0], "0"),
        ([3, 0, 1], "0-1,3"),
        ([0, 1, 2, 5, 7, 8], "0-2,5,7-8"),
        ([1, 3, 4, 7, 8, 9], "1,3-4,7-9"),
        ([2, 4], "2,4"),
        ([], ""),
    ],
)
def test_numbers_of_an_array_are_written_as_ranges_and_read_again(folds, text):
    assert ranges(folds) == text
    assert list(numbers(text)) == sorted(folds)


def test_options_say_what_they_are_in_every_verb():
    from rsna.config.settings import fields_of

    for options in (SlurmOptions, SlurmTrainOptions, SlurmPrepareOptions, SlurmInferOptions):
        assert all(field.description for field in fields_of(options).values())
    with pytest.raises(ConfigError, match="grace: 0 is not in"):
        from_mapping(SlurmTrainOptions, {"grace": 0})

"""Predicting on a Ray cluster of two nodes: what one machine predicts, whatever dies meanwhile."""

import functools
import os
import shutil
import subprocess
import sys
import threading

import pandas as pd
import pytest

from rsna.config.external import ValidateOptions
from rsna.config.settings import from_mapping
from rsna.config.verbs import InferOptions
from rsna.inference.cluster.stream import nodes_of
from rsna.inference.infer import infer
from rsna.inference.pass_plan import PassPlan
from rsna.inference.validate import validate
from rsna.parallel.cluster import ClusterError
from rsna.parallel.progress import Progress
from rsna.runs.trained_ensemble import load_ensemble
from tests.inference.runs import write_exams
from tests.ray_nodes import wait_until
from tests.training.tiny import write_set


@pytest.fixture(scope="module")
def exams(tmp_path_factory):
    """Twelve breasts, one file of which cannot be read."""
    root = tmp_path_factory.mktemp("exams")
    write_exams(root, 6)
    (root / "test_images" / "p0" / "10.dcm").write_bytes(b"no image")
    return root


@pytest.fixture(scope="module")
def here(run, exams, tmp_path_factory):
    """What one machine predicts, and the folder that it lies in."""
    folder = tmp_path_factory.mktemp("here")
    return infer(options(run, exams, folder)), folder


def options(run, exams, out, **given):
    """A batch is an image: the last digits of a logit depend on what stands beside it."""
    keys = {"run": str(run), "input": str(exams), "out": str(out / "submission.csv"), "backend": "torch"}
    return from_mapping(InferOptions, keys | {"batch_size": 1, "submit": "probability"} | given)


def on(nodes):
    return {"engine": "ray", "address": nodes.address}


def test_a_submission_has_the_same_bytes_as_on_one_machine_though_a_node_dies(
    nodes, run, exams, here, tmp_path, monkeypatch, capsys
):
    alone, folder = here
    step = Progress.step

    def step_and_kill(progress, count=1, failed=0):
        step(progress, count, failed)
        if progress.what == "predict" and progress.done == 8:
            nodes.kill_second()

    monkeypatch.setattr(Progress, "step", step_and_kill)
    there = infer(options(run, exams, tmp_path / "there", **on(nodes)))
    assert nodes.second is None
    pd.testing.assert_frame_equal(there.images, alone.images, check_exact=True)
    assert there.images["failure"].ne("").sum() == 1
    for name in ("submission.csv", "submission_images.csv", "submission_breasts.csv", "submission_progress.jsonl"):
        left, right = ((where / name).read_text("utf-8") for where in (tmp_path / "there", folder))
        assert sorted(left.splitlines()) == sorted(right.splitlines())
    assert capsys.readouterr().out.count("networks: torch in 32 bits") == 1


def test_rays_client_asks_a_cluster_from_elsewhere(nodes, run, exams, here, tmp_path):
    keys = [f"run={run}", f"input={exams}", f"out={tmp_path}/submission.csv", "backend=torch", "batch_size=1"]
    command = [sys.executable, "-m", "rsna.cli", "infer", *keys, "submit=probability", "engine=ray"]
    done = subprocess.run([*command, f"address={nodes.client_address}"], capture_output=True, timeout=600)
    assert done.returncode == 0, done.stderr.decode()
    for name in ("submission.csv", "submission_images.csv"):
        assert (tmp_path / name).read_bytes() == (here[1] / name).read_bytes()


def test_a_node_that_finds_another_run_of_that_name_is_refused(nodes, run, breast_run, exams, tmp_path, caplog):
    own = shutil.copytree(run, tmp_path / "run")
    given = options(own, exams, tmp_path, **on(nodes))
    with nodes_of(given, load_ensemble(given.run), [str(exams / "test.csv")], (PassPlan(2, False),)) as stream:
        shutil.rmtree(own)
        shutil.copytree(breast_run, own)
        with pytest.raises(ClusterError, match=rf"node [\d.]+ finds other weights in {own} than this machine"):
            stream.choices(1)
    assert "the other nodes go on" in caplog.text


def test_a_node_whose_cpus_are_taken_is_not_waited_for(nodes, run, exams, tmp_path, monkeypatch):
    monkeypatch.setattr("rsna.inference.cluster.stream._PATIENCE_S", 1.0)
    given = options(run, exams, tmp_path, **on(nodes))
    with nodes_of(given, load_ensemble(given.run), [str(exams / "test.csv")], (PassPlan(2, False),)) as stream:
        cluster = stream._cluster
        first, second = cluster.nodes()
        taken = cluster.ray.remote(num_cpus=1)(threading.Event)
        holder = taken.options(scheduling_strategy=cluster.on_node(first)).remote()
        assert not cluster.ray.get(holder.is_set.remote())
        assert [choice.backend for choice in stream.choices(1)] == ["torch"]
        assert [actor.place[0] for actor in stream._actors if actor.ready] == [second["NodeID"]]


def test_every_gpu_has_an_actor_with_its_share_of_the_cpus_and_nodes_without_one_have_none(nodes, run, exams, tmp_path):
    """The GPUs are a number that Ray is told: it counts and hands out what it does not look for."""
    given = options(run, exams, tmp_path, **on(nodes))
    with (
        nodes.another(num_cpus=4, num_gpus=2) as node,
        nodes_of(given, load_ensemble(given.run), [str(exams / "test.csv")], (PassPlan(2, False),)) as stream,
    ):
        stream.choices(1)
        wait_until(lambda: begun(stream) == 2)
        assert [(actor.place[0], actor.cpus) for actor in stream._actors] == [(node, 2)] * 2
        asked = [actor.handle.__ray_call__.remote(gpus) for actor in stream._actors]
        assert sorted(stream._cluster.ray.get(asked)) == [["0"], ["1"]]


def begun(stream):
    """How many actors there are by now."""
    stream._take_in(stream._wait())
    return len(stream._actors)


def gpus(_):
    """Which GPUs the libraries in an actor see."""
    return os.environ["CUDA_VISIBLE_DEVICES"].split(",")


def test_the_submission_is_complete_where_no_cluster_answers(run, exams, tmp_path, monkeypatch):
    pytest.importorskip("ray", reason="ray is not installed: pip install -e '.[cluster]'")
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setattr("ray._private.services.find_gcs_addresses", functools.cache(set))
    with pytest.raises(ClusterError, match="no Ray cluster answers at auto"):
        infer(options(run, exams, tmp_path, engine="ray"))
    assert len(pd.read_csv(tmp_path / "submission.csv")) == 12


def test_a_time_budget_does_not_wait_for_a_node(nodes, run, exams, tmp_path):
    with pytest.raises(ClusterError, match="no node of the cluster was free before the time was up"):
        infer(options(run, exams, tmp_path, time_budget="1s", **on(nodes)))
    assert len(pd.read_csv(tmp_path / "submission.csv")) == 12


def test_a_set_is_validated_as_on_one_machine(nodes, run, tmp_path):
    root = str(write_set(tmp_path / "set", patients=8, positives=3, seed=5))
    given = {"input": [root], "run": str(run), "resamples": 100, "batch_size": 1}
    there, here = (validate(from_mapping(ValidateOptions, given | where)) for where in (on(nodes), {}))
    pd.testing.assert_frame_equal(there, here, check_exact=True)

"""A Ray cluster of two nodes: what a file does costs the file, what a node does costs time."""

import functools
import itertools
import signal
import socket
import subprocess
import sys
import threading

import pytest

from rsna.config.settings import ConfigError, from_mapping
from rsna.config.verbs import PrepareOptions
from rsna.parallel.cluster import Cluster, ClusterError, batched
from rsna.parallel.pool import map_tasks
from tests.parallel import pool_tasks
from tests.ray_nodes import wait_until


@pytest.fixture
def cluster(nodes):
    with Cluster(nodes.address) as cluster:
        yield cluster


def test_values_come_in_the_order_of_the_tasks_or_as_they_are_done(cluster):
    for ordered in (True, False):
        outcomes = list(map_tasks(pool_tasks.slow_square, range(70), cluster=cluster, ordered=ordered))
        assert [
            (o.index, o.task, o.value) for o in (outcomes if ordered else sorted(outcomes, key=lambda o: o.index))
        ] == [(number, number, number * number) for number in range(70)]
    assert list(map_tasks(pool_tasks.square, [], cluster=cluster)) == []


def test_a_file_that_crashes_hangs_or_eats_memory_costs_itself_alone(cluster, caplog):
    orders = ["a", "segfault", "b", "deaf hang", "c", "eat", "raise", threading.Lock(), "warn"] * 2
    outcomes = list(map_tasks(pool_tasks.obey, orders, cluster=cluster, timeout=5.0))
    assert [o.value or o.failure.kind for o in outcomes] == [
        *("a", "WorkerCrashed", "b", "TaskTimeout", "c", "MemoryError", "KeyError", "TypeError", "warn")
    ] * 2  # fmt: skip
    assert "from a log" in caplog.text


def test_a_node_that_dies_costs_no_task(cluster, nodes):
    seen, outcomes = set(), []
    for outcome in map_tasks(pool_tasks.node_slowly, range(80), cluster=cluster, ordered=False):
        outcomes.append(outcome)
        seen.add(outcome.value)
        if nodes.second and len(seen) == 2:
            nodes.kill_second()
    assert nodes.second is None
    assert sorted(o.index for o in outcomes) == list(range(80))
    assert not any(o.failure for o in outcomes)


def test_a_process_of_ray_that_is_killed_costs_no_task(cluster, tmp_path):
    outcomes = list(map_tasks(pool_tasks.kill_parent_once, [tmp_path / "1", tmp_path / "2"] * 8, cluster=cluster))
    assert [o.value for o in outcomes] == ["done"] * 16
    assert len(list(tmp_path.iterdir())) == 2


def test_a_task_that_takes_its_process_along_whenever_it_runs_costs_itself_alone(cluster):
    tasks = ["a"] * 7 + ["kill"] + ["b"] * 24  # batches of four
    outcomes = list(map_tasks(pool_tasks.kill_parent, tasks, cluster=cluster))
    assert [o.value for o in outcomes if o.value] == ["a"] * 7 + ["b"] * 24
    assert outcomes[7].failure.kind == "WorkerCrashed"


def test_what_has_not_begun_is_cancelled_where_the_consumer_stops(cluster, tmp_path):
    tasks = ((str(tmp_path / f"{number}"), 0.05) for number in itertools.count())
    outcomes = map_tasks(pool_tasks.touch, tasks, cluster=cluster)
    next(outcomes)
    outcomes.close()
    with_ray = cluster.ray
    wait_until(lambda: with_ray.available_resources().get("CPU") == 2)
    done = len(list(tmp_path.iterdir()))
    assert list(map_tasks(pool_tasks.square, [3, 4], cluster=cluster))[1].value == 16
    assert len(list(tmp_path.iterdir())) == done


def test_ctrl_c_ends_the_tasks(nodes, tmp_path):
    program = (
        "import itertools, sys\n"
        "from rsna.parallel.cluster import Cluster\n"
        "from rsna.parallel.pool import map_tasks\n"
        "from tests.parallel.pool_tasks import touch\n"
        "tasks = ((f'{sys.argv[2]}/{number}', 0.05) for number in itertools.count())\n"
        "with Cluster(sys.argv[1]) as cluster:\n"
        "    for _ in map_tasks(touch, tasks, cluster=cluster): pass\n"
    )
    driver = subprocess.Popen([sys.executable, "-c", program, nodes.address, str(tmp_path)], stderr=subprocess.PIPE)
    try:
        wait_until(lambda: any(tmp_path.iterdir()))
        driver.send_signal(signal.SIGINT)
        _, said = driver.communicate(timeout=60)
    finally:
        driver.kill()
        driver.communicate()
    assert b"KeyboardInterrupt" in said
    with Cluster(nodes.address) as cluster:
        wait_until(lambda: cluster.ray.available_resources().get("CPU") == 2)
        done = len(list(tmp_path.iterdir()))
        assert [o.value for o in map_tasks(pool_tasks.square, range(20), cluster=cluster)][-1] == 361
    assert len(list(tmp_path.iterdir())) == done


def test_a_node_that_does_not_see_the_disk_is_named(cluster, tmp_path, monkeypatch):
    (tmp_path / "a.dcm").write_bytes(b"a")
    cluster.require_visible([tmp_path / "a.dcm"], tmp_path)
    (mark,) = [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    # What another machine's folder of the same name would hold.
    mark.write_text("another", encoding="utf-8")
    with pytest.raises(ClusterError, match=rf"node [\d.]+ does not see {tmp_path} \(another of this name lies there\)"):
        list(map_tasks(pool_tasks.square, [1], cluster=cluster))
    mark.unlink()
    with pytest.raises(ClusterError, match=rf"does not see {tmp_path} \(No such file.*mount the disk there"):
        list(map_tasks(pool_tasks.square, [1], cluster=cluster))


def test_a_file_that_lies_elsewhere_with_other_content_is_noticed(cluster, tmp_path):
    (tmp_path / "a.dcm").write_bytes(b"a")
    cluster.require_visible([tmp_path / "a.dcm"])
    (tmp_path / "a.dcm").write_bytes(b"b")
    with pytest.raises(ClusterError, match=r"a\.dcm \(another of this name lies there\)"):
        list(map_tasks(pool_tasks.square, [1], cluster=cluster))


def test_nothing_stays_in_a_folder_that_was_looked_at(nodes, tmp_path):
    with Cluster(nodes.address) as cluster:
        cluster.require_visible(folder=tmp_path)
        assert any(tmp_path.iterdir())
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("named", ["RAY_ADDRESS", "address", "client"])
def test_where_nobody_listens_is_said_without_ray_trying_for_minutes(monkeypatch, named):
    ray = pytest.importorskip("ray", reason="ray is not installed: pip install -e '.[cluster]'")
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        place = f"127.0.0.1:{nobody.getsockname()[1]}"
        monkeypatch.setenv("RAY_ADDRESS", place)
        monkeypatch.setattr(ray, "init", lambda **_: pytest.fail("Ray tries"))
        address = {"RAY_ADDRESS": "auto", "address": place, "client": f"ray://{place}"}[named]
        said = rf"no Ray cluster answers at {address} \(.*Connection refused\)"
        with Cluster(address) as cluster, pytest.raises(ClusterError, match=said):
            cluster.nodes()


def test_no_cluster_is_an_error_that_says_how_to_start_one(tmp_path, monkeypatch):
    pytest.importorskip("ray", reason="ray is not installed: pip install -e '.[cluster]'")
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(
        "ray._private.services.find_gcs_addresses", functools.cache(set)
    )  # of tests that run beside this one
    with (
        Cluster("auto") as cluster,
        pytest.raises(ClusterError, match=r"no Ray cluster answers at auto .*ray start --head"),
    ):
        list(map_tasks(pool_tasks.square, [1], cluster=cluster))


def test_a_token_that_is_lacking_is_an_error_that_names_it(monkeypatch):
    ray = pytest.importorskip("ray", reason="ray is not installed: pip install -e '.[cluster]'")

    def refuse(**_):
        raise ray.exceptions.AuthenticationError("no authentication token was found")

    monkeypatch.setattr(ray, "init", refuse)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        told = rf"at {address} \(no authentication token.* RAY_AUTH_MODE=token is set"
        with Cluster(address) as cluster, pytest.raises(ClusterError, match=told):
            list(map_tasks(pool_tasks.square, [1], cluster=cluster))


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("rsna.config.keys.find_spec", {}.get)
    with pytest.raises(ConfigError, match=r"engine: ray is not installed; pip install 'rsna-mammography\[cluster\]'"):
        from_mapping(PrepareOptions, {"engine": "ray"})
    with pytest.raises(ConfigError, match="address: it goes with engine=ray"):
        from_mapping(PrepareOptions, {"address": "local"})


def test_batches_are_read_as_they_are_asked_for():
    numbers = iter(range(7))
    batches = batched(numbers, 3)
    assert next(batches) == [0, 1, 2]
    assert next(numbers) == 3
    assert list(batches) == [[4, 5, 6]]

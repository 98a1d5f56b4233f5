"""Preparing on a Ray cluster of two nodes: the same bytes as one process makes, whatever dies meanwhile."""

import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from rsna.config.data import PreprocessSettings
from rsna.parallel.cluster import Cluster
from rsna.prepare.cache import Cache
from rsna.prepare.table import prepare_table
from tests.prepare import files
from tests.ray_nodes import wait_until

SETTINGS = PreprocessSettings(size=(128, 64))
ROOT = Path(__file__).parents[2]
DRIVER = """
import sys
import pandas as pd
from rsna.parallel.cluster import Cluster
from rsna.prepare.cache import Cache
from rsna.prepare.table import prepare_table
from tests.prepare.test_prepare_on_cluster import SETTINGS

cache = Cache.create(sys.argv[2], "set", SETTINGS)
with Cluster(sys.argv[1]) as cluster:
    report = prepare_table(pd.read_csv(sys.argv[3], dtype=str), SETTINGS, cache, cluster=cluster, max_failed=1.0)
print(report.n_done, report.n_kept, len(report.failures))
"""


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A few files of some size, again and again under other names, and two that cannot be read."""
    root = tmp_path_factory.mktemp("set")
    paths = files.write_set(root, 6, rows=1600, columns=1280)["path"].tolist()
    rows = [(f"{number:03d}", str(paths[number % 6])) for number in range(46)]
    (root / "cut.dcm").write_bytes(Path(paths[0]).read_bytes()[:5000])
    rows += [("cut", str(root / "cut.dcm")), ("absent", str(root / "absent.dcm"))]
    return pd.DataFrame(rows, columns=["image_id", "path"])


@pytest.fixture(scope="module")
def undisturbed(images, tmp_path_factory):
    """What the processes of this machine make of them."""
    cache = Cache.create(tmp_path_factory.mktemp("undisturbed"), "set", SETTINGS)
    report = prepare_table(images, SETTINGS, cache, max_failed=1.0)
    assert report.n_done == 46
    return cache


@pytest.fixture
def cache(tmp_path):
    return Cache.create(tmp_path / "caches", "set", SETTINGS)


def contents(cache):
    """Name → bytes of everything in the cache but its lock."""
    paths = [path for path in cache.directory.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(cache.directory)): path.read_bytes() for path in paths}


def test_a_cache_has_the_same_bytes_though_a_node_dies(nodes, images, undisturbed, cache, monkeypatch):
    step, done = "rsna.parallel.progress.Progress.step", []

    def kill_in_the_middle(progress, count=1, failed=0):
        done.append(count)
        if len(done) == 15:
            nodes.kill_second()
        progress.done, progress.failed = progress.done + count, progress.failed + failed

    monkeypatch.setattr(step, kill_in_the_middle)
    with Cluster(nodes.address) as cluster:
        report = prepare_table(images, SETTINGS, cache, cluster=cluster, max_failed=1.0)
    assert nodes.second is None
    assert (report.n_done, report.n_kept, sorted(report.failures["image_id"])) == (46, 0, ["absent", "cut"])
    assert contents(cache) == contents(undisturbed)


def test_a_driver_that_is_killed_leaves_whole_images_and_the_next_goes_on(nodes, images, undisturbed, cache, tmp_path):
    images.to_csv(tmp_path / "table.csv", index=False)
    command = [sys.executable, "-c", DRIVER, nodes.address, str(tmp_path / "caches"), str(tmp_path / "table.csv")]
    driver = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    try:
        wait_until(lambda: cache.image_names() != [])
    finally:
        driver.kill()
        # It was killed in the middle: the line of numbers is missing. What Ray's processes say may stand there.
        assert not re.search(rb"^\d+ \d+ \d+$", driver.communicate()[0], re.MULTILINE)
    kept = len([cache.read(image_id) for image_id in cache])
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=True).stdout
    n_done, n_kept, n_failed = map(int, done.splitlines()[-1].split())
    assert (n_done + n_kept, n_failed) == (46, 2)
    assert n_kept >= kept > 0
    assert contents(cache) == contents(undisturbed)


def test_with_everything_prepared_no_node_is_asked(images, undisturbed):
    whole = images[~images["image_id"].isin(["cut", "absent"])]
    report = prepare_table(whole, SETTINGS, undisturbed, cluster=Cluster("ray://nobody:1"))
    assert (report.n_done, report.n_kept) == (0, 46)


def test_a_cache_that_the_nodes_do_not_see_is_said_before_anything_is_prepared(nodes, images, cache, tmp_path):
    """The driver alone gets a disk of its own at this place, as each machine has one at /tmp."""
    images.to_csv(tmp_path / "table.csv", index=False)
    mount = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', str(tmp_path / "caches")]
    try:
        subprocess.run([*mount, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting is not allowed here (unshare -m)")
    command = [sys.executable, "-c", DRIVER, nodes.address, str(tmp_path / "caches"), str(tmp_path / "table.csv")]
    said = subprocess.run([*mount, *command], cwd=ROOT, capture_output=True, encoding="utf-8", check=False).stderr
    assert f"does not see {cache.directory} (No such file or directory). Files are read and written" in said
    assert cache.image_names() == []

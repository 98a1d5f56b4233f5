import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rsna.config.data import PreprocessSettings
from rsna.files import fingerprint
from rsna.prepare.cache import Cache, CacheError, FileStamp
from rsna.prepare.complete import Complete, record_complete
from rsna.prepare.image import prepare_image
from rsna.prepare.table import FAILURE_COLUMNS, PrepareError, prepare_table
from tests.prepare import files
from tests.processes import kill_group, workers_of

SETTINGS = PreprocessSettings(size=(128, 64))
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return files.write_set(tmp_path_factory.mktemp("set"), 12)


@pytest.fixture(scope="module")
def undisturbed(images: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Cache:
    """What one worker makes of the images in one run."""
    cache = Cache.create(tmp_path_factory.mktemp("undisturbed"), "set", SETTINGS)
    report = prepare_table(images, SETTINGS, cache, workers=1)
    assert (report.n_done, report.n_kept, len(report.failures)) == (12, 0, 0)
    return cache


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache.create(tmp_path / "caches", "set", SETTINGS)


def _bytes(cache: Cache) -> dict[str, str]:
    """Name → digest of everything in the cache but its lock."""
    paths = [p for p in cache.directory.rglob("*") if p.is_file() and p.name != ".lock"]
    return {str(p.relative_to(cache.directory)): hashlib.sha256(p.read_bytes()).hexdigest() for p in paths}


def _with(images: pd.DataFrame, image_id: str, path: Path) -> pd.DataFrame:
    row = {**images.iloc[0].to_dict(), "image_id": image_id, "path": str(path)}
    return pd.concat([images, pd.DataFrame([row])], ignore_index=True)


def _empty(table: pd.DataFrame, cache: Cache) -> None:
    """Has files of zeros, which cannot be read as images, count as those that were compared last."""
    entries = cache.indexed()
    for row in table.itertuples():
        path = Path(str(row.path))
        path.write_bytes(bytes(path.stat().st_size))
        entries[str(row.image_id)] = replace(entries[str(row.image_id)], stamp=FileStamp.of(str(path)))
    cache.write_index(entries)
    record_complete(cache, entries, Complete.of(entries))


def _exchange(one: Path, other: Path) -> None:
    aside = one.with_name("aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


def _wait_for_the_clock() -> None:
    """Times of files advance by some milliseconds at once."""
    time.sleep(0.03)


def test_every_image_of_the_table_is_prepared(images: pd.DataFrame, undisturbed: Cache) -> None:
    assert set(undisturbed) == set(images["image_id"])
    for row in images.itertuples():
        pixels, geometry = prepare_image(str(row.path), SETTINGS)
        np.testing.assert_array_equal(undisturbed.read(str(row.image_id)), pixels)
        assert undisturbed.geometry(str(row.image_id)) == geometry
    assert not (undisturbed.directory / "failures.csv").exists()


def test_a_second_run_opens_no_file(cache: Cache, tmp_path: Path) -> None:
    moved = files.write_set(tmp_path / "own", 3)
    prepare_table(moved, SETTINGS, cache, workers=1)
    _empty(moved, cache)
    before = _bytes(cache)
    report = prepare_table(moved, SETTINGS, cache, workers=1)
    assert (report.n_done, report.n_kept) == (0, 3)
    for path in moved["path"]:
        Path(path).unlink()  # put away
    assert prepare_table(moved, SETTINGS, cache, workers=1).n_kept == 3
    assert _bytes(cache) == before


def test_only_what_is_missing_is_prepared(images: pd.DataFrame, cache: Cache) -> None:
    prepare_table(images.head(5), SETTINGS, cache, workers=1)
    cache.discard("1003")
    report = prepare_table(images.head(8), SETTINGS, cache, workers=1)
    assert (report.n_done, report.n_kept) == (4, 4)
    assert len(cache) == 8


def test_a_file_that_has_changed_is_prepared_again(cache: Cache, tmp_path: Path) -> None:
    table = files.write_set(tmp_path / "own", 2)
    prepare_table(table, SETTINGS, cache, workers=1)
    Path(table["path"][0]).write_bytes(b"not DICOM any more")
    with pytest.raises(PrepareError):
        prepare_table(table, SETTINGS, cache, workers=1)
    assert list(cache) == ["1001"]  # nothing stale is left
    other = files.write_set(tmp_path / "other", 4).iloc[2]
    Path(table["path"][0]).write_bytes(Path(other["path"]).read_bytes())
    assert prepare_table(table, SETTINGS, cache, workers=1).n_done == 1
    np.testing.assert_array_equal(cache.read("1000"), prepare_image(other["path"], SETTINGS)[0])


def test_a_file_of_the_same_size_is_told_apart(cache: Cache, tmp_path: Path) -> None:
    table = files.write_set(tmp_path / "own", 2)
    prepare_table(table, SETTINGS, cache, workers=1)
    file = Path(table["path"][0])
    content = bytearray(file.read_bytes())
    content[-len(content) // 2 :] = bytes(len(content[-len(content) // 2 :]))
    file.write_bytes(content)
    report = prepare_table(table, SETTINGS, cache, workers=1)
    assert (report.n_done, report.n_kept) == (1, 1)
    np.testing.assert_array_equal(cache.read("1000"), prepare_image(file, SETTINGS)[0])


def test_a_set_that_was_moved_keeps_its_images(cache: Cache, tmp_path: Path) -> None:
    table = files.write_set(tmp_path / "own", 2)
    prepare_table(table, SETTINGS, cache, workers=1)
    (tmp_path / "own").rename(tmp_path / "there")
    table["path"] = [path.replace("/own/", "/there/") for path in table["path"]]
    for _ in range(2):  # the second time no file is opened
        assert prepare_table(table, SETTINGS, cache, workers=1).n_kept == 2
        _empty(table, cache)


@pytest.mark.parametrize("index", ["kept", "lost"])
def test_a_file_that_was_edited_between_its_samples_is_prepared_again(cache: Cache, tmp_path: Path, index: str) -> None:
    table = files.write_set(tmp_path / "own", 2)
    file = Path(table["path"][0])
    prepare_table(table, SETTINGS, cache, workers=1)
    _wait_for_the_clock()
    before = fingerprint(file)
    with file.open("r+b") as content:
        content.seek(20_000)
        content.write(bytes(40_000))
    assert fingerprint(file) == before
    if index == "lost":
        cache.index_file.unlink()
    for n_done in (1, 0):
        assert prepare_table(table, SETTINGS, cache, workers=1).n_done == n_done
        np.testing.assert_array_equal(cache.read("1000"), prepare_image(file, SETTINGS)[0])


def test_a_set_that_was_copied_keeps_its_images_whatever_the_times_of_the_copies(cache: Cache, tmp_path: Path) -> None:
    table = files.write_set(tmp_path / "own", 2)
    prepare_table(table, SETTINGS, cache, workers=1)
    shutil.copytree(tmp_path / "own", tmp_path / "there", copy_function=shutil.copyfile)
    table["path"] = [path.replace("/own/", "/there/") for path in table["path"]]
    for path in table["path"]:
        os.utime(path, ns=(1, 1))
    assert prepare_table(table, SETTINGS, cache, workers=1).n_kept == 2


def test_files_of_one_size_and_time_that_exchanged_their_names_are_prepared_again(cache: Cache, tmp_path: Path) -> None:
    table = files.write_set(tmp_path / "own", 2)
    one, other = map(Path, table["path"])
    content, n_pixels = one.read_bytes(), 320 * 256
    mirrored = np.frombuffer(content[-2 * n_pixels :], np.uint16)[::-1].tobytes()
    other.write_bytes(content[: -2 * n_pixels] + mirrored)
    for path in (one, other):
        os.utime(path, ns=(10**18, 10**18))
    prepare_table(table, SETTINGS, cache, workers=1)
    _wait_for_the_clock()
    _exchange(one, other)
    for n_done in (2, 0):
        assert prepare_table(table, SETTINGS, cache, workers=1).n_done == n_done
        for image_id, path in zip(table["image_id"], table["path"], strict=True):
            np.testing.assert_array_equal(cache.read(image_id), prepare_image(path, SETTINGS)[0])


def test_a_file_of_which_only_the_rights_changed_is_compared_and_kept(cache: Cache, tmp_path: Path) -> None:
    table = files.write_set(tmp_path / "own", 2)
    prepare_table(table, SETTINGS, cache, workers=1)
    _wait_for_the_clock()
    for path in table["path"]:
        Path(path).chmod(0o600)
    assert prepare_table(table, SETTINGS, cache, workers=1).n_kept == 2
    assert all(entry.is_unchanged(table["path"][at]) for at, entry in enumerate(cache.indexed().values()))


@pytest.mark.parametrize("rest", ["complete", "incomplete"])
def test_prepared_images_that_exchanged_their_names_are_refused_and_prepared_again(
    images: pd.DataFrame, undisturbed: Cache, cache: Cache, rest: str
) -> None:
    prepare_table(images, SETTINGS, cache, workers=1)
    _wait_for_the_clock()
    _exchange(cache.path("1000"), cache.path("1001"))
    if rest == "incomplete":
        cache.discard("1002")
    with pytest.raises(CacheError, match=r"1000\.tif is damaged: it holds the image 1001; remove it and run"):
        cache.read("1000")
    report = prepare_table(images, SETTINGS, cache, workers=1)
    assert report.n_done == (2 if rest == "complete" else 3)
    assert _bytes(cache) == _bytes(undisturbed)
    assert cache.index_is_current()


def test_two_sets_of_one_name_and_the_same_ids_are_told_apart(cache: Cache, tmp_path: Path) -> None:
    mine, yours = files.write_set(tmp_path / "mine", 2), files.write_set(tmp_path / "yours", 4).tail(2)
    yours["image_id"] = mine["image_id"].tolist()
    prepare_table(mine, SETTINGS, cache, workers=1)
    before = _bytes(cache)
    with pytest.raises(PrepareError, match=r"another image 1000, made from .*mine.*, not from .*yours.*data\.name=…"):
        prepare_table(yours, SETTINGS, cache, workers=1)
    assert _bytes(cache) == before


def test_the_order_and_number_of_workers_do_not_show_in_the_cache(
    images: pd.DataFrame, undisturbed: Cache, cache: Cache
) -> None:
    prepare_table(images.iloc[::-1].head(5), SETTINGS, cache, workers=2)
    prepare_table(images.sample(frac=1, random_state=0), SETTINGS, cache, workers=3)
    assert _bytes(cache) == _bytes(undisturbed)


def test_failures_are_listed_with_reasons_and_tolerated_up_to_a_share(images: pd.DataFrame, cache: Cache) -> None:
    folder = Path(images["path"][0]).parent
    (folder / "text.dcm").write_text("this is no image at all")
    cut = folder / "cut.dcm"
    cut.write_bytes(Path(images["path"][0]).read_bytes()[:-1000])
    table = _with(_with(_with(images, "b", folder / "text.dcm"), "a", cut), "c", folder / "nowhere.dcm")
    with pytest.raises(PrepareError, match=r"3 of 15 images failed.*max_failed=0\.1.*failures\.csv.*raise max_failed"):
        prepare_table(table, SETTINGS, cache, workers=2, max_failed=0.1)
    report = prepare_table(table, SETTINGS, cache, workers=2, max_failed=0.2)
    assert (report.n_done, report.n_kept) == (0, 12)
    listed = pd.read_csv(cache.directory / "failures.csv")
    assert list(listed.columns) == FAILURE_COLUMNS
    assert list(listed["image_id"]) == ["a", "b", "c"]
    assert list(listed["class"]) == ["Truncated", "NotDicom", "FileNotFoundError"]
    assert all(str(folder) in path for path in listed["path"])
    pd.testing.assert_frame_equal(listed, report.failures, check_dtype=False)
    prepare_table(images, SETTINGS, cache, workers=1)
    assert not (cache.directory / "failures.csv").exists()


def test_a_file_that_hangs_costs_itself_alone(images: pd.DataFrame, cache: Cache, tmp_path: Path) -> None:
    with files.stalled(tmp_path / "stalled.dcm") as path:
        table = _with(images, "hangs", path)
        report = prepare_table(table, SETTINGS, cache, workers=2, file_timeout=10, max_failed=0.1)
    assert (report.n_done, list(report.failures["image_id"])) == (12, ["hangs"])
    assert report.failures["class"][0] == "TaskTimeout"


def test_a_worker_that_is_killed_costs_its_file_alone(images: pd.DataFrame, cache: Cache, tmp_path: Path) -> None:
    def kill_workers() -> None:
        while len(cache) < 12:  # one worker does the rest while the other waits
            time.sleep(0.05)
        for worker in workers_of(os.getpid()):
            os.kill(worker, signal.SIGSEGV)

    with files.stalled(tmp_path / "stalled.dcm") as path:
        table = _with(images, "a", path).sort_values("image_id", ascending=False)  # the stalled file comes first
        threading.Thread(target=kill_workers).start()
        report = prepare_table(table, SETTINGS, cache, workers=2, max_failed=0.1)
    assert (report.n_done, list(report.failures["image_id"])) == (12, ["a"])
    assert report.failures["class"][0] == "WorkerCrashed"
    assert "SIGSEGV" in report.failures["message"][0]


def test_a_file_that_wants_too_much_memory_costs_itself_alone(
    images: pd.DataFrame, cache: Cache, tmp_path: Path
) -> None:
    large = files.write_dicom(tmp_path / "large.dcm", np.zeros((6000, 6000), np.float32), "jpeg2000")
    table = _with(images, "large", large)
    report = prepare_table(table, SETTINGS, cache, workers=2, memory_limit=400 << 20)
    assert report.n_done == 13  # a level is enough
    full = replace(SETTINGS, full_resolution=True)
    cache = Cache.create(tmp_path, "set", full)
    report = prepare_table(table, full, cache, workers=2, memory_limit=200 << 20, max_failed=0.1)
    assert (report.n_done, list(report.failures["image_id"])) == (12, ["large"])
    assert "memory" in report.failures["message"][0].lower()


def test_boxes_of_a_file_are_used_and_an_image_without_one_fails(images: pd.DataFrame, tmp_path: Path) -> None:
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("image_id,x0,y0,x1,y1\n" + "".join(f"{i},10,20,100,200\n" for i in images["image_id"][:-1]))
    settings = replace(SETTINGS, crop="boxes", boxes=str(boxes))
    cache = Cache.create(tmp_path, "set", settings)
    report = prepare_table(images, settings, cache, workers=1, max_failed=0.1)
    assert cache.geometry("1000").box == (10, 20, 100, 200)
    assert list(report.failures["image_id"]) == ["1011"]
    assert "box" in report.failures["message"][0]


def test_a_cache_of_other_settings_and_a_repeated_id_are_refused(images: pd.DataFrame, cache: Cache) -> None:
    with pytest.raises(ValueError, match="was made with preprocessing"):
        prepare_table(images, replace(SETTINGS, bits=16), cache)
    with pytest.raises(ValueError, match="image_id 1000 stands in the table twice"):
        prepare_table(_with(images, "1000", Path("x")), SETTINGS, cache)


def _script(images: pd.DataFrame, table: Path, cache_dir: str, before: str = "") -> list[str]:
    """The command of a process that prepares with two workers, in ``cache_dir`` seen from where it runs."""
    images.to_csv(table, index=False)
    code = f"""
import sys; sys.path.insert(0, {str(ROOT)!r})
{before}
import pandas as pd
from rsna.prepare.cache import Cache
from rsna.config.data import PreprocessSettings
from rsna.prepare.table import PrepareError, prepare_table
settings = PreprocessSettings(size=(128, 64))
cache = Cache.create({cache_dir!r}, "set", settings)
try:
    prepare_table(pd.read_csv({str(table)!r}, dtype=str), settings, cache, workers=2)
except KeyboardInterrupt:
    sys.exit(130)
except PrepareError as error:
    for image_id in cache:
        cache.read(image_id)
    print(error, "leftovers:", list(cache.directory.rglob("*.tmp")))
    sys.exit(1)
"""
    return [sys.executable, "-c", code]


@contextmanager
def _running(command: list[str]) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that leads a group, which is gone afterwards whatever the test did."""
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        kill_group(process.pid)
        process.wait()


def _wait_for(cache: Cache, count: int) -> None:
    deadline = time.monotonic() + 60
    while len(cache) < count:
        assert time.monotonic() < deadline, f"{len(cache)} of {count} images after a minute"
        time.sleep(0.001)


@pytest.mark.parametrize("whom", ["everybody", "the parent"])
def test_killed_at_any_moment_and_run_again_the_bytes_are_the_same(
    images: pd.DataFrame, undisturbed: Cache, cache: Cache, tmp_path: Path, whom: str
) -> None:
    with files.stalled(tmp_path / "stalled.dcm") as path:  # without an end that the kill might miss
        command = _script(_with(images, "endless", path), tmp_path / "table.csv", str(tmp_path / "caches"))
        rng = np.random.default_rng(len(whom))
        for wanted in sorted(rng.integers(1, 12, 2)):
            with _running(command) as process:
                _wait_for(cache, wanted)
                time.sleep(float(rng.uniform(0, 0.02)))
                (os.killpg if whom == "everybody" else os.kill)(process.pid, signal.SIGKILL)
                assert process.wait(30) == -signal.SIGKILL
            for image_id in cache:
                np.testing.assert_array_equal(cache.read(image_id), undisturbed.read(image_id))
    report = prepare_table(images, SETTINGS, cache, workers=2)
    assert report.n_kept >= 1
    assert _bytes(cache) == _bytes(undisturbed)


@pytest.mark.parametrize("index", [None, b"", b"{\n", b"\xff"])
def test_an_index_that_a_kill_left_out_is_written_by_the_next_run(
    images: pd.DataFrame, undisturbed: Cache, cache: Cache, index: bytes | None
) -> None:
    prepare_table(images, SETTINGS, cache, workers=2)
    if index is None:
        (cache.directory / "index.jsonl").unlink()
    else:
        (cache.directory / "index.jsonl").write_bytes(index)
    report = prepare_table(images, SETTINGS, cache, workers=2)
    assert (report.n_done, report.n_kept) == (0, len(images))
    assert _bytes(cache) == _bytes(undisturbed)


def test_an_interrupt_ends_cleanly_and_the_next_run_goes_on(images: pd.DataFrame, cache: Cache, tmp_path: Path) -> None:
    with files.stalled(tmp_path / "stalled.dcm") as path:
        table = _with(images, "hangs", path)
        with _running(_script(table, tmp_path / "table.csv", str(tmp_path / "caches"))) as process:
            _wait_for(cache, 12)
            time.sleep(0.2)
            started = time.monotonic()
            os.killpg(process.pid, signal.SIGINT)
            assert process.wait(60) == 130
            assert time.monotonic() - started < 30
    assert not list(cache.directory.rglob("*.tmp"))
    assert len((cache.directory / "index.jsonl").read_text().splitlines()) == 12
    assert prepare_table(images, SETTINGS, cache, workers=1).n_kept == 12


def test_a_disk_that_refuses_is_a_clear_error_and_leaves_no_half_file(
    images: pd.DataFrame, cache: Cache, tmp_path: Path
) -> None:
    # Files may hold 1 KiB: what a full disk does to whoever writes, without filling one.
    limit = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))"
    command = _script(images, tmp_path / "table.csv", str(tmp_path / "caches"), limit)
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "the cache cannot be written" in done.stdout
    assert "another place is cache_dir=" in done.stdout
    assert done.stdout.count("images/") == 1
    assert not [file for file in cache.directory.rglob("*") if file.suffix in (".tif", ".tmp")]


def test_a_full_disk_is_a_clear_error(images: pd.DataFrame, tmp_path: Path) -> None:
    mount = 'mount -t tmpfs -o size=48k none disk && cd disk && exec "$@"'
    on_a_small_disk = ["unshare", "-rm", "sh", "-c", mount, "sh"]
    (tmp_path / "disk").mkdir()
    if subprocess.run([*on_a_small_disk, "true"], cwd=tmp_path, capture_output=True).returncode != 0:
        pytest.skip("no file system can be mounted here")
    command = [*on_a_small_disk, *_script(images, tmp_path / "table.csv", ".")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "No space left on device" in done.stdout
    assert "leftovers: []" in done.stdout

"""Archives from anywhere: read by what they are, listed before anything is written, unpacked no further than asked."""

import bz2
import contextlib
import gzip
import io
import lzma
import tarfile
import zipfile
from pathlib import PurePosixPath

import pytest

from rsna.runs import unpack
from rsna.runs.errors import RunError

FILES = {"b/bundle.json": b"{}", "b/weights": b"w" * 70_000, "b/kernel/x.py": b"print()"}


def write_tar(path, files, opened=open, **changes):
    with opened(path, "wb") as stream, tarfile.open(fileobj=stream, mode="w") as archive:
        folder = tarfile.TarInfo("b")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for key, value in changes.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(content))
    return path


def write_zip(path, files, kind=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", kind) as archive:
        archive.writestr("b/", "")
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, kind)
    return path


WRITERS = {
    "tar": write_tar,
    "tar.gz": lambda path, files: write_tar(path, files, gzip.open),
    "tar.bz2": lambda path, files: write_tar(path, files, bz2.open),
    "tar.xz": lambda path, files: write_tar(path, files, lzma.open),
    "zip": write_zip,
    "stored.zip": lambda path, files: write_zip(path, files, zipfile.ZIP_STORED),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_what_is_asked_for_is_unpacked_and_nothing_else(tmp_path, kind):
    archive = WRITERS[kind](tmp_path / "any name", FILES)
    assert {str(path): size for path, size in unpack.list_files(archive)[0].items()} == {
        name: len(content) for name, content in FILES.items()
    }
    (tmp_path / "out").mkdir()
    unpack.unpack(archive, tmp_path / "out", {PurePosixPath("b/weights"): 70_000})
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["weights"]
    assert (tmp_path / "out" / "weights").read_bytes() == FILES["b/weights"]


@pytest.mark.parametrize("kind", ["tar", "zip"])
@pytest.mark.parametrize("inner", ["zip", "tar.gz"])
def test_an_archive_is_told_by_its_first_bytes_whatever_lies_in_it(tmp_path, kind, inner):
    """A wheel is a zip file; stored in a .tar, its directory at the end made the whole look like one."""
    wheel = WRITERS[inner](tmp_path / "wheel", {"setup.py": b"1"}).read_bytes()
    archive = WRITERS[kind](tmp_path / "archive.whatever", {"z.whl": wheel})
    assert unpack.list_files(archive)[0] == {PurePosixPath("z.whl"): len(wheel)}


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip"])
@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["b/x", "b/./x"], "twice"),
        (["b/fold0.safetensors", "b/Fold0.SAFETENSORS"], "twice"),
        (["b/\u00e9", "b/e\u0301"], "twice"),
        (["/etc/x"], "leads out of the folder"),
        (["b/../../x"], "leads out of the folder"),
        (["b\\..\\x"], "leads out of the folder"),
        (["c:x"], "leads out of the folder"),
    ],
)
def test_names_that_clash_or_climb_are_no_files_to_unpack(tmp_path, kind, names, said):
    archive = WRITERS[kind](tmp_path / "archive", FILES | dict.fromkeys(names, b"x"))
    found, refused = unpack.list_files(archive)
    assert {str(path) for path in found} == set(FILES)
    assert len(refused) == len({PurePosixPath(name) for name in names})
    assert all(said in why for why in refused.values())


def test_the_separator_of_windows_is_one(tmp_path):
    archive = write_zip(tmp_path / "a.zip", {"b\\weights": b"www"})
    assert unpack.list_files(archive)[0] == {PurePosixPath("b/weights"): 3}
    unpack.unpack(archive, tmp_path, {PurePosixPath("b/weights"): 3})
    assert (tmp_path / "weights").read_bytes() == b"www"


@pytest.mark.parametrize("type", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_what_is_no_file_is_refused(tmp_path, type):
    archive = write_tar(tmp_path / "x.tar", {"b/x": b""}, type=type, linkname="/etc/passwd")
    found, refused = unpack.list_files(archive)
    assert not found
    assert "is a link or a device" in refused[PurePosixPath("b/x")]


@pytest.mark.parametrize("kind", WRITERS)
def test_a_file_of_another_size_than_recorded_is_not_written(tmp_path, kind):
    archive = WRITERS[kind](tmp_path / "archive", FILES)
    for size in (69_999, 70_001, 0):
        with pytest.raises(RunError, match=f"has 70,000 bytes, not {size:,} as recorded"):
            unpack.unpack(archive, tmp_path, {PurePosixPath("b/weights"): size})
    assert not (tmp_path / "weights").exists()


@pytest.mark.parametrize("kind", ["tar.gz", "tar.xz", "zip"])
def test_a_bomb_is_refused_by_its_list(tmp_path, kind, monkeypatch):
    zeros = bytes(1 << 20)
    archive = WRITERS[kind](tmp_path / "bomb", {f"b/{number}": zeros for number in range(8)})
    wanted, _ = unpack.list_files(archive)
    monkeypatch.setattr(unpack, "_SLACK", 1 << 20)
    with pytest.raises(RunError, match="would unpack to 8,388,608 bytes"):
        unpack.unpack(archive, tmp_path, wanted)
    monkeypatch.setattr(unpack, "MAX_BYTES", 4 << 20)
    with pytest.raises(RunError, match="holds more than"):
        unpack.list_files(archive)
    monkeypatch.setattr(unpack, "MAX_BYTES", 8 << 20)
    monkeypatch.setattr(unpack, "MAX_FILES", 7)
    with pytest.raises(RunError, match="holds more than 7 files"):
        unpack.list_files(archive)
    assert [file.name for file in tmp_path.iterdir()] == ["bomb"]


def test_a_zip_file_whose_list_lies_about_a_size_ends_at_that_size(tmp_path):
    content = write_zip(tmp_path / "a.zip", {"b/x": bytes(1_234_567)}).read_bytes()
    size = (1_234_567).to_bytes(4, "little")
    assert content.count(size) == 2  # in the header, and in the list at the end
    (tmp_path / "a.zip").write_bytes(content.replace(size, (1000).to_bytes(4, "little")))
    with pytest.raises(RunError, match=r"a\.zip: "):
        unpack.unpack(tmp_path / "a.zip", tmp_path, {PurePosixPath("b/x"): 1000})
    assert (tmp_path / "x").stat().st_size <= 1000


def test_a_header_of_a_tar_file_cannot_fill_the_memory(tmp_path):
    archive = write_tar(tmp_path / "a.tar.gz", {"x": b"x"}, gzip.open, pax_headers={"comment": "x" * (17 << 20)})
    with pytest.raises(RunError, match="a header of"):
        unpack.list_files(archive)


@pytest.mark.parametrize("kind", WRITERS)
def test_archives_that_were_cut_off_or_changed_end_in_no_other_error(tmp_path, kind):
    whole = WRITERS[kind](tmp_path / "archive", FILES).read_bytes()
    for number, at in enumerate(range(8, len(whole), max(1, len(whole) // 12))):
        changed = bytearray(whole)
        changed[at] ^= 0xFF
        for content in (whole[:at], bytes(changed)):
            (tmp_path / "archive").write_bytes(content)
            (out := tmp_path / f"{number}{len(content)}").mkdir()
            with contextlib.suppress(RunError):  # anything else fails
                unpack.unpack(tmp_path / "archive", out, unpack.list_files(tmp_path / "archive")[0])


def test_an_encrypted_zip_file_is_refused_in_a_line(tmp_path):
    content = bytearray(write_zip(tmp_path / "a.zip", {"b/x": b"xx"}).read_bytes())
    content[content.rindex(b"PK\x03\x04") + 6] |= 1
    content[content.rindex(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(RunError, match="cannot be unpacked: File .*b/x.* is encrypted"):
        unpack.unpack(tmp_path / "a.zip", tmp_path, {PurePosixPath("b/x"): 2})


@pytest.mark.parametrize("content", [b"", b"PK nothing", b"\x1f\x8b not gzip", b"BZh", b"x" * 5000])
def test_what_is_no_archive_is_refused(tmp_path, content):
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(RunError, match=r"a\.zip: (is neither a folder, nor|cannot be unpacked)"):
        unpack.list_files(tmp_path / "a.zip")

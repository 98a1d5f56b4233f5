"""Files are whole or absent."""

import pytest

from rsna.files import FileError, atomic_path, first_few, read_json, read_yaml, sha256, write_atomic, write_json


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "deep" / "file.txt"
    write_atomic(target, "old")
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert [path.name for path in target.parent.iterdir()] == ["file.txt"]


def test_json_goes_round_and_a_broken_file_is_named(tmp_path):
    write_json(tmp_path / "a.json", {"a": [1, None, "ü"]})
    assert read_json(tmp_path / "a.json") == {"a": [1, None, "ü"]}
    (tmp_path / "b.json").write_text("{")
    with pytest.raises(FileError, match=r"b\.json is not JSON"):
        read_json(tmp_path / "b.json")
    with pytest.raises(ValueError):
        write_json(tmp_path / "c.json", float("nan"))
    assert not (tmp_path / "c.json").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: 1\nb: [1, 2", r"a\.yaml, line 2: is not YAML: expected"),
        (b"a: 1\nb: c: d\n", r"a\.yaml, line 2: is not YAML: mapping values are not allowed here"),
        (b"a: \xff", r"a\.yaml: is not YAML: .*can't decode"),
        (b"a: \x00", r"a\.yaml: is not YAML: "),
        (b"", r"a\.yaml: holds no keys with values"),
        (b"name", r"a\.yaml: holds no keys with values"),
        (b"a: !!python/object/apply:os.getcwd []", r"a\.yaml, line 1: is not YAML: could not determine a constructor"),
    ],
)
def test_broken_yaml_is_named_in_one_line(tmp_path, content, message):
    (tmp_path / "a.yaml").write_bytes(content)
    with pytest.raises(FileError, match=message) as error:
        read_yaml(tmp_path / "a.yaml")
    assert "\n" not in str(error.value)


def test_yaml_is_read(tmp_path):
    (tmp_path / "a.yaml").write_text("a: {b: ü}\n")
    assert read_yaml(tmp_path / "a.yaml") == {"a": {"b": "ü"}}


def test_a_hash_is_that_of_the_content(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2


def test_long_lists_are_counted_behind_their_first():
    assert first_few(["a", 1]) == "a, 1"
    assert first_few(range(5)) == "0, 1, 2 and 2 more"
    assert first_few(range(2000), 1) == "0 and 1,999 more"

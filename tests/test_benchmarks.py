"""Benchmarks keep their results side by side, and say what got worse; all of them are run."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def benchmarks(monkeypatch):
    """The folder's modules, as its scripts import them."""
    monkeypatch.syspath_prepend(str(FOLDER))
    yield
    for name in ("all", "common", "gpu", "gpu_wheels", "plan"):
        sys.modules.pop(name, None)


def result(rate: float, time_ms: float, cores: int = 2) -> dict:
    rows = [
        {"reader": "slow", "size": [8, 4], "images_per_s": 5.0},
        {"reader": "rsna", "size": [8, 4], "images_per_s": rate},
    ]
    return {
        "command": "python benchmarks/decode.py --limit 2",
        "machine": {"cpu": "one", "cores": cores},
        "result": {"files": 3 * rate, "threshold_ms": time_ms, "readers": rows},
    }


def test_what_is_more_than_a_tenth_worse_is_marked_whichever_way_is_better(benchmarks):
    from common import compare

    lines = {line.split()[0]: line for line in compare(result(10, 4), result(8, 5))}
    assert "worse" in lines["threshold_ms"]
    assert "1.25 ×" in lines["threshold_ms"]
    assert len(lines) == 3, "what only describes is not compared"
    marks = ["worse" in line for line in compare(result(10, 4), result(9.5, 3))]
    assert marks == [False] * 3


def test_rows_are_compared_by_what_they_are_of_and_not_by_their_place(benchmarks):
    from common import compare

    old, new = result(10, 4), result(20, 4)
    new["result"]["readers"].reverse()
    rates = [line for line in compare(old, new) if "images_per_s" in line]
    assert ["rsna, 8×4" in line and "2.00 ×" in line for line in rates] == [True, False]


def test_what_was_measured_at_another_size_is_not_compared(benchmarks):
    from common import compare

    (line,) = compare(result(10, 4) | {"command": "python benchmarks/decode.py --limit 6"}, result(1, 4))
    assert "--limit 6, now by python benchmarks/decode.py --limit 2" in line


def test_another_machine_is_said(benchmarks):
    from common import compare

    assert "another machine: 2 → 16" in compare(result(1, 1), result(1, 1, cores=16))[0]


def test_a_result_says_where_when_and_how_it_was_measured(tmp_path):
    command = [sys.executable, "-c", "from common import write_result; import sys; from pathlib import Path\n"
               "write_result(Path(sys.argv[-1]), {'a_ms': 1})", "--data", str(tmp_path), "--json"]  # fmt: skip
    file = tmp_path / "deep" / "result.json"
    subprocess.run([*command, str(file)], cwd=FOLDER, check=True)
    kept = json.loads(file.read_text(encoding="utf-8"))
    assert kept["result"] == {"a_ms": 1}
    assert kept["command"].endswith("--data DIR")
    assert kept["machine"]["cores"] >= 1
    assert kept["machine"]["packages"]["numpy"]
    assert len(kept["date"]) == 10


def test_every_benchmark_is_run(benchmarks):
    from all import BENCHMARKS

    shared = {
        "all",
        "common",
        "accuracy_picture",
        "accuracy_recipe",
        "accuracy_tables",
        "plan",
        "packs_ways",
        "scale_archive",
    }
    long = {"accuracy", "calibration", "coverage", "gpu", "gpu_items", "gpu_wheels", "single_images"}
    assert {file.stem for file in FOLDER.glob("*.py")} - shared - long == set(BENCHMARKS)


def test_every_item_of_a_gpu_check_has_a_lane_that_is_run_and_code(benchmarks):
    from gpu import ITEMS, STAGES

    assert {item.lane for item in ITEMS.values()} == {lane for lanes in STAGES for lane in lanes}
    code = (FOLDER / "gpu_items.py").read_text(encoding="utf-8")
    assert all(f"    def {name.split(':')[0]}(self" in code for name in ITEMS)


def test_wheels_of_a_gpu_check_have_a_version(benchmarks):
    from gpu_wheels import CARRIED

    pinned = (FOLDER.parent / "constraints.txt").read_text(encoding="utf-8").lower().replace("_", "-").split()
    assert {name for name in CARRIED if not any(line.startswith(f"{name}==") for line in pinned)} == set()


def test_a_plan_grows_with_the_archive_and_follows_its_prices():
    def hours_and_dollars(*arguments: str) -> tuple[float, float]:
        command = [sys.executable, str(FOLDER / "plan.py"), *arguments]
        lines = subprocess.run(command, capture_output=True, encoding="utf-8", check=True).stdout.splitlines()
        cells = next(line for line in lines if line.startswith("| prepare |")).split("|")
        return float(cells[2].split()[0].replace(",", "")), float(cells[4].replace(",", ""))

    hours, dollars = hours_and_dollars("--images", "1e8", "--core-hour", "1")
    assert dollars == hours > 0
    assert hours_and_dollars("--images", "3e8", "--core-hour", "2") == pytest.approx((3 * hours, 6 * hours), abs=3)


def test_a_number_without_a_meaning_is_refused_in_a_line(benchmarks, capsys):
    from common import above_zero, at_least, from_zero, parser_of

    parser = parser_of(None)
    parser.add_argument("--images", type=at_least(1))
    parser.add_argument("--days", type=above_zero)
    parser.add_argument("--price", type=from_zero)
    good = parser.parse_args(["--images", "1", "--days", "0.5", "--price", "0"])
    assert (good.images, good.days, good.price) == (1, 0.5, 0.0)
    wrong = {"--images": ("0", "-1", "1.5", "few"), "--days": ("0", "-2", "nan", "inf", ""), "--price": ("-1", "free")}
    for option, texts in wrong.items():
        for text in texts:
            with pytest.raises(SystemExit):
                parser.parse_args([f"{option}={text}"])
            assert f"error: argument {option}: {text} is no " in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--days", "--images", "--folds", "--link-share", "--forward-share"])
def test_a_plan_of_nothing_is_refused(benchmarks, option, monkeypatch, capsys):
    from plan import main

    for text in ("0", "-1"):
        monkeypatch.setattr(sys, "argv", ["plan.py", f"{option}={text}"])
        with pytest.raises(SystemExit):
            main()
        assert f"error: argument {option}: {text} is no " in capsys.readouterr().err


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.py")), ids=lambda file: file.stem)
def test_every_number_that_a_benchmark_takes_says_its_least(file):
    for line in file.read_text(encoding="utf-8").splitlines():
        assert "choices=" in line or not re.search(r"\btype=(int|float)\b", line), line

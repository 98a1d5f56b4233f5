"""Every verb reads tables as people have them to the same result, and says how; or refuses them in one line."""

import gzip
import re

import numpy as np
import pandas as pd
import pytest

from rsna.cli.main import main
from tests.evaluation.simulate import simulate_images
from tests.prepare.files import write_dicom

DIALECTS = {
    "a comma at the end of rows": lambda text: text.replace("\n", ",\n").replace(",\n", "\n", 1).encode(),
    "semicolons": lambda text: text.replace(",", ";").encode("utf-8-sig"),
    "utf-16 with tabs": lambda text: text.replace(",", "\t").encode("utf-16"),
    "float ids": lambda text: re.sub(r"(?<![.\d])7\d{3,5}(?!\d)", r"\g<0>.0", text).encode(),
    "capitals": lambda text: text.replace("_id", " ID").replace(",L", ",left").replace(",R", ",right").encode(),
    "gzip": lambda text: gzip.compress(text.encode()),
}
"""How a table that pandas wrote comes back from people; ids begin with a 7."""

BROKEN = {
    "a page": b"<!DOCTYPE html><html></html>",
    "nothing": b"",
    "a workbook": b"PK\x03\x04",
    "a part": gzip.compress(b"patient_id,image_id\n7,7\n" * 99)[:40],
    "a row too long": b"patient_id,image_id,laterality,cancer,fold,probability\n7,70,L,0,0,0.5,x\n",
}


@pytest.fixture
def tables(tmp_path):
    """Every kind of table of one small set, and a folder of images."""
    images = simulate_images(patients=40).sort_values("image_id")
    images["patient_id"] = [f"7{number // 4:03}" for number in range(len(images))]
    images["laterality"] = ["LR"[number % 4 // 2] for number in range(len(images))]
    images["image_id"] = [f"70{number:04}" for number in range(len(images))]
    images["cancer"] = images.groupby(["patient_id", "laterality"])["cancer"].transform("max")
    labels = images[["patient_id", "image_id", "laterality", "cancer"]]
    labels.to_csv(tmp_path / "labels.csv", index=False)
    folds = labels[["patient_id", "image_id"]].assign(fold=images["patient_id"].astype(int) % 2)
    folds.to_csv(tmp_path / "folds.csv", index=False)
    images[["image_id", "probability"]].to_csv(tmp_path / "predictions.csv", index=False)
    for image_id in images["image_id"][:4]:
        write_dicom(tmp_path / "archive" / f"{image_id}.dcm", np.zeros((20, 16)), Modality="MG", ViewPosition="CC")
    return tmp_path


VERBS = {
    "folds make": ("labels", ["labels={labels}", "out={out}"]),
    "folds check": ("folds", ["splits={folds}"]),
    "table": ("labels", ["input={archive}", "labels={labels}", "out={out}"]),
    "evaluate labels": ("labels", ["predictions={predictions}", "labels={labels}", "resamples=0"]),
    "evaluate predictions": ("predictions", ["predictions={predictions}", "labels={labels}", "resamples=0"]),
}
"""Verb, with what tells two uses of it apart → the table that is odd, and what is typed."""


def run(verb, tables, capsys, name, file):
    """The exit code, what was written, what was printed, and on what."""
    files = {stem: tables / f"{stem}.csv" for stem in ("labels", "folds", "predictions")}
    files |= {"archive": tables / "archive", "out": tables / f"{file}.out", name: tables / file}
    typed = [part.format(**files) for part in VERBS[verb][1]]
    code = main([*verb.removesuffix(" labels").removesuffix(" predictions").split(), *typed])
    out = files["out"].read_bytes() if files["out"].exists() else b""
    printed = capsys.readouterr()
    return code, out, printed.out, printed.err


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("verb", VERBS)
def test_a_table_in_any_dialect_gives_what_the_plain_one_gives(tables, capsys, verb, dialect):
    name = VERBS[verb][0]
    plain = run(verb, tables, capsys, name, f"{name}.csv")
    (tables / "odd.CSV").write_bytes(DIALECTS[dialect]((tables / f"{name}.csv").read_text()))
    odd = run(verb, tables, capsys, name, "odd.CSV")
    assert odd[0] == plain[0] == 0
    assert odd[1] == plain[1]
    # One line more, unless nothing had to be guessed.
    assert odd[2].count("odd.CSV: ") - plain[2].count(f"{name}.csv: ") == (dialect != "gzip")
    numbers = [line for line in plain[2].splitlines() if ".csv" not in line]
    assert set(numbers) <= set(odd[2].splitlines())


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("verb", VERBS)
def test_what_is_no_table_is_refused_by_its_name_in_one_line(tables, capsys, verb, broken):
    (tables / "odd.CSV").write_bytes(BROKEN[broken])
    code, out, printed, said = run(verb, tables, capsys, VERBS[verb][0], "odd.CSV")
    assert (code, out, printed) == (1, b"", "")
    assert len(said.splitlines()) == 2  # what it does, and why not
    assert "odd.CSV" in said


def test_unlabelled_rows_of_labels_are_refused_not_taken_for_negatives(tables, capsys):
    frame = pd.read_csv(tables / "labels.csv", dtype=str)
    frame.loc[:3, "cancer"] = None
    frame.to_csv(tables / "some.csv", index=False)
    code, _, _, said = run("evaluate labels", tables, capsys, "labels", "some.csv")
    assert code == 1
    assert "4 of 160 (700000, 700001, 700002, …) rows have a label other than 0 or 1" in said


def test_a_share_of_cancers_far_from_screening_is_questioned_beside_the_metrics(tables, capsys):
    frame = pd.read_csv(tables / "labels.csv", dtype=str)
    frame["cancer"] = ((frame["patient_id"].astype(int) % 3 == 0) & frame["laterality"].eq("L")).astype(int)
    frame.to_csv(tables / "many.csv", index=False)
    for sampling, questioned in (("population", True), ("enriched", False)):
        typed = [f"predictions={tables}/predictions.csv", f"labels={tables}/many.csv", f"sampling={sampling}"]
        assert main(["evaluate", *typed, "resamples=0"]) == 0
        said = capsys.readouterr().out
        assert ("note: 13 breasts with cancer (16.2%), where screening finds 0.1% to 3.0%" in said) == questioned

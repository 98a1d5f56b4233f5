"""Tables as people have them: one reading and a line that says which, or one line that says what is wrong and where."""

import bz2
import datetime
import gzip
import io
import lzma
import os
import sys
import zipfile

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rsna.table_file import TableError, map_distinct, read_columns, read_table
from rsna.table_file import rows as reader_rows
from rsna.table_file.rows import _lines
from tests.dataset.adapters.folders import write_workbook

PLAIN = "patient_id,image_id,laterality,view,age,cancer\n10006,462822612,L,CC,61,0\n10006,1459541791,R,MLO,,1\n"

HEADER = "prediction_id,cancer\n"


def read(tmp_path, content, columns=(), name="t.csv"):
    """The frame, and what is said of it."""
    notes: list[str] = []
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    frame = read_table(tmp_path / name, notes, columns)
    assert len(notes) <= 1
    assert all(note.startswith(str(tmp_path / name)) and "\n" not in note for note in notes)
    return frame, "".join(notes).removeprefix(f"{tmp_path / name}: ")


def zipped(**files):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "."), text)
    return stream.getvalue()


def parquet(frame):
    stream = io.BytesIO()
    frame.to_parquet(stream)
    return stream.getvalue()


def test_ids_are_text_and_numbers_are_numbers(tmp_path):
    frame, said = read(tmp_path, PLAIN)
    assert said == ""
    assert frame["image_id"].tolist() == ["462822612", "1459541791"]
    assert frame["age"].tolist()[:1] == [61]
    assert frame["age"].isna().tolist() == [False, True]
    assert frame["cancer"].tolist() == [0, 1]
    assert frame.index.tolist() == [2, 3]
    assert frame.index.name == "line"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (PLAIN.encode("utf-8-sig"), ""),
        (PLAIN.replace("\n", "\r\n"), ""),
        (PLAIN.replace("\n", "\r"), ""),
        (PLAIN.rstrip(), ""),
        ("\n\n" + PLAIN + "\n\n\n", ""),
        (PLAIN + "\x1a", ""),
        ("'" + PLAIN.replace(",", "','").replace("\n", "'\n'").removesuffix("'"), ""),
        (PLAIN.replace("10006", "\ufeff10006\u200b"), ""),
        (PLAIN.splitlines()[0].upper() + "\n" + PLAIN, None),
        (PLAIN.replace(",", ";"), "separated by semicolons"),
        ("sep=;\n" + PLAIN.replace(",", ";"), "separated by semicolons; 1 lines above the header are passed over"),
        (PLAIN.replace(",", "\t"), "separated by tabs"),
        (PLAIN.replace(",", "|"), "separated by bars"),
        (PLAIN.replace(",", ", "), ""),
        ('"' + PLAIN.replace(",", '", "').replace("\n", '"\n"').removesuffix('"'), ""),
        (PLAIN.encode("utf-16"), "is UTF-16"),
        (PLAIN.encode("utf-16-le"), "is UTF-16-LE"),
        (b"\xfe\xff" + PLAIN.encode("utf-16-be"), "is UTF-16"),
        (PLAIN.encode("utf-32"), "is UTF-32"),
        (gzip.compress(PLAIN.encode()), ""),
        (bz2.compress(PLAIN.encode()), ""),
        (lzma.compress(PLAIN.encode()), ""),
        (zipped(train__csv=PLAIN), "train.csv of the ZIP archive is read"),
        (PLAIN.replace("\n", ",\n"), ""),
        (PLAIN.replace("0\n", "0,\n").replace("1\n", "1,,\n"), "empty cells behind the last column are passed over"),
        (PLAIN.replace("1\n", "1,\n"), "empty cells behind the last column are passed over"),
        (PLAIN + ",,,,,\n,,,,,\n", "2 empty rows and 0 repeated headers are passed over"),
        (PLAIN.splitlines()[0] + "\n" + PLAIN, "0 empty rows and 1 repeated headers are passed over"),
        ("Warning: the client is old\n" + PLAIN, "1 lines above the header are passed over"),
        (
            PLAIN.replace("patient_id", "Patient_ID").replace("image_id", "Image ID"),
            "column 'Patient_ID' is patient_id; column 'Image ID' is image_id",
        ),
        (PLAIN.replace("patient_id", " patient_id "), ""),
        (PLAIN.replace("L,CC", "left,cc").replace("R,", "Right,"),
         "laterality left, Right is L, R; view cc is CC"),
        (PLAIN.replace("10006", "10006.0"),
         "patient_id 10006.0 is read as 10006 (in 2 rows alike)"),
        (PLAIN.replace("612", "612.0"),
         "image_id 462822612.0 is read as 462822612 (in 1 rows alike)"),
        (PLAIN.replace("patient_id", ",patient_id").replace("10006", "0,10006"),
         "column 1, which has no name, is left out"),
        (PLAIN.replace("cancer", "cancer,cancer").replace("0\n", "0,0\n").replace("1\n", "1,1\n"),
         "column cancer stands there twice, with the same values"),
        (PLAIN.replace(",0\n", ",False\n").replace(",1\n", ",TRUE\n"), ""),
    ],
)  # fmt: skip
def test_what_has_one_reading_is_read_and_a_guess_is_said(tmp_path, content, said):
    expected, _ = read(tmp_path, PLAIN, name="plain.csv")
    frame, line = read(tmp_path, content)
    pd.testing.assert_frame_equal(frame.reset_index(drop=True), expected.reset_index(drop=True))
    assert said is None or line == said


def test_the_name_says_nothing_the_content_does(tmp_path):
    for name in ("train.CSV", "train.csv.gz", "train.txt", "train"):
        assert len(read(tmp_path, PLAIN, name=name)[0]) == 2
        assert len(read(tmp_path, gzip.compress(PLAIN.encode()), name=name)[0]) == 2


def test_letters_that_are_not_utf8_are_read_as_windows_1252_and_that_is_said(tmp_path):
    frame, said = read(tmp_path, "patient_id,cancer\n1,0\nMüller,1\n".encode("cp1252"))
    assert frame["patient_id"].tolist() == ["1", "Müller"]
    assert said == "is not UTF-8 (line 3) and is read as Windows-1252"
    with pytest.raises(TableError, match=r"t\.csv, line 3: is not UTF-8, as the rest of the file is"):
        read(tmp_path, "patient_id,cancer\nMüller,0\nM".encode() + b"\xfcller,1\n")


def test_names_of_nothing_are_names(tmp_path):
    names = ["NA", "nan", "None", "null", "N/A", "007", "1e5"]
    frame, said = read(tmp_path, "patient_id,image_id,age\n" + "".join(f"{name},{name},{name}\n" for name in names))
    assert frame["patient_id"].tolist() == frame["image_id"].tolist() == names
    assert frame["age"].isna().sum() == 5
    assert "image_id NA, nan, None and 2 more is an id, not a missing one (in 5 rows)" in said


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (["10006.0_L", "10006.0_R"], ["10006_L", "10006_R"]),
        (["10006_l", "10006_right"], ["10006_L", "10006_R"]),
        (["P1.0_L", "P1_R"], ["P1.0_L", "P1_R"]),
        (["10006.0_L", "NA_R"], ["10006_L", "NA_R"]),
        (["010006_L", "10006_L"], ["010006_L", "10006_L"]),
    ],
)
def test_ids_of_breasts_lose_what_a_number_or_a_hand_added(tmp_path, ids, expected):
    frame, said = read(tmp_path, HEADER + "".join(f"{name},0.5\n" for name in ids))
    assert frame["prediction_id"].tolist() == expected
    assert bool(said) == (ids != expected)


def test_ids_of_names_keep_what_looks_like_decimals(tmp_path):
    assert read(tmp_path, "patient_id,age\nP1.0,1\n1.0,2\n")[0]["patient_id"].tolist() == ["P1.0", "1.0"]


def test_decimals_of_a_number_go_where_other_ids_stand_for_none(tmp_path):
    """Of a column with a missing value, tools make numbers with a point."""
    frame, said = read(tmp_path, "patient_id,age\n10006.0,1\nNA,2\nnan,3\n10007.0,4\n")
    assert frame["patient_id"].tolist() == ["10006", "NA", "nan", "10007"]
    assert "patient_id 10006.0 is read as 10006 (in 2 rows alike)" in said


def test_ids_that_differ_in_how_an_accent_is_written_are_one(tmp_path):
    frame, said = read(tmp_path, "patient_id,age\nM\u00fcller,1\nMu\u0308ller,2\n")
    assert frame["patient_id"].tolist() == ["M\u00fcller"] * 2
    assert "differ in blanks or accents alone, and are one" in said


def test_a_column_beside_one_of_its_name_is_said_where_it_has_other_values(tmp_path):
    frame, said = read(tmp_path, "patient_id,cancer,Cancer\na,0,1\nb,1,0\n")
    assert frame["cancer"].tolist() == [0, 1]
    assert "column 'Cancer' has other values than cancer, which is read" in said
    assert "other values" not in read(tmp_path, "patient_id,cancer,Cancer\na,0,0\nb,1,1\n")[1]


def test_a_decimal_comma_is_read_and_a_thousands_comma_is_not(tmp_path):
    frame, said = read(tmp_path, "prediction_id;cancer\n1_L;0,73\n1_R;1\n2_L;\n")
    assert frame["cancer"].tolist()[:2] == [0.73, 1]
    assert "the comma in cancer is a decimal point" in said
    assert read(tmp_path, 'prediction_id,cancer\n1_L,"0,731"\n')[0]["cancer"].tolist() == [0.731]
    assert read(tmp_path, "prediction_id;cancer\n1_L;1,234\n")[0]["cancer"].tolist() == ["1,234"]
    assert read(tmp_path, "prediction_id;cancer\n1_L;1.234,5\n")[0]["cancer"].tolist() == ["1.234,5"]


@pytest.mark.parametrize(
    ("folds", "expected"),
    [("fold0 F1", [0, 1]), ("fold-0 2", [0, 2]), ("a b", ["a", "b"]), ("fold0 b", ["fold0", "b"]), ("-1 1", [-1, 1])],
)
def test_folds_that_are_numbered_names_are_numbers(tmp_path, folds, expected):
    frame, notes = read(tmp_path, "fold\n" + "\n".join(folds.split()) + "\n")
    assert frame["fold"].tolist() == expected
    assert bool(notes) == (folds.startswith("fold") and expected[0] == 0)


def test_numbers_are_read_to_the_last_bit(tmp_path):
    value = 0.1 + 0.2
    assert read(tmp_path, f"{HEADER}1_L,{value!r}\n1_R,1e-3\n")[0]["cancer"].tolist() == [value, 0.001]


def test_quoted_cells_hold_delimiters_and_line_ends(tmp_path):
    frame, _ = read(tmp_path, 'image_id,note\na,"one, two\nthree"\nb,"say ""x"""\n')
    assert frame["note"].tolist() == ["one, two\nthree", 'say "x"']
    assert frame.index.tolist() == [2, 4]


def test_paths_are_read_as_they_are(tmp_path):
    frame, _ = read(tmp_path, "image_id,path\na, a .dcm\nb,nan\nc,\n")
    assert frame["path"].tolist()[:2] == [" a .dcm", "nan"]
    assert frame["path"].isna().tolist() == [False, False, True]


def test_rows_that_end_early_are_empty_there_unless_the_file_breaks_off(tmp_path):
    frame, said = read(tmp_path, "image_id,age,cancer\na,60\nb,61,1\n")
    assert frame["cancer"].isna().tolist() == [True, False]
    assert said == "1 rows end early, the rest of them is empty (first: line 2)"
    with pytest.raises(TableError, match=r"t\.csv, line 3: breaks off after 2 of 3 cells; copy it again"):
        read(tmp_path, "image_id,age,cancer\na,60,0\nb,6")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"t\.csv: is empty$"),
        (b"\xef\xbb\xbf", r"t\.csv: is empty"),
        (b" \r\n\t", r"t\.csv: is empty \(4 bytes without a letter\)"),
        (b"\0" * 512, r"t\.csv: is empty \(512 bytes"),
        (HEADER, "has no rows below its columns prediction_id, cancer"),
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "is an HTML or XML page; a table is wanted: CSV"),
        (b"\n\n  <html>", "is an HTML or XML page"),
        (zipped(**{"[Content_Types]__xml": "<a/>", "xl/workbook__xml": "<b/>"}), "is no whole Excel workbook"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", r"is an old Excel workbook \(\.xls\)"),
        (zipped(a__csv=PLAIN, b__csv=PLAIN), "is a ZIP archive with 2 files; unpack it"),
        (zipped(a__csv=PLAIN)[:60], "is cut off or damaged"),
        (gzip.compress(PLAIN.encode() * 50)[:-20], "is cut off or damaged .*; copy it again"),
        (gzip.compress(PLAIN.encode())[:-9] + b"\0" * 9, "is cut off or damaged"),
        (b"PAR1 and nothing behind it", "is no whole Parquet file"),
        (b'{"prediction_id": 1}', "is JSON"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS, not the file"),
        (PLAIN.encode("utf-16")[:-1], "is not UTF-16"),
        (PLAIN.replace("61", "6\x001"), r"t\.csv, line 2: holds NUL bytes"),
        (HEADER + "1_L,0,73\n1_R,0.5\n", r"1 rows have more cells than the header's 2 \(first: line 2 with 3\)"),
        (HEADER + "0,1_L,0.7\n1,1_R,0.5\n", "2 rows have more cells.*The header lacks a name for the first column"),
        ("prediction_id,cancer,cancer\n1_L,0,1\n", "has the column cancer twice, with other values"),
        ("prediction_id,Prediction ID\n1_L,2_L\n", None),
        ("Prediction-ID,Prediction ID\n1_L,2_L\n", "has the column prediction_id twice"),
        (HEADER + '1_L,"0.5\n1_R,0.5\n', r"t\.csv, line 2: a quote is not closed"),
        (HEADER + '1_L,"0.5"7\n1_R,0.5\n', r"t\.csv, line 2: a quote is not closed, or stands inside a cell"),
        ("patient_id,age\n1.2E+18,1\n5,1\n", r"1 rows have a patient_id that a spreadsheet rounded.*\(first: line 2\)"),
    ],
)  # fmt: skip
def test_what_has_no_reading_is_refused_with_its_place(tmp_path, content, message):
    if message is None:
        assert read(tmp_path, content)[0].columns.tolist() == ["prediction_id", "Prediction ID"]
        return
    with pytest.raises(TableError, match=message) as caught:
        read(tmp_path, content)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_or_is_a_folder_is_named(tmp_path):
    with pytest.raises(TableError, match="nowhere: there is no such file"):
        read_table(tmp_path / "nowhere", [])
    with pytest.raises(TableError, match=f"{tmp_path}: cannot be read: Is a directory"):
        read_table(tmp_path, [])


def test_columns_that_are_wanted_are_there_and_filled(tmp_path):
    with pytest.raises(TableError, match="has no column fold; it has patient_id, image_id"):
        read(tmp_path, PLAIN, ("patient_id", "fold"))
    with pytest.raises(TableError, match=r"1 rows have no age; fill it in \(first: line 3\)"):
        read(tmp_path, PLAIN, ("age",))


@pytest.mark.parametrize("ids", [[10006, 10007], [10006.0, 10007.0], ["10006", "10007"]])
def test_parquet_is_read_like_text_whatever_its_types_are(tmp_path, ids):
    sides = pd.Series(["l", "R"], dtype="category")
    frame, said = read(
        tmp_path, parquet(pd.DataFrame({"patient_id": ids, "laterality": sides, "cancer": [True, False]}))
    )
    assert frame["patient_id"].tolist() == ["10006", "10007"]
    assert frame["laterality"].tolist() == ["L", "R"]
    assert frame["cancer"].tolist() == [1, 0]
    assert frame.index.tolist() == [1, 2]
    assert said == "laterality l is L"


def test_parquet_has_its_names_spelt_alike_and_no_index(tmp_path):
    indexed = pd.DataFrame({"Patient ID": [1, 2], "note": ["a", None]}, index=["x", "y"])
    frame, said = read(tmp_path, parquet(indexed))
    assert frame.columns.tolist() == ["patient_id", "note"]
    assert said == "column 'Patient ID' is patient_id"


def test_columns_are_told_without_reading_the_rows(tmp_path):
    broken = PLAIN.replace("image_id", "Path").replace(",", ";") + "1;2;3;4;5;6;7;8\n"
    (tmp_path / "t.csv").write_text(broken)
    assert read_columns(tmp_path / "t.csv") == ["patient_id", "path", "laterality", "view", "age", "cancer"]
    (tmp_path / "t.csv").write_bytes(b"")
    assert read_columns(tmp_path / "t.csv") == read_columns(tmp_path / "nowhere") == []
    (tmp_path / "t.csv").write_bytes(parquet(pd.DataFrame({"path": ["a"]})))
    assert read_columns(tmp_path / "t.csv") == ["path"]


def test_a_pipe_is_no_table_and_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "t.csv")
    with pytest.raises(TableError, match=r"t\.csv: cannot be read: is a pipe"):
        read_table(tmp_path / "t.csv", [])
    assert read_columns(tmp_path / "t.csv") == []


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("patient_id,Study ID", ["patient_id", "exam_id"]),
        ("patient_id,StudyInstanceUID", ["patient_id", "exam_id"]),
        ("patient_id,study_date", ["patient_id", "exam_date"]),
        ("patient_id,Exam", ["patient_id", "exam_number"]),
        ("exam_id,study_id", ["exam_id", "study_id"]),
        ("study_id,StudyInstanceUID", ["exam_id", "StudyInstanceUID"]),
    ],
)
def test_columns_of_exams_are_known_by_what_dicom_and_people_call_them(header, columns, tmp_path):
    (tmp_path / "t.csv").write_text(f"{header}\n1,20180305\n2,20220305\n")
    frame = read_table(tmp_path / "t.csv", [])
    assert frame.columns.tolist() == columns
    if columns[0] == "patient_id":
        assert frame[columns[1]].astype(str).tolist() == ["20180305", "20220305"]


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        (["1.0", "1", "2"], "patient_id 1.0, 1 differ in their decimals alone, and are not one"),
        (["1.0", "1.00", "2"], "patient_id 1.0, 1.00 differ in their decimals alone, and are not one"),
        (["1.0", "1.0", "2"], "patient_id 1.0 is read as 1 (in 2 rows alike)"),
    ],
)
def test_ids_are_not_mended_into_another_rows(tmp_path, ids, said):
    frame, notes = read(tmp_path, "patient_id,cancer\n" + "".join(f"{one},0\n" for one in ids))
    assert notes == said
    assert frame["patient_id"].nunique() == len(set(ids))
    sided, _ = read(tmp_path, HEADER + "".join(f"{one}_l,0\n" for one in dict.fromkeys(ids)))
    assert sided["prediction_id"].nunique() == len(set(ids))


def test_ids_that_differ_in_blanks_alone_are_one_and_it_is_said(tmp_path):
    frame, said = read(tmp_path, "patient_id,cancer\nA  B,0\nA B ,0\nC,1\n")
    assert frame["patient_id"].tolist() == ["A B", "A B", "C"]
    assert said == "patient_id 'A  B', 'A B' differ in blanks or accents alone, and are one"


@settings(deadline=None, max_examples=60)
@given(
    names=st.lists(st.sampled_from(["image_id", "age", "Site ID", "x", "view"]), min_size=1, max_size=4, unique=True),
    rows=st.lists(st.lists(st.text("aA1 .é'\"", max_size=3), min_size=1, max_size=4), max_size=4),
    delimiter=st.sampled_from([",", ";", "\t"]),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    closed=st.booleans(),
)
def test_what_is_read_at_once_is_what_the_careful_reader_gives(names, rows, delimiter, end, closed):
    lines = [delimiter.join(names), *(delimiter.join(row) for row in rows)]
    text = end.join(lines) + (end if closed else "")
    outcomes = []
    for even in (reader_rows._even_table, lambda *_: None):
        said = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(reader_rows, "_even_table", even)
            try:
                frame = reader_rows.parse(text, "t.csv", (), said)
            except TableError as error:
                outcomes.append((str(error), said))
            else:
                cells = {name: frame[name].tolist() for name in frame.columns}
                outcomes.append((cells, frame.index.tolist(), frame.index.name, said))
    assert outcomes[0] == outcomes[1]


def test_an_even_table_is_read_at_once_and_others_with_care():
    even = "site_id,image_id\n1,a\n2,b\n"
    assert reader_rows._even_table(even, ",", ["site_id", "image_id"]).num_rows == 2
    for odd in (
        even + "\n",
        even + "3\n",
        even + "3,c,d\n",
        even + '"3",c\n',
        even + "site_id,image_id\n",
        even + ",\n",
    ):
        assert reader_rows._even_table(odd, ",", ["site_id", "image_id"]) is None


def workbook(tmp_path, **sheets):
    path = write_workbook(tmp_path / "t.xlsx", sheets)
    return path.read_bytes()


def test_a_workbook_is_read_as_the_csv_that_would_be_saved_of_it(tmp_path):
    rows = [
        ["Patient ID", "age", "taken", "note"],
        [10006, 61.0, datetime.datetime(2018, 3, 5), None],
        ["007", None, None, "a,b"],
    ]
    frame, said = read(tmp_path, workbook(tmp_path, table=rows, empty=[]), name="t.csv")
    assert frame["patient_id"].tolist() == ["10006", "007"]
    assert frame["age"].tolist()[0] == 61
    assert frame["taken"].tolist()[0] == "2018-03-05"
    assert frame["note"].tolist()[1] == "a,b"
    assert said == "column 'Patient ID' is patient_id"


@pytest.mark.parametrize("ids", [[123456789012345678, 123456789012345679], [1.2345678901234567e17, 5.0]])
def test_ids_that_were_numbers_too_long_for_a_spreadsheet_do_not_become_one(tmp_path, ids):
    content = workbook(tmp_path, table=[["patient_id", "cancer"], *([one, 0] for one in ids)])
    for table in (content, parquet(pd.DataFrame({"patient_id": np.array(ids, dtype=float), "cancer": [0, 1]}))):
        with pytest.raises(TableError, match="rows have a patient_id that a spreadsheet rounded"):
            read(tmp_path, table)


def test_a_sheet_is_named_where_a_workbook_has_several(tmp_path):
    content = workbook(tmp_path, one=[["patient_id"], ["1"]], Two=[["patient_id"], ["2"]])
    with pytest.raises(TableError, match=r"holds several sheets \(one, Two\); save the one"):
        read(tmp_path, content)
    assert read_table(tmp_path / "t.csv", [], sheet="two ")["patient_id"].tolist() == ["2"]
    with pytest.raises(TableError, match=r"has no sheet three \(one, Two\)"):
        read_table(tmp_path / "t.csv", [], sheet="three")


def test_without_openpyxl_it_is_said_how_a_workbook_is_read(tmp_path, monkeypatch):
    content = workbook(tmp_path, one=[["patient_id"], ["1"]])
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(TableError, match=r"pip install 'rsna-mammography\[sheets\]', or save it as CSV"):
        read(tmp_path, content)
    assert read_columns(tmp_path / "t.csv") == []


def test_each_distinct_value_is_read_once_and_the_rows_are_those_of_reading_each():
    columns = (
        pd.Series(["MLO", "CC", None, "CC", "", "MLO"], dtype="str"),
        pd.Series([61.0, float("nan"), 61.0, 4.5]),
        pd.Series([3, 1, 3, 3], index=[5, 5, 6, 7]),
        pd.Series([True, False, True]),
        pd.Series([1, 2, None, 2], dtype="Int64"),
        pd.Series([], dtype="str"),
    )
    for column in columns:
        read: list = []
        found = map_distinct(column, lambda value, read=read: read.append(value) or f"<{value}>")
        pd.testing.assert_series_equal(found, column.map(lambda value: f"<{value}>"), check_dtype=False)
        assert len(read) == column.nunique(dropna=False)


def test_values_that_are_equal_but_of_other_types_are_read_each():
    column = pd.Series([1, True, 1.0, "1"], dtype=object)
    assert map_distinct(column, repr).tolist() == ["1", "True", "1.0", "'1'"]


@pytest.mark.parametrize("text", ["a\nb\r\nc\rd", "", "\n", "\n\n", "a\x0bb\u2028c\n\r", "a"])
def test_lines_are_those_of_a_stream(text):
    assert list(_lines(text)) == list(io.StringIO(text, newline=""))

from pathlib import Path

import pytest

from rsna.config.settings import ConfigError
from rsna.prepare.boxes import read_boxes


def test_boxes_are_read_and_other_columns_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "boxes.csv"
    file.write_text("\ufeffpatient_id,image_id,x0,y0,x1,y1\n1,007,0,2,10,12\n1,8,0.6,1.4,99.5,3e1\n")
    assert read_boxes(file) == {"007": (0, 2, 10, 12), "8": (1, 1, 100, 30)}


def test_boxes_of_a_spreadsheet_are_read_and_it_is_said_how(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "boxes.csv"
    file.write_text("Image ID;x0;y0;x1;y1\n007;0;2,4;10;12\n")
    assert read_boxes(file) == {"007": (0, 2, 10, 12)}
    assert "separated by semicolons; column 'Image ID' is image_id; the comma in y0 is a decimal point" in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image_id,x0,y0,x1\na,0,0,1\n", "has no column y1; it has image_id, x0, y0, x1"),
        ("", r"boxes\.csv: is empty"),
        ("image_id,x0,y0,x1,y1\na,0,0,1,1\na,0,0,2,2\n", "line 3: image_id a stands there twice"),
        ("image_id,x0,y0,x1,y1\na,0,0,one,1\n", "line 2: .* not all numbers"),
        ("image_id,x0,y0,x1,y1\na,0,0,1\n", r"1 rows have no y1; fill it in \(first: line 2\)"),
        ("image_id,x0,y0,x1,y1\na,0,0,nan,1\n", r"1 rows have no x1; fill it in \(first: line 2\)"),
        ("image_id,x0,y0,x1,y1\na,0,0,inf,1\n", "line 2: .* not all numbers"),
        ("image_id,x0,y0,x1,y1\na,5,0,5,1\n", "line 2: needs 0 ≤ x0 < x1"),
        ("image_id,x0,y0,x1,y1\na,-1,0,5,1\n", "line 2: needs 0 ≤ x0 < x1"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "boxes.csv").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_boxes(tmp_path / "boxes.csv")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.csv"):
        read_boxes(tmp_path / "nowhere.csv")

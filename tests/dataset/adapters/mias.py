"""MIAS as a folder: pairs of oblique films, and a list with a line an abnormality."""

from pathlib import Path

from tests.dataset.adapters.folders import write_film

LINES = """\
Films of nobody, as a release has them:

mdb001 G CIRC B 535 425 197
mdb002 G CIRC B 522 280 69
mdb003 D NORM
mdb004 D NORM
mdb005 F CIRC B 477 133 30
mdb005 F CIRC M 500 168 26
mdb006 F NORM
mdb216 D CALC M *NOTE 3*
"""


def write(root: Path, letters: bool = False) -> Path:
    """mini-MIAS, or with ``letters`` the original's names, which say side and size."""
    lines = LINES
    for number in (1, 2, 3, 4, 5, 6, 216):
        side = "l" if number % 2 else "r"
        stem = f"mdb{number:03}" + f"{side}m" * letters
        lines = lines.replace(f"mdb{number:03} ", f"{stem} ")
        write_film(root / "all-mias" / f"{stem}.pgm", number, side.upper())
    (root / "Info.txt").write_text(lines, encoding="utf-8")
    return root

"""What belongs together is closer than what does not, and every picture is on the sheet as it was given."""

from itertools import combinations

import numpy as np
import pytest

from rsna.pictures.sheet import Group, Tile, draw_sheet
from rsna.pictures.style import ALARM, PAPER, rgb

Place = tuple[int, int, int, int]


def tile(seed: int, *sizes: tuple[int, int], **said) -> Tile:
    generator = np.random.default_rng(seed)
    pictures = tuple(generator.integers(1, 255, size).astype(np.uint8) for size in sizes)
    return Tile(pictures, said.pop("caption", (f"image {seed}", "L CC")), **said)


def distance(one: Place, other: Place) -> float:
    """Between two boxes, 0 where they touch."""
    across = max(one[0] - other[2], other[0] - one[2], 0)
    down = max(one[1] - other[3], other[1] - one[3], 0)
    return float(np.hypot(across, down))


def exams() -> list[Group]:
    return [
        Group(f"patient {exam}", tuple(tile(10 * exam + n, (120, 90), (120, 60)) for n in range(count)))
        for exam, count in enumerate((2, 4, 1, 3))
    ]


def test_pictures_of_an_image_are_closer_than_images_of_an_exam_and_these_than_exams():
    places = iter(draw_sheet("sheet", exams(), 900).places)
    by_exam = [[next(places) for _ in group.tiles] for group in exams()]
    within_image = [distance(*pair) for exam in by_exam for pair in exam]
    neighbours = [
        min(distance(a, b) for a in one for b in other)
        for exam in by_exam
        for one, other in zip(exam, exam[1:], strict=False)
    ]
    between = [
        min(distance(a, b) for one in exam for other in beside for a in one for b in other)
        for exam, beside in combinations(by_exam, 2)
    ]
    assert 0 < max(within_image) < min(neighbours)
    assert max(neighbours) < min(between)


def test_every_picture_is_there_once_as_it_was_given():
    groups, places = exams(), draw_sheet("sheet", exams(), 900)
    tiles = [one for group in groups for one in group.tiles]
    assert len(places.places) == len(tiles)
    for one, where in zip(tiles, places.places, strict=True):
        for picture, (x0, y0, x1, y1) in zip(one.pictures, where, strict=True):
            assert np.array_equal(places.pixels[y0:y1, x0:x1, 0], picture)
    boxes = [box for where in places.places for box in where]
    assert all(distance(*pair) > 0 for pair in combinations(boxes, 2))


def test_an_exam_that_fits_in_a_row_is_not_torn():
    places = iter(draw_sheet("sheet", exams(), 900).places)
    for group in exams():
        tops = {next(places)[0][1] for _ in group.tiles}
        assert len(tops) == 1


@pytest.mark.parametrize("count", [1, 9])
def test_a_broad_group_goes_on_below_and_a_broad_tile_widens_the_sheet(count):
    sheet = draw_sheet("sheet", [Group("", tuple(tile(n, (50, 400)) for n in range(count)))], 300)
    assert sheet.pixels.shape[1] >= 400
    assert len({where[0][1] for where in sheet.places}) == count


def test_an_alarm_is_a_frame_that_covers_no_picture():
    plain, alarmed = tile(1, (80, 60), (80, 40)), tile(1, (80, 60), (80, 40), alarm="no breast found")
    sheet = draw_sheet("sheet", [Group("", (plain, alarmed))])
    framed = (sheet.pixels == rgb(ALARM)).all(axis=2)
    for one, where in zip((plain, alarmed), sheet.places, strict=True):
        x0, y0, x1, y1 = where[0][0], where[0][1], where[-1][2], where[-1][3]
        around = [framed[y0 - 2, x0:x1], framed[y1 + 1, x0:x1], framed[y0:y1, x0 - 2], framed[y0:y1, x1 + 1]]
        assert {line.all() for line in around} == {bool(one.alarm)}
        assert np.array_equal(sheet.pixels[y0:y1, x0 : x0 + 60, 0], one.pictures[0])


def test_all_around_pictures_and_words_is_paper():
    sheet = draw_sheet("a title", exams(), 900)
    paper = (sheet.pixels == rgb(PAPER)).all(axis=2)
    assert paper[:, :20].all()
    assert paper[:, -20:].all()
    for where in sheet.places:
        for x0, y0, x1, y1 in where:
            assert paper[y0 - 2 : y0, x0:x1].all()
            assert paper[y1 : y1 + 2, x0:x1].all()


def test_notes_are_written_in_two_lines_at_most():
    heights = []
    for notes in ("", "guessed", "guessed " * 4, "guessed " * 200):
        heights.append(draw_sheet("", [Group("", (tile(0, (80, 120), notes=notes),))]).pixels.shape[0])
    assert heights == [heights[0], heights[0] + 18, heights[0] + 36, heights[0] + 36]

"""A rectangle of an image's pixels."""

Box = tuple[int, int, int, int]
"""Pixel corners x0, y0, x1, y1: columns x0 ≤ x < x1 and rows y0 ≤ y < y1."""


def clipped(box: Box, size: tuple[int, ...]) -> Box:
    """The part of ``box`` that lies in an image of ``size`` (rows, columns).

    Raises:
        ValueError: None of it does.
    """
    x0, y0, x1, y1 = max(0, int(box[0])), max(0, int(box[1])), min(int(box[2]), size[1]), min(int(box[3]), size[0])
    if x0 >= x1 or y0 >= y1:
        raise ValueError(f"box {list(box)} (x0, y0, x1, y1) holds no pixel of {size[1]}×{size[0]} (width × height)")
    return x0, y0, x1, y1

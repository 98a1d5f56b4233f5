"""Options of `rsna models`. No torch here, so that the command line starts quickly."""

from dataclasses import dataclass
from typing import Literal

from rsna.settings import require


@dataclass(frozen=True)
class ModelsOptions:
    """What is listed, and how."""

    format: Literal["table", "json"] = "table"
    """table for people; json: a list of name, params, macs and input_size (rows, columns), at each one's own size."""
    size: tuple[int, int] = (1024, 512)
    """(rows, columns) of the configured input, pixels, for which the table counts multiply-adds as well."""

    def __post_init__(self) -> None:
        require(min(self.size) >= 32, f"size: {list(self.size)} is below 32 pixels")

"""Tables on disk, written whole or not at all."""

from pathlib import Path

import pandas as pd

from rsna.files import atomic_path


def write_frame(frame: pd.DataFrame, out: str | Path) -> None:
    """Writes a CSV, or Parquet where ``out`` says so by its name, whole or not at all."""
    with atomic_path(out) as temporary:
        if Path(out).suffix.lower() == ".parquet":
            frame.to_parquet(temporary, index=False)
        else:
            frame.to_csv(temporary, index=False)

"""What an audit found, and how it reads."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

ATTRIBUTES = {
    "modality": "modality",
    "presentation_intent": "presentation intent",
    "syntax": "transfer syntax",
    "machine": "machine",
    "size": "size, rows × columns",
    "bits_stored": "bits stored",
    "photometric": "photometric interpretation",
    "window_function": "window function",
    "windows": "windows to choose from",
    "view": "view",
    "laterality": "laterality",
}
"""Columns of the images that are counted, and what they are called."""

_VALUES_SHOWN = 12
_ISSUES_SHOWN = 5
"""What the text lists before it only counts."""


@dataclass(frozen=True)
class AuditReport:
    """What an audit found."""

    root: Path
    """The folder that was looked at."""
    folder: Path
    """Where audit.txt, images.csv, issues.csv and the sheets are."""
    images: pd.DataFrame
    """One row an image: the table's columns, path ("" where there is no file), `ATTRIBUTES`, header_patient_id,
    header_laterality, header_view, and in failure why the file cannot be read ("" where it can)."""
    issues: pd.DataFrame
    """kind, id, detail: unreadable files, equal pixels, contradictions, missing views."""
    sheets: list[Path]
    """Contact sheets, machine by machine."""

    @property
    def readable(self) -> pd.DataFrame:
        """The images whose file can be read."""
        return self.images[self.images["path"].ne("") & self.images["failure"].eq("")]

    def counts(self, attribute: str) -> pd.Series:
        """Readable images by value of one of `ATTRIBUTES`, the most frequent first; "" is shown as (not said)."""
        return self.readable[attribute].replace("", "(not said)").value_counts()

    def text(self) -> str:
        """The report for a person; ends with a line break."""
        lines = [f"{self.root}: {self._sums()}"]
        for attribute, title in ATTRIBUTES.items():
            lines += ["", title]
            counts = self.counts(attribute)
            lines += [f"  {count:>9,}  {value}" for value, count in counts.head(_VALUES_SHOWN).items()]
            if len(counts) > _VALUES_SHOWN:
                rest = counts.iloc[_VALUES_SHOWN:]
                lines.append(f"  {rest.sum():>9,}  {len(rest)} others")
        lines += ["", f"{len(self.issues):,} issues" if len(self.issues) else "nothing suspicious"]
        for kind, group in self.issues.groupby("kind", sort=False):
            lines.append(f"  {len(group):>9,}  {kind}")
            shown = group.head(_ISSUES_SHOWN)
            lines += [f"             {row.id}  {row.detail}".rstrip() for row in shown.itertuples()]
            if len(group) > len(shown):
                lines.append(f"             … {len(group) - len(shown):,} more in issues.csv")
        lines += ["", f"{self.folder}: images.csv, issues.csv" + (f", {len(self.sheets)} sheets" * bool(self.sheets))]
        return "\n".join(lines) + "\n"

    def _sums(self) -> str:
        images, breasts = self.images, self.images.groupby(["patient_id", "laterality"])
        sums = [f"{len(images):,} images", f"{images['patient_id'].nunique():,} patients", f"{len(breasts):,} breasts"]
        if "cancer" in images.columns:
            positive = breasts["cancer"].max().eq(1)
            sums.append(f"{int(positive.sum()):,} breasts with cancer ({positive.mean():.1%})")
        unreadable = int(images["failure"].ne("").sum())
        return ", ".join(sums) + f"; {unreadable:,} files cannot be read"

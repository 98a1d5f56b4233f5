"""EMBED, the Emory Breast Imaging Dataset, as it lies on AWS: screening exams by the rules of its own label notebook.

``tables/EMBED_OpenData_clinical.csv`` has a row a finding, ``tables/EMBED_OpenData_metadata.csv`` a row an image; both
also come reduced. An image has the findings of its patient, exam and side: a finding of side B, or of none, is of both
breasts. Diagnostic exams tell what became of a screening exam, and are not taken themselves.

Source: https://github.com/Emory-HITI/EMBED_Open_Data, resources/notebooks/screening_label_assignment.ipynb. It labels
exams; here each breast is labelled by its own findings, and followed up by its own later exams.
"""

from pathlib import Path

import pandas as pd

from rsna.config.data import Split
from rsna.dataset.adapters import Facts, Listing
from rsna.dataset.downloads import density_letter, find_images, find_table, paths_of, rowless, values_of
from rsna.dataset.exams import iso_dates, order_exams
from rsna.dataset.table import LabelUnit, read_rows, refuse_rows, require_columns

CLINICAL, METADATA = (
    tuple(f"EMBED_OpenData_{what}{reduced}.csv" for reduced in ("_reduced", "")) for what in ("clinical", "metadata")
)

LAYOUT = f"tables/{CLINICAL[1]} and {METADATA[1]} with images/cohort_<n>/<patient>/…/<UID>.dcm"

LABELS: dict[str, LabelUnit] = {"cancer": "breast"}

FACTS = Facts(
    title="EMBED Open Data",
    source="https://github.com/Emory-HITI/EMBED_Open_Data",
    images=480323,
    patients=22382,
    licence="Emory's Research Use Agreement: non-commercial research; no model trained on it may be released",
    release="no",
    unit="breast",
    cancer={
        "screening": "recalled, and path_severity 0 or 1 (invasive or not) in this exam or within 180 days",
        "interval": "likewise, or not recalled and path_severity 0 or 1 within a year",
    },
    default="screening",
    defects=(
        "a breast is negative only with follow-up: an exam one to four years later, or a recall that was cleared",
        "all others have no label; path_severity 5 and 6 are numbered differently by page and notebook, and have none",
        "findings of side B or of no side count for both breasts, and pathology for the side of bside",
        "C-views (a quarter of the images), spot and magnification views, diagnostic exams and men are left out",
        "dates are shifted by patient: they order exams and tell intervals, and are no dates",
    ),
)

_IDS = ("empi_anon", "acc_anon")
"""Of patient and exam, in both tables."""

_RECALL_DAYS, _INTERVAL_DAYS = 180, 365
_FOLLOWED = (_INTERVAL_DAYS + 1, _INTERVAL_DAYS + 1 + 3 * 365)
"""Days after an exam between which another one shows that it was negative."""


def matches(root: Path, split: Split) -> bool:
    """Whether both tables are there."""
    return split == "train" and bool(_table(root, CLINICAL) and _table(root, METADATA))


def read(root: Path, split: Split, cancer_from: str) -> Listing:
    """Merges both tables on patient, exam and side."""
    notes: list[str] = []
    source = _table(root, METADATA) or root / "tables" / METADATA[0]
    findings = _table(root, CLINICAL) or root / "tables" / CLINICAL[0]
    clinical = read_rows(findings, notes, (*_IDS, "study_date_anon", "desc"), ids=_IDS)
    breasts = _label(_breasts(clinical, findings), cancer_from)
    needed = (*_IDS, "anon_dicom_path", "FinalImageType", "ImageLateralityFinal")
    images = read_rows(source, notes, needed, ids=_IDS)
    require_columns(images, ("view",), source)
    images = images.assign(
        laterality=images["ImageLateralityFinal"],
        image_id=images["anon_dicom_path"].str.rpartition("/")[2].str.removesuffix(".dcm"),
        machine_id=_text(images, "Manufacturer") + " " + _text(images, "ManufacturerModelName"),
    )
    files = find_images(root, (".dcm",))
    names = files.by_name()
    notes += rowless(sorted(names.keys() - set(images["image_id"])), source)
    kinds = {
        "C-views or of another kind than 2D": images["FinalImageType"].str.strip().str.upper().ne("2D"),
        "spot or magnification views": ~_text(images, "spot_mag").isin(["", "0", "0.0"]),
    }
    for what, left in kinds.items():
        images = images.assign(left=left)
        notes.append(f"{int(images['left'].sum()):,} images are {what}, and left out")
        images = images[~images["left"]]
    merged = images.merge(breasts[breasts["screen"]], on=[*_IDS, "laterality"], how="inner")
    others = len(images) - len(merged)
    notes.append(f"{others:,} images are of diagnostic exams, of men or of none in the table, and left out")
    ids = merged[[*_IDS]].set_axis(["patient_id", "exam_id"], axis=1)
    kept = ["image_id", "laterality", "view", "machine_id", "cancer", "cancer_timing", "age", "density"]
    frame = merged[kept].assign(
        **ids,
        exam_number=order_exams(ids, merged["date"].dt.strftime("%Y-%m-%d")),
        path=paths_of(merged["image_id"], names),
    )
    unknown = int(frame["cancer"].isna().sum())
    notes.append(f"{unknown:,} images have no label: no follow-up, another pathology, or a cancer between screens")
    return Listing(frame, source, unreadable=files.unreadable, notes=tuple(notes))


def _table(root: Path, names: tuple[str, ...]) -> Path | None:
    return find_table(root / "tables", *names) or find_table(root, *names)


def _text(frame: pd.DataFrame, column: str) -> pd.Series:
    return frame[column].astype("string").fillna("") if column in frame.columns else pd.Series("", index=frame.index)


def _breasts(findings: pd.DataFrame, source: Path) -> pd.DataFrame:
    """A row a breast of an exam: when and what, how its findings were assessed, its worst pathology, age, density."""
    require_columns(findings, ("laterality", "bside", "asses", "path_severity"), source)
    exam, numbers = findings["acc_anon"], {f"{number}": number for number in range(7)}
    date = pd.to_datetime(iso_dates(findings["study_date_anon"]), format="%Y-%m-%d", errors="coerce")
    refuse_rows(date.isna(), exam, source, "rows have a study_date_anon other than 2014-01-31")
    severity = values_of(findings["path_severity"], numbers, exam, source)
    side, of = (_text(findings, c).str.strip().str.upper().str[:1] for c in ("laterality", "bside"))
    sides = side.where(side.isin(["L", "R"]), "LR").map(list)
    rows = findings.assign(laterality=sides, of=of, date=date, severity=severity).explode("laterality")
    # What an exam of both breasts says of one alone, it says of the other, too: nothing was found.
    both = rows["desc"].str.contains(r"\bbil", case=False)
    count = rows.groupby([*_IDS])["laterality"].transform("nunique")
    other = rows[both & count.eq(1)].drop_duplicates([*_IDS])
    contralateral = other["laterality"].map({"L": "R", "R": "L"})
    other = other.assign(laterality=contralateral, asses="N", severity=float("nan"))
    rows = pd.concat([rows, other], ignore_index=True)
    asses = _text(rows, "asses").str.strip().str.upper()
    elsewhere = rows["of"].isin(["L", "R"]) & rows["of"].ne(rows["laterality"])
    density = pd.to_numeric(rows["tissueden"], errors="coerce") if "tissueden" in rows.columns else float("nan")
    rows = rows.assign(
        screen=rows["desc"].str.contains("screen", case=False),
        recalled=asses.eq("A"),
        negative=asses.isin(["N", "B"]),
        cleared=asses.isin(["N", "B", "P"]),
        severity=rows["severity"].mask(elsewhere),
        tissueden=density,
        age=pd.to_numeric(rows["age_at_study"], errors="coerce") if "age_at_study" in rows.columns else float("nan"),
    )
    breasts = rows.groupby([*_IDS, "laterality"], as_index=False).agg(
        date=("date", "min"), screen=("screen", "any"), recalled=("recalled", "any"), negative=("negative", "all"),
        cleared=("cleared", "all"), severity=("severity", "min"), tissueden=("tissueden", "max"), age=("age", "max"),
    )  # fmt: skip
    return breasts[breasts["tissueden"].ne(5)].assign(density=density_letter(breasts["tissueden"]))


def _label(breasts: pd.DataFrame, cancer_from: str) -> pd.DataFrame:
    """Adds cancer and cancer_timing of screening exams, from what became of the breast."""
    # A negative exam to which a pathology was added was recalled later.
    recalled = breasts["recalled"] | breasts["severity"].notna()
    breasts = breasts.assign(recalled=recalled, place=range(len(breasts)))
    key = ["empi_anon", "laterality"]
    pairs = breasts[breasts["screen"]].merge(breasts, on=key, suffixes=("", "_then"))
    days = (pairs["date_then"] - pairs["date"]).dt.days
    same = pairs["place"].eq(pairs["place_then"])
    soon = days.between(0, pairs["recalled"].map({True: _RECALL_DAYS, False: _INTERVAL_DAYS})) & ~pairs["screen_then"]
    pairs = pairs.assign(
        worst=pairs["severity_then"].where(same | soon),
        was_cleared=soon & pairs["cleared_then"],
        followed=days.between(*_FOLLOWED),
    )
    of_breast = pairs.groupby("place")
    found = of_breast.agg(worst=("worst", "min"), was_cleared=("was_cleared", "any"), followed=("followed", "any"))
    breasts = breasts.set_index("place").join(found)
    recalled, worst = breasts["recalled"], breasts["worst"]
    malignant, benign = worst.le(1), worst.between(2, 4)
    none = worst.isna()
    negative = recalled & (benign | none & breasts["was_cleared"].eq(True))
    negative |= ~recalled & breasts["negative"] & (none | benign) & breasts["followed"].eq(True)
    counted = malignant & (recalled | (cancer_from == "interval"))
    timing = pd.Series("", index=breasts.index).mask(malignant, "interval")
    timing = timing.mask(malignant & recalled, "screen-detected")
    cancer = pd.Series(float("nan"), index=breasts.index).mask(negative, 0.0).mask(counted, 1.0)
    return breasts.assign(cancer=cancer, cancer_timing=timing)

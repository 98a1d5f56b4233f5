"""VinDr-Mammo as PhysioNet publishes it: four views of each of 5,000 exams, labelled by readers.

``images/<study_id>/<image_id>.dicom`` and ``breast-level_annotations.csv``, a row an image. An image stands in several
rows of ``finding_annotations.csv``, which labels do not need: the breast's BI-RADS is in the other table.
"""

from pathlib import Path

from rsna.config.data import Split
from rsna.dataset.adapters import Facts, Listing
from rsna.dataset.downloads import (
    birads_cancer,
    birads_category,
    density_letter,
    find_images,
    paths_of,
    read_headers,
    rowless,
)
from rsna.dataset.table import LabelUnit, read_rows, refuse_rows, require_columns

TABLE = "breast-level_annotations.csv"

LAYOUT = f"{TABLE} with images/<study_id>/<image_id>.dicom"

LABELS: dict[str, LabelUnit] = {"cancer": "breast"}

FACTS = Facts(
    title="VinDr-Mammo",
    source="https://physionet.org/content/vindr-mammo/",
    images=20000,
    patients=None,
    licence="PhysioNet Restricted Health Data License 1.5.0, signed: research, no sharing of the data",
    release="ask",
    unit="breast",
    cancer={
        "birads45": "BI-RADS 4 or 5 of the breast, by two readers and an arbiter",
        "birads5": "BI-RADS 5 of the breast, by two readers and an arbiter",
    },
    defects=(
        "no pathology and no follow-up: BI-RADS is what readers suspected",
        "no patient ids: an exam counts as a patient, so that two exams of one woman may be in two folds",
        "the age stands in the headers alone, and is missing in many; machine and age are read from them",
        "an image stands in several rows of finding_annotations.csv; breast-level_annotations.csv is the table",
    ),
)


def matches(root: Path, split: Split) -> bool:
    """Whether the table of breasts is there."""
    return split == "train" and (root / TABLE).is_file()


def read(root: Path, split: Split, cancer_from: str) -> Listing:
    """Reads the table of breasts, and age and machine of the headers."""
    notes: list[str] = []
    table = read_rows(root / TABLE, notes, ("exam_id", "image_id", "laterality"))  # study_id is read as exam_id
    require_columns(table, ("view", "breast_birads", "breast_density", "split"), root / TABLE)
    files = find_images(root / "images")
    path = paths_of(table["image_id"], files.by_name())
    notes += rowless(files.besides(path), root / TABLE)
    headers, unreadable = read_headers(path[path.ne("")])
    birads = birads_category(table["breast_birads"])
    strange = table["breast_birads"].notna() & birads.isna()
    refuse_rows(strange, table["image_id"], root / TABLE, "rows have a breast_birads that is no category of BI-RADS")
    frame = table[["exam_id", "image_id", "laterality"]].assign(
        patient_id=table["exam_id"],
        view=table["view"],
        path=path,
        cancer=birads_cancer(birads, cancer_from),
        breast_birads=birads,
        density=density_letter(table["breast_density"]),
        age=path.map(headers["age"]),
        machine_id=path.map(headers["machine_id"]),
        split=table["split"].replace("training", "train"),
    )
    return Listing(frame, root / TABLE, unreadable=(*files.unreadable, *unreadable), notes=tuple(notes))

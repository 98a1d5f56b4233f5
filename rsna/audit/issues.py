"""Where a set contradicts itself: rules over a frame of images, each of which yields (kind, id, detail)."""

from collections.abc import Iterator

import pandas as pd

from rsna.dataset.table import LABELS

Issue = tuple[str, str, str]
"""(kind, id of the image, breast or patient, detail)."""

_STANDARD_VIEWS = tuple(f"{side} {view}" for side in "LR" for view in ("CC", "MLO"))
"""The four images of a screening examination."""

_CONTRADICTIONS = (
    ("cancer without a biopsy", {"cancer": 1, "biopsy": 0}),
    ("invasive without cancer", {"invasive": 1, "cancer": 0}),
    ("difficult negative case with cancer", {"difficult_negative_case": 1, "cancer": 1}),
)
"""Values of two labels that no image can have at once."""


def find_contradictions(images: pd.DataFrame) -> Iterator[Issue]:
    """Applies every rule.

    Args:
        images: One row an image: image_id, patient_id, laterality, view, path (text, "" for missing), the labels
            (0, 1, NaN, and whatever else stands there) where the set has them, header_patient_id,
            header_laterality and header_view ("" where the header does not say), in_table where there is a table.
    """
    for image_id, count in images["image_id"].value_counts(sort=False).items():
        if count > 1:
            yield "image_id in several rows", str(image_id), f"{count} rows"

    for row in images[images["path"].eq("")].itertuples():
        yield "row without a file", str(row.image_id), f"patient {row.patient_id}"
    if "in_table" in images.columns:
        for row in images[~images["in_table"]].itertuples():
            yield "file without a row", str(row.image_id), str(row.path)

    for label in [label for label in LABELS if label in images.columns]:
        for image_id in images.loc[images[label].notna() & ~images[label].isin([0, 1]), "image_id"]:
            yield "label outside {0, 1}", str(image_id), label
    for kind, values in _CONTRADICTIONS:
        if set(values) <= set(images.columns):
            for row in images[(images[list(values)] == pd.Series(values)).all(axis=1)].itertuples():
                yield kind, str(row.image_id), f"patient {row.patient_id}, {row.laterality}"
    if "cancer" in images.columns:
        labelled = images[images["cancer"].isin([0, 1])]
        labels = labelled.groupby(labelled["patient_id"] + "_" + labelled["laterality"])["cancer"].nunique()
        for breast in labels.index[labels > 1]:
            yield "breast with two cancer labels", str(breast), ""

    for what, column in (("laterality", "laterality"), ("view", "view"), ("patient", "patient_id")):
        table, header = images[column], images[f"header_{column}"]
        differs = table.ne("") & header.ne("") & table.ne(header)
        for image_id, ours, theirs in zip(images["image_id"][differs], table[differs], header[differs], strict=True):
            yield f"{what} differs from the header", str(image_id), f"table {ours}, header {theirs}"

    # A set in which no image says its view would have every patient listed.
    if images["view"].ne("").any():
        have = (images["laterality"] + " " + images["view"]).groupby(images["patient_id"]).agg(set)
        for patient, views in have.items():
            if missing := [view for view in _STANDARD_VIEWS if view not in views]:
                yield "patient without the four standard views", str(patient), f"missing {', '.join(missing)}"

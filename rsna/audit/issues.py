"""Where a set contradicts itself: rules over a frame of images, each of which yields (kind, id, detail)."""

from collections.abc import Callable, Iterator

import pandas as pd

from rsna.dataset.table import LABELS

Issue = tuple[str, str, str]
"""(kind, id of the image, breast or patient, detail)."""

STANDARD_VIEWS = tuple(f"{side} {view}" for side in "LR" for view in ("CC", "MLO"))
"""The four images of a screening examination."""


def find_contradictions(images: pd.DataFrame) -> list[Issue]:
    """Applies every rule.

    Args:
        images: One row an image: image_id, patient_id, laterality, view, path (text, "" for missing), the labels
            (float: 0, 1, NaN, and -1 for anything else) where the set has them, header_patient_id,
            header_laterality and header_view ("" where the header does not say).
    """
    rules: tuple[Callable[[pd.DataFrame], Iterator[Issue]], ...] = (
        _repeated,
        _files_and_rows,
        _labels,
        _breasts,
        _headers,
        _views,
    )
    return [issue for rule in rules for issue in rule(images)]


def _repeated(images: pd.DataFrame) -> Iterator[Issue]:
    for image_id, count in images["image_id"].value_counts(sort=False).items():
        if count > 1:
            yield "image_id in several rows", str(image_id), f"{count} rows"


def _files_and_rows(images: pd.DataFrame) -> Iterator[Issue]:
    for row in images[images["path"].eq("")].itertuples():
        yield "row without a file", str(row.image_id), f"patient {row.patient_id}"
    if "in_table" in images.columns:
        for row in images[~images["in_table"]].itertuples():
            yield "file without a row", str(row.image_id), str(row.path)


def _labels(images: pd.DataFrame) -> Iterator[Issue]:
    given = [label for label in LABELS if label in images.columns]
    for label in given:
        for image_id in images["image_id"][images[label].eq(-1)]:
            yield "label outside {0, 1}", str(image_id), label
    for kind, label, value, other, contradicted in (
        ("cancer without a biopsy", "cancer", 1, "biopsy", 0),
        ("invasive without cancer", "invasive", 1, "cancer", 0),
        ("difficult negative case with cancer", "difficult_negative_case", 1, "cancer", 1),
    ):
        if label in given and other in given:
            both = images[label].eq(value) & images[other].eq(contradicted)
            for row in images[both].itertuples():
                yield kind, str(row.image_id), f"patient {row.patient_id}, {row.laterality}"


def _breasts(images: pd.DataFrame) -> Iterator[Issue]:
    if "cancer" not in images.columns:
        return
    labelled = images[images["cancer"].isin([0, 1])]
    labels = labelled.groupby(labelled["patient_id"] + "_" + labelled["laterality"])["cancer"].nunique()
    for breast in labels.index[labels > 1]:
        yield "breast with two cancer labels", str(breast), ""


def _headers(images: pd.DataFrame) -> Iterator[Issue]:
    for kind, column in (
        ("laterality differs from the header", "laterality"),
        ("view differs from the header", "view"),
        ("patient differs from the header", "patient_id"),
    ):
        table, header = images[column], images[f"header_{column}"]
        for row in images[table.ne("") & header.ne("") & table.ne(header)].to_dict("records"):
            yield kind, str(row["image_id"]), f"table {row[column]}, header {row[f'header_{column}']}"


def _views(images: pd.DataFrame) -> Iterator[Issue]:
    if images["view"].eq("").all():
        return  # the set does not say
    have = (images["laterality"] + " " + images["view"]).groupby(images["patient_id"]).agg(set)
    for patient, views in have.items():
        missing = [view for view in STANDARD_VIEWS if view not in views]
        if missing:
            yield "patient without the four standard views", str(patient), f"missing {', '.join(missing)}"

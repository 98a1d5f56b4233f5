"""The options of the verbs that make tables, and list the public sets that they make them of."""

from typing import Literal

from rsna.config.keys import OneOrSeveral
from rsna.config.settings import require, settings


@settings
class TableOptions:
    input: str
    """Folder of DICOM files, of any depth, or of a public set as it is published; links are followed, what is hidden is
    passed over."""
    out: str = ""
    """CSV to write, never over one that is there; empty is <input>/train.csv, where training looks for it (mirai.csv).
    Outside of the input it names the images by their whole paths. What is not in it is listed in <out>_left_out.csv."""
    dataset: str = ""
    """Public set, by a name that `rsna datasets` lists; found by its files where empty, none reads headers alone."""
    cancer_from: str = ""
    """What counts as cancer in a public set, by a name of the same list; the set's own where empty."""
    labels: str = ""
    """Table with labels, joined on image_id, or patient_id (with exam and laterality where it has them), or exam_id;
    fills in what headers lack."""
    format: Literal["table", "mirai"] = "table"
    """This project's train.csv, or, of a folder that has one or is a public set, the CSV that Mirai reads."""

    def __post_init__(self) -> None:
        named = self.dataset not in ("", "none")
        own = not self.labels or not (named or self.cancer_from or self.format == "mirai")
        require(own, "labels: go with headers alone, not with dataset, cancer_from or format=mirai")
        table = self.format == "table" or self.dataset != "none"
        require(table, "dataset=none: headers alone have no labels, which format=mirai needs; write the table first")


@settings
class DatasetsOptions:
    name: OneOrSeveral = ()
    """Sets of which everything is said, one or several; a line of each where empty."""

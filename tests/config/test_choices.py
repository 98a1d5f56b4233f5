"""What may be typed is there: a choice that is allowed and that nothing stands behind would fail after hours."""

from typing import get_args

import pandas as pd
import pytest

from rsna.config.data import Aggregate, TargetName
from rsna.config.model import FusionSettings, ModelSettings, TableInputName
from rsna.config.schema import Config
from rsna.config.settings import fields_of
from rsna.config.training import SamplerSettings
from rsna.dataset.table_inputs import header_values
from rsna.dataset.targets import TARGETS
from rsna.dicom import open_mammogram
from rsna.evaluation.breasts import to_breasts
from rsna.evaluation.metrics import METRICS
from rsna.model.fusion import FUSIONS
from rsna.model.pooling import POOLINGS
from rsna.runs.run_directory import FREE
from rsna.training.data.batch import SPREAD
from rsna.training.run import OBJECTIVES
from rsna.training.tracking import TRACKERS
from tests.dicom_files import breast, dicom_bytes


def choices(cls, key):
    return get_args(fields_of(cls)[key].annotation)


@pytest.mark.parametrize(
    ("allowed", "there"),
    [
        (choices(ModelSettings, "pooling"), POOLINGS),
        (choices(FusionSettings, "kind"), FUSIONS),
        (get_args(TargetName), TARGETS),
        (choices(SamplerSettings, "spread"), {"none", *SPREAD}),
        (choices(Config, "objective"), OBJECTIVES),
        (choices(Config, "tracking"), {"none", *TRACKERS}),
    ],
    ids=["model.pooling", "fusion.kind", "targets", "sampler.spread", "objective", "tracking"],
)
def test_what_is_allowed_is_what_there_is(allowed, there):
    assert {*allowed} == {*there}


def test_objectives_are_metrics():
    assert {*OBJECTIVES.values()} <= {*METRICS}


def test_a_header_says_every_table_input_but_the_site():
    said = header_values(open_mammogram(dicom_bytes(breast(20, 30))).tags)
    assert {*said} == {*get_args(TableInputName)} - {"site_id"}


@pytest.mark.parametrize("key", ["targets", "table_inputs"])
def test_lines_of_help_name_every_choice(key):
    names = get_args(TargetName if key == "targets" else TableInputName)
    assert all(name in fields_of(Config)[key].description for name in names)


@pytest.mark.parametrize("key", FREE)
def test_keys_that_a_run_is_not_bound_to_are_keys(key):
    cls = Config
    for part in key.split("."):
        assert part in fields_of(cls), f"FREE in rsna/runs/run_directory.py names {key}, which is no key"
        cls = fields_of(cls)[part].annotation


def test_breasts_are_made_of_images_in_every_way_that_is_allowed():
    rows = {
        "prediction_id": ["a_L"] * 3, "patient_id": ["a"] * 3, "image_id": [*"123"], "cancer": [1] * 3,
        "probability": [0.1, 0.2, 0.6], "fold": [0] * 3,
    }  # fmt: skip
    found = {how: float(to_breasts(pd.DataFrame(rows), how)["probability"].iloc[0]) for how in get_args(Aggregate)}
    assert len({round(value, 9) for value in found.values()}) == len(get_args(Aggregate))

"""The method tells every key that makes the network another: one that is added to the configuration is missed here."""

from dataclasses import replace
from typing import Any, get_args

import pytest

from rsna.config.schema import Config
from rsna.config.settings import allowed, fields_of, flatten, from_mapping, to_mapping
from rsna.paper.blocks import to_markdown
from rsna.paper.method import method
from rsna.paper.subject import Subject
from rsna.runs.run import open_run
from tests.board.runs import drawn, write_run

GROUPS = ("preprocess", "model", "fusion", "augment", "sampler", "loss", "optim")
UNTOLD = {
    "preprocess.boxes": "a file of whoever trained it",
    "preprocess.full_resolution": "the same picture, from more work",
    "model.gradient_checkpointing": "memory, no weight",
}
"""Keys that the method need not tell → why."""
EVERYTHING = {
    "preprocess": {"value_range": [0, 9], "crop": "breast"},
    "model": {"crop": 32, "resize": 40, "drop_path_rate": 0.1, "pretrained": False, "weights": "x.pth"},
    "fusion": {"kind": "transformer", "width": 8},
    "augment": dict.fromkeys(("vertical_flip", "noise", "blur", "cutout"), 0.5) | {"crop": 32},
    "sampler": {"kind": "balanced"},
    "loss": {"image_weight": 1.0},
    "optim": {"scale_lr": "linear"},
}
"""Where every key acts, but for those that exclude each other."""
OTHERS = {
    "sampler.repeats": {"sampler": {"kind": "repeated"}},
    "augment.mixup": {"fusion": {"kind": "mean"}},
    "model.pretrained": {"model": {"weights": ""}},
    "fusion.kind": {"augment": {"mixup": 0.0}},
}
"""Key → what is otherwise where it acts."""
VALUES = {
    "preprocess.size": [32, 64], "preprocess.window": 1, "preprocess.value_range": [1, 8], "model.backbone": "resnet18",
    "model.weights": "y.pth", "augment.crop_area": [0.1, 0.9], "augment.crop_aspect": [0.5, 2.0], "augment.crop": 48,
    "fusion.width": 16, "fusion.heads": 2, "optim.scale_lr": "none",
}  # fmt: skip
"""Key → another value, where its type alone gives none."""


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    run = open_run(write_run(tmp_path_factory.mktemp("method") / "run", drawn(40)))
    record = run.record.model_copy(update={"targets": ("cancer", "biopsy")})
    return Subject.of_run(replace(run, record=record), resamples=0)


def keys():
    return [f"{group}.{name}" for group in GROUPS for name in fields_of(fields_of(Config)[group].annotation)]


def config_of(key: str, **changed: Any) -> Config:
    """Everything, with what a key needs, and its values of other keys changed."""
    group, _, name = key.partition(".")
    values = {one: dict(known) for one, known in EVERYTHING.items()}
    for one, more in OTHERS.get(key, {}).items():
        values[one] |= more
    values[group] |= {name: changed["value"]} if changed else {}
    return from_mapping(Config, {"unit": "breast", "batch_size_per_device": 4, "global_batch_size": 8, **values})


def another(key: str, now: Any) -> Any:
    """A value that a key may have beside the one it has."""
    group, _, name = key.partition(".")
    field = fields_of(fields_of(Config)[group].annotation)[name]
    if key in VALUES:
        return VALUES[key]
    options = [option for option in get_args(field.annotation) if isinstance(option, (str, int)) and option != now]
    if options or isinstance(now, bool):
        return options[0] if options else not now
    assert isinstance(now, (int, float)), f"{key}: name another value of {allowed(field)} in VALUES"
    return now + 1 if isinstance(now, int) else now * 0.9 if now else 0.25


@pytest.mark.parametrize("key", [key for key in keys() if key not in UNTOLD])
def test_a_key_that_makes_another_network_is_told(subject, key):
    def told(config: Config) -> str:
        return to_markdown("", [method(replace(subject, runs=(replace(subject.run, config=config),)))])

    before = config_of(key)
    value = another(key, flatten(to_mapping(before))[key])
    assert told(config_of(key, value=value)) != told(before), (
        f"{key}={value} changes nothing in the method that report and model card tell: tell it in rsna/paper/method.py"
    )


def test_what_is_untold_is_there():
    assert set(UNTOLD) < set(keys())
    assert {*OTHERS, *VALUES} < set(keys())

"""What a fold trains and validates on, as batches of prepared images and labels, resumable at any batch."""

import hashlib
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.queues import Queue
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from rsna.config.schema import Config
from rsna.config.settings import ConfigError
from rsna.config.training import AugmentSettings, SamplerSettings
from rsna.dataset.examples import Examples, ExampleSpec, examples_of
from rsna.dataset.folds import name_parts
from rsna.dataset.table import TableError
from rsna.dataset.table_inputs import read_inputs
from rsna.dataset.targets import Target
from rsna.files import first_few
from rsna.prepare.equal import equal_pixels
from rsna.prepare.packs.prepared import PreparedImages
from rsna.training.data.augment import Augmentation
from rsna.training.data.batch import SPREAD, BatchPlan
from rsna.training.data.sampler import Draw, EpochSampler, ShardSampler, example_generator, image_seed, make_order
from rsna.training.experiment import Experiment

Batch = dict[str, Tensor]
"""B examples of N images: ``images`` (N, 1, H, W) uint8 or float32 in [0, 1]; ``example`` (N,) int64, the number from
0 to B - 1 of the example that each image belongs to, ascending; ``table`` (N, inputs) float32, see
:func:`rsna.dataset.table_inputs.read_inputs`; ``other`` (N,) bool, images of the exam's other breast; ``labels``
(B, targets) float32, NaN where missing; ``weight`` (B,) float32, of each in the loss; ``index`` (B,) int64, the place
of each example in the fold's :class:`rsna.dataset.examples.Examples`."""

_AT_ONCE = 1 << 16
"""image_ids that are hashed in one go."""


@dataclass(frozen=True)
class FoldData:
    """Examples, prepared images and targets of a fold."""

    training: Examples
    """Those of the other folds, and of sets that are only trained on."""
    validation: Examples
    """Those of this fold."""
    prepared: PreparedImages
    """Those of both, and where they are read from."""
    targets: tuple[Target, ...]
    """In the order of the network's outputs."""
    spec: ExampleSpec = field(default_factory=ExampleSpec)
    """What its examples are."""
    notes: tuple[str, ...] = ()
    """Lines on patients who stand in two sets, or may."""


def fold_data(experiment: Experiment, fold: int, images: PreparedImages) -> FoldData:
    """Splits the table of an experiment; images that could not be prepared are on neither side.

    Raises:
        TableError: A side of the fold is empty.
    """
    table, folds, spec = experiment.table, experiment.folds, experiment.spec
    prepared = set(images)
    frame = table.frame[table.frame["image_id"].isin(prepared)]
    is_valid = frame["image_id"].isin(folds.loc[folds["fold"] == fold, "image_id"])
    training, validation = [frame[~is_valid]], frame[is_valid]
    notes: list[str] = []
    if table.extra is not None:
        extra = table.extra[table.extra["image_id"].isin(prepared)]
        # The same patient may stand in two sets; it must not be learnt from while it is validated on.
        same = extra["patient_id"].isin(validation["patient_id"])
        training.append(extra[~same])
        if same.any():
            twins = extra.loc[same, "patient_id"].nunique()
            notes.append(
                f"fold {fold}: {twins:,} patients of data.extra have numbers that stand in the validation, too, and "
                f"are not trained on here ({int(same.sum()):,} images). Rename them if they are other people"
            )
    if "source_set" in frame:
        training = _without_twins(training, validation, images, fold, notes)
    examples = examples_of(spec.unit, *training, compare=spec.compare)
    if not len(examples) or validation.empty:
        raise TableError(f"fold {fold}: {len(examples.images)} images to train on and {len(validation)} to validate on")
    validated = examples_of(spec.unit, validation, compare=spec.compare)
    return FoldData(examples, validated, images, experiment.targets, spec, tuple(notes))


def _without_twins(
    training: Sequence[pd.DataFrame], validation: pd.DataFrame, images: PreparedImages, fold: int, notes: list[str]
) -> list[pd.DataFrame]:
    """Training images without those of patients of another set one of whose images is also in the validation."""
    both = pd.concat([*training, validation], ignore_index=True)
    pixels = both["image_id"].map(equal_pixels(images, tuple(sorted(both["image_id"]))))
    validated = set(pixels.iloc[len(both) - len(validation) :].dropna())
    trained = both.iloc[: len(both) - len(validation)]
    twins = trained.loc[pixels.iloc[: len(trained)].isin(validated), ["source_set", "patient_id"]]
    if twins.empty:
        return list(training)
    names = set(twins["source_set"] + "\0" + twins["patient_id"])
    notes.append(
        f"fold {fold}: {len(names):,} patients stand in the validation, too, by equal pixels, and are not trained on "
        f"here (first: {first_few(sorted(name.replace(chr(0), ' ') for name in names), 3)})"
    )
    return [rows[~(rows["source_set"] + "\0" + rows["patient_id"]).isin(names)] for rows in training]


class ExampleDataset(Dataset[Batch]):
    """Examples, their images read from cache or pack and, for training, drawn and augmented."""

    def __init__(
        self, examples: Examples, data: FoldData, augment: AugmentSettings | None, unknown_rate: float
    ) -> None:
        """Takes one side of ``data``; without ``augment`` every image of it is given, as it is."""
        self.examples, self.prepared, self.spec = examples, data.prepared, data.spec
        self.labels = torch.from_numpy(examples.labels(data.targets))  # (n, targets)
        self.table = read_inputs(data.spec.inputs, examples.images)  # (images, inputs)
        self.unknown_rate = unknown_rate
        self.weights = torch.from_numpy(_loss_weights(examples))  # (n,)
        # Text in one piece: as objects, of 10^7 images each loader would soon have a copy of its own.
        self.image_ids = pa.array(examples.images["image_id"], pa.large_string())
        self.augmentation = Augmentation(augment) if augment else None

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, draw: Draw) -> Batch:
        """One example: ``images`` (k, 1, H, W), ``table`` (k, inputs), ``other`` (k,), ``labels`` (targets,),
        ``weight`` and ``index`` ()."""
        own, others = self.examples.rows[draw.index], self.examples.others[draw.index]
        generator = example_generator(draw)
        if self.augmentation:
            own, others = (_drawn(rows, self.spec.fusion.max_images, generator) for rows in (own, others))
        rows = np.concatenate([own, others])
        table = self.table[rows]  # (k, inputs)
        if self.augmentation:
            # Of all images of an example alike, as a form that was not filled in is.
            table[:, generator.random(table.shape[1]) < self.unknown_rate] = np.nan
        images = []
        for place, row in enumerate(rows.tolist()):
            image = as_grey(self.prepared.read(self.image_ids[row].as_py()))  # (H, W)
            if self.augmentation:
                image = self.augmentation(image, image_seed(draw, place))
            images.append(image)
        return {
            "images": torch.from_numpy(np.stack(images))[:, None],
            "table": torch.from_numpy(table),
            "other": torch.arange(len(rows)) >= len(own),
            "labels": self.labels[draw.index],
            "weight": self.weights[draw.index],
            "index": torch.tensor(draw.index),
        }


def _loss_weights(examples: Examples) -> npt.NDArray[np.float32]:
    """(n,) what each example weighs in the loss: 1, or what data.extra_weights says of its set."""
    if "loss_weight" not in examples.table:
        return np.ones(len(examples), dtype=np.float32)
    return examples.table["loss_weight"].fillna(1.0).to_numpy(np.float32)


def _listed(dataset: ExampleDataset) -> str:
    """Hash over the images of every example, in their order, by whose numbers the sampler draws."""
    hashed = hashlib.sha256()
    for start in range(0, len(dataset.image_ids), _AT_ONCE):
        hashed.update("\0".join([*dataset.image_ids[start : start + _AT_ONCE].to_pylist(), ""]).encode())
    rows = dataset.examples.rows
    for part in (rows.values, rows.starts):
        hashed.update(np.ascontiguousarray(part, np.int64).data)
    return hashed.hexdigest()[:12]


def kinds_of(examples: Examples, settings: SamplerSettings) -> npt.NDArray[np.int64] | None:
    """(n,) the number of each example's value of the column that is spread over batches; None where none is."""
    column = SPREAD.get(settings.spread)
    return None if column is None else pd.factorize(name_parts(examples.table[column]))[0].astype(np.int64)


def _drawn(rows: npt.NDArray[np.int64], most: int, generator: np.random.Generator) -> npt.NDArray[np.int64]:
    """At most ``most`` of the rows, in their order."""
    return rows if len(rows) <= most else np.sort(generator.choice(rows, most, replace=False))


def collate(items: Sequence[Batch]) -> Batch:
    """Examples as the dataset gives them → one batch."""
    counts = torch.tensor([len(item["images"]) for item in items])
    return {
        "images": torch.cat([item["images"] for item in items]),
        "example": torch.repeat_interleave(torch.arange(len(items)), counts),
        "table": torch.cat([item["table"] for item in items]),
        "other": torch.cat([item["other"] for item in items]),
        "labels": torch.stack([item["labels"] for item in items]),
        "weight": torch.stack([item["weight"] for item in items]),
        "index": torch.stack([item["index"] for item in items]),
    }


def as_grey(image: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """uint8 as it is, a quarter of the bytes; uint16 → float32 in [0, 1], which augmentation and torch know."""
    return image if image.dtype == np.uint8 else image.astype(np.float32) / 65535.0


class MammogramData(LightningDataModule):
    """Training and validation batches of one fold on one rank."""

    def __init__(
        self, config: Config, data: FoldData, plan: BatchPlan, rank: int = 0, workers: int = 0, pin_memory: bool = False
    ) -> None:
        super().__init__()
        _use_one_thread()
        self.training = ExampleDataset(data.training, data, config.augment, config.unknown_rate)
        self.validation = ExampleDataset(data.validation, data, None, 0.0)
        self.workers, self.pin_memory = workers, pin_memory
        self.listed = _listed(self.training)
        kinds = kinds_of(data.training, config.sampler)
        order = make_order(data.training.positive, config.sampler, config.seed, plan, kinds)
        self.sampler = EpochSampler(order, plan, config.seed, rank)
        # Without gradients twice as many fit.
        self.shard = ShardSampler(len(self.validation), plan.per_device * 2, rank, plan.devices)

    def train_dataloader(self) -> DataLoader[Batch]:
        return self._loader(self.training, self.sampler)

    def val_dataloader(self) -> DataLoader[Batch]:
        return self._loader(self.validation, self.shard)

    def state_dict(self) -> dict[str, Any]:
        """What has been trained on: epoch, micro-batches of it, whether that is all, how a step was made up, and of
        which examples.
        """
        sampler = self.sampler
        done = {"position": sampler.position, "whole": sampler.position >= len(sampler)}
        return {"epoch": sampler.epoch, "plan": str(sampler.plan), "listed": self.listed} | done

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on where a checkpoint was saved.

        Raises:
            ConfigError: It lies within an epoch, and steps are made up otherwise now, or of other examples.
        """
        if state_dict["whole"]:
            self.sampler.resume(state_dict["epoch"] + 1, 0)
            return
        before, now = state_dict["plan"], str(self.sampler.plan)
        if before != now:
            raise ConfigError(
                f"trainer.devices: the checkpoint lies within an epoch of {before}, and now it is {now}; go on with "
                "the same trainer.devices and batch_size_per_device until the epoch's end"
            )
        if state_dict.get("listed", self.listed) != self.listed:  # those of earlier versions do not say it
            raise ConfigError(
                "data.root: the checkpoint lies within an epoch of other images, or of these in another order, so that "
                "some would come twice and others not at all: a table was sorted anew, data.extra names its sets in "
                "another order, or another number of images could be prepared. Bring that back until the epoch's end, "
                "or remove the fold's checkpoints, and it is trained from its start"
            )
        self.sampler.resume(state_dict["epoch"], state_dict["position"])

    def _loader(self, dataset: ExampleDataset, sampler: Any) -> DataLoader[Batch]:
        return DataLoader(
            dataset,
            batch_sampler=sampler,
            num_workers=self.workers,
            collate_fn=collate,
            pin_memory=self.pin_memory,
            persistent_workers=self.workers > 0,
            worker_init_fn=_start_loader,
        )


def _start_loader(worker: int) -> None:
    """Where /dev/shm is full, a thread of this process prints so, loses the batch, and training waits for ever: no."""
    for number in (signal.SIGUSR1, signal.SIGUSR2):  # which a cluster may send to every process of a job
        signal.signal(number, signal.SIG_IGN)
    _use_one_thread()
    Queue._on_queue_feeder_error = staticmethod(lambda error, batch: os._exit(1))  # type: ignore[attr-defined]


def _use_one_thread() -> None:
    """OpenCV's threads would stand in the way of the loaders beside this one, or of the network."""
    cv2.setNumThreads(0)

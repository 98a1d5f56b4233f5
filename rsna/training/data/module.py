"""What a fold trains and validates on, as batches of prepared images and labels, resumable at any batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from rsna.config.schema import Config
from rsna.config.settings import ConfigError
from rsna.config.training import AugmentSettings
from rsna.dataset.examples import Examples, examples_of
from rsna.dataset.table import TableError
from rsna.dataset.targets import Target
from rsna.prepare.cache import Cache
from rsna.training.data.augment import Augmentation
from rsna.training.data.batch import BatchPlan
from rsna.training.data.sampler import Draw, EpochSampler, ShardSampler, image_seed, make_order
from rsna.training.experiment import Experiment

Batch = dict[str, Tensor]
"""B examples of N images: ``images`` (N, 1, H, W) uint8 or float32 in [0, 1]; ``example`` (N,) int64, the number from
0 to B - 1 of the example that each image belongs to, ascending; ``labels`` (B, targets) float32, NaN where missing;
``index`` (B,) int64, the place of each example in the fold's :class:`rsna.dataset.examples.Examples`."""


@dataclass(frozen=True)
class FoldData:
    """Examples, prepared images and targets of a fold."""

    training: Examples
    """Those of the other folds, and of sets that are only trained on."""
    validation: Examples
    """Those of this fold."""
    cache: Cache
    """Prepared images of both."""
    targets: tuple[Target, ...]
    """In the order of the network's outputs."""


def fold_data(experiment: Experiment, fold: int, cache: Cache) -> FoldData:
    """Splits the table of an experiment; images that could not be prepared are on neither side.

    Raises:
        TableError: A side of the fold is empty.
    """
    table, folds, unit = experiment.table, experiment.folds, experiment.unit
    prepared = set(cache)
    frame = table.frame[table.frame["image_id"].isin(prepared)]
    is_valid = frame["image_id"].isin(folds.loc[folds["fold"] == fold, "image_id"])
    training, validation = [frame[~is_valid]], frame[is_valid]
    if table.extra is not None:
        extra = table.extra[table.extra["image_id"].isin(prepared)]
        # The same patient may stand in two sets; it must not be learnt from while it is validated on.
        training.append(extra[~extra["patient_id"].isin(validation["patient_id"])])
    examples = examples_of(unit, *training)
    if not len(examples) or validation.empty:
        raise TableError(f"fold {fold}: {len(examples.images)} images to train on and {len(validation)} to validate on")
    return FoldData(examples, examples_of(unit, validation), cache, experiment.targets)


class ExampleDataset(Dataset[Batch]):
    """Examples, their images read from the cache and, for training, augmented."""

    def __init__(
        self, examples: Examples, cache: Cache, targets: tuple[Target, ...], augment: AugmentSettings | None
    ) -> None:
        self.examples, self.cache = examples, cache
        self.labels = torch.from_numpy(examples.labels(targets))  # (n, targets)
        self.image_ids = examples.images["image_id"].tolist()
        self.augmentation = Augmentation(augment) if augment else None

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, draw: Draw) -> Batch:
        """One example: ``images`` (k, 1, H, W), ``labels`` (targets,), ``index`` ()."""
        images = []
        for place, row in enumerate(self.examples.rows[draw.index].tolist()):
            image = as_grey(self.cache.read(self.image_ids[row]))  # (H, W)
            if self.augmentation:
                image = self.augmentation(image, image_seed(draw, place))
            images.append(image)
        return {
            "images": torch.from_numpy(np.stack(images))[:, None],
            "labels": self.labels[draw.index],
            "index": torch.tensor(draw.index),
        }


def collate(items: Sequence[Batch]) -> Batch:
    """Examples as the dataset gives them → one batch."""
    counts = torch.tensor([len(item["images"]) for item in items])
    return {
        "images": torch.cat([item["images"] for item in items]),
        "example": torch.repeat_interleave(torch.arange(len(items)), counts),
        "labels": torch.stack([item["labels"] for item in items]),
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
        self.training = ExampleDataset(data.training, data.cache, data.targets, config.augment)
        self.validation = ExampleDataset(data.validation, data.cache, data.targets, None)
        self.workers, self.pin_memory = workers, pin_memory
        order = make_order(data.training.positive, config.sampler, config.seed, plan)
        self.sampler = EpochSampler(order, plan, config.seed, rank)
        # Without gradients twice as many fit.
        self.shard = ShardSampler(len(self.validation), plan.per_device * 2, rank, plan.devices)

    def train_dataloader(self) -> DataLoader[Batch]:
        return self._loader(self.training, self.sampler)

    def val_dataloader(self) -> DataLoader[Batch]:
        return self._loader(self.validation, self.shard)

    def state_dict(self) -> dict[str, Any]:
        """What has been trained on: epoch, micro-batches of it, whether that is all, and how a step was made up."""
        sampler = self.sampler
        done = {"position": sampler.position, "whole": sampler.position >= len(sampler)}
        return {"epoch": sampler.epoch, "plan": str(sampler.plan)} | done

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on where a checkpoint was saved.

        Raises:
            ConfigError: It lies within an epoch, and steps are made up otherwise now.
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
        self.sampler.resume(state_dict["epoch"], state_dict["position"])

    def _loader(self, dataset: ExampleDataset, sampler: Any) -> DataLoader[Batch]:
        return DataLoader(
            dataset,
            batch_sampler=sampler,
            num_workers=self.workers,
            collate_fn=collate,
            pin_memory=self.pin_memory,
            persistent_workers=self.workers > 0,
            worker_init_fn=_use_one_thread,
        )


def _use_one_thread(worker: int = 0) -> None:
    """OpenCV's threads would stand in the way of the loaders beside this one, or of the network."""
    cv2.setNumThreads(0)

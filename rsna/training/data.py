"""Prepared images and labels as batches, resumable at any batch."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from rsna.dataset.cache import Cache
from rsna.dataset.targets import Target
from rsna.training.augment import Augmentation
from rsna.training.batch import BatchPlan
from rsna.training.sampler import Draw, EpochSampler, ShardSampler
from rsna.training.settings import AugmentSettings

Batch = dict[str, Tensor]
"""``images`` (B, 1, H, W) uint8 or float32 in [0, 1]; ``labels`` (B, targets) float32, NaN where missing;
``rows`` (B,) int64, rows of the table that they come from."""


class PreparedImages(Dataset[Batch]):
    """Rows of a table, read from the cache and, for training, augmented."""

    def __init__(
        self, frame: pd.DataFrame, cache: Cache, targets: tuple[Target, ...], augment: AugmentSettings | None
    ) -> None:
        self.image_ids = frame["image_id"].tolist()
        self.labels = torch.from_numpy(np.stack([target.read(frame) for target in targets], axis=1))  # (N, targets)
        self.cache = cache
        self.augmentation = Augmentation(augment) if augment else None

    def __len__(self) -> int:
        return len(self.image_ids)

    def __getitem__(self, draw: Draw) -> Batch:
        image = as_grey(self.cache.read(self.image_ids[draw.index]))
        if self.augmentation:
            image = self.augmentation(image, draw.seed)
        return {
            "images": torch.from_numpy(np.ascontiguousarray(image))[None],  # (1, H, W)
            "labels": self.labels[draw.index],
            "rows": torch.tensor(draw.index),
        }


def as_grey(image: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """uint8 as it is, a quarter of the bytes; uint16 → float32 in [0, 1], which augmentation and torch know."""
    return image if image.dtype == np.uint8 else image.astype(np.float32) / 65535.0


class MammogramData(LightningDataModule):
    """Training and validation batches of one fold on one rank."""

    def __init__(
        self,
        training: PreparedImages,
        validation: PreparedImages,
        plan: BatchPlan,
        rank: int,
        seed: int,
        workers: int,
        pin_memory: bool,
    ) -> None:
        super().__init__()
        self.training, self.validation = training, validation
        self.workers, self.pin_memory = workers, pin_memory
        global_batch_size = plan.devices * plan.per_device * plan.accumulate
        self.sampler = EpochSampler(len(training), seed, global_batch_size, plan.per_device, rank, plan.devices)
        self.shard = ShardSampler(len(validation), plan.per_device * 2, rank, plan.devices)

    def train_dataloader(self) -> DataLoader[Batch]:
        return self._loader(self.training, self.sampler)

    def val_dataloader(self) -> DataLoader[Batch]:
        return self._loader(self.validation, self.shard)

    def state_dict(self) -> dict[str, Any]:
        """The next micro-batch: its epoch and its place in it."""
        return {"epoch": self.sampler.epoch, "start": self.sampler.position}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.sampler.resume(state_dict["epoch"], state_dict["start"])

    def _loader(self, dataset: PreparedImages, sampler: Any) -> DataLoader[Batch]:
        return DataLoader(
            dataset,
            batch_sampler=sampler,
            num_workers=self.workers,
            pin_memory=self.pin_memory,
            persistent_workers=self.workers > 0,
        )

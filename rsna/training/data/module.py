"""Prepared images and labels as batches, resumable at any batch."""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from rsna.config.settings import ConfigError
from rsna.config.training import AugmentSettings, SamplerSettings
from rsna.dataset.targets import Target
from rsna.prepare.cache import Cache
from rsna.training.data.augment import Augmentation
from rsna.training.data.batch import BatchPlan
from rsna.training.data.order import make_order
from rsna.training.data.sampler import Draw, EpochSampler, ShardSampler

Batch = dict[str, Tensor]
"""``images`` (B, 1, H, W) uint8 or float32 in [0, 1]; ``labels`` (B, targets) float32, NaN where missing;
``rows`` (B,) int64, rows of the table that they come from."""


class PreparedImages(Dataset[Batch]):
    """Rows of a table, read from the cache and, for training, augmented."""

    def __init__(
        self, frame: pd.DataFrame, cache: Cache, targets: tuple[Target, ...], augment: AugmentSettings | None
    ) -> None:
        self.image_ids = frame["image_id"].tolist()
        cancer = frame["cancer"].eq(1).to_numpy() if "cancer" in frame else np.zeros(len(frame), dtype=np.bool_)
        self.positive: npt.NDArray[np.bool_] = cancer
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
        sampler: SamplerSettings,
        rank: int,
        seed: int,
        workers: int,
        pin_memory: bool,
    ) -> None:
        super().__init__()
        _use_one_thread()
        self.training, self.validation = training, validation
        self.workers, self.pin_memory = workers, pin_memory
        order = make_order(training.positive, sampler, seed, plan)
        self.sampler = EpochSampler(order, plan, seed, rank)
        self.shard = ShardSampler(len(validation), plan.per_device * 2, rank, plan.devices)

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

    def _loader(self, dataset: PreparedImages, sampler: Any) -> DataLoader[Batch]:
        return DataLoader(
            dataset,
            batch_sampler=sampler,
            num_workers=self.workers,
            pin_memory=self.pin_memory,
            persistent_workers=self.workers > 0,
            worker_init_fn=_use_one_thread,
        )


def _use_one_thread(worker: int = 0) -> None:
    """OpenCV's threads would stand in the way of the loaders beside this one, or of the network."""
    cv2.setNumThreads(0)

"""Images per second of training: the bare network, the module around it, the whole pipeline, the loader alone.

    python benchmarks/train_step.py
    python benchmarks/train_step.py --size 512 256 --compile --json result.json
    python benchmarks/train_step.py --size 256 128 --batch 8 --precision bf16 --profile

B3 at 1024×512. pipeline ÷ bare says what loading, augmentation and Lightning cost. Images are noise, prepared and
cached beforehand.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch
from common import at_least, from_zero, parser_of, write_result
from pytorch_lightning import Callback, LightningModule, Trainer
from torch.utils.data import DataLoader

from rsna.config.schema import Config
from rsna.config.settings import from_mapping
from rsna.dataset.examples import examples_of
from rsna.dataset.source import load_data
from rsna.dataset.targets import kept_targets
from rsna.inference.devices import keep_freed_memory
from rsna.model.heads import output_count
from rsna.model.network import build_model
from rsna.prepare.cache import Cache
from rsna.prepare.table import prepare_table
from rsna.training.callbacks.watch import LossWatch
from rsna.training.data.batch import plan_batch
from rsna.training.data.module import Batch, FoldData, MammogramData
from rsna.training.fit import data_module, lay_out, make_trainer
from rsna.training.hardware import Hardware, choose_hardware, choose_precision
from rsna.training.losses import target_loss
from rsna.training.module import MammogramModule
from rsna.training.schedule import make_optimizer

PARTS = {
    "bare": "bare_images_per_s",
    "module": "module_images_per_s",
    "pipeline": "pipeline_images_per_s",
    "loader": "loader_images_per_s_per_core",
}
"""What is measured, and its key in the result."""
LOADED = 96
"""Images that the loader alone is timed over."""


def main() -> None:
    options = _options()
    torch.backends.cudnn.benchmark = True
    if options.part:
        print(json.dumps(_measure(options.part, make_config(Path(options.folder), options), options)))
        return
    with tempfile.TemporaryDirectory() as folder:
        config = make_config(Path(folder), options)
        write_set(config, Path(folder), options)
        if options.profile:
            _print_profile(config, options)
            return
        result = _about(config)
        # Each part in a process of its own, since a process that has trained before is slower; taking turns, since
        # other work on the machine comes and goes; the fastest counts.
        measured = [_measure_apart(part, folder) for _ in range(options.rounds) for part in PARTS]
    for part, key in PARTS.items():
        rates = [rate for values in measured for name, rate in values.items() if name == key]
        result[key] = max(rates)
        print(f"{part:<10} {', '.join(map(str, rates))}")
    result["pipeline_share"] = round(result["pipeline_images_per_s"] / result["bare_images_per_s"], 3)
    peaks = [values["peak_memory_mb"] for values in measured if "peak_memory_mb" in values]
    if peaks:
        result["peak_memory_mb"] = max(peaks)
    for key, value in result.items():
        print(f"{key:<30} {value}")
    write_result(options.json, result)


def _measure_apart(part: str, folder: str) -> dict[str, Any]:
    command = [sys.executable, *sys.argv, "--part", part, "--folder", folder]
    printed = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
    values: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return values


def _about(config: Config) -> dict[str, Any]:
    hardware = choose_hardware(config)
    return {
        "device": str(hardware),
        "backbone": config.model.backbone,
        "size": list(config.preprocess.size),
        "batch_size": config.batch_size_per_device,
        "precision": hardware.precision,
        "compiled": config.trainer.compile,
        "loader_processes": hardware.workers,
    }


def _measure(part: str, config: Config, options: argparse.Namespace) -> dict[str, Any]:
    hardware = choose_hardware(config)
    device = torch.device(hardware.accelerator)
    if hardware.accelerator == "cpu":
        keep_freed_memory()  # as training does: the bare loop shall have it, too
    data = read_set(config, options)
    plan = plan_batch(config.global_batch_size, config.batch_size_per_device, 1)
    batches = data_module(config, data, plan, hardware)
    if part == "loader":
        return {PARTS[part]: loader_rate(config, data, LOADED)}
    if part == "pipeline":
        rate = fit_rate(config, data, batches, options, device)
    else:
        loaded = next(iter(data_module(config, data, plan, replace(hardware, accelerator="cpu")).train_dataloader()))
        batch = {key: value.to(device) for key, value in loaded.items()}
        if part == "bare":
            rate = bare_rate(config, data, batch, options, device)
        else:
            batches.__class__ = _Fixed
            batches.batch = batch  # type: ignore[attr-defined]
            rate = fit_rate(config, data, batches, options, device)
    memory = {"peak_memory_mb": int(torch.cuda.max_memory_allocated() / 2**20)} if device.type == "cuda" else {}
    return {PARTS[part]: rate, **memory}


def _options() -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument("--size", type=at_least(1), nargs=2, default=[1024, 512], help="rows and columns, pixels")
    parser.add_argument("--batch", type=at_least(1), help="images per step: 8 on a GPU, 2 on a CPU")
    parser.add_argument("--steps", type=at_least(1), help="steps that are timed: 60 on a GPU, 8 on a CPU")
    parser.add_argument("--warm-up", type=at_least(1), help="steps before the clock starts: 5 on a GPU, 2 on a CPU")
    parser.add_argument("--rounds", type=at_least(1), default=4, help="runs of each part, of which the fastest counts")
    parser.add_argument("--images", type=at_least(1), default=128, help="images in the set")
    parser.add_argument("--backbone", default="efficientnet_b3")
    parser.add_argument("--workers", type=at_least(0), help="loader processes")
    parser.add_argument("--precision", choices=("auto", "bf16", "fp16", "32"), default="auto")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--ema", type=from_zero, default=0.0, help="decay of a moving average; the bare loop has none")
    parser.add_argument("--checkpointing", action="store_true", help="gradient checkpointing")
    parser.add_argument("--profile", action="store_true", help="print what one bare step's time goes into, and end")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args()
    gpu = torch.cuda.is_available()
    for name, on_gpu, on_cpu in (("batch", 8, 2), ("steps", 60, 8), ("warm_up", 5, 2)):
        if getattr(options, name) is None:
            setattr(options, name, on_gpu if gpu else on_cpu)
    return options


def make_config(folder: Path, options: argparse.Namespace) -> Config:
    return from_mapping(
        Config,
        {
            "cache_dir": str(folder / "cache"),
            "global_batch_size": options.batch,
            "batch_size_per_device": options.batch,
            "data": {"root": str(folder / "set"), "name": "noise"},
            "preprocess": {"size": options.size, "crop": "none"},
            "model": {
                "backbone": options.backbone,
                "pretrained": False,
                "gradient_checkpointing": options.checkpointing,
            },
            "trainer": {
                "epochs": 1,
                "precision": options.precision,
                "compile": options.compile,
                "ema": options.ema,
                "workers": "auto" if options.workers is None else options.workers,
            },
        },
    )


def write_set(config: Config, folder: Path, options: argparse.Namespace) -> None:
    """Writes noise that compresses as mammograms do, half of it black, in breasts of 1 to 3 images; prepares it."""
    generator = np.random.default_rng(0)
    rows, columns = config.preprocess.size
    table = []
    for number in range(options.images):
        small = generator.normal(110, 40, (rows // 4, columns // 8)).clip(0, 255).astype(np.uint8)
        image = np.zeros((rows, columns), np.uint8)
        image[:, : columns // 2] = cv2.resize(small, (columns // 2, rows), interpolation=cv2.INTER_CUBIC)
        patient = 3 * (number // 6) + (0, 1, 1, 2, 2, 2)[number % 6]
        file = folder / "set" / "train_images" / str(patient) / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(file), image)
        table.append({"patient_id": patient, "image_id": number, "laterality": "L", "cancer": patient % 8 == 0})
    frame = pd.DataFrame(table)
    frame["cancer"] = frame["cancer"].astype(int)
    frame.to_csv(folder / "set" / "train.csv", index=False)
    loaded = load_data(config.data)
    prepare_table(loaded.images, config.preprocess, Cache.create(config.cache_dir, loaded.name, config.preprocess))


def read_set(config: Config, options: argparse.Namespace) -> FoldData:
    """One epoch, as long as is needed."""
    loaded = load_data(config.data)
    rounds = -(-max((options.warm_up + options.steps + 1) * options.batch, LOADED + 64) // options.images)
    training = examples_of("image", *[loaded.frame] * rounds)
    validation = examples_of("image", loaded.frame.head(8))
    cache = Cache.create(config.cache_dir, loaded.name, config.preprocess)
    return FoldData(training, validation, cache, kept_targets(config.targets, loaded))


def _autocast(config: Config, device: torch.device) -> torch.autocast:
    precision = choose_precision(config.trainer, device.type)
    half = torch.bfloat16 if precision == "bf16" else torch.float16
    return torch.autocast(device.type, dtype=half, enabled=precision != "32")


def bare_step(config: Config, data: FoldData, device: torch.device) -> Callable[[Batch], None]:
    """The least that training is: forward, loss, backward, clip, step."""
    network = _network(config, data, device)
    run = torch.compile(network) if config.trainer.compile else network
    optimizer = make_optimizer(network, config.optim, config.global_batch_size, fused=True)

    def step(batch: Batch) -> None:
        with _autocast(config, device):
            logits = run(batch["images"].contiguous(memory_format=torch.channels_last))
            loss = target_loss(logits, batch["labels"], data.targets)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), config.optim.clip_norm)
        optimizer.step()

    return step


def _print_profile(config: Config, options: argparse.Namespace) -> None:
    """The operators that most of a step's time goes into, with their share of it."""
    hardware = choose_hardware(config)
    device = torch.device(hardware.accelerator)
    if hardware.accelerator == "cpu":
        keep_freed_memory()
    data = read_set(config, options)
    plan = plan_batch(config.global_batch_size, config.batch_size_per_device, 1)
    loaded = next(iter(data_module(config, data, plan, replace(hardware, workers=0)).train_dataloader()))
    batch = {key: value.to(device) for key, value in loaded.items()}
    step = bare_step(config, data, device)
    for _ in range(options.warm_up):
        step(batch)
    with torch.profiler.profile() as profiler:
        step(batch)
    found = profiler.key_averages()
    spent = {
        event.key: event.self_cpu_time_total if device.type == "cpu" else event.self_device_time_total
        for event in found
    }
    total = sum(spent.values())
    for key, time_spent in sorted(spent.items(), key=lambda item: -item[1])[:12]:
        print(f"{time_spent / total:6.1%}  {key}")


def _network(config: Config, data: FoldData, device: torch.device) -> Any:
    plan = plan_batch(config.global_batch_size, config.batch_size_per_device, 1)
    return lay_out(build_model(config.model, output_count(data.targets)).to(device), config, plan)


class _Timer(Callback):
    """Times the steps behind the warm-up, then stops."""

    def __init__(self, warm_up: int, steps: int) -> None:
        self.warm_up, self.steps, self.seconds = warm_up, steps, 0.0
        self._started = 0.0

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, i: int) -> None:
        if i + 1 == self.warm_up:
            self._started = _now(module.device)
        if i + 1 == self.warm_up + self.steps:
            self.seconds = _now(module.device) - self._started
            trainer.should_stop = True


class _Fixed(MammogramData):
    """The same batch again and again."""

    batch: Batch

    def train_dataloader(self) -> Any:
        return DataLoader([self.batch] * len(self.sampler), batch_size=None)  # type: ignore[arg-type]


def fit_rate(
    config: Config, data: FoldData, batches: MammogramData, options: argparse.Namespace, device: torch.device
) -> float:
    """Images per second of the module under Lightning's loop, with this project's Trainer and loss watch."""
    plan = plan_batch(config.global_batch_size, config.batch_size_per_device, 1)
    total = options.warm_up + options.steps
    module = MammogramModule(_network(config, data, device), data.targets, data.validation, config, total)
    timer = _Timer(options.warm_up, options.steps)
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(config, Path(folder), plan, choose_hardware(config), [LossWatch(0), timer])
        trainer.limit_val_batches = 0
        trainer.fit(module, datamodule=batches)
    return round(options.steps * options.batch / timer.seconds, 2)


def bare_rate(config: Config, data: FoldData, batch: Batch, options: argparse.Namespace, device: torch.device) -> float:
    step = bare_step(config, data, device)
    for number in range(options.warm_up + options.steps):
        if number == options.warm_up:
            started = _now(device)
        step(batch)
    return round(options.steps * options.batch / (_now(device) - started), 2)


def loader_rate(config: Config, data: FoldData, images: int) -> float:
    """Images per second that one process reads, augments and collates."""
    torch.set_num_threads(1)
    plan = plan_batch(config.global_batch_size, config.batch_size_per_device, 1)
    alone = Hardware("cpu", 1, "32", workers=0)
    loader = iter(data_module(config, data, plan, alone).train_dataloader())
    next(loader)
    batches = max(images // config.batch_size_per_device, 1)
    started = time.perf_counter()
    for _ in range(batches):
        next(loader)
    return round(batches * config.batch_size_per_device / (time.perf_counter() - started), 1)


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    main()

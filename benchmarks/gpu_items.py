"""The items of benchmarks/gpu.py, which starts this with a folder and the names of items, and reads what it says.

Each line of standard output is one event as JSON; what the items print goes to standard error.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pandas as pd
import torch
import train_step
from common import ROOT
from filelock import FileLock

from rsna.config.schema import Config
from rsna.config.settings import from_mapping
from rsna.config.training import OptimSettings
from rsna.inference.backends.choice import choose, load_networks
from rsna.inference.devices import choose_devices
from rsna.inference.networks import TorchNetworks
from rsna.inference.pass_plan import PassPlan, Stages
from rsna.inference.stream import Example, Stream
from rsna.runs.trained_model import load_trained
from rsna.training.data.batch import plan_batch
from rsna.training.fit import data_module
from rsna.training.hardware import choose_hardware, choose_precision
from rsna.training.run import train
from rsna.training.schedule import make_optimizer

GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if GPU else "cpu")
IMAGES, SIZE = (96, [256, 128]) if GPU else (32, [64, 32])
"""Of the set that is trained on."""
TRAIN_IMAGES, EPOCHS = 54_706 * 3 // 4, 10
"""What one fold of the competition trains on, and how often."""
BATCH = 8 if GPU else 2
"""Images per step of the table's rows."""

Override = dict[str, Any]


class NotPossibleError(RuntimeError):
    """This machine lacks what the item needs."""


def need_gpu(count: int = 1) -> None:
    if not GPU:
        raise NotPossibleError("torch finds no GPU")
    if torch.cuda.device_count() < count:
        raise NotPossibleError("there is one GPU")


class Items:
    """Each method is an item: it returns what passed, and raises what did not."""

    def __init__(self, folder: Path, events: TextIO) -> None:
        self.folder = folder
        self.events = events

    def say(self, event: str, **more: Any) -> None:
        self.events.write(json.dumps({"event": event} | more) + "\n")
        self.events.flush()

    # Training, in this process.

    def bf16(self) -> str:
        self._bf16_run()
        return "trained, predicted out of fold"

    def fp32(self) -> str:
        self._train("fp32", {"trainer": {"precision": "32"}})
        return "trained, predicted out of fold"

    def fp16(self) -> str:
        need_gpu()
        self._train("fp16", {"trainer": {"precision": "fp16"}})
        return "trained, predicted out of fold"

    def options(self) -> str:
        """What changes the step and is cheap to have together."""
        self._train("options", {
            "trainer": {"ema": 0.9}, "model": {"gradient_checkpointing": True}, "augment": {"mixup": 0.2},
            "sampler": {"kind": "balanced"}, "optim": {"clip_norm": 1.0},
        })  # fmt: skip
        return "moving average, gradient checkpointing, mixup, balanced batches, clipping beside the fused optimiser"

    def breasts(self) -> str:
        """Steps whose number of images changes, which a search for the fastest kernels must not follow."""
        begun = time.monotonic()
        self._train("plain", {})
        images = time.monotonic() - begun
        begun = time.monotonic()
        self._train("breasts", {"unit": "breast", "fusion": {"kind": "attention"}})
        return f"by attention, {(time.monotonic() - begun) / images:.1f} × the time of as many images by themselves"

    def fused(self) -> str:
        network = torch.nn.Linear(4, 4).to(DEVICE)
        if not make_optimizer(network, OptimSettings(), 16, fused=True).defaults.get("fused"):
            raise RuntimeError("the optimiser is not fused")
        return "AdamW in one kernel"

    def compile(self) -> str:
        need_gpu()  # a CPU takes minutes to compile for itself
        self._train("compiled", {"trainer": {"compile": True}})
        return "torch.compile: trained, predicted out of fold"

    # With processes of their own.

    def resume(self) -> str:
        """Killed while it trains and started again: the same bytes as undisturbed."""
        whole, killed = self.folder / "undisturbed", self.folder / "killed"
        undisturbed, process = self._start_training(whole), self._start_training(killed)
        checkpoint = killed / "fold0" / "checkpoints" / "last.ckpt"
        while not checkpoint.exists() and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if (killed / "fold0" / "model.safetensors").exists():
            raise RuntimeError("the run was over before it could be killed")
        for process in (self._start_training(killed), undisturbed):
            if process.wait():
                raise RuntimeError(f"train.py ended with code {process.returncode}")
        ours, theirs = ((run / "fold0" / "model.safetensors").read_bytes() for run in (whole, killed))
        if ours != theirs:
            raise RuntimeError("a run that was killed and resumed ends with other weights")
        return "killed with SIGKILL, resumed: weights bit for bit those of an undisturbed run"

    def infer(self) -> str:
        """The GPU's probabilities against the CPU's, of the same weights and files."""
        need_gpu()
        run = self._bf16_run()
        started = {}
        for where, visible in (("gpu", {}), ("cpu", {"CUDA_VISIBLE_DEVICES": ""})):
            command = ["infer.py", f"run={run}", "folds=[0]", f"input={self.folder / 'test'}", "submit=probability"]
            out = self.folder / f"{where}.csv"
            started[out] = self._start(*command, f"out={out}", env=visible)
        codes = [process.wait() for process in started.values()]
        if any(codes):
            raise RuntimeError("infer.py failed")
        gpu, cpu = (pd.read_csv(out)["cancer"].to_numpy() for out in started)
        difference = float(np.abs(gpu - cpu).max())
        if not difference < 0.02:
            raise RuntimeError(f"probabilities differ from the CPU's by {difference:.4f}")
        return f"probabilities within {difference:.1e} of the CPU's in 32 bits; without a GPU the CPU predicts"

    def ranks(self) -> str:
        if GPU:
            need_gpu(2)
        self._train("ranks", {"trainer": {"devices": 2}})
        return "two ranks: trained, predicted out of fold"

    def syncbn(self) -> str:
        need_gpu(2)  # a rank alone is left without it
        self._train("syncbn", {"trainer": {"devices": 2}, "model": {"norm": "sync"}})
        return "SyncBN over two ranks: trained, predicted out of fold"

    def memory(self) -> str:
        """Inference with a batch that does not fit is finished in smaller ones."""
        need_gpu()
        stream, files = self._stream(batch_size=96)
        torch.cuda.empty_cache()
        used = torch.cuda.memory_allocated() + (96 << 20)
        torch.cuda.set_per_process_memory_fraction(used / torch.cuda.get_device_properties(0).total_memory)
        try:
            predicted, failures = _predict(stream, files)
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
        if failures or predicted != len(files):
            raise RuntimeError(f"{predicted} of {len(files)} predicted, {len(failures)} failures: {failures[:1]}")
        return f"a batch of 96 in 96 MiB: all {predicted} images predicted in smaller batches"

    def lost(self) -> str:
        """A device whose context breaks in the middle costs no prediction that was made before."""
        need_gpu()
        stream, files = self._stream(batch_size=8, break_at=3)
        predicted, failures = _predict(stream, files)
        if not failures or predicted + len(failures) < len(files):
            raise RuntimeError(f"{predicted} predicted, {len(failures)} failures of {len(files)}")
        return f"{predicted} of {len(files)} images predicted, the others listed with the reason: {failures[0][:80]}"

    # The table.

    def table(self, backbone: str, rows: str) -> str:
        """Images per second of the bare step and of the pipeline, peak memory, and the largest batch that fits.

        Each is said as soon as it is known: what breaks later costs no more than itself.
        """
        name = f"table:{backbone}:{rows}"
        options, place = _arguments(backbone, int(rows) if GPU else 64), self.folder / f"rows{rows}"
        config = train_step.make_config(place, options)
        if not (place / "set" / "train.csv").exists():
            train_step.write_set(config, place, options)
        torch.backends.cudnn.benchmark = True
        data, plan, hardware = (
            train_step.read_set(config, options),
            plan_batch(BATCH, BATCH, 1),
            choose_hardware(config),
        )
        alone = data_module(config, data, plan, replace(hardware, workers=0))
        batch = {key: value.to(DEVICE) for key, value in next(iter(alone.train_dataloader())).items()}
        if GPU:
            torch.cuda.reset_peak_memory_stats()
        bare = train_step.bare_rate(config, data, batch, options, DEVICE)
        precision = choose_precision(config.trainer, DEVICE.type)
        found: dict[str, Any] = {"size": options.size, "precision": precision, "bare_images_per_s": bare}
        if GPU:
            found["peak_gib_at_8"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
        self.say("measured", item=name, part=found)
        _free()
        options.steps, options.warm_up = (24, 6) if GPU else (2, 1)
        data = train_step.read_set(config, options)
        batches = data_module(config, data, plan, hardware)
        pipeline = train_step.fit_rate(config, data, batches, options, DEVICE)
        found = {"pipeline_images_per_s": pipeline, "pipeline_share": round(pipeline / bare, 3)}
        if GPU:
            found["hours_a_fold"] = round(TRAIN_IMAGES * EPOCHS / pipeline / 3600, 2)
        self.say("measured", item=name, part=found)
        del batches
        if GPU:
            _free()
            self.say("measured", item=name, part={"largest_batch": _largest_batch(config, data, batch)})
            _free()
        return "measured"

    # What they share.

    def _configuration(self, run: Path, changes: dict[str, Override]) -> Config:
        base: dict[str, Any] = {
            "fold": 0,
            "run": str(run),
            "cache_dir": str(self.folder / "cache"),
            "global_batch_size": 16,
            "batch_size_per_device": 8,
            "tracking": "none",
            "data": {"root": str(self.folder / "set"), "name": "noise"},
            "preprocess": {"size": SIZE, "crop": "none"},
            "model": {"backbone": "efficientnet_b0", "pretrained": False},
            "trainer": {"accelerator": DEVICE.type, "epochs": 1},
            "evaluation": {"resamples": 100},
        }
        for part, change in changes.items():
            base[part] = base.get(part, {}) | change
        return from_mapping(Config, base)

    def _train(self, name: str, changes: dict[str, Override]) -> Path:
        """Trains fold 0 of the small set and checks its out-of-fold predictions."""
        self._write_set()
        run = self.folder / name
        train(self._configuration(run, changes))
        oof = pd.read_parquet(run / "fold0" / "oof.parquet")
        if oof.empty or not np.isfinite(oof.select_dtypes("number").to_numpy()).all():
            raise RuntimeError("out-of-fold predictions are missing or not finite")
        _free()
        return run

    def _bf16_run(self) -> Path:
        """The run that other items predict with; whoever needs it first trains it."""
        with FileLock(self.folder / "bf16.lock"):
            if (self.folder / "bf16" / "fold0" / "metrics.json").exists():
                return self.folder / "bf16"
            return self._train("bf16", {"trainer": {"precision": "bf16", "epochs": 2}})

    def _write_set(self) -> None:
        """A small set to train on, and the same images without labels to predict; once for all processes."""
        with FileLock(self.folder / "set.lock"):
            if (self.folder / "test" / "test.csv").exists():
                return
            options = _arguments("efficientnet_b0", SIZE[0])
            options.images = IMAGES
            train_step.write_set(train_step.make_config(self.folder, options), self.folder, options)
            table = pd.read_csv(self.folder / "set" / "train.csv", dtype=str)
            (self.folder / "test").mkdir()
            (self.folder / "test" / "test_images").symlink_to(self.folder / "set" / "train_images")
            table = table.drop(columns="cancer").assign(prediction_id=table["patient_id"] + "_L")
            table.to_csv(self.folder / "test" / "test.csv", index=False)

    def _start(self, *command: str, env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, *command], cwd=ROOT, env=os.environ | (env or {}), stdout=sys.stderr)

    def _start_training(self, run: Path) -> subprocess.Popen[bytes]:
        """``train.py`` as a user starts it."""
        self._write_set()
        return self._start(
            "train.py", "fold=0", f"run={run}", f"data.root={self.folder / 'set'}", "data.name=noise",
            f"cache_dir={self.folder / 'cache'}", f"preprocess.size={SIZE}".replace(" ", ""), "preprocess.crop=none",
            "model.pretrained=false", "model.backbone=efficientnet_b0", "global_batch_size=8",
            f"trainer.accelerator={DEVICE.type}", "tracking=none", "evaluation.resamples=100", "deterministic=true",
            "trainer.epochs=3", "trainer.checkpoint_every_steps=2",
        )  # fmt: skip

    def _stream(self, batch_size: int, break_at: int = 0) -> tuple[Stream, list[Path]]:
        trained = load_trained(self._bf16_run(), (0,))
        networks = load_networks(trained, choose(trained, "torch", "auto", choose_devices(), tolerance=1e-3))
        if break_at:
            _break_at(networks[0], break_at)
        files = sorted((self.folder / "set" / "train_images").rglob("*.png"))
        networks = [[one] for one in networks]  # one member
        plans = (PassPlan.of(trained, None),)
        return Stream(networks, [trained.preprocess], plans, batch_size, 4, 60.0, stages=Stages()), files


def _arguments(backbone: str, rows: int) -> argparse.Namespace:
    steps, warm_up = (12, 4) if GPU else (2, 1)
    return argparse.Namespace(
        size=[rows, rows // 2], batch=BATCH, steps=steps, warm_up=warm_up, images=32, backbone=backbone, workers=None,
        precision="auto", compile=False, ema=0.0, checkpointing=False,
    )  # fmt: skip


def _predict(stream: Stream, files: list[Path]) -> tuple[int, list[str]]:
    """How many images were predicted, and why the others were not."""
    examples = list(stream.predict([Example((str(file),))] for file in files))
    failures = [failure for example in examples for failure in example.failures if failure]
    return sum(example.logits is not None for example in examples), failures


def _break_at(networks: Any, batch: int) -> None:
    """Has the GPU run into an index out of bounds, which ends its context as a lost GPU does."""
    assert isinstance(networks, TorchNetworks)
    ours, calls = networks.logits, 0

    def logits(*values: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == batch:
            torch.zeros(1, device="cuda")[torch.tensor([1 << 20], device="cuda")].cpu()
        return ours(*values)

    networks.logits = logits  # type: ignore[method-assign]


def _largest_batch(config: Config, data: Any, loaded: dict[str, torch.Tensor]) -> int:
    """The largest batch, a multiple of 4, that a step takes: estimated by the memory of 8 and 16, then tried."""
    step = train_step.bare_step(config, data, DEVICE)
    # Its search for algorithms takes longer than the step, and memory of its own.
    torch.backends.cudnn.benchmark = False

    def fits(size: int) -> bool:
        batch = {key: value.repeat(-(-size // BATCH), *[1] * (value.ndim - 1))[:size] for key, value in loaded.items()}
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        try:
            step(batch)
            torch.cuda.synchronize()
        except torch.OutOfMemoryError:
            return False
        return True

    largest, peaks = 0, []
    for size in (8, 16):
        if not fits(size):
            return largest
        largest = size
        peaks.append(torch.cuda.max_memory_reserved())
    total = torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved()
    guess = int(16 + 8 * (total - peaks[1]) / max(peaks[1] - peaks[0], 1)) // 4 * 4
    for share in (1.05, 1, 0.95, 0.9, 0.75):
        size = int(guess * share) // 4 * 4
        if size <= largest or fits(size):
            return max(size, largest)
    return largest


def _free() -> None:
    gc.collect()
    if GPU:
        torch.cuda.empty_cache()


def _outcome(call: Callable[[], str]) -> str:
    try:
        return f"pass: {call()}"
    except NotPossibleError as error:
        return f"not possible here: {error}"
    except Exception as error:
        text = " ".join(str(error).split())
        return f"fail: {type(error).__name__}: {text[:300]}"


def main() -> None:
    folder, *names = sys.argv[1:]
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # of this process and all that it starts
    items = Items(Path(folder), events)
    about: dict[str, Any] = {"torch_cuda": torch.version.cuda}
    if GPU:
        properties = torch.cuda.get_device_properties(0)
        about["gpu"] = f"{torch.cuda.device_count()} × {properties.name}"
        about["gpu_memory_gib"] = round(properties.total_memory / 2**30, 1)
    items.say("started", **about)
    for name in names:
        method, *arguments = name.split(":")
        print(f"== {name}", file=sys.stderr, flush=True)
        items.say("ended", item=name, outcome=_outcome(lambda m=method, a=arguments: getattr(items, m)(*a)))


if __name__ == "__main__":
    main()

"""The way from the command line to the training step is short, and each thing on it is done once."""

import os
import traceback

from rsna.cli import main
from rsna.dataset.targets import Target
from rsna.training.module import MammogramModule

COMMAND = [
    "run=run", "tracking=none", "data.root=set", "data.name=tiny", "preprocess.size=[48,32]", "preprocess.crop=none",
    "folds.n_folds=2", "model.backbone=test_efficientnet", "model.pretrained=false", "trainer.epochs=1",
    "prepare.workers=1", "trainer.accelerator=cpu", "trainer.progress=none", "evaluation.resamples=100", "fold=all",
]  # fmt: skip


def test_from_the_command_line_to_the_training_step_are_five_calls(tiny, monkeypatch):
    ways = []
    step = MammogramModule.training_step

    def traced(self, batch, batch_idx):
        frames = traceback.extract_stack()
        ways.append([frame.name for frame in frames if "/rsna/" in frame.filename and frame.name != "__call__"])
        return step(self, batch, batch_idx)

    monkeypatch.chdir(tiny)
    monkeypatch.setattr(MammogramModule, "training_step", traced)
    assert main(["train", *COMMAND]) == 0
    calls = [name for name in ways[0] if name not in ("optimizer_step", "run_training_epoch")]
    assert calls == ["main", "_train", "train", "train_fold", "fit_fold"]


def test_files_are_looked_at_and_targets_are_read_once_for_all_folds(tiny, monkeypatch):
    looked_at: list[str] = []
    stat = os.stat

    def counted(path, *arguments, **named):
        looked_at.append(str(path))
        return stat(path, *arguments, **named)

    whole_table = []
    read = Target.read

    def read_and_count(self, table):
        if len(table) == 48:
            whole_table.append(self.name)
        return read(self, table)

    monkeypatch.chdir(tiny)
    assert main(["train", *COMMAND]) == 0  # prepares, and compares the files with the cache
    for fold in ("fold0", "fold1"):
        (tiny / "run" / fold / "metrics.json").unlink()
    monkeypatch.setattr("os.stat", counted)
    monkeypatch.setattr(Target, "read", read_and_count)
    assert main(["train", *COMMAND]) == 0
    image = str(next((tiny / "set" / "train_images").rglob("*.png")))
    # Once for the dataset hash, for the cache its time of change and its size, and as one of the few files that are
    # opened to see whether they carry a window.
    assert sum(path == image for path in looked_at) <= 4
    assert whole_table.count("cancer") <= 2  # which targets are kept, and whether a label is missing

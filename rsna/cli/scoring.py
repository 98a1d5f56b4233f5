"""Verbs that predict and score: infer, evaluate, leaderboard."""

from dataclasses import dataclass
from pathlib import Path

from rsna.cli.verb import Verb
from rsna.inference.options import InferOptions


@dataclass(frozen=True)
class LeaderboardOptions:
    """Options of `rsna leaderboard`."""

    runs: str = "runs"
    """Folder that holds run folders."""


def _infer(options: InferOptions) -> int:
    from rsna.inference.infer import infer

    infer(options)
    return 0


def _leaderboard(options: LeaderboardOptions) -> int:
    from rsna.board.leaderboard import leaderboard, render

    print(render(leaderboard(Path(options.runs))))
    return 0


VERBS = (
    Verb(
        "infer",
        "Predict a test set, or any folder of DICOM files, with every fold of a run; write a complete submission.",
        InferOptions,
        _infer,
        (
            "rsna infer run=runs/demo input=data/demo",
            "python infer.py run=runs/b3-rsna input=/exams submit=probability",
        ),
    ),
    Verb(
        "leaderboard",
        "Rank run folders by nested pF1, each dataset and split of folds apart.",
        LeaderboardOptions,
        _leaderboard,
        ("rsna leaderboard",),
    ),
)

"""Verbs on many runs: leaderboard."""

from dataclasses import dataclass
from pathlib import Path

from rsna.cli.verb import Verb


@dataclass(frozen=True)
class LeaderboardOptions:
    """Options of `rsna leaderboard`."""

    runs: str = "runs"
    """Folder that holds run folders."""


def _leaderboard(options: LeaderboardOptions) -> int:
    from rsna.board.leaderboard import leaderboard, render

    print(render(leaderboard(Path(options.runs))))
    return 0


VERBS = (
    Verb(
        "leaderboard",
        "Rank run folders by nested pF1, each dataset and split of folds apart.",
        LeaderboardOptions,
        _leaderboard,
        ("rsna leaderboard",),
    ),
)

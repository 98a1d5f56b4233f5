"""The options of the leaderboard, of comparisons and of the report.

Nothing heavy is imported here: options are read and checked first, and printed by --help.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt

from rsna.config.keys import (
    DistinctRuns,
    MethodKey,
    OneOrSeveral,
    RunsKey,
    Several,
    WeightsKey,
    require_distinct,
    require_file,
    require_folder,
)
from rsna.config.settings import require, settings

_RUNS = "runs"
"""Where runs are, unless told otherwise."""


@settings
class LeaderboardOptions:
    runs: RunsKey = _RUNS
    format: Literal["text", "md", "json", "csv"] = "text"
    """text for people, md for pages in Markdown; json and csv for programs, with every column and no rounding."""
    sort: str = "rank"
    """Column of format=csv, or key of the configuration, to sort by: best metric first; -KEY turns that round."""
    filter: OneOrSeveral = ()
    """What the runs shown fulfil, such as backbone=*b3*, auroc>0.8, model.drop_rate=0.3; ranks stay those of all."""
    resamples: NonNegativeInt = 2000
    """Of the paired bootstrap against the leader; 0 leaves that comparison out."""


def _require_one_source(run: Sequence[str], runs: str) -> None:
    """Refuses a folder of runs beside runs that are named: it would not be looked into."""
    require(not run or runs == _RUNS, f"runs: run= names what is meant, and nothing is looked for in {runs}")


@settings
class LeaderboardSubmitOptions:
    run: DistinctRuns = ()
    """Run folder that the scores belong to; with submissions=FILE one or several, or every one in runs= where empty."""
    public: float | None = None
    """Score on the public part of the hidden test set."""
    private: float | None = None
    """Score on the private part."""
    submissions: str = ""
    """CSV from `kaggle competitions submissions --csv`; a row belongs to the run that its description names."""
    runs: RunsKey = _RUNS

    def __post_init__(self) -> None:
        _require_one_source(self.run, self.runs)
        typed = self.public is not None or self.private is not None
        require(typed != bool(self.submissions), "public: give public= and private=, or submissions=FILE, one of them")
        require(not typed or len(self.run) == 1, "run: name the one run folder that the scores belong to")


@settings
class CompareOptions:
    runs: OneOrSeveral
    """Run folders on the same breasts and folds, of two to four configurations; the others are compared with the first.
    Those that differ in the seed alone are one."""
    out: str = "compare.html"
    """HTML file to write, which needs no other file and no network; "" for none."""
    format: Literal["text", "json"] = "text"
    """What is printed: text for people, json for programs, with no rounding."""
    data: str = ""
    """Folder of the set, where it is no longer where the runs had it."""
    images: NonNegativeInt = 4
    """Breasts with pictures for each way in which two runs disagree; 0 leaves pictures out."""
    resamples: Annotated[int, Field(ge=1)] = 2000
    """Patient-level resamples behind the intervals and p of differences."""

    def __post_init__(self) -> None:
        require(len(self.runs) > 1, f"runs: two run folders or more, not {len(self.runs)}")
        require_distinct("runs", self.runs, "run")
        require_folder(self.data, "data")
        if self.out:
            require_file(self.out, example="compare.html")
        drawn = bool(self.data) or self.images != CompareOptions.images
        require(bool(self.out) or not drawn, 'data, images: they are for the page, and out="" writes none')


@settings
class ReportOptions(Several):
    run: DistinctRuns = ()
    """Run folders to report on: one as a paper; several side by side and joined, as infer joins them; empty takes every
    run in runs=."""
    runs: RunsKey = _RUNS
    method: MethodKey = "auto"
    weights: WeightsKey = ()
    out: str = "report.html"
    """HTML file to write; it needs no other file and no network."""
    data: str = ""
    """Folder of the set, where it is no longer where the runs had it."""
    images: NonNegativeInt = 6
    """Missed cancers, and as many false alarms, in each run's gallery; 0 leaves galleries out."""
    resamples: NonNegativeInt = 1000
    """Patient-level resamples behind the intervals of slices, the comparison with the leader, and named runs joined."""

    def __post_init__(self) -> None:
        _require_one_source(self.run, self.runs)
        if self.run:
            self.check_joining()
        else:
            asked = self.method != "auto" or len(self.weights) > 0
            require(not asked, "method, weights: they join the runs that are named, run=[a,b], and none is")
        require_file(self.out)
        require_folder(self.data, "data")

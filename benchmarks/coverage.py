"""Whether intervals hold the truth as often as they say, and whether rankings mark what is not there.

    python benchmarks/coverage.py [--part seeds many intervals] [--sets N] [--boards N] [--json FILE]

Simulated screening, two breasts a patient that are alike. `intervals`: share of sets (2 % positive) whose 95 % interval
holds the truth, which is the mean over all sets, at 40, 130 and 490 positives (of these a third as many sets).
`calibration`: the calibration error of probabilities that mean what they say, and what is said of it.

Rankings are of 500 breasts, 80 of them positive. `equal_boards_noisy_training`: share of rankings of truly equal
configurations on which any is marked behind the leader, by the number of their seeds; a fold's model is off by up to
0.4 in the logit, and what it makes of a positive by a standard deviation of 0.25. `many_runs`: the same of 6 and of 50
runs of one seed without such noise, and the share of rankings on which one run is told that makes less of positives, by
so much in the logit.
"""

import os

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

from dataclasses import dataclass

import numpy as np
from common import at_least, parser_of, write_result

from rsna.evaluation.bootstrap import Resamples, resample
from rsna.evaluation.compare import against_leader
from rsna.evaluation.counts import SortedBreasts
from rsna.evaluation.metrics import calibration_floor, metrics_of_data

PARTS = ("seeds", "many", "intervals")
RESAMPLES, FOLDS, NOISE = 400, 4, 0.05
POSITIVES = {40: 1, 130: 1, 490: 3}
"""Positives of a set → what the number of sets is divided by: large ones take longer."""
PREVALENCE = 0.0207
METRIC = "pf1_nested"
PATIENTS, FEW, MANY, SEEDS = 250, 6, 50, 3
"""Of a board: patients, few and many configurations, seeds of each at most."""
WORSE = (0.5, 1.0, 1.5)
SHOWN = ("auroc", "auprc", "pf1_raw", "sensitivity_at_specificity")


@dataclass(frozen=True)
class Screened:
    """Patients of one simulated set, and what every model sees of them alike."""

    positive: np.ndarray
    signal: np.ndarray
    patients: np.ndarray

    @classmethod
    def drawn(cls, rng: np.random.Generator, patients: int, prevalence: float, separation: float = 2.0) -> "Screened":
        """Two breasts a patient."""
        positive = rng.random(2 * patients) < prevalence
        positive[0] = True
        shared = np.repeat(rng.normal(0, 0.7, patients), 2) + rng.normal(0, 0.9, 2 * patients)
        return cls(positive, separation * positive + shared - 4, np.repeat(np.arange(patients), 2))

    def scored(
        self, rng: np.random.Generator, logits: np.ndarray, noisy: bool = False, own: float = 0.0
    ) -> SortedBreasts:
        """By a trained model: its folds are off by what training does, its breasts by noise of its own."""
        folds = self.patients % FOLDS
        logits = logits + rng.normal(0, own, logits.size)
        if noisy:
            logits += rng.uniform(-0.4, 0.4, FOLDS)[folds] + rng.normal(0, 0.25, FOLDS)[folds] * self.positive
        return SortedBreasts(self.positive, 1 / (1 + np.exp(-logits)), self.patients, folds)


def coverage(positives: int, sets: int) -> dict[str, float]:
    """Metric → share of sets whose interval holds the mean over all sets."""
    patients = round(positives / PREVALENCE / 2)
    values, ends = [], []
    for number in range(sets):
        rng = np.random.default_rng([positives, number])
        screened = Screened.drawn(rng, patients, PREVALENCE)
        found = resample([screened.scored(rng, screened.signal)], RESAMPLES, number, SHOWN)[0]
        values.append([found.data[name] for name in SHOWN])
        ends.append([(one.low, one.high) for one in found.intervals.values()])
    low, high = np.moveaxis(np.array(ends), 2, 0)  # (sets, metrics) each
    truth = np.nanmean(values, axis=0)
    held = np.mean((low <= truth) & (truth <= high), axis=0)
    return {name: round(float(share), 3) for name, share in zip(SHOWN, held, strict=True)}


def calibration(positives: int, sets: int = 200) -> dict[str, float]:
    """Mean calibration error where labels are drawn from the probabilities, and mean of what is said of it."""
    patients = round(positives / PREVALENCE / 2)
    errors, said = [], []
    for number in range(sets):
        rng = np.random.default_rng([positives, 1, number])
        screened = Screened.drawn(rng, patients, PREVALENCE)
        p = 1 / (1 + np.exp(-screened.signal))
        breasts = SortedBreasts(rng.random(p.size) < p, p, screened.patients, np.zeros_like(screened.patients))
        errors.append(metrics_of_data(breasts, ["calibration_error"])["calibration_error"])
        said.append(calibration_floor(breasts))
    return {"error": round(float(np.mean(errors)), 4), "said": round(float(np.mean(said)), 4)}


def marked(configurations: list[list[Resamples]]) -> np.ndarray:
    """(configurations,) whether each is told from the leader, in the order given."""
    order = np.argsort([-np.mean([run.data[METRIC] for run in runs]) for runs in configurations])
    p = np.empty(len(configurations))
    p[order] = [row.p for row in against_leader([configurations[i] for i in order], METRIC).rows]
    return p < NOISE


def equal_boards(boards: int) -> dict[str, float]:
    """Share of boards on which any of truly equal configurations is marked, by their number and their seeds."""
    found: dict[str, list[bool]] = {}
    for number in range(boards):
        rng = np.random.default_rng([1, number])
        screened = Screened.drawn(rng, PATIENTS, 0.16, separation=2.5)
        configurations = [screened.signal + rng.normal(0, 0.5, screened.signal.size) for _ in range(FEW)]
        runs = [screened.scored(rng, one, True, 0.3) for one in configurations for _ in range(SEEDS)]
        drawn = resample(runs, RESAMPLES, number, [METRIC])
        by_seed = [drawn[i * SEEDS : (i + 1) * SEEDS] for i in range(FEW)]
        for seeds in range(1, SEEDS + 1):
            for count in (2, FEW):
                of_some = [runs[:seeds] for runs in by_seed[:count]]
                found.setdefault(f"{count}_configurations_{seeds}_seeds", []).append(bool(marked(of_some).any()))
    return {name: round(float(np.mean(share)), 3) for name, share in found.items()}


def many_runs(boards: int) -> dict[str, float]:
    """Share of boards of FEW and of MANY runs, one seed each, on which any of equal runs is marked; and on which one is
    that is worse, among FEW - 1 and MANY - 1 equal ones."""
    found: dict[str, list[bool]] = {}
    for number in range(boards):
        rng = np.random.default_rng([2, number])
        screened = Screened.drawn(rng, PATIENTS, 0.16, separation=2.5)
        runs = []
        for worse in (*[0.0] * MANY, *WORSE):
            logits = screened.signal - worse * screened.positive + rng.normal(0, 0.5, screened.signal.size)
            runs.append(screened.scored(rng, logits, False, 0.3))
        drawn = [[one] for one in resample(runs, RESAMPLES, number, [METRIC])]
        for count in (FEW, MANY):
            found.setdefault(f"equal_{count}_runs", []).append(bool(marked(drawn[:count]).any()))
            for worse, behind in zip(WORSE, drawn[MANY:], strict=True):
                told = bool(marked([*drawn[: count - 1], behind])[-1])
                found.setdefault(f"told_among_{count}_runs_worse_by_{worse:g}", []).append(told)
    return {name: round(float(np.mean(share)), 3) for name, share in found.items()}


def main() -> None:
    """Simulates, prints, and writes the shares where asked."""
    parser = parser_of(__doc__)
    parser.add_argument("--sets", type=at_least(1), default=1000, help="simulated sets for each number of positives")
    parser.add_argument(
        "--boards", type=at_least(2), default=300, help="simulated rankings of few runs; of many half of that"
    )
    parser.add_argument("--part", nargs="+", choices=PARTS, default=PARTS, help="what is simulated")
    options = parser.parse_args()
    found: dict[str, object] = {"sets": options.sets, "boards": options.boards, "resamples": RESAMPLES}

    def show(name: str, value: object) -> None:
        found[name] = value
        print(f"{name}: {value}", flush=True)

    if "seeds" in options.part:
        show("equal_boards_noisy_training", equal_boards(options.boards))
    if "many" in options.part:
        show("many_runs", many_runs(options.boards // 2))
    if "intervals" in options.part:
        for positives, share in POSITIVES.items():
            show(f"intervals_{positives}_positives", coverage(positives, options.sets // share))
            show(f"calibration_{positives}_positives", calibration(positives))
    write_result(options.json, found)


if __name__ == "__main__":
    main()

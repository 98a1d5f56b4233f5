"""A folder of images held against those that a model was trained on: what is unlike is said before it is suffered."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from rsna.audit.audit import AuditReport, audit
from rsna.config.external import ValidateOptions
from rsna.config.settings import unless_auto
from rsna.config.verbs import AuditOptions
from rsna.dataset.exams import name_breasts
from rsna.dataset.prevalence import wilson
from rsna.dataset.table import LABELS, ImageTable, TableError
from rsna.evaluation.checks import Floats
from rsna.evaluation.threshold import recalled
from rsna.external.picture import draw_unlike
from rsna.files import first_few, write_atomic, write_json
from rsna.inference.backends.choice import check_networks
from rsna.inference.validate import predict_tables
from rsna.parallel.cluster import cluster_of
from rsna.parallel.pool import map_tasks
from rsna.parallel.progress import Progress
from rsna.prepare.appearance import QUANTITIES, Appearance, look
from rsna.runs.set_schema import TrainingSet
from rsna.runs.trained_ensemble import TrainedEnsemble, load_ensemble
from rsna.runs.trained_model import folds_not_trained_on, open_any
from rsna.runs.training_set import quantiles, read_training_set

IMAGES = 300
"""Images at most that are prepared and predicted, of whole patients."""

_APART = 0.25
"""Distance of two distributions (Kolmogorov and Smirnov's) from which on it is said, unless chance makes as much."""

_CRITICAL = 1.63
"""Of that distance times the root of n·m / (n + m), what chance exceeds once in a hundred times."""

_OUTSIDE = 0.15
"""Share of images outside of what 90 % of training's lie in, that is needed as well."""

_Z = 2.58
"""Standard errors of a 99 % interval."""

_STRANGE = 0.02
"""Share of images of an unseen machine or view that is said."""


@dataclass(frozen=True)
class Unlike:
    """How a folder of images differs from a training set."""

    root: str
    run: str
    images: int
    """Looked at."""
    unlike: tuple[str, ...]
    """A sentence on everything that is."""
    alike: tuple[str, ...]
    """What is not."""
    unknown: tuple[str, ...]
    """What one of the two does not say."""
    training: Mapping[str, tuple[float, ...]] = field(repr=False)
    here: Mapping[str, tuple[float, ...]] = field(repr=False)
    """Quantity → quantiles, 0 to 100 % in equal steps."""

    def text(self) -> str:
        """For a person; ends with a line break."""
        lines = [f"{self.root} against what {self.run} was trained on, by {self.images:,} images"]
        lines += [f"unlike: {line}" for line in self.unlike] or ["nothing is unlike"]
        lines += [f"as in training: {', '.join(self.alike)}"] * bool(self.alike)
        lines += [f"not known: {', '.join(self.unknown)}"] * bool(self.unknown)
        return "\n".join(lines) + "\n"

    def write(self, folder: Path) -> None:
        """against_run.txt, .json and .svg."""
        write_atomic(folder / "against_run.txt", self.text())
        write_json(folder / "against_run.json", asdict(self))
        write_atomic(folder / "against_run.svg", draw_unlike(self.training, self.here, self.root, self.run))


def audit_against(options: AuditOptions) -> tuple[AuditReport, Unlike]:
    """Audits a folder and holds it against a run's training set.

    Raises:
        TableError: See :func:`rsna.audit.audit.audit`; or none of the images can be prepared.
        RunError: The run or bundle cannot predict, or keeps no summary of its training set.
    """
    summary = read_training_set(open_any(options.run))
    trained = load_ensemble(options.run)
    check_networks(trained.members, "auto", "auto")
    preprocess = trained.members[0].preprocess
    workers = unless_auto(options.workers)
    looks: list[Appearance] = []
    machines: list[str] = []
    with cluster_of(options.engine, options.address) as cluster:
        report = audit(
            options.input,
            options.out,
            preprocess,
            sheet_images=options.sheet_images,
            workers=workers,
            file_timeout=options.file_timeout,
            cluster=cluster,
        )
        drawn, task = _draw(report.readable), partial(look, settings=preprocess)
        with Progress("look at images", len(drawn)) as progress:
            for outcome in map_tasks(
                task, drawn["path"], workers=workers, timeout=options.file_timeout, cluster=cluster
            ):
                progress.step(failed=outcome.value is None)
                if outcome.value is not None:
                    looks.append(outcome.value[0])
                    machines.append(outcome.value[1])
    if not looks:
        raise TableError(
            f"{options.input}: none of {len(drawn):,} images can be prepared as {options.run} prepares them"
        )
    share, breasts = _predicted(options, trained, drawn)
    found = compare(summary, looks, machines, drawn, (share, breasts, trained.recalled, trained.threshold))
    unlike = Unlike(str(report.root), str(options.run), len(looks), *found, summary.quantities, quantiles(looks))
    unlike.write(Path(options.out))
    return report, unlike


def compare(
    summary: TrainingSet,
    looks: Sequence[Appearance],
    machines: Sequence[str],
    images: pd.DataFrame,
    recall: tuple[float, int, float, float],
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """What is unlike, as sentences; what is not, and what cannot be told, in a word or two.

    Args:
        summary: Of the training set.
        looks: Of the images.
        machines: In their headers, "" where unsaid.
        images: view, and machine_id where the table has it.
        recall: Share of breasts at or above the threshold and their number, the share out of fold, the threshold.
    """
    sentences: dict[str, str | None] = {
        "machines": _machines(summary, machines, images),
        "views": _unseen("views", summary.views, images["view"]),
        **{title: _quantity(name, title, summary, looks) for name, title in QUANTITIES.items()},
        "share at or above the threshold": _recall(*recall),
    }
    unlike = tuple(sentence for sentence in sentences.values() if sentence)
    alike = tuple(what for what, sentence in sentences.items() if sentence == "")
    return unlike, alike, tuple(what for what, sentence in sentences.items() if sentence is None)


def _draw(images: pd.DataFrame) -> pd.DataFrame:
    """Images of whole patients, drawn at random, of whom the last may be cut."""
    patients = images["patient_id"].drop_duplicates().sample(frac=1, random_state=0).tolist()
    place = images["patient_id"].map({patient: i for i, patient in enumerate(patients)})
    return images.assign(place=place).sort_values("place", kind="stable").head(IMAGES).drop(columns="place")


def _predicted(options: AuditOptions, trained: TrainedEnsemble, images: pd.DataFrame) -> tuple[float, int]:
    """Share of breasts at or above the model's threshold, and how many breasts there are."""
    root = Path(options.input)
    # An image that says no patient or no side is a breast of its own.
    told = images["patient_id"].ne("") & images["laterality"].isin(["L", "R"])
    names = name_breasts(images).where(told, "image " + images["path"])
    # Without labels, of which some may lack, or contradict each other: nothing is scored.
    unlabelled = images.drop(columns=[*LABELS], errors="ignore")
    # Nor does anybody look whether an id is one image's, which predictions are known by.
    named = unlabelled.assign(prediction_id=names, image_id=images["path"])
    table = ImageTable(root.name, root, named.reset_index(drop=True))
    predicting = ValidateOptions(
        (str(root),), run=(options.run,), workers=options.workers, engine=options.engine, address=options.address
    )
    p = predict_tables(predicting, trained, [table], folds_not_trained_on([options.run]))[0].breasts()["probability"]
    return float(recalled(p, trained.threshold).mean()), len(p)


def _machines(summary: TrainingSet, machines: Sequence[str], images: pd.DataFrame) -> str | None:
    """A sentence on machines that training has not seen; None where one side does not name its machines."""
    if (said := _unseen("machines", summary.headers, machines)) is not None:
        return said
    # The tables' names, which mean something within one project.
    return _unseen("machines", summary.machines, images["machine"]) if "machine_id" in images else None


def _unseen(what: str, in_training: Iterable[str], here: Iterable[str]) -> str | None:
    """A sentence on values that training has not seen; empty where they are few, None where one side says none."""
    seen, values = [value for value in in_training if value], [value for value in here if value]
    if not seen or not values:
        return None
    strange = pd.Series([value for value in values if value not in seen], dtype=object)
    if len(strange) < max(1.0, _STRANGE * len(values)):
        return ""
    counts = strange.value_counts()
    named = ", ".join(f"{name} ({count})" for name, count in counts.head(4).items())
    which = f"one {what[:-1]}" if len(counts) == 1 else f"{len(counts)} {what}"
    return (
        f"{what}: {len(strange):,} of {len(values):,} images are of {which} that training has not seen: "
        f"{named}{', …' if len(counts) > 4 else ''}; it has seen {first_few(seen, 4)}"
    )


def _quantity(name: str, title: str, summary: TrainingSet, looks: Sequence[Appearance]) -> str | None:
    """A sentence where a quantity is distributed otherwise than in training; empty where it is not."""
    if name not in summary.quantities:
        return None
    training = np.asarray(summary.quantities[name])
    here = np.sort([getattr(one, name) for one in looks])
    n, m = len(here), summary.looked_at
    low, middle, high = np.quantile(training, [0.05, 0.5, 0.95])
    outside = float(((here < low) | (here > high)).mean())
    apart = ks_distance(training, here) > max(_APART, _CRITICAL * np.sqrt((n + m) / (n * m)))
    if not apart or outside < _OUTSIDE:  # hardly anything that training has not seen
        return ""
    median = float(np.median(here))
    way = "higher" if median > middle else "lower" if median < middle else "spread otherwise"
    return (
        f"{title}: {way}; median {median:.3g}, in training {middle:.3g} (5 to 95 %: {low:.3g} to {high:.3g}), outside "
        f"of which lie {outside:.0%} of these images"
    )


def ks_distance(of_quantiles: Floats, values: Floats) -> float:
    """Kolmogorov and Smirnov's distance of two distributions, in [0, 1]: one by (q,) equally spaced quantiles, q ≥ 2,
    one by its (n,) finite values, n ≥ 1."""
    from scipy.stats import ks_2samp

    steps = len(of_quantiles)
    drawn = np.interp(np.linspace(0, 1, 20 * (steps - 1) + 1), np.linspace(0, 1, steps), of_quantiles)
    return float(ks_2samp(drawn, values).statistic)


def _recall(share: float, breasts: int, at_home: float, threshold: float) -> str:
    """A sentence where more, or fewer, breasts reach the threshold than out of fold; empty where it may be chance."""
    low, high = wilson(round(share * breasts), breasts, _Z)
    if low <= at_home <= high:
        return ""
    more = share > at_home
    why = (
        "cancers are more frequent here, or probabilities lie higher"
        if more
        else "cancers are rarer here, or probabilities lie lower"
    )
    return (
        f"share at or above the threshold {threshold:.4f}: {share:.1%} of {breasts:,} breasts (99 % interval "
        f"{low:.1%} to {high:.1%}), where {at_home:.1%} were out of fold: {why}; labels tell which (rsna validate)"
    )

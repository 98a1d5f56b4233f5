"""Several runs as one: what they must have in common, and their joint out-of-fold predictions. No torch."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from rsna.config.data import Aggregate, JoinMethod, Sampling
from rsna.config.settings import ConfigError
from rsna.evaluation.breasts import same_folds
from rsna.evaluation.ensemble import Ensemble, ensemble
from rsna.runs.errors import RunError
from rsna.runs.run import Run, open_run

_TRAINED = "what is submitted makes them in one way: train these with one evaluation.aggregate"


def agreed_sampling(runs: Mapping[str, Run], asked: Sampling | None = None) -> Sampling:
    """How the sets of all runs were sampled; where there is none, as asked, or else population.

    Raises:
        ConfigError: They differ, or something else is asked for.
    """
    found = {run.record.data.sampling for run in runs.values()} or {asked or "population"}
    if len(found) > 1:
        raise ConfigError(f"run: these are sampled differently ({', '.join(sorted(found))}) and cannot be joined")
    own = found.pop()
    if asked not in (None, own):
        raise ConfigError(f"sampling: {asked}, and the runs are of sets that are {own}; leave it out")
    return own


def agreed_aggregate(runs: Mapping[str, Run], asked: Aggregate | None = None, mend: str = _TRAINED) -> Aggregate:
    """How breasts are made of images: as asked, or else as every run of images does; mean where there is none.

    Runs of whole breasts make none of images: what stands in their configuration is not heard.

    Args:
        runs: Name → run.
        asked: See above.
        mend: What the message says to do.

    Raises:
        ConfigError: Nothing is asked for, and they differ.
    """
    of_images = {name: run for name, run in runs.items() if run.config.unit == "image"}
    own = {run.config.evaluation.aggregate for run in of_images.values()} or {"mean"}
    if asked is None and len(own) > 1:
        said = ", ".join(f"{name}: {run.config.evaluation.aggregate}" for name, run in of_images.items())
        raise ConfigError(f"run: these make breasts of images differently ({said}); {mend}")
    return asked or own.pop()


def open_members(names: Sequence[str], folds: tuple[int, ...] = ()) -> dict[str, tuple[Run, dict[int, int]]]:
    """Runs on the same folds: name → the run, and of the folds in use the first run's number → its own.

    Args:
        names: Run folders.
        folds: Folds to use, as the first run numbers them; every finished one where empty.

    Raises:
        RunError: See :func:`rsna.runs.run.open_run`; the runs have other folds finished, or no patient in common.
        PredictionError: They split the patients otherwise.
    """
    first = open_run(names[0], folds)
    used = folds or tuple(first.weights)
    found = {names[0]: (first, {fold: fold for fold in used})}
    for name in names[1:]:
        run = open_run(name, folds)
        numbers = _fold_numbers(first, run)
        own = tuple(numbers[fold] for fold in folds if fold in numbers)
        if own != folds:
            run = open_run(name, own)
        if not folds and {numbers.get(fold, -1) for fold in used} != set(run.weights):
            raise _unequal(first, run, first.weights, run.weights)
        found[name] = run, {fold: numbers.get(fold, fold) for fold in used}
    return found


def require_equal_folds(runs: Iterable[Run]) -> None:
    """Refuses runs of which one has fewer finished folds than another: their breasts are not the same.

    Raises:
        RunError: Names two.
    """
    for first, run in pairwise(runs):
        of_equal = first.record.n_folds == run.record.n_folds  # another number is another split, which is said as such
        if of_equal and len(first.fold_metrics) != len(run.fold_metrics):
            raise _unequal(first, run, first.fold_metrics, run.fold_metrics)


def join_runs(
    members: Mapping[str, tuple[Run, dict[int, int]]], method: JoinMethod, weights: Sequence[float], resamples: int
) -> Ensemble:
    """What ``rsna ensemble`` says of these runs, on the folds in use.

    Args:
        members: Of :func:`open_members`.
        method: How they are joined.
        weights: Given ones; where empty, they are fitted, if the method is ``weights``.
        resamples: Behind each interval; 0 leaves these and comparisons out.

    Raises:
        ConfigError: Runs that were sampled, or make breasts of images, differently.
        PredictionError: They hold other breasts or labels.
        RunError: A run has no such predictions, or they were changed.
    """
    runs = {name: run for name, (run, _) in members.items()}
    sampling, aggregate = agreed_sampling(runs), agreed_aggregate(runs)
    images = {name: run.oof(tuple(numbers.values())) for name, (run, numbers) in members.items()}
    return ensemble(images, method, aggregate, weights=weights, sampling=sampling, resamples=resamples)


def _unequal(first: Run, run: Run, folds: Iterable[int], others: Iterable[int]) -> RunError:
    ours, theirs = (", ".join(map(str, one)) or "none" for one in (folds, others))
    return RunError(
        f"run: {first.path} has the folds {ours}, {run.path} has {theirs}, and members of an ensemble need the "
        "same: python train.py fold=all trains the rest, or name those that all have with folds=[…], as ensemble, "
        "infer and bundle make take them"
    )


def _fold_numbers(first: Run, other: Run) -> dict[int, int]:
    """The first run's number of a fold → the other's."""
    folds = {str(run.path): run.folds.set_index("patient_id")["fold"] for run in (first, other)}
    same_folds(folds)
    ours, theirs = (fold.groupby(level=0).first() for fold in folds.values())
    both = ours.to_frame("ours").join(theirs.rename("theirs"), how="inner").drop_duplicates()
    if both.empty:
        raise RunError(f"run: no patient of {first.path} is in {other.path}; members of an ensemble are of one set")
    return {int(one): int(another) for one, another in zip(both["ours"], both["theirs"], strict=True)}

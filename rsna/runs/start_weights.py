"""Weights that training starts from, where they are a run's or a bundle's: fold from fold, and no patient leaks.

A fold that starts from weights which learnt from a patient that it validates is scored on what it has seen.
"""

import re
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pandas as pd

from rsna.config.settings import ConfigError
from rsna.dataset.table_inputs import TableInput
from rsna.dataset.targets import get_targets
from rsna.files import first_few
from rsna.model.learnt import Learnt
from rsna.model.weight_files import PACKAGE
from rsna.runs.bundle import Bundle, open_bundle
from rsna.runs.errors import RunError
from rsna.runs.run import Run, open_run
from rsna.runs.schema import BUNDLE, FOLDS, RECORD, WEIGHTS, MemberRecord, RunRecord
from rsna.runs.set_schema import LabelOrigin

_FOLD = re.compile(r"fold(\d+)")


@dataclass(frozen=True)
class Start:
    """What a fold starts from."""

    weights: str
    """``model.weights`` of this fold."""
    learnt: Learnt | None = None
    """What its network learnt; None where nobody says so, and the backbone alone is taken."""


def start_weights(
    source: str,
    fold: int,
    folds: pd.DataFrame,
    hashes: Mapping[str, str],
    notes: list[str],
    labels: list[LabelOrigin] | None = None,
) -> Start:
    """The weights that a fold starts from.

    Args:
        source: ``model.weights``: a run folder, a bundle as folder or archive, or anything else, which is given back.
        fold: The fold that is trained.
        folds: patient_id, image_id, fold of the set that is trained on.
        hashes: Its *folds* and *dataset* hashes.
        notes: What is to be said of whom the weights have seen is added.
        labels: The sets that they were trained on are added, by what their runs and bundles say, of weight 0: their
            licences hold for what becomes of them.

    Returns:
        ``source``, or the file of this fold in it, with what its run or bundle says of it.

    Raises:
        ConfigError: They were trained on patients that the fold validates.
        RunError: The run or bundle cannot be read, or has no weights of this fold.
    """
    path = Path(source).expanduser()
    if not source or source.startswith(PACKAGE) or not path.exists():
        return Start(source)
    check = _Check(fold, folds, hashes, notes, [] if labels is None else labels)
    if _is_run(path):
        run = open_run(path)
        file = _file_of_run(run, fold)
        check.run(run, fold)
        notes.append(
            f"model.weights: each fold starts from the same fold of {run.path} ({run.backbone}, data "
            f"{run.record.data.name}), which was trained on none of the patients that it validates"
        )
        return Start(str(file), _learnt(run.record))
    if _is_bundle(path):
        bundle = open_bundle(path)
        file = _file_of_bundle(bundle, path, fold)
        check.bundle(bundle.record.members[0], path, fold)
        return Start(str(file), _learnt(bundle.record.members[0]))
    check.file(path)
    return Start(source, _learnt_of_file(path))


def _learnt(record: RunRecord | MemberRecord) -> Learnt:
    inputs = (TableInput(name, values) for name, values in record.table_inputs.items())
    return Learnt(get_targets(record.targets), tuple(inputs))


def _learnt_of_file(path: Path) -> Learnt | None:
    """Of a file in a run's fold, or of one that a bundle names; None of any other."""
    for place in dict.fromkeys((path.absolute(), path.resolve())):
        if place.name == WEIGHTS and _FOLD.fullmatch(place.parent.name) and _is_run(place.parent.parent):
            return _learnt(open_run(place.parent.parent).record)
        if (place.parent / BUNDLE).is_file():
            try:
                members = open_bundle(place.parent).record.members
            except RunError:  # has been said
                continue
            found = [member for member in members if place.name in member.weights.values()]
            return _learnt(found[0]) if found else None
    return None


def _is_run(path: Path) -> bool:
    return path.is_dir() and (path / RECORD).is_file()


def _is_bundle(path: Path) -> bool:
    if path.is_dir():
        return (path / BUNDLE).is_file()
    # torch's own files are archives, too, and some are called .pth.tar.
    return path.suffix == ".zip" or (path.suffix == ".tar" and ".pth" not in path.suffixes and tarfile.is_tarfile(path))


def _file_of_run(run: Run, fold: int) -> Path:
    if fold not in run.weights:
        held = ", ".join(map(str, run.weights)) or "none"
        raise RunError(
            f"model.weights: {run.path} has no weights for fold {fold} to start from (finished folds: {held}); train "
            f"it there first (fold={fold}), or name one file for all folds, as {run.path}/fold0/{WEIGHTS}"
        )
    return run.weights[fold]


def _file_of_bundle(bundle: Bundle, path: Path, fold: int) -> Path:
    if len(bundle.record.members) > 1:
        members = ", ".join(member.name for member in bundle.record.members)
        raise RunError(f"model.weights: {path} is a bundle of several models ({members}); name a file of it")
    names = bundle.record.members[0].weights
    if fold not in names:
        raise RunError(
            f"model.weights: {path} holds folds {', '.join(map(str, names))}, and no weights that fold {fold} "
            "could start from; name a file of it"
        )
    bundle.check_files([names[fold]])
    return bundle.folder / names[fold]


@dataclass
class _Check:
    """Whether weights, or what these started from in turn, have seen the patients that a fold validates.

    What is known to be wrong is raised, and what cannot be known is added to ``notes``.
    """

    fold: int
    """The fold that is to be trained."""
    folds: pd.DataFrame
    hashes: Mapping[str, str]
    notes: list[str]
    labels: list[LabelOrigin]
    done: set[tuple[Path, int | None]] = field(default_factory=set)
    """Run or bundle, and its fold: several ways may lead to one, and runs of the same names may start in a circle."""

    @cached_property
    def validated(self) -> set[str]:
        return set(self.folds.loc[self.folds["fold"] == self.fold, "patient_id"])

    def file(self, path: Path) -> None:
        """A file by the name that is given and by where it leads: it may lie in a run's fold, or in a bundle."""
        for place in dict.fromkeys((path.absolute(), path.resolve())):
            for folder in place.parents[:2]:
                match = _FOLD.fullmatch(folder.name)
                if match and _is_run(folder.parent) and self._key(folder.parent, int(match[1])) not in self.done:
                    self.run(open_run(folder.parent), int(match[1]))
                if (folder / BUNDLE).is_file():
                    self._file_in_bundle(folder, place)

    def run(self, run: Run, number: int) -> None:
        """What fold ``number`` of a run was trained on, and what the run started from."""
        if not self._is_first(run.path, number):
            return
        self._keep(run.name, run.record.data.labels)
        trained = run.patients(without=number)
        if seen := sorted(self.validated & trained):
            raise ConfigError(
                f"model.weights: fold {number} of {run.path} was trained on {len(seen):,} of the "
                f"{len(self.validated):,} patients that fold {self.fold} validates (first: {first_few(seen)}), so its "
                f"metrics would be too good. Split as that run did, folds.file={run.path / FOLDS}, and start each fold "
                f"from the same fold of it, model.weights={run.path}. If these are other people under the same ids, "
                "name a copy of the file of weights that lies outside the run"
            )
        if run.config.data.extra:
            self.notes.append(
                f"model.weights: {run.path} was also trained on {', '.join(run.config.data.extra)}; whether patients "
                "of these folds are among them is not recorded"
            )
        if number in run.weights:
            self.file(run.weights[number])  # which may be a link to another run's
        before = run.config.model.weights
        if before and not before.startswith(PACKAGE):
            self._before(run, Path(before).expanduser(), number)

    def _before(self, run: Run, path: Path, number: int) -> None:
        if not path.exists():
            self.notes.append(
                f"model.weights: {run.path} itself started from {path}, which is not there; whether that was trained "
                "on patients of these folds is not known"
            )
        elif _is_run(path):
            self.run(open_run(path), number)
        elif _is_bundle(path):
            for member in open_bundle(path).record.members:
                self.bundle(member, path, number)
        else:
            self.file(path)

    def _file_in_bundle(self, folder: Path, file: Path) -> None:
        try:
            bundle = open_bundle(folder)
        except RunError as error:
            self.notes.append(
                f"model.weights: {file} lies in a bundle that cannot be read ({error}); whether it was trained on "
                "patients of these folds is not known"
            )
            return
        found = (
            (member, fold)
            for member in bundle.record.members
            for fold, name in member.weights.items()
            if name == file.name
        )
        member, number = next(found, (bundle.record.members[0], None))
        if number is not None:
            bundle.check_files([file.name])
        self.bundle(member, folder, number)

    def bundle(self, record: MemberRecord, path: Path, number: int | None) -> None:
        """What a member's hashes tell of fold ``number``; None for a file in its folder that is none of its folds."""
        if not self._is_first(path / record.name, number):
            return
        self._keep(record.name, record.labels)
        ours = self.hashes
        if record.hashes.folds == ours["folds"]:
            if number is not None and number != self.fold:
                raise ConfigError(
                    f"model.weights: fold {number} of {path} was trained on every patient that fold {self.fold} "
                    "validates, so its metrics would be too good. Start each fold from the same fold of it, "
                    f"model.weights={path}"
                )
        elif record.hashes.dataset == ours["dataset"]:
            raise ConfigError(
                f"model.weights: {path} was trained on this very set in other folds ({record.hashes.folds}, here "
                f"{ours['folds']}), so fold {self.fold} would be validated on patients that it has seen. Give the "
                "folds.csv of the run that it was made of as folds.file"
            )
        if record.hashes.folds != ours["folds"] or number is None:
            self.notes.append(
                f"model.weights: {path} ({record.name}) does not say on whom "
                f"{'it' if number is not None else 'a file that is none of its folds'} was trained; where patients of "
                "these folds are among them, metrics are too good"
            )
        before = str(record.config.get("model", {}).get("weights", ""))
        if before and not before.startswith(PACKAGE):
            self.notes.append(
                f"model.weights: {path} was made of a run that started from {before}; whether that was trained on "
                "patients of these folds is not recorded"
            )

    def _keep(self, name: str, labels: Iterable[LabelOrigin]) -> None:
        """Adds the sets of a run or bundle of that name, and those that it took over from what it started from."""
        for label in labels:
            kept = label if label.weight == 0 else label.model_copy(update={"set": f"weights of {name}", "weight": 0.0})
            if kept not in self.labels:
                self.labels.append(kept)

    @staticmethod
    def _key(path: Path, number: int | None) -> tuple[Path, int | None]:
        return path.resolve(), number

    def _is_first(self, path: Path, number: int | None) -> bool:
        key = self._key(path, number)
        first = key not in self.done
        self.done.add(key)
        return first

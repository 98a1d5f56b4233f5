"""Verbs that train, and score what was trained; jobs of a sweep, each in a run folder of its own."""

import dataclasses
import re
import statistics
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rsna.cli.announce import asks_for_print, tell
from rsna.cli.verb import speaks_for_itself, verb
from rsna.config.external import CalibrateOptions, ValidateOptions
from rsna.config.schema import Config
from rsna.config.settings import digest, fields_of, require
from rsna.config.verbs import ModelsOptions
from rsna.files import first_few

_HASHED = ("data", "folds", "preprocess")
"""Groups whose keys may change between two starts as long as the hashes stay; swept, they change them."""
_LONGEST = 80
"""Characters that swept keys add to a folder's name at most."""


class JobError(RuntimeError):
    """A job of a sweep failed; the message was printed where it ran, which may be another machine."""


@verb(
    "train",
    configured=True,
    says=lambda overrides: "" if asks_for_print(overrides) else "reads the configuration and the table of images",
)
def _train(arguments: Sequence[str]) -> int:
    """Train folds of an experiment, predict them out of fold, score pF1 by breast."""
    from rsna.config.compose import compose, is_sweep, read_arguments

    arguments = with_seeds(arguments)
    flags, overrides, _ = read_arguments(arguments)
    if is_sweep(flags, overrides):
        return _sweep(arguments)
    config = compose(arguments)
    tell("train", f"trains {_fold(config)} on {config.data.root}, into {config.run_dir}")
    from rsna.training.run import train

    train(config)
    return 0


def _sweep(arguments: Sequence[str]) -> int:
    """Trains the jobs of a sweep by Hydra's sweeper and launcher. One that fails is said, and the others go on."""
    from hydra.core.hydra_config import HydraConfig

    from rsna.config.compose import freeze, read_arguments, run_hydra

    flags, overrides, said = read_arguments(arguments)
    if said:
        print(said, file=sys.stderr, flush=True)
    objectives: dict[str, dict[int, tuple[Path, str, float]]] = {}

    def job(composed: Any) -> float | None:
        """One job, perhaps in a process of its own or on another machine."""
        from rsna.training.run import train

        about = HydraConfig.get()
        try:
            config = with_own_run(freeze(composed), composed, overrides, about.overrides.task)
            tell(
                "train",
                f"job {about.job.num} ({' '.join(about.overrides.task)}): {_fold(config)}, into {config.run_dir}",
            )
            trained = train(config)
            if trained.objective is not None:
                alike = digest(dataclasses.replace(config, seed=0, run=""))
                of = f"{config.objective} of {{}}, {_fold(config)}"
                objectives.setdefault(alike, {})[config.seed] = config.run_dir, of, trained.objective
            return trained.objective
        except BrokenPipeError:  # nobody reads what the other jobs would say
            raise
        except Exception as error:
            message = f"job {about.job.num} ({' '.join(about.overrides.task)}) failed: {error}"
            print(f"rsna train: {message}", file=sys.stderr, flush=True)
            if not speaks_for_itself(error):
                traceback.print_exc()
            raise JobError(message) from None

    try:
        run_hydra(flags, overrides, job)
    except JobError as first:
        print(f"rsna train: the sweep is done, but not all of it; first {first}", file=sys.stderr)
        return 1
    finally:
        for line in _over_seeds(objectives):
            print(line)
    return 0


def with_seeds(arguments: Sequence[str]) -> list[str]:
    """A command line of which ``seeds=[0,1,2]`` became a sweep of ``seed``: each seed is a run of its own.

    Raises:
        ConfigError: They are not different whole numbers, ``seed`` is given, too, or a configuration is to be printed.
    """
    seeds = [argument for argument in arguments if argument.startswith("seeds=")]
    if not seeds:
        return list(arguments)
    twice = " and as ".join(argument.partition("=")[2] for argument in seeds)
    require(len({*seeds}) == 1, f"seeds: is given twice, as {twice}; give it once")
    numbers = re.findall(r"[^\s,]+", seeds[-1].partition("=")[2].strip("[] "))
    require(
        bool(numbers) and all(map(str.isdecimal, numbers)) and len({*map(int, numbers)}) == len(numbers),
        f"{seeds[-1]}: name different whole numbers from 0 on, as seeds=[0,1,2]",
    )
    rest = [argument for argument in arguments if argument not in seeds]
    clash = next((argument for argument in rest if argument.startswith("seed=")), "")
    require(not clash, f"{clash} and {seeds[-1]}: give one of them")
    require(not asks_for_print(rest), f"{seeds[-1]}: what is printed is one configuration; give seed={numbers[0]}")
    sweeping = {"-m", "--multirun"} & set(rest)
    return [*rest, *([] if sweeping else ["-m"]), f"seed=choice({','.join(numbers)})"]


def _over_seeds(objectives: Mapping[str, Mapping[int, tuple[Path, str, float]]]) -> list[str]:
    """A line for each configuration that several seeds trained here: what its objective is over them.

    Args:
        objectives: Hash of a configuration without its seed → seed → run folder, what the objective is of, its value.
    """
    lines = []
    for by_seed in objectives.values():
        if len(by_seed) > 1:
            values = sorted(value for _, _, value in by_seed.values())
            runs = [
                re.sub(rf"(?<![\w.])seed_{seed}(?!\w)", "seed_*", str(run)) for seed, (run, _, _) in by_seed.items()
            ]
            _, what, _ = next(iter(by_seed.values()))
            lines.append(
                f"{what.format(', '.join(dict.fromkeys(runs)))}: seeds {', '.join(map(str, sorted(by_seed)))}: mean "
                f"{statistics.mean(values):.4f}, standard deviation {statistics.stdev(values):.4f}, {values[0]:.4f} to "
                f"{values[-1]:.4f}"
            )
    return list(dict.fromkeys(lines))


def _fold(config: Config) -> str:
    return "every fold" if config.fold == "all" else f"fold {config.fold}"


def with_own_run(config: Config, composed: Any, given: Sequence[str], job: Sequence[str]) -> Config:
    """The configuration of a job, whose run folder is named by the keys that differ between jobs.

    Keys that a run is not bound to (``fold``, ``tracking``) leave the folder as it is: their jobs are one run. A
    ``run`` or ``name`` made of other keys (``run=runs/x-${optim.lr}``) is left as it is.

    Args:
        composed: The job's configuration before interpolations were resolved.
        given: Overrides of the command line.
        job: Overrides of this job.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from omegaconf import OmegaConf

    from rsna.runs.run_directory import FREE

    if OmegaConf.is_interpolation(composed, "run") or OmegaConf.is_interpolation(composed, "name"):
        return config
    # Balanced batches are a device's, so there its size makes the epoch.
    balanced = config.sampler.kind == "balanced"
    free = tuple(f"{key}." for key in FREE if not (balanced and key == "batch_size_per_device"))
    parser = OverridesParser.create()
    fixed = {o.key_or_group for o in parser.parse_overrides(list(given)) if not o.is_sweep_override()}
    folder, parts = config.run_dir, []
    for override in parser.parse_overrides(list(job)):
        key, value = override.key_or_group, override.get_value_element_as_str().strip("'\"")
        named = key in ("run", "name") or (key == "experiment" and f"{folder.name}-".startswith(f"{value}-"))
        named |= key in ("data", "data.name", "data.root") and not config.run  # the set's name is in the folder's
        binds = key.split(".")[0] in _HASHED or not f"{key}.".startswith(free)
        if key in fixed or named or not binds:
            continue
        plain = re.sub(r"[^\w.+]+", "_", value.strip("[]")) if re.search(r"[^\w.+-]", value) else value
        last = key.rpartition(".")[2]
        name = key if last != key and last in fields_of(Config) else last  # folds.seed is not seed
        parts.append(f"{name}_{plain}" + (f"_{digest(value)[:4]}" if plain != value else ""))
    if not parts:
        return config
    suffix = "-".join(parts)
    if len(suffix) > _LONGEST:
        suffix = f"{suffix[: _LONGEST - 13]}-{digest(suffix)}"
    return dataclasses.replace(config, run=str(folder.with_name(f"{folder.name}-{suffix}")))


@verb("models", ModelsOptions, says=lambda o: "counts parameters and multiply-adds of every EfficientNet")
def _models(options: ModelsOptions) -> None:
    """List every EfficientNet with its weights, parameters and multiply-adds.

    rsna models
    rsna models size=[2048,1024]
    rsna models format=json
    """
    from rsna.model.catalogue import list_models

    print(list_models(options))


@verb(
    "validate", ValidateOptions, says=lambda o: f"predicts {first_few(o.input)} with {first_few(o.run)} and scores that"
)
def _validate(options: ValidateOptions) -> None:
    """Score any run or bundle on any labelled folder, in the table of out-of-fold metrics; on several, side by side.

    rsna validate run=runs/demo input=/other/site
    rsna validate run=b3.zip input=/other/site flip=true
    rsna validate run=runs/demo input=[/site/a,/site/b] report=elsewhere
    rsna validate run=[runs/a,runs/b] input=/other/site
    """
    if len(options.input) > 1 or options.report:
        from rsna.external.sets import validate_sets

        validate_sets(options)
        return
    from rsna.inference.validate import validate

    validate(options)


@verb(
    "calibrate",
    CalibrateOptions,
    says=lambda o: f"predicts {o.input} with {first_few(o.run)} and fits probabilities to it",
)
def _calibrate(options: CalibrateOptions) -> None:
    """Fit the line of a run's probabilities to a site's own labelled exams; weights and threshold stay as they are.

    rsna calibrate run=runs/demo input=/our/exams out=ours.json
    rsna infer run=runs/demo input=/new/exams calibration=ours.json
    """
    from rsna.external.calibrate import calibrate_site

    print(calibrate_site(options).table())

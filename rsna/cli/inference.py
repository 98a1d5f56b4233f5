"""Verbs that predict: infer, predict, bundle, export."""

import json
from pathlib import Path

from rsna.cli.shards import say_incomplete, to_arguments
from rsna.cli.verb import verb
from rsna.config.settings import require, unless_auto
from rsna.config.shard import IncompleteError
from rsna.config.verbs import BundleMakeOptions, BundleVerifyOptions, ExportOptions, InferOptions, PredictOptions
from rsna.files import first_few


@verb("infer", InferOptions, says=lambda o: f"predicts {o.input} with {first_few(o.run)}, for {o.out}")
def _infer(options: InferOptions) -> None:
    """Predict a test set, or any folder of DICOM files, with every fold of a run or several; write a submission.

    rsna infer run=runs/demo input=data/demo
    python infer.py run=runs/b3-rsna input=/exams submit=probability
    python infer.py run=bundle input=/exams flip=true time_budget=8h
    rsna infer run=[runs/a,runs/b] input=/exams weights=[0.6,0.4]
    rsna infer run=runs/demo input=data/demo shard=3/8    # on any machine that shares its disk
    """
    from rsna.inference.infer import infer
    from rsna.parallel.progress import process_started

    infer(options, started=process_started())


@verb("infer merge", InferOptions, says=lambda o: f"merges the shards of {o.input}, for {o.out}")
def _infer_merge(options: InferOptions) -> int:
    """Make one submission of what shards have predicted, once all are there. Exit code 1 if any is missing.

    rsna infer merge run=runs/demo input=data/demo
    rsna infer merge run=runs/demo input=data/demo submit=probability
    """
    require(not options.shard, "shard: all of them are merged; leave it out")
    from rsna.inference.shards.merge import merge

    try:
        merge(options)
    except IncompleteError as error:
        return say_incomplete(error, "infer", to_arguments(options))
    return 0


@verb("predict", PredictOptions, says=lambda o: f"predicts {o.input} with {first_few(o.run)}")
def _predict(options: PredictOptions) -> int:
    """Predict a file or an exam; print probabilities by image and breast. Exit code 1 if any failed.

    rsna predict run=bundle input=/exams/10006
    rsna predict run=b3.zip input=image.dcm format=json
    """
    from rsna.dataset.table import TableError

    if not Path(options.input).expanduser().exists():
        raise TableError(f"input={options.input}: there is no such file or folder")
    from rsna.inference.predictor import Predictor

    with Predictor(
        options.run,
        method=options.method,
        weights=options.weights,
        backend=options.backend,
        precision=options.precision,
        tolerance=options.tolerance,
        images=0,  # an exam
        calibration=options.calibration,
        workers=unless_auto(options.workers),
    ) as predictor:
        found = predictor.predict(options.input)
    print(found.table() if options.format == "table" else json.dumps(found.to_dict(), indent=2))
    return 1 if found.failures else 0


@verb("bundle make", BundleMakeOptions, says=lambda o: f"packs {first_few(o.run)} into {o.out}")
def _bundle_make(options: BundleMakeOptions) -> None:
    """Pack a run, or several, for inference without a network: weights, description, wheels, metadata for upload.

    rsna bundle make run=runs/demo out=bundle
    rsna bundle make run=runs/demo out=bundle host=freeze.txt
    rsna bundle make run=[runs/a,runs/b] out=bundle method=mean
    """
    from rsna.bundle.make import make_bundle, summary

    print(summary(make_bundle(options)))


@verb(
    "bundle verify",
    BundleVerifyOptions,
    says=lambda o: f"checks {o.run}{', installs it and predicts with it' if o.install else ''}",
)
def _bundle_verify(options: BundleVerifyOptions) -> None:
    """Check a bundle's files, install it into a new environment and predict there with the network cut.

    rsna bundle verify run=bundle
    rsna bundle verify run=bundle install=false
    """
    from rsna.bundle.verify import summary, verify_bundle

    print(summary(verify_bundle(options), options.run))


@verb(
    "export",
    ExportOptions,
    says=lambda o: f"writes the networks of {first_few(o.run)} as {o.format.upper()} and compares them with torch's",
)
def _export(options: ExportOptions) -> None:
    """Write a run's networks as ONNX; fail where they differ from torch.

    rsna export run=runs/demo format=onnx
    rsna export run=runs/demo format=onnx images=/exams
    """
    from rsna.inference.export import export

    found, notes = export(options)
    print("\n\n".join(one.table() for one in found) + "".join(f"\nnote: {note}" for note in notes))

"""Verbs that predict: infer, predict, bundle, export."""

import json
from pathlib import Path

from rsna.cli.verb import verb
from rsna.config.settings import unless_auto
from rsna.config.verbs import BundleMakeOptions, BundleVerifyOptions, ExportOptions, InferOptions, PredictOptions


@verb("infer", InferOptions)
def _infer(options: InferOptions) -> None:
    """Predict a test set, or any folder of DICOM files, with every fold of a run; write a complete submission.

    rsna infer run=runs/demo input=data/demo
    python infer.py run=runs/b3-rsna input=/exams submit=probability
    python infer.py run=bundle input=/exams flip=true time_budget=8h
    """
    from rsna.inference.infer import infer

    infer(options)


@verb("predict", PredictOptions)
def _predict(options: PredictOptions) -> int:
    """Predict a file or an exam; print probabilities by image and breast. Exit code 1 if any failed.

    rsna predict run=bundle input=/exams/10006
    rsna predict run=b3.zip input=image.dcm format=json
    """
    from rsna.dataset.table import TableError
    from rsna.inference.predictor import Predictor

    if not Path(options.input).expanduser().exists():
        raise TableError(f"input={options.input}: there is no such file or folder")
    with Predictor(options.run, backend=options.backend, workers=unless_auto(options.workers)) as predictor:
        found = predictor.predict(options.input)
    print(found.table() if options.format == "table" else json.dumps(found.to_dict(), indent=2))
    return 1 if found.failures else 0


@verb("bundle make", BundleMakeOptions)
def _bundle_make(options: BundleMakeOptions) -> None:
    """Pack a run for inference without a network: weights, description, wheels, metadata for upload.

    rsna bundle make run=runs/demo out=bundle
    rsna bundle make run=runs/demo out=bundle host=freeze.txt
    """
    from rsna.bundle.make import make_bundle, summary

    print(summary(make_bundle(options)))


@verb("bundle verify", BundleVerifyOptions)
def _bundle_verify(options: BundleVerifyOptions) -> None:
    """Check a bundle's files, install it into a new environment and predict there with the network cut.

    rsna bundle verify run=bundle
    rsna bundle verify run=bundle install=false
    """
    from rsna.bundle.verify import summary, verify_bundle

    print(summary(verify_bundle(options), options.run))


@verb("export", ExportOptions)
def _export(options: ExportOptions) -> None:
    """Write a run's networks as ONNX; fail where they differ from torch.

    rsna export run=runs/demo format=onnx
    rsna export run=runs/demo format=onnx images=/exams
    """
    from rsna.inference.export import export

    print(export(options).table())

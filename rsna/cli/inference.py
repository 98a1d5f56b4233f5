"""Verbs that predict: infer, predict, bundle, export."""

import json
from pathlib import Path

from rsna.cli.verb import Verb
from rsna.config.verbs import BundleMakeOptions, BundleVerifyOptions, ExportOptions, InferOptions, PredictOptions


def _infer(options: InferOptions) -> int:
    from rsna.inference.infer import infer

    infer(options)
    return 0


def _predict(options: PredictOptions) -> int:
    from rsna.dataset.table import TableError
    from rsna.inference.predictor import Predictor

    if not Path(options.input).expanduser().exists():
        raise TableError(f"input={options.input}: there is no such file or folder")
    with Predictor(options.run, backend=options.backend, workers=options.workers) as predictor:
        found = predictor.predict(options.input)
    print(found.table() if options.format == "table" else json.dumps(found.to_dict(), indent=2))
    return 1 if found.failures else 0


def _bundle_make(options: BundleMakeOptions) -> int:
    from rsna.bundle.make import make_bundle, summary

    print(summary(make_bundle(options)))
    return 0


def _bundle_verify(options: BundleVerifyOptions) -> int:
    from rsna.bundle.verify import summary, verify_bundle

    print(summary(verify_bundle(options), options.run))
    return 0


def _export(options: ExportOptions) -> int:
    from rsna.inference.export import export

    print(export(options).table())
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
            "python infer.py run=bundle input=/exams flip=true time_budget=8h",
        ),
    ),
    Verb(
        "predict",
        "Predict a file or an exam; print probabilities by image and breast. Exit code 1 if any failed.",
        PredictOptions,
        _predict,
        ("rsna predict run=bundle input=/exams/10006", "rsna predict run=b3.zip input=image.dcm format=json"),
    ),
    Verb(
        "bundle make",
        "Pack a run for inference without a network: weights, description, wheels, metadata for upload.",
        BundleMakeOptions,
        _bundle_make,
        ("rsna bundle make run=runs/demo out=bundle", "rsna bundle make run=runs/demo out=bundle host=freeze.txt"),
    ),
    Verb(
        "bundle verify",
        "Check a bundle's files, install it into a new environment and predict there with the network cut.",
        BundleVerifyOptions,
        _bundle_verify,
        ("rsna bundle verify run=bundle", "rsna bundle verify run=bundle install=false"),
    ),
    Verb(
        "export",
        "Write a run's networks as ONNX; fail where they differ from torch.",
        ExportOptions,
        _export,
        ("rsna export run=runs/demo format=onnx", "rsna export run=runs/demo format=onnx images=/exams"),
    ),
)

"""Verbs that predict: infer, predict, bundle, export."""

from rsna.cli.verb import Verb
from rsna.inference.options import InferOptions


def _infer(options: InferOptions) -> int:
    from rsna.inference.infer import infer

    infer(options)
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
        ),
    ),
)

"""The model card of a bundle: what the model is, what it was made of, how well it does, and what it is not.

After Mitchell et al., Model Cards for Model Reporting (2019).
"""

from pathlib import Path
from typing import Any

import pandas as pd

from rsna.runs.run import Run
from rsna.runs.schema import BundleRecord

_METRICS = {
    "pf1_nested": "pF1 nested: each fold cut at the threshold chosen on the other folds",
    "pf1_raw": "pF1 raw: of the probabilities",
    "auroc": "AUROC",
    "auprc": "area under the precision-recall curve",
    "sensitivity_at_specificity": "sensitivity at a specificity of 90 %",
    "brier": "Brier score (0 is best)",
    "calibration_error": "expected calibration error (0 is best)",
}


def model_card(run: Run, record: BundleRecord) -> str:
    """The card as Markdown.

    Args:
        run: What the bundle is made of.
        record: The bundle's description.
    """
    data, metrics, config = run.record.data, record.metrics, run.config
    pooled = metrics.pooled
    oof = run.oof(tuple(record.weights))
    simulated = (
        "\n\n**The images are simulated: these numbers say nothing of real mammograms.**" if data.simulated else ""
    )
    made = (
        " The share of positives was made, so pF1 is no screening metric; AUROC is."
        if run.sampling == "enriched"
        else ""
    )
    sampling = {"population": "as they came (population)", "enriched": "enriched with positives"}[run.sampling]
    # The name alone: where a file lay is nobody's business.
    start = Path(config.model.weights).name or ("ImageNet" if config.model.pretrained else "random numbers")
    chosen = (
        "the best epoch by pF1 on the fold that is reported, which flatters the metrics below"
        if run.selected
        else "the last epoch"
    )
    soup = f", averaged over {config.soup} epochs" if config.soup > 1 else ""
    scores = "\n".join(_score(name, title, record) for name, title in _METRICS.items())
    views = "image and mirror image" if record.flip else "image"
    commit = (
        f"{run.commit} (+: with changes in no commit)" if run.commit else "unknown, trained by an installed package"
    )
    versions = ", ".join(f"{name} {number}" for name, number in record.trained_with.items()) or "unknown"
    return f"""# {record.name}

Probability of breast cancer in screening mammograms, for each image and each breast: {len(record.weights)} networks
({run.backbone}), one a fold of a cross-validation, whose logits are averaged. Learnt: {", ".join(record.targets)}.

**For research. It is not a medical device, and no diagnosis may rest on it.** It was tested on the set below alone, out
of fold: other sites, machines, populations and years are untested, and so is any use beside a reader.{simulated}

## Trained on

| | |
|---|---|
| set | {data.name}{" (simulated)" if data.simulated else ""} |
| images | {data.images:,} |
| patients | {run.folds["patient_id"].nunique():,} |
| breasts in these folds | {pooled.breasts:,}, of which {pooled.positives:,} positive ({pooled.prevalence:.2%}) |
| sampling | {sampling} |
| age | {_range(oof, "age", "years")} |
| sites | {_count(oof, "site_id")} |
| machines | {_count(oof, "machine_id")} |
| country, ethnicity, years of acquisition, readers | unknown |

## How

| | |
|---|---|
| network | {run.backbone}, started from {start} |
| input | {run.input} pixels (rows × columns), {config.model.in_chans} channel, crop: {config.preprocess.crop} |
| folds | {", ".join(map(str, record.weights))} of {run.n_folds}; no patient on both sides of one |
| epochs | {config.trainer.epochs}, {config.global_batch_size} images an optimiser step |
| weights that count | {chosen}{soup}; stored as {record.stored} |
| prediction | mean logit over folds of each {views}; breast: {record.aggregate} of its images |

## How well

Out of fold, by breast; each number lies in [0, 1]. Intervals are {metrics.level:.0%} intervals over resampled patients;
they hold no training noise.{made}

| metric | value | interval |
|---|---|---|
{scores}

Threshold of a submission: {record.threshold:.4f}, the best pF1 on these out-of-fold breasts; {record.recalled:.2%} of them
reach it. The pF1 that it has on them is optimistic; the nested one is what to expect.

## Where it comes from

| | |
|---|---|
| preprocessing hash | {record.hashes.preprocessing} |
| folds hash | {record.hashes.folds} |
| dataset hash | {record.hashes.dataset} |
| commit | {commit} |
| trained with | {versions} |
| trained, packed | {run.record.created}, {record.created} |
| SHA-256 of every file | bundle.json |

The code is under the Apache License 2.0. The weights were made of the set above and started from {start}: whoever passes
them on keeps to the terms of both, which this card does not know.

## Use

```
pip install --no-index --find-links . rsna-mammography
rsna predict run=. input=FOLDER_OF_DICOM_FILES
python -c "import rsna; print(rsna.Predictor('.').predict('FOLDER_OF_DICOM_FILES').table())"
```
"""


def _score(name: str, title: str, record: BundleRecord) -> str:
    value: Any = (record.metrics.pooled.model_extra or {}).get(name)
    interval = record.metrics.pooled.intervals.get(name)
    between = (
        "not computed" if interval is None or interval.low is None else f"{interval.low:.3f} to {interval.high:.3f}"
    )
    return f"| {title} | {'undefined' if value is None else f'{value:.3f}'} | {between} |"


def _range(oof: pd.DataFrame, column: str, unit: str) -> str:
    known = pd.to_numeric(oof[column], errors="coerce").dropna() if column in oof else pd.Series(dtype=float)
    return f"{known.min():g} to {known.max():g} {unit}, median {known.median():g}" if len(known) else "unknown"


def _count(oof: pd.DataFrame, column: str) -> str:
    known = oof[column].dropna() if column in oof else []
    return f"{known.nunique()}" if len(known) else "unknown"

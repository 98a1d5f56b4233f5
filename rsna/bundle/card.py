"""The model card of a bundle: what the model is, what it was made of, how well it does, and what it is not.

After Mitchell et al., Model Cards for Model Reporting (2019); the text is card.md.
"""

from pathlib import Path

import pandas as pd

from rsna.runs.run import Run
from rsna.runs.schema import BundleRecord, MetricValues

_METRICS = {
    "pf1_nested": "pF1 nested: each fold cut at the threshold chosen on the other folds",
    "pf1_raw": "pF1 raw: of the probabilities",
    "auroc": "AUROC",
    "auprc": "area under the precision-recall curve",
    "sensitivity_at_specificity": "sensitivity at the specificity of bundle.json (metrics.points)",
    "brier": "Brier score (0 is best)",
    "calibration_error": "expected calibration error (0 is best)",
}


def model_card(run: Run, record: BundleRecord) -> str:
    """The card, as Markdown, of the bundle that is made of a run."""
    config, data = run.config, run.record.data
    oof = run.oof(tuple(record.weights))
    ages = pd.to_numeric(oof["age"], errors="coerce") if "age" in oof else pd.Series(dtype=float)
    chosen = "the last epoch"
    if run.selected:
        chosen = "the best epoch by pF1 on the fold that is reported, which flatters the metrics below"
    enriched = " The share of positives was made, so pF1 says nothing of screening; AUROC does."
    text = Path(__file__).with_name("card.md").read_text(encoding="utf-8")
    return text.format(
        run=run,
        record=record,
        config=config,
        data=data,
        metrics=record.metrics,
        pooled=record.metrics.pooled,
        n_networks=len(record.weights),
        targets=", ".join(record.targets),
        folds=", ".join(map(str, record.weights)),
        patients=run.folds["patient_id"].nunique(),
        simulated="\n\n**The images are simulated: this says nothing of real ones.**" if data.simulated else "",
        sampling="enriched with positives" if data.sampling == "enriched" else "as they came (population)",
        enriched=enriched if data.sampling == "enriched" else "",
        age=f"{ages.min():g} to {ages.max():g} years, median {ages.median():g}" if ages.any() else "unknown",
        sites=_count(oof, "site_id"),
        machines=_count(oof, "machine_id"),
        # The name alone: where a file lay is nobody's business.
        start=Path(config.model.weights).name or ("ImageNet" if config.model.pretrained else "random numbers"),
        chosen=chosen + (f", averaged over {config.soup} epochs" if config.soup > 1 else ""),
        views="image and its mirror image" if record.flip else "image",
        scores="\n".join(_score(record.metrics.pooled, name, title) for name, title in _METRICS.items()),
        commit=f"{run.commit}{' (+: with changes in no commit)' if run.record.commit.dirty else ''}" or "unknown",
        versions=", ".join(f"{name} {number}" for name, number in record.trained_with.items()) or "unknown",
    )


def _score(metrics: MetricValues, name: str, title: str) -> str:
    value, ends = metrics.get(name), metrics.ends(name)
    between = f"{ends[0]:.3f} to {ends[1]:.3f}" if ends else "not computed"
    return f"| {title} | {'undefined' if value is None else f'{value:.3f}'} | {between} |"


def _count(oof: pd.DataFrame, column: str) -> str:
    known = oof[column].nunique() if column in oof else 0
    return str(known) if known else "unknown"

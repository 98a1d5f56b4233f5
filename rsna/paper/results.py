"""What it is worth: metrics, operating points, subgroups, failures, and what all of this does not show."""

from rsna.evaluation.bootstrap import Interval
from rsna.evaluation.slices import FEWEST
from rsna.evaluation.tables import number, percent
from rsna.paper.blocks import Section, Table, Words
from rsna.paper.subject import Subject
from rsna.runs.schema import BreastMetrics
from rsna.table_file import value_name

METRICS = {
    "pf1_nested": "pF1 nested",
    "pf1_raw": "pF1 raw, of the probabilities",
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "sensitivity_at_specificity": "sensitivity at a specificity of 90%",
    "brier": "Brier score (0 is best)",
    "calibration_error": "expected calibration error (0 is best)",
}


def results(subject: Subject) -> Section:
    """Metrics with intervals, folds, operating points."""
    metrics = subject.metrics
    enriched = " The share of positives was made, so pF1 says nothing of screening; AUROC does."
    floor = (
        f"Out of fold, by breast. Recalling every breast of a set with this prevalence, {metrics.pooled.prevalence:.2%}"
        f", has a pF1 of {metrics.pooled.get('baseline') or 0.0:.3f}.{enriched if subject.enriched else ''}"
    )
    blocks: list[Words | Table] = [Words(floor)]
    if why := metrics.pooled.doubt:
        blocks.append(Words(f"It {why}.", remark=True))
    head = ("metric", "value", f"{metrics.level:.0%} interval")
    blocks.append(Table(head, tuple(_score(metrics, name, title) for name, title in METRICS.items()), "Metrics"))
    if len(subject.runs) > 1:
        blocks.append(_members(subject))
    if metrics.folds:
        rows = [(one.name, *(number(one.get(name)) for name in ("pf1_nested", "auroc"))) for one in metrics.folds]
        blocks.append(Table(("", "pF1 nested", "AUROC"), tuple(rows), "Each fold by itself"))
    if subject.points:
        blocks.append(_points(subject))
    blocks.append(
        Words(
            f"Threshold of a submission: {metrics.threshold.value:.4f}, the best pF1 on these out-of-fold breasts; "
            f"{metrics.threshold.recalled:.2%} of them reach it. The pF1 that it has on them is optimistic; the nested "
            "one is what to expect."
        )
    )
    return Section("Results", tuple(blocks), "results", claim=(36,), stard=("24",))


def _score(metrics: BreastMetrics, name: str, title: str) -> tuple[str, str, str]:
    value, ends = metrics.pooled.get(name), metrics.pooled.ends(name)
    if name == "pf1_nested" and metrics.crossfitted:
        title = "pF1 nested, cross-fitted"
    between = f"{ends[0]:.3f} to {ends[1]:.3f}" if ends else "not computed"
    return title, "undefined" if value is None else f"{value:.3f}", between


def _members(subject: Subject) -> Table:
    """What each is worth by itself."""
    weights = subject.weights or [1 / len(subject.runs)] * len(subject.runs)
    rows = []
    for run, name, folds, weight in zip(subject.runs, subject.names, subject.folds, weights, strict=True):
        alone = run.breast_metrics(folds).pooled
        rows.append((name, f"{weight:.3g}", *(number(alone.get(key)) for key in ("pf1_nested", "auroc"))))
    return Table(("member", "weight", "nested pF1 alone", "AUROC alone"), tuple(rows), "Members")


def _points(subject: Subject) -> Table:
    titles = ("sensitivity", "specificity", "precision", "found in 1,000", "threshold")
    columns = [
        (
            f"{point.sensitivity:.1%}" + (f" ({_between(point.interval)})" if point.interval else ""),
            percent(point.specificity),
            percent(point.precision),
            f"{point.found:.1f}",
            number(point.threshold),
        )
        for point in subject.points
    ]
    rows = tuple(zip(titles, *columns, strict=True))
    head = ("recalled at most", *(f"{100 * point.rate:g}%" for point in subject.points))
    return Table(head, rows, "Operating points, each cut chosen on these very breasts")


def _between(interval: Interval) -> str:
    return f"{interval.low:.1%} to {interval.high:.1%}"


def subgroups(subject: Subject) -> Section | None:
    """Every slice; none where there are no breasts to cut into some."""
    if not subject.slices:
        return None
    rows = []
    for part in subject.slices:
        area = "too few"
        if not part.too_few:
            ends = part.intervals.get("auroc")
            area = number(part.metrics["auroc"]) + (f" ({ends.low:.2f} to {ends.high:.2f})" if ends else "")
        rows.append(
            (f"{part.by} {part.value}", f"{part.breasts:,}", f"{part.positives:,}", percent(part.recalled), area)
        )
    said = (
        "Not chosen beforehand, and not corrected for their number: every column that the table has. Thresholds are "
        f"those of the whole. Below {FEWEST} positives or negatives nothing is computed."
    )
    table = Table(("", "breasts", "with cancer", "recalled", "AUROC"), tuple(rows), "Subgroups")
    return Section("Subgroups", (Words(said), table), "subgroups", claim=(30,), stard=("17",))


def failures(subject: Subject) -> Section | None:
    """What was missed and what was recalled in vain, and among whom."""
    if subject.evaluation is None:
        return None
    breasts = subject.evaluation.cut_breasts
    uncut = len(subject.evaluation.breasts) - len(breasts)
    positive, at = breasts["cancer"] == 1, breasts["recalled"]
    tp, fn = int((positive & at).sum()), int((positive & ~at).sum())
    fp, tn = int((~positive & at).sum()), int((~positive & ~at).sum())
    table = Table(
        ("", "recalled", "not recalled"),
        (("cancer", f"{tp:,}", f"{fn:,}"), ("no cancer", f"{fp:,}", f"{tn:,}")),
        "Each breast cut at its nested threshold",
    )
    lines = [
        f"At nested thresholds {fn:,} of {tp + fn:,} cancers are missed"
        + (f" (sensitivity {tp / (tp + fn):.1%})" if tp + fn else "")
        + f" and {fp:,} of {tn + fp:,} breasts without are recalled"
        + (f" (specificity {tn / (tn + fp):.1%})." if tn + fp else ".")
    ]
    if uncut:
        lines.append(
            f"{uncut:,} breasts are not among these: the other folds hold no positive that a threshold for them could "
            "be chosen by."
        )
    for column, title in (("density", "density"), ("machine_id", "machine"), ("site_id", "site")):
        if fn and column in breasts and (of := breasts.loc[positive & ~at, column].dropna()).size:
            all_of = breasts.loc[positive, column].value_counts().to_dict()
            shares = [f"{value_name(value)} {n} of {all_of[value]}" for value, n in of.value_counts().head(5).items()]
            lines.append(f"Missed by {title}: {', '.join(shares)}.")
    return Section("Failures", (Words(" ".join(lines)), table), "failures", claim=(37,), stard=("23",))


def limits(subject: Subject) -> Section:
    """What the numbers above do not show."""
    run, metrics = subject.run, subject.metrics
    said = [
        "All predictions are out of fold, on the set that the other folds were trained on: other sites, machines, "
        "populations and years are untested, and so is any use beside a reader."
    ]
    if subject.simulated:
        said.append("The images are simulated: this says nothing of real ones.")
    if subject.enriched:
        said.append("The share of positives was made: precision, pF1 and calibration are not those of screening.")
    if any(one.selected for one in subject.runs):
        said.append("The epoch was chosen on the very fold that is reported, so that metrics are too good.")
    if len(subject.folds[0]) < run.record.n_folds:
        said.append(f"Only {len(subject.folds[0])} of {run.record.n_folds} folds are counted.")
    if metrics.pooled.positives < 100:
        said.append(f"{metrics.pooled.positives} cancers are few: intervals are wide, and subgroups say little.")
    said.append(
        "One training each: what another seed would give is in no interval. Country, ethnicity, years of acquisition "
        "and readers are unknown, so that bias by them cannot be seen."
    )
    return Section("Limits", tuple(map(Words, said)), "limits", claim=(38,), stard=("26",))

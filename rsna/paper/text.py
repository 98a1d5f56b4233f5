"""All sections of a model, in the order of a paper."""

from rsna.evaluation.tables import number
from rsna.paper.blocks import Section, Table, Words
from rsna.paper.checklists import checklists
from rsna.paper.data import data
from rsna.paper.method import method
from rsna.paper.results import failures, limits, results, subgroups
from rsna.paper.subject import Subject


def sections(subject: Subject) -> list[Section]:
    """Summary, data, method, results, subgroups, failures, limits, and the guidelines that they answer."""
    parts = [summary, data, method, results, subgroups, failures, limits]
    found = [section for part in parts if (section := part(subject)) is not None]
    return [*found, checklists(found)]


def summary(subject: Subject) -> Section:
    """Aim, data, method and result in a line each, and what it is not for."""
    run, pooled = subject.run, subject.metrics.pooled
    backbones = ", ".join(dict.fromkeys(one.backbone for one in subject.runs))
    n = subject.n_networks
    networks = f"{n} deep networks" if n > 1 else "one deep network"
    kind = "simulated mammograms" if subject.simulated else "mammograms"
    result = [f"AUROC {_with_ends(subject, 'auroc')}, nested pF1 {_with_ends(subject, 'pf1_nested')}"]
    result += [
        f"recalling {100 * point.rate:g}% finds {point.sensitivity:.1%} of the cancers" for point in subject.points
    ]
    rows = (
        ("aim", "a probability of breast cancer for each image and each breast of a screening exam"),
        ("data", f"{pooled.breasts:,} breasts of {pooled.patients:,} patients in {run.record.data.name} ({kind}, in "
                 f"retrospect), {pooled.positives:,} with cancer ({pooled.prevalence:.2%})"),
        ("method", f"{networks} ({backbones}), one a fold of a patient-wise cross-validation; learnt: "
                   f"{', '.join(dict.fromkeys(t for one in subject.runs for t in one.record.targets))}"),
        ("result", "; ".join(result)),
        ("commit", run.commit or "unknown"),
    )  # fmt: skip
    blocks: list[Words | Table] = [Table(("", ""), rows), Words(
        "For research. It is not a medical device, and no diagnosis may rest on it. It was tested on this set alone, "
        "out of fold; what it would do beside a reader is unknown.", remark=True)]  # fmt: skip
    if subject.simulated:
        blocks.append(Words("The images are simulated: this says nothing of real ones.", remark=True))
    return Section("Summary", tuple(blocks), "summary", claim=(1, 2, 5, 39), stard=("1", "2", "5", "27"))


def _with_ends(subject: Subject, name: str) -> str:
    value, ends = subject.metrics.pooled.get(name), subject.metrics.pooled.ends(name)
    return number(value) + (f" ({ends[0]:.3f} to {ends[1]:.3f})" if ends else "")

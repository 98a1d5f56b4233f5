"""Items of the reporting guidelines that the text answers, and those that it leaves to its authors."""

from collections.abc import Mapping, Sequence

from rsna.paper.blocks import Section, Table, Words

CLAIM = {
    1: "AI named, with its kind", 2: "structured summary", 3: "background and intended role", 4: "objectives",
    5: "prospective or retrospective", 6: "goal of the study", 7: "data sources", 8: "eligibility", 9: "preprocessing",
    10: "subsets of the data", 11: "data elements", 12: "de-identification", 13: "missing data", 14: "ground truth",
    15: "why that ground truth", 16: "who annotated", 17: "annotation tools", 18: "variability of readers",
    19: "sample size", 20: "partitions", 21: "level of the partitions", 22: "model", 23: "software",
    24: "initial weights", 25: "training", 26: "selection of the model", 27: "ensembling", 28: "metrics",
    29: "uncertainty", 30: "robustness", 31: "explanation", 32: "external data", 33: "flow of cases",
    34: "demographics by partition", 35: "performance on partitions", 36: "accuracy with intervals",
    37: "failures", 38: "limitations", 39: "implications and intended use", 40: "registration", 41: "protocol",
    42: "funding",
}  # fmt: skip
"""Checklist for Artificial Intelligence in Medical Imaging (Mongan et al., Radiology: AI 2020), in a few words each."""

STARD = {
    "1": "accuracy study named", "2": "structured summary", "3": "background and intended role", "4": "objectives",
    "5": "prospective or retrospective", "6": "eligibility", "7": "how participants were found", "8": "where and when",
    "9": "kind of series", "10a": "index test", "10b": "reference standard", "11": "why that reference standard",
    "12a": "cut-offs of the index test", "12b": "cut-offs of the reference standard",
    "13a": "what readers of the index test knew", "13b": "what assessors of the reference knew",
    "14": "how accuracy is estimated", "15": "indeterminate results", "16": "missing data", "17": "variability",
    "18": "sample size", "19": "flow of participants", "20": "characteristics", "21a": "severity of disease",
    "21b": "alternative diagnoses", "22": "time between tests", "23": "cross tabulation",
    "24": "accuracy with intervals", "25": "adverse events", "26": "limitations", "27": "implications and intended use",
    "28": "registration", "29": "protocol", "30": "funding",
}  # fmt: skip
"""Standards for Reporting of Diagnostic Accuracy Studies (Bossuyt et al., BMJ 2015), in a few words each."""


def checklists(sections: Sequence[Section]) -> Section:
    """Which item is answered where, and which are not answered at all."""
    claim = _answers(CLAIM, [(item, section.title) for section in sections for item in section.claim])
    stard = _answers(STARD, [(item, section.title) for section in sections for item in section.stard])
    said = (
        "Sections answer these items of CLAIM (2020) and STARD (2015) as far as run folder and table know; the others "
        "are for whoever publishes."
    )
    return Section("Reporting guidelines", (Words(said), *claim, *stard), "checklists")


def _answers(items: Mapping[int, str] | Mapping[str, str], answers: Sequence[tuple[int | str, str]]) -> list[Table]:
    name = "CLAIM" if 42 in items else "STARD"
    by_section: dict[str, list[str]] = {}
    for item, title in answers:
        by_section.setdefault(title, []).append(f"{item} {items[item]}")  # type: ignore[index]
    answered = {item for item, _ in answers}
    rows = [(title, ", ".join(found)) for title, found in by_section.items()]
    rows.append(("not answered", ", ".join(str(item) for item in items if item not in answered)))
    return [Table(("section", "items"), tuple(rows), name)]

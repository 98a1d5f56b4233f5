"""What the adapters know of their sets, for people: `rsna datasets`, and docs/data-sets.md.

``python -m rsna.archive.catalogue > docs/data-sets.md`` writes the page anew.
"""

import textwrap

from rsna.dataset.adapters import Adapter, adapters, is_proxy
from rsna.dataset.table import TableError

_WIDTH = 110

RELEASE = {
    "yes": "may be released, with the attribution that the licence asks for",
    "no": "may not be released",
    "ask": "may be released only as far as the publisher agrees: the terms do not say so",
}
"""What :data:`rsna.dataset.adapters.Release` means for weights and predictions."""

_PAGE = """
# Public data sets

Written by `python -m rsna.archive.catalogue > docs/data-sets.md`; `rsna datasets` prints the same. Numbers, licences
and defects are as publishers' pages and public code tell them, and not all of them were checked; read the terms of a
set yourself before you use it, or release what was trained on it.

```sh
rsna datasets                                              # the list
rsna datasets vindr                                        # one of them
rsna table input=/data/vindr cancer_from=birads45          # its table: train.csv, where training looks for it
rsna table input=/data/cmmd out=cmmd/train.csv             # a folder that cannot be written: then data.root=cmmd
rsna table input=/data/vindr format=mirai                  # mirai.csv, as Mirai reads it
python train.py data.root=/data/cmmd fold=0                # without a table of its own: read so each time
```

A set is recognised by its files, and that is said; `dataset=NAME` names it, `dataset=none` reads headers alone
([archive.md](archive.md)), and where a train.csv lies beside the files one of the two is needed.

The table has a row an image: ids, exam and its order in time, side, view, `cancer`, and
`cancer_from` and `dataset`, which say how the label came about; then what else the publisher tells. What has a row and
no file, no side, or cannot be read is listed in `<out>_left_out.csv`; how many images have no row is said.
Workbooks (`.xlsx`) need `pip install 'rsna-mammography[sheets]'`, or are saved as CSV under the same name.

**What counts as cancer.** Where biopsies are published, one definition is meant without being named. A BI-RADS
category is what a reader suspected, not what was found: sets that have nothing else are refused until
`cancer_from=birads45` or `birads5` is named (`data.cancer_from` in training). The choice stands in the table, in the
run (`run.json`), in its report and in the model card, and a proxy is named wherever a run of it is scored, ranked or
predicts. What has no label by it stays in the table; training and validation leave it out, and say how much. A code
that a set's adapter does not know is refused: of it nobody knows that it means free of cancer.
""".strip()


def listing() -> str:
    """A line a set, in columns."""
    rows = [("name", "images", "patients", "label of", "cancer_from", "release", "licence")]
    for name, adapter in adapters().items():
        facts = adapter.FACTS
        chosen = " or ".join(facts.cancer) if not facts.default else f"[{facts.default}]"
        counts = _count(facts.images), _count(facts.patients)
        rows.append((name, *counts, facts.unit, chosen, facts.release, facts.licence))
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]) - 1)]
    lines = ["  ".join([*(map(str.ljust, row, widths)), row[-1]]) for row in rows]
    more = "In [ ] what is meant where none is named. rsna datasets NAME says what counts as cancer, and what is wrong."
    return "\n".join([*lines, "", more])


def details(name: str) -> str:
    """Everything that is known of a set.

    Raises:
        TableError: There is no such set.
    """
    known = adapters()
    if name not in known:
        raise TableError(f"there is no set {name}; rsna datasets lists {', '.join(known)}")
    lines = [f"{name}: {known[name].FACTS.title}"]
    for what, said in _facts(known[name]):
        lines += textwrap.wrap(f"{what}: {said}", _WIDTH, initial_indent="  ", subsequent_indent="    ")
    return "\n".join(lines)


def page() -> str:
    """docs/data-sets.md."""
    parts = [_PAGE]
    for name, adapter in adapters().items():
        rows = "\n".join(
            f"| {what} | {said.replace('|', '/').replace('<', '&lt;')} |" for what, said in _facts(adapter)
        )
        parts.append(f"## `{name}`: {adapter.FACTS.title}\n\n| | |\n|---|---|\n{rows}")
    return "\n\n".join(parts) + "\n"


def _facts(adapter: Adapter) -> list[tuple[str, str]]:
    """What is known of a set, each with what it is."""
    facts = adapter.FACTS
    many = f"{_count(facts.images)} images, {_count(facts.patients)} patients"
    rows = [("holds", many), ("from", facts.source), ("files", adapter.LAYOUT), ("a label is of", facts.unit)]
    for name, meaning in facts.cancer.items():
        kind = ", meant where none is named" if name == facts.default else ", a proxy" if is_proxy(name) else ""
        rows.append((f"cancer_from={name}{kind}", meaning))
    rows += [("licence", facts.licence), ("what was trained on it", RELEASE[facts.release])]
    return rows + [("known", defect) for defect in facts.defects]


def _count(number: int | None) -> str:
    return "?" if number is None else f"{number:,}"


if __name__ == "__main__":
    print(page(), end="")

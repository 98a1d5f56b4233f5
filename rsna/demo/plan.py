"""What will be simulated, before any pixel: patients, their breasts, what is found in them, and their images.

A finding stands in coordinates of the breast, not of an image: both views show the same thing at the same depth.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from rsna.config.data import SampleScale, Split
from rsna.config.settings import settings
from rsna.demo.machines import MACHINES, Machine

Laterality = Literal["L", "R"]
View = Literal["CC", "MLO", "ML"]
Kind = Literal[
    "spiculated", "mass", "distortion", "cluster",
    "round", "node", "asymmetry", "coarse", "scattered", "vascular", "clip",
]  # fmt: skip

MALIGNANT: dict[Kind, float] = {"spiculated": 0.55, "mass": 0.10, "distortion": 0.10, "cluster": 0.25}
"""The kinds that only a breast with cancer has, with the share of the cancers that each has."""

_DISTRACTORS: dict[Kind, float] = {
    "round": 0.20, "node": 0.10, "asymmetry": 0.20, "coarse": 0.12, "scattered": 0.10, "vascular": 0.06, "clip": 0.05,
}  # fmt: skip
"""How many benign findings of a kind a breast has on average; three at most."""

_HIDDEN = 0.2
"""Share of the findings that one of the views hardly shows, for what lies over them."""

Patients = Annotated[int, Field(ge=1, le=10_000)]


@settings
class DemoSettings:
    """How large the embedded sample is, and how hard."""

    seed: Annotated[int, Field(ge=0, lt=2**31)] = 20
    """Another seed gives other breasts; the same seed gives the same bytes."""
    n_train: Patients = 112
    """Patients under train_images, four images each, some with more."""
    n_test: Patients = 24
    """Patients under test_images."""
    prevalence: Annotated[float, Field(ge=0, le=0.5)] = 0.16
    """Share of the breasts with cancer, at most 0.5: a patient has at most one. Screening has 0.021."""
    distractors: Annotated[float, Field(ge=0, le=2)] = 1.0
    """How often benign findings come, as a multiple of what the sample was tuned with; 0 leaves them out."""
    films: bool = False
    """PNG of digitised films instead of DICOM files: with labels, bars, bright edges, scratches and grainy air."""
    scale: SampleScale = 1.0
    """How many times finer images are than the sizes of the machines in :data:`rsna.demo.machines.MACHINES`."""


@dataclass(frozen=True)
class Finding:
    """Something in a breast, seen in each of its views."""

    kind: Kind
    depth: float
    """0 at the nipple, 1 at the chest wall."""
    lateral: float
    """-1 .. 1 across the breast, in CC."""
    height: float
    """-1 .. 1 across the breast, in MLO and ML."""
    size: float
    """Radius in millimetres: of the mass, of the cluster, of one coarse calcification."""
    contrast: float
    """Brightness that it adds where it is seen plainly, in units of the displayed range."""
    seen_cc: float
    """How plainly CC shows it, 0 to 1."""
    seen_oblique: float
    """How plainly MLO and ML show it, 0 to 1."""
    seed: int
    """Draws its inner shape, the same in every view."""


@dataclass(frozen=True)
class Breast:
    """One breast: its labels and what is in it."""

    laterality: Laterality
    cancer: bool
    biopsy: bool
    invasive: bool
    birads: int | None
    difficult: bool
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Shot:
    """One image to be taken."""

    image_id: int
    laterality: Laterality
    view: View


@dataclass(frozen=True)
class Patient:
    """One patient: what the table says of her, how her breasts are built, and which images are taken."""

    patient_id: int
    machine: Machine
    age: int | None
    density: Literal["A", "B", "C", "D"]
    implant: bool
    depth: float
    """Nipple to chest wall in millimetres."""
    half_height: float
    """Half the breast's extent along the chest wall in CC, millimetres."""
    build: int
    """Seeds what her two breasts have in common."""
    breasts: tuple[Breast, Breast]
    shots: tuple[Shot, ...]


def plan_patients(settings: DemoSettings, split: Split) -> list[Patient]:
    """The patients of a split. Machines, densities and cancers come in fixed shares, shuffled independently.

    Fixed, so that a small sample has every machine and every class, and its measured prevalence is the wanted one.
    """
    n = settings.n_train if split == "train" else settings.n_test
    salt = ("train", "test").index(split)
    rng = np.random.default_rng([settings.seed, salt])
    machines = _apportion(rng, n, [machine.share for machine in MACHINES])
    scanners = [machine.finer(settings.scale) for machine in MACHINES]
    densities = _apportion(rng, n, [0.11, 0.43, 0.41, 0.05])
    n_positive = round(2 * n * settings.prevalence)
    positives = set(rng.permutation(n)[:n_positive].tolist())
    patient_ids = rng.choice(np.arange(3, 32_768), n, replace=False) * 2 + salt  # the splits share no patient
    return [
        _plan_patient(
            np.random.default_rng([settings.seed, salt, i]),
            settings,
            int(patient_ids[i]),
            scanners[machines[i]],
            "ABCD"[densities[i]],  # type: ignore[arg-type]
            i in positives,
        )
        for i in range(n)
    ]


def _plan_patient(
    rng: np.random.Generator,
    settings: DemoSettings,
    patient_id: int,
    machine: Machine,
    density: Literal["A", "B", "C", "D"],
    positive: bool,
) -> Patient:
    rows, columns = (side * machine.pitch for side in machine.size)
    affected: Laterality | None = ("L" if rng.random() < 0.5 else "R") if positive else None
    breasts = tuple(
        _plan_breast(rng, settings, laterality, laterality == affected, machine.site_id) for laterality in ("L", "R")
    )
    views: list[View] = ["CC", "MLO"]
    shots: list[tuple[Laterality, View]] = [(side, view) for side in ("L", "R") for view in views]
    for _ in range(int(rng.choice([0, 1, 2], p=[0.82, 0.12, 0.06]))):
        extra: View = "ML" if rng.random() < 0.05 else views[int(rng.integers(2))]
        shots.append(("L" if rng.random() < 0.5 else "R", extra))
    order = rng.permutation(len(shots))
    return Patient(
        patient_id=patient_id,
        machine=machine,
        age=None if rng.random() < 0.01 else int(np.clip(rng.normal(63 if positive else 58, 10), 28, 89)),
        density=density,
        implant=machine.implants and rng.random() < 0.05,
        depth=float(np.clip(rng.normal(0.45, 0.11), 0.26, 0.70) * columns),
        half_height=float(np.clip(rng.normal(0.32, 0.05), 0.20, 0.43) * rows),
        build=int(rng.integers(2**31)),
        breasts=breasts,  # type: ignore[arg-type]
        # patient_id leads, so that no two patients can draw the same image_id
        shots=tuple(Shot(patient_id * 10_000 + int(rng.integers(100)) * 100 + i, *shots[i]) for i in order),
    )


def _plan_breast(
    rng: np.random.Generator, settings: DemoSettings, laterality: Laterality, cancer: bool, site_id: int
) -> Breast:
    """Labels agree as they do in the competition: a cancer is proven by biopsy and never a difficult negative.

    Site 1 codes every recalled breast as BIRADS 0; site 2 codes only those recalled without a biopsy.
    """
    counts = {kind: min(3, int(rng.poisson(mean * settings.distractors))) for kind, mean in _DISTRACTORS.items()}
    findings = [_draw_finding(rng, kind) for kind, count in counts.items() for _ in range(count)]
    if cancer:
        kinds = list(MALIGNANT)
        findings.append(_draw_finding(rng, kinds[int(rng.choice(len(kinds), p=list(MALIGNANT.values())))]))
    suspicious = any(finding.kind in ("round", "asymmetry") for finding in findings)
    difficult = not cancer and rng.random() < (0.5 if suspicious else 0.04)
    biopsy = cancer or (difficult and rng.random() < 0.25)
    birads: int | None = None
    if site_id == 1:
        drawn = rng.random()
        normal = 1 if drawn < 0.66 else 2 if drawn < 0.76 else None
        birads = 0 if cancer or difficult else normal
    elif difficult and not biopsy:
        birads = 0
    return Breast(laterality, cancer, biopsy, cancer and rng.random() < 0.7, birads, difficult, tuple(findings))


_SIZES: dict[Kind, tuple[float, float, float]] = {
    "spiculated": (10.0, 14.0, 1.05),
    "mass": (10.0, 14.0, 0.75),
    "distortion": (11.0, 15.0, 1.2),
    "cluster": (9.0, 13.0, 2.2),
    "round": (4.0, 10.0, 0.20),
    "node": (3.0, 5.5, 0.20),
    "asymmetry": (7.0, 14.0, 0.14),
    "coarse": (1.0, 2.0, 0.45),
    "scattered": (6.0, 12.0, 0.50),
    "vascular": (9.0, 15.0, 0.40),
    "clip": (1.4, 1.8, 0.7),
}
"""Least and greatest radius in millimetres, and contrast."""


def _draw_finding(rng: np.random.Generator, kind: Kind) -> Finding:
    low, high, contrast = _SIZES[kind]
    hidden = rng.random()
    faint = float(rng.uniform(0.0, 0.25))
    return Finding(
        kind,
        depth=float(rng.uniform(0.22, 0.8)),
        lateral=float(rng.uniform(-0.75, 0.75)),
        height=float(rng.uniform(-0.75, 0.75)),
        size=float(rng.uniform(low, high)),
        contrast=contrast * float(rng.uniform(0.8, 1.2)),
        seen_cc=faint if hidden < _HIDDEN / 2 else 1.0,
        seen_oblique=faint if _HIDDEN / 2 <= hidden < _HIDDEN else 1.0,
        seed=int(rng.integers(2**31)),
    )


def _apportion(rng: np.random.Generator, n: int, shares: list[float]) -> list[int]:
    """``n`` indices in shuffled order, each as often as its share says (largest remainders get what is left)."""
    wanted = np.asarray(shares) / sum(shares) * n
    counts = np.floor(wanted).astype(int)
    for index in np.argsort(counts - wanted, kind="stable")[: n - counts.sum()]:
        counts[index] += 1
    return [int(i) for i in rng.permutation(np.repeat(np.arange(len(shares)), counts))]

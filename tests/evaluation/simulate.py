"""Simulated screening predictions: what the tests of this room score."""

import numpy as np
import pandas as pd


def simulate_images(
    patients: int = 120,
    prevalence: float = 0.15,
    separation: float = 2.0,
    views: int = 2,
    folds: int | None = 4,
    seed: int = 0,
) -> pd.DataFrame:
    """One row an image: two breasts a patient, `views` images a breast, breasts and views of a patient alike."""
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(patients), 2 * views)
    side = np.tile(np.repeat([0, 1], views), patients)
    breast = 2 * person + side
    cancer = (rng.random(2 * patients) < prevalence).astype(int)
    cancer[0] = 1
    shared = rng.normal(0, 0.5, patients)[person] + rng.normal(0, 0.8, 2 * patients)[breast]
    score = -2 + separation * cancer[breast] + shared + rng.normal(0, 0.4, breast.size)
    frame = pd.DataFrame(
        {
            "image_id": [str(1_000_000 + i) for i in range(breast.size)],
            "patient_id": [str(10_000 + i) for i in person],
            "prediction_id": [f"{10_000 + p}_{'LR'[s]}" for p, s in zip(person, side, strict=True)],
            "cancer": cancer[breast],
            "probability": 1 / (1 + np.exp(-score)),
        }
    )
    if folds:
        frame["fold"] = person % folds
    return frame

"""What schemes get right of the demo's clips, factor by factor: a label reads `zero-down-high`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.stats import binom

from braid.schemes.results import read_predictions

FACTORS = ("digit", "direction", "sound")
N_PAIRS = 24
"""Test clips come in pairs of one handwriting with the same pictures: that many draws are independent."""
CHANCE = 0.999


def shares(results: Path, scheme: str) -> dict[str, float]:
    """Return the share of test clips of which a scheme gets the label right, and each factor of it."""
    found = read_predictions(results / "schemes" / scheme / "fold1" / "seed0" / "predictions.h5")
    test = (np.array(found.splits) == "test") & found.present.all(axis=1)
    names = np.array([name.split("-") for name in found.classes])
    right = names[found.probabilities[test].argmax(axis=1)] == names[found.labels[test]]
    return {"label": float(right.all(axis=1).mean())} | dict(zip(FACTORS, right.mean(axis=0).tolist(), strict=True))


def bound(ceiling: float) -> float:
    """Return what a scheme at its ceiling would exceed with luck that one run in a thousand has."""
    return float(binom.ppf(CHANCE, N_PAIRS, ceiling)) / N_PAIRS

"""Scores that follow from counts of each class alone; leading axes are sets of items, resamples for example."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def class_scores(support: NDArray, predicted: NDArray, right: NDArray) -> dict[str, Floats]:
    """Return precision, recall and F1 of each class, 0 where the denominator is 0.

    Parameters
    ----------
    support, predicted, right : number [..., C]
        Items of each class, items that were predicted to be of it, and items of which both hold.
    """
    return {
        "precision": _ratio(right, predicted),
        "recall": _ratio(right, support),
        "f1": _ratio(2 * right, support + predicted),
    }


def count_scores(support: NDArray, predicted: NDArray, right: NDArray) -> dict[str, Floats]:
    """Return the scores [...] of sets of items, each of at least one.

    Macro means run over the classes that occur as a label or as a prediction, balanced accuracy over those that occur
    as a label, weighted means weight by support.

    - ``kappa``: of Cohen (1960), (a - e) / (1 - e), where a is the accuracy and e what the marginals give by chance;
      NaN where e is 1, that is where all labels and all predictions are one class.
    - ``mcc``: the correlation of Matthews in the form of Gorodkin (2004) for C classes; 0 where its denominator is 0.
    """
    n = support.sum(axis=-1)
    scores = class_scores(support, predicted, right)
    occurs = support + predicted > 0
    accuracy = right.sum(axis=-1) / n
    by_chance = (support * predicted).sum(axis=-1) / n**2
    variance = (1 - (support**2).sum(axis=-1) / n**2) * (1 - (predicted**2).sum(axis=-1) / n**2)
    return {
        "accuracy": accuracy,
        "balanced_accuracy": _mean(scores["recall"], support > 0),
        **{f"macro_{name}": _mean(score, occurs) for name, score in scores.items()},
        **{f"weighted_{name}": (score * support).sum(axis=-1) / n for name, score in scores.items()},
        "kappa": _ratio(accuracy - by_chance, 1 - by_chance, undefined=np.nan),
        "mcc": _ratio(accuracy - by_chance, np.sqrt(variance)),
    }


def _mean(values: NDArray, which: NDArray) -> Floats:
    return (values * which).sum(axis=-1) / which.sum(axis=-1)


def _ratio(numerator: NDArray, denominator: NDArray, undefined: float = 0.0) -> Floats:
    numerator, denominator = np.asarray(numerator), np.asarray(denominator)
    return np.divide(numerator, denominator, out=np.full(denominator.shape, undefined), where=denominator > 0)

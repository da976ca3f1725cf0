"""How well probabilities agree with labels; plain numbers that JSON can hold.

N items, C classes. Confusion matrices have the true class in rows and the predicted class in columns.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

VERSION = 1
"""Raised when a number of `evaluate` changes its meaning."""

LOG_LOSS_EPS = 1e-15
"""Probabilities are clipped to at least this before the logarithm, so that one item costs 34.5 nats at most."""

SUM_TOLERANCE = 1e-3
"""Largest distance of a row's sum from one that still counts as rounding of probabilities."""


def evaluate(labels: ArrayLike, probabilities: ArrayLike, classes: list[str]) -> dict[str, Any]:
    """Return all metrics of predicted probabilities; the predicted class is the most probable one, the first of equals.

    Parameters
    ----------
    labels : int [N]
        True classes, 0 … C - 1.
    probabilities : float [N, C]
        Rows in [0, 1] that sum to 1.
    classes : list of str [C]
        Names of the classes, in the order of the columns.

    Returns
    -------
    dict
        What `from_confusion` returns, and ``log_loss``: mean over items of minus the natural logarithm of the true
        class' probability, clipped to at least ``log_loss_eps``.

    Raises
    ------
    ValueError
        If there are no items, or shapes, labels or probabilities are outside the ranges above.
    """
    truth = np.asarray(labels)
    p = np.asarray(probabilities, dtype=np.float64)
    n_classes = len(classes)
    if truth.ndim != 1 or not len(truth) or p.shape != (len(truth), n_classes):
        raise ValueError(
            f"labels must be [N] with N >= 1 and probabilities [N, {n_classes}], got {truth.shape} and {p.shape}"
        )
    if truth.dtype.kind not in "iu" or truth.min() < 0 or truth.max() >= n_classes:
        raise ValueError(f"labels must be integers in 0 … {n_classes - 1}")
    if not (np.isfinite(p).all() and p.min() >= 0 and (np.abs(p.sum(axis=1) - 1) < SUM_TOLERANCE).all()):
        raise ValueError("probabilities must be finite, not negative and sum to 1 in each row")
    confusion = np.zeros((n_classes, n_classes), dtype=np.int64)
    np.add.at(confusion, (truth, p.argmax(axis=1)), 1)
    log_loss = -np.log(np.clip(p[np.arange(len(truth)), truth], LOG_LOSS_EPS, 1)).mean()
    return from_confusion(confusion, classes) | {"log_loss": float(log_loss), "log_loss_eps": LOG_LOSS_EPS}


def from_confusion(matrix: ArrayLike, classes: list[str]) -> dict[str, Any]:
    """Return the metrics that follow from counts alone.

    Precision, recall and F1 of a class are 0 where their denominator is 0. Macro means run over the classes that occur
    as a label or as a prediction, balanced accuracy over those that occur as a label, weighted means weight by support.

    Parameters
    ----------
    matrix : int [C, C]
        Counts, true class in rows, predicted class in columns; at least one item.
    classes : list of str [C]
        Names of the classes.

    Returns
    -------
    dict
        ``n``, ``accuracy``, ``balanced_accuracy``, ``{macro,weighted}_{precision,recall,f1}``, ``classes``,
        ``confusion`` and ``per_class``: a list of ``class``, ``support``, ``predicted``, ``tp``, ``fp``, ``fn``,
        ``tn``, ``precision``, ``recall``, ``f1``.

    Raises
    ------
    ValueError
        If the matrix is not square, holds no item or does not fit the classes.
    """
    confusion = np.asarray(matrix, dtype=np.int64)
    if confusion.shape != (len(classes), len(classes)) or confusion.min() < 0 or not confusion.any():
        raise ValueError(f"matrix must hold counts [{len(classes)}, {len(classes)}] of at least one item")
    n = int(confusion.sum())
    tp = np.diag(confusion)
    support = confusion.sum(axis=1)
    predicted = confusion.sum(axis=0)
    scores = {
        "precision": _ratio(tp, predicted),
        "recall": _ratio(tp, support),
        "f1": _ratio(2 * tp, support + predicted),
    }
    counts = {
        "support": support,
        "predicted": predicted,
        "tp": tp,
        "fp": predicted - tp,
        "fn": support - tp,
        "tn": n - support - predicted + tp,
    }
    occurs = support + predicted > 0
    columns = {name: column.tolist() for name, column in (counts | scores).items()}
    return {
        "n": n,
        "accuracy": float(tp.sum() / n),
        "balanced_accuracy": float(scores["recall"][support > 0].mean()),
        **{f"macro_{name}": float(score[occurs].mean()) for name, score in scores.items()},
        **{f"weighted_{name}": float(score @ support / n) for name, score in scores.items()},
        "classes": list(classes),
        "confusion": confusion.tolist(),
        "per_class": [
            {"class": name} | {column: values[c] for column, values in columns.items()}
            for c, name in enumerate(classes)
        ],
    }


def _ratio(numerator: NDArray[np.int64], denominator: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.divide(numerator, denominator, out=np.zeros(len(numerator)), where=denominator > 0)

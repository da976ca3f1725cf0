"""The metrics of one set of predictions; plain numbers that JSON can hold."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from braid.metrics.counts import class_scores, count_scores
from braid.metrics.sums import LOG_LOSS_EPS, N_BINS, Sums, contributions


def evaluate(
    labels: ArrayLike, probabilities: ArrayLike, classes: list[str], groups: ArrayLike | None = None
) -> dict[str, Any]:
    """Return all metrics of predicted probabilities; the predicted class is the most probable one, the first of equals.

    Parameters
    ----------
    labels : int [N]
        True classes, 0 … C - 1.
    probabilities : float [N, C]
        Rows in [0, 1] that sum to 1.
    classes : list of str [C]
        Names of the classes, in the order of the columns.
    groups : str [N], optional
        What each item was recorded with: items of one group are not independent of each other.

    Returns
    -------
    dict
        What `from_confusion` returns, and

        - ``log_loss``: mean over items of minus the natural logarithm of the true class' probability, clipped to at
          least ``log_loss_eps``; ``macro_log_loss``: mean over the classes that occur of the mean over their items.
        - ``top5_accuracy``: share of items whose true class is among the five most probable; of more than ten classes.
        - ``brier``: mean over items of Σ_c (p_c - y_c)², in [0, 2] (Brier 1950).
        - ``ece``: expected calibration error of the predicted class' probability over 15 bins of equal width (Guo et
          al. 2017), and ``reliability``, its bins: ``low``, ``high``, ``n``, and the mean ``confidence`` and the
          ``accuracy`` of the items in (low, high], None in a bin without items.
        - with `groups`: ``n_groups``, and ``intervals``, the 95 % interval of each metric by
          `braid.metrics.bootstrap.intervals`.

    Raises
    ------
    ValueError
        If there are no items, or shapes, labels or probabilities are outside the ranges above.
    """
    items = contributions(labels, probabilities, len(classes))
    confusion = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(confusion, (items.label, items.predicted), 1)
    where, what = items.columns()
    total = np.bincount(where.ravel(), what.ravel(), minlength=Sums.width(len(classes)))
    sums = Sums.of(total.astype(np.float64), len(classes))
    certainty: dict[str, Any] = {}
    if groups is not None:
        from braid.metrics.bootstrap import intervals  # loads SciPy, which the Snakefile has no use for

        certainty = {"n_groups": len(np.unique(np.asarray(groups))), "intervals": intervals(items, groups)}
    return from_confusion(confusion, classes) | {
        **{name: _plain(score) for name, score in sums.scores().items()},
        "log_loss_eps": LOG_LOSS_EPS,
        "reliability": [
            {
                "low": i / N_BINS,
                "high": (i + 1) / N_BINS,
                "n": int(n),
                "confidence": float(confidence / n) if n else None,
                "accuracy": float(right / n) if n else None,
            }
            for i, (n, right, confidence) in enumerate(
                zip(sums.bin_n, sums.bin_right, sums.bin_confidence, strict=True)
            )
        ],
        **certainty,
    }


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
        ``n``, ``accuracy``, ``balanced_accuracy``, ``{macro,weighted}_{precision,recall,f1}``, ``kappa`` (None where
        all labels and predictions are one class, so that it is not defined), ``mcc``, ``classes``, ``confusion`` and
        ``per_class``: a list of ``class``, ``support``, ``predicted``, ``tp``, ``fp``, ``fn``, ``tn``, ``precision``,
        ``recall``, ``f1``.

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
    columns = {
        "support": support,
        "predicted": predicted,
        "tp": tp,
        "fp": predicted - tp,
        "fn": support - tp,
        "tn": n - support - predicted + tp,
    } | class_scores(support, predicted, tp)
    values = {name: column.tolist() for name, column in columns.items()}
    return {
        "n": n,
        **{name: _plain(score) for name, score in count_scores(support, predicted, tp).items()},
        "classes": list(classes),
        "confusion": confusion.tolist(),
        "per_class": [
            {"class": name} | {column: entries[c] for column, entries in values.items()}
            for c, name in enumerate(classes)
        ],
    }


def _plain(score: ArrayLike) -> float | None:
    """Return a number for JSON, which knows no NaN: None is what is not defined."""
    value = float(np.asarray(score))
    return None if math.isnan(value) else value

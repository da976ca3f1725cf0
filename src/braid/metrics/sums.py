"""What items contribute to the metrics of a set of items: all metrics here are functions of sums over its items.

So a resample of groups needs the sums of each group only, and the same function turns the sums of all items into the
metrics and those of a resample into one draw of their distribution.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from braid.metrics.counts import Floats, count_scores

LOG_LOSS_EPS = float(np.finfo(np.float64).eps)
"""Probabilities are clipped to at least this before the logarithm, as scikit-learn does: an item costs 36.04 nats at
most."""

SUM_TOLERANCE = 1e-3
"""Largest distance of a row's sum from one that still counts as rounding of probabilities."""

N_BINS = 15
"""Bins of the expected calibration error, of equal width: (0, 1/15], … (14/15, 1] (Guo et al. 2017)."""

TOP = 5
"""Most probable classes that ``top5_accuracy`` looks at; it exists for more than twice as many classes."""


class Contributions(NamedTuple):
    """What each item adds. A class or bin that an item belongs to gets the item's number, all others get nothing.

    Attributes
    ----------
    label, predicted : int64 [N]
        Classes; the predicted one is the most probable, the first of equals.
    bin : int64 [N]
        Bin of the predicted class' probability, 0 … 14.
    right : bool [N]
    log_loss, brier, confidence : float64 [N]
        -ln p of the true class in nats; Σ_c (p_c - y_c)² in [0, 2]; probability of the predicted class.
    in_top : bool [N]
        The true class is among the five most probable ones, of equals the first.
    n_classes : int
    """

    label: NDArray[np.int64]
    predicted: NDArray[np.int64]
    bin: NDArray[np.int64]
    right: NDArray[np.bool_]
    log_loss: Floats
    brier: Floats
    confidence: Floats
    in_top: NDArray[np.bool_]
    n_classes: int

    def columns(self) -> tuple[NDArray[np.int64], Floats]:
        """Return where [9, N] and what [9, N] each item adds to a row of sums, which `Sums.of` takes apart."""
        c = self.n_classes
        ones = np.ones(len(self.label))
        first_bin, scalar = 4 * c, 4 * c + 3 * N_BINS
        everywhere = np.zeros_like(self.label)
        where = [
            self.label,
            c + self.predicted,
            2 * c + self.label,
            3 * c + self.label,
            first_bin + self.bin,
            first_bin + N_BINS + self.bin,
            first_bin + 2 * N_BINS + self.bin,
            everywhere + scalar,
            everywhere + scalar + 1,
        ]
        what = [ones, ones, self.right, self.log_loss, ones, self.right, self.confidence, self.brier, self.in_top]
        return np.stack(where), np.stack([np.asarray(values, dtype=np.float64) for values in what])


class Sums(NamedTuple):
    """Sums over the items of sets [...] of items: over those of each class [..., C], of each bin [..., 15], of all."""

    support: Floats
    predicted: Floats
    right: Floats
    log_loss: Floats
    bin_n: Floats
    bin_right: Floats
    bin_confidence: Floats
    brier: Floats
    in_top: Floats

    @staticmethod
    def width(n_classes: int) -> int:
        """Return how many numbers a row of sums has."""
        return 4 * n_classes + 3 * N_BINS + 2

    @staticmethod
    def of(rows: Floats, n_classes: int) -> Sums:
        """Take apart rows [..., 4 C + 47] of sums, in the order of `Contributions.columns`."""
        ends = np.cumsum([n_classes] * 4 + [N_BINS] * 3)
        of_each = np.split(rows, ends, axis=-1)
        return Sums(*of_each[:7], brier=rows[..., -2], in_top=rows[..., -1])

    def scores(self) -> dict[str, Floats]:
        """Return every metric [...] of each set; NaN is what a set leaves undefined."""
        n = self.support.sum(axis=-1)
        n_classes = self.support.shape[-1]
        occurs = self.support > 0
        class_loss = np.divide(self.log_loss, self.support, out=np.zeros_like(self.log_loss), where=occurs)
        gaps = np.abs(self.bin_right - self.bin_confidence).sum(axis=-1)
        return count_scores(self.support, self.predicted, self.right) | {
            **({"top5_accuracy": self.in_top / n} if n_classes > 2 * TOP else {}),
            "log_loss": self.log_loss.sum(axis=-1) / n,
            "macro_log_loss": class_loss.sum(axis=-1) / occurs.sum(axis=-1),
            "brier": self.brier / n,
            "ece": gaps / n,
        }


def contributions(labels: ArrayLike, probabilities: ArrayLike, n_classes: int) -> Contributions:
    """Return what each item adds to the sums; parameters and errors as for `braid.metrics.evaluate`."""
    truth, p = _checked(np.asarray(labels), np.asarray(probabilities, dtype=np.float64), n_classes)
    rows = np.arange(len(truth))
    predicted = p.argmax(axis=1)
    true_p, confidence = p[rows, truth], p[rows, predicted]
    ahead = (p > true_p[:, None]) | ((p == true_p[:, None]) & (np.arange(n_classes) < truth[:, None]))
    edges = np.linspace(0, 1, N_BINS + 1)
    return Contributions(
        label=truth.astype(np.int64),
        predicted=predicted,
        # Rounding may put a probability a little above 1.
        bin=np.minimum(np.searchsorted(edges, confidence, side="left"), N_BINS) - 1,
        right=predicted == truth,
        log_loss=-np.log(np.clip(true_p, LOG_LOSS_EPS, 1)),
        brier=(p**2).sum(axis=1) - true_p**2 + (1 - true_p) ** 2,
        confidence=confidence,
        in_top=ahead.sum(axis=1) < TOP,
        n_classes=n_classes,
    )


def _checked(truth: NDArray, p: Floats, n_classes: int) -> tuple[NDArray, Floats]:
    if truth.ndim != 1 or not len(truth) or p.shape != (len(truth), n_classes):
        raise ValueError(
            f"labels must be [N] with N >= 1 and probabilities [N, {n_classes}], got {truth.shape} and {p.shape}"
        )
    if truth.dtype.kind not in "iu" or truth.min() < 0 or truth.max() >= n_classes:
        raise ValueError(f"labels must be integers in 0 … {n_classes - 1}")
    with np.errstate(invalid="ignore"):  # a row with NaN or infinities fails a comparison
        wrong = ~((p.min(axis=1) >= 0) & (np.abs(p.sum(axis=1) - 1) < SUM_TOLERANCE))
    if wrong.any():
        first = int(wrong.argmax())
        raise ValueError(
            f"probabilities must be finite, not negative and sum to 1 in each row; {wrong.sum()} of {len(p)} rows "
            f"are not, the first is row {first}: {np.array2string(p[first], threshold=6)}"
        )
    return truth, p

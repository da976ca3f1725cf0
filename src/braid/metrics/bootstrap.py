"""Intervals by resampling groups: the bootstrap of Efron (1979) for clustered items.

Items of one group, windows of one recording for example, are alike, so that resampling items would make intervals too
narrow. Groups are drawn with replacement instead, as many as there are, each with all of its items (Davison and Hinkley
1997, section 3.8). Limits are the percentiles of the resamples (Efron and Tibshirani 1993, chapter 13).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csr_array

from braid.metrics.counts import Floats
from braid.metrics.sums import Contributions, Sums

N_RESAMPLES = 1000
"""Resamples behind the intervals of one set of predictions. With so many of a normal distribution the standard error of
a limit is 2 % of the interval's width."""

LEVEL = 0.95

Z_95 = 1.959963984540054
"""Of the standard normal distribution 95 % lie within this many standard deviations of the mean."""

_CHUNK = 4_000_000
"""Numbers that one part of the resamples may hold: 32 MB."""


def draws(n_groups: int, n_resamples: int, seed: int = 0) -> Iterator[Floats]:
    """Yield how often each group is in each resample, float64 [b, G], until all B resamples have come.

    The same arguments give the same resamples, so that what is computed from them in turn is paired.
    """
    rng = np.random.default_rng(seed)
    size = max(1, _CHUNK // n_groups)
    for start in range(0, n_resamples, size):
        b = min(size, n_resamples - start)
        drawn = rng.integers(n_groups, size=(b, n_groups)) + n_groups * np.arange(b)[:, None]
        yield np.bincount(drawn.ravel(), minlength=b * n_groups).reshape(b, n_groups).astype(np.float64)


def intervals(
    items: Contributions, groups: ArrayLike, n_resamples: int = N_RESAMPLES, seed: int = 0
) -> dict[str, list[float] | None]:
    """Return the 95 % interval [low, high] of every metric of `Sums.scores`.

    None with fewer than two groups, of which nothing follows about others, and where no resample defines the metric.
    Where every item is right, or none, resamples do not differ; the interval of the accuracy is then that of `wilson`
    for as many trials as there are groups.

    Parameters
    ----------
    items : Contributions of N items
    groups : str [N]
    n_resamples, seed : int

    Raises
    ------
    ValueError
        If there are not as many groups as items.
    """
    names, codes = np.unique(np.asarray(groups), return_inverse=True)
    if codes.shape != items.label.shape:
        raise ValueError(f"groups must name one group an item, got {codes.shape} for {items.label.shape}")
    where, what = items.columns()
    shape = (Sums.width(items.n_classes), len(names))
    of_groups = csr_array((what.ravel(), (where.ravel(), np.tile(codes, len(where)))), shape=shape)
    rows = [(of_groups @ np.ascontiguousarray(drawn.T)).T for drawn in draws(len(names), n_resamples, seed)]
    scores = Sums.of(np.concatenate(rows), items.n_classes).scores()
    if len(names) < 2:
        return dict.fromkeys(scores)
    found = {name: limits(values) for name, values in scores.items()}
    accuracy = float(items.right.mean())
    return found | ({"accuracy": list(wilson(accuracy, len(names)))} if accuracy in (0, 1) else {})


def limits(values: ArrayLike) -> list[float] | None:
    """Return the percentiles 2.5 and 97.5 of the finite ones among `values` [B]; None where there are none."""
    finite = np.asarray(values)[np.isfinite(values)]
    if not len(finite):
        return None
    return np.quantile(finite, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist()


def wilson(share: float, n: int) -> tuple[float, float]:
    """Return the 95 % score interval of Wilson (1927) for a share in [0, 1] of `n` independent trials."""
    centre = share + Z_95**2 / (2 * n)
    half = Z_95 * math.sqrt(share * (1 - share) / n + Z_95**2 / (4 * n**2))
    return (centre - half) / (1 + Z_95**2 / n), (centre + half) / (1 + Z_95**2 / n)

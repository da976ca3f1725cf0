"""Are two schemes different? Comparisons of schemes on the same items.

A case is an item in a fold in which it is judged; a scheme has several answers to it, one a seed. Seeds and folds enter
as the table of schemes shows them: a score is the mean over folds of the mean over seeds, so that a case counts with
the share of its seeds that are right and the mean of their log losses. What is resampled are groups, each with all of
its cases in all folds, so that folds may share items (as those of HMDB51 do) without these counting as new evidence.
The answers are taken as they are: intervals and p values speak of other items of the same kind, the spread over seeds
beside them of other trainings (Bouthillier et al. 2021 on why both matter).

McNemar's test needs one answer an item. It takes the class with the largest mean probability over seeds, which is what
a scheme hands in, and does not exist where an item is judged in several folds.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from braid.metrics.bootstrap import draws, limits, wilson
from braid.metrics.counts import Floats
from braid.metrics.significance import enough_flips, flip_signs, holm, mcnemar

N_RESAMPLES = 5_000
"""Resamples of groups behind the intervals of a comparison."""


@dataclass(frozen=True)
class Outcomes:
    """What S schemes made of the same N cases.

    Attributes
    ----------
    schemes : list of str [S]
    items, folds, groups : str arrays [N]
    right, log_loss : float64 [S, N]
        Share of seeds whose class is the true one; mean over seeds of minus the logarithm of its probability, in nats.
    voted : bool [S, N]
        Whether the class with the largest mean probability over seeds is the true one.
    """

    schemes: list[str]
    items: NDArray
    folds: NDArray
    groups: NDArray
    right: Floats
    log_loss: Floats
    voted: NDArray[np.bool_]


@dataclass(frozen=True)
class Pair:
    """Scheme `first` against `second`: differences first - second, their 95 % intervals, and p values.

    `only_first` and `only_second` count the items that one alone gets right, `p_mcnemar` is McNemar's exact test on
    them; None where an item is judged in several folds. `p` is that of `braid.metrics.significance.flip_signs` for the
    accuracy. ``…_holm`` are adjusted over all pairs.
    """

    first: str
    second: str
    accuracy: float
    accuracy_interval: list[float] | None
    log_loss: float
    log_loss_interval: list[float] | None
    only_first: int | None
    only_second: int | None
    p_mcnemar: float | None
    p_mcnemar_holm: float | None
    p: float
    p_holm: float


@dataclass(frozen=True)
class Comparison:
    """Intervals of the accuracy and log loss of each scheme, None with one group only, and all pairs of schemes."""

    accuracy_intervals: dict[str, list[float] | None]
    log_loss_intervals: dict[str, list[float] | None]
    pairs: list[Pair]


def compare(
    outcomes: Outcomes, n_resamples: int = N_RESAMPLES, n_flips: int | None = None, seed: int = 0
) -> Comparison:
    """Compare every scheme with every later one on the same cases.

    All schemes share each resample of groups, so that the interval of a difference is that of the paired bootstrap.
    Where a scheme is always right, or never, resamples do not differ; the interval of its accuracy is then that of
    `braid.metrics.bootstrap.wilson` for as many trials as there are groups. Without `n_flips` there are as many as the
    number of pairs needs.
    """
    names, codes = np.unique(outcomes.groups, return_inverse=True)
    schemes, n = outcomes.schemes, len(outcomes.schemes)
    measures = np.concatenate([outcomes.right, outcomes.log_loss])
    shares = _shares(measures, outcomes.folds)
    means = shares.sum(axis=1)
    resampled = _resampled_means(measures, outcomes.folds, codes, n_resamples, seed)

    def interval(values: Floats) -> list[float] | None:
        return limits(values) if len(names) > 1 else None

    accuracy_intervals = {scheme: interval(resampled[:, i]) for i, scheme in enumerate(schemes)}
    for scheme, right in zip(schemes, outcomes.right, strict=True):
        if len(names) > 1 and (right == right[0]).all() and right[0] in (0, 1):
            accuracy_intervals[scheme] = list(wilson(float(right[0]), len(names)))
    pairs = list(combinations(range(n), 2))
    tested = flip_signs(_by_group(shares[:n], codes), pairs, n_flips or enough_flips(len(pairs)), seed)
    counts = [_discordant(outcomes.voted[i], outcomes.voted[j]) for i, j in pairs]
    exact = [mcnemar(*count) for count in counts]
    once = len(np.unique(outcomes.items)) == len(outcomes.items)
    found = []
    for (i, j), count, *p in zip(pairs, counts, exact, holm(exact), tested, holm(tested), strict=True):
        mcnemars = (*count, *p[:2]) if once else (None,) * 4
        difference, difference_loss = means[i] - means[j], means[n + i] - means[n + j]
        draws_of_both = resampled[:, i] - resampled[:, j], resampled[:, n + i] - resampled[:, n + j]
        found.append(
            Pair(
                schemes[i],
                schemes[j],
                float(difference),
                interval(draws_of_both[0]),
                float(difference_loss),
                interval(draws_of_both[1]),
                *mcnemars,
                p=p[2],
                p_holm=p[3],
            )
        )
    log_loss_intervals = {scheme: interval(resampled[:, n + i]) for i, scheme in enumerate(schemes)}
    return Comparison(accuracy_intervals, log_loss_intervals, found)


def _shares(measures: Floats, folds: NDArray) -> Floats:
    """Return what each case adds to the mean over folds of the mean over cases; sums over cases are these means."""
    names, codes = np.unique(folds, return_inverse=True)
    return measures / (len(names) * np.bincount(codes)[codes])


def _by_group(values: Floats, codes: NDArray) -> Floats:
    """Return the sums [K, G] of values [K, N] over the cases of each group."""
    return np.stack([np.bincount(codes, row) for row in values]).astype(np.float64)


def _resampled_means(measures: Floats, folds: NDArray, codes: NDArray, n_resamples: int, seed: int) -> Floats:
    """Return the mean over folds of the mean over cases of each measure [B, K], in resamples of the groups.

    A fold of which a resample holds no case has no mean and is left out of that resample.
    """
    n_groups = codes.max() + 1
    per_fold = []
    for fold in np.unique(folds):
        here = folds == fold
        stacked = np.concatenate([np.ones((1, here.sum())), measures[:, here]])
        per_fold.append(np.stack([np.bincount(codes[here], row, minlength=n_groups) for row in stacked], axis=1))
    totals = np.concatenate([drawn @ np.concatenate(per_fold, axis=1) for drawn in draws(n_groups, n_resamples, seed)])
    of_folds = totals.reshape(n_resamples, len(per_fold), -1)
    n = of_folds[:, :, :1]
    means = np.divide(of_folds[:, :, 1:], n, out=np.zeros_like(of_folds[:, :, 1:]), where=n > 0)
    return means.sum(axis=1) / (n > 0).sum(axis=1)


def _discordant(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> tuple[int, int]:
    return int((first & ~second).sum()), int((second & ~first).sum())

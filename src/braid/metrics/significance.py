"""Tests of whether two schemes differ, and what many of them do together to the p values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import bdtr

from braid.metrics.counts import Floats

N_FLIPS = 5_000
"""Random flips of signs behind a p value, at least."""
FLIPS_A_PAIR = 50
"""The smallest p value is 1 / (1 + flips), and Holm multiplies it by the number of pairs: with so many flips for each
pair it stays below 0.02, however many schemes there are."""

_CHUNK = 4_000_000
"""Numbers that one part of the flips may hold: 32 MB."""

_ROUNDING = 1e-9
"""Sums of the same numbers in another order agree to this, far below what one item adds."""


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the p value of McNemar's exact test (1947): the discordant items fall either way with probability 1/2.

    Two-sided binomial, 1 without discordant items. Items are taken as independent.
    """
    # This binomial is symmetric. scipy.stats has the test too, and takes half a second to import.
    return min(2 * float(bdtr(min(only_first, only_second), only_first + only_second, 0.5)), 1.0)


def holm(p_values: ArrayLike) -> list[float]:
    """Return the p values as adjusted by Holm (1979), in the order given: all below α may be rejected together.

    The probability of rejecting any true hypothesis is then at most α, whatever the tests have to do with each other.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    return adjusted.tolist()


def enough_flips(n_pairs: int) -> int:
    """Return how many flips of signs tell `n_pairs` pairs apart after Holm."""
    return max(N_FLIPS, FLIPS_A_PAIR * n_pairs)


def flip_signs(
    by_group: Floats, pairs: Sequence[tuple[int, int]], n_flips: int = N_FLIPS, seed: int = 0
) -> list[float]:
    """Return the p value of each pair: how often chance alone makes a difference as large as the one that is seen.

    Were the schemes alike, they could be exchanged in each group, which flips the sign of what the group adds to the
    difference (Fisher's randomisation test for pairs). With one item a group and one seed this is McNemar's exact test;
    groups of any size and means over seeds keep it valid. p is (1 + flips that reach the difference) / (1 + flips)
    (Phipson and Smyth 2010), two-sided, all groups flipped at random.

    Parameters
    ----------
    by_group : float64 [S, G]
        What each group adds to the score of each scheme.
    pairs : sequence of (int, int)
        Rows of `by_group`.
    """
    first, second = (np.array(side, dtype=np.int64) for side in zip(*pairs, strict=True)) if pairs else ([], [])
    totals = by_group.sum(axis=1)
    seen = np.abs(totals[first] - totals[second])
    n_groups = by_group.shape[1]
    rng = np.random.default_rng(seed)
    reached = np.zeros(len(pairs), dtype=np.int64)
    size = max(1, _CHUNK // n_groups)
    for start in range(0, n_flips, size):
        b = min(size, n_flips - start)
        kept = np.unpackbits(rng.integers(256, size=(b, -(-n_groups // 8)), dtype=np.uint8), axis=1, count=n_groups)
        flipped = 2 * (kept.astype(np.float64) @ by_group.T) - totals
        reached += (np.abs(flipped[:, first] - flipped[:, second]) >= seen - _ROUNDING).sum(axis=0)
    return ((1 + reached) / (1 + n_flips)).tolist()

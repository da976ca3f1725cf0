"""What each modality is worth: its share of a score, the classes that fusion helps, the items that it alone decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import factorial
from operator import itemgetter

import numpy as np
from numpy.typing import ArrayLike, NDArray


def shapley(values: Mapping[frozenset[str], float]) -> dict[str, float]:
    """Return the Shapley value of each modality (Shapley 1953): its mean gain over all orders of adding modalities.

    φ_m = Σ over the subsets S without m of |S|! (M - |S| - 1)! / M! · (v(S ∪ {m}) - v(S)), exactly. Together they are
    v(all) - v(none). A score that is better when small, as log loss, goes in with its sign changed.

    Parameters
    ----------
    values : mapping of frozenset of str to float
        The score v of every subset of the M modalities, the empty one too: what is reached without looking.

    Raises
    ------
    ValueError
        If the value of a subset is missing or not finite.
    """
    modalities = sorted(frozenset().union(*values))
    n = len(modalities)
    subsets = [frozenset(s) for size in range(n + 1) for s in combinations(modalities, size)]
    for subset in subsets:
        if not np.isfinite(values.get(subset, np.nan)):
            raise ValueError(
                f"values must hold a finite score of every subset of {', '.join(modalities)}; that of "
                f"{{{', '.join(sorted(subset))}}} is {values.get(subset, 'missing')}"
            )
    return {
        m: sum(
            factorial(len(s)) * factorial(n - len(s) - 1) / factorial(n) * (values[s | {m}] - values[s])
            for s in subsets
            if m not in s
        )
        for m in modalities
    }


@dataclass(frozen=True)
class ClassGain:
    """One class: the score of fusion, of the modality that is best in this class, and the difference of the two."""

    name: str
    fused: float
    best: float
    modality: str
    gain: float


def class_gains(classes: Sequence[str], fused: ArrayLike, singles: Mapping[str, ArrayLike]) -> list[ClassGain]:
    """Return where fusion gains and where it loses against the best single modality of each class.

    Parameters
    ----------
    classes : sequence of str [C]
    fused : float [C]
        A score of each class, F1 or recall, by the scheme that fuses; higher is better.
    singles : mapping of str to float [C]
        The same score by each modality alone; of equals the first is named.

    Returns
    -------
    list of ClassGain
        The largest gain first; equal gains in the order of `classes`.

    Raises
    ------
    ValueError
        If there is no single modality, or scores do not fit the classes.
    """
    ours = np.asarray(fused, dtype=np.float64)
    theirs = {name: np.asarray(values, dtype=np.float64) for name, values in singles.items()}
    if not singles or any(values.shape != (len(classes),) for values in (ours, *theirs.values())):
        raise ValueError(f"fused and each of at least one single modality must be scores of {len(classes)} classes")
    gains = []
    for c, name in enumerate(classes):
        modality, best = max(((single, float(scores[c])) for single, scores in theirs.items()), key=itemgetter(1))
        gains.append(ClassGain(name, float(ours[c]), best, modality, float(ours[c]) - best))
    return sorted(gains, key=lambda gain: -gain.gain)


@dataclass(frozen=True)
class Agreement:
    """The items that exactly the modalities of `right` get right: their positions, and how many of them fusion gets."""

    right: frozenset[str]
    items: NDArray[np.int64]
    fused_right: int


def agreement(singles: Mapping[str, ArrayLike], fused: ArrayLike) -> list[Agreement]:
    """Return which items all modalities get right, which only some, one, or none.

    Parameters
    ----------
    singles : mapping of str to bool [N]
        Whether each modality alone names the true class of each item.
    fused : bool [N]
        The same of the scheme that fuses them.

    Returns
    -------
    list of Agreement
        One for each of the 2^M subsets of modalities, the largest subsets first, items of none too; each item is in
        exactly one.

    Raises
    ------
    ValueError
        If the arrays are not of the same items.
    """
    names = list(singles)
    right = np.array([np.asarray(values, dtype=bool) for values in singles.values()])
    both = np.asarray(fused, dtype=bool)
    if right.ndim != 2 or both.shape != right.shape[1:]:
        raise ValueError("each single modality and fused must be bool [N] for the same N items")
    found = []
    for size in range(len(names), -1, -1):
        for subset in combinations(range(len(names)), size):
            wanted = np.isin(np.arange(len(names)), subset)
            items = (right == wanted[:, None]).all(axis=0).nonzero()[0]
            found.append(Agreement(frozenset(names[m] for m in subset), items, int(both[items].sum())))
    return found

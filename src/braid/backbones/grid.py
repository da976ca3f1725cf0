"""Fewer views than were extracted: what a grid of n_t views in time × n_s crops would have given.

The logits of all views are in the feature shard, so that every smaller grid follows from one extraction. Where the
placement of fewer views coincides with places of the full grid the result is that of an extraction of its own; else the
nearest view that there is stands for each.

Letters: N_t × N_s views of the full grid, n_t × n_s of a smaller one, K classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from braid.extractors.pooling import average
from braid.store.features import FeatureShard

AVERAGES = ("probabilities", "logits", "vote")
"""Ways to combine the scores of views, as in the setting `scores`."""


def places(n: int, fewer: int, placement: str) -> np.ndarray:
    """Return which of `n` views stand for `fewer` of them, int64 [fewer], increasing.

    Parameters
    ----------
    n, fewer : int
        `fewer` in 1 … n.
    placement : str
        `even`: from the first to the last, one alone in the middle. `slowfast`, `blocks`: each at the beginning of one
        of equal parts. `middles`: each in the middle of one of equal parts, as frames lie that are alone in a view.
    """
    if placement == "even":
        wanted = np.linspace(0, n - 1, fewer) if fewer > 1 else np.array([(n - 1) / 2])
    else:
        within = 0.5 if placement == "middles" else 0.0
        wanted = (np.arange(fewer) + within) * n / fewer - within
    return np.ceil(wanted - 0.5 - 1e-9).astype(np.int64)  # of two that are equally near the earlier one


def crops(n: int, fewer: int, layout: str) -> np.ndarray:
    """Return which of `n` crops stand for `fewer`, int64 [fewer]: of `corners` the first, the centre before all."""
    return np.arange(fewer) if layout == "corners" else places(n, fewer, "even")


def select(
    view_scores: np.ndarray, n_crops: int, n_t: int, n_s: int, placement: str = "even", layout: str = "line"
) -> np.ndarray:
    """Return the logits, float32 [..., n_t · n_s, K], of a smaller grid, of [..., N_t · N_s, K] by time, then by crop.

    An item with fewer views in time than `n_t`, as of `views: all`, gives all that it has.
    """
    *items, n_views, n_classes = view_scores.shape
    n_times = n_views // n_crops
    grid = view_scores.reshape(*items, n_times, n_crops, n_classes)
    chosen = grid[..., places(n_times, min(n_t, n_times), placement), :, :][..., crops(n_crops, n_s, layout), :]
    return chosen.reshape(*items, -1, n_classes)


def sizes(most: int) -> list[int]:
    """Return the numbers of views to compare: powers of two up to `most`, and `most`."""
    return sorted({2**power for power in range(most.bit_length())} | {most} - {0})


def layout_of(attrs: Mapping[str, Any]) -> tuple[int, str, str]:
    """Return the crops of a view, how views lie in time and how crops lie in space, by the attributes of a shard."""
    kind, settings = attrs["backbone"]["type"], attrs["settings"]
    placement = "middles" if kind == "timm" else settings["placement"]  # of single frames
    return 1 if kind == "logmel" else settings["crops"], placement, settings["crop_layout"]


def counts(
    folds: Iterable[tuple[Sequence[str | Path], Mapping[str, str]]], of_shard: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """Yield how many items every smaller grid gets right, all folds together: one row an average, n_t and n_s.

    Parameters
    ----------
    folds : pairs of paths and labels
        Feature shards, `{shard}.h5`, of one backbone in a fold, and item → label of the items to judge by. Items
        without a usable stream are left out.
    of_shard : mapping
        Item → name of the shard that it is in.

    Yields
    ------
    dict
        ``average``, ``views``, ``crops``, ``n`` items, ``right`` ones among them.
    """
    found: dict[int, list[tuple[np.ndarray, int]]] = {}  # by the number of views
    n_crops, placement, layout = 1, "even", "line"
    for path, labels in ((path, labels) for paths, labels in folds for path in paths):
        with FeatureShard(path) as shard:
            classes = shard.attrs["classes"]
            n_crops, placement, layout = layout_of(shard.attrs)
            for i, item in enumerate(shard.items):
                scores = shard.view_scores(i)
                if item in labels and of_shard[item] == shard.path.stem and len(scores):
                    found.setdefault(len(scores), []).append((scores, classes.index(labels[item])))
    alike = [
        (np.stack(scores), np.array(codes)) for scores, codes in (zip(*each, strict=True) for each in found.values())
    ]
    n = sum(map(len, found.values()))
    for n_t in sizes(max(found, default=0) // n_crops):
        for n_s in range(1, n_crops + 1):
            chosen = [(select(scores, n_crops, n_t, n_s, placement, layout), codes) for scores, codes in alike]
            for how in AVERAGES:
                right = sum(int((average(scores, how).argmax(axis=1) == codes).sum()) for scores, codes in chosen)
                yield {"average": how, "views": n_t, "crops": n_s, "n": n, "right": right}

"""The second stage: the words of a fold, from descriptors of its training items alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import sklearn
from sklearn.cluster import MiniBatchKMeans

import braid
from braid.errors import FeatureError
from braid.words.codebook import Codebook, prepare
from braid.words.descriptors import DescriptorShard
from braid.words.sift import DIMENSION

SEED = 666
"""Of the sample and of k-means."""
BATCH = 4096
"""Descriptors of a step of k-means."""
PASSES = 20
"""How often k-means sees each descriptor."""


def fit_words(
    items: pl.DataFrame, extractor: str, fold: str, paths: Sequence[Path], out: Path, settings: Mapping[str, Any]
) -> None:
    """Write the words of a fold by mini-batch k-means (Sculley, WWW 2010); the same arguments give the same bytes.

    Parameters
    ----------
    items : DataFrame
        Columns item, shard, split_<fold>. What is not in the split `train` of the fold is not looked at.
    extractor : its name in the config, for errors
    fold : str
    paths : paths of the descriptor shards, `{shard}.h5`
    out : path of the codebook to write
    settings : mapping
        `words`, `root`, and `descriptors_for_fit`: how many descriptors at most, as evenly over items as can be.

    Raises
    ------
    FeatureError
        There are fewer descriptors than words, or a shard lacks a training item.
    """
    train = items.filter(pl.col(f"split_{fold}") == "train").select("shard", "item")
    descriptors, n_described, source = _sample(train, paths, settings["descriptors_for_fit"])
    n_words = settings["words"]
    if len(descriptors) < n_words:
        raise FeatureError(
            f"extractor {extractor!r} asks for {n_words} words, but the {len(train)} training items of fold {fold} "
            f"have {len(descriptors)} SIFT descriptors in all; set extractors.{extractor}.words to no more than that, "
            f"or raise its `frame_rate` or `descriptors`"
        )
    print(f"{n_words} words from {len(descriptors)} of {n_described} descriptors of {len(train)} training items")
    # No early stop: it looks at a sum whose last bits depend on the number of threads.
    options: dict[str, Any] = {"n_init": 1, "max_no_improvement": None, "compute_labels": False}
    kmeans: Any = MiniBatchKMeans(n_words, random_state=SEED, batch_size=BATCH, max_iter=PASSES, **options)
    kmeans.fit(prepare(descriptors, settings["root"]))
    attrs = {
        "settings": dict(settings),
        "fold": fold,
        "n_items": len(train),
        "n_descriptors": len(descriptors),
        "braid": braid.__version__,
        "scikit-learn": sklearn.__version__,
        "source": source,
    }
    Codebook(kmeans.cluster_centers_, attrs).save(out)


def _sample(train: pl.DataFrame, paths: Sequence[Path], most: int) -> tuple[np.ndarray, int, dict[str, Any]]:
    """Return up to `most` descriptors, uint8 [n, 128], of how many, and the attributes of a shard they are from."""
    wanted = set(train.iter_rows())
    bounds: dict[Path, list[tuple[int, int]]] = {}
    source: dict[str, Any] = {}
    for path in sorted(paths, key=lambda path: path.stem):
        with DescriptorShard(path) as shard:
            rows = [i for i, item in enumerate(shard.items) if (path.stem, item) in wanted]
            bounds[path] = [(int(shard.item_bounds[i]), int(shard.item_bounds[i + 1])) for i in rows]
            source = shard.attrs
    counts = np.array([stop - start for places in bounds.values() for start, stop in places], dtype=np.int64)
    if len(counts) < len(wanted):
        raise FeatureError(
            f"{len(wanted) - len(counts)} of {len(wanted)} training items are in none of the {len(paths)} descriptor "
            f"shards given; describe their frames first"
        )
    rng = np.random.default_rng(SEED)
    taken = share(counts, most, rng)
    sample = np.empty((taken.sum(), DIMENSION), np.uint8)
    filled, shares = 0, iter(taken.tolist())
    for path, places in bounds.items():
        with DescriptorShard(path) as shard:
            for start, stop in places:
                rows = start + np.sort(rng.choice(stop - start, next(shares), replace=False))
                for first, block in shard.blocks(start, stop):
                    picked = block[rows[(rows >= first) & (rows < first + len(block))] - first]
                    sample[filled : filled + len(picked)] = picked
                    filled += len(picked)
    return sample, int(counts.sum()), source


def share(counts: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """Return how many to take of each, int64 [N]: `most` in all, or all there are, and as equal as `counts` allow.

    What is left over when all have the same goes to some that have more, one each, drawn by `rng`.
    """
    low, high = 0, int(counts.max(initial=0))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if np.minimum(counts, middle).sum() <= most else (low, middle - 1)
    taken = np.minimum(counts, low)
    with_more = np.flatnonzero(counts > low)
    taken[rng.choice(with_more, min(most - int(taken.sum()), len(with_more)), replace=False)] += 1
    return taken

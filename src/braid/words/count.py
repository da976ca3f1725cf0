"""The third stage: descriptors and words in, histograms out, as an ordinary feature shard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import braid
from braid.extractors.pooling import pool
from braid.extractors.registry import REGISTRY
from braid.store.features import FeatureWriter
from braid.words.codebook import Codebook
from braid.words.descriptors import DescriptorShard


def count_words(descriptors: Path, codebook: Path, out: Path, settings: Mapping[str, Any]) -> None:
    """Write the feature shard `out`: how often each word occurs in each frame, and pooled over the frames of an item.

    A frame without a descriptor has counts of 0, which is a right answer as any other; so has an item all of whose
    frames are without, and its status is that of its video.

    Parameters
    ----------
    descriptors : path of the descriptor shard
    codebook : path of the words of the fold
    settings : mapping
        `type`, and `pooling` as `braid.extractors.pooling.pool` takes it.

    Raises
    ------
    StoreError
        A file is truncated or another kind of file.
    """
    words = Codebook.load(codebook)
    with DescriptorShard(descriptors) as shard:
        attrs = {
            "extractor": settings["type"],
            "version": REGISTRY[settings["type"]].version,
            "settings": shard.attrs["settings"] | words.attrs["settings"] | dict(settings),
            "words": {key: value for key, value in words.attrs.items() if key != "source"},
            "dtype": "float32",
            "device": "cpu",
            "braid": braid.__version__,
            "opencv": shard.attrs["opencv"],
            "source": shard.attrs["source"],
        }
        n_without = 0
        with FeatureWriter(out, attrs) as writer:
            for i, (item, status, reason) in enumerate(zip(shard.items, shard.status, shard.reason, strict=True)):
                first, last = shard.frame_bounds[i : i + 2].tolist()
                if first == last:
                    writer.append(item, None, status=status, reason=reason)
                    continue
                tokens = _histograms(shard, first, last, words)
                embedding = pool(tokens, settings["pooling"])
                n_without += not tokens.any()
                times = shard.times[first:last]
                writer.append(item, embedding, tokens=tokens, times=times, status=status, reason=reason)
        print(f"{len(shard.items)} items, of which {n_without} have no descriptor in any frame")


def _histograms(shard: DescriptorShard, first: int, last: int, words: Codebook) -> np.ndarray:
    """Return how often each word occurs in the frames from `first` to `last`, float32 [T, K]."""
    n_words = len(words.centres)
    counts = np.zeros((last - first) * n_words, np.float32)
    bounds = shard.descriptor_bounds[first : last + 1]
    for row, block in shard.blocks(int(bounds[0]), int(bounds[-1])):
        frames = np.searchsorted(bounds, np.arange(row, row + len(block)), side="right") - 1
        counts += np.bincount(frames * n_words + words.words(block), minlength=len(counts))
    return counts.reshape(last - first, n_words)

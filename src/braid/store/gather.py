"""From feature shards to one array: the embeddings, scores or tokens of items, in their order.

It takes two steps. Where the items are, and how large the array will be, is read first, so that a caller can choose
where to hold it; then the numbers, shard after shard and block after block, so that nothing else needs memory.

Letters: N items, D numbers of an embedding, E of a token, C classes of an extractor, T tokens of one item.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from braid.errors import FeatureError
from braid.store.features import FeatureShard

BLOCK_BYTES = 2**22
"""Of the rows of a shard that are read at once."""


@dataclass(frozen=True)
class Place:
    """Which rows of a shard hold some of the N items, int64 [n] and sorted, and the positions of these, int64 [n]."""

    path: Path
    theirs: np.ndarray
    ours: np.ndarray


@dataclass(frozen=True)
class Located(ABC):
    """Where N items are in the feature shards of one extractor, and the shape that their numbers will have."""

    places: list[Place]
    shape: tuple[int, ...]

    @abstractmethod
    def read(self, x: np.ndarray) -> np.ndarray:
        """Fill float32 `x` of this shape, which is all zeros; return which items have something, bool [N]."""


@dataclass(frozen=True)
class LocatedRows(Located):
    """Embeddings or scores, float32 [N, D]; zeros where the stream is not usable. D = 0 where no item has any."""

    what: Literal["embedding", "scores"]

    def read(self, x: np.ndarray) -> np.ndarray:
        present = np.zeros(len(x), dtype=bool)
        for place in self.places:
            with FeatureShard(place.path) as shard:
                for ours, values in self._blocks(shard, place):
                    usable = ~np.isnan(values).any(axis=1)
                    x[ours[usable]] = values[usable]
                    present[ours[usable]] = True
        return present

    def _blocks(self, shard: FeatureShard, place: Place) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the positions of some of the items and their rows, which are read together."""
        width = shard.width(self.what)
        if not (width and len(place.theirs)):
            return
        n_rows = max(1, BLOCK_BYTES // (4 * width))
        for first in range(place.theirs[0], place.theirs[-1] + 1, n_rows):
            here = slice(*np.searchsorted(place.theirs, [first, first + n_rows]))
            values = shard.rows(self.what, first, first + n_rows)
            yield place.ours[here], values[place.theirs[here] - first]


@dataclass(frozen=True)
class LocatedTokens(Located):
    """Tokens, float32 [N, T, 2 + E], first the seconds [start, end) on the clip's clock; NaN after an item's last."""

    most: int

    def read(self, x: np.ndarray) -> np.ndarray:
        present = np.zeros(len(x), dtype=bool)
        for place in self.places:
            with FeatureShard(place.path) as shard:
                for i, row in zip(place.theirs.tolist(), place.ours.tolist(), strict=True):
                    tokens, times = shard.tokens(i)
                    n = min(len(tokens), self.most)
                    if n:
                        x[row, :n] = merged(np.concatenate([times, tokens], axis=1), self.most)
                    x[row, n:] = np.nan
                    present[row] = n > 0
        return present


def locate(
    paths: Sequence[str | Path],
    items: Sequence[str],
    shards: Sequence[str],
    what: Literal["embedding", "scores"] = "embedding",
) -> LocatedRows:
    """Find the embeddings, or the scores, of items in the feature shards of one extractor.

    Parameters
    ----------
    paths : paths of the feature shards, `{shard}.h5`
    items : names of the N items
    shards : name of the shard of each item [N]; in another shard a clip that has left it may still have a row
    what : the data set

    Raises
    ------
    FeatureError
        An item is in none of the shards, or the shards disagree about D.
    """
    places, widths = [], set()
    for shard, place in _places(paths, items, shards):
        places.append(place)
        widths.add(shard.width(what))
    return LocatedRows(places, (len(items), _width(widths, paths)), what)


def locate_tokens(paths: Sequence[str | Path], items: Sequence[str], shards: Sequence[str], most: int) -> LocatedTokens:
    """Find the tokens of items, each with its time, in the feature shards of one extractor.

    Parameters
    ----------
    paths, items, shards : as for `locate`
    most : int
        Of an item with more tokens, neighbours are averaged until so many are left; one then lasts from the start of
        its first to the end of its last.

    Raises
    ------
    FeatureError
        As for `locate`.
    """
    places, widths, longest = [], set(), 0
    for shard, place in _places(paths, items, shards):
        places.append(place)
        n_tokens = shard.n_tokens[place.theirs].max(initial=0)
        if n_tokens:
            widths.add(shard.width("tokens"))
            longest = max(longest, min(int(n_tokens), most))
    width = _width(widths, paths)
    return LocatedTokens(places, (len(items), longest, 2 + width if longest else 0), most)


def gather(
    paths: Sequence[str | Path],
    items: Sequence[str],
    shards: Sequence[str],
    what: Literal["embedding", "scores"] = "embedding",
) -> tuple[np.ndarray, np.ndarray]:
    """Return what `locate` finds, in memory, and bool [N], which items have it."""
    return _in_memory(locate(paths, items, shards, what))


def gather_tokens(
    paths: Sequence[str | Path], items: Sequence[str], shards: Sequence[str], most: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return what `locate_tokens` finds, in memory, and bool [N], which items have tokens."""
    return _in_memory(locate_tokens(paths, items, shards, most))


def merged(tokens: np.ndarray, most: int) -> np.ndarray:
    """Return tokens [T, 2 + E], start and end in front, as at most `most`: means over runs of nearly equal length."""
    if len(tokens) <= most:
        return tokens
    firsts = np.arange(most) * len(tokens) // most
    counts = np.diff(firsts, append=len(tokens))
    means = np.add.reduceat(tokens, firsts, axis=0) / counts[:, None]
    means[:, 0] = np.minimum.reduceat(tokens[:, 0], firsts)
    means[:, 1] = np.maximum.reduceat(tokens[:, 1], firsts)
    return means


def _in_memory(located: Located) -> tuple[np.ndarray, np.ndarray]:
    x = np.zeros(located.shape, dtype=np.float32)
    return x, located.read(x)


def _places(
    paths: Sequence[str | Path], items: Sequence[str], shards: Sequence[str]
) -> Iterator[tuple[FeatureShard, Place]]:
    """Yield each shard, open, with the rows that it has of the items."""
    row_of = {key: row for row, key in enumerate(zip(items, shards, strict=True))}
    found = np.zeros(len(items), dtype=bool)
    for path in paths:
        with FeatureShard(path) as shard:
            keys = [(item, shard.path.stem) for item in shard.items]
            theirs = [i for i, key in enumerate(keys) if key in row_of]
            ours = np.array([row_of[keys[i]] for i in theirs], dtype=np.int64)
            found[ours] = True
            yield shard, Place(shard.path, np.array(theirs, dtype=np.int64), ours)
    if not found.all():
        absent = [items[row] for row in np.flatnonzero(~found).tolist()]
        raise FeatureError(
            f"{len(absent)} of {len(items)} items are in none of the {len(paths)} feature shards given, "
            f"the first is {absent[0]!r}; compute their features first"
        )


def _width(widths: set[int], paths: Sequence[str | Path]) -> int:
    """Return the width that all shards of an extractor have that have any; 0 where none has."""
    different = sorted(widths - {0})
    if len(different) > 1:
        raise FeatureError(f"feature shards of one extractor must agree about D, got {different}: {paths[0]}, …")
    return different[0] if different else 0

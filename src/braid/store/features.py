"""Feature shards: one HDF5 file with what an extractor gave for the items of a shard.

Letters: N items, D numbers of an embedding, E of a token, C classes of an extractor, T tokens of one item.

| data set | shape, type | content |
|---|---|---|
| `item`, `status`, `reason` | [N] text | name of the item, status of its stream, why it is not `ok` |
| `embedding` | [N, D] float32 | a row of NaN where the stream is not usable; D = 0 where no item has any |
| `scores` | [N, C] float32 | of the network's own classes, where it has some; what they are is the setting `scores` |
| `tokens`, `times` | [ΣT, E] float32, [ΣT, 2] float64 | the tokens of all items, and the seconds [start, end) of each |
| `token_end` | [N] int64 | where the tokens of an item end and those of the next one begin |
| `view_scores` | [ΣV, C] float32 | logits of all views, by time and then by crop, where `classes` names them |
| `view_end` | [N] int64 | where the views of an item end |

The attributes of the file say how the numbers came about, each as JSON.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np

from braid.errors import FeatureError
from braid.store.rows import RowShard, created

FORMAT = "braid features 2"
CHUNK_BYTES = 512 * 1024
"""Half of HDF5's chunk cache: the chunk that rows are appended to stays in memory."""
ITEMS_AT_ONCE = 64
"""Items that are written together, or fewer when their tokens fill a chunk: one alone costs four milliseconds."""


class FeatureWriter:
    """Write a feature shard item by item in bounded memory; the file appears whole or not at all.

    Parameters
    ----------
    path : path of the file to write
    attrs : dict
        How the numbers came about; anything that JSON can hold.
    """

    def __init__(self, path: str | Path, attrs: dict[str, Any]) -> None:
        self._path = path
        self._attrs = attrs
        self._open = ExitStack()
        self._n_items = self._n_tokens = self._n_views = 0
        self._widths: dict[str, int] = {}
        self._rows: list[dict[str, np.ndarray | None]] = []
        self._waiting: dict[str, list[np.ndarray]] = {}
        self._waiting_bytes = 0

    def __enter__(self) -> FeatureWriter:
        with ExitStack() as stack:
            self._file = stack.enter_context(created(self._path, FORMAT, self._attrs))
            self._open = stack.pop_all()
        return self

    def __exit__(self, *exception: Any) -> None:
        if exception[0] is None:
            self._open.callback(self._finish)
        self._open.__exit__(*exception)

    def _finish(self) -> None:
        if self._rows:
            self._flush()
        if "embedding" not in self._file:
            self._file["embedding"] = np.empty((self._n_items, 0), dtype=np.float32)

    def append(
        self,
        item: str,
        embedding: np.ndarray | None,
        *,
        tokens: np.ndarray | None = None,
        times: np.ndarray | None = None,
        scores: np.ndarray | None = None,
        view_scores: np.ndarray | None = None,
        status: str = "ok",
        reason: str = "",
    ) -> None:
        """Add one item.

        Parameters
        ----------
        embedding : float32 [D], finite; None when the stream is not usable
        tokens, times : float32 [T, E] and float64 [T, 2], seconds [start, end) on the clip's clock; both or neither
        scores : float32 [C], finite
        view_scores : float32 [V, C], finite
        status, reason : status of the stream, and why it is not `ok`

        Raises
        ------
        FeatureError
            A number is not finite, or a shape does not fit the others or those of the items before.
        """
        rows = {"embedding": embedding, "scores": scores}
        for name, row in rows.items():
            if row is not None:
                _check(item, name, row, (self._widths.setdefault(name, len(row)),))
        if tokens is not None:
            if times is None or embedding is None:
                raise FeatureError(f"item {item!r}: tokens need times and an embedding")
            _check(item, "tokens", tokens, (len(times), self._widths.setdefault("tokens", tokens.shape[1])))
            _check(item, "times", times, (len(times), 2))
            self._wait("tokens", tokens.astype(np.float32))
            self._wait("times", times.astype(np.float64))
            self._n_tokens += len(tokens)
        if view_scores is not None:
            width = self._widths.setdefault("view_scores", view_scores.shape[1])
            _check(item, "view_scores", view_scores, (len(view_scores), width))
            self._wait("view_scores", view_scores.astype(np.float32))
            self._n_views += len(view_scores)
        for name, text in {"item": item, "status": status, "reason": reason}.items():
            self._wait(name, np.array([text], dtype=h5py.string_dtype()))
        self._wait("token_end", np.array([self._n_tokens], dtype=np.int64))
        self._wait("view_end", np.array([self._n_views], dtype=np.int64))
        self._rows.append(rows)
        if len(self._rows) >= ITEMS_AT_ONCE or self._waiting_bytes > CHUNK_BYTES:
            self._flush()

    def _wait(self, name: str, values: np.ndarray) -> None:
        self._waiting.setdefault(name, []).append(values)
        self._waiting_bytes += values.nbytes

    def _flush(self) -> None:
        """Write the items that wait."""
        for name in ("embedding", "scores"):
            if name in self._widths:
                absent = np.full(self._widths[name], np.nan, np.float32)
                if name not in self._file:  # the items so far had none
                    self._create(name, (self._n_items, len(absent)), np.float32, fillvalue=np.nan)
                given = (row[name] for row in self._rows)
                self._extend(name, np.stack([absent if values is None else values for values in given]))
        for name, parts in self._waiting.items():
            self._extend(name, np.concatenate(parts).astype(parts[0].dtype))  # joined texts forget that they are such
        self._n_items += len(self._rows)
        self._rows, self._waiting, self._waiting_bytes = [], {}, 0

    def _data(self, name: str) -> h5py.Dataset:
        data = self._file[name]
        assert isinstance(data, h5py.Dataset)
        return data

    def _create(self, name: str, shape: tuple[int, ...], dtype: Any, fillvalue: float | None = None) -> None:
        row_bytes = np.dtype(dtype).itemsize * int(np.prod(shape[1:]))
        rows = min(max(CHUNK_BYTES // row_bytes, 1), 1024)
        self._file.create_dataset(
            name,
            shape,
            dtype,
            maxshape=(None, *shape[1:]),
            chunks=(rows, *shape[1:]),
            fillvalue=fillvalue,
            fletcher32=np.dtype(dtype).kind != "O",  # a flipped bit in numbers is an error; text cannot have it
        )

    def _extend(self, name: str, values: np.ndarray) -> None:
        if name not in self._file:
            self._create(name, (0, *values.shape[1:]), values.dtype)
        data = self._data(name)
        data.resize(len(data) + len(values), axis=0)
        data[len(data) - len(values) :] = values


class FeatureShard(RowShard):
    """A feature shard for reading."""

    FORMAT = FORMAT

    @cached_property
    def embedding(self) -> np.ndarray:
        """float32 [N, D]; a row of NaN where the stream is not usable."""
        return self._read("embedding")

    @cached_property
    def scores(self) -> np.ndarray | None:
        """float32 [N, C], rows of NaN as in `embedding`; None when the extractor has no classes."""
        return self._read("scores") if "scores" in self._file else None

    def tokens(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the tokens of the item in row `i`, float32 [T, E], and their seconds [start, end), float64 [T, 2]."""
        if "tokens" not in self._file:
            return np.empty((0, self.embedding.shape[1]), np.float32), np.empty((0, 2))
        rows = _rows(self._token_end, i)
        return self._read("tokens", rows), self._read("times", rows)

    def view_scores(self, i: int) -> np.ndarray:
        """Return the logits of the views of the item in row `i`, float32 [V, C], in time and then by crops.

        V is 0 where the stream is not usable, C is 0 where the shard has no scores by view.
        """
        if "view_scores" not in self._file:
            return np.empty((0, 0), np.float32)
        return self._read("view_scores", _rows(self._view_end, i))

    @cached_property
    def _token_end(self) -> np.ndarray:
        return self._read("token_end")

    @cached_property
    def _view_end(self) -> np.ndarray:
        return self._read("view_end")

    def _read(self, name: str, rows: slice = slice(None)) -> np.ndarray:
        return super()._read(name, rows) if name in self._file else np.empty(0)


def _rows(ends: np.ndarray, i: int) -> slice:
    """Return the rows of item `i` in a data set that holds those of all items, one item after the other."""
    return slice(ends[i - 1] if i else 0, ends[i])


def gather(
    paths: Sequence[str | Path],
    items: Sequence[str],
    shards: Sequence[str],
    what: Literal["embedding", "scores"] = "embedding",
) -> tuple[np.ndarray, np.ndarray]:
    """Return the embeddings, or the scores, of items from the feature shards of one extractor.

    Parameters
    ----------
    paths : paths of the feature shards, `{shard}.h5`
    items : names of the N items
    shards : name of the shard of each item [N]; in another shard a clip that has left it may still have a row
    what : the data set

    Returns
    -------
    x : float32 [N, D]
        In the order of `items`; zeros where the stream is not usable. D = 0 where no item has any.
    present : bool [N]
        Where the stream is usable.

    Raises
    ------
    FeatureError
        An item is in none of the shards, or the shards disagree about D.
    """
    blocks: list[tuple[np.ndarray, np.ndarray]] = []
    for shard, theirs, ours in _shards_with(paths, items, shards):
        values = shard.embedding if what == "embedding" else shard.scores
        if values is not None and values.shape[1]:
            blocks.append((ours, values[theirs]))
    x = np.zeros((len(items), _width([block.shape[1] for _, block in blocks], paths)), dtype=np.float32)
    present = np.zeros(len(items), dtype=bool)
    for ours, block in blocks:
        usable = ~np.isnan(block).any(axis=1)
        x[ours[usable]] = block[usable]
        present[ours[usable]] = True
    return x, present


def gather_tokens(
    paths: Sequence[str | Path], items: Sequence[str], shards: Sequence[str], most: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the tokens of items, each with its time, from the feature shards of one extractor.

    Parameters
    ----------
    paths, items, shards : as for `gather`
    most : int
        Of an item with more tokens, neighbours are averaged until so many are left; one then lasts from the start of
        its first to the end of its last.

    Returns
    -------
    x : float32 [N, T, 2 + E]
        Of each token the seconds [start, end) on the clip's clock and its numbers; rows of NaN after an item's last.
    present : bool [N]
        Which items have tokens.

    Raises
    ------
    FeatureError
        As for `gather`.
    """
    found: list[tuple[int, np.ndarray]] = []
    for shard, theirs, ours in _shards_with(paths, items, shards):
        for i, row in zip(theirs, ours.tolist(), strict=True):
            tokens, times = shard.tokens(i)
            if len(tokens):
                found.append((row, merged(np.concatenate([times, tokens], axis=1), most)))
    width = _width([len(block[0]) for _, block in found], paths)
    x = np.full((len(items), max((len(block) for _, block in found), default=0), width), np.nan, dtype=np.float32)
    for row, block in found:
        x[row, : len(block)] = block
    present = np.zeros(len(items), dtype=bool)
    present[[row for row, _ in found]] = True
    return x, present


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


def _shards_with(
    paths: Sequence[str | Path], items: Sequence[str], shards: Sequence[str]
) -> Iterator[tuple[FeatureShard, list[int], np.ndarray]]:
    """Yield each shard, open, with the rows that it has of the items and their positions among them, int64."""
    row_of = {key: row for row, key in enumerate(zip(items, shards, strict=True))}
    found = np.zeros(len(items), dtype=bool)
    for path in paths:
        with FeatureShard(path) as shard:
            keys = [(item, shard.path.stem) for item in shard.items]
            theirs = [i for i, key in enumerate(keys) if key in row_of]
            ours = np.array([row_of[keys[i]] for i in theirs], dtype=np.int64)
            found[ours] = True
            yield shard, theirs, ours
    if not found.all():
        absent = [items[row] for row in np.flatnonzero(~found).tolist()]
        raise FeatureError(
            f"{len(absent)} of {len(items)} items are in none of the {len(paths)} feature shards given, "
            f"the first is {absent[0]!r}; compute their features first"
        )


def _width(widths: list[int], paths: Sequence[str | Path]) -> int:
    """Return the width that all blocks of an extractor have; 0 where there is none."""
    different = sorted(set(widths))
    if len(different) > 1:
        raise FeatureError(f"feature shards of one extractor must agree about D, got {different}: {paths[0]}, …")
    return different[0] if different else 0


def _check(item: str, name: str, values: np.ndarray, shape: tuple[int, ...]) -> None:
    if values.shape != shape:
        raise FeatureError(f"item {item!r}: {name} must have the shape {shape}, got {values.shape}")
    if not np.isfinite(values).all():
        raise FeatureError(f"item {item!r}: {name} must be finite numbers; look at its clip, or compute in float32")

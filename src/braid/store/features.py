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

from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any

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

    @property
    def n_tokens(self) -> np.ndarray:
        """int64 [N], the tokens of each item."""
        return np.diff(self._token_end, prepend=0) if "tokens" in self._file else np.zeros(len(self.items), np.int64)

    def width(self, name: str) -> int:
        """Return how many numbers a row of the data set `name` has, 0 where the shard has none; reads none of them."""
        return self._data(name).shape[1] if name in self._file else 0

    def rows(self, name: str, first: int, end: int) -> np.ndarray:
        """Return these rows of the data set `name`, which the shard has."""
        return self._read(name, slice(first, end))

    def _read(self, name: str, rows: slice = slice(None)) -> np.ndarray:
        return super()._read(name, rows) if name in self._file else np.empty(0)


def _rows(ends: np.ndarray, i: int) -> slice:
    """Return the rows of item `i` in a data set that holds those of all items, one item after the other."""
    return slice(ends[i - 1] if i else 0, ends[i])


def _check(item: str, name: str, values: np.ndarray, shape: tuple[int, ...]) -> None:
    if values.shape != shape:
        raise FeatureError(f"item {item!r}: {name} must have the shape {shape}, got {values.shape}")
    if not np.isfinite(values).all():
        raise FeatureError(f"item {item!r}: {name} must be finite numbers; look at its clip, or compute in float32")

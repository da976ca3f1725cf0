"""Descriptor shards: one HDF5 file with the descriptors of the sampled frames of a shard's items.

Letters: N items, F frames of all of them, n descriptors of all frames.

| data set | shape, type | content |
|---|---|---|
| `item`, `status`, `reason` | [N] text | name of the item, status of its video, why it is not `ok` |
| `frame_end` | [N] int64 | where the frames of an item end and those of the next one begin |
| `times` | [F, 2] float64 | seconds [start, end) that each frame stands for |
| `descriptor_end` | [F] int64 | where the descriptors of a frame end and those of the next one begin |
| `descriptors` | [n, 128] uint8 | |

The attributes of the file say how the numbers came about, each as JSON.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from braid.store.rows import RowShard, created
from braid.words.sift import DIMENSION

FORMAT = "braid descriptors 1"
BLOCK_ROWS = 1 << 16
"""Descriptors that are read at once: 8 MiB."""


class DescriptorWriter:
    """Write a descriptor shard frame by frame in bounded memory; the file appears whole or not at all.

    Parameters
    ----------
    path : path of the file to write
    attrs : dict
        How the numbers came about; anything that JSON can hold.
    """

    def __init__(self, path: Path, attrs: dict[str, Any]) -> None:
        self._path = path
        self._attrs = attrs
        self._items: list[tuple[str, str, str]] = []
        self._frame_end: list[int] = []
        self._times: list[tuple[float, float]] = []
        self._descriptor_end: list[int] = []

    def __enter__(self) -> DescriptorWriter:
        with ExitStack() as stack:
            self._file = stack.enter_context(created(self._path, FORMAT, self._attrs))
            self._descriptors = self._file.create_dataset(
                "descriptors", (0, DIMENSION), np.uint8, maxshape=(None, DIMENSION), chunks=(1024, DIMENSION)
            )
            self._open = stack.pop_all()
        return self

    def __exit__(self, *exception: Any) -> None:
        if exception[0] is None:
            for column, name in enumerate(("item", "status", "reason")):
                self._file[name] = np.array([row[column] for row in self._items], dtype=h5py.string_dtype())
            self._file["frame_end"] = np.array(self._frame_end, dtype=np.int64)
            self._file["times"] = np.array(self._times, dtype=np.float64).reshape(-1, 2)
            self._file["descriptor_end"] = np.array(self._descriptor_end, dtype=np.int64)
        self._open.__exit__(*exception)

    def add_frame(self, start_seconds: float, end_seconds: float, descriptors: np.ndarray) -> None:
        """Add a frame, and its descriptors uint8 [n, 128], to the item that `end_item` will name."""
        begin = len(self._descriptors)
        if len(descriptors):
            self._descriptors.resize(begin + len(descriptors), axis=0)
            self._descriptors[begin:] = descriptors
        self._times.append((start_seconds, end_seconds))
        self._descriptor_end.append(begin + len(descriptors))

    def end_item(self, item: str, status: str, reason: str) -> None:
        """Say whose frames have been added since the item before; none are where its video is not usable."""
        self._items.append((item, status, reason))
        self._frame_end.append(len(self._times))


class DescriptorShard(RowShard):
    """A descriptor shard for reading."""

    FORMAT = FORMAT

    @cached_property
    def times(self) -> np.ndarray:
        """Seconds [start, end) that each frame stands for, float64 [F, 2]."""
        return self._read("times")

    @cached_property
    def frame_bounds(self) -> np.ndarray:
        """int64 [N + 1]: the frames of item i are those from `frame_bounds[i]` to `frame_bounds[i + 1]`."""
        return np.concatenate([[0], self._read("frame_end")])

    @cached_property
    def descriptor_bounds(self) -> np.ndarray:
        """int64 [F + 1]: the descriptors of frame f are those from `descriptor_bounds[f]` to the next bound."""
        return np.concatenate([[0], self._read("descriptor_end")])

    @cached_property
    def item_bounds(self) -> np.ndarray:
        """int64 [N + 1]: the descriptors of item i are those from `item_bounds[i]` to `item_bounds[i + 1]`."""
        return self.descriptor_bounds[self.frame_bounds]

    def blocks(self, start: int, stop: int) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the descriptors `start` to `stop` in blocks: the number of the first one, and uint8 [n, 128]."""
        for first in range(start, stop, BLOCK_ROWS):
            yield first, self._read("descriptors", slice(first, min(first + BLOCK_ROWS, stop)))

"""What training reads: data sets of items in shards, and batches of them that processes read ahead.

Letters: B items of a batch, S segments, T frames of a view, C' channels that are read, h, w pixels, n samples, P random
numbers.
"""

from __future__ import annotations

import gc
from abc import abstractmethod
from collections.abc import Generator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import polars as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from braid.backbones.base import Input
from braid.backbones.shards import Shards
from braid.errors import BraidError

AHEAD = 2
"""Batches that each process has read before they are asked for."""


class Batch(NamedTuple):
    """Items of a batch, as an input reads them.

    Attributes
    ----------
    raw : Tensor
        Pictures, uint8 or float32 [B, S, T, C', h, w], or sound, float32 [B, S, n].
    draws : Tensor or None
        The random numbers of the augmentation, float32 [B, P]; None where nothing is augmented.
    labels : Tensor
        int64 [B], -1 for an item without one.
    """

    raw: Tensor
    draws: Tensor | None
    labels: Tensor


class Sample(NamedTuple):
    """One item of a batch, and its label."""

    raw: Tensor
    draws: Tensor | None
    label: int


class Item(NamedTuple):
    """A row of the manifest that can be read, with the seconds that its clip covers of it."""

    name: str
    shard: str
    clip: str
    start: float
    end: float


class Items(Dataset[Any]):
    """Items of which something can be read. The others are counted and left out.

    Parameters
    ----------
    items : DataFrame
        Columns item, shard, clip, start_seconds, end_seconds (null: the stream's own start or end) and code, the number
        of the class or -1.
    shards : mapping
        Paths of the shards `{shard}.zarr.zip` of each kind that the input reads, `decoded` or `flow`.
    input : what is read of an item

    Attributes
    ----------
    items : list of str
        Names.
    labels : int64 [n]
    lacking : int
        Items that cannot be read.

    Raises
    ------
    BraidError
        A shard is missing or damaged, or cannot be used; the item is named.
    """

    def __init__(self, items: pl.DataFrame, shards: Mapping[str, Sequence[str | Path]], input: Input) -> None:
        self.input = input
        self.shards = Shards(shards, input.sources)
        self.rows: list[Item] = []
        labels: list[int] = []
        rows = items.select("item", "shard", "clip", "start_seconds", "end_seconds", "code").sort(
            "shard", maintain_order=True
        )
        for name, shard, clip, start, end, code in rows.iter_rows():
            try:
                status, _, first, last = input.extent(self.shards.clips(shard, clip), start, end)
            except BraidError as error:
                raise type(error)(f"item {name!r}: {error}") from error
            if status not in ("missing", "unreadable"):
                self.rows.append(Item(name, shard, clip, first, last))
                labels.append(code)
        self.shards.close()
        self.labels = np.array(labels, dtype=np.int64)
        self.items = [row.name for row in self.rows]
        self.lacking = len(items) - len(self.rows)

    @abstractmethod
    def __getitem__(self, key: Any) -> Sample:
        """Return what is read of an item, its random numbers [P] or None, and its label."""

    def __getitems__(self, keys: Sequence[Any]) -> Batch | BraidError:
        """Return a batch, or the error: what a process raises reaches another with its traceback as the message."""
        try:
            raws, draws, labels = zip(*map(self.__getitem__, keys), strict=True)
        except BraidError as error:
            return error
        return Batch(_stack(raws), None if draws[0] is None else torch.stack(draws), torch.tensor(labels))

    def _read(self, row: int, rng: np.random.Generator | None) -> Tensor:
        name, shard, clip, start, end = self.rows[row]
        try:
            return self.input.sample(self.shards.clips(shard, clip), start, end, rng)
        except BraidError as error:
            raise type(error)(f"item {name!r}: {error}") from error
        except Exception as error:
            error.add_note(f"This was in item {name!r}.")
            raise


class Training(Items):
    """Random samples of items: `dataset[epoch, i]` is a function of seed, epoch and i alone.

    There are `input.repeats` samples of an item in an epoch, those of one item next to each other.

    Parameters
    ----------
    items, shards, input : as for `Items`
    seed : int
    """

    def __init__(
        self, items: pl.DataFrame, shards: Mapping[str, Sequence[str | Path]], input: Input, seed: int
    ) -> None:
        super().__init__(items, shards, input)
        self.seed = seed

    def __len__(self) -> int:
        return len(self.rows) * self.input.repeats

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        epoch, i = key
        rng = np.random.default_rng([self.seed, epoch, i])
        row = i // self.input.repeats
        raw = self._read(row, rng)
        return Sample(raw, self.input.draw(rng), int(self.labels[row]))


class Evaluation(Items):
    """The middle of each item, or of each of its segments, and of the picture; nothing is random."""

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: int) -> Sample:
        return Sample(self._read(key, None), None, int(self.labels[key]))


def loader(data: Items, batches: Iterable[list[Any]], workers: int, pin: bool) -> Generator[Batch, None, None]:
    """Yield the batches of these keys, in order, while processes read ahead; `close` ends them.

    Which numbers come does not depend on how many processes there are. What they hold is bounded: `AHEAD` batches each.

    Parameters
    ----------
    data : the data set
    batches : keys of each batch; may be without an end, and is iterated once
    workers : int
        Processes that read; with 0 a batch is read when it is asked for.
    pin : bool
        Put batches where a GPU can fetch them while it works.

    Raises
    ------
    BraidError
        An item cannot be read; it is named.
    """
    # Before processes are forked: they would inherit OpenCV's pool without its threads, and wait for these for ever.
    cv2.setNumThreads(1)
    read = DataLoader(
        data,
        batch_sampler=batches,
        collate_fn=_as_it_is,
        num_workers=workers,
        prefetch_factor=AHEAD if workers else None,
        pin_memory=pin,
        worker_init_fn=_begin,
        generator=torch.Generator(),  # so that starting takes no random number from the network's
        multiprocessing_context="fork" if workers else None,  # no import and no script is run again
    )
    for batch in read:
        if isinstance(batch, BraidError):
            raise batch
        yield batch


def _begin(_: int) -> None:
    here: Any = get_worker_info()
    here.dataset.shards.forget()
    gc.freeze()  # what the parent left to be collected, another loader perhaps, is not this process's to close


def _as_it_is(batch: Any) -> Any:
    return batch


def _stack(raws: Sequence[Tensor]) -> Tensor:
    """Return what was read as one tensor; of bytes the channels stay last in memory, as convolutions want them."""
    if raws[0].dtype != torch.uint8:
        return torch.stack(list(raws))
    return torch.stack([raw.movedim(-3, -1) for raw in raws]).movedim(-1, -3)

"""Inputs of some items as tensors: what every scheme reads.

Letters: N items that are held, B of them, M modalities (one a feature, or a scheme, that the scheme names), D_m numbers
of modality m.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from braid.ahead import ahead

READERS = 4
"""Threads for features in files: a row that is not in memory takes a disk longer to find than to read."""
AHEAD_BYTES = 2**25
"""Of the batches that are copied before their turn comes, or one of them if it is larger."""


@dataclass(frozen=True)
class Batch:
    """What B items have of each modality, in the form that `braid.schemes.base.Scheme.reads` says.

    Attributes
    ----------
    features : list of float32 [B, …], one a modality
        Where a modality is missing, zeros (which is the mean over the training items), or tokens of NaN.
    present : bool [B, M]
        The mask: which modalities an item has.
    labels : int64 [B]
        Classes, -1 where an item has no label.
    groups : int64 [B]
        Items of one number are of one recording, location or source: what must not straddle a split.
    """

    features: list[Tensor]
    present: Tensor
    labels: Tensor
    groups: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def without(self, dropped: Tensor) -> Batch:
        """Return the same items as if they lacked what the bool mask [B, M] names."""
        features = []
        for x, gone in zip(self.features, dropped.T, strict=True):
            nothing = torch.nan if x.ndim == 3 else 0.0
            features.append(x.masked_fill(gone.reshape(-1, *[1] * (x.ndim - 1)), nothing))
        return replace(self, features=features, present=self.present & ~dropped)

    def selection(self) -> Selection:
        """Return all of the items, to be selected from."""
        at = torch.arange(len(self)).repeat(len(self.features), 1)
        return Selection(self.features, at, self.present, self.labels, self.groups, readers=0)


@dataclass(frozen=True)
class Selection:
    """B items of N whose features are held once, in memory or in a file; minibatches are copied when their turn comes.

    All selections of the same items share `held`, so that training and validation items, folds of them and fewer
    modalities cost their positions alone.

    Attributes
    ----------
    held : list of float32 [N, …], one a modality
    at : int64 [M, B]
        Where the items are among the N, for each modality.
    present, labels, groups : as of `Batch`
    readers : int
        Threads that copy batches before their turn comes, which is worth it where a copy waits for a disk.
    """

    held: list[Tensor]
    at: Tensor
    present: Tensor
    labels: Tensor
    groups: Tensor
    readers: int

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, which: Tensor) -> Selection:
        """Return the items at the int64 positions or under the bool mask `which`."""
        positions = which.nonzero().flatten() if which.dtype == torch.bool else which
        return Selection(
            self.held,
            self.at.index_select(1, positions),
            self.present.index_select(0, positions),
            self.labels.index_select(0, positions),
            self.groups.index_select(0, positions),
            self.readers,
        )

    def of(self, modalities: list[int]) -> Selection:
        """Return the same items with only these modalities."""
        held = [self.held[m] for m in modalities]
        return replace(self, held=held, at=self.at[modalities], present=self.present[:, modalities])

    def usable(self) -> Selection:
        """Return the items that have at least one modality."""
        return self.rows(self.present.any(dim=1))

    def permuted(self, m: int, order: Tensor) -> Selection:
        """Return the items with modality `m` of the items at `order`, int64 [B]."""
        at = self.at.clone()
        at[m] = at[m, order]
        return replace(self, at=at)

    def batch(self) -> Batch:
        """Return all of the items at once, as a copy."""
        # index_select copies rows three times as fast as x[positions].
        features = [x.index_select(0, at) for x, at in zip(self.held, self.at, strict=True)]
        return Batch(features, self.present, self.labels, self.groups)

    def shuffled(self, batch_size: int) -> Iterator[Batch]:
        """Yield all items once in random order, in parts of nearly equal size, at most `batch_size`.

        No part has a single item, for which batch normalisation is undefined, and none is dropped: an odd number of
        items in parts of two gives one part of three.
        """
        n_parts = max(1, min(-(-len(self) // batch_size), len(self) // 2))
        return self._batches(torch.randperm(len(self)).tensor_split(n_parts))

    def in_turn(self, size: int) -> Iterator[Batch]:
        """Yield all items in their order, at most `size` at once, which bounds memory."""
        return self._batches(torch.arange(len(self)).split(size))

    def _batches(self, parts: Sequence[Tensor]) -> Iterator[Batch]:
        """Yield the items at each of the positions, int64."""
        if not self.readers:
            for which in parts:
                yield self.rows(which).batch()
            return
        item_bytes = sum(x[:1].nbytes for x in self.held)
        n_ahead = max(1, min(2 * self.readers, AHEAD_BYTES // max(1, item_bytes * max(map(len, parts)))))
        with ThreadPoolExecutor(self.readers) as pool:
            yield from ahead(pool, lambda which: self.rows(which).batch(), parts, n_ahead)

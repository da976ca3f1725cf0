"""How many views go through a network at once: found while it works."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor

from braid.device import resident_bytes

AUTO = 0
"""The batch size that stands for one that is found."""
SMALL = (8, 4, 2)
"""The sizes that may follow the first view: the first for which there is room. With fewer views small networks are
slow, and each size costs a pass in which libraries prepare themselves for it, a second or two of a 3D network."""
MOST = {"cpu": 8, "cuda": 1024}
"""The largest sizes: a GPU has more to do at once, a CPU gains less from a larger batch than preparing for it costs."""
TIMED = 3
"""Batches of a size that are timed; their median counts, which neither the first one nor a hiccup moves."""
GAIN = 1.05
"""A batch twice as large must be faster by this, a view, to be worth its memory."""
FULL = 0.8
"""Share of the job's memory that a larger batch must be expected to stay in."""
HELD = 1 / 16
"""Share of the job's memory for views that wait for others of their shape, and the same for those loaded ahead."""

SHOWN = 4
"""Shapes that the log tells about."""


class BatchSize:
    """How many views of one shape share a batch.

    It begins with one view, which tells the memory that one needs, goes on with one of `SMALL`, and doubles while that
    makes the network faster, there is room, and it is not more than `most`.

    Parameters
    ----------
    wanted : the size to keep, or `AUTO`
    most : the largest that is tried
    has_room : says whether so many would fit in memory, being so many times what has been tried
    """

    def __init__(self, wanted: int, most: int, has_room: Callable[[int, int], bool]) -> None:
        self.now = wanted or 1
        self.settled = wanted != AUTO
        self._most = most
        self._has_room = has_room
        self._slowest = math.inf  # seconds a view at half the size
        self._seconds: list[float] = []

    def took(self, n: int, seconds: float) -> None:
        """Note how long a batch of `n` views took; only full batches tell something."""
        if self.settled or n != self.now:
            return
        if n == 1 and not self._seconds:
            self.now = next((size for size in SMALL if self._has_room(size, size)), 1)
            self.settled = self.now >= self._most
            if self.now > 1:
                return
        self._seconds.append(seconds / n)
        if len(self._seconds) < TIMED:
            return
        now = median(self._seconds)
        if now * GAIN > self._slowest:
            self.settled = True
            self.now = n if now < self._slowest else n // 2
        elif 2 * n > self._most or not self._has_room(2 * n, 2):
            self.settled = True
        else:
            self._slowest, self._seconds = now, []
            self.now = 2 * n

    def did_not_fit(self, n: int) -> None:
        """Note that `n` views, more than one, were too many for the memory of the device."""
        self.now, self.settled = min(self.now, n // 2), True


class BatchSizes:
    """The batch size of each shape of view, and how much may be loaded ahead.

    Construct it when the network is in place: what the process has grown by since is taken for the cost of batches.

    Parameters
    ----------
    wanted : the size to keep, or `AUTO`
    memory_bytes : int
        What the job may use of the computer's memory.
    loaders : threads that load views
    device : `cpu` or `cuda`
    """

    def __init__(self, wanted: int, memory_bytes: int, loaders: int, device: str) -> None:
        self.wanted = wanted
        self._most = MOST[device]
        self.memory_bytes = memory_bytes
        self.most_bytes = int(HELD * memory_bytes)
        self.loaders = loaders
        self._sizes: dict[torch.Size, BatchSize] = {}
        self._heaviest_bytes = 0
        self._before_bytes = resident_bytes()

    def __str__(self) -> str:
        found = [f"{size.now} of {tuple(shape)}" for shape, size in self._sizes.items()]
        more = f" and so on, {len(found)} shapes" if len(found) > SHOWN else ""
        return f"views in a batch, at most, by shape: {', '.join(found[:SHOWN]) or 'there are none'}{more}"

    def of(self, view: Tensor) -> BatchSize:
        """Return the batch size for views of the shape of this one."""
        if view.shape not in self._sizes:
            view_bytes = view.nbytes
            self._heaviest_bytes = max(self._heaviest_bytes, view_bytes)
            self._sizes[view.shape] = BatchSize(
                self.wanted, self._most, lambda n, times: self._has_room(n * view_bytes, times)
            )
        return self._sizes[view.shape]

    def ahead(self) -> int:
        """Return how many views may now be loaded before the network asks for them."""
        if not self._sizes:
            return self.loaders
        wanted = max(2 * max(size.now for size in self._sizes.values()), self.loaders)
        return max(min(wanted, self.most_bytes // self._heaviest_bytes), 1)

    def _has_room(self, batch_bytes: int, times: int) -> bool:
        """Return whether a batch of so many bytes fits that is `times` what has been tried, as the growth so far."""
        grown = resident_bytes() - self._before_bytes
        expected_bytes = self._before_bytes + times * grown
        return batch_bytes <= self.most_bytes and expected_bytes <= FULL * self.memory_bytes

"""Where a job holds the features that it learns from: in memory as long as they fit, else in files.

Letters: N items, C classes.
"""

from __future__ import annotations

import math
import mmap
import os
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from braid.errors import StoreError

ITSELF_BYTES = 900_000_000
"""Python and torch, of which 0.7 GB were seen, the blocks that are read and scaled, and resampled groups."""
ITEM_BYTES = 1000
"""The names of an item, what is told of it, and where it is."""
PARAMETER_BYTES = 24
"""A weight, its gradient, the two moments of Adam, its value in the best epoch and one copy, as float32."""
PROBABILITY_BYTES = 16
"""The probability of a class for an item, as float32, in training, prediction, evaluation and file."""
COPIES = 4
"""Of the items that a network sees at once: the next ones, these, those before, and what the network makes of them."""


def besides(shapes: Sequence[tuple[int, ...]], n_classes: int, n_parameters: int, at_once: int) -> int:
    """Return how many bytes a job needs besides its features: of a job's memory they may have what this leaves.

    Parameters
    ----------
    shapes : of the features, (N, …) each
    n_classes, n_parameters : of the network
    at_once : the most items that it sees at once
    """
    n_items, row_bytes = shapes[0][0], sum(4 * math.prod(shape[1:]) for shape in shapes)
    each = ITEM_BYTES + PROBABILITY_BYTES * n_classes
    return ITSELF_BYTES + n_items * each + PARAMETER_BYTES * n_parameters + COPIES * at_once * row_bytes


class Room:
    """The memory of one job, and the folder for what does not fit into it.

    Features that need more than `memory_mb` leaves for them after `besides` are held in files of `folder`, mapped into
    memory: the operating system keeps of them what it has room for, and takes the room back when it is needed. The
    numbers that a job computes are the same, bit for bit.

    The files have no name. Their space is free again as soon as nothing refers to the features, at the latest when the
    process ends, however it does.

    Parameters
    ----------
    memory_mb : int
        What the job may use, in megabytes.
    folder : Path
        For temporary files; without it the one of the system.
    """

    def __init__(self, memory_mb: int = 4000, folder: Path | None = None) -> None:
        self.memory_mb = memory_mb
        self.folder = Path(tempfile.gettempdir()) if folder is None else folder
        self._in_memory: list[weakref.ref[np.ndarray]] = []

    def hold(self, shapes: Sequence[tuple[int, ...]], besides_bytes: int) -> list[np.ndarray]:
        """Return float32 arrays of zeros of these shapes, and say in the log where they are.

        All are in one place; those that the job was given before and still uses count.

        Raises
        ------
        StoreError
            They need files, and the folder has no space for them, or is none.
        """
        needed = sum(4 * math.prod(shape) for shape in shapes)
        held = sum(array.nbytes for ref in self._in_memory if (array := ref()) is not None)
        left = max(0, self.memory_mb * 10**6 - besides_bytes - held)
        if needed <= left:
            print(f"features: {_gb(needed)}, in memory")
            arrays = [np.zeros(shape, np.float32) for shape in shapes]
            self._in_memory = [ref for ref in self._in_memory if ref() is not None] + list(map(weakref.ref, arrays))
            return arrays
        why = (
            f"The features of this job take {_gb(needed)}, more than the {_gb(left)} that its memory "
            f"(mem_mb: {self.memory_mb}) has for them"
        )
        print(f"{why}; they are held in files without a name in {self.folder}")
        cure = "Free space there, name another folder as the resource `tmpdir`, or give the job more `mem_mb`."
        try:
            free = shutil.disk_usage(self.folder).free
            if free < needed:
                raise StoreError(f"{why}, and {self.folder}, which is to hold them, has {_gb(free)} free. {cure}")
            return [self._mapped(shape) for shape in shapes]
        except OSError as error:
            reason = error.strerror or str(error)
            raise StoreError(f"{why}, and {self.folder} cannot hold them: {reason}. {cure}") from error

    def _mapped(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return zeros that lie in a file; OSError where the disk does not take them."""
        n_bytes = 4 * math.prod(shape)
        if not n_bytes:
            return np.zeros(shape, np.float32)
        with tempfile.TemporaryFile(dir=self.folder) as file:
            # Without its blocks, a disk that fills up later would end the process by a signal.
            os.posix_fallocate(file.fileno(), 0, n_bytes)
            return np.frombuffer(mmap.mmap(file.fileno(), n_bytes), np.float32).reshape(shape)


def is_in_file(x: np.ndarray) -> bool:
    """Return whether an array is one that a room holds in a file."""
    return _mapping(x) is not None


def expect_no_order(x: np.ndarray) -> None:
    """Prepare for reading rows of an array of a room in no order.

    Of a file the operating system then reads what is asked for; else it reads ahead, up to megabytes for each row.
    """
    if (mapping := _mapping(x)) is not None:
        mapping.madvise(mmap.MADV_RANDOM)


def _mapping(x: np.ndarray) -> mmap.mmap | None:
    base: object = x
    while isinstance(base, np.ndarray):
        base = base.base
    return base if isinstance(base, mmap.mmap) else None


def _gb(n_bytes: int) -> str:
    return f"{n_bytes / 10**9:.3g} GB"

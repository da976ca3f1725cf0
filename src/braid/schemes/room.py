"""Where a job holds the features that it learns from: in memory as long as they fit, else in files.

Letters: N items, C classes.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from braid.errors import StoreError

ITSELF_BYTES = 1_000_000_000
"""Python, torch, the blocks that are read and scaled at once, and minibatches; 0.4 to 0.7 GB were seen."""
PARAMETER_BYTES = 24
"""A weight, its gradient, the two moments of Adam, its value in the best epoch and one copy, as float32."""
PREDICTION_BYTES = 16
"""The probability of a class for an item, as float32, in training, prediction, evaluation and file."""


class Room:
    """The memory of one job, and the folder for what does not fit into it.

    The rule: features may have what is left of `memory_mb` after `ITSELF_BYTES`, `PARAMETER_BYTES` for each parameter
    of the network, and `PREDICTION_BYTES` for each of N × C probabilities. Those of a job that need more are held in
    files of `folder`, mapped into memory: the operating system keeps of them what it has room for, and takes the room
    back when it is needed. The numbers that a job computes are the same, bit for bit.

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

    def hold(self, shapes: Sequence[tuple[int, ...]], n_parameters: int, n_probabilities: int) -> list[np.ndarray]:
        """Return float32 arrays of zeros of these shapes, and say in the log where they are.

        All are in one place; those that the job was given before and still uses count.

        Raises
        ------
        StoreError
            They need files, and the folder has no space for them, or is none.
        """
        needed = sum(4 * math.prod(shape) for shape in shapes)
        left = self._left(n_parameters, n_probabilities)
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

    def _left(self, n_parameters: int, n_probabilities: int) -> int:
        """Return how many bytes features may have now."""
        itself = ITSELF_BYTES + PARAMETER_BYTES * n_parameters + PREDICTION_BYTES * n_probabilities
        held = sum(array.nbytes for ref in self._in_memory if (array := ref()) is not None)
        return max(0, self.memory_mb * 10**6 - itself - held)

    def _mapped(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return zeros that lie in a file; OSError where the disk does not take them."""
        n_bytes = 4 * math.prod(shape)
        if not n_bytes:
            return np.zeros(shape, np.float32)
        with tempfile.TemporaryFile(dir=self.folder) as file:
            # Without its blocks, a disk that fills up later would end the process by a signal.
            os.posix_fallocate(file.fileno(), 0, n_bytes)
            return np.asarray(np.memmap(file, np.float32, "r+", shape=shape))


def _gb(n_bytes: int) -> str:
    return f"{n_bytes / 10**9:.3g} GB"

"""The file in which a worker leaves a clip for the process that writes the shard."""

from __future__ import annotations

from io import RawIOBase

import numpy as np


class SpoolError(Exception):
    """The spool cannot be written, for instance since the disk is full: no fault of the clip."""


class Spool:
    """An unbuffered file, written from its beginning over what it held before: pages that are there cost least.

    Attributes
    ----------
    size : int
        Bytes written; what the file holds beyond them is of an earlier clip.
    """

    def __init__(self, file: RawIOBase) -> None:
        self._file = file
        self.rewind()

    def rewind(self) -> None:
        """Begin anew."""
        self._file.seek(0)
        self.size = 0

    def write(self, data: bytes | np.ndarray) -> None:
        """Append bytes, or the bytes of a contiguous array of one dimension.

        Raises
        ------
        SpoolError
            The disk does not take them.
        """
        rest = (data.data if isinstance(data, np.ndarray) else memoryview(data)).cast("B")
        self.size += len(rest)
        while rest:
            try:
                written = self._file.write(rest)
            except OSError as error:
                raise SpoolError(error.strerror or str(error)) from error
            rest = rest[written:]

    def write_array(self, array: np.ndarray) -> tuple[int, int]:
        """Append an array; return (byte offset, number of elements)."""
        begin = self.size
        self.write(array)
        return begin, len(array)

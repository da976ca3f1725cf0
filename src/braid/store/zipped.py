"""What shards in zarr zip files share when they are read: opened once, and an error that names file and cure."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar, cast
from zipfile import ZIP_STORED, BadZipFile, ZipFile

import numpy as np
import zarr
from numcodecs import blosc  # pyright: ignore[reportAttributeAccessIssue] (compiled)
from zarr.errors import BaseZarrError
from zarr.storage import ZipStore

from braid.errors import StoreError

blosc.use_threads = False  # a chunk is small, and readers are processes or threads themselves

Clip = TypeVar("Clip")

MOST_PIXELS = 2**27
"""Of a frame. A file that says more was made to fill the memory."""


class ZippedShard(ABC, Generic[Clip]):
    """Read-only shard, a context manager: a group a clip, and attributes of which `format` is the class's `FORMAT`.

    Parameters
    ----------
    path : Path
        A file that the writer of this kind of shard wrote.

    Attributes
    ----------
    attrs : dict
        How it was made.
    clips : tuple of str
        Keys of the clips, sorted.
    n_bytes : int
        Size of the file.

    Raises
    ------
    StoreError
        The file is missing, truncated or another kind of file.
    """

    FORMAT = ""
    LEAVES_OUT_ZEROS = False
    """Whether chunks of zeros alone are not in the file; else a chunk that is not there is lost."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._last: tuple[str, Clip | None] = "", None
        with self.reading(), ExitStack() as stack:
            self.n_bytes = self.path.stat().st_size
            self._zip = stack.enter_context(ZipFile(self.path))
            _check_parts(self._zip)
            store = ZipStore(self.path, mode="r")
            self._root = zarr.open_group(store, mode="r")
            stack.callback(store.close)
            self.attrs: dict[str, Any] = dict(self._root.attrs)
            if self.attrs.get("format") != self.FORMAT:
                raise ValueError(f"its format is {self.attrs.get('format')!r}")
            self.clips = self._keys()
            self._stack = stack.pop_all()

    def __enter__(self):
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._stack.close()

    def __getitem__(self, clip: str) -> Clip:
        name, last = self._last
        if last is not None and name == clip:  # the items of a clip stand together
            return last
        if clip not in self.clips:
            raise StoreError(f"{self.path} holds no clip {clip}; {self._cure}")
        with self.reading():
            found = self._clip(clip, cast(zarr.Group, self._root[clip]))
        self._last = clip, found
        return found

    @abstractmethod
    def _keys(self) -> tuple[str, ...]:
        """Return the keys of the clips, sorted."""

    @abstractmethod
    def _clip(self, clip: str, group: zarr.Group) -> Clip:
        """Return what is read of a clip."""

    def rows(self, array: zarr.Array, start: int, stop: int) -> np.ndarray:
        """Return rows [start, stop), one at least, of an array in chunks of whole rows; to be called in `reading`.

        The chunks are taken from the zip file, their checksums compared: zarr hands each to a thread of its own and
        back, which costs more than reading it.
        """
        size, stop = array.chunks[0], min(stop, array.shape[0])
        chunks = range(start // size, -(-stop // size))
        return np.concatenate([self._chunk(array, n)[max(start - n * size, 0) : stop - n * size] for n in chunks])

    def _chunk(self, array: zarr.Array, number: int) -> np.ndarray:
        name = f"{array.path}/c/{number}{'/0' * (array.ndim - 1)}"
        if self.LEAVES_OUT_ZEROS and name not in self._zip.NameToInfo:
            return np.zeros(array.chunks, array.dtype)
        data = self._zip.read(name)
        values = np.frombuffer(blosc.decompress(data) if array.compressors else data, array.dtype)
        if values.size != math.prod(array.chunks):
            raise ValueError(f"its part {name} has {values.size} numbers, not {math.prod(array.chunks)}")
        return values.reshape(array.chunks)

    @property
    def _cure(self) -> str:
        return f"delete it and run `snakemake` again, which makes it anew: rm '{self.path}'"

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Make an error of what reads the file one that names it."""
        try:
            yield
        except (BadZipFile, OSError, KeyError, ValueError, RuntimeError, BaseZarrError) as error:
            raise StoreError(
                f"{self.path} cannot be read as a {self.FORMAT} ({error}): it is missing, truncated or another kind of "
                f"file; {self._cure}"
            ) from error


def check_pixels(height: int, width: int) -> None:
    """Raise ValueError where a frame, or flow, says that it is larger than any video."""
    if height * width > MOST_PIXELS:
        raise ValueError(f"it claims frames of {height} × {width} pixels")


def _check_parts(file: ZipFile) -> None:
    """Raise ValueError where a part of a zip file is compressed and may grow to any size."""
    if any(part.compress_type != ZIP_STORED for part in file.infolist()):
        raise ValueError("a part of it is compressed, which braid never does")

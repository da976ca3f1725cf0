"""What shards in zarr zip files share when they are read: opened once, and an error that names file and cure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar, cast
from zipfile import ZIP_STORED, BadZipFile, ZipFile

import zarr
from zarr.errors import BaseZarrError
from zarr.storage import ZipStore

from braid.errors import StoreError

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

    def holds(self, name: str) -> bool:
        """Return whether the file has a part of this name."""
        return name in self._zip.NameToInfo

    def part(self, name: str) -> bytes:
        """Return what the file holds under a name, its checksum compared; to be called in `reading`.

        Chunks are read so, since zarr hands each to a thread of its own and back, which costs more than reading it.
        """
        return self._zip.read(name)

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

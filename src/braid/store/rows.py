"""What shards in HDF5 files share: rows of items with a status each, and attributes that say how they came about."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from braid.errors import StoreError
from braid.files import whole

UNWRITTEN_BYTES = 2**28
"""HDF5 leaves out rows that were never written: a data set may be so much larger than its file, and no more."""


def data_set(file: h5py.File, name: str) -> h5py.Dataset:
    """Return a data set that can be read safely, wherever the file is from: KeyError where there is none.

    Raises
    ------
    OSError
        It lies in another file, which a link or an external data set may name, or it would fill more memory than the
        size of the file explains.
    """
    link = file.get(name, getlink=True)
    if link is None:
        raise KeyError(name)
    data = file[name] if isinstance(link, h5py.HardLink) else None
    if not isinstance(data, h5py.Dataset) or data.external or data.is_virtual:
        raise OSError(f"{name!r} is no data set of this file itself")
    claimed = math.prod(data.shape) * data.dtype.itemsize
    if claimed > Path(file.filename).stat().st_size + UNWRITTEN_BYTES:
        raise OSError(f"{name!r} claims {claimed} bytes, far more than the file has")
    return data


@contextmanager
def created(path: str | Path, file_format: str, attrs: dict[str, Any]) -> Iterator[h5py.File]:
    """Yield a new file with its format and attributes, which appears at `path` whole or not at all."""
    with whole(path) as beside, h5py.File(beside, "w") as file:
        file.attrs["format"] = file_format
        for key, value in attrs.items():
            file.attrs[f"braid.{key}"] = json.dumps(value, ensure_ascii=False)
        yield file


class RowShard:
    """A shard for reading, a context manager; each property reads what it names.

    Raises
    ------
    StoreError
        The file is truncated or of another format than the class's `FORMAT`.
    """

    FORMAT = ""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self._file = h5py.File(self.path, "r", locking=False)  # a lock can fail on network file systems
            file_format = self._file.attrs.get("format")
        except OSError as error:
            raise StoreError(f"{self.path} cannot be read ({error}); delete it and run again") from error
        if file_format != self.FORMAT:
            self._file.close()
            raise StoreError(f"{self.path} is no file of the format {self.FORMAT!r}; delete it and run again")

    def __enter__(self):
        return self

    def __exit__(self, *exception: Any) -> None:
        self._file.close()

    @cached_property
    def attrs(self) -> dict[str, Any]:
        """How the numbers came about, as given to the writer."""
        named = {key: value for key, value in self._file.attrs.items() if key.startswith("braid.")}
        return {key.removeprefix("braid."): json.loads(str(value)) for key, value in named.items()}

    @cached_property
    def items(self) -> list[str]:
        """Names of the N items, in the order of the rows."""
        return self._texts("item")

    @cached_property
    def status(self) -> list[str]:
        """Status of the stream that is read, one an item."""
        return self._texts("status")

    @cached_property
    def reason(self) -> list[str]:
        """Why the status is not `ok`, one an item."""
        return self._texts("reason")

    def _texts(self, name: str) -> list[str]:
        return [value.decode() for value in self._read(name)]

    def _data(self, name: str) -> h5py.Dataset:
        try:
            return data_set(self._file, name)
        except OSError as error:
            raise self._damaged(name, error) from error

    def _read(self, name: str, rows: slice = slice(None)) -> np.ndarray:
        data = self._data(name)
        try:
            return data[rows]
        except OSError as error:
            raise self._damaged(name, error) from error

    def _damaged(self, name: str, error: OSError) -> StoreError:
        return StoreError(f"{self.path} is damaged in {name!r} ({error}); delete it and run again")

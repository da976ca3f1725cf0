"""Read every file of a results folder to the end, and say which are damaged.

Zip files have a CRC for each part. Numbers in HDF5 carry checksums, text in it does not; safetensors, JSON and tables
are held to their form alone. So a flipped bit in a trained network or in a text goes unnoticed; a cut does not.
"""

from __future__ import annotations

import csv
import json
import zlib
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile, ZipFile

import h5py
import numpy as np

CHUNK_ROWS = 4096
NOT_COMPUTED = ("benchmarks", "index", "logs", "run.json")
"""What is in a results folder besides. An index that cannot be read is an error of its own when a run starts."""


class Damage(NamedTuple):
    """A file that is not whole, and why."""

    path: Path
    reason: str


def files(results: Path) -> list[Path]:
    """Return what a run has computed, sorted; what a writer has under way begins with a dot and is left out."""

    def counts(parts: tuple[str, ...]) -> bool:
        return parts[0] not in NOT_COMPUTED and not any(part.startswith(".") for part in parts)

    paths = (path for path in results.rglob("*") if path.suffix in CHECKS)
    return sorted(path for path in paths if counts(path.relative_to(results).parts))


def check(paths: list[Path]) -> Iterator[Damage]:
    """Yield what is damaged among `paths`, in their order."""
    for path in paths:
        try:
            CHECKS[path.suffix](path)
        except (OSError, ValueError, KeyError, RuntimeError, BadZipFile, zlib.error, csv.Error) as error:
            yield Damage(path, str(error) or type(error).__name__)


def _zip(path: Path) -> None:
    with ZipFile(path) as file:
        if bad := file.testzip():
            raise ValueError(f"the checksum of its part {bad} is wrong")


def _hdf5(path: Path) -> None:
    with h5py.File(path, "r", locking=False) as file:
        if "format" not in file.attrs:
            raise ValueError("it says nothing of its format")
        file.visititems(_data_set)


def _data_set(name: str, node: h5py.Dataset | h5py.Group) -> None:
    if isinstance(node, h5py.Dataset):
        try:
            for at in range(0, len(node) if node.shape else 0, CHUNK_ROWS):
                np.asarray(node[at : at + CHUNK_ROWS])
        except OSError as error:
            raise ValueError(f"{name!r} cannot be read: {error}") from error


def _safetensors(path: Path) -> None:
    """Compare the length with what the header says (safetensors: 8 bytes of its length, JSON, numbers)."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > path.stat().st_size:
            raise ValueError("its header is cut or damaged")
        header = json.loads(file.read(length))
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    if path.stat().st_size != 8 + length + max(ends, default=0):
        raise ValueError(f"it has {path.stat().st_size} bytes, its header says {8 + length + max(ends, default=0)}")


def _json(path: Path) -> None:
    json.loads(path.read_text(encoding="utf-8"))


def _table(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if not text.endswith("\n"):
        raise ValueError("its last line has no end")
    rows = csv.reader(StringIO(text, newline=""), delimiter="\t" if path.suffix == ".tsv" else ",", strict=True)
    if len({len(row) for row in rows}) > 1:
        raise ValueError("its rows have different numbers of columns")


CHECKS: dict[str, Callable[[Path], None]] = {
    ".zip": _zip,
    ".npz": _zip,
    ".h5": _hdf5,
    ".safetensors": _safetensors,
    ".json": _json,
    ".csv": _table,
    ".tsv": _table,
}
"""Ending of a file → what reads it to the end and raises where it is damaged."""

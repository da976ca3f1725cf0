"""The folder that keeps weights: the environment variable BRAID_WEIGHTS, else `~/.cache/braid/weights`.

With BRAID_OFFLINE=1 nothing is downloaded. Beside each file stands `<file>.sha256` (the format of sha256sum), written
when the file is first seen: it pins a file whose publisher gives no checksum.
"""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from pathlib import Path

from braid.errors import WeightsError
from braid.files import write_text
from braid.weights.download import download
from braid.weights.record import Weights


def folder() -> Path:
    """Return the folder that keeps weights."""
    return Path(os.environ.get("BRAID_WEIGHTS") or Path.home() / ".cache" / "braid" / "weights").expanduser()


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal; computed once while its size and time of change stay the same."""
    stat = path.stat()
    return _sha256(path, stat.st_size, stat.st_mtime_ns)


@lru_cache
def _sha256(path: Path, size: int, mtime_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_here(weights: Weights) -> bool:
    """Return whether an official file and its companions are in the folder, right or wrong."""
    return all((folder() / each.file).exists() for each in weights.files)


def fetch(weights: Weights) -> Path:
    """Return the path of an official file; it and its companions are downloaded where missing, and verified.

    Raises
    ------
    WeightsError
        A file is missing and cannot be fetched, or is not the one it should be; the message says which file to put
        where and where it comes from.
    """
    for each in weights.files:
        _fetch(each)
    return folder() / weights.file


def _fetch(weights: Weights) -> None:
    path = folder() / weights.file
    if not path.exists():
        advice = f"put {path.name} into {path.parent}; it comes from {weights.url}"
        if os.environ.get("BRAID_OFFLINE", "0") not in ("", "0"):
            raise WeightsError(f"{path} is missing and BRAID_OFFLINE is set: {advice}")
        size = f", {weights.size_bytes / 1e6:,.0f} MB" if weights.size_bytes else ""
        print(f"fetching {weights.url} to {path} (licence: {weights.terms}{size})", flush=True)
        try:
            download(weights, path)
        except OSError as error:
            raise WeightsError(f"{weights.url} cannot be fetched ({error}): {advice}") from error
    _verify(weights)


def verify(weights: Weights) -> str:
    """Return the SHA-256 of an official file in the folder, its companions checked too.

    The first time that a file is seen, its checksum is pinned beside it.

    Raises
    ------
    WeightsError
        A file is not there, or its checksum is not the published or the pinned one.
    """
    digests = [_verify(each) for each in weights.files]
    return digests[0]


def _verify(weights: Weights) -> str:
    path = folder() / weights.file
    if not path.is_file():
        raise WeightsError(f"{path} is missing; `braid weights fetch` brings it, or put it there from {weights.url}")
    digest = sha256(path)
    pin = path.with_name(f"{path.name}.sha256")
    pinned = pin.read_text(encoding="utf-8").split()[0] if pin.exists() else ""
    for origin, expected in (("published", weights.sha256), ("pinned", pinned)):
        if not digest.startswith(expected):
            raise WeightsError(
                f"{path} has the SHA-256 {digest}, but the {origin} one is {expected}: it is damaged or another file; "
                f"delete it and {pin.name} and fetch it again from {weights.url}"
            )
    if not pinned:
        write_text(pin, f"{digest}  {path.name}\n")
    return digest

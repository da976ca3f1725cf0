"""Files appear whole or not at all, and settings have a short stable digest."""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from braid.errors import StoreError

STALE_SECONDS = 24 * 3600
"""A partial file that nobody has written to for so long was left by a process that was killed."""


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""What the system says when a disk takes no more: it is full, so is a quota or the file, or it became read-only."""


@contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; on success it is synced to disk and renamed to `path`.

    After an exception the partial file is removed and `path` is as it was before. The name beside keeps the
    ending of `path`, since some libraries choose a format by it. The folder is made where it is missing. What killed
    writers of the same file have left is removed once it is `STALE_SECONDS` old.

    Raises
    ------
    StoreError
        The disk is full or cannot be written to; the message names the file.
    """
    path = Path(path)
    beside = path.with_name(f".{uuid.uuid4().hex[:8]}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.touch()
    except OSError as error:
        raise _unwritable(path, error.errno or 0) from error
    _remove_stale(path)
    try:
        yield beside
        _sync(beside)
        beside.replace(path)
        _sync(path.parent)
    except Exception as error:
        if (number := _errno(error)) in FULL:
            raise _unwritable(path, number) from error
        raise
    finally:
        with suppress(OSError):  # on a disk that fails, the first error is the one to tell
            beside.unlink(missing_ok=True)


def _remove_stale(path: Path) -> None:
    for left in path.parent.glob(f".????????.{glob.escape(path.name)}"):
        with suppress(FileNotFoundError):  # its writer may be alive and rename it now
            if time.time() - left.stat().st_mtime > STALE_SECONDS:
                left.unlink()


def _errno(error: Exception) -> int:
    """Return the number of the system's error behind `error`, 0 where there is none: some libraries tell it in text."""
    if isinstance(error, OSError) and error.errno:
        return error.errno
    said = re.search(r"\bos error (\d+)|\berrno = (\d+)", str(error))  # of safetensors, of HDF5
    return int(said[1] or said[2]) if said else 0


def _unwritable(path: Path, number: int) -> StoreError:
    return StoreError(
        f"{path} cannot be written: {os.strerror(number)}. Free space, or mend the disk or its permissions, then run "
        f"again."
    )


def write_text(path: str | Path, text: str) -> None:
    """Write `text` as UTF-8 to `path`, whole or not at all."""
    with whole(path) as beside:
        beside.write_text(text, encoding="utf-8")


def digest(value: Any) -> str:
    """Return 16 hexadecimal digits that stand for `value`, anything that JSON can hold.

    Keys are sorted, so that two mappings with the same content have the same digest in any order.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Files appear whole or not at all, and settings have a short stable digest."""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from braid.errors import StoreError

STALE_SECONDS = 24 * 3600
"""A partial file that nobody has written to for so long was left by a process that was killed."""


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
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".????????.{glob.escape(path.name)}"):
        with suppress(FileNotFoundError):  # its writer may be alive and rename it now
            if time.time() - left.stat().st_mtime > STALE_SECONDS:
                left.unlink()
    beside = path.with_name(f".{uuid.uuid4().hex[:8]}.{path.name}")
    try:
        yield beside
        _sync(beside)
        beside.replace(path)
        _sync(path.parent)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise StoreError(
                f"{path} cannot be written: {os.strerror(error.errno)}. Free space or mend the disk, then run again."
            ) from error
        raise
    finally:
        beside.unlink(missing_ok=True)


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

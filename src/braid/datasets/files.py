"""The media files of a folder."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from braid.errors import ManifestError

AUDIO = frozenset(
    [".aac", ".aif", ".aiff", ".amr", ".flac", ".m4a", ".mka", ".mp3", ".oga", ".ogg", ".opus", ".wav", ".wma"]
)
MEDIA = AUDIO.union(
    [".3g2", ".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf"],
    [".ogv", ".ts", ".vob", ".webm", ".wmv"],
)
CHUNK_BYTES = 1 << 20


def streams(path: str) -> tuple[str, str]:
    """Return the `video` and the `audio` that the file `path` stands for: a sound file has no video.

    Every other file may hold both; whether it does is seen when it is decoded.
    """
    return ("" if Path(path).suffix.lower() in AUDIO else path, path)


def find(root: Path) -> tuple[list[str], Counter[str]]:
    """Return the media files below `root`, and how many other files there are, by the ending of their name.

    Paths are relative to `root`, with `/`, sorted. Links are followed, hidden files and folders left out.

    Raises
    ------
    ManifestError
        `root` is no folder, or a name is not UTF-8, which a manifest could not hold.
    """
    if not root.is_dir():
        raise ManifestError(f"{root} is no folder; give the folder that holds the data set.")
    found, others = [], Counter()
    seen = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        status = Path(folder).stat()
        if (status.st_dev, status.st_ino) in seen:  # a link that leads back up would be walked for ever
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            path = Path(folder, name)
            suffix = path.suffix.lower()
            if name.startswith(".") or suffix not in MEDIA:
                others[suffix] += 1
            else:
                found.append(_encodable(path.relative_to(root).as_posix(), root))
    return sorted(found), others


def size(files: Iterable[Path]) -> int:
    """Return the bytes of `files` together."""
    return sum(file.stat().st_size for file in files)


def sha256(files: Iterable[Path]) -> str:
    """Return the hexadecimal SHA-256 of `files`, read one after the other."""
    checksum = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                checksum.update(chunk)
    return checksum.hexdigest()


def _encodable(path: str, root: Path) -> str:
    try:
        path.encode()
    except UnicodeEncodeError:
        raise ManifestError(
            f"In {root}, the name {os.fsencode(path)!r} is not UTF-8, and a manifest is; rename the file."
        ) from None
    return path

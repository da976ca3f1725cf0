"""Whether the files of clips are still those that the manifest describes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import polars as pl

from braid.errors import ManifestError

BLOCK_BYTES = 1 << 20


def verify(clips: pl.DataFrame) -> None:
    """Raise unless sizes and checksums are those of the manifest, where it has them.

    Parameters
    ----------
    clips : pl.DataFrame
        `video` and `audio` (absolute paths or ""), `bytes` (int64 or null, of both files together) and `sha256` (hex
        or null, of both files one after the other). A file that does not exist is left to decoding, which records it.

    Raises
    ------
    ManifestError
        A file is another one than the manifest describes.
    """
    for video, audio, size, checksum in clips.select("video", "audio", "bytes", "sha256").iter_rows():
        files = [Path(name) for name in dict.fromkeys((video, audio)) if name]
        if not all(file.is_file() for file in files):
            continue
        names = " and ".join(f"'{file}'" for file in files)
        found = sum(file.stat().st_size for file in files)
        if size is not None and found != size:
            raise _changed(names, f"has {found} bytes, the manifest says {size}")
        if checksum is not None and _sha256(files) != checksum:
            raise _changed(names, "has another sha256 than the manifest says")


def _sha256(files: list[Path]) -> str:
    total = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                total.update(block)
    return total.hexdigest()


def _changed(names: str, how: str) -> ManifestError:
    return ManifestError(
        f"{names} {how}: it was changed or is damaged. Put the file back, or run `braid index` again, which marks the "
        f"clip as changed."
    )

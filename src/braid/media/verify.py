"""Whether the files of clips are still those that the manifest describes."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from braid.datasets import files as media_files

CURE = "run `braid index` again, or put the file back and delete the shard"


def changed(clips: pl.DataFrame) -> dict[str, str]:
    """Return the clips whose files are not those of the manifest any more, key → reason.

    Parameters
    ----------
    clips : pl.DataFrame
        `clip` (key), `video` and `audio` (absolute paths or ""), `bytes` (int64 or null, of both files together) and
        `sha256` (hex or null, of both files one after the other).
    """
    reasons = {}
    for clip, video, audio, size, checksum in clips.select("clip", "video", "audio", "bytes", "sha256").iter_rows():
        files = [Path(name) for name in dict.fromkeys((video, audio)) if name]
        if gone := [file.name for file in files if not file.is_file()]:
            reasons[clip] = f"{gone[0]!r} does not exist any more; {CURE}"
        elif size is not None and (found := media_files.size(files)) != size:
            reasons[clip] = f"the manifest says {size} bytes, the file has {found}; {CURE}"
        elif checksum is not None and media_files.sha256(files) != checksum:
            reasons[clip] = f"the manifest says another sha256 than the file has; {CURE}"
    return reasons

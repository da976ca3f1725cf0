"""Decode the clips of a shard: frames, times and sound, and the status of both streams."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl

from braid.errors import StoreError
from braid.media import VERSION, pool
from braid.media.verify import changed
from braid.store.decoded import DecodedWriter

LIBRARIES = ("av", "decord", "simplejpeg", "numcodecs", "zarr")


def decode_shard(clips: pl.DataFrame, out: Path, settings: dict[str, Any], workers: int) -> None:
    """Decode clips into one shard, whole or not at all.

    Parameters
    ----------
    clips : pl.DataFrame
        One row a clip: `clip` (key), `video` and `audio` (absolute paths, equal where one file holds both, "" where
        the clip has none), `bytes` and `sha256` (see `braid.media.verify`).
    out : Path
        The shard to write, ending in ``.zarr.zip``.
    settings : dict
        The section `decode` of the config, complete.
    workers : int
        Processes that decode, one thread each.

    Raises
    ------
    StoreError
        The disk does not take the shard. A clip that cannot be decoded, or whose file is another one than the manifest
        describes, is no error: its status says so.
    """
    every = [pool.Task(*row) for row in clips.select("clip", "video", "audio").iter_rows()]
    paths = {task.clip: {"video": task.video, "audio": task.audio} for task in every}
    spoilt = changed(clips)
    tasks = [task for task in every if task.clip not in spoilt]
    attrs = {
        "settings": settings,
        "versions": {"braid.media": VERSION, **{library: version(library) for library in LIBRARIES}},
    }
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with DecodedWriter(out, attrs) as writer:
            for clip, reason in spoilt.items():
                writer.append(clip, {**lost(paths[clip], reason), "paths": paths[clip]}, None)
            for outcome in pool.run(tasks, settings, workers, out.parent):
                record = outcome.record or lost(paths[outcome.clip], outcome.reason)
                writer.append(outcome.clip, {**record, "paths": paths[outcome.clip]}, outcome.spool)
    except OSError as error:
        raise StoreError(
            f"{out} cannot be written: {error.strerror or error}. Free space or mend the disk, then run again."
        ) from error


def lost(paths: dict[str, str], reason: str) -> dict[str, Any]:
    """Return the record of a clip of which nothing was decoded: each stream that it should have is unreadable."""
    streams = {
        stream: {"status": "unreadable", "reason": reason, "info": {}}
        if path
        else {"status": "missing", "reason": f"the manifest names no {stream} file", "info": {}}
        for stream, path in paths.items()
    }
    return {**streams, "audio_start_seconds": 0.0}

"""Which streams of which clips could not be read as they should, and whether too many clips are lost."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import polars as pl

from braid.errors import TooManyProblems
from braid.files import whole, write_text
from braid.store.decoded import USABLE, DecodedShard

SHOWN = 3
"""Clips that the error names; the others are in the table."""


@dataclass(frozen=True)
class Problem:
    """A stream that is not as it should be.

    Attributes
    ----------
    clip : str
        Key of the clip.
    video, audio : str
        Its files, as the manifest names them.
    stream : str
        ``video`` or ``audio``.
    status, reason : str
        See `braid.store.decoded.Stream`.
    shard : str
        Name of the shard.
    """

    clip: str
    video: str
    audio: str
    stream: str
    status: str
    reason: str
    shard: str


COLUMNS = [field.name for field in fields(Problem)]


def collect(shards: Iterable[Path], items: pl.DataFrame) -> list[Problem]:
    """Return the problems of all clips that are still in the manifest, sorted by clip.

    A stream whose status is not ``ok`` is a problem, unless the manifest names no file for it.

    Parameters
    ----------
    shards : iterable of Path
        Decoded shards.
    items : pl.DataFrame
        Rows of the manifest: `clip`, `video`, `audio`, `shard`.

    Raises
    ------
    StoreError
        A shard is truncated or of another kind.
    """
    # By shard too: a clip that was removed and added again is in a new shard, and the old one still has it.
    rows = items.select("shard", "clip", "video", "audio").unique("clip").iter_rows()
    files = {(shard, clip): paths for shard, clip, *paths in rows}
    found = []
    for path in shards:
        with DecodedShard(path) as shard:
            name = path.name.removesuffix(".zarr.zip")
            for clip in shard.clips:
                if (name, clip) not in files:
                    continue
                video, audio = files[name, clip]
                for stream, file in (("video", video), ("audio", audio)):
                    record = shard.attrs["clips"][clip][stream]
                    if file and record["status"] != "ok":
                        found.append(Problem(clip, video, audio, stream, record["status"], record["reason"], name))
    return sorted(found, key=lambda problem: (problem.clip, problem.stream))


def write(problems: list[Problem], path: Path) -> None:
    """Write problems as a table with tabs, quoted as the manifest is, whole or not at all."""
    with whole(path) as beside, beside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(problem) for problem in problems)


def read(path: Path) -> list[Problem]:
    """Return the problems that `write` wrote."""
    with path.open(encoding="utf-8", newline="") as file:
        return [Problem(**row) for row in csv.DictReader(file, delimiter="\t")]


def check(table: Path, items: pl.DataFrame, max_bad_fraction: float, out: Path) -> None:
    """Count the clips of which no stream can be used, and write the counts as JSON.

    A clip without sound, or with a damaged picture, is listed in `table` but not bad: it has something to use.

    Parameters
    ----------
    table : Path
        What `write` wrote.
    items : pl.DataFrame
        Rows of the manifest: `clip`.
    max_bad_fraction : float
        Share of clips in [0, 1] that may be bad.
    out : Path
        `clips`, `bad` (numbers of clips), `statuses` (stream → status → number of clips listed).

    Raises
    ------
    TooManyProblems
        More clips are bad.
    """
    problems = read(table)
    n_clips = items["clip"].n_unique()
    lost = Counter(problem.clip for problem in problems if problem.status not in USABLE)
    bad = {
        problem.clip: problem for problem in problems if lost[problem.clip] == bool(problem.video) + bool(problem.audio)
    }
    if len(bad) > max_bad_fraction * n_clips:
        shown = "; ".join(
            f"{problem.video or problem.audio!r}: {problem.reason}" for problem in list(bad.values())[:SHOWN]
        )
        raise TooManyProblems(
            f"{len(bad)} of {n_clips} clips have no stream that can be used, more than max_bad_fraction "
            f"{max_bad_fraction:g} allows. {table} lists them ({shown}). Mend or remove these clips, or raise "
            f"max_bad_fraction in the config."
        )
    statuses = {
        stream: dict(sorted(Counter(one.status for one in problems if one.stream == stream).items()))
        for stream in ("video", "audio")
    }
    write_text(out, json.dumps({"clips": n_clips, "bad": len(bad), "statuses": statuses}, indent=2) + "\n")

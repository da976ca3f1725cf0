"""Media files that were cut, overwritten, shuffled or given another's head, from seeds that are made here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
from media_files import numbered, write_sound, write_video

from braid.media.decode import decode_shard
from braid.store.decoded import DecodedShard

RATE, N = 16000, 12
STATUSES = {"ok", "missing", "short", "damaged", "unreadable"}


def seeds(folder: Path) -> list[bytes]:
    """Return small whole files of several containers and codecs."""
    frames = [numbered(number) for number in range(N)]
    hum = (np.sin(np.arange(RATE // 2) / 20) * 8000).astype(np.int16)[None]
    sound = ("aac", hum, RATE, 0.0)
    paths = [
        write_video(folder / "a.mp4", frames, sound=sound),
        write_video(folder / "b.mp4", frames, container={"movflags": "faststart"}),
        write_video(folder / "c.mkv", frames, sound=sound),
        write_video(folder / "d.avi", frames, "mpeg4", sound=("pcm_s16le", hum, RATE, 0.0)),
        write_video(folder / "e.ts", frames, sound=sound),
        write_video(folder / "f.webm", frames, "libvpx-vp9", options={"deadline": "realtime", "cpu-used": "8"}),
        write_sound(folder / "g.wav", "pcm_s16le", hum, RATE),
    ]
    return [path.read_bytes() for path in paths]


def mutant(data: bytes, others: list[bytes], random: np.random.Generator) -> tuple[str, bytes]:
    """Return what was done to a file, and the file."""
    kind = random.choice(["cut", "bits", "bytes", "zeros", "head", "tail", "doubled", "shuffled"])
    n = len(data)
    first, last = np.sort(random.integers(0, n, 2))
    changed = bytearray(data)
    if kind == "cut":
        changed = changed[: int(first)]
    elif kind == "bits":
        for place in random.integers(0, n, random.integers(1, 20)):
            changed[place] ^= 1 << random.integers(8)
    elif kind == "bytes":
        length = int(random.integers(1, 64))
        changed[first : first + length] = random.bytes(length)
    elif kind == "zeros":
        changed[first:last] = bytes(int(last - first))
    elif kind == "head":  # of another kind of file
        head = others[random.integers(len(others))][: int(random.integers(8, 600))]
        changed[: len(head)] = head
    elif kind == "tail":
        changed = changed[int(first) :]
    elif kind == "doubled":
        changed[last:last] = changed[first:last]
    else:
        pieces = [changed[at : at + 512] for at in range(0, n, 512)]
        changed = bytearray().join(pieces[place] for place in random.permutation(len(pieces)))
    return str(kind), bytes(changed)


def mutants(folder: Path, originals: list[bytes], n: int, seed: int) -> Iterator[tuple[str, Path]]:
    """Write `n` mutants, and yield what was done to each and its file."""
    random = np.random.default_rng(seed)
    for number in range(n):
        kind, data = mutant(originals[number % len(originals)], originals, random)
        path = folder / f"{number:05d} {kind}.mp4"
        path.write_bytes(data)
        yield kind, path


def classified(folder: Path, paths: list[Path], settings: dict, workers: int = 2) -> list[dict[str, str]]:
    """Decode a shard of files; return the status and reason of both streams of each."""
    keys = [f"{number:016x}" for number in range(len(paths))]
    names = [str(path) for path in paths]
    clips = pl.DataFrame(
        {"clip": keys, "video": names, "audio": names},
    ).with_columns(pl.lit(None, pl.Int64).alias("bytes"), pl.lit(None, pl.String).alias("sha256"))
    out = folder / "shard.zarr.zip"
    decode_shard(clips, out, settings, workers)
    rows = []
    with DecodedShard(out) as shard:
        for key in keys:
            clip = shard[key]
            if clip.video.usable:  # what is usable can be used
                assert clip.frames(slice(0, 1)).shape[0] == min(1, len(clip.times))
            rows.append(
                {
                    "video": clip.video.status,
                    "audio": clip.audio.status,
                    "reason": clip.video.reason or clip.audio.reason,
                }
            )
    out.unlink()
    return rows

"""Thousands of mutated media files, `make fuzz`: no shard stops or hangs, memory is bounded, each file is classified.

Seeds are made here; where the environment variable BRAID_CLIPS names a folder, its files of at most 4 MB are mutated
too. BRAID_FUZZ is how many there are, 2000 if not given.
"""

from __future__ import annotations

import os
import resource
import time
from collections import Counter
from pathlib import Path

from mutants import STATUSES, classified, mutants, seeds

N = int(os.environ.get("BRAID_FUZZ", "2000"))
A_SHARD, LIMIT_SECONDS, MOST_MEGABYTES, LARGEST = 100, 10, 1500, 4_000_000


def test_mutants(tmp_path, settings):
    originals = seeds(tmp_path)
    if folder := os.environ.get("BRAID_CLIPS"):
        files = (path for path in sorted(Path(folder).rglob("*")) if path.is_file())
        originals += [path.read_bytes() for path in files if 0 < path.stat().st_size <= LARGEST]
    chosen = settings | {"sample_rate": 16000, "codec": "jpeg", "short_side": 96, "timeout_seconds": LIMIT_SECONDS}
    table: Counter[tuple[str, str, str]] = Counter()
    slowest = 0.0
    for first in range(0, N, A_SHARD):
        files = tmp_path / f"{first}"
        files.mkdir()
        made = list(mutants(files, originals, min(A_SHARD, N - first), seed=first))
        start = time.monotonic()
        rows = classified(files, [path for _, path in made], chosen)
        slowest = max(slowest, time.monotonic() - start)
        for (kind, path), row in zip(made, rows, strict=True):
            assert {row["video"], row["audio"]} <= STATUSES
            assert row["reason"] or (row["video"], row["audio"]) == ("ok", "ok"), path
            table[kind, row["video"], row["audio"]] += 1
            path.unlink()
    largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(
        f"\n{N} mutants of {len(originals)} files; slowest {A_SHARD}: {slowest:.0f} s; largest worker: {largest:.0f} MB"
    )
    for (kind, video, audio), count in sorted(table.items()):
        print(f"{kind:10} video {video:11} audio {audio:11} {count:6}")
    assert slowest < A_SHARD * LIMIT_SECONDS, "a file took longer than its limit"
    assert largest < MOST_MEGABYTES

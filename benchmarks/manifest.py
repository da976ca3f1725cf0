"""Time to read, check and index manifests of growing size, 250 clips a shard, with all their files on disk.

    python benchmarks/manifest.py

Prints a table and writes benchmarks/results/manifest.json. Each step is timed in wall seconds and in CPU seconds, which
other work on the machine disturbs less. The files are empty; 1,000,000 of them take a minute or two to make.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from braid import index, manifest
from braid.files import write_text

SIZES = (1_000, 10_000, 100_000, 1_000_000)
CLIPS_A_SHARD = 250
FILES_A_FOLDER = 10_000
RESULTS = Path(__file__).parent / "results" / "manifest.json"


def make_data_set(folder: Path, n: int) -> Path:
    """Write `n` empty files and their manifest to `folder`; return the manifest's path."""
    number = pl.int_range(n, eager=True)
    file = pl.Series([f"clips/{i // FILES_A_FOLDER:03d}/clip number {i:07d}.mp4" for i in range(n)])
    items = pl.DataFrame(
        {
            "item": file.str.slice(6),
            "video": file,
            "audio": file,
            "label": pl.select(pl.format("class {}", number % 400)).to_series(),
            "split": (number % 5).replace_strict({0: "test", 1: "val"}, default="train", return_dtype=pl.String),
            "group": pl.select(pl.format("recording {}", number % 5 * n + number // 10)).to_series(),
            "shard": pl.select(pl.format("s{}", number // CLIPS_A_SHARD)).to_series(),
            "bytes": number * 7 % 1_000_003,
        }
    )
    for path in file:
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY))
    items.write_csv(folder / "clips.tsv", separator="\t")
    settle(folder / "clips.tsv")
    return folder / "clips.tsv"


def settle(path: Path) -> None:
    """Make `path` old, as the manifest of a run usually is; the index hashes one that is younger than two seconds."""
    os.utime(path, ns=(0, path.stat().st_mtime_ns - 10**10))


def edit_label(path: Path) -> None:
    """Give the first item another label."""
    data = path.read_bytes()
    path.write_bytes(data.replace(b"\tclass 0\t", b"\tclass 1\t", 1))
    settle(path)


def timed(step: Callable[[], Any]) -> dict[str, float]:
    """Return wall and CPU seconds of `step`."""
    wall, cpu = time.perf_counter(), time.process_time()
    step()
    return {"seconds": round(time.perf_counter() - wall, 3), "cpu_seconds": round(time.process_time() - cpu, 3)}


def measure(n: int) -> dict[str, Any]:
    """Return the times of each step for `n` items."""
    with tempfile.TemporaryDirectory() as folder:
        path, made = make_data_set(Path(folder), n), Path(folder, "index")
        size = path.stat().st_size
        steps: dict[str, Any] = {"items": n, "manifest_megabytes": round(size / 1e6, 1)}
        steps["read"] = timed(lambda: manifest.read(path))
        items = manifest.read(path)
        steps["look for files"] = timed(lambda: manifest.check_files(items, path))
        steps["index, first time, with files"] = timed(lambda: index.update(path, made))
        steps["index, nothing changed"] = timed(lambda: index.update(path, made))
        edit_label(path)
        steps["index, one label changed"] = timed(lambda: index.update(path, made))
        shard = index.load(made).shards[-1]
        steps["a job: load and read its items"] = timed(lambda: index.load(made).items(shard))
        steps["peak_memory_megabytes"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        return steps


def main() -> None:
    """Measure all sizes, ascending, so that the peak of each is its own."""
    results = [measure(n) for n in SIZES]
    names = [name for name, value in results[0].items() if isinstance(value, dict)]
    print("\t".join(["items", *names, "peak MB"]))
    for steps in results:
        times = [f"{steps[name]['seconds']} ({steps[name]['cpu_seconds']})" for name in names]
        print("\t".join([str(steps["items"]), *times, str(steps["peak_memory_megabytes"])]))
    machine = {"processor": platform.machine(), "cores": len(os.sched_getaffinity(0)), "polars": pl.__version__}
    write_text(RESULTS, json.dumps({"clips_a_shard": CLIPS_A_SHARD, "sizes": results, "machine": machine}, indent=1))


if __name__ == "__main__":
    main()

"""Time training on features that a job holds in memory against the same in files, and measure the memory of both.

    python benchmarks/stream.py

trains early fusion of two modalities on 60,000 items × (768 + 1024) numbers, 430 MB, of which 48,000 are learnt from,
once with a linear layer, which does the least for each number that it reads, and once with the MLP head. Each training
is a process of its own on one core, in memory and from files by turns; the files are warm, that is in the page cache.
`own_mb` is the largest anonymous memory, which the system cannot take back, sampled each 20 ms; `resident_mb` counts
mapped pages of files too. Prints the figures and writes `benchmarks/results/stream.json`.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import polars as pl
import torch

from braid import config
from braid.files import digest, write_text
from braid.schemes.inputs import read_inputs, scaled
from braid.schemes.room import Room
from braid.schemes.train import reproducible, train
from braid.store.features import FeatureWriter

N, DIMS, N_CLASSES, EPOCHS, TURNS, SHARD = {"train": 48_000, "val": 6_000, "test": 6_000}, [768, 1024], 50, 4, 3, 2_000
WAYS = {"memory": 4000, "files": 900}
"""How features are held → `mem_mb`."""
HEADS = {"linear layer": 0, "MLP of 512": 512}
RESULT = Path(__file__).parent / "results" / "stream.json"


def prepare(folder: Path) -> None:
    """Write features of overlapping classes and the items."""
    rng = np.random.default_rng(0)
    n = sum(N.values())
    labels = rng.permutation(np.arange(n) % N_CLASSES)
    names, shards = [str(i) for i in range(n)], [str(i // SHARD) for i in range(n)]
    columns = {"item": names, "clip": names, "shard": shards, "group": [str(i % 500) for i in range(n)]}
    splits = rng.permutation(np.repeat(list(N), list(N.values())))
    items = pl.DataFrame(columns).with_columns(
        start_seconds=pl.lit(0.0), label=pl.Series([f"class {label}" for label in labels]), split_1=pl.Series(splits)
    )
    items.write_parquet(folder / "items.parquet")
    for m, dim in enumerate(DIMS):
        centres = rng.normal(size=(N_CLASSES, dim))
        for first in range(0, n, SHARD):
            with FeatureWriter(folder / f"feature{m}" / f"{first // SHARD}.h5", {}) as writer:
                for i in range(first, min(first + SHARD, n)):
                    writer.append(names[i], (centres[labels[i]] + 12 * rng.normal(size=dim)).astype(np.float32))


def entry_of(hidden: int) -> dict[str, Any]:
    """Return the complete entry of the scheme."""
    names = [f"feature{m}" for m in range(len(DIMS))]
    extractors = {name: {"type": "torchvision_video"} for name in names}
    scheme = {"type": "early", "features": names, "hidden": hidden, "epochs": EPOCHS, "patience": EPOCHS}
    raw = {"name": "benchmark", "manifest": "none", "extractors": extractors, "schemes": {"early": scheme}}
    return config.load(raw)["schemes"]["early"]


def status(key: str) -> float:
    """Return a line of the process's status, in megabytes."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{key}:"))


def run(folder: Path, way: str, hidden: int) -> dict[str, Any]:
    """Train once in this process."""
    own, done = [status("RssAnon")], threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            own.append(status("RssAnon"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    entry, items = entry_of(hidden), pl.read_parquet(folder / "items.parquet")
    inputs = {name: sorted((folder / name).iterdir()) for name in entry["features"]}
    torch.optim.AdamW(torch.nn.Linear(1, 1).parameters())  # the first optimiser of a process imports for a second
    started = time.perf_counter()
    data = scaled(read_inputs(items, "1", inputs, entry, Room(WAYS[way], folder)))
    read = time.perf_counter()
    with reproducible(0):
        model, history = train(data, entry, 0)
        trained = time.perf_counter()
        p = model.predict(data.selection())
    done.set()
    watcher.join()
    assert len(history) == EPOCHS
    return {
        "reading_seconds": round(read - started, 2),
        "items_per_second": round(EPOCHS * N["train"] / (trained - read)),
        "own_mb": round(max(own)),
        "resident_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "val_accuracy": max(epoch.val_accuracy for epoch in history),
        "digest": digest([p.tobytes().hex(), [repr(epoch) for epoch in history]]),
    }


def child(folder: Path, way: str, hidden: int) -> dict[str, Any]:
    """Train once in a process of its own."""
    command = [sys.executable, __file__, str(folder), way, str(hidden)]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Run all and write the figures."""
    result: dict[str, Any] = {"items": N, "dims": DIMS, "classes": N_CLASSES, "epochs": EPOCHS, "mem_mb": WAYS}
    result["load_before"] = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        for head, hidden in HEADS.items():
            found: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
            for _ in range(TURNS):
                for way in WAYS:
                    found[way].append(child(folder, way, hidden))
            rows = [row for runs in found.values() for row in runs]
            assert len({row.pop("digest") for row in rows}) == 1, "the ways give different numbers"
            medians = {way: {key: median(row[key] for row in runs) for key in runs[0]} for way, runs in found.items()}
            ratio = medians["files"]["items_per_second"] / medians["memory"]["items_per_second"]
            speeds = {way: [row["items_per_second"] for row in runs] for way, runs in found.items()}
            result[head] = medians | {"ratio": round(ratio, 2), "items_per_second_of_each": speeds}
            print(head, json.dumps(result[head], indent=1))
    result["machine"] = {"processor": platform.machine(), "cores": 1, "torch": torch.__version__}
    result["load"] = os.getloadavg()[0]
    write_text(RESULT, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(run(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))))
    else:
        main()

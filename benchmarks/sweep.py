"""Time trainings of heads in one process, stacked and one by one, against one process for each, on one core.

    python benchmarks/sweep.py

sweeps the learning rate of the early scheme over 8,000 items × 1,280 numbers. Of what is slow a few are measured and
their mean stands for the others. Prints what a training costs and the ratio, writes `benchmarks/results/sweep.json`.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import polars as pl
import torch

from braid import config, sweeps
from braid.files import write_text
from braid.schemes import sweep
from braid.store.features import FeatureWriter

N_TRAIN, N_VAL, DIM, N_CLASSES = 8_000, 1_000, 1_280, 15
SETTINGS = {"type": "early"}
N_STACKED, N_ALONE, N_PROCESSES = 52, 4, 2
RESULT = Path(__file__).parent / "results" / "sweep.json"
ONE = """
import json, sys
from pathlib import Path
import polars as pl
from braid.schemes.train import train_scheme
folder, entry = Path(sys.argv[1]), json.loads(sys.argv[2])
inputs = {"features": [folder / "a.h5"]}
train_scheme(pl.read_parquet(folder / "items.parquet"), "1", inputs, entry, 0, folder / "out")
"""


def prepare(folder: Path) -> pl.DataFrame:
    """Write features of overlapping classes and return the items."""
    rng = np.random.default_rng(0)
    labels = np.arange(N_TRAIN + N_VAL) % N_CLASSES
    centres = rng.normal(size=(N_CLASSES, DIM))
    items = pl.DataFrame(
        {
            "item": [str(i) for i in range(len(labels))],
            "clip": [str(i) for i in range(len(labels))],
            "start_seconds": np.zeros(len(labels)),
            "label": [f"class {label}" for label in labels],
            "shard": ["a"] * len(labels),
            "group": [str(i) for i in range(len(labels))],
            "split_1": ["train"] * N_TRAIN + ["val"] * N_VAL,
        }
    )
    with FeatureWriter(folder / "a.h5", {}) as writer:
        for item, label in zip(items["item"], labels, strict=True):
            writer.append(item, (centres[label] + 12 * rng.normal(size=DIM)).astype(np.float32))
    items.write_parquet(folder / "items.parquet")
    return items


def entry_of(n_points: int, **changes: Any) -> dict[str, Any]:
    """Return the complete entry of the scheme with a sweep of so many learning rates."""
    rates = {"low": 1e-4, "high": 1e-2, "scale": "log"}
    scheme = (
        SETTINGS
        | changes
        | {
            "features": ["features"],
            "sweep": {"parameters": {"learning_rate": rates}, "budget": n_points},
        }
    )
    extractors = {"features": {"type": "torchvision_video"}}
    raw = {"name": "benchmark", "manifest": "none", "extractors": extractors, "schemes": {"scheme": scheme}}
    return config.load(raw)["schemes"]["scheme"]


def in_one_process(folder: Path, items: pl.DataFrame, entry: dict[str, Any]) -> dict[str, Any]:
    """Sweep in this process; return what a training costs, reading included."""
    started, started_cpu = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory(dir=folder) as out:
        inputs = {"features": [folder / "a.h5"]}
        sweep.sweep_scheme(items, "1", inputs, entry, [0], Path(out))
        scores = pl.read_csv(Path(out) / "sweep.csv")
    n = entry["sweep"]["budget"]
    return {
        "trainings": n,
        "cpu_seconds_each": round((time.process_time() - started_cpu) / n, 3),
        "seconds_each": round((time.perf_counter() - started) / n, 3),
        "best_val_accuracy": scores["val_accuracy"].max(),
    }


def one_process_each(folder: Path, entry: dict[str, Any]) -> dict[str, Any]:
    """Train a few points of the sweep, each in a process of its own; return what one costs."""
    alone = {key: value for key, value in entry.items() if key != "sweep"}
    points = sweeps.points(entry["sweep"])
    chosen = points[:: -(-len(points) // N_PROCESSES)]
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    for point in chosen:
        arguments = [sys.executable, "-c", ONE, str(folder), json.dumps(alone | point)]
        subprocess.run(arguments, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "trainings": len(chosen),
        "cpu_seconds_each": round(cpu / len(chosen), 3),
        "seconds_each": round((time.perf_counter() - started) / len(chosen), 3),
    }


def main() -> None:
    """Run all and write the costs."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        items = prepare(folder)
        in_one_process(folder, items, entry_of(1, epochs=1))  # imports
        stacked = in_one_process(folder, items, entry_of(N_STACKED))
        with patch.object(sweep, "can_be_stacked", return_value=False):
            alone = in_one_process(folder, items, entry_of(N_ALONE))
        processes = one_process_each(folder, entry_of(N_STACKED))
    found = {"stacked": stacked, "one by one in one process": alone, "one process each": processes}
    cost = {way: costs["cpu_seconds_each"] for way, costs in found.items()}
    result: dict[str, Any] = {"items": N_TRAIN, "val_items": N_VAL, "dim": DIM, "classes": N_CLASSES} | found
    result["ratio"] = round(cost["one process each"] / cost["stacked"], 1)
    result["minutes for 1,000 trainings on 2 cores"] = {
        way: round(1000 * each / 2 / 60, 1) for way, each in cost.items()
    }
    result["machine"] = {"processor": platform.machine(), "cores": 1, "torch": torch.__version__}
    result["load"] = os.getloadavg()[0]
    print(json.dumps(result, indent=1))
    print(f"one process for each training takes {result['ratio']} times the processor time")
    write_text(RESULT, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""Items whose class is the way that everything moves, in flow shards, and settings to learn it by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from braid import config
from braid.store.flow import FlowWriter

WAYS = {"down": (0, 3), "left": (-3, 0), "right": (3, 0)}
SIZES = {"train": 24, "val": 12, "test": 3}
HEIGHT, WIDTH, N_PAIRS = 24, 32, 5


def settings(kind: str, **changes: Any) -> dict[str, Any]:
    """Return the settings of a backbone from scratch: the schema's defaults but for the `changes`."""
    properties = config.types("backbones")[kind]["properties"]
    rules = {name: config.resolve(rule, "backbones") for name, rule in properties.items()}
    defaults = {name: rule["default"] for name, rule in rules.items() if "default" in rule}
    return {"type": kind, **defaults, "weights": "random", **changes}


def quick(**changes: Any) -> dict[str, Any]:
    """Return the settings of a small network on single pairs of frames, without batch normalisation."""
    small = {"architecture": "test_efficientnet_ln", "input": "flow", "flow": "some", "crop": 24, "bound": 4}
    speed = {"epochs": 4, "batch_size": 8, "learning_rate": 0.003, "mirror": 0, "frames_an_epoch": 2}
    return settings("timm", **small | speed | changes)


def make_items() -> pl.DataFrame:
    """Return items of two shards with a split."""
    splits = [split for split, n in SIZES.items() for _ in range(n)]
    numbers = range(len(splits))
    return pl.DataFrame(
        {
            "item": [f"item {i}" for i in numbers],
            "clip": [f"{i:016x}" for i in numbers],
            "shard": ["ab"[i % 2] for i in numbers],
            "label": [list(WAYS)[i % len(WAYS)] for i in numbers],
            "split_1": splits,
        }
    ).with_columns(start_seconds=pl.lit(None, pl.Float64), end_seconds=pl.lit(None, pl.Float64))


def write_flow(folder: Path, items: pl.DataFrame) -> dict[str, list[Path]]:
    """Write the flow shards of the items and return their paths as training wants them."""
    rng = np.random.default_rng(0)
    paths = []
    for (shard,), rows in items.group_by("shard", maintain_order=True):
        paths.append(folder / f"{shard}.zarr.zip")
        with FlowWriter(paths[-1], "float16", 20, {}) as writer:
            for clip, label in rows.select("clip", "label").iter_rows():
                noise = rng.normal(0, 1, (N_PAIRS, 2, HEIGHT, WIDTH)).astype(np.float32)
                flow = noise + np.array(WAYS[label], np.float32)[:, None, None]
                writer.write(clip, np.arange(N_PAIRS + 1) / 10, "ok", "", [flow])
    return {"flow": paths}

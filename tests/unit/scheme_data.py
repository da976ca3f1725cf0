"""Features with a known answer, for the tests of schemes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from braid import config
from braid.store.features import FeatureWriter

OVER_SCHEMES = ("ensemble", "calibrated")


def settings(type_: str, names: list[str], **changes: Any) -> dict[str, Any]:
    """Return the complete entry of a scheme that reads the extractors, or for a scheme over schemes these, `names`."""
    extractors = {name: {"type": "torchvision_video"} for name in names}
    entry = {"type": type_, "schemes" if type_ in OVER_SCHEMES else "features": names} | changes
    schemes = {name: {"type": "single", "features": [name]} for name in names} | {"scheme": entry}
    raw = {"name": "test", "manifest": "clips.tsv", "extractors": extractors, "schemes": schemes}
    return config.load(raw)["schemes"]["scheme"]


def make_items(n: dict[str, int], n_classes: int) -> tuple[pl.DataFrame, np.ndarray]:
    """Return items, so many a split, and their classes in turn; those in `predict` have no label in the table."""
    splits = np.repeat(list(n), list(n.values()))
    labels = np.concatenate([np.arange(k) % n_classes for k in n.values()])
    items = pl.DataFrame(
        {
            "item": [f"item {i}" for i in range(len(splits))],
            "clip": [f"clip {i}" for i in range(len(splits))],
            "start_seconds": np.zeros(len(splits)),
            "label": [None if split == "predict" else f"class {c}" for split, c in zip(splits, labels, strict=True)],
            "shard": [str(i % 2) for i in range(len(splits))],
            "group": [f"group {i}" for i in range(len(splits))],
            "split_1": splits,
        }
    )
    return items, labels


def write_feature(
    path: Path,
    items: pl.DataFrame,
    groups: np.ndarray,
    *,
    dim: int = 16,
    noise: float = 0.5,
    lacking: np.ndarray | None = None,
    scores: np.ndarray | None = None,
    classes: list[str] | None = None,
    how: str = "probabilities",
    seed: int = 0,
) -> list[Path]:
    """Write embeddings around one centre a group, in two shards, and return their paths.

    Tokens, one to three an item, are the embedding itself, a second after one another.
    """
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(groups.max() + 1, dim))
    x = (centres[groups] + noise * rng.normal(size=(len(groups), dim)) + 5).astype(np.float32)
    lacking = np.zeros(len(groups), dtype=bool) if lacking is None else lacking
    paths = []
    for shard in range(2):
        paths.append(path / f"{shard}.h5")
        with FeatureWriter(paths[-1], {"classes": classes, "settings": {"scores": how}}) as writer:
            for i in range(shard, len(items), 2):
                n = 1 + i % 3
                seconds = np.arange(n, dtype=np.float64)
                given: dict[str, Any] = {
                    "tokens": np.tile(x[i], (n, 1)),
                    "times": np.stack([seconds, seconds + 1], axis=1),
                    "scores": None if scores is None else scores[i].astype(np.float32),
                }
                writer.append(items["item"][i], None if lacking[i] else x[i], **{} if lacking[i] else given)
    return paths

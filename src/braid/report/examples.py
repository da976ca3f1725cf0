"""Which clips stand for their class in the pictures of the report; importing this costs no network library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

MOST_CLASSES = 8
CANDIDATES = 3
"""Clips of a class that are tried until one has flow."""


def choose(items: pl.DataFrame) -> list[dict[str, str]]:
    """Return candidates for the pictures: the first clips of each of the first classes that have a video.

    All clips of a class are of one shard, so that few shards need be read.

    Parameters
    ----------
    items : DataFrame
        As `braid.index.Index.items` returns them: sorted by shard and item.

    Returns
    -------
    list of dict
        label, shard, clip, video; sorted by label, at most `MOST_CLASSES` of them with `CANDIDATES` clips each.
    """
    shown = items.filter(pl.col("label").is_not_null(), pl.col("video").fill_null("") != "")
    clips = shown.select("label", "shard", "clip", "video").unique(["label", "clip"], keep="first", maintain_order=True)
    chosen = []
    for label in clips["label"].unique().sort()[:MOST_CLASSES]:
        of_class = clips.filter(label=label)
        chosen += of_class.filter(shard=of_class["shard"][0]).head(CANDIDATES).to_dicts()
    return chosen


def flow_methods(config: Mapping[str, Any]) -> list[str]:
    """Return the flow methods that are computed for the extractors, by themselves or by the backbones they name."""
    backbones = config.get("backbones", {})
    readers = [*config["extractors"].values()]
    readers += [backbones[entry["backbone"]] for entry in readers if "backbone" in entry]
    return sorted({entry["flow"] for entry in readers if entry.get("flow")})

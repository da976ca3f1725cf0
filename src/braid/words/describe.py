"""The first of three stages: one decoded shard in, the descriptors of its items' frames out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import polars as pl

import braid
from braid.ahead import ahead
from braid.extractors.plan import Plan
from braid.extractors.registry import REGISTRY
from braid.store.decoded import DecodedShard
from braid.words.descriptors import DescriptorWriter
from braid.words.sift import Sift

FRAMES_AHEAD = 4
"""Frames a thread that may be under way before they are written."""


class _Frame(NamedTuple):
    """The view of an item whose frame is looked at; -1 stands for the only job of an item that has no view."""

    item: str
    clip: Any
    plan: Plan
    number: int


def describe_shard(items: pl.DataFrame, source: Path, out: Path, settings: Mapping[str, Any], threads: int) -> None:
    """Write the descriptor shard `out`.

    Threads work on single frames, so that memory depends neither on the shard nor on the length of a clip.

    Parameters
    ----------
    items : DataFrame
        Columns item, clip, start_seconds, end_seconds (null: the video's own start or end).
    source : path of the decoded shard
    settings : mapping
        `type`, `frame_rate` and `descriptors`.
    threads : frames that are worked on at the same time

    Raises
    ------
    StoreError
        `source` is truncated, no decoded shard, or lacks a clip.
    """
    cv2.setNumThreads(1)  # the frames are shared out among threads instead
    sift = Sift(settings)
    with DecodedShard(source) as shard:
        attrs = {
            "version": REGISTRY[settings["type"]].version,
            "settings": dict(settings),
            "braid": braid.__version__,
            "opencv": cv2.__version__,
            "source": {key: value for key, value in shard.attrs.items() if key != "clips"},
        }

        def describe(frame: _Frame) -> tuple[_Frame, np.ndarray | None]:
            if frame.number < 0:
                return frame, None
            picture = frame.clip.frames(frame.plan.views[frame.number].indices)[0]
            return frame, sift.describe(picture)

        with DescriptorWriter(out, attrs) as writer, ThreadPoolExecutor(threads) as pool:
            jobs = _frames(sift, shard, items)
            for frame, descriptors in ahead(pool, describe, jobs, FRAMES_AHEAD * threads):
                views, status, reason = frame.plan
                if descriptors is not None:
                    view = views[frame.number]
                    writer.add_frame(view.start_seconds, view.end_seconds, descriptors)
                if frame.number == len(views) - 1:
                    writer.end_item(frame.item, status, reason)


def _frames(sift: Sift, shard: DecodedShard, items: pl.DataFrame) -> Iterator[_Frame]:
    for item, key, start, end in items.select("item", "clip", "start_seconds", "end_seconds").iter_rows():
        clip = shard[key]
        plan = sift.plan(clip, start, end)
        for number in range(len(plan.views)) or (-1,):
            yield _Frame(item, clip, plan, number)

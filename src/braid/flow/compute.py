"""The flow stage: one decoded shard in, one flow shard out, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch

from braid import weights
from braid.ahead import meanwhile
from braid.errors import StoreError
from braid.extractors.sizing import AUTO, BatchSizes
from braid.flow.passes import Block, Passes
from braid.flow.registry import REGISTRY
from braid.store.decoded import DecodedShard
from braid.store.flow import FlowWriter

LIBRARIES = ("opencv-python-headless", "torch", "torchvision", "zarr")


def compute_flow(
    decoded: Path,
    out: Path,
    settings: dict[str, Any],
    threads: int,
    device: str,
    *,
    batch_size: int = AUTO,
    memory_mb: int = 8000,
) -> None:
    """Write the flow of every clip of a decoded shard.

    Pairs of several clips of one size share a pass. Frames are read a block ahead of the flow, and flow is computed a
    block ahead of writing, so that memory depends on the frame size and the pairs of a pass, not on the length of a
    clip. Passes that a killed job has finished are not computed again.

    Parameters
    ----------
    decoded : Path
        Shard of decoded clips.
    out : Path
        Flow shard to write, whole or not at all.
    settings : dict
        The config's entry of the flow method, complete but for `batch_size`.
    threads : int
        CPU threads to use.
    device : `cpu` or `cuda`, for networks
    batch_size : int
        Frames in one pass of a network, fewer where they do not fit; `AUTO` finds it.
    memory_mb : int
        What the job may use of the computer's memory, in megabytes.

    Raises
    ------
    StoreError
        `decoded` is truncated or no shard of decoded clips, or the disk does not take `out`.
    FeatureError
        A network gave numbers that are not finite, or one pair does not fit into memory; the message names the clip.
    """
    entry = REGISTRY[settings["type"]]
    torch.set_num_threads(threads)
    attrs = {
        "settings": settings,
        "versions": {"braid.flow": entry.version, **{library: version(library) for library in LIBRARIES}},
        "weights": weights.digest(settings),
        "device": device,
    }
    stat = decoded.stat()
    try:
        with (
            DecodedShard(decoded) as shard,
            FlowWriter(out, settings["encoding"], settings["bound"], attrs, [stat.st_size, stat.st_mtime_ns]) as writer,
        ):
            method = entry.load()(settings, threads, device, batch_size)
            sizes = BatchSizes(method.pairs, memory_mb * 10**6, loaders=1, device=device)
            _write_shard(writer, shard, Passes(settings["type"], method, sizes, settings["scale"]))
    except OSError as error:
        raise StoreError(
            f"{out} cannot be written: {error.strerror or error}. Free space or mend the disk, then run again."
        ) from error


def _write_shard(writer: FlowWriter, shard: DecodedShard, passes: Passes) -> None:
    if writer.finished:
        print(f"{len(writer.finished)} of {len(shard.clips)} clips were finished before")
    kept = writer.kept
    moving: list[tuple[int, int, str]] = []  # by size, since clips of one size share passes
    for name in shard.clips:
        if name in writer.finished:
            continue
        clip = shard[name]
        if clip.video.usable and kept.count(name) == len(clip.times) - 1 > 0:
            writer.write(name, clip.times, clip.video.status, clip.video.reason, kept.blocks(name))
        elif clip.video.usable and len(clip.times) > 1:
            moving.append((clip.video.info["height"], clip.video.info["width"], name))
        elif clip.video.usable:
            reason = "; ".join(filter(None, [clip.video.reason, "the video has a single frame, and flow needs two"]))
            writer.write(name, clip.times, "short", reason, ())
        else:
            writer.write(name, np.empty(0), clip.video.status, clip.video.reason, ())
    # Neither thread sets how many threads torch uses: the number that the reader sets would be the network's too.
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as worker:
        begun = {name: kept.count(name) for *_, name in moving}
        before = {name: kept.blocks(name) for name, n in begun.items() if n}
        blocks = meanwhile(reader, _blocks(shard, sorted(moving), passes, begun))
        flow = meanwhile(worker, _kept(writer, passes.flow(blocks)))
        for name, pieces in groupby(flow, key=itemgetter(0)):
            clip = shard[name]
            writer.write(
                name,
                clip.times,
                clip.video.status,
                clip.video.reason,
                chain(before.get(name, ()), (piece for _, piece in pieces)),
            )


def _kept(writer: FlowWriter, passes: Iterator[list[tuple[str, np.ndarray]]]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield what passes found; each is kept before any of it is written and before the next begins."""
    for found in passes:
        if found:
            writer.kept.keep(found)
        yield from found


def _blocks(
    shard: DecodedShard, moving: list[tuple[int, int, str]], passes: Passes, begun: dict[str, int]
) -> Iterator[Block]:
    """Yield the frames of clips, given as height, width and name, as many at a time as share a pass now.

    `begun` says how many pairs of a clip are there: it goes on with the frame that the next pair begins with.
    """
    for (height, width), group in groupby(moving, key=itemgetter(0, 1)):
        gathered: list[np.ndarray] = []
        clips: list[str] = []
        n = passes.size(height, width).now
        for *_, name in group:
            clip = shard[name]
            at = begun[name]
            while at < len(clip.times):
                frames = clip.frames(slice(at, at + n - len(clips)))
                gathered.append(frames)
                clips = clips + [name] * len(frames)
                at += len(frames)
                if len(clips) == n:
                    yield Block(np.concatenate(gathered), clips)
                    gathered, clips, n = [], [], passes.size(height, width).now
        if gathered:
            yield Block(np.concatenate(gathered), clips)

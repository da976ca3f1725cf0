"""The flow stage: one decoded shard in, one flow shard out, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from braid import weights
from braid.errors import StoreError
from braid.extractors.batches import meanwhile
from braid.flow.registry import REGISTRY
from braid.flow.transform import resize
from braid.store.decoded import DecodedShard
from braid.store.flow import FlowWriter

LIBRARIES = ("opencv-python-headless", "torch", "torchvision", "zarr")


class Block(NamedTuple):
    """Frames of one size, uint8 [n, H, W, 3], and the clip of each; a clip's frames stand in order."""

    frames: np.ndarray
    clips: list[str]


def compute_flow(
    decoded: Path, out: Path, settings: dict[str, Any], threads: int, device: str, batch_size: int
) -> None:
    """Write the flow of every clip of a decoded shard.

    Pairs of several clips of one size share a pass. Frames are read a block ahead of the flow, and flow is computed a
    block ahead of writing, so that memory depends on the frame size and the pairs of a pass, not on the length of a
    clip. Clips that a killed job has finished are not computed again.

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
    batch_size : pairs in one pass of a network

    Raises
    ------
    StoreError
        `decoded` is truncated or no shard of decoded clips, or the disk does not take `out`.
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
            _write_shard(writer, shard, entry.load()(settings, threads, device, batch_size), settings["scale"])
    except OSError as error:
        raise StoreError(
            f"{out} cannot be written: {error.strerror or error}. Free space or mend the disk, then run again."
        ) from error


def _write_shard(writer: FlowWriter, shard: DecodedShard, method: Any, scale: float) -> None:
    if writer.finished:
        print(f"{len(writer.finished)} of {len(shard.clips)} clips were finished before")
    moving: list[tuple[int, int, str]] = []  # by size, since clips of one size share passes
    for name in shard.clips:
        if name in writer.finished:
            continue
        clip = shard[name]
        if clip.video.usable and len(clip.times) > 1:
            moving.append((clip.video.info["height"], clip.video.info["width"], name))
        elif clip.video.usable:
            reason = "; ".join(filter(None, [clip.video.reason, "the video has a single frame, and flow needs two"]))
            writer.write(name, clip.times, "short", reason, ())
        else:
            writer.write(name, np.empty(0), clip.video.status, clip.video.reason, ())
    names = [name for *_, name in sorted(moving)]
    # Neither thread sets how many threads torch uses: the number that the reader sets would be the network's too.
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as worker:
        blocks = meanwhile(reader, _blocks(shard, names, method.pairs))
        flow = meanwhile(worker, _flow(method, blocks, scale))
        for name, pieces in groupby(flow, key=itemgetter(0)):
            clip = shard[name]
            writer.write(name, clip.times, clip.video.status, clip.video.reason, (piece for _, piece in pieces))


def _flow(method: Any, blocks: Iterable[Block], scale: float) -> Iterator[tuple[str, np.ndarray]]:
    """Yield clips with float32 pixels [n, 2, h, w] of their next pairs."""
    encoded: list[Any] = []
    clips: list[str] = []
    for block in blocks:
        encoded, clips = encoded[-1:] + method.encode(block.frames), clips[-1:] + block.clips
        seconds = [i for i in range(1, len(clips)) if clips[i] == clips[i - 1]]
        if not seconds:
            continue
        flow = method.match([encoded[i - 1] for i in seconds], [encoded[i] for i in seconds])
        size = max(1, round(flow.shape[2] * scale)), max(1, round(flow.shape[3] * scale))
        stored = resize(flow, size).cpu().numpy()
        for name, rows in groupby(range(len(seconds)), key=lambda row: clips[seconds[row]]):
            first, *more = rows
            yield name, stored[first : first + 1 + len(more)]


def _blocks(shard: DecodedShard, names: list[str], n: int) -> Iterator[Block]:
    """Yield the frames of clips, `n` at a time but where the size changes and in the end."""
    gathered: list[np.ndarray] = []
    clips: list[str] = []
    for name in names:
        clip = shard[name]
        at = 0
        while at < len(clip.times):
            frames = clip.frames(slice(at, at + n - len(clips)))
            if gathered and gathered[0].shape[1:] != frames.shape[1:]:
                yield Block(np.concatenate(gathered), clips)
                gathered, clips = [], []
            gathered.append(frames)
            clips = clips + [name] * len(frames)
            at += len(frames)
            if len(clips) == n:
                yield Block(np.concatenate(gathered), clips)
                gathered, clips = [], []
    if gathered:
        yield Block(np.concatenate(gathered), clips)

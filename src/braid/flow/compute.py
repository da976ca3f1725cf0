"""The flow stage: one decoded shard in, one flow shard out, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from braid.errors import StoreError
from braid.flow.registry import REGISTRY
from braid.flow.transform import resize
from braid.store.decoded import DecodedClip, DecodedShard
from braid.store.flow import CHUNK_PAIRS, FlowWriter

LIBRARIES = ("opencv-python-headless", "torch", "zarr")


def compute_flow(decoded: Path, out: Path, settings: dict[str, Any], threads: int) -> None:
    """Write the flow of every clip of a decoded shard.

    Frames are read a block ahead of the flow, and flow is computed a block ahead of writing, so that memory depends on
    the frame size and `threads`, not on the length of a clip.

    Parameters
    ----------
    decoded : Path
        Shard of decoded clips.
    out : Path
        Flow shard to write, whole or not at all.
    settings : dict
        The config's entry of the flow method, complete.
    threads : int
        Pairs that are computed at the same time.

    Raises
    ------
    StoreError
        `decoded` is truncated or no shard of decoded clips, or the disk does not take `out`.
    """
    entry = REGISTRY[settings["type"]]
    method = entry.load()(settings, threads)
    block = CHUNK_PAIRS * -(-threads // CHUNK_PAIRS)
    attrs = {
        "settings": settings,
        "versions": {"braid.flow": entry.version, **{library: version(library) for library in LIBRARIES}},
    }
    try:
        with DecodedShard(decoded) as shard, FlowWriter(out, settings["encoding"], settings["bound"], attrs) as writer:
            for name in shard.clips:
                _write_clip(writer, name, shard[name], method, block, settings["scale"])
    except OSError as error:
        raise StoreError(
            f"{out} cannot be written: {error.strerror or error}. Free space or mend the disk, then run again."
        ) from error


def _write_clip(writer: FlowWriter, name: str, clip: DecodedClip, method: Any, block: int, scale: float) -> None:
    status, reason = clip.video.status, clip.video.reason
    if not clip.video.usable:
        writer.write(name, np.empty(0), status, reason, ())
    elif len(clip.times) < 2:
        reason = "; ".join(filter(None, [reason, "the video has a single frame, and flow needs two"]))
        writer.write(name, clip.times, "short", reason, ())
    else:
        writer.write(name, clip.times, status, reason, _ahead(_flow(method, clip, block, scale)))


def _flow(method: Any, clip: DecodedClip, block: int, scale: float) -> Iterator[np.ndarray]:
    """Yield float32 pixels [n, 2, h, w] of the clip's pairs, `block` pairs at a time."""
    previous = method.encode(clip.frames(slice(0, 1)))
    for frames in _ahead(_blocks(clip, block)):
        encoded = previous + method.encode(frames)
        flow = method.match(encoded[:-1], encoded[1:])
        previous = encoded[-1:]
        height, width = flow.shape[2:]
        size = max(1, round(height * scale)), max(1, round(width * scale))
        yield resize(torch.from_numpy(flow), size).numpy()


def _blocks(clip: DecodedClip, block: int) -> Iterator[np.ndarray]:
    """Yield the frames, uint8 [n, H, W, 3], after the first one, `block` at a time."""
    for start in range(1, len(clip.times), block):
        yield clip.frames(slice(start, start + block))


def _ahead(blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield `blocks`, the next one being made in a thread while the caller works on this one."""
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(next, blocks, None)
        while (block := future.result()) is not None:
            future = pool.submit(next, blocks, None)
            yield block

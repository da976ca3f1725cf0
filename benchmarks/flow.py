"""Measure what storing flow costs in bytes and end-point error, and the speed of the flow stage.

    python benchmarks/flow.py results/demo/decoded/*.zarr.zip

prints the first for the clips of these decoded shards, the second for the first shard, and writes
`benchmarks/results/flow.json`. Bytes are scaled by pixels to the 634,258 frames of HMDB51 at 256×340.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch

from braid import config
from braid.files import write_text
from braid.flow.compute import compute_flow
from braid.flow.farneback import Farneback
from braid.flow.transform import resize
from braid.store.decoded import DecodedClip, DecodedShard
from braid.store.flow import FlowShard, FlowWriter

HMDB51_PIXELS = 634_258 * 256 * 340
N_PAIRS = 32
RESULT = Path(__file__).parent / "results" / "flow.json"


def settings() -> dict:
    """Return the entry `{type: farneback}` of the config with its defaults."""
    raw = {
        "name": "benchmark",
        "manifest": "none",
        "flow": {"farneback": {"type": "farneback"}},
        "extractors": {"flow": {"type": "flow_r2plus1d", "flow": "farneback"}},
        "schemes": {"flow": {"type": "single", "features": ["flow"]}},
    }
    return config.load(raw)["flow"]["farneback"]


def storage(clips: list[DecodedClip]) -> dict:
    """Return GB stored for HMDB51 and the mean end-point error in decoded pixels, by scale and encoding."""
    method = Farneback(settings(), os.cpu_count() or 1, "cpu", 0)
    bound = settings()["bound"]
    sizes: dict[str, list[float]] = defaultdict(list)
    errors: dict[str, list[np.ndarray]] = defaultdict(list)
    lengths, inside = [], []
    for clip in clips:
        frames = method.encode(clip.frames(slice(0, N_PAIRS + 1)))
        flow = method.match(frames[:-1], frames[1:]).numpy()
        kept = (np.abs(flow) <= bound).all(axis=1)
        inside.append(kept.mean())
        lengths.append(np.hypot(*flow.transpose(1, 0, 2, 3))[kept].mean())
        height, width = flow.shape[2:]
        for scale in (1, 0.5, 0.25, 0.125):
            small = resize(torch.from_numpy(flow), (round(height * scale), round(width * scale))).numpy()
            for encoding in ("float16", "uint8"):
                n_bytes, back = stored(small, encoding, bound)
                error = resize(torch.from_numpy(back), (height, width)).numpy() - flow
                key = f"{encoding} {scale:g}"
                sizes[key].append(n_bytes / (len(flow) * height * width) * HMDB51_PIXELS / 1e9)
                errors[key].append(np.hypot(*error.transpose(1, 0, 2, 3))[kept].mean())
    table = {
        key: {"gigabytes": round(float(np.mean(sizes[key])), 2), "error_pixels": round(float(np.mean(errors[key])), 4)}
        for key in sizes
    }
    return {
        "clips": len(clips),
        "pairs_a_clip": N_PAIRS,
        "bound": bound,
        "mean_motion_pixels": round(float(np.mean(lengths)), 3),
        "share_beyond_bound": round(1 - float(np.mean(inside)), 4),
        "hmdb51": table,
    }


def stored(flow: np.ndarray, encoding: str, bound: float) -> tuple[int, np.ndarray]:
    """Return the bytes of a shard that holds `flow`, float32 [n, 2, h, w], and what comes back from it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "flow.zarr.zip"
        with FlowWriter(path, encoding, bound, {}) as writer:
            writer.write("clip", np.arange(len(flow) + 1.0), "ok", "", (flow,))
        with FlowShard(path) as shard:
            return path.stat().st_size, shard["clip"].pairs(slice(None))


def speed(decoded: Path) -> dict:
    """Return pairs a second of processor time, all cores added up: a bare loop, the stage, reading back."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "flow.zarr.zip"

        def bare_loop() -> None:
            with DecodedShard(decoded) as shard:
                for clip in (shard[name] for name in shard.clips if shard[name].video.usable):
                    greys = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in clip.frames(slice(None))]
                    for first, second in pairwise(greys):
                        cv2.calcOpticalFlowFarneback(first, second, np.empty(0), 0.5, 3, 15, 3, 5, 1.2, 0)

        def stage() -> None:
            compute_flow(decoded, path, settings(), os.cpu_count() or 1, "cpu")

        def reading() -> None:
            with FlowShard(path) as shard:
                for clip in (shard[name] for name in shard.clips):
                    for start in range(0, clip.n_pairs, 16):
                        clip.pairs(slice(start, start + 16))

        taken = {}
        for run in (bare_loop, stage, reading):
            started = time.process_time()
            run()
            taken[run.__name__] = time.process_time() - started
        with FlowShard(path) as shard:
            n_pairs = sum(shard[name].n_pairs for name in shard.clips)
    return {"pairs": n_pairs} | {name: round(n_pairs / seconds, 1) for name, seconds in taken.items()}


def main() -> None:
    """Measure the shards that the command line names."""
    shards = [Path(name) for name in sys.argv[1:]]
    if not shards:
        sys.exit(__doc__)
    cv2.setNumThreads(1)
    clips = [shard[name] for shard in map(DecodedShard, shards) for name in shard.clips]
    result = {
        "storage": storage([clip for clip in clips if len(clip.times) > N_PAIRS]),
        "pairs_a_cpu_second": speed(shards[0]),
        "versions": {"opencv": cv2.__version__, "torch": torch.__version__},
    }
    text = json.dumps(result, indent=1) + "\n"
    print(text)
    write_text(RESULT, text)


if __name__ == "__main__":
    main()

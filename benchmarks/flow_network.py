"""Time a flow network over a decoded shard against the usual loop: one pair at a time, float32, a plain forward pass.

    python benchmarks/flow_network.py [--type gmflow] [--architecture gmflow] [--dtype bfloat16] [--batch-size 32]
                                      [--clips 64] [--frames 94] [--size 256x340]

makes clips of a drifting texture, decodes them, and in one run on one device measures
- the loop: each frame of each pair from memory through the whole network, one pair at a time;
- the stage: `compute_flow`, reading frames and writing the shard included;
- the parts of the stage alone: reading, encoding frames, matching pairs, writing.
It prints pairs a second, their ratio, the share of the device's own matrix rate that the stage reaches, and the time
projected to the 634,258 frames (627,492 pairs) of HMDB51, and writes `benchmarks/results/flow_network-<device>.json`.
On a CPU the default is 3 clips of 9 frames at 64×96.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import polars as pl
import torch
from torch.utils.flop_counter import FlopCounterMode

from braid import config, device
from braid.files import write_text
from braid.flow.compute import Block, _blocks, compute_flow
from braid.flow.registry import REGISTRY
from braid.media.decode import decode_shard
from braid.store.decoded import DecodedShard
from braid.store.flow import FlowWriter

HMDB51_PAIRS = 634_258 - 6_766
RESULTS = Path(__file__).parent / "results"


def make_clip(path: Path, seed: int, n_frames: int, height: int, width: int) -> None:
    """Write a clip whose texture drifts by a few pixels a frame."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 255, (height // 4 + 32, width // 4 + 32, 3), dtype=np.uint8)
    texture = coarse.repeat(4, axis=0).repeat(4, axis=1)
    step = random.integers(1, 4, 2)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": "23", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for t in range(n_frames):
            top, left = (t * step) % 64
            picture = np.ascontiguousarray(texture[top : top + height, left : left + width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


def completed(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the settings of decoding and of the flow, complete."""
    entry = {
        "type": arguments.type,
        "weights": "random",
        "dtype": arguments.dtype,
        "batch_size": arguments.batch_size,
        "architecture": arguments.architecture,
    }
    raw = {
        "name": "benchmark",
        "manifest": "none",
        "decode": {"short_side": min(arguments.height, arguments.width)},
        "flow": {"flow": entry},
        "extractors": {"flow": {"type": "flow_r2plus1d", "flow": "flow"}},
        "schemes": {"flow": {"type": "single", "features": ["flow"]}},
    }
    return config.load(raw)


def seconds(run: Callable[[], Any], where: str) -> float:
    """Return the wall time of `run`, its work on the device included."""
    if where == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    if where == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def matrix_rate(where: str, dtype: torch.dtype) -> float:
    """Return FLOP a second of a large matrix product."""
    n = 8192 if where == "cuda" else 1024
    a = torch.randn(n, n, device=where, dtype=dtype)
    best = min(seconds(lambda: a @ a, where) for _ in range(10))
    return 2 * n**3 / best


def main() -> None:
    """Measure, print and write."""
    where = device.pick()
    small = where == "cpu"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--type", default="gmflow", choices=[name for name, entry in REGISTRY.items() if entry.official]
    )
    parser.add_argument("--architecture", default="gmflow")
    parser.add_argument("--dtype", default="float32" if small else "bfloat16", choices=["float32", "bfloat16"])
    parser.add_argument("--batch-size", type=int, default=8 if small else 32)
    parser.add_argument("--clips", type=int, default=3 if small else 64)
    parser.add_argument("--frames", type=int, default=9 if small else 94)
    parser.add_argument("--size", default="64x96" if small else "256x340", help="height x width")
    arguments = parser.parse_args()
    arguments.height, arguments.width = map(int, arguments.size.split("x"))
    settings = completed(arguments)
    entry = settings["flow"]["flow"]
    threads = os.cpu_count() or 1
    n_pairs = arguments.clips * (arguments.frames - 1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = [folder / f"{i}.mp4" for i in range(arguments.clips)]
        for i, path in enumerate(paths):
            make_clip(path, i, arguments.frames, arguments.height, arguments.width)
        rows = pl.DataFrame(
            [(path.stem, str(path), "", path.stat().st_size, None) for path in paths],
            schema={"clip": pl.String, "video": pl.String, "audio": pl.String, "bytes": pl.Int64, "sha256": pl.String},
            orient="row",
        )
        decoded = folder / "decoded.zarr.zip"
        decode_shard(rows, decoded, settings["decode"], threads)
        result = measure(decoded, folder, entry, threads, where, n_pairs)
    result |= {"size": arguments.size, "frames": arguments.frames, "clips": arguments.clips}
    print(json.dumps(result, indent=1))
    write_text(RESULTS / f"flow_network-{where}.json", json.dumps(result, indent=1) + "\n")


def measure(
    decoded: Path, folder: Path, entry: dict[str, Any], threads: int, where: str, n_pairs: int
) -> dict[str, Any]:
    """Return pairs a second of the loop, the stage and its parts."""
    plain = REGISTRY[entry["type"]].load()(entry | {"dtype": "float32"}, threads, where, 1)
    method = REGISTRY[entry["type"]].load()(entry, threads, where, entry["batch_size"])
    with DecodedShard(decoded) as shard:
        clips = {name: shard[name].frames(slice(None)) for name in shard.clips}
        names = list(clips)

        def one_by_one(most: int) -> None:
            for i in range(most):
                frames = clips[names[i // 1000 % len(names)]]
                t = i % (len(frames) - 1)
                pair = plain.encode(frames[t : t + 2])  # both frames, though each is in two pairs
                plain.match(pair[:1], pair[1:]).cpu()

        blocks: list[Block] = []
        encoded: list[list[Any]] = []
        flows: list[np.ndarray] = []

        def read() -> None:
            blocks[:] = _blocks(shard, names, method.pairs)

        def encode() -> None:
            encoded[:] = [method.encode(block.frames) for block in blocks]

        def match() -> None:
            flows[:] = [method.match(frames[:-1], frames[1:]).cpu().numpy() for frames in encoded if len(frames) > 1]

        def write() -> None:
            with FlowWriter(folder / "alone.zarr.zip", entry["encoding"], entry["bound"], {}) as writer:
                for i, flow in enumerate(flows):
                    writer.write(str(i), np.arange(len(flow) + 1) / 30, "ok", "", [flow])

        one_by_one(2)
        for part in (read, encode, match):  # once before the clock runs: kernels are chosen
            part()
        looped = min(n_pairs, 8 if where == "cpu" else 200)
        loop = seconds(lambda: one_by_one(looped), where) / looped
        parts = {part.__name__: seconds(part, where) / n_pairs for part in (read, encode, match, write)}
        with FlopCounterMode(display=False) as counter:
            frames = method.encode(blocks[0].frames[:2])
            method.match(frames[:1], frames[1:])
        flop = counter.get_total_flops() * 1.0
        with FlopCounterMode(display=False) as counter:
            method.encode(blocks[0].frames[:1])
        flop -= counter.get_total_flops()  # a frame is encoded once
    stage = (
        seconds(
            lambda: compute_flow(decoded, folder / "flow.zarr.zip", entry, threads, where, entry["batch_size"]), where
        )
        / n_pairs
    )
    dtype = torch.bfloat16 if entry["dtype"] == "bfloat16" else torch.float32
    rate = matrix_rate(where, dtype)
    return {
        "device": torch.cuda.get_device_name() if where == "cuda" else f"cpu, {threads} threads",
        "torch": torch.__version__,
        "settings": {key: entry[key] for key in ("type", "architecture", "dtype", "batch_size")},
        "pairs": n_pairs,
        "loop_pairs_per_second": round(1 / loop, 2),
        "stage_pairs_per_second": round(1 / stage, 2),
        "ratio": round(loop / stage, 2),
        "milliseconds_a_pair": {name: round(1000 * value, 3) for name, value in parts.items()},
        "gflop_a_pair": round(flop / 1e9, 2),
        "matrix_tflops": round(rate / 1e12, 2),
        "share_of_matrix_rate": round(flop / stage / rate, 3),
        "hmdb51_minutes": {"loop": round(HMDB51_PAIRS * loop / 60, 1), "stage": round(HMDB51_PAIRS * stage / 60, 1)},
    }


if __name__ == "__main__":
    main()

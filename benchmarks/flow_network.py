"""Time a flow network over a decoded shard against the usual loop: one pair at a time, float32, a plain forward pass.

    python benchmarks/flow_network.py [--type gmflow] [--architecture gmflow] [--dtype float16] [--compile]
                                      [--batch-size 32] [--clips 64] [--frames 94] [--size 256x340]

makes clips of a drifting texture, decodes them, and in one run on one device measures
- the loop: each frame of each pair from memory through the whole network, one pair at a time;
- the stage: `compute_flow`, reading frames and writing the shard included, with that batch size and with `auto`;
- the parts of the stage alone: reading, encoding frames, matching pairs, writing. What the stage takes beyond the
  slowest of network, reading and writing is what their overlap does not hide.
It prints pairs a second, their ratio and what of it the arithmetic explains (the loop encodes each frame twice), the
share of the device's own matrix rate that the stage and the network alone reach, and the time projected to the 634,258
frames (627,492 pairs) of HMDB51, and writes `benchmarks/results/flow_network-<device>.json`. On a CPU the default is 4
clips of 33 frames at 64×96, and seconds are those of the processor, all cores added up, which neighbours move little.
On a GPU the numbers mean something on a machine that does nothing else.
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
from braid.extractors.sizing import AUTO
from braid.files import write_text
from braid.flow.compute import compute_flow
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


def decode(paths: list[Path], out: Path, settings: dict[str, Any], threads: int) -> None:
    """Write a decoded shard of these videos, whose keys are the names of their files."""
    columns = {"clip": pl.String, "video": pl.String, "audio": pl.String, "bytes": pl.Int64, "sha256": pl.String}
    rows = [(path.stem, str(path), "", path.stat().st_size, None) for path in paths]
    decode_shard(pl.DataFrame(rows, schema=columns, orient="row"), out, settings, threads)


def completed(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the settings of decoding and of the flow, complete."""
    entry = {
        "type": arguments.type,
        "weights": "random",
        "dtype": arguments.dtype,
        "compile": arguments.compile,
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
    """Return the wall time of `run`, its work on the GPU included; on a CPU the time of all its cores added up."""
    if where == "cpu":
        start = time.process_time()
        run()
        return time.process_time() - start
    torch.cuda.synchronize()
    start = time.perf_counter()
    run()
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
    parser.add_argument(
        "--dtype", default="float32" if small else "bfloat16", choices=["float32", "bfloat16", "float16"]
    )
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--batch-size", type=int, default=8 if small else 32)
    parser.add_argument("--clips", type=int, default=4 if small else 64)
    parser.add_argument("--frames", type=int, default=33 if small else 94)
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
        decoded = folder / "decoded.zarr.zip"
        decode(paths, decoded, settings["decode"], threads)
        result = measure(decoded, folder, entry, threads, where, n_pairs, arguments.batch_size)
    result |= {"size": arguments.size, "frames": arguments.frames, "clips": arguments.clips}
    print(json.dumps(result, indent=1))
    write_text(RESULTS / f"flow_network-{where}.json", json.dumps(result, indent=1) + "\n")


def measure(
    decoded: Path, folder: Path, entry: dict[str, Any], threads: int, where: str, n_pairs: int, batch_size: int
) -> dict[str, Any]:
    """Return pairs a second of the loop, the stage and its parts."""
    usual = {"dtype": "float32", "compile": False}
    plain = REGISTRY[entry["type"]].load()(entry | usual, threads, where, 1)
    method = REGISTRY[entry["type"]].load()(entry, threads, where, batch_size)
    with DecodedShard(decoded) as shard:
        clips = {name: shard[name].frames(slice(None)) for name in shard.clips}
        names = list(clips)

        def one_by_one(most: int) -> None:
            for i in range(most):
                frames = clips[names[i // 1000 % len(names)]]
                t = i % (len(frames) - 1)
                pair = plain.encode(frames[t : t + 2])  # both frames, though each is in two pairs
                plain.match(pair[:1], pair[1:]).cpu()

        blocks: list[np.ndarray] = []
        encoded: list[list[Any]] = []
        flows: list[np.ndarray] = []

        def read() -> None:
            frames = np.concatenate([shard[name].frames(slice(None)) for name in names])
            blocks[:] = [frames[i : i + batch_size] for i in range(0, len(frames), batch_size)]

        def encode() -> None:
            encoded[:] = [method.encode(block) for block in blocks]

        def match() -> None:
            flows[:] = [method.match(frames[:-1], frames[1:]).cpu().numpy() for frames in encoded if len(frames) > 1]

        def write() -> None:
            with FlowWriter(folder / "alone.zarr.zip", entry["encoding"], entry["bound"], {}) as writer:
                for i, flow in enumerate(flows):
                    writer.write(str(i), np.arange(len(flow) + 1) / 30, "ok", "", [flow])

        def stage(size: int) -> None:
            compute_flow(decoded, folder / "flow.zarr.zip", entry, threads, where, batch_size=size)

        one_by_one(2)
        for part in (read, encode, match):  # once before the clock runs: kernels are chosen
            part()
        looped = min(n_pairs, 48 if where == "cpu" else 200)
        loop = seconds(lambda: one_by_one(looped), where) / looped
        parts = {part.__name__: seconds(part, where) / n_pairs for part in (read, encode, match, write)}
        frames = flop(lambda: method.encode(blocks[0][:2]))
        pair = method.encode(blocks[0][:2])
        pairs = flop(lambda: method.match(pair[:1], pair[1:]))
    batched, found = (seconds(lambda size=size: stage(size), where) / n_pairs for size in (batch_size, AUTO))
    dtype = getattr(torch, entry["dtype"])
    rate = matrix_rate(where, dtype)
    work = frames / 2 + pairs
    return {
        "device": torch.cuda.get_device_name() if where == "cuda" else f"cpu, {threads} threads",
        "torch": torch.__version__,
        "settings": {key: entry[key] for key in ("type", "architecture", "dtype", "compile")},
        "batch_size": batch_size,
        "pairs": n_pairs,
        "pairs_per_second": {
            "loop": round(1 / loop, 2),
            "stage": round(1 / batched, 2),
            "stage_auto": round(1 / found, 2),
        },
        "ratio": round(loop / batched, 2),
        "ratio_of_arithmetic": round((frames + pairs) / work, 2),
        "milliseconds_a_pair": {name: round(1000 * value, 3) for name, value in parts.items()}
        | {"stage": round(1000 * batched, 3)},
        "gflop_a_pair": {"loop": round((frames + pairs) / 1e9, 2), "stage": round(work / 1e9, 2)},
        "matrix_tflops": round(rate / 1e12, 2),
        "share_of_matrix_rate": {
            "stage": round(work / batched / rate, 3),
            "network": round(work / (parts["encode"] + parts["match"]) / rate, 3),
        },
        "minutes_for_hmdb51_at_this_size": {
            name: round(HMDB51_PAIRS * s / 60, 1) for name, s in (("loop", loop), ("stage", batched))
        },
    }


def flop(run: Callable[[], Any]) -> float:
    """Return the floating-point operations of the convolutions and matrix products of `run`."""
    with FlopCounterMode(display=False) as counter:
        run()
    return float(counter.get_total_flops())


if __name__ == "__main__":
    main()

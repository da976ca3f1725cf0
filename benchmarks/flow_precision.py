"""Measure how far the flow of a network moves with its precision and by being compiled, on videos with real motion.

    python benchmarks/flow_precision.py CLIP.mp4 … [--short-side 128] [--pairs 4] [--compile] [--weights random]

prints, for each network and each precision, the end-point error against float32 in pixels: mean, 99th percentile and
largest, beside the mean length of the flow; and writes `benchmarks/results/flow_precision.json`. With random weights
the flow is none of the clip's: the numbers say what rounding does to a network of this depth that was never trained.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import torch
from flow_network import completed, decode
from torch import Tensor

from braid import device
from braid.files import write_text
from braid.flow.registry import REGISTRY
from braid.store.decoded import DecodedShard

NETWORKS = (("gmflow", "gmflow"), ("gmflow", "gmflow_refine"), ("raft", "raft_large"), ("raft", "raft_small"))
RESULT = Path(__file__).parent / "results" / "flow_precision.json"


def flow(entry: dict[str, Any], clips: list[Any], where: str) -> Tensor:
    """Return the flow of all pairs, float32 [n, 2, H, W] flattened over clips to [n_pixels, 2]."""
    with contextlib.redirect_stdout(io.StringIO()):
        method = REGISTRY[entry["type"]].load()(entry, os.cpu_count() or 1, where, 0)
    found = []
    for frames in clips:
        encoded = method.encode(frames)
        found.append(method.match(encoded[:-1], encoded[1:]).cpu().movedim(1, -1).reshape(-1, 2))
    return torch.cat(found)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--short-side", type=int, default=128, help="pixels")
    parser.add_argument("--pairs", type=int, default=4, help="of each clip, from its middle")
    parser.add_argument("--compile", action="store_true", help="compare the compiled networks too: minutes each")
    parser.add_argument("--weights", default="random", choices=["random", "pretrained"])
    arguments = parser.parse_args()
    where = device.pick()
    arguments.height = arguments.width = arguments.short_side
    table: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as name:
        decoded = Path(name) / "decoded.zarr.zip"
        arguments.type, arguments.architecture, arguments.dtype = "gmflow", "gmflow", "float32"
        decode(arguments.clips, decoded, completed(arguments)["decode"], os.cpu_count() or 1)
        with DecodedShard(decoded) as shard:
            clips = []
            for key in shard.clips:
                first = (len(shard[key].times) - arguments.pairs - 1) // 2
                clips.append(shard[key].frames(slice(first, first + arguments.pairs + 1)))
    variants = {"bfloat16": {"dtype": "bfloat16"}, "float16": {"dtype": "float16"}}
    variants |= {"compile": {"compile": True}} if arguments.compile else {}
    for arguments.type, arguments.architecture in NETWORKS:
        arguments.compile = False
        entry = completed(arguments)["flow"]["flow"] | {"weights": arguments.weights}
        exact = flow(entry, clips, where)
        row: dict[str, Any] = {"mean_pixels": round(float(exact.norm(dim=1).mean()), 3)}
        for variant, changes in variants.items():
            error = (flow(entry | changes, clips, where) - exact).norm(dim=1)
            tail = float(error.sort().values[int(0.99 * len(error))])
            sizes = (float(error.mean()), tail, float(error.max()))
            row[variant] = dict(
                zip(("mean", "percentile_99", "largest"), (float(f"{x:.2g}") for x in sizes), strict=True)
            )
        table[arguments.architecture] = row
        print(arguments.architecture, json.dumps(row), flush=True)
    result = {
        "weights": arguments.weights,
        "clips": len(clips),
        "pairs_a_clip": arguments.pairs,
        "short_side": arguments.short_side,
        "device": torch.cuda.get_device_name() if where == "cuda" else "cpu",
        "torch": torch.__version__,
        "end_point_error_pixels": table,
    }
    write_text(RESULT, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

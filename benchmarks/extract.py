"""Time each extractor on a decoded shard against its bare forward passes on tensors that are already in memory.

    python benchmarks/extract.py [CLIPS.TSV] [ITEMS]

decodes the first shard of a manifest (the demo's, if none is given), computes its flow, runs every extractor on its
first items (24) with the schema's defaults and random weights, prints seconds of wall and of processor time, and
writes `benchmarks/results/extract.json`. Construction of the network, the bare forward passes and the shard run in
turn, three times, and the best time of each counts. The ratio is the shard's time to that of construction and forward
passes together, which no shard can do without.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from braid import config, device, index
from braid.extractors.batches import batches
from braid.extractors.extract import extract_features
from braid.extractors.registry import REGISTRY
from braid.files import write_text
from braid.flow.compute import compute_flow
from braid.media.decode import decode_shard
from braid.store.decoded import DecodedShard
from braid.store.flow import FlowShard

ROOT = Path(__file__).parents[1]
RESULT = Path(__file__).parent / "results" / "extract.json"
ROUNDS = 3


def settings(manifest: Path) -> dict[str, Any]:
    """Return a config with every extractor as its schema has it, on frames as small as the demo's."""
    extractors = {name: {"type": name, "weights": "random"} for name in REGISTRY}
    extractors["flow_r2plus1d"]["flow"] = "farneback"
    return config.load(
        {
            "name": "benchmark",
            "manifest": str(manifest),
            "decode": {"short_side": 128},
            "flow": {"farneback": {"type": "farneback"}},
            "extractors": extractors,
            "schemes": {"all": {"type": "early", "features": list(extractors)}},
        }
    )


def seconds(run: Callable[[], Any]) -> dict[str, float]:
    """Return the wall and the processor time, of all threads, that `run` takes."""
    wall, processor = time.perf_counter(), time.process_time()
    run()
    return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - processor}


def measure(entry: dict[str, Any], items: Any, source: Path, out: Path, threads: int, where: str) -> dict[str, Any]:
    """Return what constructing an extractor, its bare forward passes and a shard take."""
    torch.set_num_threads(threads)
    if where == "cpu":
        device.keep_freed_memory()
    construct = REGISTRY[entry["type"]].load()
    extractor = construct(entry)  # once before the clock runs: libraries are imported
    extractor.network.to(where)
    with (FlowShard if REGISTRY[entry["type"]].source == "flow" else DecodedShard)(source) as shard:
        clips = [shard[clip] for clip in items["clip"]]
        views = [(clip, view) for clip in clips for view in extractor.plan(clip, None, None).views]
        tensors = [batch for _, batch in batches(((0, extractor.load(*view)) for view in views), entry["batch_size"])]
    bf16 = where == "cuda"

    def bare() -> None:
        with torch.inference_mode(), torch.autocast(where, torch.bfloat16, enabled=bf16):
            for tensor in tensors:
                extractor.forward(tensor.to(where))[0].float().cpu()

    def shard_of_items() -> None:
        extract_features(items, source, out, entry, threads, where)

    ways = {"construction": lambda: construct(entry), "bare": bare, "shard": shard_of_items}
    rounds = [{name: seconds(way) for name, way in ways.items()} for _ in range(ROUNDS)]
    result: dict[str, Any] = {"items": len(items), "views": len(views)}
    for clock in ("wall", "cpu"):
        best = {name: min(taken[name][clock] for taken in rounds) for name in ways}
        result[f"{clock}_seconds"] = {name: round(value, 2) for name, value in best.items()}
        result[f"{clock}_ratio"] = round(best["shard"] / (best["construction"] + best["bare"]), 2)
    return result


def main() -> None:
    """Measure the first shard of the manifest that the command line names."""
    manifest = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "resources" / "demo" / "clips.tsv"
    n_items = int(sys.argv[2]) if len(sys.argv) > 2 else 24
    threads, where = os.cpu_count() or 1, device.pick()
    chosen = settings(manifest)
    with tempfile.TemporaryDirectory() as folder:
        decoded, flow = Path(folder) / "decoded.zarr.zip", Path(folder) / "flow.zarr.zip"
        listed = index.update(manifest, Path(folder) / "index")
        items = listed.items(listed.shards[0]).head(n_items)
        clips = listed.clips(listed.shards[0])
        decode_shard(clips.filter(clips["clip"].is_in(items["clip"].to_list())), decoded, chosen["decode"], threads)
        compute_flow(decoded, flow, chosen["flow"]["farneback"], threads)
        result: dict[str, Any] = {"device": where, "threads": threads, "torch": torch.__version__}
        for name, entry in chosen["extractors"].items():
            source = flow if REGISTRY[name].source == "flow" else decoded
            result[name] = measure(entry, items, source, Path(folder) / "out.h5", threads, where)
            print(name, json.dumps(result[name]), flush=True)
    write_text(RESULT, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

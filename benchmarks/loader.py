"""Time training that reads shards against the same training on random tensors that are already in memory.

    python benchmarks/loader.py [--manifest CLIPS.TSV] [--device cpu] [--threads 2] [--workers 1] [--rounds 5]

decodes the clips of a manifest's first shard (the demo's, if none is given), computes their Farnebäck flow, and trains
each of `NETWORKS` for some steps in two ways that take turns: `memory`, one random batch in the shape that the network
reads, again and again; `loader`, batches from the shards, read ahead by processes and encoded, as `train_backbone` does
it. The first epoch, in which every clip is opened for the first time, is not counted.

Seconds are of the wall, and of the processor in all processes together; medians over the rounds. `ratio` is loader to
memory in items a second of the wall, `processor_ratio` memory to loader in processor time an item: what remains of the
speed where no core is idle. All of it is written to `benchmarks/results/loader.json`, or `loader_cuda.json`; networks
that were not asked for stay there as they are.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from braid import config, index
from braid.backbones import inputs, networks
from braid.backbones.data import Batch, Training, loader
from braid.device import keep_freed_memory
from braid.files import write_text
from braid.flow.compute import compute_flow
from braid.media.decode import decode_shard

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
SMALL = {"crop": 64, "clip_length": 8, "frame_rate": 7.5}
"""Views on a CPU; on a GPU they are those of the official weights."""
NETWORKS: dict[str, dict[str, Any]] = {
    "tiny_rgb": {"type": "x3d", "architecture": "tiny"},
    "tiny_flow": {"type": "x3d", "architecture": "tiny", "input": "flow", "flow": "farneback"},
    "tiny_strided_flow": {"type": "x3d", "architecture": "tiny", "input": "strided_flow"},
    "xs_rgb": {"type": "x3d", "architecture": "xs"},
    "xs_flow": {"type": "x3d", "architecture": "xs", "input": "flow", "flow": "farneback"},
    "xs_flow_grey": {"type": "x3d", "architecture": "xs", "input": "flow_grey", "flow": "farneback"},
    "logmel": {"type": "logmel", "sample_rate": 32000},
}
BATCH = {"cpu": 16, "cuda": 64}
STEPS = {"cpu": 10, "cuda": 50}
"""Steps of a round."""


def load_config(manifest: Path, device: str) -> dict[str, Any]:
    """Return a config with these networks."""
    small = SMALL if device == "cpu" else {}
    return config.load(
        {
            "name": "benchmark",
            "manifest": str(manifest),
            "decode": {"sample_rate": 32000},
            "flow": {"farneback": {"type": "farneback"}},
            "extractors": {name: {"type": "backbone", "backbone": name} for name in NETWORKS},
            "schemes": {"one": {"type": "single", "features": [next(iter(NETWORKS))]}},
            "backbones": {
                name: {"weights": "random", **entry, **(small if entry["type"] == "x3d" else {})}
                for name, entry in NETWORKS.items()
            },
        }
    )


class Bench:
    """The training of one network."""

    def __init__(
        self, items: pl.DataFrame, shards: dict[str, list[Path]], settings: dict[str, Any], device: str, workers: int
    ) -> None:
        self.device, self.n_steps, self.size = device, STEPS[device], BATCH[device]
        self.input = inputs.make(settings)
        self.data = Training(items, shards, self.input, settings["seed"])
        n_classes = items["code"].n_unique()
        self.network = networks.make(settings, self.input.n_channels, n_classes).to(device).train()
        self.optimiser = torch.optim.SGD(self.network.parameters(), settings["learning_rate"])
        self.batches = loader(self.data, self.keys(), workers, pin=device == "cuda")
        self.shape: torch.Size = torch.Size()
        for _ in range(-(-len(self.data) // self.size)):  # an epoch
            self.shape = self.encode(next(self.batches)).shape
        self.random = torch.randn((self.size, *self.shape[1:]), device=device)
        self.labels = torch.randint(n_classes, (self.size,), device=device)

    def keys(self) -> Iterator[list[tuple[int, int]]]:
        """Yield batches of equal size without an end."""
        order = (
            (epoch, i)
            for epoch in itertools.count()
            for i in np.random.default_rng(epoch).permutation(len(self.data)).tolist()
        )
        while True:
            yield list(itertools.islice(order, self.size))

    def encode(self, batch: Batch) -> Tensor:
        assert batch.draws is not None
        raw, draws = (each.to(self.device, non_blocking=True) for each in (batch.raw, batch.draws))
        return self.input.encode(raw, draws)

    def memory(self) -> None:
        """Train on random numbers."""
        for _ in range(self.n_steps):
            self.step(self.random, self.labels)

    def loader(self) -> None:
        """Train on what the loader gives."""
        for batch in itertools.islice(self.batches, self.n_steps):
            self.step(self.encode(batch), batch.labels.to(self.device, non_blocking=True))

    def step(self, x: Tensor, labels: Tensor) -> None:
        with torch.autocast(self.device, torch.bfloat16, enabled=self.device == "cuda"):
            logits = self.network(x)
        cross_entropy(logits.float(), labels).backward()
        self.optimiser.step()
        self.optimiser.zero_grad()

    def measure(self, rounds: int) -> dict[str, Any]:
        """Return the items a second of both ways."""
        ways: dict[str, Callable[[], None]] = {"memory": self.memory, "loader": self.loader}
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        self.memory()
        for _ in range(rounds):
            for name, way in ways.items():
                wall, processor = time.perf_counter(), processor_seconds()
                way()
                if self.device == "cuda":
                    torch.cuda.synchronize()
                taken[name].append((time.perf_counter() - wall, processor_seconds() - processor))
        n_items = self.n_steps * self.size
        found: dict[str, Any] = {"input": list(self.shape[1:]), "items_a_round": n_items}
        for name, rows in taken.items():
            walls, processors = zip(*rows, strict=True)
            found[name] = {
                "items_a_second": round(n_items / median(walls), 1),
                "processor_ms_an_item": round(1000 * median(processors) / n_items, 2),
                "wall_seconds": [round(each, 3) for each in walls],
            }
        memory, read = found["memory"], found["loader"]
        found["ratio"] = round(read["items_a_second"] / memory["items_a_second"], 3)
        found["processor_ratio"] = round(memory["processor_ms_an_item"] / read["processor_ms_an_item"], 3)
        return found


def processor_seconds() -> float:
    """Return what this process and its children that are alive have used."""
    ticks = 0
    for child in multiprocessing.active_children():
        fields = Path(f"/proc/{child.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def table(result: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    rows = ["| network | input | memory | loader | ratio | of the processor |", f"|{'---|' * 6}"]
    for name, found in result["networks"].items():
        rates = (f"{found[way]['items_a_second']:.1f}/s" for way in ("memory", "loader"))
        shape = "×".join(map(str, found["input"]))
        rows.append(
            f"| `{name}` | {shape} | {' | '.join(rates)} | {found['ratio']:.2f} | {found['processor_ratio']:.2f} |"
        )
    return "\n".join(rows)


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manifest", type=Path, default=ROOT / "resources" / "demo" / "clips.tsv")
    parser.add_argument("--device", choices=list(BATCH), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--workers", type=int, help="processes that read; by default half the threads")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    asked = parser.parse_args()
    workers = max(asked.threads // 2, 1) if asked.workers is None else asked.workers
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = load_config(asked.manifest, asked.device)
        listed = index.update(asked.manifest, folder / "index")
        shard = listed.shards[0]
        shards = {kind: [folder / kind / f"{shard}.zarr.zip"] for kind in ("decoded", "flow")}
        decode_shard(listed.clips(shard), shards["decoded"][0], settings["decode"], asked.threads)
        compute_flow(shards["decoded"][0], shards["flow"][0], settings["flow"]["farneback"], asked.threads, "cpu")
        items = listed.items(shard).with_columns(shard=pl.lit(shard), code=pl.int_range(pl.len()) % 10)
        torch.set_num_threads(asked.threads)
        if asked.device == "cpu":
            keep_freed_memory()
        result: dict[str, Any] = {
            "device": torch.cuda.get_device_name() if asked.device == "cuda" else "cpu",
            "threads": asked.threads,
            "workers": workers,
            "batch": BATCH[asked.device],
            "torch": torch.__version__,
            "manifest": asked.manifest.name,
            "items": len(items),
            "networks": {},
        }
        for network in asked.networks:
            bench = Bench(items, shards, settings["backbones"][network], asked.device, workers)
            result["networks"][network] = {**bench.measure(asked.rounds), "load_average": os.getloadavg()}
            print(network, json.dumps(result["networks"][network]), flush=True)
            bench.batches.close()  # and with it the processes
    print(table(result))
    path = RESULTS / ("loader.json" if asked.device == "cpu" else "loader_cuda.json")
    before_now = json.loads(path.read_text(encoding="utf-8"))["networks"] if path.exists() else {}
    measured_now = before_now | result["networks"]
    result["networks"] = {name: measured_now[name] for name in NETWORKS if name in measured_now}
    write_text(path, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

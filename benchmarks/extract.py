"""Time each extractor against bare forward passes, and against the loop over files that it stands in for.

    OMP_WAIT_POLICY=PASSIVE GOMP_SPINCOUNT=1000 \
        python benchmarks/extract.py [--manifest CLIPS.TSV] [--seconds 20] [--types x3d clip …] [--rounds 2]

(the workflow's setting of OpenMP) runs every network of the registry, with random weights and the settings of the
schema, on a GPU where one can be used. It reads the first shard of a manifest, without items whose clip lacks sound or
picture, else one of as many clips as `braid index` puts in one by itself, each of 10 s at 340×256, made as in
`benchmarks/decode.py`; of these as many as give the network some `--seconds` of bare passes. In turn, several times
(the loop once), the best time of each counts:

- `construction` of the network, and `bare`: its forward passes on batches that are already in memory, by libraries
  that have prepared nothing for it yet, as when a job begins;
- `load`: reading and preprocessing of all views, by one thread, without a network;
- `shard`: the job of the workflow, from a decoded shard to a feature shard. `ratio` is its time to that of
  construction and bare passes together, which no job can do without. On a CPU the loader shares the cores with the
  network, so `floor` is the least that the ratio can be: construction, bare passes and `load` to the first two, in
  seconds of the processor; `processor_ratio` is the shard's own ratio in these, which neighbours disturb least;
- `loop`: what is done without braid: one clip after another in float32, its file decoded with PyAV (flow computed),
  then one forward pass a view. With the construction, it is compared with `braid`, which is decoding (flow) and shard,
  and with `shared`, where decoding is divided by the number of networks, since it is done once for all;
- `passes`: one bare forward pass of a few views in float32 and bfloat16, parameters contiguous and channels last, the
  least cosine between the tokens in the two precisions, and their largest difference to the largest number in float32.

Seconds are of the wall, then of the processor. All of it is written to `benchmarks/results/extract.json`, or
`extract_cuda.json`, with the conditions of each network; those that were not asked for stay there as they are.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import polars as pl
import torch
from decode import make

from braid import config, device, index
from braid.datasets.command import SHARD_SIZE
from braid.extractors.base import Extractor
from braid.extractors.batches import batches
from braid.extractors.extract import extract_features
from braid.extractors.registry import REGISTRY
from braid.files import write_text
from braid.flow.compute import compute_flow
from braid.media.decode import decode_shard
from braid.store.decoded import DecodedShard, Stream
from braid.store.flow import FlowShard

RESULTS = Path(__file__).parent / "results"
CHOSEN: dict[str, dict[str, Any]] = {
    "timm": {"architecture": "regnety_064.ra3_in1k", "frame_rate": 1.5},
    "torchvision": {"frame_rate": 1.5},
    "clip": {"frame_rate": 1.5},
    "x3d": {"architecture": "s"},
    "flow_r2plus1d": {"flow": "farneback"},
}
"""Settings, by type, where they are not the schema's defaults."""
BATCH = {"cpu": 8, "cuda": 64}
"""Views in a bare forward pass."""
FEW = 4
"""Views in a pass of `passes`."""
FLOWN = 6
"""Clips whose flow is computed: Farneback takes seconds for each."""


def make_manifest(folder: Path) -> Path:
    """Return a manifest of one shard of equal clips."""
    made = make(folder / "made.mp4", 340, 256, 500)
    names = [f"{i}.mp4" for i in range(SHARD_SIZE)]
    for name in names:
        (folder / name).hardlink_to(made)
    rows = [f"{i}\t{name}\t{name}\tclass{i % 2}\ttrain\tone\t{made.stat().st_size}" for i, name in enumerate(names)]
    path = folder / "clips.tsv"
    write_text(path, "\n".join(["item\tvideo\taudio\tlabel\tsplit\tshard\tbytes", *rows]) + "\n")
    return path


def load_config(manifest: Path, types: list[str], folder: Path) -> dict[str, Any]:
    """Return a config with the networks of these types."""
    extractors = {name: {"type": name, "weights": "random", **CHOSEN.get(name, {})} for name in types}
    if "transformers_video" in types:  # the architecture of its default, without the files that describe it
        from transformers import VideoMAEConfig, VideoMAEImageProcessor

        VideoMAEConfig(architectures=["VideoMAEForVideoClassification"]).save_pretrained(folder)
        VideoMAEImageProcessor().save_pretrained(folder)
        extractors["transformers_video"]["architecture"] = str(folder)
    return config.load(
        {
            "name": "benchmark",
            "manifest": str(manifest),
            "decode": {"sample_rate": 48000},
            "flow": {"farneback": {"type": "farneback"}},
            "extractors": extractors,
            "schemes": {"all": {"type": "early", "features": list(extractors)}},
        }
    )


class File:
    """A clip as it is read without a shard: all of it is decoded when it is asked for."""

    def __init__(self, row: dict[str, Any], sample_rate: int) -> None:
        self.paths: dict[str, str] = row
        self.sample_rate = sample_rate
        self.video = self.audio = Stream("ok", "")
        self.status, self.reason = "ok", ""

    @cached_property
    def _pictures(self) -> tuple[np.ndarray, np.ndarray]:
        with av.open(self.paths["video"]) as container:
            container.streams.video[0].thread_type = "AUTO"
            frames = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
        return np.array([time for time, _ in frames]), np.stack([picture for _, picture in frames])

    @cached_property
    def _sound(self) -> np.ndarray:
        resampler = av.AudioResampler("flt", "mono", self.sample_rate)
        with av.open(self.paths["audio"]) as container:
            parts = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
        return np.concatenate([part.to_ndarray()[0] for part in [*parts, *resampler.resample(None)]])

    @cached_property
    def _flow(self) -> np.ndarray:
        cv2.setNumThreads(-1)  # as it comes
        grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in self._pictures[1]]
        flow = [
            cv2.calcOpticalFlowFarneback(*pair, np.empty((*grey[0].shape, 2)), 0.5, 3, 15, 3, 5, 1.2, 0)
            for pair in pairwise(grey)
        ]
        return np.stack(flow).transpose(0, 3, 1, 2)

    audio_start_seconds = 0.0
    times = property(lambda self: self._pictures[0])
    n_samples = property(lambda self: len(self._sound))
    n_pairs = property(lambda self: len(self._flow))

    def frames(self, indices: np.ndarray) -> np.ndarray:
        return self._pictures[1][indices]

    def pairs(self, indices: np.ndarray) -> np.ndarray:
        return self._flow[indices]

    def waveform(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        return self._sound[start:stop]


class Bench:
    """The clips of a benchmark, decoded, and the ways that are compared on them."""

    def __init__(self, items: pl.DataFrame, clips: pl.DataFrame, decoded: Path, flow: Path, threads: int) -> None:
        self.items = items
        self.rows = {row["clip"]: row for row in clips.iter_rows(named=True)}
        self.shards = {"video": decoded, "audio": decoded, "flow": flow}
        self.threads = threads
        self.device = device.pick()

    def measure(self, entry: dict[str, Any], out: Path, seconds: float, rounds: int) -> dict[str, Any]:
        """Return the seconds of each way for one network."""
        device.use_threads(self.threads)
        source = REGISTRY[entry["type"]].source
        construct = REGISTRY[entry["type"]].load()
        extractor: Extractor = construct(entry)
        extractor.network.to(self.device)
        device.keep_freed_memory()
        items = self.items.head(self.enough(extractor, source, seconds))
        tensors = list(self.tensors(extractor, source, items))
        bf16 = self.device == "cuda" and entry["dtype"] == "auto"

        def bare() -> None:
            device.use_threads(self.threads)  # after which oneDNN prepares all anew, as at the start of a job
            for tensor in tensors:
                self.forward(extractor, tensor, bf16)

        def load() -> None:
            device.use_threads(1)  # as in a loader
            for _ in self.tensors(extractor, source, items):
                pass
            device.use_threads(self.threads)

        def loop() -> None:
            for row in items.iter_rows(named=True):
                clip = File(self.rows[row["clip"]], getattr(extractor, "sample_rate", 0))
                for view in extractor.plan(clip, row["start_seconds"], row["end_seconds"]).views:
                    self.forward(extractor, extractor.load(clip, view)[None], False)

        ways = {
            "construction": lambda: construct(entry),
            "bare": bare,
            "load": load,
            "shard": lambda: extract_features(
                items, self.shards[source], out, entry, self.threads, self.device, memory_mb=8000
            ),
        }
        measured = {
            "items": len(items),
            "views": sum(map(len, tensors)),
            **best(ways, rounds),
            **best({"loop": loop}, 1),
        }
        return {**measured, "passes": self.passes(extractor, tensors[0][:FEW], rounds)}

    def passes(self, extractor: Extractor, few: torch.Tensor, rounds: int) -> dict[str, Any]:
        """Return the seconds of a pass in each precision and memory layout, and how near the precisions are."""
        few = few.to(self.device)
        last = torch.channels_last_3d if few.dim() == 5 else torch.channels_last
        layouts = {"contiguous": torch.contiguous_format, "channels_last": last}
        tokens = {bf16: self.forward(extractor, few, bf16) for bf16 in (False, True)}
        found: dict[str, Any] = {"views": len(few)}
        for layout, memory_format in layouts.items():
            extractor.network.to(memory_format=memory_format)
            ways = {
                f"{layout}_{dtype}": partial(self.forward, extractor, few, dtype == "bfloat16")
                for dtype in ("float32", "bfloat16")
            }
            best(ways, 1)  # the first pass makes what the others find
            found |= best(ways, 3 * rounds)
        error = (tokens[True] - tokens[False]).abs().max() / tokens[False].abs().max()
        return found | {
            "cosine": round(torch.cosine_similarity(tokens[False], tokens[True]).min().item(), 6),
            "error": round(error.item(), 5),
        }

    def enough(self, extractor: Extractor, source: str, seconds: float) -> int:
        """Return how many items give a network so many seconds of bare passes: at least 2, at most all."""
        there = min(len(self.items), FLOWN) if source == "flow" else len(self.items)
        first = list(self.tensors(extractor, source, self.items.head(1)))
        passed = best({"first": lambda: [self.forward(extractor, tensor, False) for tensor in first]}, 2)["first"][0]
        return min(max(round(seconds / passed), 2), there)

    def tensors(self, extractor: Extractor, source: str, items: pl.DataFrame) -> Iterator[torch.Tensor]:
        """Yield batches of all views."""
        with (FlowShard if source == "flow" else DecodedShard)(self.shards[source]) as shard:
            views = (
                (None, extractor.load(clip, view))
                for name, start, end in items.select("clip", "start_seconds", "end_seconds").iter_rows()
                for clip in [shard[name]]
                for view in extractor.plan(clip, start, end).views
            )
            for _, group in batches(views, lambda _: BATCH[self.device], 2**32):
                yield torch.stack(group)

    def forward(self, extractor: Extractor, batch: torch.Tensor, bf16: bool) -> torch.Tensor:
        with torch.inference_mode(), torch.autocast(self.device, torch.bfloat16, enabled=bf16):
            return extractor.forward(batch.to(self.device))[0].float().cpu()


def best(ways: dict[str, Callable[[], Any]], rounds: int) -> dict[str, Any]:
    """Return the least wall and processor seconds, of all threads, of each way; they take turns."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            wall, processor = time.perf_counter(), time.process_time()
            way()
            found[name].append((time.perf_counter() - wall, time.process_time() - processor))
    return {name: [round(min(each), 3) for each in zip(*taken, strict=True)] for name, taken in found.items()}


def compare(result: dict[str, Any], decode: float, flow: float, n_networks: int) -> dict[str, Any]:
    """Return what was measured of a network and what follows; `decode` and `flow` are seconds of an item."""
    names, n_items = ("construction", "bare", "load", "shard", "loop"), result["items"]
    decode, flow = decode * n_items, flow * n_items
    construction, bare, _, shard, loop = (result[name][0] for name in names)
    processor = {name: result[name][1] for name in names}
    needed = processor["construction"] + processor["bare"]
    loop += construction
    braid, shared = decode + flow + shard, decode / n_networks + flow + shard
    return result | {
        "ratio": round(shard / (construction + bare), 2),
        "processor_ratio": round(processor["shard"] / needed, 2),
        "floor": round((needed + processor["load"]) / needed, 2),
        "clips_a_second": {
            name: round(n_items / seconds, 2)
            for name, seconds in {"shard": shard, "braid": braid, "shared": shared, "loop": loop}.items()
        },
        "loop_to_braid": round(loop / braid, 2),
        "loop_to_shared": round(loop / shared, 2),
    }


def table(result: dict[str, Any]) -> str:
    """Return the figures that the docs show, as Markdown."""
    rows = [
        "| network | clips | bare | shard | ratio | of the processor | floor | clips/s | of the loop | braid | shared "
        "| float32 | channels last | bfloat16 | both |",
        f"|{'---|' * 15}",
    ]
    for kind, found in result["networks"].items():
        passes, rates = found["passes"], found["clips_a_second"]
        each = [
            passes[f"{layout}_{dtype}"][0] / passes["views"] * 1000
            for dtype in ("float32", "bfloat16")
            for layout in ("contiguous", "channels_last")
        ]
        cells = [
            f"`{kind}`",
            str(found["items"]),
            f"{found['bare'][0]:.2f} s",
            f"{found['shard'][0]:.2f} s",
            *(f"{found[name]:.2f}" for name in ("ratio", "processor_ratio", "floor")),
            f"{rates['shard']:.1f}",
            f"{rates['loop']:.1f}",
            f"{found['loop_to_braid']:.1f} ×",
            f"{found['loop_to_shared']:.1f} ×",
            *(f"{milliseconds:.0f} ms" for milliseconds in each),
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def main() -> None:
    """Measure what the command line asks for."""
    networks = [name for name, entry in REGISTRY.items() if not entry.fitted]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manifest", type=Path)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--types", nargs="+", choices=networks, default=networks)
    parser.add_argument("--rounds", type=int, default=2)
    asked = parser.parse_args()
    threads = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        decoded, flow = folder / "decoded.zarr.zip", folder / "flow.zarr.zip"
        manifest = asked.manifest or make_manifest(folder)
        chosen = load_config(manifest, asked.types, folder / "model")
        listed = index.update(manifest, folder / "index")
        items, clips = listed.items(listed.shards[0]), listed.clips(listed.shards[0])
        decode_shard(clips, decoded, chosen["decode"], threads)
        with DecodedShard(decoded) as shard:  # a loop of a few lines reads nothing else
            whole = [name for name in shard.clips if shard[name].video.status == shard[name].audio.status == "ok"]
        items, clips = (rows.filter(pl.col("clip").is_in(whole)) for rows in (items, clips))
        bench = Bench(items, clips, decoded, flow, threads)
        read = {name: REGISTRY[name].source for name in asked.types}
        stages = best({"decode": lambda: decode_shard(clips, decoded, chosen["decode"], threads)}, asked.rounds)
        each = {"decode": stages["decode"][0] / len(clips), "flow": 0.0}
        if "flow" in read.values():
            few, part = (
                clips.filter(pl.col("clip").is_in(items["clip"].head(FLOWN).to_list())),
                folder / "part.zarr.zip",
            )
            decode_shard(few, part, chosen["decode"], threads)
            farneback = chosen["flow"]["farneback"]
            stages |= best({"flow": lambda: compute_flow(part, flow, farneback, threads, bench.device)}, 1)
            each["flow"] = stages["flow"][0] / len(few)
        result: dict[str, Any] = {
            "device": torch.cuda.get_device_name() if bench.device == "cuda" else "cpu",
            "threads": threads,
            "torch": torch.__version__,
            "openmp": {name: os.environ.get(name) for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")},
            "networks": {},
        }
        conditions = {"manifest": manifest.name, "rounds": asked.rounds, **stages}
        for kind, entry in chosen["extractors"].items():
            measured = bench.measure(entry, folder / "out.h5", asked.seconds, asked.rounds)
            flow_of_it = each["flow"] if read[kind] == "flow" else 0.0
            compared = compare(measured, each["decode"], flow_of_it, len(networks))
            load = {"load_average": os.getloadavg()[0]}
            result["networks"][kind] = {"settings": CHOSEN.get(kind, {}), **conditions, **load, **compared}
            print(kind, json.dumps(compared), flush=True)
    print(table(result))
    path = RESULTS / ("extract_cuda.json" if bench.device == "cuda" else "extract.json")
    before_now = json.loads(path.read_text(encoding="utf-8"))["networks"] if path.exists() else {}
    measured_now = before_now | result["networks"]
    result["networks"] = {name: measured_now[name] for name in networks if name in measured_now}
    write_text(path, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

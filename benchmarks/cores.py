"""What a second core gives: the same decoding and extraction by `--cores 1` and by `--cores 2`.

    python benchmarks/cores.py [--stages decode extract] [--clips 64]

Each way runs the workflow on the same generated clips (340×256, 30 frames a second, 10 s) in a folder of its own:

- `one`: `--cores 1`;
- `two`: `--cores 2`, a job at a time with both cores; where shards to decode are many, as here, two of one core each;
- `two_jobs`: `--cores 2 --max-threads 1 --resources gpu=2`, two jobs at a time with one core each.

Wall seconds are of the whole command, the start of Snakemake and of its jobs included. `busiest` is the largest
ratio of processor seconds to wall seconds of a job: above the threads of a job, its libraries take more than they were
given. The load average is that of the last minute when a way begins. It prints a table and writes
benchmarks/results/cores.json; a stage that was not asked for stays there as it is.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml
from decode import make

from braid.datasets.command import SHARD_SIZE
from braid.files import write_text

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "cores.json"
STAGES = {"decode": ("decode_shard", 6), "extract": ("extract_features", 2)}
"""The rule of a stage, and shards that give it some work beside the start of Snakemake."""
WAYS = {
    "one": ["--cores", "1"],
    "two": ["--cores", "2"],
    "two_jobs": ["--cores", "2", "--max-threads", "1", "--resources", "gpu=2"],
}
EXTRACTORS = {
    "frame": {"type": "clip", "weights": "random", "batch_size": 16},
    "video": {"type": "torchvision_video", "weights": "random", "views": 1, "batch_size": 4},
}


def make_project(folder: Path, shards: int, clips: int) -> None:
    """Make a folder in which the workflow runs, with `shards` shards of `clips` clips each."""
    for name in ("Snakefile", "workflow", "profiles"):
        (folder / name).symlink_to(ROOT / name)
    made = make(folder / "clip.mp4", 340, 256, 500)
    lines = ["item\tvideo\taudio\tlabel\tsplit\tshard"]
    for number in range(shards * clips):
        os.link(made, folder / f"{number}.mp4")
        split = ("train", "val", "test")[number // 2 % 3]
        lines.append(f"{number}\t{number}.mp4\t{number}.mp4\t{'ab'[number % 2]}\t{split}\ts{number // clips}")
    write_text(folder / "clips.tsv", "\n".join(lines) + "\n")
    config = {
        "name": "cores",
        "manifest": "clips.tsv",
        "decode": {"sample_rate": 32000},
        "extractors": EXTRACTORS,
        "schemes": {"frame": {"type": "single", "features": ["frame"]}},
    }
    write_text(folder / "config.yaml", yaml.safe_dump(config))


def run(folder: Path, way: str, rule: str) -> float:
    """Run all jobs up to those of a rule; return wall seconds."""
    command = [sys.executable, "-m", "snakemake", "--configfile", "config.yaml", *WAYS[way], "--until", rule]
    start = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    return time.perf_counter() - start


def measure(folder: Path, stage: str, way: str) -> dict[str, Any]:
    """Run all jobs of a stage in one way; return wall seconds, and processor seconds a wall second of the busiest."""
    rule, _ = STAGES[stage]
    if stage == "extract":
        run(folder, "two", "decode_shard")
    load = os.getloadavg()[0]
    seconds = run(folder, way, rule)
    busiest = 0.0
    for path in (folder / "results" / "cores" / "benchmarks" / rule).rglob("*.tsv"):
        with path.open(encoding="utf-8", newline="") as file:
            (row,) = csv.DictReader(file, delimiter="\t")
        busiest = max(busiest, float(row["cpu_time"]) / float(row["s"]))
    return {"seconds": round(seconds, 2), "busiest": round(busiest, 2), "load_average": round(load, 2)}


def main() -> None:
    """Measure all stages and ways and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--clips", type=int, default=SHARD_SIZE)
    asked = parser.parse_args()
    found = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    for stage in asked.stages:
        ways = {}
        for way in WAYS:
            with tempfile.TemporaryDirectory() as folder:
                make_project(Path(folder), STAGES[stage][1], asked.clips)
                ways[way] = measure(Path(folder), stage, way)
        print(stage)
        for way, row in ways.items():
            row["times_one"] = round(ways["one"]["seconds"] / row["seconds"], 2)
            print(f"  {way:9} {row['seconds']:>7} s  {row['times_one']} ×  busiest {row['busiest']}", flush=True)
        found[stage] = {"shards": STAGES[stage][1], "clips_a_shard": asked.clips, "ways": ways}
        write_text(RESULTS, json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""What Snakemake itself costs as a data set grows: dry run, parse of one job, memory, number of jobs and files.

    python benchmarks/scale.py [--sizes 1000 10000 100000 1000000]

Manifests have 250 clips a shard and empty files. The config has five extractors and ten schemes. Nothing is decoded.

- `dry_run`: `snakemake --dry-run` of everything, which reads and checks the manifest when it is new;
- `again`: the same when the index of a run is there, as it is for every later one;
- `job`: what a job on a cluster does before its own work: Snakemake in remote mode, one decoding;
- `train`: the same for the training of one scheme, whose inputs are the features of all shards.

Wall and processor seconds, and the largest memory, of one process each; `start` is `snakemake --version`. It prints a
table and writes benchmarks/results/scale.json.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml
from manifest import CLIPS_A_SHARD, make_data_set

from braid import index
from braid.files import write_text

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "scale.json"
SIZES = (1_000, 10_000, 100_000, 1_000_000)
EXTRACTORS = {
    "sound": {"type": "passt"},
    "frame": {"type": "clip"},
    "video": {"type": "torchvision_video"},
    "x3d": {"type": "x3d"},
    "mel": {"type": "logmel"},
}
NAMES = list(EXTRACTORS)
SCHEMES = {
    **{name: {"type": "single", "features": [name]} for name in NAMES},
    "early": {"type": "early", "features": NAMES},
    "late": {"type": "late", "features": NAMES},
    "intermediate": {"type": "intermediate", "features": NAMES},
    "gated": {"type": "gated", "features": NAMES},
    "ensemble": {"type": "ensemble", "schemes": ["early", "late"]},
}
# Random weights: official ones would be fetched, and every job of an extractor would depend on their receipt.
CONFIG: dict[str, Any] = {
    "name": "scale",
    "manifest": "clips.tsv",
    "decode": {"sample_rate": 48000},
    "extractors": {name: settings | {"weights": "random"} for name, settings in EXTRACTORS.items()},
    "schemes": SCHEMES,
}
REMOTE = ("--mode", "remote", "--nolock", "--ignore-incomplete", "--cores", "1", "--dry-run", "--quiet", "all")


def measure(folder: Path, *arguments: str) -> dict[str, Any]:
    """Return wall and processor seconds, the largest memory in MB, and what was printed, of Snakemake in `folder`."""
    command = [sys.executable, "-m", "snakemake", *arguments]
    with tempfile.TemporaryFile("w+") as out:
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        printed = out.read()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}:\n{printed}")
    found = {"seconds": round(seconds, 2), "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2)}
    return found | {"megabytes": round(usage.ru_maxrss / 1024), "printed": printed}


def scale(n: int) -> dict[str, Any]:
    """Return the row of the table for `n` clips."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_data_set(folder, n)
        for part in ("Snakefile", "workflow"):
            (folder / part).symlink_to(ROOT / part)
        (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG, sort_keys=False))
        config = ("--configfile", "config.yaml")
        everything = (*config, "--cores", "1", "--dry-run", "--quiet", "rules")
        row: dict[str, Any] = {"clips": n, "shards": -(-n // CLIPS_A_SHARD), "start": measure(folder, "--version")}
        row["dry_run"] = measure(folder, *everything)
        counts = re.findall(r"^\w+ +(\d+)$", row["dry_run"]["printed"], re.MULTILINE)
        row["jobs"] = int(counts[-1])  # of the line `total`
        index.update(folder / "clips.tsv", folder / "results" / "scale" / "index")
        row["again"] = measure(folder, *everything)
        for key, rule, wildcards in (
            ("job", "decode_shard", "shard=s0"),
            ("train", "train_scheme", "scheme=early,fold=1"),
        ):
            target = ("--target-jobs", f"{rule}:{wildcards}", "--allowed-rules", rule)
            row[key] = measure(folder, *config, *target, *REMOTE)
        row["files_of_results"] = row["shards"] * (1 + len(EXTRACTORS)) * 3  # a store, a log and a benchmark each
    for value in row.values():
        if isinstance(value, dict):
            del value["printed"]
    return row


def main() -> None:
    """Measure all sizes and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    rows = []
    for n in parser.parse_args().sizes:
        rows.append(scale(n))
        cells = [f"{rows[-1][key]['seconds']:>7.2f} s" for key in ("start", "dry_run", "again", "job", "train")]
        memory = max(rows[-1][key]["megabytes"] for key in ("dry_run", "again"))
        print(f"{n:>9,} {rows[-1]['shards']:>6,} {rows[-1]['jobs']:>7,}", *cells, f"{memory:>6,} MB", flush=True)
    write_text(RESULTS, json.dumps({"clips_a_shard": CLIPS_A_SHARD, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()

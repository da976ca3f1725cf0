"""`braid plan`, which says what a config would take: jobs, bytes and hours."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from braid import config as configs
from braid import index as indexes
from braid.errors import RunError
from braid.plan.estimate import Media, costs

JOBS = re.compile(r"^(\w+)\s+(\d+)$", re.MULTILINE)


def add_parser(subparsers: Any) -> None:
    """Add `braid plan` to the command line."""
    says = "say what a config would take on its data: jobs by a dry run of Snakemake, bytes and hours by measured rates"
    parser = subparsers.add_parser("plan", help=says, description=says)
    parser.add_argument("config", type=Path, metavar="CONFIG")
    parser.add_argument("--clip-seconds", type=float, default=10, help="mean length of a clip; 10 if not given")
    parser.add_argument("--frame-rate", type=float, default=30, help="frames a second of the clips; 30 if not given")
    parser.set_defaults(run=_plan)


def _plan(arguments: argparse.Namespace) -> None:
    configs.refuse_keys_twice(arguments.config)
    config = configs.load(yaml.safe_load(arguments.config.read_text(encoding="utf-8")))
    index = indexes.examine(Path(config["manifest"]), Path("results", config["name"], "index"))
    folds = configs.folds(config, index.splits)
    items = index.items()
    whole = items["end_seconds"].is_null()
    windows = (items["end_seconds"] - items["start_seconds"]).fill_null(arguments.clip_seconds)
    media = Media(
        n_clips=items["clip"].n_unique(),
        n_items=items.height,
        clip_seconds=arguments.clip_seconds,
        item_seconds=arguments.clip_seconds if whole.all() else float(windows.to_numpy().mean()),
        frame_rate=arguments.frame_rate,
        n_folds=len(folds),
    )
    print(
        f"{config['name']}: {media.n_items:,} items of {media.n_clips:,} clips in {len(index.shards):,} shards, "
        f"{len(index.classes)} classes, {len(folds)} folds, {len(config['seeds'])} seeds"
    )
    print("\nJobs that would run now (snakemake --dry-run)")
    for rule, count in jobs(arguments.config).items():
        print(f"  {rule:<20}{count:>9,}")
    found = costs(config, media)
    print(
        f"\nClips of {arguments.clip_seconds:g} s, {arguments.frame_rate:g} frames a second; hours are of two CPU cores"
    )
    print(f"  {'stage':<20}{'GB':>9}{'hours':>10}")
    for cost in found:
        hours = "–" if cost.hours is None else f"{cost.hours:,.1f}"
        print(f"  {cost.stage:<20}{cost.bytes / 1e9:>9,.1f}{hours:>10}  {cost.basis}")
    total, hours = sum(cost.bytes for cost in found) / 1e9, sum(cost.hours or 0 for cost in found)
    print(f"  {'together':<20}{total:>9,.1f}{hours:>10,.1f}  hours of what is measured; schemes take minutes")


def jobs(config: Path) -> dict[str, int]:
    """Return how many jobs of each rule a dry run of Snakemake announces, none where nothing is left to do.

    Raises
    ------
    RunError
        Snakemake refuses the config; its words follow.
    """
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--configfile",
        str(config),
        "--cores",
        "1",
        "--dry-run",
        "--quiet",
        "rules",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RunError(f"snakemake --dry-run says:\n{(done.stderr or done.stdout).strip()}")
    return {rule: int(count) for rule, count in JOBS.findall(done.stdout + done.stderr) if rule != "total"}

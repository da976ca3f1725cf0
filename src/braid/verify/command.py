"""`braid verify`, which reads a results folder to the end and names what is damaged, and the cure."""

from __future__ import annotations

import argparse
import os
import shlex
from pathlib import Path
from typing import Any

from braid.errors import StoreError
from braid.runs import record
from braid.verify.check import check, files


def add_parser(subparsers: Any) -> None:
    """Add `braid verify` to the command line."""
    says = (
        "read every file of a results folder to the end, name those that are damaged, and the command that mends them"
    )
    parser = subparsers.add_parser("verify", help=says, description=says)
    parser.add_argument("results", type=Path, metavar="RESULTS", help="a folder results/<name>")
    parser.set_defaults(run=_verify)


def _verify(arguments: argparse.Namespace) -> None:
    found = files(arguments.results)
    if not found:
        raise StoreError(f"{arguments.results} holds no results. Name a folder results/<name>.")
    damaged = list(check(found))
    for damage in damaged:
        print(f"{damage.path}: {damage.reason}")
    size = sum(path.stat().st_size for path in found)
    print(f"{len(found):,} files, {size / 1e9:.2f} GB: {len(damaged) or 'none'} damaged")
    if damaged:
        raise StoreError(
            "make the damaged files anew, and what was made from them:\n  "
            + cure(arguments.results, [damage.path for damage in damaged])
        )


def cure(results: Path, damaged: list[Path]) -> str:
    """Return the command that makes files anew: that of the last run of `results`, told which ones to force."""
    run = record.load(results)
    folder = Path(run.folder) if run else Path.cwd()
    arguments = run.arguments if run else ["--cores", "all"]
    forced = [os.path.relpath(path.resolve(), folder.resolve()) for path in damaged]
    return shlex.join(["snakemake", *arguments, "--forcerun", *forced])

"""`braid resume`, which goes on with a run that was killed, and `braid status`, which says how far one is."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from braid.errors import RunError
from braid.runs import record, slurm, status

CANCEL_SECONDS = 600
"""A job has this long to be gone after it was cancelled; SLURM gives it 30 s between SIGTERM and SIGKILL as a rule."""


def add_parser(subparsers: Any) -> None:
    """Add `braid resume` and `braid status` to the command line."""
    says = (
        "go on with a killed run: cancel the SLURM jobs that it left, unlock the folder, start the same command again"
    )
    parser = subparsers.add_parser("resume", help=says, description=says)
    parser.add_argument("results", type=Path, metavar="RESULTS", help="the folder results/<name> of the run")
    parser.add_argument(
        "--gone", action="store_true", help="the process was on another machine and is known to have ended"
    )
    parser.set_defaults(run=_resume)
    says = "say what of a run is done, running, missing or failed and why, what it cost, and what would run now"
    parser = subparsers.add_parser("status", help=says, description=says)
    parser.add_argument("results", type=Path, metavar="RESULTS", help="the folder results/<name> of the run")
    parser.add_argument(
        "--watch", type=float, metavar="SECONDS", help="say how far the run is in such intervals, until it is over"
    )
    parser.set_defaults(run=_status)


def _status(arguments: argparse.Namespace) -> None:
    while arguments.watch and not status.is_over(arguments.results):
        print(
            f"[{datetime.now():%Y-%m-%d %H:%M:%S}]", *status.page(arguments.results, whole=False), sep="\n", flush=True
        )
        print()
        time.sleep(arguments.watch)
    print(*status.page(arguments.results), sep="\n")


def _resume(arguments: argparse.Namespace) -> None:
    results = arguments.results
    run = record.load(results)
    if run is None:
        raise RunError(f"No run of {results} was written down: it has no {record.NAME}. Start one with `snakemake`.")
    if not arguments.gone and run.is_alive():
        raise RunError(
            f"The run of {results} of {run.started} is still under way, as process {run.process}. "
            "Let it end, or stop it by Ctrl-C or `kill -INT`, then resume."
        )
    os.chdir(run.folder)
    if run.slurm:
        _cancel(run)
    command = [sys.executable, "-m", "snakemake", *run.arguments]
    unlocked = subprocess.run([*command, "--unlock"], capture_output=True, text=True, check=False)
    if unlocked.returncode:
        raise RunError(f"The folder {run.folder} could not be unlocked:\n{unlocked.stderr.strip()}")
    print("going on:", "snakemake", *run.arguments, flush=True)
    os.execv(command[0], command)


def _cancel(run: record.Run) -> None:
    """Cancel the jobs that a run has left, and wait: one that dies later would delete what its successor wrote."""
    if orphans := slurm.jobs(run.slurm):
        print(f"cancelling {len(orphans)} SLURM jobs of the run of {run.started}: {', '.join(orphans)}", flush=True)
        slurm.cancel(orphans)
        slurm.wait(run.slurm, CANCEL_SECONDS)

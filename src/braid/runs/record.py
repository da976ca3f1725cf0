"""What is written down when a run starts, in `run.json` of its results folder: who runs it, where, by which command."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path

import psutil

from braid.errors import RunError, StoreError
from braid.files import write_text
from braid.runs import slurm

NAME = "run.json"


@dataclass(frozen=True)
class Run:
    """One start of Snakemake.

    Attributes
    ----------
    arguments : list of str
        What Snakemake was called with, without its own name.
    folder : str
        Where it was called.
    host, process, since : str, int, float
        The machine, the number of the process, and when that process began, in seconds since 1970.
    slurm : str
        The name that all its SLURM jobs bear; empty for a run that submits none.
    ended : bool
        Whether Snakemake came to its end, with or without errors: it waits for its jobs, or cancels them.
    """

    arguments: list[str]
    folder: str
    host: str
    process: int
    since: float
    slurm: str
    ended: bool = False

    @property
    def started(self) -> str:
        """When, in local time, to the minute."""
        return datetime.fromtimestamp(self.since).strftime("%Y-%m-%d %H:%M")

    def is_alive(self) -> bool:
        """Return whether its process is still there; it can be seen from its own machine only.

        Raises
        ------
        RunError
            It runs, or ran, on another machine.
        """
        if self.ended:
            return False
        if self.host != socket.gethostname():
            raise RunError(
                f"The run of {self.started} was started on {self.host} as process {self.process} and has not said that "
                "it ended. Run `braid resume` there; or, when you know that the process is gone, here with --gone."
            )
        try:
            return abs(psutil.Process(self.process).create_time() - self.since) < 1
        except psutil.NoSuchProcess:
            return False


def start(results: str | Path, jobs: str, arguments: Sequence[str] | None = None) -> None:
    """Write down that this process runs for `results` now, before its first job.

    Parameters
    ----------
    results : the results folder
    jobs : the name of the SLURM jobs that it will submit, empty if none
    arguments : of Snakemake; those of this process if not given

    Raises
    ------
    RunError
        SLURM still has jobs of an earlier run: both would write the same files, and the end of one would delete those
        of the other.
    """
    before = load(results)
    if before is not None and before.slurm:
        _refuse_orphans(results, before)
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    since = psutil.Process().create_time()
    _save(results, Run(arguments, str(Path.cwd()), socket.gethostname(), os.getpid(), since, jobs))


def end(results: str | Path) -> None:
    """Write down that the run came to its end."""
    run = load(results)
    if run is not None:
        _save(results, replace(run, ended=True))


def load(results: str | Path) -> Run | None:
    """Return the last run of `results`, None where none was written down.

    Raises
    ------
    StoreError
        The file is damaged.
    """
    path = Path(results, NAME)
    try:
        return Run(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise StoreError(
            f"{path} does not hold what braid writes into it. Delete it when no run is under way, then run again."
        ) from error


def _refuse_orphans(results: str | Path, before: Run) -> None:
    if not slurm.is_here():
        if before.ended:
            return
        raise RunError(
            f"The run of {results} of {before.started} was on SLURM and has not said that it ended, and this machine "
            f"cannot ask SLURM for its jobs. Run `braid resume {results}` on {before.host}."
        )
    if orphans := slurm.jobs(before.slurm):
        raise RunError(
            f"SLURM still has {len(orphans)} jobs of the run of {results} of {before.started} "
            f"({', '.join(orphans[:5])}{', …' if len(orphans) > 5 else ''}). Two runs would write the same files. "
            f"Run `braid resume {results}`: it cancels them, waits until they are gone, unlocks the folder and goes on."
        )


def _save(results: str | Path, run: Run) -> None:
    write_text(Path(results, NAME), json.dumps(asdict(run), indent=1, ensure_ascii=False) + "\n")

"""The few questions that are put to SLURM, by its own commands."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Sequence

from braid.errors import RunError

POLL_SECONDS = 2
ANSWER_SECONDS = 60


def is_here() -> bool:
    """Return whether this machine can ask SLURM."""
    return shutil.which("squeue") is not None


def jobs(name: str) -> list[str]:
    """Return the numbers of the jobs of that name that wait, run or are about to end.

    Raises
    ------
    RunError
        SLURM does not answer.
    """
    return _ask("squeue", "--noheader", "--name", name, "--format", "%i").split()


def cancel(numbers: Sequence[str]) -> None:
    """Cancel jobs; those that have ended meanwhile are no error. RunError where SLURM does not answer."""
    _ask("scancel", *numbers)


def wait(name: str, timeout_seconds: float) -> None:
    """Return when SLURM has no job of that name left.

    Raises
    ------
    RunError
        Some are left after `timeout_seconds`.
    """
    limit = time.monotonic() + timeout_seconds
    while left := jobs(name):
        if time.monotonic() > limit:
            raise RunError(
                f"The SLURM jobs {', '.join(left)} are still there {timeout_seconds:.0f} s after they were cancelled. "
                "See `squeue`: a node that does not answer holds them. Run `braid resume` again when they are gone."
            )
        time.sleep(POLL_SECONDS)


def _ask(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_SECONDS, check=True)
    except (OSError, subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
        says = getattr(error, "stderr", None) or error
        raise RunError(f"SLURM does not answer `{command[0]}`: {str(says).strip()}. Try again when it does.") from error
    return done.stdout

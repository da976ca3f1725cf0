"""The GPUs of a workstation, each for one job at a time.

Snakemake counts `gpu` and chooses no device, so that N jobs would all take the first. Here a job locks a file for each
device that it takes. The operating system frees the lock when the process ends, however it ends. Jobs of other users
do not see these locks: users who share a machine divide it by `CUDA_VISIBLE_DEVICES`.
"""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import tempfile
import time
from pathlib import Path

VARIABLE = "CUDA_VISIBLE_DEVICES"
POLL_SECONDS = 0.5
_held: list[int] = []
"""Open lock files, which stay open as long as the process lives."""


def is_assigned() -> bool:
    """Return whether a batch system has given this job its devices already."""
    return "SLURM_JOB_ID" in os.environ


def visible() -> list[str]:
    """Return what names each GPU that this process may use, as `CUDA_VISIBLE_DEVICES` takes it.

    Those of `CUDA_VISIBLE_DEVICES` where it is set, else those that the driver lists: of a GPU that is divided (MIG),
    its parts.
    """
    if VARIABLE in os.environ:
        names = [name.strip() for name in os.environ[VARIABLE].split(",")]
        return names[: names.index("-1")] if "-1" in names else [name for name in names if name]
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60, check=False)
    except FileNotFoundError:
        return []
    return parts(listed.stdout)


def parts(listed: str) -> list[str]:
    """Return the UUIDs in what `nvidia-smi -L` prints, a divided GPU by those of its parts."""
    names: list[str] = []
    whole = ""
    for line in listed.splitlines():
        found = re.search(r"UUID: (\S+?)\)", line)
        if found is None:
            continue
        if line.lstrip().startswith("MIG"):
            if names and names[-1] == whole:
                names.pop()
        else:
            whole = found[1]
        names.append(found[1])
    return names


def claim(n: int, folder: Path | None = None) -> list[str]:
    """Take `n` free GPUs for the rest of this process, and let CUDA see these only; wait until there are so many.

    This must come before CUDA is initialised. Where there is no GPU nothing is taken.

    Parameters
    ----------
    n : how many, at least 1; all there are where those are fewer
    folder : of the lock files; one of the user's own in the folder of temporary files if not given

    Returns
    -------
    list of str
        Their names, none where there is no GPU.
    """
    names = visible()
    if not names:
        return []
    folder = folder or Path(tempfile.gettempdir(), f"braid-gpus-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    wanted, waiting = min(n, len(names)), False
    while len(taken := _locked(names, wanted, folder)) < wanted:
        for lock in taken.values():  # another job may wait for these, and have those that are lacking
            os.close(lock)
        if not waiting:
            print(f"waiting for {wanted} free of the GPUs {', '.join(names)}", flush=True)
        waiting = True
        time.sleep(POLL_SECONDS)
    _held.extend(taken.values())
    os.environ[VARIABLE] = ",".join(taken)
    return list(taken)


def _locked(names: list[str], n: int, folder: Path) -> dict[str, int]:
    """Return up to `n` GPUs that no other process holds, and the descriptor of the lock of each."""
    taken: dict[str, int] = {}
    for name in names:
        if len(taken) == n:
            break
        descriptor = os.open(folder / re.sub(r"[^A-Za-z0-9-]", "_", name), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
        else:
            taken[name] = descriptor
    return taken

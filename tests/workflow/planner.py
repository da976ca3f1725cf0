"""Snakemake, imported once: a process that forks for each plan, which saves two thirds of the time of a plan.

A fork is what `python -m snakemake` is after its imports. The library is not among these: each project has a copy of
its own, which the fork finds by its PYTHONPATH.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

LIMIT_SECONDS = 300


@cache
def _server() -> subprocess.Popen[str]:
    """Return the process, which ends with this one."""
    server = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(server.communicate)  # closes its standard input
    return server


def snakemake(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Do what `subprocess.run` would with `python -m snakemake` and these arguments, output captured."""
    server = _server()
    assert server.stdin and server.stdout
    call = {"arguments": arguments, "folder": str(folder), "environment": dict(environment)}
    print(json.dumps(call), file=server.stdin, flush=True)
    return subprocess.CompletedProcess(arguments, **json.loads(server.stdout.readline()))


def _answer(call: Mapping[str, Any]) -> dict[str, Any]:
    """Return exit status and output of a fork that runs Snakemake."""
    with TemporaryFile() as out, TemporaryFile() as err:
        pid = os.fork()
        if not pid:
            _become_snakemake(out.fileno(), err.fileno(), **call)
        _, status = os.waitpid(pid, 0)
        for file in (out, err):
            file.seek(0)
        return {
            "returncode": os.waitstatus_to_exitcode(status),
            "stdout": out.read().decode(),
            "stderr": err.read().decode(),
        }


def _become_snakemake(out: int, err: int, arguments: list[str], folder: str, environment: dict[str, str]) -> None:
    """Run Snakemake as a process that was started so, and exit."""
    signal.alarm(LIMIT_SECONDS)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:1] = [folder, *environment["PYTHONPATH"].split(os.pathsep)]
    sys.argv = ["snakemake", *arguments]
    cli.main()


if __name__ == "__main__":
    # What Snakemake and the rules import later; not polars, which starts threads that a fork would be without.
    import jsonschema  # noqa: F401
    import smart_open  # noqa: F401
    from snakemake import cli

    cli.get_argument_parser()  # imports the plugins
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line))), flush=True)

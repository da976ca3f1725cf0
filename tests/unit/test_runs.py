"""The record of a run, and how a killed one is resumed; SLURM's commands are stand-ins on PATH (see tests/cluster)."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from braid.cli import main
from braid.errors import RunError, StoreError
from braid.runs import command, record, slurm

SQUEUE = """#!/bin/sh
test "$2" = --name && test "$3" = braid_1 && cat {queue}
"""
SCANCEL = """#!/bin/sh
echo "$@" > {cancelled}
: > {queue}
"""


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path / "results" / "mine"


@pytest.fixture
def queue(tmp_path, monkeypatch):
    """The numbers of SLURM's jobs of the run braid_1, one a line."""
    queue, commands = tmp_path / "queue", tmp_path / "bin"
    queue.write_text("")
    commands.mkdir()
    for name, text in (("squeue", SQUEUE), ("scancel", SCANCEL)):
        path = commands / name
        path.write_text(text.format(queue=queue, cancelled=tmp_path / "cancelled"))
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    return queue


@pytest.fixture
def no_slurm(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))


def killed(results, **fields) -> record.Run:
    """Write down a run whose process is gone."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    run = record.Run(
        **{"arguments": ["a target", "--cores", "2"], "folder": str(results.parents[1]), "host": socket.gethostname(),
           "process": process.pid, "since": time.time(), "slurm": "", **fields}
    )  # fmt: skip
    record._save(results, run)
    return run


def test_a_start_is_written_down_and_its_end(results):
    record.start(results, "braid_1", ["--cores", "2"])
    run = record.load(results)
    assert run is not None
    assert (run.arguments, run.folder, run.slurm, run.ended) == (["--cores", "2"], str(Path.cwd()), "braid_1", False)
    assert (run.host, run.process) == (socket.gethostname(), os.getpid())
    assert run.is_alive()
    record.end(results)
    ended = record.load(results)
    assert ended is not None
    assert ended.ended
    assert not ended.is_alive()


def test_a_process_that_took_the_number_of_another_is_not_it(results):
    assert not killed(results, process=os.getpid(), since=psutil.Process().create_time() - 60).is_alive()


def test_a_start_is_refused_while_slurm_has_jobs_of_the_last_run(results, queue):
    killed(results, slurm="braid_1")
    queue.write_text("7\n8\n")
    with pytest.raises(RunError, match=r"2 jobs .* \(7, 8\).*braid resume"):
        record.start(results, "braid_2", [])
    queue.write_text("")
    record.start(results, "braid_2", [])


def test_a_machine_without_slurm_cannot_know_whether_jobs_are_left(results, no_slurm):
    killed(results, slurm="braid_1")
    with pytest.raises(RunError, match="cannot ask SLURM"):
        record.start(results, "", [])
    killed(results, slurm="braid_1", ended=True)
    record.start(results, "", [])


def test_slurm_that_does_not_answer_is_an_error(results, queue):
    queue.unlink()
    with pytest.raises(RunError, match="does not answer `squeue`"):
        slurm.jobs("braid_1")


def test_jobs_that_stay_are_named(queue, monkeypatch):
    monkeypatch.setattr(slurm, "POLL_SECONDS", 0)
    queue.write_text("7\n")
    with pytest.raises(RunError, match="7 are still there"):
        slurm.wait("braid_1", 0)


def test_a_damaged_record_is_an_error(results):
    results.mkdir(parents=True)
    (results / record.NAME).write_text("[]")
    with pytest.raises(StoreError, match=r"run\.json"):
        record.load(results)


def test_resume_cancels_unlocks_and_starts_the_same_command(results, queue, tmp_path, monkeypatch, capsys):
    calls = []
    monkeypatch.setattr(command.subprocess, "run", _pretending(calls))
    monkeypatch.setattr(command.os, "execv", lambda path, arguments: calls.append(arguments))
    killed(results, slurm="braid_1")
    queue.write_text("7\n8\n")
    assert main(["resume", str(results)]) == 0
    assert (tmp_path / "cancelled").read_text() == "7 8\n"
    snakemake = [sys.executable, "-m", "snakemake", "a target", "--cores", "2"]
    assert calls == [[*snakemake, "--unlock"], snakemake]
    assert "cancelling 2 SLURM jobs" in capsys.readouterr().out


def _pretending(calls):
    real = subprocess.run

    def run(arguments, **options):
        if arguments[0] != sys.executable:
            return real(arguments, **options)
        calls.append(arguments)
        return subprocess.CompletedProcess(arguments, 0, "", "")

    return run


def test_what_cannot_be_resumed_says_why(results, capsys):
    assert main(["resume", str(results)]) == 2
    assert "no run.json" in capsys.readouterr().err
    record.start(results, "", [])
    assert main(["resume", str(results)]) == 2
    assert f"still under way, as process {os.getpid()}" in capsys.readouterr().err
    killed(results, host="login1")
    assert main(["resume", str(results)]) == 2
    assert "started on login1" in capsys.readouterr().err

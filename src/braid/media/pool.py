"""Worker processes that decode clips: a crash, a hang or an error costs one clip, a dead worker is replaced."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from braid.errors import StoreError

WORKER = (sys.executable, "-P", "-m", "braid.media.worker")
"""A program of its own, not a fork: the script that started the pool is neither copied nor run again."""
SURROUNDINGS = {
    "OMP_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(64 << 20),
}
"""Environment of a worker: one thread, and glibc keeps what it frees, since the next frame needs as much; pages that
come and go with every frame cost some percent of decoding."""
START_SECONDS = 120.0
"""Longest time that a worker may take to import its libraries, on a cold network disk for instance."""


class Task(NamedTuple):
    """A clip to decode: its key and the paths of its files, "" where it has none."""

    clip: str
    video: str
    audio: str


class Outcome(NamedTuple):
    """What became of a clip: a record and the file with its arrays, or the reason why there is none."""

    clip: str
    record: dict[str, Any] | None
    spool: BinaryIO | None
    reason: str


def run(
    tasks: Sequence[Task], settings: dict[str, Any], workers: int, folder: Path, command: Sequence[str] = WORKER
) -> Iterator[Outcome]:
    """Decode clips in worker processes and yield each outcome as it comes.

    Parameters
    ----------
    tasks : sequence of Task
        The clips.
    settings : dict
        The section `decode` of the config; a worker that gives no sign of progress for `timeout_seconds` is killed.
    workers : int
        Processes; never more than there are tasks.
    folder : Path
        Where the spool files are: they have no names, and vanish with the processes that hold them.
    command : sequence of str
        Program that answers as `braid.media.worker` does.

    Yields
    ------
    Outcome
        Its spool is valid until the next outcome is asked for.

    Raises
    ------
    StoreError
        The spool cannot be written, for instance since the disk is full.
    """
    waiting = list(reversed(tasks))
    with selectors.DefaultSelector() as selector, ExitStack() as stack:
        team = [_Worker(command, folder, settings, stack, selector) for _ in range(min(workers, len(tasks)))]
        for worker in team:
            worker.give(waiting.pop())
        while busy := [worker for worker in team if worker.task]:
            patience = min(worker.deadline for worker in busy) - time.monotonic()
            heard = {key.data for key, _ in selector.select(max(patience, 0))}
            outcomes = []
            for worker in busy:
                outcome = worker.hear() if worker in heard else worker.give_up_when_late()
                if outcome is None:
                    continue
                outcomes.append(outcome)
                if waiting:  # the next clip decodes while the caller stores this one
                    worker.give(waiting.pop())
                else:
                    worker.end()
            yield from outcomes


class _Worker:
    """One process, restarted as often as it dies, with two spool files that it fills in turn."""

    def __init__(
        self, command: Sequence[str], folder: Path, settings: dict, stack: ExitStack, selector: selectors.BaseSelector
    ) -> None:
        self.task: Task | None = None
        self.deadline = 0.0
        self._command, self._settings, self._selector = command, settings, selector
        self._spools: list[BinaryIO] = []
        for _ in range(2):  # unbuffered: what was read ahead would be of an earlier clip
            with ExitStack() as opening:
                self._spools.append(opening.enter_context(tempfile.TemporaryFile(dir=folder, buffering=0)))
                stack.push(opening.pop_all())
        self._process: subprocess.Popen[bytes] | None = None
        self._heard = b""
        stack.callback(self.end)

    def give(self, task: Task) -> None:
        """Start decoding a clip in the spool file that the last clip is not in."""
        self.task = task
        self._spools.reverse()
        if self._process is not None and self._process.poll() is not None:
            self.end()  # it died after its last clip, which is none of this one's business
        process = self._process or self._start()
        assert process.stdin is not None
        message = {
            "video": task.video,
            "audio": task.audio,
            "settings": self._settings,
            "spool": self._spools[0].fileno(),
        }
        try:
            process.stdin.write(json.dumps(message).encode() + b"\n")
            process.stdin.flush()
        except BrokenPipeError:
            return  # it died: its standard output says so
        self.deadline = max(self.deadline, time.monotonic() + self._settings["timeout_seconds"])

    def hear(self) -> Outcome | None:
        """Take in what the process said; the outcome of its clip when that is among it."""
        process, task = self._process, self.task
        assert process is not None and process.stdout is not None and task is not None
        heard = os.read(process.stdout.fileno(), 1 << 20)
        if not heard:
            return self._buried()
        self.deadline = time.monotonic() + self._settings["timeout_seconds"]
        *lines, self._heard = (self._heard + heard).split(b"\n")
        for line in lines:
            answer = json.loads(line)
            if "stop" in answer:
                raise StoreError(f"decoding stopped at {_name(task)}: {answer['stop']} while writing beside the shard.")
            if "done" in answer or "failed" in answer:
                self.task = None
                if "done" in answer:
                    return Outcome(task.clip, answer["done"], self._spools[0], "")
                return Outcome(task.clip, None, None, f"decoding failed ({answer['failed']})")
        return None

    def give_up_when_late(self) -> Outcome | None:
        """Kill the process when it has been silent for too long; its clip is lost."""
        if time.monotonic() < self.deadline:
            return None
        task = self.task
        assert task is not None
        self.end()
        seconds = self._settings["timeout_seconds"]
        self.task = None
        return Outcome(
            task.clip, None, None, f"the decoder hung: no frame or sound for {seconds:g} s (decode.timeout_seconds)"
        )

    def _buried(self) -> Outcome:
        task, process = self.task, self._process
        assert task is not None and process is not None
        code = process.wait()
        self.end()
        self.task = None
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        return Outcome(task.clip, None, None, f"the decoder crashed ({how})")

    def _start(self) -> subprocess.Popen[bytes]:
        self._heard = b""
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[spool.fileno() for spool in self._spools],
            env={**os.environ, **SURROUNDINGS},
        )
        assert self._process.stdout is not None
        self._selector.register(self._process.stdout, selectors.EVENT_READ, self)
        self.deadline = time.monotonic() + START_SECONDS
        return self._process

    def end(self) -> None:
        """Kill the process, if there is one; the spool files stay."""
        process = self._process
        if process is None:
            return
        assert process.stdin is not None and process.stdout is not None
        self._selector.unregister(process.stdout)
        process.kill()
        process.wait()
        process.stdout.close()
        with suppress(BrokenPipeError):
            process.stdin.close()
        self._process = None


def _name(task: Task) -> str:
    return repr(task.video or task.audio)

"""How far a run is: what Snakemake says of its jobs, as one line a step for people and as events for `braid status`.

`jobs.jsonl` in the results folder is of the last run. Its first line has the stages that the run planned, each other
one an event of a job: `started` (on a cluster: submitted), `finished` or `failed`.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from braid.errors import StoreError
from braid.files import write_text
from braid.report.wording import NONE, duration, plural

NAME = "jobs.jsonl"
QUIET_SECONDS = 10
"""A stage has one line in this time at most; its last job always has one."""
NAMED = ("method", "backbone", "extractor", "scheme", "entry")
"""Wildcards that name an entry of the config."""


@dataclass(frozen=True)
class Job:
    """A job that was started: its stage, what it is of its stage, how many clips it goes through, and its log."""

    stage: str
    part: str
    clips: int
    log: str
    since: float

    @property
    def title(self) -> str:
        """Stage and part."""
        return " ".join(filter(None, (self.stage, self.part)))


@dataclass
class Stage:
    """The jobs of one rule, and of one entry of the config where it is for such."""

    jobs: int = 0
    clips: int = 0
    finished: int = 0
    finished_clips: int = 0
    began: float | None = None
    last: float | None = None

    @property
    def seconds(self) -> float:
        """From the start of its first job to the end of the last one that has finished."""
        return self.last - self.began if self.began is not None and self.last is not None else 0.0

    @property
    def clips_a_second(self) -> float | None:
        """Pace so far; None where no job goes through clips, or none has finished."""
        return self.finished_clips / self.seconds if self.finished_clips and self.seconds else None

    @property
    def seconds_left(self) -> float | None:
        """What is left at the pace so far; None where no job has finished."""
        return (self.jobs - self.finished) * self.seconds / self.finished if self.finished else None

    def __str__(self) -> str:
        words = [f"{self.finished} of {plural(self.jobs, 'job')}"]
        if self.clips_a_second:
            words.append(f"{self.clips_a_second:.3g} clips/s")
        if self.finished < self.jobs:
            words += [f"{duration(self.seconds_left)} left"] if self.finished else []
        else:
            words.append(f"done in {duration(self.seconds)}")
        return ", ".join(words)


@dataclass
class History:
    """What has happened in a run."""

    stages: dict[str, Stage] = field(default_factory=dict)
    running: dict[int, Job] = field(default_factory=dict)
    failed: dict[int, Job] = field(default_factory=dict)
    problems: int = 0

    def take(self, event: Mapping[str, Any]) -> None:
        """Follow one event."""
        if event["event"] == "planned":
            self.stages = {name: Stage(jobs, clips) for name, (jobs, clips) in event["stages"].items()}
        elif event["event"] == "started":
            job = Job(event["stage"], event["part"], event["clips"], event["log"], event["time"])
            self.failed.pop(event["id"], None)  # another attempt
            self.running[event["id"]] = job
            stage = self.stages.setdefault(job.stage, Stage())
            stage.began = job.since if stage.began is None else stage.began
        elif event["id"] in self.running:
            job = self.running.pop(event["id"])
            if event["event"] == "failed":
                self.failed[event["id"]] = job
                return
            stage = self.stages[job.stage]
            stage.finished += 1
            stage.finished_clips += job.clips
            stage.last = event["time"]
            self.problems += event["problems"]


def load(results: str | Path) -> History:
    """Return what has happened in the last run of a results folder; of a run before there were events, nothing.

    Raises
    ------
    StoreError
        The file is damaged.
    """
    path, history = Path(results, NAME), History()
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
        for line in lines[:-1]:  # one that is being written has no end
            history.take(json.loads(line))
    except FileNotFoundError:
        return history
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} does not hold what braid writes into it. Delete it; a run writes it anew.") from error
    return history


def why(log: str, folder: str | Path = "") -> str:
    """Return the reason that the log of a failed job, below `folder`, gives: its last line."""
    if not log:
        return "it has no log; what it said is among what the run has printed"
    try:
        lines = Path(folder, log).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        lines = []
    if not lines:
        return "it wrote no word; it may have been killed, for instance for want of memory"
    return lines[-1].strip().removeprefix("braid: ")


def failures(history: History, folder: str | Path = "") -> Iterator[str]:
    """Yield each reason for which jobs have failed, then these with their logs, which are below `folder`."""
    by_reason: dict[str, list[Job]] = {}
    for job in history.failed.values():
        by_reason.setdefault(why(job.log, folder), []).append(job)
    for reason, jobs in by_reason.items():
        yield reason
        yield from (f"  {job.title} (log: {job.log or NONE})" for job in jobs)


class Progress(logging.Handler):
    """Follows the events of Snakemake's logger; writes them down and says how far the run is.

    Parameters
    ----------
    results : the results folder
    planned : (rule, wildcards) of each job that the run will start
    clips : how many clips each shard has
    problems : number of problems in a decoded shard, given its path
    say : prints a line; to the standard error if not given
    """

    def __init__(
        self,
        results: str | Path,
        planned: Iterable[tuple[str, Mapping[str, str]]],
        clips: Mapping[str, int],
        problems: Callable[[str], int],
        say: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__()
        self.path, self.clips, self.problems = Path(results, NAME), clips, problems
        self.say = say or (lambda line: print(f"progress: {line}", file=sys.stderr, flush=True))
        self.history = History()
        self.decoded: dict[int, str] = {}
        self.said: dict[str, float] = {}
        stages: dict[str, list[int]] = {}
        for rule, wildcards in planned:
            counts = stages.setdefault(self._stage(rule, wildcards), [0, 0])
            counts[0] += 1
            counts[1] += self.clips.get(wildcards.get("shard", ""), 0)
        write_text(self.path, "")
        self._take({"event": "planned", "stages": stages})

    def emit(self, record: logging.LogRecord) -> None:
        """Follow one record of Snakemake's logger; an error in this is printed and stops no run."""
        try:
            self._follow(record)
        except Exception:
            self.handleError(record)

    def _follow(self, told: Any) -> None:
        match getattr(told, "event", None):
            case "job_info" if told.output:  # not a rule that only asks for others
                self._started(told)
            case "job_finished" if told.job_id in self.history.running:
                self._finished(told.job_id)
            case "job_error" if told.jobid in self.history.running:
                self._take({"event": "failed", "id": told.jobid})
                job = self.history.failed[told.jobid]
                self.say(f"FAILED {job.title}: {why(job.log)} (log: {job.log or NONE})")

    def end(self) -> None:
        """Say what has failed, all together, and follow no more."""
        logging.getLogger("snakemake.logging").removeHandler(self)
        if self.history.failed:
            self.say(f"{plural(len(self.history.failed), 'job')} failed, and what reads them was not run:")
        for line in failures(self.history):
            self.say(f"  {line}")

    def _started(self, told: Any) -> None:
        wildcards = dict(told.wildcards or {})
        parts = [f"{key} {value}" for key, value in wildcards.items() if key in ("fold", "shard")]
        if told.rule_name == "decode_shard":
            self.decoded[told.jobid] = _first(told.output)
        self._take(
            {
                "event": "started",
                "id": told.jobid,
                "stage": self._stage(told.rule_name, wildcards),
                "part": ", ".join(parts),
                "clips": self.clips.get(wildcards.get("shard", ""), 0),
                "log": _first(told.log),
            }
        )

    def _finished(self, number: int) -> None:
        name = self.history.running[number].stage
        problems = self.problems(self.decoded.pop(number)) if number in self.decoded else 0
        now = self._take({"event": "finished", "id": number, "problems": problems})
        stage = self.history.stages[name]
        if stage.finished >= stage.jobs or now - self.said.get(name, 0) >= QUIET_SECONDS:
            self.said[name] = now
            so_far = [str(stage)]
            if self.history.problems:
                so_far.append(f"{plural(self.history.problems, 'problem')} in clips")
            if self.history.failed:
                so_far.append(f"{plural(len(self.history.failed), 'job')} failed")
            self.say(f"{name}: {'; '.join(so_far)}")

    def _take(self, event: dict[str, Any]) -> float:
        event = {"time": time.time()} | event
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(event, ensure_ascii=False) + "\n")
        self.history.take(event)
        return event["time"]

    @staticmethod
    def _stage(rule: str, wildcards: Mapping[str, str]) -> str:
        return " ".join([rule, *(wildcards[key] for key in NAMED if key in wildcards)])


def _first(files: Iterable[Any]) -> str:
    """Return the path of the first file, or nothing; Snakemake adds to it what it does with those in a storage."""
    return str(next(iter(files), "")).removesuffix(" (send to storage)")

"""What is done of a run, what runs, what is missing or failed and why, what it cost, and what a run would do now."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from braid.errors import RunError
from braid.report.wording import NONE, duration, plural
from braid.runs import progress, record
from braid.runs.progress import History

ANNOUNCED = re.compile(r"^Job \d+: (.+)\nReason: (.+)$", re.MULTILINE)
ONE_OF_MANY = re.compile(r"\b(shard|fold) (\S+)$")
REASONS = (
    ("Params have changed", "its settings, its rows of the manifest or its version are others than when it last ran"),
    ("Code has changed", "its code is another"),
    ("Software environment", "its software environment is another"),
    ("Set of input files has changed", "it reads other files than when it last ran"),
    ("Updated input files", "a file that it reads is newer"),
    ("Missing output files", "not there yet"),
    ("Forced execution", "it was stopped before it was done, or is forced"),
    ("Input files updated by another job", "what it reads is made again"),
)
"""How Snakemake's reasons begin → what they say; of several the first here is the cause."""


def page(results: Path, *, whole: bool = True) -> Iterator[str]:
    """Yield the lines of `braid status`; not `whole`: only how far the run is.

    Raises
    ------
    RunError
        No run of the folder was written down, or the dry run of its command fails; Snakemake's words follow.
    """
    run = record.load(results)
    if run is None:
        raise RunError(f"No run of {results} was written down: it has no {record.NAME}. Start one with `snakemake`.")
    history = progress.load(results)
    yield from _run(results, run, history)
    alive = _alive(run) is not False
    parts = {
        "Stages of this run": _stages(history),
        "Running" if alive else "Stopped before they were done": _running(history),
        "Failed": progress.failures(history, run.folder),
        "Problems in clips": _problems(results, history),
    }
    if whole:
        parts |= {
            "Cost so far: time of all jobs, size on the disk": _costs(results),
            "Still to do" if alive else "A run would do now": _planned(run),
        }
    for title, found in parts.items():
        if lines := list(found):
            yield from ("", title, "-" * len(title), *lines)


def is_over(results: Path) -> bool:
    """Return whether the last run of a results folder is known to be over."""
    run = record.load(results)
    return run is None or _alive(run) is False


def _alive(run: record.Run) -> bool | None:
    """Return whether the process of a run is there, None where only another machine can tell."""
    try:
        return run.is_alive()
    except RunError:
        return None


def _run(results: Path, run: record.Run, history: History) -> Iterator[str]:
    alive = _alive(run)
    says = f"run of {run.started}"
    if alive is None:
        yield f"{results}: the {says} was started on {run.host}; only there it can be seen whether it is under way."
    elif alive:
        yield f"{results}: the {says} is under way as process {run.process}. Ctrl-C, or `kill -INT`, stops it cleanly."
    elif run.ended:
        left = "it was stopped before its end" if history.running else "all of its jobs are done"
        left = "some of its jobs failed" if history.failed else left
        yield f"{results}: the {says} is over; {left}."
    else:
        yield f"{results}: the {says} was stopped before its end. `braid resume {results}` goes on."


def _stages(history: History) -> Iterator[str]:
    width = max(map(len, history.stages), default=0)
    failed = Counter(job.stage for job in history.failed.values())
    for name, stage in history.stages.items():
        words = [str(stage)] + (["not begun"] if stage.began is None else [])
        words += [f"{failed[name]} failed"] if failed[name] else []
        yield f"{name.ljust(width)}  {', '.join(words)}"


def _running(history: History) -> Iterator[str]:
    for job in history.running.values():
        yield f"{job.title}, since {datetime.fromtimestamp(job.since):%H:%M:%S} (log: {job.log or NONE})"


def _problems(results: Path, history: History) -> Iterator[str]:
    table = results / "decoded" / "problems.tsv"
    pending = history.stages.get("list_problems")
    if table.exists() and (pending is None or pending.finished):
        with table.open(encoding="utf-8", newline="") as file:
            counts: dict[str, int] = {}
            for row in csv.DictReader(file, delimiter="\t"):
                counts[row["status"]] = counts.get(row["status"], 0) + 1
        each = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
        yield f"{plural(sum(counts.values()), 'stream')} not as they should be{': ' + each if each else ''} ({table})"
    else:
        yield f"{plural(history.problems, 'stream')} not as they should be in the shards that this run has decoded"


def _costs(results: Path) -> Iterator[str]:
    """Yield for each rule what its jobs took by Snakemake's benchmark files, then what lies on the disk."""
    seconds: dict[str, list[float]] = {}
    for path in sorted((results / "benchmarks").rglob("*.tsv")):
        with path.open(encoding="utf-8", newline="") as file:
            rows = [float(row["s"]) for row in csv.DictReader(file, delimiter="\t")]
        rule = path.relative_to(results / "benchmarks").parts[0].removesuffix(".tsv")
        seconds.setdefault(rule, []).extend(rows)
    for rule, each in sorted(seconds.items(), key=lambda item: -sum(item[1])):
        yield f"{rule:<18}  {plural(len(each), 'job'):>10}  {duration(sum(each)):>13}"
    for folder in sorted(path for path in results.iterdir() if path.is_dir()):
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        if size:
            yield f"{folder.name + '/':<18}  {size / 1e6:>10,.1f} MB"


def _planned(run: record.Run) -> Iterator[str]:
    """Yield what a dry run of the same command announces, jobs of one kind and reason together."""
    command = [sys.executable, "-m", "snakemake", *run.arguments, "--dry-run"]
    done = subprocess.run(command, cwd=run.folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RunError(
            f"A dry run of `snakemake {' '.join(run.arguments)}` says:\n{(done.stderr or done.stdout).strip()}"
        )
    yield from told(done.stdout + done.stderr)


def told(printed: str) -> Iterator[str]:
    """Yield in words the jobs that a dry run has printed, causes before what follows from them."""
    kinds: dict[tuple[int, str], dict[str, list[str]]] = {}
    for message, given in ANNOUNCED.findall(printed):
        place = next((i for i, (words, _) in enumerate(REASONS) if words in given), len(REASONS))
        reason = REASONS[place][1] if place < len(REASONS) else given
        found = ONE_OF_MANY.search(message)
        kind = message[: found.start()] + found[1] if found else message
        kinds.setdefault((place, reason), {}).setdefault(kind, []).append(found[2] if found else "")
    for (_, reason), jobs in sorted(kinds.items()):
        yield f"{plural(sum(map(len, jobs.values())), 'job')}: {reason}"
        for kind, parts in jobs.items():
            named = ", ".join(parts[:6]) + (f" and {len(parts) - 6} more" if len(parts) > 6 else "")
            yield f"  {kind} {named}".rstrip()
    if not kinds:
        yield "Nothing: all is there and up to date."

"""Which jobs of a run failed, and why, from the log of the run: said once more at its end, where it is looked for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

FAILED = re.compile(r"^Error in rule (\w+):\n((?:    .*\n)*)", re.MULTILINE)
LOG = re.compile(r"^    log: (.+) \(check log file\(s\) for error details\)$", re.MULTILINE)
SENTENCE = "braid: "
"""How `braid.logs.job_log` marks the sentence of an error that the user can mend."""


def failures(log: Path, folder: Path) -> Iterator[str]:
    """Yield a paragraph for each job that failed, one that was tried several times once: rule, reason, log file.

    Parameters
    ----------
    log : log of the run, as Snakemake writes it
    folder : where the run was, in which the paths of the log are
    """
    found: dict[str, str] = {}
    for rule, told in FAILED.findall(log.read_text(encoding="utf-8", errors="replace")):
        paths = LOG.search(told)
        if paths:
            found[paths[1]] = f"{rule}: {_reason(folder / paths[1])}\n  {paths[1]}"
        else:
            found.setdefault(rule, f"{rule}: it has no log; what it said is above.")
    yield from found.values()


def _reason(path: Path) -> str:
    """Return the sentence of an error that the user can mend, else the last line, which names the exception."""
    try:
        lines = [line for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    except OSError:
        lines = []
    marked = [line.removeprefix(SENTENCE) for line in lines if line.startswith(SENTENCE)]
    if marked:
        return marked[-1]
    return lines[-1] if lines else "it was killed before it said anything, for instance since memory was short."

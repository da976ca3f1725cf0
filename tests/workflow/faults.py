"""SIGKILL at random moments, fifty times with fixed seeds: what comes out is what comes out undisturbed. `make faults`.

A run of the tiny project is killed with all its processes after a random time, and resumed by `braid resume` until it
is killed again or ends; when it ends its predictions are compared bit by bit, and another project begins. BRAID_KILLS
is how many kills there are, 50 if not given.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np

from .conftest import Project
from .test_faults import predictions

KILLS = int(os.environ.get("BRAID_KILLS", "50"))
LONGEST_SECONDS = 25.0
BRAID = str(Path(sys.executable).with_name("braid"))


def start(project: Project) -> subprocess.Popen:
    """Start or resume a run, with all that it prints in `printed.txt`."""
    resumed = [BRAID, "resume", "results/tiny"]
    command = resumed if (project.results / "run.json").exists() else project.command()
    with (project.folder / "printed.txt").open("w") as out:
        return subprocess.Popen(
            command, cwd=project.folder, env=project.environment, stdout=out, stderr=out, start_new_session=True
        )


def under_way(project: Project) -> set[str]:
    """Return the rules whose jobs had begun and not ended in the last start."""
    printed = (project.folder / "printed.txt").read_text(encoding="utf-8")
    rules = dict(re.findall(r"^(?:local)?rule (\w+):\n(?:.*\n)*?    jobid: (\d+)", printed, re.MULTILINE))
    messages = dict(re.findall(r"^Job (\d+): (\w+)", printed, re.MULTILINE))
    ended = set(re.findall(r"^Finished jobid: (\d+)", printed, re.MULTILINE))
    by_number = {number: rule for rule, number in rules.items()} | messages
    return {name for number, name in by_number.items() if number not in ended} or {"between jobs"}


def test_kills_at_random_moments_change_nothing(fresh, finished, tmp_path):
    expected = predictions(finished)
    choose, killed, whole = random.Random(0), 0, 0
    moments: Counter[str] = Counter()
    while killed < KILLS or whole == 0:
        project = fresh.copy(tmp_path / f"project {whole}")
        while True:
            process = start(project)
            wait = choose.uniform(1.0, LONGEST_SECONDS) if killed < KILLS else 900
            try:
                assert process.wait(wait) == 0, (project.folder / "printed.txt").read_text(encoding="utf-8")
                break
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                killed += 1
                moments.update(under_way(project))
        got = predictions(project)
        assert got.keys() == expected.keys()
        for name in expected:
            np.testing.assert_array_equal(got[name], expected[name], err_msg=name)
        assert project.planned() == set()
        print(f"project {whole}: {killed} kills so far", flush=True)
        whole += 1
    print("what was under way when it was killed:")
    for name, count in moments.most_common():
        print(f"  {name:14} {count:4}")

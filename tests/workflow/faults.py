"""SIGKILL at random moments, fifty times with fixed seeds; a full disk; two runs at once: `make faults` runs it.

A run of the tiny project, with more in its config so that every kind of job is in it, is killed with all its processes
after a random time, and resumed by `braid resume` until it is killed again or ends; when it ends its results are
compared bit by bit, and another project begins. BRAID_KILLS is how many kills there are, 50 if not given.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pytest
from safetensors.numpy import load_file

from .conftest import CONFIG, PINNED, Project
from .test_faults import entries
from .test_words import SIFT

KILLS = int(os.environ.get("BRAID_KILLS", "50"))
LONGEST_SECONDS = 25.0
BRAID = str(Path(sys.executable).with_name("braid"))


EVERYTHING = CONFIG | {
    "backbones": {
        "ways": {
            "type": "x3d", "architecture": "tiny", "input": "flow", "flow": "farneback", "clip_length": 4, "crop": 32,
            "short_side": 32, "weights": "random", "epochs": 4, "batch_size": 4, "order_test": 5,
        }
    },
    "extractors": CONFIG["extractors"]
    | {"ways": {"type": "backbone", "backbone": "ways", "views": 1} | PINNED, "words": SIFT},
    "schemes": {
        "sound": {"type": "single", "features": ["sound"], "sweep": {"parameters": {"momentum": [0.9, 0.5]}}},
        "ways": {"type": "scores", "features": ["ways"]},
        "fused": {"type": "intermediate", "features": ["sound", "flow3d", "words"], "worth": True},
        "both": {"type": "ensemble", "schemes": ["sound", "fused"]},
    },
}  # fmt: skip
"""Every kind of job, on the clips of the tiny project."""


@pytest.fixture(scope="session")
def fresh(fresh, tmp_path_factory) -> Project:
    project = fresh.copy(tmp_path_factory.mktemp("every stage") / "project")
    project.config = EVERYTHING
    return project


def start(project: Project) -> subprocess.Popen:
    """Start or resume a run, with all that it prints in `printed.txt`."""
    command = [BRAID, "resume", "results/tiny"]
    if not (project.results / "run.json").exists():  # killed before it had begun, perhaps when it had locked the folder
        project.snakemake("--unlock")
        command = project.command()
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


def contents(project: Project) -> dict[str, dict[str, object]]:
    """Return what each result holds: parts of zip files by checksum, numbers and texts of the others by their bytes.

    Attributes are left out, since those of decoded clips name the folder of the project; so is what killed writers have
    left beside the places of their files (docs/faults.md).
    """
    found: dict[str, dict[str, object]] = {}
    for path in sorted(project.results.rglob("[!.]*")):
        name = str(path.relative_to(project.results))
        if path.name.endswith(".zarr.zip"):
            found[name] = {part: crc for part, crc, _ in entries(path) if not part.endswith("zarr.json")}
        elif path.suffix == ".h5":
            with h5py.File(path) as file:
                arrays = {key: np.asarray(data) for key, data in file.items() if isinstance(data, h5py.Dataset)}
                assert arrays.keys() == file.keys(), name
            found[name] = {key: a.tolist() if a.dtype == object else a.tobytes() for key, a in arrays.items()}
        elif path.suffix == ".safetensors":
            found[name] = {key: value.tobytes() for key, value in load_file(path).items()}
    return found


def test_a_disk_that_fills_up_loses_what_did_not_fit_and_nothing_else(fresh, finished, tmp_path):
    """The results lie on a disk with room for half of them; when it has grown the same command goes on."""
    project = fresh.copy(tmp_path / "project")
    project.results.mkdir(parents=True)
    size = sum(path.stat().st_size for path in finished.results.rglob("*") if path.is_file())
    # A disk of its own, which needs no root, lives as long as this shell, so that all happens in it.
    script = """
        set -eu
        results=$1 size=$2; shift 2
        mount -t tmpfs -o "size=$((size / 2))" tmpfs "$results"
        "$@" && exit 3
        mkdir ../full && cp -r "$results/logs" ../full
        mount -o "remount,size=$((size * 4))" "$results"
        "$@"
        cp -r "$results" ../results
    """
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", str(project.results), str(size), *project.command("--keep-going")],
        cwd=project.folder, env=project.environment, capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    logs = "".join(path.read_text(encoding="utf-8") for path in (tmp_path / "full").rglob("*.log"))
    assert "cannot be written: No space left on device" in logs
    # HDF5 cannot close a file on a full disk, and complains after the sentence (docs/faults.md).
    assert set(re.findall(r"^Traceback .*\n +File \"(.+?)\"", logs, re.MULTILINE)) <= {"h5py/_objects.pyx"}
    shutil.copytree(tmp_path / "results", project.results, dirs_exist_ok=True)
    assert contents(project) == contents(finished)


def test_of_two_runs_in_one_folder_the_second_is_refused(fresh, finished, tmp_path):
    project = fresh.copy(tmp_path / "project")
    process = start(project)
    while not (project.results / "run.json").exists():
        assert process.poll() is None
        time.sleep(0.1)
    assert "locked" in project.snakemake(fails=True)
    resumed = subprocess.run(
        [BRAID, "resume", "results/tiny"], cwd=project.folder, env=project.environment, capture_output=True, text=True
    )
    assert resumed.returncode and "still under way" in resumed.stdout + resumed.stderr
    assert process.wait(900) == 0
    assert contents(project) == contents(finished)


def test_kills_at_random_moments_change_nothing(fresh, finished, tmp_path):
    expected = contents(finished)
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
        got = contents(project)
        assert got.keys() == expected.keys()
        assert [name for name in expected if got[name] != expected[name]] == []
        assert project.planned() == set()
        print(f"project {whole}: {killed} kills so far", flush=True)
        whole += 1
    print("what was under way when it was killed:")
    for name, count in moments.most_common():
        print(f"  {name:14} {count:4}")

"""A tiny project: a copy of the workflow and the library beside twelve clips that are made here."""

from __future__ import annotations

import atexit
import os
import re
import shutil
import subprocess
import sys
from fcntl import LOCK_EX, flock
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
import pytest
import yaml

from .forks.forks import Forks

ROOT = Path(__file__).parents[2]
FORKS = Path(__file__).parent / "forks"
PINNED = {"batch_size": 8}
"""Runs are compared bit by bit, and the last bits depend on the size of batches."""
CONFIG = {
    "name": "tiny",
    "manifest": "media/clips.tsv",
    "seeds": [0],
    "decode": {"short_side": 64, "sample_rate": 32000},
    "flow": {"farneback": {"type": "farneback"}},
    "extractors": {
        "sound": {"type": "passt", "weights": "random", "architecture": "passt_s_p16_s16_128_ap468"} | PINNED,
        "flow3d": {"type": "flow_r2plus1d", "weights": "random", "flow": "farneback", "clip_length": 4, "views": 1}
        | PINNED,
    },
    "schemes": {
        "sound": {"type": "single", "features": ["sound"]},
        "motion": {"type": "single", "features": ["flow3d"]},
        "early": {"type": "early", "features": ["sound", "flow3d"]},
    },
}


AWKWARD = {6: "-it's #6; $(touch oops) & `so`.mp4", 7: "{shard} ünï 7 %s *.mp4"}
"""Names that a shell, a template or a glob would trip over."""


def make_clip(path: Path, label: int, seed: int, frames: int = 8) -> None:
    """Write a tenth of a second a frame of a drifting texture (to the right or down) with a low or a high tone."""
    random = np.random.default_rng(seed)
    texture = np.kron(random.integers(0, 255, (12, 16)), np.ones((8, 8))).astype(np.uint8)
    rate, fps = 32000, 10
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=fps, options={"threads": "1"})
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        audio = container.add_stream("aac", rate=rate, layout="mono")
        for number in range(frames):
            picture = np.roll(texture, 3 * number, axis=label)[:64, :96]
            frame = av.VideoFrame.from_ndarray(np.repeat(picture[..., None], 3, axis=2), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, fps)
            container.mux(video.encode(frame))
        time = np.arange(rate * frames // fps) / rate
        sound = (0.3 * np.sin(2 * np.pi * (300 + 900 * label + 10 * seed) * time)).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        container.mux(audio.encode(frame))
        for stream in (video, audio):
            container.mux(stream.encode(None))


def announced(printed: str) -> set[str]:
    """Return the messages of the jobs that Snakemake says it starts, or would start."""
    return set(re.findall(r"^Job \d+: (.+)", printed, re.MULTILINE))


def printed(done: subprocess.CompletedProcess[str], fails: bool) -> str:
    """Return what a command printed that is to fail or not to."""
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stdout + done.stderr


@cache
def plans() -> Forks:
    return started("snakemake.cli", "jsonschema", "smart_open")


@cache
def jobs() -> Forks:
    networks = ("torch._dynamo", "torchvision", "torchaudio", "timm")
    return started(
        "snakemake.script", "h5py", "cv2", "scipy.special", "sklearn.cluster", "matplotlib.figure", *networks
    )


def started(*modules: str) -> Forks:
    """Return a process that forks, until the tests are over."""
    forks = Forks(*modules)
    atexit.register(forks.stop)
    return forks


class Project:
    """A folder with the workflow, the library, a config and clips; runs Snakemake in it as a user does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "PYTHONPATH": str(folder / "src"), "OMP_WAIT_POLICY": "PASSIVE"}

    @property
    def config(self) -> dict:
        return yaml.safe_load((self.folder / "config.yaml").read_text(encoding="utf-8"))

    @config.setter
    def config(self, config: dict) -> None:
        (self.folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")

    @property
    def results(self) -> Path:
        return self.folder / "results" / "tiny"

    @property
    def manifest(self) -> Path:
        return self.folder / "media" / "clips.tsv"

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "snakemake", "--configfile", "config.yaml", "--cores", "2", *arguments]

    def snakemake(self, *arguments: str, fails: bool = False) -> str:
        """Run Snakemake and return what it printed; `fails` says which exit status is expected.

        Its jobs are forks of a process that has imported their libraries; in the demo, in `learn` and where a run is
        killed they start as those of users do.
        """
        paths = os.pathsep.join([self.environment["PYTHONPATH"], str(FORKS)])
        environment = self.environment | {"PYTHONPATH": paths, "FORKS": jobs().address}
        return printed(
            subprocess.run(
                self.command(*arguments), cwd=self.folder, env=environment, capture_output=True, text=True, timeout=900
            ),
            fails,
        )

    def planned(self, *targets: str) -> set[str]:
        """Return the messages of the jobs that a dry run announces, one a job."""
        return announced(self.plan(*targets))

    def plan(self, *arguments: str, fails: bool = False) -> str:
        """Return what a dry run prints; it is a fork of a process that has imported Snakemake."""
        return printed(plans().run(self.command(*arguments, "--dry-run"), self.folder, self.environment), fails)

    def copy(self, folder: Path) -> Project:
        """Copy the project, its results and Snakemake's records, file times included."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Project(folder)


@pytest.fixture(scope="session")
def fresh(tmp_path_factory) -> Project:
    """A project in which nothing has run; its folder has a space in its name."""
    folder = tmp_path_factory.mktemp("a project")
    for name in ("Snakefile", "workflow", "profiles", "src"):
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy2
        copy(source, folder / name)
    media = folder / "media"
    media.mkdir()
    rows = ["item\tvideo\taudio\tlabel\tsplit\tshard\tbytes"]
    splits = ["train"] * 6 + ["val"] * 2 + ["test"] * 4
    for number, split in enumerate(splits):
        name = AWKWARD.get(number, f"clip {number}.mp4")
        label = number % 2
        make_clip(media / name, label, seed=number)
        size = (media / name).stat().st_size
        rows.append(f"{number}\t{name}\t{name}\t{('right', 'down')[label]}\t{split}\t{'ab'[number // 8]}\t{size}")
    (media / "clips.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    project = Project(folder)
    project.config = CONFIG
    return project


@pytest.fixture(scope="session")
def finished(fresh, tmp_path_factory) -> Project:
    """The project after one whole run, which the first worker of several makes for all."""
    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "finished"
    with folder.with_suffix(".lock").open("w") as lock:
        flock(lock, LOCK_EX)
        if not folder.exists():
            project = fresh.copy(tmp_path_factory.mktemp("unfinished") / "project")
            project.snakemake()
            project.folder.rename(folder)
    return Project(folder)


@pytest.fixture
def project(finished, tmp_path) -> Project:
    """A copy of the finished project that a test may change."""
    return finished.copy(tmp_path / "project")

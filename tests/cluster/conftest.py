"""The tiny project of the tests of the workflow, and a SLURM that it runs on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from workflow.conftest import Project, finished, fresh

from .slurm import Cluster

__all__ = ["finished", "fresh"]


@pytest.fixture(scope="session")
def cluster():
    """A cluster of two nodes, and its end."""
    with TemporaryDirectory(prefix="braid-slurm-") as folder:  # not pytest's own, which munge cannot enter
        cluster = Cluster(Path(folder))
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()


class Submitted:
    """A run of Snakemake that submits its jobs to a cluster."""

    def __init__(self, project: Project, cluster: Cluster, *arguments: str) -> None:
        self.project, self.cluster = project, cluster
        self.environment = cluster.environment | {
            key: project.environment[key] for key in ("PYTHONPATH", "OMP_WAIT_POLICY")
        }
        self.arguments = arguments
        self.printed = project.folder / "printed.txt"

    def command(self, *more: str) -> list[str]:
        options = ("--workflow-profile", "profiles/slurm", "--slurm-init-seconds-before-status-checks", "5")
        # Threads change the last bits of sums: as many as the run on one machine has, which it is compared with.
        return [sys.executable, "-m", "snakemake", *self.arguments, *options, "--max-threads", "2", *more]

    def start(self) -> subprocess.Popen:
        with self.printed.open("a") as out:
            return subprocess.Popen(
                self.command(), cwd=self.project.folder, env=self.environment, stdout=out, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip

    def call(self, *command: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            command, cwd=self.project.folder, env=self.environment, capture_output=True, text=True, timeout=600
        )

    def attempts(self) -> dict[str, int]:
        """Return how often SLURM ran each job: rule and wildcards → number of jobs."""
        counts: dict[str, int] = {}
        for text in self.cluster.jobs("all").values():
            counts[text.removeprefix("rule_")] = counts.get(text.removeprefix("rule_"), 0) + 1
        return counts

"""A real SLURM on one machine: munge, a controller and nodes that have a make-believe GPU each. Root starts it."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil

PORT = 17000
CONTROLLER = """
ClusterName=braid
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
# Without cgroups memory is watched, not fenced: a job that takes more than it asked for is killed.
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=defer,bf_interval=2,sched_interval=2
ReturnToService=2
SlurmdParameters=config_overrides
SlurmdTimeout=10
KillWait=2
MinJobAge=3600
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
GresTypes=gpu
"""


class Cluster:
    """Nodes `node1` to `node{n}` of 8 make-believe cores, in the partitions `cpu` and `gpu`.

    Attributes
    ----------
    environment : dict
        The environment in which SLURM's commands find this cluster.
    """

    def __init__(self, folder: Path, nodes: int = 2, memory_mb: int = 64000) -> None:
        self.folder, self.nodes, self.memory_mb = folder, [f"node{n + 1}" for n in range(nodes)], memory_mb
        self.configuration = folder / "slurm.conf"
        commands = folder / "bin"
        self.environment = {
            **os.environ,
            "SLURM_CONF": str(self.configuration),
            "PATH": f"{commands}:{os.environ['PATH']}",
        }
        for name in ("bin", "state", "dev", *(f"spool/{node}" for node in self.nodes)):
            (folder / name).mkdir(parents=True)
        # The executor's job step hands on few variables of SLURM, and its path to the configuration is not among them.
        self._wrap("srun", f"export SLURM_CONF={self.configuration}")
        self._wrap("sbatch", f"printf '%s\\n' \"$*\" >> {folder}/submitted.txt")

    def start(self) -> None:
        """Start all daemons, and wait until every node is idle."""
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o600)
        self.folder.chmod(0o755)
        self._run(
            "munged", f"--key-file={key}", f"--socket={self.folder}/munge.sock", f"--pid-file={self.folder}/munged.pid",
            f"--log-file={self.folder}/munged.log", f"--seed-file={self.folder}/munge.seed",
        )  # fmt: skip
        # SLURM tells a GPU by its device file, which must be a character device.
        device = self.folder / "dev" / "nvidia0"
        self._run("mknod", str(device), "c", "195", "0")
        (self.folder / "gres.conf").write_text(f"NodeName=node[1-{len(self.nodes)}] Name=gpu Type=a100 File={device}\n")
        host = socket.gethostname()
        lines = [CONTROLLER.format(host=host, port=PORT, folder=self.folder)]
        for number, node in enumerate(self.nodes):
            lines.append(
                f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={PORT + 100 + number} CPUs=8 "
                f"RealMemory={self.memory_mb} Gres=gpu:a100:1 Feature=fast State=UNKNOWN"
            )
        for partition, default in (("cpu", "YES"), ("gpu", "NO")):
            lines.append(
                f"PartitionName={partition} Nodes=ALL Default={default} MaxTime=INFINITE DefaultTime=10 State=UP"
            )
        self.configuration.write_text("\n".join(lines) + "\n")
        self._run("slurmctld", "-f", str(self.configuration))
        for node in self.nodes:
            self.start_node(node)
        self.wait_until(
            lambda: len(self.ask("sinfo", "-hN", "-p", "cpu", "-t", "idle", "-o", "%N").split()) == len(self.nodes)
        )

    def start_node(self, node: str) -> None:
        self._run("slurmd", "-N", node, "-f", str(self.configuration))

    def kill_node(self, node: str) -> None:
        """End the daemon of a node and every process of its jobs at once, as a power cut does."""
        os.kill(self._process(f"slurmd-{node}.pid"), signal.SIGKILL)
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get("SLURMD_NODENAME") == node:
                    parents = [parent for parent in process.parents() if parent.name() == "slurmstepd"]
                    for doomed in (*parents, process):
                        doomed.kill()

    def stop(self) -> None:
        """End all daemons."""
        subprocess.run(["scancel", "-u", "root"], env=self.environment, check=False)
        for pid_file in (*(f"slurmd-{node}.pid" for node in self.nodes), "slurmctld.pid", "munged.pid"):
            try:
                os.kill(self._process(pid_file), signal.SIGTERM)
            except (FileNotFoundError, ProcessLookupError):
                continue
        self.wait_until(lambda: not list(self.folder.glob("*.pid")), fails=False)

    def submitted(self) -> list[str]:
        """Return the arguments of every call of sbatch."""
        path = self.folder / "submitted.txt"
        return path.read_text().splitlines() if path.exists() else []

    def jobs(self, states: str = "RUNNING,PENDING,COMPLETING") -> dict[str, str]:
        """Return the jobs in those states: number → rule and wildcards, as the executor writes them."""
        printed = self.ask("squeue", "--noheader", "--states", states, "--format", "%i %k")
        return dict(line.split(maxsplit=1) for line in printed.splitlines())

    def show(self, job: str) -> dict[str, str]:
        """Return what SLURM knows of a job: `JobState`, `NodeList`, `TRES`, `NumTasks`, …"""
        return dict(re.findall(r"(\S+?)=(\S*)", self.ask("scontrol", "show", "job", job)))

    def running(self, comment: str) -> str:
        """Wait until a job with that rule and wildcards runs, and return its number."""
        found: list[str] = []

        def look() -> bool:
            found[:] = [job for job, text in self.jobs("RUNNING").items() if text.removeprefix("rule_") == comment]
            return bool(found)

        self.wait_until(look)
        return found[0]

    def ask(self, *command: str, fails: bool = False) -> str:
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)
        assert fails or not done.returncode, (command, done.stdout, done.stderr)
        return done.stdout

    def wait_until(self, holds, seconds: float = 120, fails: bool = True) -> None:
        limit = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > limit:
                assert not fails, f"waited {seconds} s in vain:\n" + self.ask("sinfo", "-N") + self.ask("squeue")
                return
            time.sleep(0.2)

    def _wrap(self, command: str, first: str) -> None:
        """Put before a command of SLURM, on the PATH of `environment`, a line of shell."""
        wrapper = self.folder / "bin" / command
        wrapper.write_text(f'#!/bin/sh\n{first}\nexec {shutil.which(command)} "$@"\n')
        wrapper.chmod(0o755)

    def _process(self, pid_file: str) -> int:
        return int((self.folder / pid_file).read_text())

    def _run(self, *command: str) -> None:
        self.ask(*command)

"""One job a GPU, with a faked list of devices and real locks."""

import os
import signal
import subprocess
import sys
import time
from itertools import pairwise

import pytest

from braid import gpus

JOB = """
import os, sys, time
from pathlib import Path
from braid import gpus
gpus.POLL_SECONDS = 0.01
os.environ["CUDA_VISIBLE_DEVICES"] = "0,1,2"
taken = gpus.claim(int(sys.argv[2]), Path(sys.argv[1]))
assert os.environ["CUDA_VISIBLE_DEVICES"] == ",".join(taken)
print(*taken, time.monotonic(), flush=True)
time.sleep(float(sys.argv[3]))
print(time.monotonic(), flush=True)
"""

LISTED = """GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-1a)
  MIG 3g.20gb     Device  0: (UUID: MIG-2b)
  MIG 3g.20gb     Device  1: (UUID: MIG-3c)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-4d)
"""


def start(folder, n=1, seconds=0.3):
    command = [sys.executable, "-c", JOB, str(folder), str(n), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def ended(job):
    """Return the devices of a job, and from when to when it had them."""
    lines = job.communicate(timeout=60)[0].splitlines()
    taken, *after = [line for line in lines if not line.startswith("waiting")]
    *devices, begin = taken.split()
    return devices, float(begin), float(after[0])


def test_twelve_jobs_share_three_gpus_and_none_at_once(tmp_path):
    jobs = [start(tmp_path) for _ in range(12)]
    spans = [ended(job) for job in jobs]
    assert {device for devices, _, _ in spans for device in devices} == {"0", "1", "2"}
    for device in "012":
        own = sorted((begin, end) for devices, begin, end in spans if devices == [device])
        assert all(end <= begin for (_, end), (begin, _) in pairwise(own))


def test_the_gpu_of_a_killed_job_is_free_again(tmp_path):
    jobs = [start(tmp_path, seconds=60) for _ in range(3)]
    devices = {}
    for job in jobs:
        assert job.stdout is not None
        devices[job] = job.stdout.readline().split()[0]
    next_one = start(tmp_path, seconds=0)
    time.sleep(0.3)
    assert next_one.poll() is None
    os.kill(jobs[1].pid, signal.SIGKILL)
    assert ended(next_one)[0] == [devices[jobs[1]]]
    for job in jobs:
        job.kill()
        job.communicate()


def test_jobs_of_several_gpus_do_not_wait_for_each_other_for_ever(tmp_path):
    for devices, _, _ in [ended(job) for job in [start(tmp_path, n=2, seconds=0.05) for _ in range(6)]]:
        assert len(devices) == 2


def test_fewer_gpus_than_asked_for_are_all_taken(tmp_path):
    assert ended(start(tmp_path, n=8, seconds=0))[0] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("value", "names"),
    [("", []), ("2", ["2"]), ("MIG-2b, GPU-4d", ["MIG-2b", "GPU-4d"]), ("0,-1,1", ["0"]), ("-1", [])],
)
def test_what_is_set_from_outside_is_respected(monkeypatch, value, names):
    monkeypatch.setenv(gpus.VARIABLE, value)
    assert gpus.visible() == names


def test_a_divided_gpu_is_listed_by_its_parts():
    assert gpus.parts(LISTED) == ["MIG-2b", "MIG-3c", "GPU-4d"]
    assert gpus.parts("No devices found.\n") == []


def test_nothing_is_taken_where_there_is_no_gpu(monkeypatch, tmp_path):
    monkeypatch.setenv(gpus.VARIABLE, "")
    assert gpus.claim(1, tmp_path) == []
    assert os.environ[gpus.VARIABLE] == ""

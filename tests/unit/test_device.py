"""The device, and memory that is kept."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from braid import device, gpus


@pytest.mark.parametrize(("available", "name"), [(True, "cuda"), (False, "cpu")])
def test_a_gpu_is_used_where_there_is_one(monkeypatch, capsys, available, name):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "a GPU")
    assert device.pick() == name
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_a_batch_system_has_chosen_the_gpu(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setattr(gpus, "claim", lambda n: pytest.fail("a device was chosen again"))
    device.pick()


def test_a_thread_keeps_its_number_of_threads():
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        one.submit(device.use_threads, 2).result()
        other.submit(device.use_threads, 1).result()
        assert [pool.submit(torch.get_num_threads).result() for pool in (one, other)] == [2, 1]


FAULTS = """
import resource, torch
from braid import device

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(8_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

device.keep_freed_memory()
print(*(faults() for _ in range(30)))
"""


def test_freed_memory_stays_with_the_process():
    """Pages that were touched cost no fault again, once the heap has found its size; in a process of its own."""
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True, timeout=300)
    first, *_, last = map(int, done.stdout.split())
    assert first > 7_000
    assert last < 700


def test_resident_memory_grows_with_what_is_touched():
    device.keep_freed_memory()
    before = device.resident_bytes()
    kept = torch.ones(25_000_000)
    assert 0.8e8 < device.resident_bytes() - before < 1.5e8
    del kept

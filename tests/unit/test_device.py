"""The device, and memory that is kept."""

import resource

import pytest
import torch

from braid import device


@pytest.mark.parametrize(("available", "name"), [(True, "cuda"), (False, "cpu")])
def test_a_gpu_is_used_where_there_is_one(monkeypatch, capsys, available, name):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    assert device.pick() == name
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_freed_memory_stays_with_the_process():
    """Pages that were touched once cost no page fault the second time."""
    device.keep_freed_memory()

    def faults() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(8_000_000)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    first = faults()
    assert faults() < max(first, 7_000) / 10


def test_resident_memory_grows_with_what_is_touched():
    device.keep_freed_memory()
    before = device.resident_bytes()
    kept = torch.ones(25_000_000)
    assert 0.8e8 < device.resident_bytes() - before < 1.5e8
    del kept

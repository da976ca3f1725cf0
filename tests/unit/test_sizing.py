"""The batch size that is found: by speed, by memory, by what did not fit."""

import random

import pytest
import torch

from braid.extractors import sizing
from braid.extractors.sizing import AUTO, BatchSize, BatchSizes

VIEW = torch.zeros(1000)


def settle(size, seconds):
    """Run full batches until the size stays; `seconds` of a batch is a function of its size."""
    for _ in range(1000):
        if size.settled:
            return size.now
        size.took(size.now, seconds(size.now))
    raise AssertionError("it never settled")


def test_it_grows_while_larger_batches_are_faster_a_view():
    assert settle(BatchSize(AUTO, 1024, lambda n, times: True), lambda n: max(n, 16)) == 16
    assert settle(BatchSize(AUTO, 1024, lambda n, times: True), lambda n: 1 + n / 10) == 256  # 4 % faster than 128
    assert settle(BatchSize(AUTO, 1024, lambda n, times: True), lambda n: 1.0) == 1024


def test_on_a_cpu_it_is_settled_after_the_first_view():
    size = BatchSize(AUTO, sizing.MOST["cpu"], lambda n, times: True)
    size.took(1, 1.0)
    assert (size.now, size.settled) == (8, True)


@pytest.mark.parametrize(("twice", "kept"), [(1.85, 32), (1.98, 16), (2.0, 8), (2.5, 8)])
def test_a_gain_of_less_than_five_percent_ends_it_and_the_better_size_stays(twice, kept):
    """A batch of 16 takes `twice` as long as one of 8, and so on: 8 % gain goes on until it does not."""
    times = {1: 1.0, 8: 8.0, 16: 8 * twice, 32: 16.0 * twice - (0.08 if twice < 1.9 else 0)}
    assert settle(BatchSize(AUTO, 1024, lambda n, times: True), times.__getitem__) == kept


def test_without_room_for_a_few_views_it_grows_from_one():
    size = BatchSize(AUTO, 1024, lambda n, times: n <= 2)
    assert settle(size, lambda n: 1.0) == 2


def test_a_slow_first_batch_and_hiccups_do_not_matter():
    noise = random.Random(0)
    for _ in range(50):
        slow = iter([True, False, False] * 3 + [False, False, True] * 3)

        def seconds(n, slow=slow):
            return max(n, 8) * noise.uniform(0.99, 1.01) * (10 if next(slow) else 1)

        assert settle(BatchSize(AUTO, 1024, lambda n, times: True), seconds) in (8, 16)


def test_partial_batches_and_those_of_a_former_size_tell_nothing():
    size = BatchSize(AUTO, 1024, lambda n, times: True)
    size.took(1, 1.0)
    assert size.now == 8
    for _ in range(100):
        size.took(1, 99.0)
    assert (size.now, size.settled) == (8, False)


def test_what_does_not_fit_is_halved_for_good():
    size = BatchSize(AUTO, 1024, lambda n, times: True)
    while size.now < 32:
        size.took(size.now, 1.0)
    size.did_not_fit(32)
    assert (size.now, size.settled) == (16, True)
    size.did_not_fit(5)  # a last batch, smaller than the others
    assert size.now == 2
    assert settle(size, lambda n: 1.0) == 2


def test_a_size_that_is_asked_for_stays():
    size = BatchSize(8, 1024, lambda n, times: True)
    for _ in range(10):
        size.took(8, 1.0)
    assert (size.now, size.settled) == (8, True)


@pytest.mark.parametrize(("memory_mb", "found"), [(500, 2), (1000, 4), (2000, 8), (100_000, 1024)])
def test_it_stays_within_the_memory_of_the_job(monkeypatch, memory_mb, found):
    """A network that needs 100 MB a view, in a process of 100 MB: of 1 GB, 500 MB are in use with four views."""
    used = 100 * 10**6
    monkeypatch.setattr(sizing, "resident_bytes", lambda: used)
    size = BatchSizes(AUTO, memory_mb * 10**6, 1, "cuda").of(VIEW)
    for _ in range(100):
        used = max(used, 10**8 + size.now * 10**8) if memory_mb < 10_000 else used
        size.took(size.now, 1.0)
        assert used <= sizing.FULL * memory_mb * 10**6
    assert size.now == found


def test_a_batch_is_bounded_in_bytes(monkeypatch):
    monkeypatch.setattr(sizing, "resident_bytes", lambda: 0)
    sizes = BatchSizes(AUTO, 1600 * VIEW.nbytes, 1, "cuda")
    assert settle(sizes.of(VIEW), lambda n: 1.0) == 64 <= sizes.most_bytes // VIEW.nbytes == 100


def test_each_shape_has_its_own_size_and_the_largest_says_how_much_is_loaded_ahead():
    sizes = BatchSizes(AUTO, 1600 * VIEW.nbytes, 3, "cpu")
    assert sizes.ahead() == 3
    small, large = sizes.of(torch.zeros(1)), sizes.of(VIEW)
    assert sizes.of(torch.zeros(1)) is small is not large
    assert sizes.ahead() == 3
    small.now = 16
    assert sizes.ahead() == 32
    large.now = 64
    assert sizes.ahead() == 100
    sizes.of(torch.zeros(100_000))
    assert sizes.ahead() == 1
    assert "16 of (1,), 64 of (1000,), 1 of (100000,)" in str(sizes)

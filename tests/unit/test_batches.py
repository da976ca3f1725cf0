"""Grouping of tensors by shape: what shares a batch, and what waits how long."""

from concurrent.futures import ThreadPoolExecutor

import torch

from braid.ahead import ahead, in_turn, meanwhile
from braid.extractors.batches import PATIENCE, batches


def grouped(shapes, size, most_bytes=10**9):
    jobs = ((number, torch.zeros(shape)) for number, shape in enumerate(shapes))
    found = list(batches(jobs, lambda tensor: size, most_bytes))
    assert all(len(keys) == len(tensors) for keys, tensors in found)
    assert all(len({tensor.shape for tensor in tensors}) == 1 for _, tensors in found)
    assert sorted(key for keys, _ in found for key in keys) == list(range(len(shapes)))
    return [keys for keys, _ in found]


def test_batches_hold_one_shape_and_depend_on_order_alone():
    assert grouped([1, 2, 1, 1, 3, 2, 1, 1, 2], 3) == [[0, 2, 3], [1, 5, 8], [4], [6, 7]]


def test_an_odd_shape_does_not_wait_for_ever():
    order = grouped([(9, 9), *[(5,)] * 99], 2)
    assert order.index([0]) == PATIENCE
    assert grouped([(9, 9), *[(i,) for i in range(1, 100)]], 2) == [[i] for i in range(100)]


def test_what_waits_is_bounded_in_bytes():
    waiting = most = 0

    def loaded():
        nonlocal waiting, most
        for number in range(100):
            tensor = torch.zeros(1000 + number % 3)
            waiting += tensor.nbytes
            most = max(most, waiting)
            yield number, tensor

    n = 0
    for _, tensors in batches(loaded(), lambda tensor: 64, 50_000):
        n += len(tensors)
        waiting -= sum(tensor.nbytes for tensor in tensors)
    assert n == 100 and 50_000 < most <= 50_000 + 4 * 1002


def test_a_tensor_heavier_than_the_bound_goes_alone():
    assert grouped([1000] * 5, 8, most_bytes=100) == [[i] for i in range(5)]


def test_a_batch_size_may_change_meanwhile():
    sizes, found = [1, 4, 2, 2, 2, 2], []
    for keys, _ in batches(((number, torch.zeros(1)) for number in range(10)), lambda tensor: sizes[0], 10**9):
        found.append(keys)
        sizes.pop(0)
    assert found == [[0], [1, 2, 3, 4], [5, 6], [7, 8], [9]]


def test_jobs_are_done_in_order_and_not_too_far_ahead():
    begun = []

    def work(job):
        begun.append(job)
        return 10 * job

    with ThreadPoolExecutor(2) as pool:
        for n in (0, 3, lambda: 3):
            begun.clear()
            results = ahead(pool, work, iter(range(20)), n)
            assert next(results) == 0
            assert len(begun) <= 1 + (n if isinstance(n, int) else 3)
            assert list(results) == list(range(10, 200, 10))
        counts = iter([2, 3, 3, 1, 9])
        begun.clear()
        results = in_turn(pool, work, iter(range(10)), lambda: next(counts, 1))
        together = [(next(results), len(begun)) for _ in range(10)]
        assert together == [(10 * job, n) for job, n in enumerate([2, 2, 5, 5, 5, 8, 8, 8, 9, 10])]
        assert list(results) == []
        assert list(meanwhile(pool, iter([1, None, 0]))) == [1, None, 0]

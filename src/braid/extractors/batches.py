"""From a stream of jobs to groups of equal-shaped tensors, in bounded memory and a fixed order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:  # the stages of words read this module too, and start twice as fast without
    import torch
    from torch import Tensor

Job = TypeVar("Job")
Result = TypeVar("Result")
Key = TypeVar("Key")

PATIENCE = 4
"""Batches' worth of tensors that may come in while one waits for others of its shape."""


def ahead(
    pool: Executor, function: Callable[[Job], Result], jobs: Iterable[Job], n: int | Callable[[], int]
) -> Iterator[Result]:
    """Yield `function(job)` of each job in order, while up to `n` more (or what `n()` then says) are worked on."""
    running: deque[Future[Result]] = deque()
    for job in jobs:
        running.append(pool.submit(function, job))
        while len(running) > (n if isinstance(n, int) else n()):
            yield running.popleft().result()
    while running:
        yield running.popleft().result()


def meanwhile(pool: Executor, results: Iterator[Result]) -> Iterator[Result]:
    """Yield what `results` yields, while a thread of `pool` waits for the next one."""
    coming = pool.submit(list, islice(results, 1))
    while got := coming.result():
        coming = pool.submit(list, islice(results, 1))
        yield from got


def batches(
    loaded: Iterable[tuple[Key, Tensor]], size: Callable[[Tensor], int], most_bytes: int
) -> Iterator[tuple[list[Key], list[Tensor]]]:
    """Yield keys and tensors in groups of one shape.

    A tensor is held back for others of its shape until `PATIENCE` batches' worth of tensors came after it, and while
    all that are held back weigh no more than `most_bytes`: then the shape that has waited longest goes. With a `size`
    that stays the same, which tensors share a group depends on their shapes and order alone.

    Parameters
    ----------
    size : function
        How many tensors like this one a group has at most, at least 1.
    most_bytes : int
        One tensor may weigh more.
    """
    waiting: dict[torch.Size, list[tuple[int, Key, Tensor]]] = {}  # the shape that has waited longest first
    held_bytes = 0

    def release(shape: torch.Size) -> tuple[list[Key], list[Tensor]]:
        nonlocal held_bytes
        _, keys, tensors = zip(*waiting.pop(shape), strict=True)
        held_bytes -= sum(tensor.nbytes for tensor in tensors)
        return list(keys), list(tensors)

    for number, (key, tensor) in enumerate(loaded):
        waiting.setdefault(tensor.shape, []).append((number, key, tensor))
        held_bytes += tensor.nbytes
        if len(waiting[tensor.shape]) >= size(tensor):
            yield release(tensor.shape)
        while waiting:
            first, _, longest = next(iter(waiting.values()))[0]
            if held_bytes <= most_bytes and number - first < PATIENCE * size(longest):
                break
            yield release(longest.shape)
    yield from map(release, list(waiting))

"""From a stream of jobs to batches of equal-shaped tensors, in bounded memory and a fixed order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

import torch
from torch import Tensor

Job = TypeVar("Job")
Result = TypeVar("Result")
Key = TypeVar("Key")

MOST_WAITING = 4
"""Batches' worth of tensors that may wait for others of their shape."""


def ahead(pool: Executor, function: Callable[[Job], Result], jobs: Iterable[Job], n: int) -> Iterator[Result]:
    """Yield `function(job)` of each job in order, while up to `n` more are being worked on."""
    running: deque[Future[Result]] = deque()
    for job in jobs:
        running.append(pool.submit(function, job))
        if len(running) > n:
            yield running.popleft().result()
    while running:
        yield running.popleft().result()


def batches(loaded: Iterable[tuple[Key, Tensor]], batch_size: int) -> Iterator[tuple[list[Key], Tensor]]:
    """Yield keys and stacked tensors, up to `batch_size` of one shape.

    Which tensors share a batch depends on their shapes and order alone, not on time. Not more than `MOST_WAITING`
    batches wait for others of their shape: then the shape that has waited longest goes.
    """
    waiting: dict[torch.Size, list[tuple[Key, Tensor]]] = {}
    for key, tensor in loaded:
        waiting.setdefault(tensor.shape, []).append((key, tensor))
        if len(waiting[tensor.shape]) == batch_size:
            yield _stacked(waiting.pop(tensor.shape))
        elif sum(map(len, waiting.values())) > MOST_WAITING * batch_size:
            yield _stacked(waiting.pop(next(iter(waiting))))
    yield from map(_stacked, waiting.values())


def _stacked(group: list[tuple[Key, Tensor]]) -> tuple[list[Key], Tensor]:
    keys, tensors = zip(*group, strict=True)
    return list(keys), torch.stack(tensors)

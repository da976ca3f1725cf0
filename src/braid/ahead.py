"""Work that threads or processes do before its result is asked for: in order, and in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from itertools import islice
from typing import TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


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


def in_turn(
    pool: Executor, function: Callable[[Job], Result], jobs: Iterator[Job], n: Callable[[], int]
) -> Iterator[Result]:
    """Yield `function(job)` of each job in order: up to `n()` are worked on, and none while the caller has a result."""
    while group := list(islice(jobs, n())):
        yield from list(pool.map(function, group))


def meanwhile(pool: Executor, results: Iterator[Result]) -> Iterator[Result]:
    """Yield what `results` yields, while a thread of `pool` waits for the next one."""
    coming = pool.submit(list, islice(results, 1))
    while got := coming.result():
        coming = pool.submit(list, islice(results, 1))
        yield from got

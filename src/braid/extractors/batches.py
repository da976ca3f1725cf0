"""From a stream of jobs to groups of equal-shaped tensors, in bounded memory and a fixed order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import torch
from torch import Tensor

Key = TypeVar("Key")

PATIENCE = 4
"""Batches' worth of tensors that may come in while one waits for others of its shape."""


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

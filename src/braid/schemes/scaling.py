"""How raw inputs become what a scheme reads: in place, a block of rows after the other.

Inputs may lie in a file that is larger than memory, so nothing here has more than a block of them at once. Blocks are
the same wherever the inputs lie, and so are the results, bit for bit.

Letters: N items, D numbers of a modality, T tokens.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

CONSTANT = 1e-6
"""A feature that varies by less than this share of its largest magnitude is a constant with rounding noise."""
BLOCK_BYTES = 2**22
"""Of the float32 numbers of a block, which statistics also have in double precision."""


def blocks(x: np.ndarray) -> Iterator[slice]:
    """Yield the rows of a contiguous array, block by block."""
    n_rows = max(1, BLOCK_BYTES * len(x) // max(1, x.nbytes))
    for start in range(0, len(x), n_rows):
        yield slice(start, start + n_rows)


class Scaling(nn.Module, ABC):
    """Base of what is done to one modality of D numbers."""

    def __init__(self, dim: int) -> None:
        super().__init__()

    def fit(self, x: np.ndarray, which: np.ndarray) -> Scaling:
        """Take what is needed from the rows of float32 [N, …] under the bool mask `which` [N], one at least."""
        return self

    @abstractmethod
    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        """Return float32 [n, …] as a scheme reads it; `present` is bool [n]."""

    def change(self, x: np.ndarray, present: np.ndarray) -> None:
        """Make float32 [N, …] in place what a scheme reads; `present` is bool [N]."""
        for rows in blocks(x):
            part = torch.from_numpy(x[rows])
            part.copy_(self(part, torch.from_numpy(present[rows])))


class Standardiser(Scaling):
    """z = (x - mean) / standard deviation, with the statistics of the training items that have the modality.

    A constant feature, and every feature of an item that lacks the modality, becomes 0.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(dim))

    def fit(self, x: np.ndarray, which: np.ndarray) -> Standardiser:
        mean, deviation, largest = _statistics(lambda: (self.numbers(x[rows][which[rows]]) for rows in blocks(x)))
        scale = np.divide(1, deviation, out=np.zeros_like(deviation), where=deviation > CONSTANT * largest)
        self.mean = torch.from_numpy(mean.astype(np.float32))
        self.scale = torch.from_numpy(scale.astype(np.float32))
        return self

    def numbers(self, x: np.ndarray) -> np.ndarray:
        """Return what is standardised of some rows, float32 [n, D]."""
        return x

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        return torch.where(present[:, None], (x - self.mean) * self.scale, 0)


class TokenStandardiser(Standardiser):
    """The same over all tokens of the training items, float32 [N, T, 2 + D]; times stay, and rows of NaN too."""

    def numbers(self, x: np.ndarray) -> np.ndarray:
        return x[~np.isnan(x[..., 0])][:, 2:]

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        return torch.cat([x[..., :2], (x[..., 2:] - self.mean) * self.scale], dim=2)


class Unscaled(Scaling):
    """Log probabilities as they are; zeros where an item has none."""

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        return torch.where(present[:, None], x, 0)


SCALINGS = {"embedding": Standardiser, "tokens": TokenStandardiser, "scores": Unscaled, "predictions": Unscaled}
"""What a scheme reads → how it is scaled."""


def _statistics(read: Callable[[], Iterator[np.ndarray]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean, standard deviation and largest magnitude of columns, float64 [D], from blocks float32 [n, D]."""
    n, total, largest = 0, np.float64(0), np.float64(0)
    for part in read():
        n += len(part)
        total = _added(total, part.astype(np.float64))
        largest = np.maximum(largest, np.abs(part).max(axis=0, initial=0))
    mean = total / n
    squares = np.float64(0)
    for part in read():
        apart = part - mean
        squares = _added(squares, np.square(apart, out=apart))
    return np.asarray(mean), np.sqrt(squares / n), np.asarray(largest)


def _added(total: Any, part: np.ndarray) -> Any:
    """Return total + the rows of float64 [n, D], in this order, so that blocks add up to what all rows do at once."""
    if not len(part):
        return total
    part[0] += total
    return part.sum(axis=0)

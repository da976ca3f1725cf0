"""What an epoch is: which items in which order, in which steps of the optimiser, on which device.

Everything random follows from the seed and the number of the epoch, never from what came before, so that training that
was interrupted goes on as if it had not been.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

EVALUATED_AT_ONCE = 4
"""Without gradients there is room for so many times the items of a pass of training."""


def random_seed(seed: int, epoch: int, rank: int = 0) -> int:
    """Return the seed of the generators of torch for an epoch (the first is 1; 0 is before it) on a device."""
    return int(np.random.SeedSequence([seed, epoch, rank]).generate_state(1)[0])


def steps(
    n_items: int, batch_size: int, accumulate: int, seed: int, epoch: int, rank: int = 0, world: int = 1
) -> Iterator[tuple[int, list[np.ndarray]]]:
    """Yield the steps of an epoch: how many items each is made from, and the items of each pass on this device.

    The order is a permutation of all items, cut into steps of nearly equal size; a step is cut into passes, and a pass
    into the shares of the devices. A step of fewer items than there are passes times devices has fewer passes.

    Parameters
    ----------
    n_items : int
        At least `world`.
    batch_size : int
        Largest number of items of a step, at least `world`.
    accumulate : int
        Passes of a step.
    seed, epoch : int
        Decide the order.
    rank, world : int
        Number of this device, and how many there are.

    Yields
    ------
    (int, list of int64 [n])
    """
    order = np.random.default_rng([seed, epoch]).permutation(n_items)
    n_steps = min(-(-n_items // batch_size), n_items // world)
    for step in np.array_split(order, n_steps):
        passes = np.array_split(step, min(accumulate, len(step) // world))
        yield len(step), [np.array_split(part, world)[rank] for part in passes]


def rounds(n_items: int, batch_size: int, rank: int = 0, world: int = 1) -> list[np.ndarray]:
    """Return the batches, int64 [n] each, of at most `batch_size` of this device's items, in their order."""
    mine = np.arange(n_items)[rank::world]
    return np.array_split(mine, -(-len(mine) // batch_size)) if len(mine) else []

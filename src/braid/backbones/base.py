"""What every input of a backbone is, for training and for use.

Letters: B items of a batch, S segments (1 but in a temporal segment network), C channels that the network gets, C'
those that are read, T frames of a view, h, w pixels, n samples of a view, P random numbers.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from braid.extractors.plan import Planner, View


class Clips(NamedTuple):
    """A clip as the shards have it; None where an input does not read that shard."""

    decoded: Any = None
    flow: Any = None


class Input(Planner):
    """What is read of an item, and what the network gets of it. `clip` is always a `Clips`.

    Attributes
    ----------
    sources : tuple of str
        Shards that are read: `decoded`, `flow`.
    n_channels : C
    repeats : int
        Samples of an item in an epoch.
    """

    sources: tuple[str, ...]
    n_channels: int
    repeats: int = 1

    @abstractmethod
    def sample(self, clip: Clips, start: float, end: float, rng: np.random.Generator | None) -> Tensor:
        """Return what is read of [start, end) seconds, which the clip covers.

        Parameters
        ----------
        rng : Generator or None
            Draws time and place; None takes those in the middle.

        Returns
        -------
        Tensor
            Pictures, uint8 or float32 [S, T, C', h, w], or sound, float32 [S, n].
        """

    @abstractmethod
    def centred(self, clip: Clips, view: View) -> Tensor:
        """Return what is read of one of the `views`, [T, C', h, w] or [n]."""

    @abstractmethod
    def draw(self, rng: np.random.Generator) -> Tensor:
        """Return the random numbers, float32 [P], that decide how one item is augmented."""

    def encode(self, raw: Tensor, draws: Tensor | None = None) -> Tensor:
        """Return what the network gets, on the device of `raw` and always in float32.

        Parameters
        ----------
        raw : [B, S, ...], what `sample` or, with S = 1, `centred` returned
        draws : float32 [B, P], or None where nothing is augmented

        Returns
        -------
        Tensor
            float32 [B, S, C, T, h, w], of sound [B, S, 1, M, T].
        """
        with torch.no_grad(), torch.autocast(raw.device.type, enabled=False):
            return self._encode(raw, draws)

    @abstractmethod
    def _encode(self, raw: Tensor, draws: Tensor | None) -> Tensor: ...

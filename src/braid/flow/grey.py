"""What the flow methods of OpenCV share: grey frames, and pairs in parallel on the CPU."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import torch
from torch import Tensor

PAIRS_A_THREAD = 8


class GreyMethod(ABC):
    """A method that sees two grey frames at a time.

    Parameters
    ----------
    threads : int
        Pairs that are computed at the same time; OpenCV itself then keeps to one thread a pair.
    """

    def __init__(self, threads: int) -> None:
        cv2.setNumThreads(1)
        self.pairs = PAIRS_A_THREAD * threads
        self._pool = ThreadPoolExecutor(threads)

    @abstractmethod
    def pair(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return the flow, float32 [H, W, 2] in pixels, from one grey frame, uint8 [H, W], to another."""

    def encode(self, frames: np.ndarray) -> list[np.ndarray]:
        """Return the grey picture, uint8 [H, W], of each of `frames`, uint8 RGB [n, H, W, 3]."""
        return [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]

    def match(self, firsts: Sequence[np.ndarray], seconds: Sequence[np.ndarray]) -> Tensor:
        """Return the flow, float32 [n, 2, H, W] in pixels, from each of `firsts` to its fellow in `seconds`."""
        flow = np.empty((len(firsts), 2, *firsts[0].shape), np.float32)
        for into, uv in zip(flow, self._pool.map(self.pair, firsts, seconds), strict=True):
            into[:] = uv.transpose(2, 0, 1)
        return torch.from_numpy(flow)

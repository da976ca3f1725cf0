"""Dense flow by polynomial expansion.

Farnebäck, "Two-frame motion estimation based on polynomial expansion", SCIA 2003, as implemented by OpenCV.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np


class Farneback:
    """Flow of grey frames with ``cv2.calcOpticalFlowFarneback``.

    Parameters
    ----------
    settings : dict
        The config's entry: `pyramid_scale`, `levels`, `window`, `iterations`, `poly_n`, `poly_sigma`.
    threads : int
        Pairs that are computed at the same time; OpenCV itself then keeps to one thread a pair.
    """

    def __init__(self, settings: dict[str, Any], threads: int) -> None:
        self.settings = settings
        self.threads = threads
        cv2.setNumThreads(1)

    def encode(self, frames: np.ndarray) -> list[np.ndarray]:
        """Return the grey picture, uint8 [H, W], of each frame of `frames`, uint8 RGB [n, H, W, 3]."""
        return [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]

    def match(self, firsts: Sequence[np.ndarray], seconds: Sequence[np.ndarray]) -> np.ndarray:
        """Return the flow, float32 [n, 2, H, W] in pixels, from each of `firsts` to its fellow in `seconds`."""
        flow = np.empty((len(firsts), 2, *firsts[0].shape), np.float32)
        with ThreadPoolExecutor(self.threads) as pool:
            for into, uv in zip(flow, pool.map(self._pair, firsts, seconds), strict=True):
                into[:] = uv.transpose(2, 0, 1)
        return flow

    def _pair(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        settings = self.settings
        return cv2.calcOpticalFlowFarneback(
            first,
            second,
            np.empty((*first.shape, 2), np.float32),
            pyr_scale=settings["pyramid_scale"],
            levels=settings["levels"],
            winsize=settings["window"],
            iterations=settings["iterations"],
            poly_n=settings["poly_n"],
            poly_sigma=settings["poly_sigma"],
            flags=0,
        )

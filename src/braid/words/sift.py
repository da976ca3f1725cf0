"""SIFT descriptors (Lowe, IJCV 2004) of sampled frames by OpenCV.

Letters: H, W of a frame, n descriptors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from braid.extractors import sampling
from braid.extractors.plan import Cover, Planner, View

DIMENSION = 128
"""Numbers of a descriptor: 4 × 4 cells of 8 directions."""


class Sift(Planner):
    """Which frames of an item are looked at, and the descriptors of each.

    Parameters
    ----------
    settings : mapping
        `frame_rate` (frames a second of the item, at least one frame) and `descriptors` (most a frame).
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.frame_rate = settings["frame_rate"]
        self.n_descriptors = settings["descriptors"]

    def cover(self, clip: Any) -> Cover:
        return sampling.cover(clip.video.status, clip.video.reason, clip.times)

    def views(self, clip: Any, start: float, end: float) -> list[View]:
        """Return one view for each of n equal parts: the frame in its middle."""
        n = max(round((end - start) * self.frame_rate), 1)
        bounds, frames = sampling.middles(clip.times, start, end, n)
        return [
            View(float(left), float(right), frame[None])
            for left, right, frame in zip(bounds[:-1], bounds[1:], frames, strict=True)
        ]

    def describe(self, frame: np.ndarray) -> np.ndarray:
        """Return the descriptors of the keypoints of most contrast, uint8 [n, 128]; n is 0 where there are none.

        OpenCV keeps all that are as strong as the last one, so that n is a few more than `descriptors` where keypoints
        have several directions. Its numbers are whole, in [0, 255], so that uint8 holds them exactly.

        Parameters
        ----------
        frame : uint8 [H, W, 3], RGB
        """
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        # A SIFT object holds scratch space and serves one thread; to make one costs nothing beside its use.
        _, descriptors = cv2.SIFT.create(self.n_descriptors).detectAndCompute(grey, None)
        if descriptors is None:
            return np.empty((0, DIMENSION), np.uint8)
        return descriptors.astype(np.uint8)


def root_sift(descriptors: np.ndarray) -> np.ndarray:
    """Return descriptors whose Euclidean distance compares as the Hellinger kernel does (Arandjelović, CVPR 2012).

    Parameters
    ----------
    descriptors : uint8 [n, 128]

    Returns
    -------
    np.ndarray
        float32 [n, 128], square roots of shares: each row has the L2 norm 1.
    """
    sums = descriptors.sum(axis=1, keepdims=True, dtype=np.float32)
    return np.sqrt(descriptors / np.maximum(sums, 1))

"""Dense flow by polynomial expansion.

Farnebäck, "Two-frame motion estimation based on polynomial expansion", SCIA 2003, as implemented by OpenCV.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from braid.flow.grey import GreyMethod


class Farneback(GreyMethod):
    """Flow of grey frames with ``cv2.calcOpticalFlowFarneback``.

    Parameters
    ----------
    settings : mapping
        The config's entry: `pyramid_scale`, `levels`, `window`, `iterations`, `poly_n`, `poly_sigma`.
    """

    def __init__(self, settings: Mapping[str, Any], threads: int, device: str, batch_size: int) -> None:
        super().__init__(threads)
        self.settings = settings

    def pair(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
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

"""Dense inverse search.

Kroeger et al., "Fast optical flow using dense inverse search", ECCV 2016, as implemented by OpenCV.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from braid.flow.grey import GreyMethod

PRESETS = {
    "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
    "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
}


class Dis(GreyMethod):
    """Flow of grey frames with ``cv2.DISOpticalFlow``.

    Parameters
    ----------
    settings : mapping
        `preset`: a name in `PRESETS`.
    """

    def __init__(self, settings: Mapping[str, Any], threads: int, device: str, batch_size: int) -> None:
        super().__init__(threads)
        self.preset = PRESETS[settings["preset"]]
        self.own = threading.local()  # the object holds its pyramids, so that each thread needs one

    def pair(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        if not hasattr(self.own, "search"):
            self.own.search = cv2.DISOpticalFlow.create(self.preset)
        search: Any = self.own.search
        return search.calc(first, second, None)  # an array would be where the search begins

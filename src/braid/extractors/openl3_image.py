"""OpenL3's network on pictures (Cramer et al., ICASSP 2019), trained to tell which sound belongs to which video."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from braid.extractors.base import build
from braid.extractors.frames import FrameExtractor
from braid.networks import openl3


class OpenL3Image(FrameExtractor):
    """Tokens are embeddings of crops of frames, in [-1, 1] as in training whatever the size of the frame.

    Parameters
    ----------
    settings : mapping
        `input` and `content` (of the audio network that it was trained beside: mel256, mel128, linear; env, music),
        `embedding_size` (512, 8192), `weights` and what `FrameExtractor` reads.
    """

    half = int

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__(settings)
        self.network = build(settings, lambda: openl3.Image(settings["embedding_size"]))
        self.size = (openl3.SIDE, openl3.SIDE)
        self.mean = self.std = torch.full((3,), 0.5)

    def picture(self, frame: np.ndarray) -> Tensor:
        return openl3.resized(torch.from_numpy(frame).permute(2, 0, 1))

    def forward(self, batch: Tensor) -> tuple[Tensor, None]:
        return self.network(batch), None

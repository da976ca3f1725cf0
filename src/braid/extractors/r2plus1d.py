"""R(2+1)D-18 on RGB frames (Tran et al., CVPR 2018), as torchvision has it: 512 numbers before the classifier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models.video import R2Plus1D_18_Weights, r2plus1d_18

from braid.extractors import sampling
from braid.extractors.base import Cover, Extractor, View, build


class R2Plus1d(Extractor):
    """Tokens are views of `clip_length` frames sampled at `frame_rate`; the embedding is their mean.

    Parameters
    ----------
    settings : mapping
        `weights`, `clip_length` in frames, `frame_rate` in frames a second, `views`.
    """

    short_rule = "its last frame is held"

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.moments = np.arange(settings["clip_length"]) / settings["frame_rate"]
        self.least_seconds = settings["clip_length"] / settings["frame_rate"]
        self.n_views = settings["views"]
        self.preprocess = R2Plus1D_18_Weights.KINETICS400_V1.transforms()
        self.network = self.build(settings).to(memory_format=torch.channels_last_3d)  # a quarter faster on a CPU
        self.network.fc = nn.Identity()

    def build(self, settings: Mapping[str, Any]) -> Any:
        """Return R(2+1)D-18 with its classifier."""
        return build(settings, r2plus1d_18)

    def cover(self, clip: Any) -> Cover:
        return sampling.cover(clip.video.status, clip.video.reason, clip.times)

    def views(self, clip: Any, start: float, end: float) -> list[View]:
        return self.views_of(clip.times, start, end)

    def views_of(self, times: np.ndarray, start: float, end: float) -> list[View]:
        """Return the views of [start, end) seconds of frames, or pairs of them, that appear at `times`."""
        return [
            View(at, min(at + self.least_seconds, end), sampling.on_screen(times, at + self.moments, end))
            for at in sampling.spread(start, end, self.least_seconds, self.n_views).tolist()
        ]

    def load(self, clip: Any, view: View) -> Tensor:
        """Return [3, clip_length, 112, 112]."""
        frames = torch.from_numpy(clip.frames(view.indices))  # [n, H, W, 3]
        return self.preprocess(frames.permute(0, 3, 1, 2))

    def forward(self, batch: Tensor) -> tuple[Tensor, None]:
        return self.network(batch), None

"""What the networks on several frames share: where their views lie in time and space.

Letters: T frames of a view, H, W of a stored frame, h, w of what the network reads.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from braid.extractors import sampling
from braid.extractors.base import Extractor
from braid.extractors.plan import Cover, Planner, View


class VideoPlanner(Planner):
    """Views of T frames at a rate: N_t views in time × N_s crops in space.

    Parameters
    ----------
    settings : mapping
        `clip_length` in frames and `frame_rate` in frames a second (None: as given here), `views`, `placement`,
        `crops`, `crop_layout`.
    clip_length, frame_rate : what the network was trained on
    """

    short_rule = "its last frame is held"

    def __init__(self, settings: Mapping[str, Any], clip_length: int, frame_rate: float) -> None:
        self.clip_length: int = settings["clip_length"] or clip_length
        self.frame_rate: float = settings["frame_rate"] or frame_rate
        self.least_seconds = self.clip_length / self.frame_rate
        self.n_views = settings["views"]
        self.placement = settings["placement"]
        self.n_crops = settings["crops"]
        self.crop_layout = settings["crop_layout"]
        if self.placement == "blocks":
            self.short_rule = "what lacks is black"

    def views_of(self, times: np.ndarray, start: float, end: float) -> list[View]:
        """Return the views of [start, end) seconds of frames, or pairs of them, that appear at `times`."""
        starts = sampling.spread(start, end, self.least_seconds, self.n_views, self.placement, times)
        moments = sampling.moments(self.clip_length, self.frame_rate, self.placement, times)
        after = "black" if self.placement == "blocks" else "hold"
        return [
            View(at, min(at + self.least_seconds, end), sampling.on_screen(times, at + moments, end, after), number)
            for at in starts.tolist()
            for number in range(self.n_crops)
        ]


class VideoExtractor(VideoPlanner, Extractor):
    """A network on such views. A subclass defines `prepare`; its constructor says what the network was trained on."""

    @abstractmethod
    def prepare(self, frames: Tensor, number: int) -> Tensor:
        """Return crop `number` of a view as the network reads it, float32 [3, T, h, w].

        Parameters
        ----------
        frames : uint8 [T, 3, H, W], RGB
        """

    def cover(self, clip: Any) -> Cover:
        return sampling.cover(clip.video.status, clip.video.reason, clip.times)

    def views(self, clip: Any, start: float, end: float) -> list[View]:
        return self.views_of(clip.times, start, end)

    def load(self, clip: Any, view: View) -> Tensor:
        black = view.indices == sampling.BLACK
        frames = clip.frames(np.where(black, 0, view.indices))
        frames[black] = 0
        return self.prepare(torch.from_numpy(frames).permute(0, 3, 1, 2), view.crop)

"""Sound for a backbone: log-mel spectrograms, masked in training.

Letters: B items of a batch, M mel bands, T frames of a spectrogram, n samples of a view, P random numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from braid.backbones import augment
from braid.backbones.base import Clips, Input
from braid.errors import ConfigError
from braid.extractors import sampling
from braid.extractors.audio import SoundPlanner
from braid.extractors.logmel import LogMel
from braid.extractors.plan import Cover, View


class Sound(SoundPlanner, Input):
    """A view of `seconds`, from anywhere in the item in training and from its middle else; a shorter item is repeated.

    Parameters
    ----------
    settings : mapping
        The completed entry of the backbone.
    views : mapping
        `views` and `placement`, which is not `blocks`.

    Raises
    ------
    ConfigError
        The settings make no spectrogram, or the views are counted in frames.
    """

    sources = ("decoded",)
    n_channels = 1
    short_rule = "the sound is repeated"

    def __init__(self, settings: Mapping[str, Any], views: Mapping[str, Any]) -> None:
        if views["placement"] == "blocks":
            raise ConfigError("placement blocks counts frames, which sound has not; choose even or slowfast")
        self.n_views, self.placement = views["views"], views["placement"]
        self.sample_rate = settings["sample_rate"]
        self.length = round(settings["seconds"] * self.sample_rate)
        self.least_seconds = settings["seconds"]
        self.log_mel = LogMel(settings)
        self.n_time_masks, self.n_band_masks = settings["time_masks"], settings["frequency_masks"]
        self.most_frames = settings["time_mask_seconds"] * self.sample_rate / settings["hop_length"]
        self.most_bands = settings["frequency_mask_bands"]

    def cover(self, clip: Clips) -> Cover:
        return super().cover(clip.decoded)

    def views(self, clip: Clips, start: float, end: float) -> list[View]:
        starts = sampling.spread(start, end, self.least_seconds, self.n_views, self.placement, np.empty(0))
        lefts = [self.bounds(clip.decoded, at, end)[0] for at in starts.tolist()]
        return [self.view(clip.decoded, start, end, left, left + self.length) for left in lefts]

    def sample(self, clip: Clips, start: float, end: float, rng: np.random.Generator | None) -> Tensor:
        """Return sound, float32 [1, n], full scale ±1."""
        first, last = self.bounds(clip.decoded, start, end)
        room = max(last - first - self.length, 0)
        left = first + (room // 2 if rng is None else int(rng.integers(room + 1)))
        return self.heard(clip.decoded, self.view(clip.decoded, start, end, left, left + self.length))[None]

    def centred(self, clip: Clips, view: View) -> Tensor:
        return self.heard(clip.decoded, view)

    def draw(self, rng: np.random.Generator) -> Tensor:
        """Return two numbers a mask."""
        return torch.from_numpy(rng.random(2 * (self.n_time_masks + self.n_band_masks), dtype=np.float32))

    def _encode(self, raw: Tensor, draws: Tensor | None) -> Tensor:
        spectrograms = self.log_mel.to(raw.device)(raw.flatten(0, 1))
        if draws is not None:
            masks = draws.unflatten(1, (-1, 2)).unbind(1)
            for i, numbers in enumerate(masks):
                most, dim = (self.most_frames, -1) if i < self.n_time_masks else (self.most_bands, -2)
                spectrograms = augment.mask(spectrograms, numbers, most, dim)
        return spectrograms.unflatten(0, raw.shape[:2])

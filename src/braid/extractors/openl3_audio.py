"""OpenL3's network on sound (Cramer et al., ICASSP 2019), trained to tell which sound belongs to which video."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from braid.extractors.audio import AudioExtractor
from braid.extractors.base import build
from braid.extractors.plan import View
from braid.networks import openl3


class OpenL3Audio(AudioExtractor):
    """Tokens are windows of one second, one every `hop_seconds`, cut as openl3 cuts them.

    With `center` the first window is centred on the item's start and half of it is silence, so that token k stands for
    k × `hop_seconds`; else it begins there. Silence also fills the last window where the sound ends before it does.

    Parameters
    ----------
    settings : mapping
        `input` (`mel256`, `mel128`, `linear`), `content` (`env`, `music`), `embedding_size` (512, 6144),
        `hop_seconds`, `center`, `weights`.
    """

    sample_rate = openl3.SAMPLE_RATE
    least_seconds = openl3.WINDOW / openl3.SAMPLE_RATE
    short_rule = "silence is put around it"

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.hop_seconds = settings["hop_seconds"]
        self.center = settings["center"]
        self.input, self.embedding_size = settings["input"], settings["embedding_size"]
        self.network = build(settings, self._make)

    def _make(self) -> nn.Module:
        return openl3.Audio(self.input, self.embedding_size)

    def views(self, clip: Any, start: float, end: float) -> list[View]:
        first, last = self.bounds(clip, start, end)
        begin = first - openl3.WINDOW // 2 if self.center else first
        hop = round(self.hop_seconds * self.sample_rate)
        lefts = [begin + k * hop for k in range(openl3.n_windows(last - first, self.hop_seconds, self.center))]
        return [self.view(clip, start, end, left, left + openl3.WINDOW) for left in lefts]

    def load(self, clip: Any, view: View) -> Tensor:
        """Return the sound [1, 48000] of a window, with silence where it reaches beyond the item."""
        left, right, first, last = view.indices.tolist()
        low, high = max(left, first), min(right, last)
        sound = np.pad(self.sound(clip, low, high), (low - left, right - high))
        return torch.from_numpy(sound)[None]

    def forward(self, batch: Tensor) -> tuple[Tensor, None]:
        return self.network(batch), None

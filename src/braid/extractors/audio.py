"""What the networks on sound share: the samples of an item, at the rate that the network hears.

A decoded shard keeps one rate for all, so what is stored may be finer than what a network was trained on. It is then
resampled as it is read, with as much sound on both sides as the filter reaches: a window of a clip has the samples
that it would have in the whole clip, resampled at once. A coarser rate is refused: what is above it is lost.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchaudio.transforms import Resample

from braid.errors import FeatureError
from braid.extractors.base import Extractor
from braid.extractors.plan import Cover, Planner, View


class SoundPlanner(Planner):
    """Views of sound. All samples are counted at `sample_rate`, from the first one of the clip.

    Attributes
    ----------
    sample_rate : samples a second that the network hears, set by the subclass
    """

    sample_rate: int

    def cover(self, clip: Any) -> Cover:
        if clip.audio.status in ("missing", "unreadable"):
            return Cover(clip.audio.status, clip.audio.reason, 0.0, 0.0)
        if clip.sample_rate < self.sample_rate:
            raise FeatureError(
                f"the network hears {self.sample_rate} samples a second, the decoded shard has only "
                f"{clip.sample_rate}; set `decode.sample_rate: {self.sample_rate}` or more"
            )
        start = clip.audio_start_seconds
        return Cover(clip.audio.status, clip.audio.reason, start, start + clip.n_samples / clip.sample_rate)

    def bounds(self, clip: Any, start: float, end: float) -> tuple[int, int]:
        """Return [first, last) of the samples in [start, end) seconds, at least one."""
        n_samples = -(-clip.n_samples * self.sample_rate // clip.sample_rate)
        first, last = (round((time - clip.audio_start_seconds) * self.sample_rate) for time in (start, end))
        first = min(max(first, 0), n_samples - 1)
        return first, max(min(last, n_samples), first + 1)

    def view(self, clip: Any, start: float, end: float, left: int, right: int) -> View:
        """Return the view that is samples [left, right), of the item that is [start, end) seconds.

        Its times are those of what it sees of the item; its indices are left, right, and the bounds of the item.
        """
        origin = clip.audio_start_seconds
        return View(
            max(origin + left / self.sample_rate, start),
            min(origin + right / self.sample_rate, end),
            np.array([left, right, *self.bounds(clip, start, end)]),
        )

    def sound(self, clip: Any, first: int, last: int) -> np.ndarray:
        """Return samples [first, last) of a clip, which has all of them: float32 [last - first], full scale ±1."""
        if clip.sample_rate == self.sample_rate:
            return clip.waveform(first, last)
        resample = _resampler(clip.sample_rate, self.sample_rate)
        down, up = clip.sample_rate // resample.gcd, self.sample_rate // resample.gcd
        # `up` samples come from `down` stored ones, and from as many more on both sides as the filter reaches
        begin = max(first // up - -(-resample.width // down), 0)
        end = -(-last // up) * down + resample.width
        stored = torch.from_numpy(clip.waveform(begin * down, end))
        return resample(stored)[first - begin * up : last - begin * up].numpy()

    def heard(self, clip: Any, view: View) -> Tensor:
        """Return the samples of a view, float32 [n], full scale ±1; where the item has fewer, they are repeated."""
        left, right, first, last = view.indices.tolist()
        return torch.from_numpy(np.resize(self.sound(clip, max(left, first), min(right, last)), right - left))


class AudioExtractor(SoundPlanner, Extractor):
    """A network on sound."""


@lru_cache
def _resampler(stored: int, wanted: int) -> Resample:
    """Return a band-limited resampler with the filter that resampy and librosa call `kaiser_best`."""
    return Resample(
        stored,
        wanted,
        resampling_method="sinc_interp_kaiser",
        lowpass_filter_width=64,
        rolloff=0.9475937167399596,
        beta=14.769656459379492,
    )

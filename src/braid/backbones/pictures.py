"""Frames, flow, and both, for a backbone.

Letters: B items of a batch, S segments, T frames of a view, F frames that are read for it (T, or T + 1), C channels,
H, W pixels of a stored frame, h, w of what the network sees.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from braid.backbones import augment, crops
from braid.backbones.base import Clips, Input
from braid.backbones.preset import preset
from braid.errors import ConfigError
from braid.extractors import sampling
from braid.extractors.crops import is_mirrored
from braid.extractors.plan import Cover, View
from braid.extractors.video import VideoPlanner
from braid.flow.farneback import Farneback
from braid.flow.picture import flow_picture

FARNEBACK = {"pyramid_scale": 0.5, "levels": 3, "window": 15, "iterations": 3, "poly_n": 5, "poly_sigma": 1.2}
"""Settings of flow that is computed as frames are read: OpenCV's tutorial, and the defaults of a stored pass."""


class Pictures(VideoPlanner, Input):
    """Views of pictures that a subclass reads, in equal parts of an item in training.

    A segment's view begins at a random one of the frames that leave room for it in its part, the last of them being the
    last that leaves room in the item (Wang et al., ECCV 2016); else at the one in the middle of these. All of an item's
    segments have the same random crop. Where an item is shorter than a view, its last frame is held.

    Parameters
    ----------
    settings : mapping
        The completed entry of the backbone.
    views : mapping
        `views`, `placement`, `crops` and `crop_layout` of `views`.
    """

    n_flow = 0
    extra_frames = 0
    """Frames that are read for a view beside the T that it has."""

    def __init__(self, settings: Mapping[str, Any], views: Mapping[str, Any]) -> None:
        self.check(settings)
        self.preset = preset(settings)
        length = self.preset.clip_length + self.extra_frames
        super().__init__({**views, "clip_length": length, "frame_rate": self.preset.frame_rate}, 0, 0)
        self.n_segments = settings["segments"]
        self.repeats = settings.get("frames_an_epoch", 1)
        self.scale, self.ratio = settings["scale"], settings["ratio"]
        self.mirror, self.jitter = settings["mirror"], settings["jitter"]
        self.bound = settings["bound"]
        self.encoding = settings["encoding"]
        self.n_channels = 3

    @abstractmethod
    def times(self, clip: Clips, end: float) -> np.ndarray:
        """Return when each appears of what can be read of an item that ends at `end` seconds, float64 seconds."""

    @abstractmethod
    def read(self, clip: Clips, indices: np.ndarray) -> list[Tensor]:
        """Return what is seen of frames, int64 [S, F], uint8 or float32 [S · T, C', H, W], each on its own grid."""

    def join(self, parts: list[Tensor]) -> Tensor:
        """Return what was read, now on one grid, as one tensor [S · T, C', h, w]."""
        return parts[0]

    def views(self, clip: Clips, start: float, end: float) -> list[View]:
        """Return the views of [start, end) seconds; a view of one frame is in the middle of its part."""
        times = self.times(clip, end)
        if self.clip_length > 1:
            return self.views_of(times, start, end)
        within = (times >= start - sampling.TIME_ERROR_SECONDS) & (times < end - sampling.TIME_ERROR_SECONDS)
        n = max(int(within.sum()), 1) if self.n_views == "all" else int(self.n_views)
        bounds, frames = sampling.middles(times, start, end, n)
        return [
            View(float(left), float(right), frame[None], number)
            for left, right, frame in zip(bounds[:-1], bounds[1:], frames, strict=True)
            for number in range(self.n_crops)
        ]

    def sample(self, clip: Clips, start: float, end: float, rng: np.random.Generator | None) -> Tensor:
        times = self.times(clip, end)
        moments = sampling.moments(self.clip_length, self.frame_rate, "even", times)
        starts = self.starts(times, start, end, rng)
        pictures = self.read(clip, sampling.on_screen(times, starts[:, None] + moments, end))
        side = self.preset.crop
        if rng is None:
            parts = [crops.fixed(each, self.preset.short_side, side, 0, 1, "line") for each in pictures]
        else:
            height, width = pictures[-1].shape[-2:]
            box = crops.random_box(height, width, self.scale, self.ratio, rng)
            parts = [crops.part(each, box, side) for each in pictures]
        return self.join(parts).unflatten(0, (self.n_segments, -1))

    def starts(self, times: np.ndarray, start: float, end: float, rng: np.random.Generator | None) -> np.ndarray:
        """Return when the view of each segment starts, float64 [S] seconds."""
        frame = sampling.frame_seconds(times)
        single = self.clip_length == 1
        room = max(end - start - (frame if single else self.least_seconds), 0) + frame
        if rng is not None:
            within = rng.random(self.n_segments)
        else:  # of whole frames that start in a part, the middle is half a frame before that of the part
            within = 0.5 - (0 if single else frame / 2) * self.n_segments / room
        later = (np.arange(self.n_segments) + within) * room / self.n_segments
        return start + np.maximum(later, 0)  # a part may be less than a frame

    def centred(self, clip: Clips, view: View) -> Tensor:
        black = view.indices == sampling.BLACK
        pictures = self.read(clip, np.where(black, 0, view.indices)[None])
        side = self.preset.crop
        parts = [
            crops.fixed(each, self.preset.short_side, side, view.crop, self.n_crops, self.crop_layout)
            for each in pictures
        ]
        raw = self.join(parts)
        last = len(black) - self.extra_frames
        raw[torch.from_numpy(black[:last] | black[self.extra_frames :])] = 0
        if self.n_flow and is_mirrored(view.crop, self.crop_layout):
            raw[:, 0] *= -1
        return raw

    def draw(self, rng: np.random.Generator) -> Tensor:
        """Return whether the item is mirrored, 0 or 1, then factors of brightness, contrast and saturation."""
        mirrored = float(rng.random() < self.mirror)
        factors = 1 + self.jitter * rng.uniform(-1, 1, 3)
        return torch.tensor([mirrored, *factors], dtype=torch.float32)

    def _encode(self, raw: Tensor, draws: Tensor | None) -> Tensor:
        x = raw
        if draws is not None and self.mirror:  # before bytes become numbers of four times their size
            x = augment.mirror(x, draws[:, 0] > 0, self.n_flow)
        x = x.to(torch.float32)
        factors = draws[:, 1:4] if draws is not None and self.jitter else None
        return self._channels(x, factors).movedim(3, 2)

    @abstractmethod
    def _channels(self, x: Tensor, factors: Tensor | None) -> Tensor:
        """Return what was read and mirrored, float32 [B, S, T, C', h, w], with the C channels of the network."""

    def _picture(self, x: Tensor, factors: Tensor | None, scale: float = 255.0) -> Tensor:
        """Return RGB or grey, float32 [..., 3 or 1, h, w] in [0, scale], with the network's statistics."""
        mean, std = (np.array(values) for values in (self.preset.mean, self.preset.std))
        if x.shape[-3] == 1:
            mean, std = mean.mean(keepdims=True), std.mean(keepdims=True)
        if factors is not None:
            x, scale = augment.jitter(x / scale, factors), 1.0
        return (x - _a_channel(mean * scale, x)).mul_(_a_channel(1 / (std * scale), x))

    def _motion(self, x: Tensor) -> Tensor:
        """Return flow, float32 [..., 2, h, w] in pixels, clipped to ± bound and divided by it."""
        return (x / self.bound).clamp_(-1, 1)


class Rgb(Pictures):
    """Frames."""

    sources = ("decoded",)

    def cover(self, clip: Clips) -> Cover:
        return sampling.cover(clip.decoded.video.status, clip.decoded.video.reason, clip.decoded.times)

    def times(self, clip: Clips, end: float) -> np.ndarray:
        return clip.decoded.times

    def read(self, clip: Clips, indices: np.ndarray) -> list[Tensor]:
        return [torch.from_numpy(clip.decoded.frames(indices.ravel())).permute(0, 3, 1, 2)]

    def _channels(self, x: Tensor, factors: Tensor | None) -> Tensor:
        return self._picture(x, factors)


class Flow(Pictures):
    """Stored flow: pairs of frames as they follow each other in the clip, at the rate of the view."""

    sources: tuple[str, ...] = ("flow",)
    n_flow = 2
    short_rule = "its last pair of frames is held"

    def __init__(self, settings: Mapping[str, Any], views: Mapping[str, Any]) -> None:
        super().__init__(settings, views)
        self.n_channels = 2 if self.encoding == "two" else 3

    @classmethod
    def check(cls, settings: Mapping[str, Any]) -> None:
        if settings["jitter"]:
            raise ConfigError(
                f"input {settings['input']} has no colours that jitter {settings['jitter']:g} could change"
            )

    def cover(self, clip: Clips) -> Cover:
        return sampling.cover_pairs(clip.flow.status, clip.flow.reason, clip.flow.times)

    def times(self, clip: Clips, end: float) -> np.ndarray:
        return sampling.pair_times(clip.flow.times, end)

    def read(self, clip: Clips, indices: np.ndarray) -> list[Tensor]:
        return [torch.from_numpy(clip.flow.pairs(indices.ravel()))]

    def _channels(self, x: Tensor, factors: Tensor | None) -> Tensor:
        if self.encoding == "picture":
            return self._picture(flow_picture(x, self.bound), None, 1.0)
        motion = self._motion(x)
        if self.encoding == "two":
            return motion
        u = motion[..., :1, :, :]
        third = motion.mean(-3, keepdim=True) if self.encoding == "mean" else torch.zeros_like(u)
        return torch.cat([motion, third], dim=-3)


class StridedFlow(Flow):
    """Farnebäck flow from each frame of a view to the next, computed as they are read, at the size of the shard."""

    sources = ("decoded",)
    extra_frames = 1
    short_rule = "its last frame is held, after which nothing moves"

    def cover(self, clip: Clips) -> Cover:
        return sampling.cover_pairs(clip.decoded.video.status, clip.decoded.video.reason, clip.decoded.times)

    def times(self, clip: Clips, end: float) -> np.ndarray:
        return clip.decoded.times

    def read(self, clip: Clips, indices: np.ndarray) -> list[Tensor]:
        wanted, places = np.unique(indices, return_inverse=True)
        places = places.reshape(indices.shape)
        grey = _farneback().encode(clip.decoded.frames(wanted))
        firsts, seconds = places[:, :-1].ravel(), places[:, 1:].ravel()
        flow = torch.zeros(len(firsts), 2, *grey[0].shape)
        moved = firsts != seconds
        if moved.any():
            flow[torch.from_numpy(moved)] = _farneback().match(
                [grey[i] for i in firsts[moved]], [grey[i] for i in seconds[moved]]
            )
        return [flow]


class ZerosGrey(Pictures):
    """Zeros in place of flow, and the grey frame (ITU-R BT.601) that a pair starts with: the control of `FlowGrey`."""

    sources = ("decoded", "flow")

    def cover(self, clip: Clips) -> Cover:
        return sampling.cover_pairs(clip.flow.status, clip.flow.reason, clip.flow.times)

    def times(self, clip: Clips, end: float) -> np.ndarray:
        return sampling.pair_times(clip.flow.times, end)

    def read(self, clip: Clips, indices: np.ndarray) -> list[Tensor]:
        frames = clip.decoded.frames(indices.ravel())
        return [torch.from_numpy(np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]))[:, None]]

    def _channels(self, x: Tensor, factors: Tensor | None) -> Tensor:
        grey = self._picture(x, factors)
        return torch.cat([torch.zeros_like(grey), torch.zeros_like(grey), grey], dim=-3)


class FlowGrey(ZerosGrey):
    """Stored flow, and the grey frame that a pair starts with."""

    n_flow = 2

    def read(self, clip: Clips, indices: np.ndarray) -> list[Tensor]:
        return [torch.from_numpy(clip.flow.pairs(indices.ravel())), *super().read(clip, indices)]

    def join(self, parts: list[Tensor]) -> Tensor:
        return torch.cat([part.to(torch.float32) for part in parts], dim=1)

    def _channels(self, x: Tensor, factors: Tensor | None) -> Tensor:
        return torch.cat([self._motion(x[..., :2, :, :]), self._picture(x[..., 2:, :, :], factors)], dim=-3)


def _a_channel(values: np.ndarray, x: Tensor) -> Tensor | float:
    """Return a value for each channel of x; where all are the same a number, which is faster."""
    return float(values[0]) if (values == values[0]).all() else x.new_tensor(values)[:, None, None]


@lru_cache
def _farneback() -> Farneback:
    return Farneback(FARNEBACK, threads=1, device="cpu", batch_size=1)


INPUTS: dict[str, type[Pictures]] = {
    "rgb": Rgb,
    "flow": Flow,
    "strided_flow": StridedFlow,
    "flow_grey": FlowGrey,
    "zeros_grey": ZerosGrey,
}

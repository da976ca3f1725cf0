"""R(2+1)D-18 (Tran et al., CVPR 2018) on optical flow: torchvision's, with a first convolution for two channels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models.video import R2Plus1D_18_Weights, r2plus1d_18

from braid.extractors import sampling
from braid.extractors.base import build
from braid.extractors.crops import crop, is_mirrored
from braid.extractors.plan import Cover, View
from braid.extractors.video import VideoExtractor
from braid.flow import transform

STEM = "stem.0.weight"


class FlowR2Plus1d(VideoExtractor):
    """Tokens are views of `clip_length` pairs of frames sampled at `frame_rate`, 512 numbers before the classifier.

    Parameters
    ----------
    settings : mapping
        `weights`, what `VideoExtractor` reads, and `bound` in pixels of the network's 128×171 grid: flow is clipped to
        ± bound and divided by it.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__(settings, 16, 15)
        self.short_rule = self.short_rule.replace("frame", "pair of frames")
        self.bound = settings["bound"]
        self.preset: Any = R2Plus1D_18_Weights.KINETICS400_V1.transforms()
        network: Any = build(settings, _two_channels, adapt_stem)
        network.fc = nn.Identity()  # its classes are those of pictures
        self.network = network

    def cover(self, clip: Any) -> Cover:
        return sampling.cover_pairs(clip.status, clip.reason, clip.times)

    def views(self, clip: Any, start: float, end: float) -> list[View]:
        return self.views_of(sampling.pair_times(clip.times, end), start, end)

    def load(self, clip: Any, view: View) -> Tensor:
        still = view.indices == sampling.BLACK  # where there is no picture, nothing moves
        pairs = clip.pairs(np.where(still, 0, view.indices))
        pairs[still] = 0
        return self.prepare(torch.from_numpy(pairs), view.crop)

    def prepare(self, frames: Tensor, number: int) -> Tensor:
        """Return a crop of flow, float32 [T, 2, H, W] in pixels, as [2, T, 112, 112] in [-1, 1]."""
        flow = transform.resize(frames, tuple(self.preset.resize_size))
        flow = crop(flow, tuple(self.preset.crop_size), number, self.n_crops, self.crop_layout)
        if is_mirrored(number, self.crop_layout):
            flow = flow * torch.tensor([-1.0, 1.0])[:, None, None]
        return (flow / self.bound).clamp(-1, 1).transpose(0, 1)

    def forward(self, batch: Tensor) -> tuple[Tensor, None]:
        return self.network(batch), None


def adapt_stem(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return `state` with RGB kernels of the first convolution replaced by their mean, once for u and once for v.

    This is the cross-modality initialisation of TSN (Wang et al., ECCV 2016). A file for two channels stays as it is.
    """
    kernels = state.get(STEM)
    if kernels is None or kernels.shape[1] != 3:
        return state
    return {**state, STEM: kernels.mean(dim=1, keepdim=True).repeat(1, 2, 1, 1, 1)}


def _two_channels() -> nn.Module:
    network: Any = r2plus1d_18()
    rgb = network.stem[0]
    network.stem[0] = nn.Conv3d(2, rgb.out_channels, rgb.kernel_size, rgb.stride, rgb.padding, bias=False)
    nn.init.kaiming_normal_(network.stem[0].weight, mode="fan_out", nonlinearity="relu")  # as the other convolutions
    return network

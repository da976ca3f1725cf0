"""R(2+1)D-18 on optical flow: the network of `r2plus1d` with a first convolution that reads two channels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.video import r2plus1d_18
from torchvision.transforms.functional import center_crop

from braid.extractors import sampling
from braid.extractors.base import Cover, View, build
from braid.extractors.r2plus1d import R2Plus1d
from braid.flow import transform

STEM = "stem.0.weight"


class FlowR2Plus1d(R2Plus1d):
    """Tokens are views of `clip_length` pairs of frames sampled at `frame_rate`; the embedding is their mean.

    Parameters
    ----------
    settings : mapping
        As for `R2Plus1d`, and `bound` in pixels of the network's 128×171 grid: flow is clipped to ± bound and
        divided by it.
    """

    short_rule = "its last pair of frames is held"

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__(settings)
        self.bound = settings["bound"]

    def build(self, settings: Mapping[str, Any]) -> Any:
        return build(settings, _two_channels, adapt_stem)

    def cover(self, clip: Any) -> Cover:
        status, reason = clip.status, clip.reason
        if clip.n_pairs == 0 and status not in ("missing", "unreadable"):
            status, reason = "missing", "; ".join(filter(None, [reason, "there is no pair of frames"]))
        return sampling.cover(status, reason, clip.times)

    def views(self, clip: Any, start: float, end: float) -> list[View]:
        return self.views_of(clip.times[:-1], start, end)

    def load(self, clip: Any, view: View) -> Tensor:
        """Return [2, clip_length, 112, 112] in [-1, 1]."""
        flow = torch.from_numpy(clip.pairs(view.indices))  # [n, 2, h, w]
        flow = center_crop(transform.resize(flow, tuple(self.preprocess.resize_size)), self.preprocess.crop_size)
        return (flow / self.bound).clamp(-1, 1).transpose(0, 1)


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

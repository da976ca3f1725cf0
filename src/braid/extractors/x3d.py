"""X3D (Feichtenhofer, CVPR 2020), trained on Kinetics-400, with the preprocessing of SlowFast, where it was trained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from braid.extractors.base import build
from braid.extractors.crops import crop
from braid.extractors.video import VideoExtractor
from braid.networks.x3d import ARCHITECTURES, FRAME_RATE, MEAN, STD, X3D


class X3d(VideoExtractor):
    """Tokens are the 2048 numbers before the classifier, logits those of Kinetics-400 or of the classes of a file.

    Parameters
    ----------
    settings : mapping
        `architecture`, `weights`, what `VideoExtractor` reads, and `crop`: pixels on a side of a crop, and of the
        shorter side of the picture that it is cut from (None: as the official weights were tested).
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        architecture = ARCHITECTURES[settings["architecture"]]
        super().__init__(settings, architecture.clip_length, FRAME_RATE / architecture.stride)
        self.crop_side = settings["crop"] or architecture.test_crop
        self.short_side = settings["crop"] or architecture.test_side
        self.network = build(settings, partial(X3D, settings["architecture"]), classifier="blocks.5.proj")

    def prepare(self, frames: Tensor, number: int) -> Tensor:
        pictures = scale_short_side(frames.to(torch.float32), self.short_side)
        size = (self.crop_side, self.crop_side)
        pictures = crop(pictures, size, number, self.n_crops, self.crop_layout, half=math.ceil).transpose(0, 1)
        # SlowFast does this first; scaling is linear, so the numbers are the same up to rounding, and there are fewer.
        return pictures.div(255).sub_(MEAN).div_(STD)

    def forward(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        return self.network(batch)


def scale_short_side(pictures: Tensor, side: int) -> Tensor:
    """Return pictures, float32 [T, 3, H, W], with a shorter side of `side` pixels and the longer one rounded down.

    Bilinear without antialiasing, on floating-point numbers, as in SlowFast.
    """
    h, w = pictures.shape[-2:]
    if min(h, w) == side:
        return pictures
    size = (side, math.floor(w / h * side)) if h <= w else (math.floor(h / w * side), side)
    return interpolate(pictures, size, mode="bilinear")

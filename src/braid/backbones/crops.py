"""Parts of pictures and of flow, resized to what a network sees.

Pictures are resized as bytes, flow as numbers in pixels, both bilinearly over the area of the new pixel where the grid
becomes coarser (`torch.nn.functional.interpolate` with antialiasing): what is true of a picture then is of its flow.
On bytes in the order of the decoder, RGB last, that is as fast as OpenCV, whose bilinear interpolation has no
antialiasing.

Letters: T frames, C channels, H, W pixels of a stored frame, h, w those of a part.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor
from torch.nn import functional

from braid.extractors.crops import crop
from braid.flow import transform

ATTEMPTS = 10
"""Boxes that are drawn before the largest one in the centre is taken."""


class Box(NamedTuple):
    """A part of a picture, in pixels of a picture that is `height` × `width`."""

    top: int
    left: int
    h: int
    w: int
    height: int
    width: int

    def cut(self, pictures: Tensor) -> Tensor:
        """Return this part of [..., H, W], on whatever grid: its edges are rounded to pixels."""
        down, across = pictures.shape[-2] / self.height, pictures.shape[-1] / self.width
        top, left = round(self.top * down), round(self.left * across)
        bottom, right = round((self.top + self.h) * down), round((self.left + self.w) * across)
        top, left = min(top, pictures.shape[-2] - 1), min(left, pictures.shape[-1] - 1)
        return pictures[..., top : max(bottom, top + 1), left : max(right, left + 1)]


def random_box(
    height: int, width: int, scale: Sequence[float], ratio: Sequence[float], rng: np.random.Generator
) -> Box:
    """Return a random part of a picture of `height` × `width`, drawn as torchvision's RandomResizedCrop does it.

    Its share of the area is uniform in `scale`, the logarithm of width over height uniform between those of `ratio`,
    its place uniform. If `ATTEMPTS` such boxes do not fit, it is the largest one in the centre within `ratio`.
    """
    for _ in range(ATTEMPTS):
        area = height * width * rng.uniform(scale[0], scale[1])
        shape = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
        w, h = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
        if 0 < w <= width and 0 < h <= height:
            top, left = rng.integers(height - h + 1), rng.integers(width - w + 1)
            return Box(int(top), int(left), h, w, height, width)
    h, w = height, width
    if width / height < ratio[0]:
        h = round(width / ratio[0])
    elif width / height > ratio[1]:
        w = round(height * ratio[1])
    return Box((height - h) // 2, (width - w) // 2, h, w, height, width)


def resize(pictures: Tensor, size: tuple[int, int]) -> Tensor:
    """Return pictures, uint8 [T, C, H, W], as [T, C, h, w]."""
    if tuple(pictures.shape[-2:]) == size:
        return pictures
    return functional.interpolate(pictures, size, mode="bilinear", align_corners=False, antialias=True)


def part(values: Tensor, box: Box, side: int) -> Tensor:
    """Return a part of pictures, uint8 [T, C, H, W], or of flow, float32 [T, 2, H, W] in pixels, as [T, C, side, side].

    Flow is in pixels of what comes back: u is multiplied by the ratio of widths, v by that of heights.
    """
    return _resize(box.cut(values), (side, side))


def fixed(values: Tensor, short_side: int, side: int, number: int, n: int, layout: str) -> Tensor:
    """Return crop `number` of `n` of pictures or flow as in `part`, the shorter side of the whole being `short_side`.

    The longer side keeps the shape, rounded. A crop that `layout` mirrors has mirrored columns alone: u of flow is to
    be negated by the caller.
    """
    h, w = values.shape[-2:]
    size = (short_side, round(w / h * short_side)) if h <= w else (round(h / w * short_side), short_side)
    return crop(_resize(values, size), (side, side), number, n, layout)


def _resize(values: Tensor, size: tuple[int, int]) -> Tensor:
    return transform.resize(values, size) if values.is_floating_point() else resize(values, size)

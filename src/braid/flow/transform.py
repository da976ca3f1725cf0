"""Geometry of flow: its values are vectors, so they follow what is done to the picture."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def resize(flow: Tensor, size: tuple[int, int]) -> Tensor:
    """Return `flow` on another grid, in pixels of that grid.

    Parameters
    ----------
    flow : Tensor
        Float [..., 2, H, W], u right and v down in pixels.
    size : tuple of int
        (h, w) in pixels. Interpolation is bilinear, over the area of a new pixel where the grid becomes coarser.

    Returns
    -------
    Tensor
        Float [..., 2, h, w]: u times w / W and v times h / H.
    """
    *batch, _, height, width = flow.shape
    if (height, width) == tuple(size):
        return flow
    flat = flow.reshape(-1, 2, height, width)
    resized = functional.interpolate(flat, size, mode="bilinear", align_corners=False, antialias=True)
    ratio = torch.tensor([size[1] / width, size[0] / height], dtype=flow.dtype, device=flow.device)
    return (resized * ratio[:, None, None]).reshape(*batch, 2, *size)


def mirror(flow: Tensor) -> Tensor:
    """Return the flow, [..., 2, H, W], of the pictures mirrored left to right: columns reversed and u negated."""
    sign = torch.tensor([-1, 1], dtype=flow.dtype, device=flow.device)
    return flow.flip(-1) * sign[:, None, None]

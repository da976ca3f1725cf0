"""What is done to the items of a batch in training, on their device.

Every function takes the random numbers that it wants, a row an item, so that they can be drawn where the item is read.

Letters: B items of a batch, C channels, M mel bands, T frames.
"""

from __future__ import annotations

import torch
from torch import Tensor

LUMA = (0.2989, 0.587, 0.114)
"""Share of red, green and blue in grey (ITU-R BT.601), to the digits that torchvision has."""


def mirror(x: Tensor, chosen: Tensor, n_flow: int = 0) -> Tensor:
    """Return a batch of which some items are mirrored left to right.

    Parameters
    ----------
    x : uint8 (pictures alone) or float [B, ..., C, H, W], finite
    chosen : bool [B]
    n_flow : int
        2 where the first two channels are flow, whose u is negated; else 0.
    """
    mirrored = x.flip(-1)
    if n_flow:
        mirrored[..., 0, :, :].neg_()
    return torch.where(
        chosen.view(-1, *[1] * (x.dim() - 1)), mirrored, x
    )  # no waiting for the device, as x[chosen] has


def jitter(pictures: Tensor, factors: Tensor) -> Tensor:
    """Return pictures of other brightness, contrast and saturation, clipped to [0, 1] after each.

    As torchvision's `adjust_brightness`, `adjust_contrast` and `adjust_saturation` in that order: pictures are blended
    with black, with their own mean grey, and with themselves in grey. A factor of 1 changes nothing.

    Parameters
    ----------
    pictures : float [B, ..., C, H, W] in [0, 1], RGB or, with one channel, grey
    factors : float [B, 3], at least 0; one item has the same in all its pictures
    """
    brightness, contrast, saturation = factors.to(pictures).view(-1, 3, *[1] * (pictures.dim() - 1)).unbind(1)
    pictures = (pictures * brightness).clamp(0, 1)
    pictures = torch.lerp(_grey(pictures).mean(dim=(-2, -1), keepdim=True), pictures, contrast).clamp(0, 1)
    return torch.lerp(_grey(pictures), pictures, saturation).clamp(0, 1)


def _grey(pictures: Tensor) -> Tensor:
    if pictures.shape[-3] == 1:
        return pictures
    return (pictures * pictures.new_tensor(LUMA)[:, None, None]).sum(-3, keepdim=True)


def mask(spectrograms: Tensor, numbers: Tensor, most: float, dim: int) -> Tensor:
    """Return spectrograms with a stretch of one axis set to their mean (SpecAugment, Park et al., Interspeech 2019).

    Parameters
    ----------
    spectrograms : float [B, 1, M, T]
    numbers : float [B, 2] in [0, 1)
        Width of the stretch in `most`, and its place in what is left, both rounded down as torchaudio's
        `mask_along_axis` does it.
    most : rows or columns that a stretch has at most
    dim : -2 for mel bands, -1 for time
    """
    size = spectrograms.shape[dim]
    width, place = numbers.to(spectrograms).unbind(1)
    width = width * min(most, size)
    first = (place * (size - width)).floor()
    at = torch.arange(size, device=spectrograms.device)
    inside = (at >= first[:, None]) & (at < (first + width.floor())[:, None])
    inside = inside[:, None, :, None] if dim == -2 else inside[:, None, None, :]
    return torch.where(inside, spectrograms.mean(dim=(1, 2, 3), keepdim=True), spectrograms)

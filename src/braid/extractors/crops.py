"""Where the crops of a picture lie: N_s views in space.

Letters: H, W height and width of a picture, h, w those of a crop.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.transforms.functional import center_crop

CORNERS = 5
"""Centre and corners; the crops after them are these again, mirrored."""


def crop(pictures: Tensor, size: tuple[int, int], number: int, n: int, layout: str) -> Tensor:
    """Return crop `number` of `n` of pictures, uint8 or float [..., H, W] → [..., h, w].

    Parameters
    ----------
    size : (h, w); a picture that is smaller is an error of the caller
    number : int in [0, n)
    layout : str
        `line`: crops lie evenly along the longer side, first to last, as SlowFast has them with n = 3; one alone is in
        the centre. `corners`: the first n of centre, bottom right, bottom left, top right, top left (torchvision's
        FiveCrop from its end), then of the same mirrored. The centre is torchvision's.
    """
    h, w = size
    if layout == "line":
        if n == 1:
            return center_crop(pictures, [h, w])
        across, down = pictures.shape[-1] - w, pictures.shape[-2] - h
        left = _ceil(across * number, n - 1) if across >= down else _ceil(across, 2)
        top = _ceil(down, 2) if across >= down else _ceil(down * number, n - 1)
        return _window(pictures, top, left, h, w)
    place = number % CORNERS
    if place == 0:
        cut = center_crop(pictures, [h, w])
    else:
        bottom, right = pictures.shape[-2] - h, pictures.shape[-1] - w
        cut = _window(pictures, bottom if place in (1, 2) else 0, right if place in (1, 3) else 0, h, w)
    return cut.flip(-1) if is_mirrored(number, layout) else cut


def is_mirrored(number: int, layout: str) -> bool:
    """Return whether a crop is mirrored, which turns the horizontal part of motion around."""
    return layout == "corners" and number >= CORNERS


def _ceil(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)


def _window(pictures: Tensor, top: int, left: int, h: int, w: int) -> Tensor:
    return torch.narrow(torch.narrow(pictures, -2, top, h), -1, left, w)

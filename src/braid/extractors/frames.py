"""What the networks on single frames share: which frames an item gives, and how they reach the network.

Letters: H, W of a stored frame, h, w of what the network reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor

from braid.extractors import sampling
from braid.extractors.base import Extractor
from braid.extractors.crops import crop
from braid.extractors.plan import Cover, View


class FrameExtractor(Extractor):
    """A network on single frames: tokens are crops of frames, each frame in the middle of its part of the item.

    A subclass sets `resize`, `size`, `mean` and `std` in its constructor, or lets `follow` do it, besides `network`.

    Parameters
    ----------
    settings : mapping
        `frames` (how many an item) or `frame_rate` (frames a second of the item instead, or None), `crops`,
        `crop_layout`.

    Attributes
    ----------
    resize : function
        From the stored frame, a PIL image, to the one that crops are cut from, as the network's own transform does it.
    size : (h, w) of a crop
    mean, std : float32 [3], of RGB in [0, 1]
    half : where the crop in the centre begins, see `braid.extractors.crops.crop`
    """

    resize: Callable[[Image.Image], Image.Image]
    size: tuple[int, int]
    mean: Tensor
    std: Tensor
    half: Callable[[float], int] = round

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.n_frames = settings["frames"]
        self.frame_rate = settings["frame_rate"]
        self.n_crops = settings["crops"]
        self.crop_layout = settings["crop_layout"]

    def follow(self, transform: Any) -> None:
        """Take `resize`, `size`, `mean` and `std` from the transform that timm or open_clip has for evaluation.

        Its steps are resize, crop (with borders around a smaller picture, or none where the resized picture is the
        input itself), conversions and normalise.
        """
        resize, cut, *_, normalise = transform.transforms
        self.size = tuple(cut.size if hasattr(cut, "size") else resize.size)
        self.resize = partial(_with_borders, resize, cut) if hasattr(cut, "fill") else resize
        self.mean, self.std = (torch.as_tensor(each, dtype=torch.float32) for each in (normalise.mean, normalise.std))

    def cover(self, clip: Any) -> Cover:
        return sampling.cover(clip.video.status, clip.video.reason, clip.times)

    def views(self, clip: Any, start: float, end: float) -> list[View]:
        """Return the crops of the frame in the middle of each of n equal parts."""
        n = max(round((end - start) * self.frame_rate), 1) if self.frame_rate else self.n_frames
        bounds, frames = sampling.middles(clip.times, start, end, n)
        return [
            View(float(left), float(right), frame[None], number)
            for left, right, frame in zip(bounds[:-1], bounds[1:], frames, strict=True)
            for number in range(self.n_crops)
        ]

    def picture(self, frame: np.ndarray) -> Tensor:
        """Return what crops are cut from, uint8 [3, H', W'], of a stored frame, uint8 [H, W, 3]."""
        return pil_to_tensor(self.resize(Image.fromarray(frame)))

    def load(self, clip: Any, view: View) -> Tensor:
        """Return one crop of a frame, normalised, float32 [3, h, w]."""
        picture = self.picture(clip.frames(view.indices)[0])
        cut = crop(picture, self.size, view.crop, self.n_crops, self.crop_layout, self.half)
        return cut.to(torch.float32).div_(255).sub_(self.mean[:, None, None]).div_(self.std[:, None, None])


def _with_borders(resize: Any, cut: Any, picture: Image.Image) -> Image.Image:
    """Return a resized picture with the borders that `cut` would give it, so that crops of any place can be cut."""
    try:
        picture = resize(picture)
    except ValueError:  # of a strip so thin that nothing would be left of it
        least = -(-max(picture.size) // min(cut.size))
        picture = resize(picture.resize((max(picture.width, least), max(picture.height, least))))
    height, width = max(cut.size[0], picture.height), max(cut.size[1], picture.width)
    return type(cut)((height, width), fill=cut.fill)(picture)

"""Photographs and awkward pictures, and what a network on single frames reads of one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from fake_clips import FakeClip
from PIL import Image
from sklearn.datasets import load_sample_image

from braid.extractors.plan import View


def pictures() -> dict[str, np.ndarray]:
    """Return pictures, uint8 [H, W, 3], by what is special about them."""
    photograph = np.array(load_sample_image("china.jpg"))  # 427 × 640
    return {
        "photograph": photograph,
        "portrait": np.ascontiguousarray(photograph.transpose(1, 0, 2)),
        "odd sides": photograph[:241, :353],
        "small": photograph[100:196, 200:328],
        "square": photograph[:300, :300],
        "one pixel": photograph[:1, :1],
        "strip": photograph[:3, :600],
        "black": np.zeros((96, 128, 3), np.uint8),
    }


def load(extractor: Any, picture: np.ndarray, number: int = 0) -> torch.Tensor:
    """Return crop `number` of a picture as the network reads it."""
    clip = FakeClip()
    clip.pictures = picture[None]
    return extractor.load(clip, View(0, 1, np.zeros(1, np.int64), number))


def check_pixels(extractor: Any, transform: Any, impossible: tuple[str, ...] = ()) -> None:
    """Compare what a network reads of each picture with what the library's own transform makes of it.

    `impossible` names the pictures that the library cannot transform: it must fail, and the extractor must not.
    """
    for name, picture in pictures().items():
        got = load(extractor, picture)
        if name in impossible:
            with pytest.raises(ValueError, match="must be > 0"):
                transform(Image.fromarray(picture))
            assert got.isfinite().all() and got.std() > 0.01
            continue
        expected = transform(Image.fromarray(picture))
        torch.testing.assert_close(got, expected, rtol=0, atol=0, msg=lambda text, name=name: f"{name}: {text}")


def check_colour(extractor: Any, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    """Check that a picture of one colour becomes that colour, normalised with these statistics of RGB in [0, 1]."""
    colour = np.array([10, 100, 250], np.uint8)
    got = load(extractor, np.broadcast_to(colour, (50, 60, 3)).copy())
    expected = torch.tensor((colour / 255 - mean) / std, dtype=torch.float32)
    torch.testing.assert_close(got, expected[:, None, None].expand_as(got), rtol=1e-5, atol=1e-5)

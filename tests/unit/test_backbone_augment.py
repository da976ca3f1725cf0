"""Augmentation on the device against torchvision and torchaudio, and in closed form."""

from __future__ import annotations

import pytest
import torch
from torchaudio.functional import mask_along_axis
from torchvision.transforms.v2 import functional

from braid.backbones import augment


@pytest.mark.parametrize("channels", [1, 3])
def test_jitter_is_torchvisions(channels):
    pictures, factors = (
        torch.rand(3, 2, 4, channels, 9, 11),
        torch.tensor([[1, 1, 1], [0.6, 1.4, 0.7], [1.4, 0.6, 1.3]]),
    )
    for item, (brightness, contrast, saturation) in zip(range(3), factors.tolist(), strict=True):
        expected = functional.adjust_brightness(pictures[item], brightness)
        expected = functional.adjust_contrast(expected, contrast)
        expected = functional.adjust_saturation(expected, saturation) if channels == 3 else expected
        torch.testing.assert_close(augment.jitter(pictures, factors)[item], expected, rtol=0, atol=2e-4)


def test_items_that_are_not_chosen_are_not_mirrored():
    x = torch.arange(24.0).view(2, 3, 1, 4)  # two items
    mirrored = augment.mirror(x.clone(), torch.tensor([False, True]))
    assert torch.equal(mirrored[0], x[0]) and torch.equal(mirrored[1], x[1].flip(-1))
    flow = augment.mirror(x.clone(), torch.tensor([True, False]), n_flow=2)
    assert torch.equal(flow[0], torch.stack([-x[0, 0].flip(-1), x[0, 1].flip(-1), x[0, 2].flip(-1)]))
    assert torch.equal(flow[1], x[1])


@pytest.mark.parametrize(("dim", "axis"), [(-2, 1), (-1, 2)])
@pytest.mark.parametrize("most", [0, 3, 7, 200])
def test_masks_are_those_of_torchaudio_for_the_same_random_numbers(dim, axis, most, monkeypatch):
    x, numbers = torch.randn(20, 1, 12, 30), torch.rand(20, 2)
    ours = augment.mask(x, numbers, most, dim)
    for item in range(20):
        rows = iter(numbers[item])
        monkeypatch.setattr(torch, "rand", lambda *_, rows=rows, **__: next(rows))
        theirs = mask_along_axis(x[item], min(most, x.shape[dim]), x[item].mean().item(), axis)
        torch.testing.assert_close(ours[item], theirs)

"""X3D's preprocessing and views, against SlowFast's formulas; the network has tests of its own."""

import math

import numpy as np
import pytest
import torch
from fake_clips import FakeClip, settings
from pictures import pictures
from reference_weights import save

from braid import config
from braid.errors import ConfigError
from braid.extractors.plan import View
from braid.extractors.x3d import X3d
from braid.networks.x3d import X3D

PICTURES = pictures()


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return save(X3D("xs"), tmp_path_factory.mktemp("weights") / "X3D_XS.pyth")


@pytest.fixture(scope="module")
def extractor(file):
    return X3d(settings("x3d", architecture="xs", crops=3, weights=str(file)))


def slowfast(frames, side, place):
    """Return [3, T, side, side] as SlowFast's loader and its test transform of `place` (left, centre, right) do."""
    clip = torch.from_numpy(frames).float() / 255.0
    clip = ((clip - torch.tensor([0.45] * 3)) / torch.tensor([0.225] * 3)).permute(3, 0, 1, 2)
    height, width = clip.shape[2:]
    tall = height > width
    longer = math.floor((float(max(height, width)) / min(height, width)) * side)
    new = (longer, side) if tall else (side, longer)
    clip = torch.nn.functional.interpolate(clip, size=new, mode="bilinear", align_corners=False)
    y, x = math.ceil((new[0] - side) / 2), math.ceil((new[1] - side) / 2)
    y = {0: 0, 1: y, 2: new[0] - side}[place] if tall else y
    x = x if tall else {0: 0, 1: x, 2: new[1] - side}[place]
    return clip[:, :, y : y + side, x : x + side]


@pytest.mark.parametrize(("height", "width"), [(96, 128), (240, 320), (320, 180), (182, 241), (5, 7), (1, 1)])
def test_pixels_are_those_of_slowfast(extractor, height, width):
    clip = FakeClip(seconds=1)
    clip.pictures = np.random.default_rng(0).integers(0, 256, (4, height, width, 3), dtype=np.uint8)
    for place in range(3):
        ours = extractor.load(clip, View(0, 1, np.arange(4), place))
        torch.testing.assert_close(ours, slowfast(clip.pictures, 182, place), rtol=0, atol=2e-6)


@pytest.mark.parametrize("name", PICTURES)
def test_pixels_of_photographs_are_those_of_slowfast(extractor, name):
    clip = FakeClip(seconds=1)
    clip.pictures = np.stack([PICTURES[name], PICTURES[name][::-1]])
    for place in range(3):
        ours = extractor.load(clip, View(0, 1, np.arange(2), place))
        torch.testing.assert_close(ours, slowfast(clip.pictures, 182, place), rtol=0, atol=2e-6)


def test_one_crop_is_the_centre_of_three(file):
    alone = X3d(settings("x3d", architecture="xs", crop=145, weights=str(file)))
    clip = FakeClip(seconds=1)
    view = View(0, 1, np.arange(4))
    torch.testing.assert_close(alone.load(clip, view), slowfast(clip.pictures[:4], 145, 1), rtol=0, atol=2e-6)


def test_statistics_are_not_those_of_imagenet(extractor):
    clip = FakeClip(seconds=1)
    clip.pictures[:] = (0, 51, 255)
    pixel = extractor.load(clip, View(0, 1, np.arange(4)))[:, 2, 90, 90]
    torch.testing.assert_close(pixel, (torch.tensor([0.0, 0.2, 1.0]) - 0.45) / 0.225)


@pytest.mark.parametrize(
    ("architecture", "clip_length", "stride", "side"),
    [("xs", 4, 12, 182), ("s", 13, 6, 182), ("m", 16, 5, 256), ("l", 16, 5, 356)],
)
def test_views_are_what_the_official_weights_were_tested_on(architecture, clip_length, stride, side):
    extractor = X3d(settings("x3d", architecture=architecture))
    assert extractor.clip_length == clip_length
    assert extractor.least_seconds == pytest.approx(clip_length * stride / 30)
    clip = FakeClip(seconds=4)
    view = extractor.views(clip, 0.0, 4.0)[0]
    assert extractor.load(clip, view).shape == (3, clip_length, side, side)


def test_tokens_are_features_and_logits_are_not_softmaxed(extractor, file):
    network = X3D("xs")
    network.load_state_dict(torch.load(file, weights_only=True))
    batch = torch.randn(2, 3, 4, 182, 182)
    with torch.inference_mode():
        features, logits = network.eval()(batch)
        tokens, scores = extractor.forward(batch)
    assert tokens.shape == (2, 2048) and scores.shape == (2, 400)
    torch.testing.assert_close(tokens, features, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(scores, logits, rtol=1e-5, atol=1e-5)
    assert scores.min() < 0 and not torch.allclose(scores.sum(dim=1), torch.ones(2))
    assert not torch.allclose(tokens.sum(dim=1), torch.ones(2))


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({"architecture": "xs", "crop": 128}, "extractors.x.crop must be at least 129, got 128"),
        ({"crop": 192}, "extractors.x.crop must be at least 193, got 192"),
        ({"architecture": "l", "crop": 288}, "extractors.x.crop must be at least 289, got 288"),
        ({"architecture": "s", "clip_length": 12}, "extractors.x.clip_length must be at least 13, got 12"),
        ({"clip_length": 4}, "extractors.x.clip_length must be at least 16, got 4"),
    ],
)
def test_what_the_head_cannot_pool_is_refused_before_the_first_job(entry, sentence):
    scheme = {"type": "single", "features": ["x"]}
    with pytest.raises(ConfigError, match=sentence):
        config.load(
            {
                "name": "tiny",
                "manifest": "clips.tsv",
                "extractors": {"x": {"type": "x3d", **entry}},
                "schemes": {"x": scheme},
            }
        )


@pytest.mark.parametrize(("architecture", "crop", "frames"), [("xs", 129, 4), ("s", 129, 13), ("m", 193, 16)])
def test_the_least_that_is_allowed_runs(architecture, crop, frames):
    extractor = X3d(settings("x3d", architecture=architecture, crop=crop))
    with torch.inference_mode():
        tokens, _ = extractor.forward(torch.zeros(1, 3, frames, crop, crop))
    assert tokens.shape == (1, 2048)


def test_a_file_may_have_classes_of_its_own(tmp_path):
    file = save(X3D("xs", n_classes=51), tmp_path / "hmdb51.pth")
    extractor = X3d(settings("x3d", architecture="xs", weights=str(file)))
    with torch.inference_mode():
        _, logits = extractor.forward(torch.randn(1, 3, 4, 129, 129))
    assert logits.shape == (1, 51)


def test_bfloat16_stays_within_two_percent(extractor):
    batch = torch.randn(2, 3, 4, 129, 129)
    with torch.inference_mode():
        exact, _ = extractor.forward(batch)
        with torch.autocast("cpu", torch.bfloat16):
            rounded, _ = extractor.forward(batch)
    assert 0 < (rounded.float() - exact).abs().max() < 0.02 * exact.abs().max()

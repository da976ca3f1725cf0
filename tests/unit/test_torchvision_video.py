"""Networks on several frames, against torchvision."""

import re
from typing import Any

import numpy as np
import pytest
import torch
from fake_clips import FakeClip, settings
from pictures import pictures
from reference_weights import save
from torchvision import models

from braid import config
from braid.errors import ConfigError
from braid.extractors.plan import View
from braid.extractors.torchvision_video import NETWORKS, TorchvisionVideo

DIMENSION = {
    "r2plus1d_18": 512,
    "r3d_18": 512,
    "mc3_18": 512,
    "s3d": 1024,
    "mvit_v1_b": 768,
    "mvit_v2_s": 768,
    "swin3d_t": 768,
    "swin3d_s": 768,
    "swin3d_b": 1024,
}
FEW_FRAMES = {"s3d": 14, "swin3d_t": 2, "swin3d_s": 2, "swin3d_b": 2, "mvit_v1_b": 16, "mvit_v2_s": 16}


def default(name) -> Any:
    """Return torchvision's entry of a network's weights."""
    weights: Any = models.get_model_weights(name)
    return weights.DEFAULT


def official(name):
    """Return torchvision's network without weights, and the transform of its official ones."""
    return models.get_model(name), default(name).transforms()


@pytest.fixture(scope="module")
def extractor():
    return TorchvisionVideo(settings("torchvision_video"))


@pytest.mark.parametrize("name", DIMENSION)
def test_agrees_with_torchvision(name, tmp_path):
    """Pixels, the input of the classifier and the logits, from stored frames and a file of the official layout.

    The input is caught by a hook: torchvision's `create_feature_extractor` drops operations in place whose results
    have no name, and so gives other numbers for MViT than the network itself.
    """
    reference, transform = official(name)
    file = save(reference, tmp_path / "official.pth")
    chosen = settings("torchvision_video", architecture=name, clip_length=FEW_FRAMES.get(name, 4), weights=str(file))
    extractor = TorchvisionVideo(chosen)
    clip = FakeClip(seconds=4)
    view = extractor.views(clip, 0.0, 4.0)[0]
    batch = extractor.load(clip, view)[None]
    frames = torch.from_numpy(clip.pictures[view.indices]).permute(0, 3, 1, 2)
    torch.testing.assert_close(batch[0], transform(frames), rtol=0, atol=0)
    seen = []
    classifier = list(reference.eval().children())[-1]
    classifier.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.inference_mode():
        expected = reference(batch)
        tokens, logits = extractor.forward(batch)
    features = seen[0].mean(dim=(2, 3, 4)) if name == "s3d" else seen[0]
    assert tokens.shape == (1, DIMENSION[name])
    assert relative(tokens, features) < 1e-5 and relative(logits, expected) < 1e-5


def relative(ours, reference):
    return float((ours - reference).abs().max() / reference.abs().max())


@pytest.mark.parametrize("name", ["mc3_18", "s3d", "mvit_v2_s", "swin3d_t"])
def test_pixels_of_photographs_are_those_of_torchvision(name):
    """One network of each transform."""
    extractor = TorchvisionVideo(settings("torchvision_video", architecture=name))
    clip = FakeClip(seconds=1)
    for picture in pictures().values():
        clip.pictures = np.stack([picture, picture[::-1]])
        expected = default(name).transforms()(torch.from_numpy(clip.pictures).permute(0, 3, 1, 2))
        torch.testing.assert_close(extractor.load(clip, View(0, 1, np.arange(2))), expected, rtol=0, atol=0)


@pytest.mark.parametrize("name", NETWORKS)
def test_clips_are_those_of_torchvisions_accuracy(name):
    """The documentation of its weights names both: `frame_rate=15`, `clips_per_video=5`, and `clip_len=16`."""
    stated = dict(re.findall(r"`(\w+)=([\d.]+)`", default(name).meta["_docs"]))
    assert NETWORKS[name][:2] == (int(stated["clip_len"]), float(stated["frame_rate"]))
    assert set(NETWORKS) == set(config.types("extractors")["torchvision_video"]["properties"]["architecture"]["enum"])


def test_pixels(extractor):
    """A picture of one colour becomes that colour, normalised with the statistics of Kinetics-400."""
    clip = FakeClip(seconds=1)
    clip.pictures[:] = (10, 100, 250)
    tensor = extractor.load(clip, View(0, 1, np.arange(16)))
    mean, std = np.array([0.43216, 0.394666, 0.37645]), np.array([0.22803, 0.22145, 0.216989])
    expected = (np.array([10, 100, 250]) / 255 - mean) / std
    assert tensor.shape == (3, 16, 112, 112)
    torch.testing.assert_close(tensor[:, 5, 50, 60], torch.tensor(expected, dtype=torch.float32))


def test_a_picture_of_one_pixel_is_that_colour_everywhere(extractor):
    clip = FakeClip(seconds=1)
    clip.pictures = np.full((25, 1, 1, 3), (10, 100, 250), dtype=np.uint8)
    tensor = extractor.load(clip, View(0, 1, np.arange(16)))
    assert tensor.shape == (3, 16, 112, 112)
    assert (tensor == tensor[:, :1, :1, :1]).all()
    colour = [(10 / 255 - 0.43216) / 0.22803, (100 / 255 - 0.394666) / 0.22145, (250 / 255 - 0.37645) / 0.216989]
    torch.testing.assert_close(tensor[:, 0, 0, 0], torch.tensor(colour))


def test_views_sample_15_frames_a_second(extractor):
    clip = FakeClip(seconds=3)  # 25 frames a second
    first, second = extractor.views(clip, 0.0, 3.0)
    np.testing.assert_array_equal(first.indices, np.floor(np.arange(16) * 25 / 15 + 1e-6))
    assert (first.start_seconds, second.end_seconds) == (0.0, 3.0)


@pytest.mark.parametrize(
    ("seconds", "indices"),
    [(0.04, [0] * 16), (0.08, [0] + [1] * 15), (0.4, [0, 1, 3, 5, 6, 8] + [9] * 10)],
)
def test_a_short_item_holds_its_last_frame(extractor, seconds, indices):
    plan = extractor.plan(FakeClip(seconds=seconds), None, None)
    assert plan.status == "short" and "its last frame is held" in plan.reason
    (view,) = plan.views
    assert view.indices.tolist() == indices
    assert view.end_seconds == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("architecture", "clip_length", "sentence"),
    [("mvit_v2_s", 32, "must be one of null, 16, got 32"), ("s3d", 13, "must be at least 14, got 13")],
)
def test_clip_lengths_that_a_network_cannot_take_are_refused_before_the_first_job(architecture, clip_length, sentence):
    entry = {"type": "torchvision_video", "architecture": architecture, "clip_length": clip_length}
    scheme = {"type": "single", "features": ["x"]}
    with pytest.raises(ConfigError, match=rf"extractors\.x\.clip_length {sentence}"):
        config.load({"name": "tiny", "manifest": "clips.tsv", "extractors": {"x": entry}, "schemes": {"x": scheme}})


def test_the_classifier_goes_where_the_network_goes(extractor):
    """Else nothing runs on a GPU."""
    assert {"embedding", "classifier"} == {name for name, _ in extractor.network.named_children()}
    assert len(list(extractor.network["classifier"].parameters())) == 2


@pytest.mark.parametrize("name", ["r3d_18", "s3d", "mvit_v2_s", "swin3d_t"])
def test_a_file_may_have_classes_of_its_own(name, tmp_path):
    """One network of each kind of classifier, with the 51 classes of HMDB51."""
    file = save(models.get_model(name, num_classes=51), tmp_path / "hmdb51.pth")
    extractor = TorchvisionVideo(settings("torchvision_video", architecture=name, weights=str(file)))
    tokens = torch.randn(2, DIMENSION[name])
    with torch.inference_mode():
        logits = extractor.network["classifier"](tokens)
    state = torch.load(file, weights_only=True)
    weight, bias = (state[f"{NETWORKS[name].classifier}.{part}"] for part in ("weight", "bias"))
    assert logits.shape == (2, 51)
    torch.testing.assert_close(logits, tokens @ weight.flatten(1).T + bias, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["r2plus1d_18", "s3d", "swin3d_t"])
def test_bfloat16_stays_within_two_percent(name):
    length = FEW_FRAMES.get(name, 4)
    extractor = TorchvisionVideo(settings("torchvision_video", architecture=name, clip_length=length))
    side = 224 if name == "s3d" else 64
    batch = torch.randn(2, 3, length, side, side)
    with torch.inference_mode():
        exact, _ = extractor.forward(batch)
        with torch.autocast("cpu", torch.bfloat16):
            rounded, _ = extractor.forward(batch)
    assert 0 < (rounded.float() - exact).abs().max() < 0.02 * exact.abs().max()

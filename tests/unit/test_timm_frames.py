"""Networks on single frames of timm, against timm."""

from typing import Any

import pytest
import timm
import torch
from fake_clips import FakeClip, settings
from pictures import check_colour, check_pixels, load, pictures
from PIL import Image
from reference_weights import save, token
from timm.data.config import resolve_model_data_config
from timm.data.transforms_factory import create_transform

from braid.errors import ConfigError, WeightsError
from braid.extractors.timm_frames import TimmFrames

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TESTED = {
    "convnext_base.fb_in1k": (1024, 1000),
    "hrnet_w18.ms_aug_in1k": (2048, 1000),
    "regnety_064.ra3_in1k": (1296, 1000),
    "resnest50d.in1k": (2048, 1000),
    "tf_efficientnet_b1.ns_jft_in1k": (1280, 1000),
    "mobilenetv3_small_050.lamb_in1k": (1024, 1000),
    "deit_tiny_distilled_patch16_224.fb_in1k": (192, 1000),
    "vit_tiny_patch16_224.augreg_in21k": (192, 21843),
    "vit_small_patch16_dinov3.lvd1689m": (384, None),
    "vit_xsmall_patch16_clip_224.tinyclip_yfcc15m": (256, None),
}
"""Networks, numbers of a token, and classes of ImageNet where it was trained for them."""


def make(name, **changes):
    return TimmFrames(settings("timm", architecture=name, **changes))


def reference_of(name) -> Any:
    network = timm.create_model(name).eval()
    return network, create_transform(**resolve_model_data_config(network))


@pytest.mark.parametrize("name", TESTED)
def test_networks_by_name(name):
    """Tokens are those that timm gives without a classifier, scores those that it gives with it."""
    dimension, classes = TESTED[name]
    extractor = make(name)
    picture = load(extractor, pictures()["small"])[None]
    with torch.inference_mode():
        tokens, logits = extractor.forward(picture)
        expected = extractor.network(picture)
        assert tokens.shape == (1, dimension)
        assert (None if logits is None else logits.shape[1]) == classes
        if logits is not None:
            torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)
        extractor.network.reset_classifier(0)
        torch.testing.assert_close(tokens, extractor.network(picture), rtol=1e-5, atol=1e-5)


def test_agrees_with_timm(tmp_path):
    name = "regnety_002.pycls_in1k"
    network, transform = reference_of(name)
    file = save(network, tmp_path / "regnety_002-e68ca334.pth")
    extractor = make(name, weights=str(file), frames=2)
    clip = FakeClip()
    for view in extractor.views(clip, 0.0, 2.0):
        picture = transform(Image.fromarray(clip.pictures[view.indices[0]]))
        torch.testing.assert_close(extractor.load(clip, view), picture, rtol=0, atol=0)
        with torch.inference_mode():
            features = network.forward_features(picture[None])
            expected = network.forward_head(features, pre_logits=True)[0]
            logits = extractor.forward(picture[None])[1]
            torch.testing.assert_close(logits, network(picture[None]), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(token(extractor, clip, view), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "name",
    [
        "resnet10t.c3_in1k",  # 176 of 201, bicubic
        "tf_efficientnet_b1.ns_jft_in1k",  # 240 of 272, bicubic
        "hrnet_w18.ms_aug_in1k",  # 224 of 235, bilinear
        "vit_small_patch16_dinov3.lvd1689m",  # 256 of 256, bicubic
    ],
)
def test_pixels(name):
    check_pixels(make(name), reference_of(name)[1])


@pytest.mark.parametrize("mode", ["center", "squash", "border"])
@pytest.mark.parametrize("share", [0.875, 1.0])
def test_pixels_of_every_crop_mode(mode, share):
    """The extractor follows whatever timm makes, also where borders are added or sides are scaled apart."""
    extractor = make("test_vit.r160_in1k")
    transform = create_transform((3, 96, 128), crop_mode=mode, crop_pct=share, interpolation="bicubic")
    extractor.follow(transform)
    check_pixels(extractor, transform)


def test_crops_within_borders():
    """A picture that is smaller than the input after resizing has the colour of the mean around it."""
    extractor = make("test_vit.r160_in1k", crops=5, crop_layout="corners")
    extractor.follow(create_transform((3, 96, 128), crop_mode="border", crop_pct=0.5, mean=(0, 0.5, 1), std=(1, 1, 1)))
    square = load(extractor, pictures()["square"], 0)
    bottom_right = load(extractor, pictures()["square"], 1)
    assert square.shape == bottom_right.shape == (3, 96, 128)
    assert not torch.equal(square, bottom_right)


def test_statistics_are_the_tags_own():
    check_colour(make("regnety_002.pycls_in1k"), *IMAGENET)
    check_colour(make("vit_tiny_patch16_224.augreg_in21k"), (0.5,) * 3, (0.5,) * 3)


def test_a_published_file_with_other_names_is_read(tmp_path):
    """Meta's own files of DINOv2 hold a mask token besides, which timm leaves out."""
    name = "vit_small_patch14_dinov2.lvd142m"
    network = timm.create_model(name)
    generator = torch.Generator().manual_seed(0)
    state = {key: torch.randn(value.shape, generator=generator) for key, value in network.state_dict().items()}
    torch.save({**state, "mask_token": torch.zeros(1, 384)}, tmp_path / "dinov2_vits14_pretrain.pth")
    loaded = make(name, weights=str(tmp_path / "dinov2_vits14_pretrain.pth")).network.state_dict()
    torch.testing.assert_close(dict(loaded), state, rtol=0, atol=0)


def test_another_networks_file_is_refused(tmp_path):
    file = save(timm.create_model("test_vit"), tmp_path / "vit.pth")
    with pytest.raises(WeightsError, match=r"vit\.pth does not fit .* in \d+ of its parameters: it (has|lacks)"):
        make("test_resnet", weights=str(file))


@pytest.mark.parametrize("other", ["vit_tiny_patch16_384", "vit_small_patch32_224"])
def test_a_transformer_of_other_patches_is_not_made_to_fit(other, tmp_path):
    """timm would interpolate its positions and kernels without a word."""
    file = save(timm.create_model(other), tmp_path / "vit.pth")
    name = "vit_tiny_patch16_224" if "tiny" in other else "vit_small_patch16_224"
    with pytest.raises(WeightsError, match=r"vit\.pth does not fit .* it has (patch_embed|pos_embed).* instead of"):
        make(name, weights=str(file))


def test_unknown_architecture():
    with pytest.raises(ConfigError, match=r"no network 'regnety_064\.ra4_in1k'; near it are .*regnety_064\.ra3_in1k"):
        make("regnety_064.ra4_in1k")

"""Networks on single frames."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cases import Outputs, case, checkpoint, items, only_view, ours, tokens
from fake_clips import FakeClip


@case("open_clip_torch", "ViT-B-32-quickgelu", "RN101-quickgelu", "RN50x4-quickgelu")
def clip(file: Path, architecture: str) -> Outputs:
    """Normalised embeddings of the frame in the middle, from the stored frame on."""
    import open_clip
    from PIL import Image

    created: Any = open_clip.create_model_and_transforms(architecture, pretrained_text=False)
    network, _, preprocess = created
    checkpoint(network, file)
    clips = [FakeClip(seed, seconds=1.0) for seed in (0, 1)]
    images = torch.stack([preprocess(Image.fromarray(clip.pictures[12])) for clip in clips])
    theirs = network.encode_image(images, normalize=True)
    return tokens(ours("clip", file, architecture=architecture, frames=1), clips), theirs


@case("open_clip_torch", "ViT-B-32-quickgelu", "RN101-quickgelu")
def clip_classes(file: Path, architecture: str) -> Outputs:
    """Zero-shot logits of classes, from the stored frame and the names of the classes on."""
    import open_clip
    from open_clip.zero_shot_classifier import build_zero_shot_classifier
    from PIL import Image

    names = ["metro station", "park", "tram"]
    created: Any = open_clip.create_model_and_transforms(architecture, pretrained_text=False)
    network, _, preprocess = created
    checkpoint(network, file)
    clips = [FakeClip(seed, seconds=1.0) for seed in (0, 1)]
    images = torch.stack([preprocess(Image.fromarray(clip.pictures[12])) for clip in clips])
    sentences = ["a photo of a {}.", "a photo of the {}."]
    classes = build_zero_shot_classifier(network, open_clip.get_tokenizer(architecture), names, sentences)
    theirs = network.logit_scale.exp() * network.encode_image(images, normalize=True) @ classes
    extractor = ours("clip", file, architecture=architecture, classes=names, templates="sun397")
    batch = torch.stack([extractor.load(clip, only_view(extractor, clip)) for clip in clips])
    return extractor.forward(batch)[1], theirs


@case(
    "timm",
    "convnext_base.fb_in1k",
    "hrnet_w18.ms_aug_in1k",
    "regnety_064.ra3_in1k",
    "resnest50d.in1k",
    "tf_efficientnet_b1.ns_jft_in1k",
    "vit_small_patch16_dinov3.lvd1689m",
)
def timm(file: Path, architecture: str) -> Outputs:
    """The numbers before the classifier, of the frame in the middle, from the stored frame on."""
    from PIL import Image
    from timm import create_model
    from timm.data.config import resolve_model_data_config
    from timm.data.transforms_factory import create_transform

    network: Any = create_model(architecture)
    preprocess: Any = create_transform(**resolve_model_data_config(network))
    clips = [FakeClip(seed, seconds=1.0) for seed in (0, 1)]
    images = torch.stack([preprocess(Image.fromarray(clip.pictures[12])) for clip in clips])
    checkpoint(network, file, seen=images)
    theirs = network.forward_head(network.forward_features(images), pre_logits=True)
    extractor = ours("timm", file, architecture=architecture)
    batch = torch.stack([extractor.load(clip, only_view(extractor, clip)) for clip in clips])
    return extractor.forward(batch)[0], theirs


@case("torchvision", "convnext_base", "resnet152", "inception_v3")
def torchvision(file: Path, architecture: str) -> Outputs:
    """Logits of the frame in the middle, from the stored frame on."""
    from PIL import Image
    from torchvision import models

    inception = {"transform_input": True, "init_weights": False} if architecture == "inception_v3" else {}
    network = models.get_model(architecture, **inception)
    weights: Any = models.get_model_weights(architecture)
    preprocess = weights.DEFAULT.transforms()
    clips = [FakeClip(seed, seconds=1.0) for seed in (0, 1)]
    images = torch.stack([preprocess(Image.fromarray(clip.pictures[12])) for clip in clips])
    checkpoint(network, file, seen=images)
    extractor = ours("torchvision", file, architecture=architecture)
    batch = torch.stack([extractor.load(clip, only_view(extractor, clip)) for clip in clips])
    return extractor.forward(batch)[1], network(images)


@case("keras", "512", "8192")
def openl3_image(file: Path, size: str) -> Outputs:
    """Against the published list of layers built anew in Keras, and the file that Keras writes: nothing else has it."""
    import h5py
    import keras  # pyright: ignore[reportMissingImports]
    from keras.src.legacy.saving import legacy_h5_format  # pyright: ignore[reportMissingImports]

    from braid import weights
    from braid.networks.openl3 import Image

    layers = keras.layers
    network = keras.Sequential([keras.Input((224, 224, 3)), layers.BatchNormalization()])
    for width in (64, 128, 256):
        network.add(layers.Conv2D(width, 3, padding="same"))
        network.add(layers.BatchNormalization())
        network.add(layers.ReLU())
        network.add(layers.Conv2D(width, 3, padding="same"))
        last = [layers.BatchNormalization(), layers.ReLU()]
        for layer in reversed(last) if width == 64 else last:
            network.add(layer)
        network.add(layers.MaxPooling2D(2, strides=2, padding="same"))
    network.add(layers.Conv2D(512, 3, padding="same"))
    network.add(layers.BatchNormalization())
    network.add(layers.ReLU())
    network.add(layers.Conv2D(512, 3, padding="same", name="vision_embedding_layer"))
    file = file.with_suffix(".h5")
    network.set_weights(list(_keras_numbers(network)))
    with h5py.File(file, "w") as opened:
        legacy_h5_format.save_weights_to_hdf5_group(opened, network)
    pool = {"512": 28, "8192": 7}[size]
    network.add(layers.MaxPooling2D(pool, padding="same"))
    network.add(layers.Flatten())
    pictures = items(3, 224, 224).tanh()
    mine = Image(int(size)).eval()
    weights.fill(mine, weights.load(file), file)
    return mine(pictures), network(pictures.permute(0, 2, 3, 1), training=False)


def _keras_numbers(network: Any) -> Iterator[np.ndarray]:
    """Yield an array for each weight of a Keras network, by the rule of `draw`."""
    rng = np.random.default_rng(1)
    for weight in network.weights:
        shape = tuple(weight.shape)
        if len(shape) > 1:
            yield rng.normal(0, (2 / np.prod(shape[:-1])) ** 0.5, shape).astype(np.float32)
        elif weight.name in ("gamma", "moving_variance"):
            yield rng.uniform(0.5, 1.5, shape).astype(np.float32)
        else:
            yield rng.normal(0, 0.1, shape).astype(np.float32)

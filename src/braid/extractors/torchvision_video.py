"""Networks on several frames that torchvision has, trained on Kinetics-400, with torchvision's own transforms.

R(2+1)D-18, R3D-18, MC3-18 (Tran et al., CVPR 2018), S3D (Xie et al., ECCV 2018), MViT (Fan et al., ICCV 2021; Li et
al., CVPR 2022), Video Swin (Liu et al., CVPR 2022).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.transforms import functional

from braid.extractors.base import build
from braid.extractors.crops import crop
from braid.extractors.video import VideoExtractor


class Network(NamedTuple):
    """What differs between the networks.

    Attributes
    ----------
    clip_length, frame_rate : of the views that torchvision states the accuracy of its weights for
    classifier : the layer of logits
    """

    clip_length: int
    frame_rate: float
    classifier: str


RESNET, MVIT, SWIN = Network(16, 15.0, "fc"), Network(16, 7.5, "head.1"), Network(32, 15.0, "head")
NETWORKS = {
    "r2plus1d_18": RESNET,
    "r3d_18": RESNET,
    "mc3_18": RESNET,
    "s3d": Network(128, 15.0, "classifier.1"),
    "mvit_v1_b": MVIT,
    "mvit_v2_s": MVIT,
    "swin3d_t": SWIN,
    "swin3d_s": SWIN,
    "swin3d_b": SWIN,
}
N_CLASSES = 400


class TorchvisionVideo(VideoExtractor):
    """Tokens are the numbers before the classifier, logits those of Kinetics-400 or of the classes of a file.

    Parameters
    ----------
    settings : mapping
        `architecture`, `weights` and what `VideoExtractor` reads.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        name = settings["architecture"]
        clip_length, frame_rate, layer = NETWORKS[name]
        super().__init__(settings, clip_length, frame_rate)
        weights: Any = models.get_model_weights(name)
        self.preset: Any = weights.DEFAULT.transforms()

        def make(n_classes: int = N_CLASSES) -> nn.Module:
            return models.get_model(name, num_classes=n_classes)

        network = build(settings, make, classifier=layer)
        part = layer.partition(".")[0]
        classifier = getattr(network, part)
        setattr(network, part, nn.Identity())
        if name == "s3d":  # its classifier is a convolution, of whose results the network takes the mean
            classifier = nn.Sequential(nn.Unflatten(1, (-1, 1, 1, 1)), classifier, nn.Flatten())
        self.network: Any = nn.ModuleDict({"embedding": network, "classifier": classifier})

    def prepare(self, frames: Tensor, number: int) -> Tensor:
        preset = self.preset
        # Without antialiasing, as in the training of these weights.
        frames = functional.resize(frames, preset.resize_size, preset.interpolation, antialias=False)
        frames = crop(frames, tuple(preset.crop_size), number, self.n_crops, self.crop_layout)
        frames = functional.convert_image_dtype(frames, torch.float32)
        return functional.normalize(frames, preset.mean, preset.std).transpose(0, 1)

    def forward(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        tokens = self.network["embedding"](batch)
        return tokens, self.network["classifier"](tokens)

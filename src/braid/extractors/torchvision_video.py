"""Networks on several frames that torchvision has, trained on Kinetics-400, with torchvision's own transforms.

R(2+1)D-18, R3D-18, MC3-18 (Tran et al., CVPR 2018), S3D (Xie et al., ECCV 2018), MViT (Fan et al., ICCV 2021; Li et
al., CVPR 2022), Video Swin (Liu et al., CVPR 2022).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.transforms import functional

from braid.extractors.base import build
from braid.extractors.crops import crop
from braid.extractors.video import VideoExtractor

RESNET, MVIT, SWIN = (16, 15.0), (16, 7.5), (32, 15.0)
CLIPS: dict[str, tuple[int, float]] = {
    "r2plus1d_18": RESNET,
    "r3d_18": RESNET,
    "mc3_18": RESNET,
    "s3d": (128, 15.0),
    "mvit_v1_b": MVIT,
    "mvit_v2_s": MVIT,
    "swin3d_t": SWIN,
    "swin3d_s": SWIN,
    "swin3d_b": SWIN,
}
"""Frames of a view and frames a second that torchvision states the accuracy of its weights for."""


class TorchvisionVideo(VideoExtractor):
    """Tokens are the numbers before the classifier, logits those of Kinetics-400.

    Parameters
    ----------
    settings : mapping
        `architecture`, `weights` and what `VideoExtractor` reads.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        name = settings["architecture"]
        super().__init__(settings, *CLIPS[name])
        weights: Any = models.get_model_weights(name)
        self.preset: Any = weights.DEFAULT.transforms()
        network = build(settings, lambda: models.get_model(name))
        part, classifier = list(network.named_children())[-1]  # in each of these networks the classifier comes last
        setattr(network, part, nn.Identity())
        if name == "s3d":  # its classifier is a convolution, of whose results the network takes the mean
            classifier = nn.Sequential(nn.Unflatten(1, (-1, 1, 1, 1)), classifier, nn.Flatten())
        parts: Any = nn.ModuleDict({"embedding": network, "classifier": classifier})
        self.network = parts.to(memory_format=torch.channels_last_3d)  # a quarter faster on a CPU

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

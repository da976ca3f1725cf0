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

N_CLASSES = 400
CLASSIFIER = {"s3d": "classifier", "mvit_v1_b": "head", "mvit_v2_s": "head"}
"""Name of the part after the embedding, where it is not `fc`."""


class TorchvisionVideo(VideoExtractor):
    """Tokens are the numbers before the classifier, scores those of Kinetics-400.

    Parameters
    ----------
    settings : mapping
        `architecture`, `weights` and what `VideoExtractor` reads.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        weights: Any = models.get_model_weights(settings["architecture"])
        super().__init__(settings, 16, 15)
        self.preprocess: Any = weights.DEFAULT.transforms()
        self.network = self.build(settings).to(memory_format=torch.channels_last_3d)  # a quarter faster on a CPU
        self.classifier = self.network.fc
        self.network.fc = nn.Identity()

    def build(self, settings: Mapping[str, Any]) -> Any:
        """Return the network with its classifier."""
        return build(settings, lambda: models.get_model(settings["architecture"]))

    def prepare(self, frames: Tensor, number: int) -> Tensor:
        preset = self.preprocess
        frames = functional.resize(frames, preset.resize_size, preset.interpolation, antialias=False)
        frames = crop(frames, tuple(preset.crop_size), number, self.n_crops, self.crop_layout)
        frames = functional.convert_image_dtype(frames, torch.float32)
        return functional.normalize(frames, preset.mean, preset.std).transpose(0, 1)

    def forward(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        tokens = self.network(batch)
        return tokens, self.classifier(tokens)

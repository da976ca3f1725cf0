"""Networks on single frames from torchvision, trained on ImageNet-1k, with the transform of their default weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.transforms import Resize

from braid.errors import ConfigError
from braid.extractors.base import build
from braid.extractors.frames import FrameExtractor

AS_PUBLISHED: dict[str, dict[str, bool]] = {
    name: {"transform_input": True, "init_weights": False} for name in ("googlenet", "inception_v3")
}
"""What these two were trained with: they turn the statistics of ImageNet into ±1 by themselves."""


class TorchvisionFrames(FrameExtractor):
    """Tokens are what the last layer reads (over space its mean), scores those of ImageNet-1k.

    Parameters
    ----------
    settings : mapping
        `architecture`, `weights` and what `FrameExtractor` reads.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__(settings)
        name = settings["architecture"]
        self.check(settings)
        self.network = build(settings, lambda: models.get_model(name, **AS_PUBLISHED.get(name, {})), _as_named_now)
        weights: Any = models.get_model_weights(name)
        preset = weights.DEFAULT.transforms()
        self.resize = Resize(preset.resize_size, preset.interpolation)
        self.size = tuple(2 * preset.crop_size)
        self.mean, self.std = torch.tensor(preset.mean), torch.tensor(preset.std)
        self._read: list[Tensor] = []
        last = [module for module in self.network.modules() if isinstance(module, nn.Linear | nn.Conv2d)][-1]
        last.register_forward_pre_hook(lambda _, inputs: self._read.append(inputs[0]))

    @classmethod
    def check(cls, settings: Mapping[str, Any]) -> None:
        name, known = settings["architecture"], models.list_models(module=models)
        if name not in known:
            near = get_close_matches(name, known)
            raise ConfigError(
                f"torchvision has no image network {name!r}; "
                + (f"near it are {', '.join(near)}" if near else f"choose from {', '.join(known)}")
            )

    def forward(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        self._read.clear()  # a pass that did not fit into memory may have left its own
        logits = self.network(batch)
        tokens = self._read.pop()
        return tokens.mean(dim=(2, 3)) if tokens.ndim == 4 else tokens, logits


def _as_named_now(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return an official state dict under the names of today: the files of DenseNet have dots in those of layers."""
    dotted = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(?=[12]\.)")
    return {dotted.sub(r"\1", name): value for name, value in state.items()}

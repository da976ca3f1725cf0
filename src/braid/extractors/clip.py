"""CLIP and its relatives (Radford et al., ICML 2021) by open_clip: image embeddings of frames."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import open_clip
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from torch import Tensor, nn

from braid.errors import ConfigError
from braid.extractors.base import build
from braid.extractors.frames import FrameExtractor

OPENAI_CONSTANTS = ("input_resolution", "context_length", "vocab_size")
"""What OpenAI's files hold besides parameters."""


class Clip(FrameExtractor):
    """Tokens are L2-normalised embeddings of crops of frames; the embedding is their mean, normalised again.

    Parameters
    ----------
    settings : mapping
        `architecture` (a name of open_clip), `weights` and what `FrameExtractor` reads.
    """

    normalised = True

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__(settings)
        self.architecture = settings["architecture"]
        if self.architecture not in open_clip.list_models():
            raise ConfigError(f"open_clip has no architecture {self.architecture!r}; `open_clip.list_models()` has all")
        self.network = build(settings, self._make, _without_constants)
        transform: Any = image_transform_v2(PreprocessCfg(**self.network.visual.preprocess_cfg), is_train=False)
        self.resize, centre, _, _, normalise = transform.transforms
        self.size = tuple(centre.size)
        self.mean, self.std = torch.tensor(normalise.mean), torch.tensor(normalise.std)

    def _make(self) -> nn.Module:
        logging.getLogger().addFilter(_is_not_about_random_weights)
        try:
            return open_clip.create_model(self.architecture, pretrained_text=False)
        finally:
            logging.getLogger().removeFilter(_is_not_about_random_weights)

    def forward(self, batch: Tensor) -> tuple[Tensor, None]:
        return self.network.encode_image(batch, normalize=True), None


def _without_constants(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if name not in OPENAI_CONSTANTS}


def _is_not_about_random_weights(record: logging.LogRecord) -> bool:
    return "Model initialized randomly" not in record.getMessage()

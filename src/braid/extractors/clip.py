"""CLIP and its relatives (Radford et al., ICML 2021) by open_clip: image embeddings of frames."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import open_clip
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torch import Tensor, nn

from braid.errors import ConfigError
from braid.extractors import sampling
from braid.extractors.base import Cover, Extractor, View, build

OPENAI_CONSTANTS = ("input_resolution", "context_length", "vocab_size")
"""What OpenAI's files hold besides parameters."""


class Clip(Extractor):
    """Tokens are L2-normalised embeddings of frames; the embedding is their mean, normalised again.

    Parameters
    ----------
    settings : mapping
        `architecture` (a name of open_clip), `weights`, `frames` (how many an item) and `frame_rate` (frames a second
        of the item instead, or None).
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.n_frames = settings["frames"]
        self.frame_rate = settings["frame_rate"]
        self.architecture = settings["architecture"]
        if self.architecture not in open_clip.list_models():
            raise ConfigError(f"open_clip has no architecture {self.architecture!r}; `open_clip.list_models()` has all")
        self.network = build(settings, self._make, _without_constants)
        self.preprocess: Any = image_transform_v2(PreprocessCfg(**self.network.visual.preprocess_cfg), is_train=False)

    def _make(self) -> nn.Module:
        logging.getLogger().addFilter(_is_not_about_random_weights)
        try:
            return open_clip.create_model(self.architecture, pretrained_text=False)
        finally:
            logging.getLogger().removeFilter(_is_not_about_random_weights)

    def cover(self, clip: Any) -> Cover:
        return sampling.cover(clip.video.status, clip.video.reason, clip.times)

    def views(self, clip: Any, start: float, end: float) -> list[View]:
        """Return one view for each of n equal parts: the frame in its middle."""
        n = max(round((end - start) * self.frame_rate), 1) if self.frame_rate else self.n_frames
        edges = np.linspace(start, end, n + 1)
        frames = sampling.on_screen(clip.times, (edges[:-1] + edges[1:]) / 2, end)
        return [
            View(float(left), float(right), frame[None])
            for left, right, frame in zip(edges[:-1], edges[1:], frames, strict=True)
        ]

    def load(self, clip: Any, view: View) -> Tensor:
        """Return [3, H, W] for the H and W of the architecture."""
        return self.preprocess(Image.fromarray(clip.frames(view.indices)[0]))

    def forward(self, batch: Tensor) -> tuple[Tensor, None]:
        return self.network.encode_image(batch, normalize=True), None

    def pool(self, tokens: np.ndarray) -> np.ndarray:
        mean = tokens.mean(axis=0)
        return mean / np.linalg.norm(mean)


def _without_constants(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if name not in OPENAI_CONSTANTS}


def _is_not_about_random_weights(record: logging.LogRecord) -> bool:
    return "Model initialized randomly" not in record.getMessage()

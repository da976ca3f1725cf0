"""Flow by recurrent refinement: RAFT (Teed and Deng, ECCV 2020), as torchvision has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torchvision.models import get_model
from torchvision.models.optical_flow._utils import make_coords_grid, upsample_flow

from braid.extractors.base import build
from braid.flow.network import NetworkMethod

CELL = 8
LEAST = 128
"""Pixels that the four levels of the correlation pyramid need."""


class Raft(NetworkMethod):
    """Flow of RGB frames with torchvision's RAFT, whose steps are called one by one, so that a frame is encoded once.

    Parameters
    ----------
    settings : mapping
        `architecture`, `weights`, `updates` (refinements of the flow) and what `NetworkMethod` reads.
    """

    COMPILED = ("features", "update")  # not the loop of updates, which would be compiled as so many

    def __init__(self, settings: Mapping[str, Any], threads: int, device: str, batch_size: int) -> None:
        self.updates: int = settings["updates"]
        network = build(settings, lambda: get_model(settings["architecture"]))
        super().__init__(settings, device, batch_size, network, CELL, LEAST)

    def features(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        pictures = frames / 127.5 - 1
        return self.network.feature_encoder(pictures), self.network.context_encoder(pictures)

    def flow(self, firsts: tuple[Tensor, ...], seconds: tuple[Tensor, ...]) -> Tensor:
        network = self.network
        first, both = firsts
        with torch.autocast(first.device.type, enabled=False):  # correlations are looked up between cells
            network.corr_block.build_pyramid(first.float(), seconds[0].float())
        n_hidden = network.update_block.hidden_state_size
        hidden, context = both[:, :n_hidden].tanh(), both[:, n_hidden:].relu()
        start = make_coords_grid(len(first), *first.shape[-2:], device=str(first.device))
        places = start
        for _ in range(self.updates):
            hidden, places = self.update(hidden, context, places, start)
        mask = None if network.mask_predictor is None else network.mask_predictor(hidden).float()
        return upsample_flow(places - start, mask)

    def update(self, hidden: Tensor, context: Tensor, places: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
        """Return the hidden state and the places, [n, 2, h, w] in cells, after one refinement."""
        correlations = self.network.corr_block.index_pyramid(centroids_coords=places)
        hidden, step = self.network.update_block(hidden, context, correlations, places - start)
        return hidden, places + step.float()

"""Schemes that read the tokens of all modalities, each with its time, by attention.

Letters: B items, M modalities, T_m tokens of modality m, E_m numbers of one, W numbers inside the network, C classes.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from braid.schemes.base import Scheme

SHORTEST_PERIOD, LONGEST_PERIOD = 0.2, 2000.0
"""Seconds of the fastest and the slowest wave that times are written in."""


def encode_seconds(seconds: Tensor, width: int) -> Tensor:
    """Return times as sines and cosines, float32 [..., width], of float32 [...] seconds.

    The position code of Vaswani et al. (2017) with seconds instead of numbers of tokens, so that tokens of two
    modalities are near where they are at the same time, whatever their rates. `width` is even.
    """
    exponents = torch.linspace(0, 1, width // 2, device=seconds.device)
    periods = SHORTEST_PERIOD * (LONGEST_PERIOD / SHORTEST_PERIOD) ** exponents
    angles = 2 * math.pi * seconds[..., None] / periods
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


class Projection(nn.Module):
    """Tokens of M modalities as vectors of one width: a linear layer each, plus modality and time.

    A token is [start, end, E_m numbers]; half of the time code is the start's, half the end's.
    """

    def __init__(self, dims: list[int], width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(d, width) for d in dims)
        self.modality = nn.Parameter(0.02 * torch.randn(len(dims), width))

    def forward(self, features: list[Tensor], present: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return vectors [B, T_m, W] and the masks [B, T_m] of those that are tokens, for each modality."""
        vectors, masks = [], []
        for m, (layer, x) in enumerate(zip(self.layers, features, strict=True)):
            mask = ~x[..., 0].isnan() & present[:, m, None]
            x = x.masked_fill(~mask[..., None], 0.0)
            times = encode_seconds(x[..., :2], self.modality.shape[1] // 2).flatten(start_dim=2)
            vectors.append(layer(x[..., 2:]) + times + self.modality[m])
            masks.append(mask)
        return vectors, masks


def attention_layer(settings: dict[str, Any]) -> nn.TransformerEncoderLayer:
    """Return a layer of a Transformer encoder, normalised first, on [B, T, W]."""
    return nn.TransformerEncoderLayer(
        settings["width"],
        settings["heads"],
        4 * settings["width"],
        settings["dropout"],
        "gelu",
        batch_first=True,
        norm_first=True,
    )


class TokenFusion(Scheme):
    """One Transformer over the tokens of all modalities and a summary token, which a linear layer reads.

    Every token sees the tokens of every modality from the first layer on. What is no token is masked; the summary token
    never is, so that an item with a single token is as good as any.
    """

    reads = "tokens"

    def __init__(self, features: list[str], dims: list[int], n_classes: int, settings: dict[str, Any]) -> None:
        super().__init__(features, settings)
        width = settings["width"]
        self.project = Projection(dims, width)
        self.summary = nn.Parameter(0.02 * torch.randn(width))
        self.layers = nn.ModuleList(attention_layer(settings) for _ in range(settings["layers"]))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, n_classes))

    def attend(self, features: list[Tensor], present: Tensor) -> Tensor:
        """Return the summary and all tokens, modality by modality, after the last layer, float32 [B, 1 + ΣT_m, W]."""
        vectors, masks = self.project(features, present)
        summary = self.summary.expand(len(present), 1, -1)
        x = torch.cat([summary, *vectors], dim=1)
        absent = torch.cat([torch.zeros_like(present[:, :1]), *(~mask for mask in masks)], dim=1)
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=absent)
        return x

    def forward(self, features: list[Tensor], present: Tensor) -> Tensor:
        return self.head(self.attend(features, present)[:, 0]).log_softmax(dim=1)


class Bottleneck(Scheme):
    """Attention bottlenecks: a Transformer for each modality; they exchange a few tokens from a middle layer on.

    In the fusing layers each modality attends to its own tokens, its own summary and the bottleneck tokens, whose new
    values are the mean over the modalities that an item has. One linear layer reads all summaries, and the logits are
    the mean over these modalities (Nagrani et al., *Attention bottlenecks for multimodal fusion*, NeurIPS 2021).
    """

    reads = "tokens"

    def __init__(self, features: list[str], dims: list[int], n_classes: int, settings: dict[str, Any]) -> None:
        super().__init__(features, settings)
        width, self.n_alone = settings["width"], settings["layers_alone"]
        n_layers = self.n_alone + settings["layers_fused"]
        self.project = Projection(dims, width)
        self.summaries = nn.Parameter(0.02 * torch.randn(len(dims), width))
        self.bottleneck = nn.Parameter(0.02 * torch.randn(settings["bottleneck_tokens"], width))
        self.streams = nn.ModuleList(
            nn.ModuleList(attention_layer(settings) for _ in range(n_layers)) for _ in features
        )
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, n_classes))

    def forward(self, features: list[Tensor], present: Tensor) -> Tensor:
        logits = self.head(self.attend(features, present))  # [B, M, C]
        return _mean(logits, present).log_softmax(dim=1)

    def attend(self, features: list[Tensor], present: Tensor) -> Tensor:
        """Return the summaries of all modalities after the last layer, float32 [B, M, W]."""
        vectors, masks = self.project(features, present)
        n_items, n_shared = len(present), len(self.bottleneck)
        never = torch.zeros(n_items, 1, dtype=torch.bool, device=present.device)
        absent = [torch.cat([never, ~mask], dim=1) for mask in masks]
        x = [
            torch.cat([summary.expand(n_items, 1, -1), own], dim=1)
            for summary, own in zip(self.summaries, vectors, strict=True)
        ]
        shared = self.bottleneck.expand(n_items, -1, -1)
        streams: Any = self.streams  # lists of layers
        for number, layers in enumerate(zip(*streams, strict=True)):
            if number < self.n_alone:
                x = [layer(own, src_key_padding_mask=gone) for layer, own, gone in zip(layers, x, absent, strict=True)]
                continue
            both = [
                layer(
                    torch.cat([own, shared], dim=1), src_key_padding_mask=torch.cat([gone, *[never] * n_shared], dim=1)
                )
                for layer, own, gone in zip(layers, x, absent, strict=True)
            ]
            x = [own[:, :-n_shared] for own in both]
            shared = _mean(torch.stack([own[:, -n_shared:] for own in both], dim=1), present)
        return torch.stack([own[:, 0] for own in x], dim=1)


def _mean(x: Tensor, present: Tensor) -> Tensor:
    """Return the mean [B, …] of float32 [B, M, …] over the modalities that an item has, at least one."""
    weights = present.to(x.dtype).reshape(*present.shape, *[1] * (x.ndim - 2))
    return (x * weights).sum(dim=1) / weights.sum(dim=1)

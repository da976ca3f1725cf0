"""Schemes of several classifiers that are trained one by one and combined on their class probabilities.

Each part is trained alone, with its own early stopping: under one common loss the part that learns fastest takes the
gradient from the others, and under one common stop a part is kept before or after its best epoch; either can push late
fusion below its best modality. What the combination learns is fitted on the validation items, since the parts
have seen the training items and are too sure of them.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from braid.schemes.batch import Batch
from braid.schemes.combine import COMBINATIONS, fit_combination
from braid.schemes.fit import Epoch
from braid.schemes.networks import Early, Scheme, Single


class Combined(Scheme):
    """Base: parts, each of which reads some of the modalities, and a combination of their votes.

    Parameters
    ----------
    parts : list of (Scheme, list of int) [P]
        The classifiers and the modalities that each reads.
    """

    def __init__(
        self, features: list[str], n_classes: int, settings: dict[str, Any], parts: list[tuple[Scheme, list[int]]]
    ) -> None:
        super().__init__(features, settings)
        self.parts = nn.ModuleList(part for part, _ in parts)
        self.reads = [reads for _, reads in parts]
        self.combination = COMBINATIONS[settings["combine"]](len(parts), n_classes)

    def forward(self, features: list[Tensor], present: Tensor) -> Tensor:
        return self.combination(*self._votes(features, present))

    def learn(self, train: Batch, val: Batch) -> list[Epoch]:
        history: list[Epoch] = []
        for part, reads in zip(self.parts, self.reads, strict=True):
            history += cast(Scheme, part).learn(train.of(reads), val.of(reads))
        val = val.usable()
        with torch.no_grad():
            log_p, votes = self._votes(val.features, val.present)
        fit_combination(self.combination, log_p, votes, val.labels, self.settings["combine_decay"])
        return history

    def _votes(self, features: list[Tensor], present: Tensor) -> tuple[Tensor, Tensor]:
        """Return log probabilities [B, P, C] of the parts and the mask [B, P] of those that have seen the item."""
        log_p = [
            part([features[m] for m in reads], present[:, reads])
            for part, reads in zip(self.parts, self.reads, strict=True)
        ]
        return torch.stack(log_p, dim=1), torch.stack([present[:, reads].any(dim=1) for reads in self.reads], dim=1)


class Late(Combined):
    """A classifier for each modality."""

    def __init__(self, features: list[str], dims: list[int], n_classes: int, settings: dict[str, Any]) -> None:
        super().__init__(features, n_classes, settings, _unimodal(features, dims, n_classes, settings))


class Double(Combined):
    """A classifier for each modality and early fusion beside them ("double fusion", Lan et al. 2012)."""

    def __init__(self, features: list[str], dims: list[int], n_classes: int, settings: dict[str, Any]) -> None:
        early = Early(features, dims, n_classes, settings | {"hidden": settings["early_hidden"]})
        parts = [*_unimodal(features, dims, n_classes, settings), (early, list(range(len(dims))))]
        super().__init__(features, n_classes, settings, parts)


def _unimodal(
    features: list[str], dims: list[int], n_classes: int, settings: dict[str, Any]
) -> list[tuple[Scheme, list[int]]]:
    return [
        (Single([name], [dim], n_classes, settings), [m])
        for m, (name, dim) in enumerate(zip(features, dims, strict=True))
    ]

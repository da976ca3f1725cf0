"""Schemes of several classifiers that are trained one by one and combined on their class probabilities.

Each part is trained alone, with its own early stopping: under one common loss the part that learns fastest takes the
gradient from the others, and under one common stop a part is kept before or after its best epoch; either can push late
fusion below its best modality. What the combination learns is fitted on items that the parts have not been trained on,
since they are too sure of those: the validation items, or all training items by parts that were trained without them.
"""

from __future__ import annotations

import copy
from typing import Any, cast

import torch
from torch import Tensor, nn

from braid.schemes.base import Scheme
from braid.schemes.batch import Selection
from braid.schemes.combine import COMBINATIONS, Learned
from braid.schemes.fit import CHUNK, Epoch
from braid.schemes.folds import group_folds
from braid.schemes.networks import Early, Single


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
        self.reads_of = [reads for _, reads in parts]
        self.combination = COMBINATIONS[settings["combine"]](len(parts), n_classes)

    def forward(self, features: list[Tensor], present: Tensor) -> Tensor:
        return self.combination(*self._votes(features, present))

    def learn(self, train: Selection, val: Selection) -> list[Epoch]:
        if not isinstance(self.combination, Learned):
            return self._learn_parts(train, val)
        if self.settings["fit_on"] == "val":
            history = self._learn_parts(train, val)
            seen = val.usable()
            votes = self._scores(seen)
        else:
            seen = train.usable()
            votes = self._out_of_fold(seen, val)
            history = self._learn_parts(train, val)
        self.combination.fit(*votes, seen.labels, seen.groups)
        return history

    def _learn_parts(self, train: Selection, val: Selection) -> list[Epoch]:
        history: list[Epoch] = []
        for part, reads in zip(self.parts, self.reads_of, strict=True):
            history += cast(Scheme, part).learn(train.of(reads), val.of(reads))
        return history

    def _out_of_fold(self, train: Selection, val: Selection) -> tuple[Tensor, Tensor]:
        """Return what parts say of training items that they were trained without; they stop by the same `val`."""
        found: list[tuple[Tensor, Tensor, Tensor]] = []
        for rest, held in group_folds(train.groups, self.settings["n_folds"]):
            trial = copy.deepcopy(self)
            trial._learn_parts(train.rows(rest), val)
            found.append((held, *trial._scores(train.rows(held))))
        held, log_p, votes = (torch.cat(each) for each in zip(*found, strict=True))
        order = held.argsort()
        return log_p[order], votes[order]

    @torch.no_grad()
    def _scores(self, items: Selection) -> tuple[Tensor, Tensor]:
        self.eval()
        parts = [self._votes(batch.features, batch.present) for batch in items.in_turn(CHUNK)]
        log_p, votes = (torch.cat(each) for each in zip(*parts, strict=True))
        return log_p, votes

    def _votes(self, features: list[Tensor], present: Tensor) -> tuple[Tensor, Tensor]:
        """Return log probabilities [B, P, C] of the parts and the mask [B, P] of those that have seen the item."""
        log_p = [
            part([features[m] for m in reads], present[:, reads])
            for part, reads in zip(self.parts, self.reads_of, strict=True)
        ]
        return torch.stack(log_p, dim=1), torch.stack([present[:, reads].any(dim=1) for reads in self.reads_of], dim=1)


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

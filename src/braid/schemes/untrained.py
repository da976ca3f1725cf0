"""Schemes without a network of their own: scores of an extractor, ensembles of other schemes, post-processing of one.

They read log probabilities, float32 [B, C] for each modality, a modality being an extractor or another scheme.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from braid.errors import TrainingError
from braid.schemes.base import Scheme
from braid.schemes.batch import Selection
from braid.schemes.combine import COMBINATIONS
from braid.schemes.fit import Epoch


class Scores(Scheme):
    """The scores of an extractor as they are: of the names of classes (Radford et al., ICML 2021), or of a backbone."""

    reads = "scores"

    def __init__(self, features: list[str], dims: list[int], n_classes: int, settings: dict[str, Any]) -> None:
        super().__init__(features, settings)

    def forward(self, features: list[Tensor], present: Tensor) -> Tensor:
        (log_p,) = features
        return log_p

    def learn(self, train: Selection, val: Selection) -> list[Epoch]:
        return []


class Ensemble(Scheme):
    """The class probabilities of other schemes, combined; what the combination learns is fitted on val.

    A scheme does not vote on items for which it had none of its own inputs.
    """

    reads = "predictions"

    def __init__(self, schemes: list[str], dims: list[int], n_classes: int, settings: dict[str, Any]) -> None:
        super().__init__(schemes, settings)
        self.combination = COMBINATIONS[settings["combine"]](len(schemes), n_classes)

    def forward(self, features: list[Tensor], present: Tensor) -> Tensor:
        return self.combination(torch.stack(features, dim=1), present)

    def learn(self, train: Selection, val: Selection) -> list[Epoch]:
        seen = val.usable()
        if not len(seen):
            raise TrainingError(
                f"No validation item is answered by {self.name}, so that there is nothing to fit on; put such items "
                f"into `val`."
            )
        log_p = torch.stack(seen.batch().features, dim=1)
        self.combination.fit(log_p, seen.present, seen.labels, seen.groups)
        return []

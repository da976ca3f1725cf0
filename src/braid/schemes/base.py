"""What a scheme is: from what it reads of an item to the logarithm of class probabilities.

Letters: B items, M modalities, D_m numbers of modality m, C classes. `forward(features, present)` takes one tensor for
each modality and the mask bool [B, M] and returns float32 [B, C]. Every item given has at least one modality. A scheme
is a function of its inputs, parameters and buffers alone, so that `torch.func` can stack several of one shape (of
attention layers one after the other: torch has no batching rule for them).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from braid.schemes.batch import Selection
from braid.schemes.fit import Epoch, fit, predict

Reads = Literal["embedding", "tokens", "scores", "predictions"]


class Scheme(nn.Module, ABC):
    """Base of all schemes; each is made from the names of its M inputs, their D_m, C, and its entry of the config.

    Attributes
    ----------
    reads : str
        What the tensor of a modality is. `embedding`: standardised, float32 [B, D_m]. `tokens`: float32
        [B, T_m, 2 + D_m], of each token the seconds [start, end) since the item's start and its standardised numbers;
        a row of NaN is no token. `scores`: log probabilities [B, C] by the extractor's own classes. `predictions`:
        log probabilities [B, C] by another scheme, which is then the modality.
    """

    reads: ClassVar[Reads] = "embedding"

    def __init__(self, names: list[str], settings: dict[str, Any]) -> None:
        super().__init__()
        self.name = "+".join(names)
        self.settings = settings

    @abstractmethod
    def forward(self, features: list[Tensor], present: Tensor) -> Tensor:
        """Return log probabilities, float32 [B, C]."""

    def learn(self, train: Selection, val: Selection) -> list[Epoch]:
        """Train in place and return what happened; schemes that are more than one network override this."""
        return fit(self, self.name, train, val, self.settings)

    @torch.no_grad()
    def predict(self, items: Selection) -> Tensor:
        """Return log probabilities of usable items in evaluation mode, float32 [B, C]."""
        return predict(self, items)


class Additive(Scheme):
    """Base of schemes whose logits are a sum with one term a modality, each from a branch of its own."""

    branches: nn.ModuleList

    @abstractmethod
    def terms(self, features: list[Tensor], present: Tensor) -> Tensor:
        """Return what each modality adds to the logits, float32 [B, M, C]."""

    def forward(self, features: list[Tensor], present: Tensor) -> Tensor:
        return self.terms(features, present).sum(dim=1).log_softmax(dim=1)

"""Schemes that are one network, trained as a whole.

A scheme is a network from standardised features to the logarithm of class probabilities. Letters: B items, M
modalities, D_m numbers of modality m, C classes. `forward(features, present)` takes float32 [B, D_m] for each modality
and the mask bool [B, M] and returns float32 [B, C]. Every item given has at least one modality.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from braid.schemes.batch import Batch
from braid.schemes.fit import Epoch, fit


class Scheme(nn.Module, ABC):
    """Base of all schemes; each is made from the same four arguments.

    Parameters
    ----------
    features : list of str [M]
        Names of the features.
    dims : list of int [M]
        D_m of each.
    n_classes : int
        C.
    settings : dict
        The complete entry of the config.
    """

    def __init__(self, features: list[str], settings: dict[str, Any]) -> None:
        super().__init__()
        self.name = "+".join(features)
        self.settings = settings

    @abstractmethod
    def forward(self, features: list[Tensor], present: Tensor) -> Tensor:
        """Return log probabilities, float32 [B, C]."""

    def learn(self, train: Batch, val: Batch) -> list[Epoch]:
        """Train in place and return what happened; parts that are trained one by one override this."""
        return fit(self, self.name, train, val, self.settings)


def head(dim: int, hidden: int, n_classes: int, dropout: float) -> nn.Sequential:
    """Return Linear, BatchNorm1d, GELU, Dropout, Linear: `dim` → `hidden` → `n_classes`."""
    return nn.Sequential(
        nn.Linear(dim, hidden), nn.BatchNorm1d(hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, n_classes)
    )


def branch(dim: int, hidden: int, out: int, dropout: float) -> nn.Sequential:
    """Return Linear, BatchNorm1d, ReLU, Dropout, Linear: `dim` → `hidden` → `out`."""
    return nn.Sequential(
        nn.Linear(dim, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, out)
    )


class Single(Scheme):
    """One modality and the MLP head."""

    def __init__(self, features: list[str], dims: list[int], n_classes: int, settings: dict[str, Any]) -> None:
        super().__init__(features, settings)
        (dim,) = dims
        self.head = head(dim, settings["hidden"], n_classes, settings["dropout"])

    def forward(self, features: list[Tensor], present: Tensor) -> Tensor:
        (x,) = features
        return self.head(x).log_softmax(dim=1)


class Early(Scheme):
    """One fully connected layer, or the MLP head, on the concatenated features (Snoek et al. 2005).

    A missing modality is zeros, the mean of the training items: without a hidden layer it adds nothing to any logit.
    """

    def __init__(self, features: list[str], dims: list[int], n_classes: int, settings: dict[str, Any]) -> None:
        super().__init__(features, settings)
        if settings["hidden"]:
            self.head = head(sum(dims), settings["hidden"], n_classes, settings["dropout"])
        else:
            self.head = nn.Linear(sum(dims), n_classes)

    def forward(self, features: list[Tensor], present: Tensor) -> Tensor:
        return self.head(torch.cat(features, dim=1)).log_softmax(dim=1)


class Intermediate(Scheme):
    """A branch for each modality, then a joint classifier of two linear layers (DCASE 2021 task 1B baseline).

    A missing modality adds nothing to the joint classifier: its block of the concatenation is zero.
    """

    def __init__(self, features: list[str], dims: list[int], n_classes: int, settings: dict[str, Any]) -> None:
        super().__init__(features, settings)
        width = settings["branch_out"]
        self.branches = nn.ModuleList(branch(d, settings["hidden"], width, settings["dropout"]) for d in dims)
        self.joint = nn.Sequential(
            nn.Linear(len(dims) * width, settings["joint_hidden"]), nn.Linear(settings["joint_hidden"], n_classes)
        )

    def forward(self, features: list[Tensor], present: Tensor) -> Tensor:
        parts = [net(x) * here[:, None] for net, x, here in zip(self.branches, features, present.T, strict=True)]
        return self.joint(torch.cat(parts, dim=1)).log_softmax(dim=1)


class Weighted(Scheme):
    """Logits of the first modality plus those of the others, each times class-wise weights learned along with them.

    A missing modality adds nothing to the sum. The weights [M - 1, C] start uniformly in ±0.1, so that training begins
    with the first modality nearly alone.
    """

    def __init__(self, features: list[str], dims: list[int], n_classes: int, settings: dict[str, Any]) -> None:
        super().__init__(features, settings)
        self.branches = nn.ModuleList(branch(d, settings["hidden"], n_classes, settings["dropout"]) for d in dims)
        self.weights = nn.Parameter(torch.empty(len(dims) - 1, n_classes).uniform_(-0.1, 0.1))

    def forward(self, features: list[Tensor], present: Tensor) -> Tensor:
        logits = torch.stack([net(x) for net, x in zip(self.branches, features, strict=True)], dim=1)  # [B, M, C]
        weights = torch.cat([torch.ones_like(self.weights[:1]), self.weights])
        return (logits * weights * present[:, :, None]).sum(dim=1).log_softmax(dim=1)

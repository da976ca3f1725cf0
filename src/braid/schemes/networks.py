"""Schemes that are one network on the embeddings of all modalities, trained as a whole.

Letters: B items, M modalities, D_m numbers of modality m, C classes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from braid.schemes.base import Additive, Scheme


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


class Intermediate(Additive):
    """A branch for each modality, then a joint classifier of two linear layers (DCASE 2021 task 1B baseline).

    A missing modality adds nothing to the joint classifier: its block of the concatenation is zero. With branches of
    256 numbers this is the CLIP late fusion network.
    """

    def __init__(self, features: list[str], dims: list[int], n_classes: int, settings: dict[str, Any]) -> None:
        super().__init__(features, settings)
        width = settings["branch_out"]
        self.branches = nn.ModuleList(branch(d, settings["hidden"], width, settings["dropout"]) for d in dims)
        self.first = nn.Linear(len(dims) * width, settings["joint_hidden"])
        self.second = nn.Linear(settings["joint_hidden"], n_classes)

    def forward(self, features: list[Tensor], present: Tensor) -> Tensor:
        return self.second(self.first(torch.cat(self._parts(features, present), dim=1))).log_softmax(dim=1)

    def terms(self, features: list[Tensor], present: Tensor) -> Tensor:
        # Nothing stands between the two linear layers, so that each block adds its own term; biases are shared equally.
        blocks = self.first.weight.chunk(len(features), dim=1)
        joint = torch.stack([x @ block.T for x, block in zip(self._parts(features, present), blocks, strict=True)], 1)
        joint = joint + self.first.bias / len(features)
        return joint @ self.second.weight.T + self.second.bias / len(features)

    def _parts(self, features: list[Tensor], present: Tensor) -> list[Tensor]:
        """Return what the branches give, float32 [B, width] each, zeros where the modality is missing."""
        return [net(x) * here[:, None] for net, x, here in zip(self.branches, features, present.T, strict=True)]


class Weighted(Additive):
    """Logits of the first modality plus those of the others, each times class-wise weights learned along with them.

    A missing modality adds nothing to the sum. The weights [M - 1, C] start uniformly in ±0.1, so that training begins
    with the first modality nearly alone.
    """

    def __init__(self, features: list[str], dims: list[int], n_classes: int, settings: dict[str, Any]) -> None:
        super().__init__(features, settings)
        self.branches = nn.ModuleList(branch(d, settings["hidden"], n_classes, settings["dropout"]) for d in dims)
        self.weights = nn.Parameter(torch.empty(len(dims) - 1, n_classes).uniform_(-0.1, 0.1))

    def terms(self, features: list[Tensor], present: Tensor) -> Tensor:
        logits = torch.stack([net(x) for net, x in zip(self.branches, features, strict=True)], dim=1)  # [B, M, C]
        weights = torch.cat([torch.ones_like(self.weights[:1]), self.weights])
        return logits * weights * present[:, :, None]


class Gated(Scheme):
    """Gated multimodal units: each hidden number is a mixture of what the modalities say, by gates that see them all.

    h = Σ g_m ⊙ tanh(W_m z_m + b_m), the gates g = softmax over modalities of V [z_1; …; z_M] + c, then one linear layer
    (Arevalo et al., *Gated multimodal units for information fusion*, ICLR workshop 2017). For two modalities the
    softmax is their sigmoid and one minus it. A missing modality has the gate 0.
    """

    def __init__(self, features: list[str], dims: list[int], n_classes: int, settings: dict[str, Any]) -> None:
        super().__init__(features, settings)
        hidden = settings["hidden"]
        self.branches = nn.ModuleList(nn.Sequential(nn.Linear(d, hidden), nn.Tanh()) for d in dims)
        self.gates = nn.Linear(sum(dims), len(dims) * hidden)
        self.head = nn.Sequential(nn.Dropout(settings["dropout"]), nn.Linear(hidden, n_classes))

    def forward(self, features: list[Tensor], present: Tensor) -> Tensor:
        said = torch.stack([net(x) for net, x in zip(self.branches, features, strict=True)], dim=1)  # [B, M, H]
        gates = self.gates(torch.cat(features, dim=1)).reshape(said.shape)
        gates = gates.masked_fill(~present[:, :, None], -torch.inf).softmax(dim=1)
        return self.head((gates * said).sum(dim=1)).log_softmax(dim=1)

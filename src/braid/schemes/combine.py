"""Ways to combine the class probabilities of several classifiers; the second stage of late fusion.

Letters: B items, P parts (classifiers), C classes. Each takes log probabilities float32 [B, P, C] and the mask bool
[B, P] of the parts that have seen the item, at least one of them, and returns log probabilities [B, C]. A part that has
not seen the item does not vote under `Mean`; to the three that learn it is one that finds all classes alike. These read
scores s = log p + log C, begin as the geometric mean of the parts, and are convex problems, which `fit_combination`
solves.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import nll_loss


class Mean(nn.Module):
    """p = mean of p_m over the parts that vote (Lan et al. 2012)."""

    def __init__(self, n_parts: int, n_classes: int) -> None:
        super().__init__()

    def forward(self, log_p: Tensor, votes: Tensor) -> Tensor:
        p = log_p.exp() * votes[:, :, None]
        return (p.sum(dim=1) / votes.sum(dim=1, keepdim=True)).log()


class ScalarWeights(nn.Module):
    """log p_c = Σ w_m s_mc + const, one weight a part: a logarithmic opinion pool (Genest and Zidek 1986)."""

    def __init__(self, n_parts: int, n_classes: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.full((n_parts, 1), 1 / n_parts))

    def forward(self, log_p: Tensor, votes: Tensor) -> Tensor:
        return (self.weights * _scores(log_p, votes)).sum(dim=1).log_softmax(dim=1)


class ClassWeights(ScalarWeights):
    """log p_c = Σ w_mc s_mc + const, one weight a part and class."""

    def __init__(self, n_parts: int, n_classes: int) -> None:
        super().__init__(n_parts, n_classes)
        self.weights = nn.Parameter(torch.full((n_parts, n_classes), 1 / n_parts))


class Linear(nn.Module):
    """One fully connected layer on all scores side by side (the second learning stage of Snoek et al. 2005)."""

    def __init__(self, n_parts: int, n_classes: int) -> None:
        super().__init__()
        self.layer = nn.Linear(n_parts * n_classes, n_classes)
        with torch.no_grad():
            self.layer.weight.copy_((torch.eye(n_classes) / n_parts).repeat(1, n_parts))
            self.layer.bias.zero_()

    def forward(self, log_p: Tensor, votes: Tensor) -> Tensor:
        return self.layer(_scores(log_p, votes).flatten(start_dim=1)).log_softmax(dim=1)


COMBINATIONS: dict[str, type[nn.Module]] = {
    "mean": Mean,
    "scalar_weights": ScalarWeights,
    "class_weights": ClassWeights,
    "linear": Linear,
}


def fit_combination(combination: nn.Module, log_p: Tensor, votes: Tensor, labels: Tensor, decay: float) -> None:
    """Fit what a combination learns, in place, to items on which the parts themselves were not trained.

    Minimises mean cross entropy + `decay` · ‖θ - θ₀‖², θ₀ being the geometric mean, by L-BFGS on all items at once, in
    double precision.

    Parameters
    ----------
    log_p, votes : as for `forward`
    labels : int64 [B]
    decay : float
        How strongly the combination is held to the geometric mean.
    """
    parameters = list(combination.parameters())
    if not parameters:
        return
    combination.double()
    start = [parameter.detach().clone() for parameter in parameters]
    optimiser = torch.optim.LBFGS(parameters, max_iter=200, line_search_fn="strong_wolfe")

    def objective() -> Tensor:
        optimiser.zero_grad()
        loss = nll_loss(combination(log_p.double(), votes), labels)
        for parameter, origin in zip(parameters, start, strict=True):
            loss = loss + decay * (parameter - origin).square().sum()
        loss.backward()
        return loss

    optimiser.step(objective)
    combination.float()


def _scores(log_p: Tensor, votes: Tensor) -> Tensor:
    """Return s = log p + log C of the parts that vote and 0 of the others, as of one that finds all classes alike."""
    return (log_p + math.log(log_p.shape[2])) * votes[:, :, None]

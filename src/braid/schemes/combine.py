"""Ways to combine the class probabilities of several classifiers; the second stage of late fusion.

Letters: B items, P parts (classifiers), C classes. Each takes log probabilities float32 [B, P, C] and the mask bool
[B, P] of the parts that have seen the item, at least one of them, and returns log probabilities [B, C]. A part that has
not seen the item does not vote. All begin as a plain mean; what they learn is fitted by `fit_combination`.
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
        return _mixture(log_p, torch.zeros_like(log_p), votes)


class ScalarWeights(nn.Module):
    """p = Σ w_m p_m with one weight a part, w = softmax(α) over the parts that vote."""

    def __init__(self, n_parts: int, n_classes: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(n_parts, 1))

    def forward(self, log_p: Tensor, votes: Tensor) -> Tensor:
        return _mixture(log_p, self.alpha.expand_as(log_p), votes)


class ClassWeights(nn.Module):
    """p_c ∝ Σ w_mc p_mc with one weight a part and class, w_·c = softmax(α_·c) over the parts that vote."""

    def __init__(self, n_parts: int, n_classes: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(n_parts, n_classes))

    def forward(self, log_p: Tensor, votes: Tensor) -> Tensor:
        return _mixture(log_p, self.alpha.expand_as(log_p), votes).log_softmax(dim=1)


class Linear(nn.Module):
    """softmax of one fully connected layer on the concatenated scores (second learning stage of Snoek et al. 2005).

    The scores are log p + log C, so that a part that is undecided between all classes, or does not vote, adds zero.
    It begins as the geometric mean.
    """

    def __init__(self, n_parts: int, n_classes: int) -> None:
        super().__init__()
        self.layer = nn.Linear(n_parts * n_classes, n_classes)
        with torch.no_grad():
            self.layer.weight.copy_((torch.eye(n_classes) / n_parts).repeat(1, n_parts))
            self.layer.bias.zero_()

    def forward(self, log_p: Tensor, votes: Tensor) -> Tensor:
        scores = (log_p + math.log(log_p.shape[2])) * votes[:, :, None]
        return self.layer(scores.flatten(start_dim=1)).log_softmax(dim=1)


COMBINATIONS: dict[str, type[nn.Module]] = {
    "mean": Mean,
    "scalar_weights": ScalarWeights,
    "class_weights": ClassWeights,
    "linear": Linear,
}


def fit_combination(combination: nn.Module, log_p: Tensor, votes: Tensor, labels: Tensor, decay: float) -> None:
    """Fit what a combination learns, in place, to items on which the parts themselves were not trained.

    Minimises mean cross entropy + `decay` · ‖θ - θ₀‖², θ₀ being the plain mean, by L-BFGS on all items at once, in
    double precision.

    Parameters
    ----------
    log_p, votes : as for `forward`
    labels : int64 [B]
    decay : float
        How strongly the combination is held to the plain mean.
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


def _mixture(log_p: Tensor, alpha: Tensor, votes: Tensor) -> Tensor:
    """Return log Σ_m w_mc p_mc, [B, C], with weights w = softmax of `alpha` over the parts that vote."""
    log_w = alpha.masked_fill(~votes[:, :, None], -math.inf).log_softmax(dim=1)
    return (log_w + log_p).logsumexp(dim=1)

"""Ways to combine the class probabilities of several classifiers: the second stage of late fusion, and ensembles.

Letters: B items, P parts (classifiers), C classes. Each takes log probabilities float32 [B, P, C] and the mask bool
[B, P] of the parts that have seen the item, at least one of them, and returns log probabilities [B, C]. A part that has
not seen the item does not vote where probabilities are averaged; where logarithms are summed it is one that finds all
classes alike: scores are s = log p + log C.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn.functional import nll_loss, one_hot

from braid.schemes.folds import group_folds

MANY_DECAYS = (1.0, 10.0, 100.0, 1000.0, 10000.0)
"""For combinations with many parameters, of which a hundred items could fit noise."""


class Combination(nn.Module, ABC):
    """Base, made for P parts and C classes; what has something to learn overrides `fit`."""

    def __init__(self, n_parts: int, n_classes: int) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, log_p: Tensor, votes: Tensor) -> Tensor:
        """Return log probabilities, float32 [B, C]."""

    def fit(self, log_p: Tensor, votes: Tensor, labels: Tensor, groups: Tensor) -> None:
        """Learn, in place, from items that the parts have not been trained on.

        Parameters
        ----------
        log_p, votes : as for `forward`
        labels, groups : int64 [B]
        """


class Mean(Combination):
    """p = mean of p_m over the parts that vote (Lan et al. 2012)."""

    def forward(self, log_p: Tensor, votes: Tensor) -> Tensor:
        return _pool(log_p, votes.to(log_p.dtype)[:, :, None])


class OwnConfidence(Combination):
    """p_c ∝ Σ p_mc²: each part is weighted, class by class and item by item, by its own confidence."""

    def forward(self, log_p: Tensor, votes: Tensor) -> Tensor:
        return _pool(log_p, votes[:, :, None] * log_p.exp())


class ClassReliability(Combination):
    """Base of p_c ∝ Σ w_mc p_mc with weights that say how reliable a part has been for a class.

    A weight is held to the mean over the classes as by `PRIOR` more items, so that a class without items does not
    decide.
    """

    PRIOR = 2.0
    weights: Tensor

    def __init__(self, n_parts: int, n_classes: int) -> None:
        super().__init__(n_parts, n_classes)
        self.register_buffer("weights", torch.ones(n_parts, n_classes))

    def forward(self, log_p: Tensor, votes: Tensor) -> Tensor:
        return _pool(log_p, votes[:, :, None] * self.weights)

    def fit(self, log_p: Tensor, votes: Tensor, labels: Tensor, groups: Tensor) -> None:
        true = one_hot(labels, log_p.shape[2]).to(log_p.dtype)
        for m, voted in enumerate(votes.T):
            if voted.any():
                self.weights[m] = self.reliability(log_p[voted, m], true[voted])

    @abstractmethod
    def reliability(self, log_p: Tensor, true: Tensor) -> Tensor:
        """Return the weights [C] of one part from its log probabilities and the one-hot labels, both [B, C]."""

    def held(self, hits: Tensor, counts: Tensor) -> Tensor:
        """Return hits over counts, both [C], with the ratio of their sums counted `PRIOR` times more."""
        return (hits + self.PRIOR * hits.sum() / counts.sum()) / (counts + self.PRIOR)


class ClassPrecision(ClassReliability):
    """Weights are precisions: how often the class was right where the part said it."""

    def reliability(self, log_p: Tensor, true: Tensor) -> Tensor:
        said = one_hot(log_p.argmax(dim=1), log_p.shape[1]).to(log_p.dtype)
        return self.held((said * true).sum(dim=0), said.sum(dim=0))


class ClassF1(ClassReliability):
    """Weights are F1 scores: precision, and how often the part found the class."""

    def reliability(self, log_p: Tensor, true: Tensor) -> Tensor:
        said = one_hot(log_p.argmax(dim=1), log_p.shape[1]).to(log_p.dtype)
        return self.held(2 * (said * true).sum(dim=0), (said + true).sum(dim=0))


class ClassLogLoss(ClassReliability):
    """Weights are one over the mean log loss of the part on the items of the class."""

    def reliability(self, log_p: Tensor, true: Tensor) -> Tensor:
        losses = -(true * log_p.clamp(min=math.log(torch.finfo(log_p.dtype).eps))).sum(dim=0)
        return 1 / self.held(losses, true.sum(dim=0)).clamp(min=torch.finfo(log_p.dtype).eps)


class Learned(Combination):
    """Base of combinations whose parameters θ minimise the log loss.

    Minimises summed cross entropy + decay · ‖θ - θ₀‖² by L-BFGS on all items at once, in double precision: few items
    leave θ near θ₀, and many do not. Of several decays the one with the least log loss in a cross-validation over
    groups is taken, and where there are too few groups for it the largest.
    """

    DECAYS: tuple[float, ...] = (1.0,)
    N_FOLDS = 5

    def begin(self, log_p: Tensor, votes: Tensor, labels: Tensor) -> None:
        """Set θ₀; without this it is what `__init__` set."""

    def fit(self, log_p: Tensor, votes: Tensor, labels: Tensor, groups: Tensor) -> None:
        decay = max(self.DECAYS)
        if len(self.DECAYS) > 1 and len(groups.unique()) >= self.N_FOLDS:
            decay = min(self.DECAYS, key=lambda each: self._held_out_loss(log_p, votes, labels, groups, each))
        self._minimise(log_p, votes, labels, decay)

    @torch.no_grad()
    def _held_out_loss(self, log_p: Tensor, votes: Tensor, labels: Tensor, groups: Tensor, decay: float) -> float:
        loss = 0.0
        for rest, held in group_folds(groups, self.N_FOLDS):
            trial = copy.deepcopy(self)
            with torch.enable_grad():
                trial._minimise(log_p[rest], votes[rest], labels[rest], decay)
            loss += nll_loss(trial(log_p[held], votes[held]), labels[held], reduction="sum").item()
        return loss

    def _minimise(self, log_p: Tensor, votes: Tensor, labels: Tensor, decay: float) -> None:
        self.begin(log_p, votes, labels)
        self.double()
        parameters = list(self.parameters())
        start = [parameter.detach().clone() for parameter in parameters]
        optimiser = torch.optim.LBFGS(parameters, max_iter=200, line_search_fn="strong_wolfe")
        scores = log_p.double()

        def objective() -> Tensor:
            optimiser.zero_grad()
            loss = nll_loss(self(scores, votes), labels)
            for parameter, origin in zip(parameters, start, strict=True):
                loss = loss + decay / len(labels) * (parameter - origin).square().sum()
            loss.backward()
            return loss

        optimiser.step(objective)
        self.float()


class LinearPool(Learned):
    """p = Σ w_m p_m, w the softmax of one number a part, over the parts that vote: a linear pool (Stone 1961)."""

    def __init__(self, n_parts: int, n_classes: int) -> None:
        super().__init__(n_parts, n_classes)
        self.alpha = nn.Parameter(torch.zeros(n_parts))

    def forward(self, log_p: Tensor, votes: Tensor) -> Tensor:
        return _pool(log_p, (votes * self.alpha.softmax(dim=0))[:, :, None])


class ScalarWeights(Learned):
    """log p_c = Σ w_m s_mc + const, one weight a part: a logarithmic opinion pool (Genest and Zidek 1986)."""

    def __init__(self, n_parts: int, n_classes: int) -> None:
        super().__init__(n_parts, n_classes)
        self.weights = nn.Parameter(torch.full((n_parts, 1), 1 / n_parts))

    def forward(self, log_p: Tensor, votes: Tensor) -> Tensor:
        return (self.weights * _scores(log_p, votes)).sum(dim=1).log_softmax(dim=1)


class ClassWeights(Learned):
    """log p_c = Σ w_mc s_mc + const, one weight a part and class; θ₀ are the fitted scalar weights."""

    DECAYS = MANY_DECAYS

    def __init__(self, n_parts: int, n_classes: int) -> None:
        super().__init__(n_parts, n_classes)
        self.weights = nn.Parameter(torch.full((n_parts, n_classes), 1 / n_parts))

    def begin(self, log_p: Tensor, votes: Tensor, labels: Tensor) -> None:
        with torch.no_grad():
            self.weights.copy_(_fitted_scalars(log_p, votes, labels))

    def forward(self, log_p: Tensor, votes: Tensor) -> Tensor:
        return (self.weights * _scores(log_p, votes)).sum(dim=1).log_softmax(dim=1)


class Linear(Learned):
    """One fully connected layer on all scores side by side (Snoek et al. 2005); θ₀ are the fitted scalar weights."""

    DECAYS = MANY_DECAYS

    def __init__(self, n_parts: int, n_classes: int) -> None:
        super().__init__(n_parts, n_classes)
        self.layer = nn.Linear(n_parts * n_classes, n_classes)
        with torch.no_grad():
            self.layer.bias.zero_()
        self._set(torch.full((n_parts, 1), 1 / n_parts))

    def begin(self, log_p: Tensor, votes: Tensor, labels: Tensor) -> None:
        self._set(_fitted_scalars(log_p, votes, labels))

    def _set(self, weights: Tensor) -> None:
        """Make the layer the weighted sum of the parts, by weights [P, 1]."""
        with torch.no_grad():
            blocks = [weight * torch.eye(len(self.layer.bias)) for weight in weights]
            self.layer.weight.copy_(torch.cat(blocks, dim=1))

    def forward(self, log_p: Tensor, votes: Tensor) -> Tensor:
        return self.layer(_scores(log_p, votes).flatten(start_dim=1)).log_softmax(dim=1)


class Temperature(Learned):
    """p ∝ Π p_m^(1/T): one temperature for all; with one part it changes confidence only (Guo et al. 2017)."""

    def __init__(self, n_parts: int, n_classes: int) -> None:
        super().__init__(n_parts, n_classes)
        self.log_temperature = nn.Parameter(torch.zeros(()))

    def forward(self, log_p: Tensor, votes: Tensor) -> Tensor:
        return (_scores(log_p, votes).sum(dim=1) / self.log_temperature.exp()).log_softmax(dim=1)


class Vector(Learned):
    """log p_c = Σ w_mc s_mc + b_c + const: vector scaling (Guo et al. 2017), with one part a scale and bias a class."""

    DECAYS = MANY_DECAYS

    def __init__(self, n_parts: int, n_classes: int) -> None:
        super().__init__(n_parts, n_classes)
        self.weights = nn.Parameter(torch.ones(n_parts, n_classes))
        self.bias = nn.Parameter(torch.zeros(n_classes))

    def forward(self, log_p: Tensor, votes: Tensor) -> Tensor:
        return ((self.weights * _scores(log_p, votes)).sum(dim=1) + self.bias).log_softmax(dim=1)


class Sharpen(Learned):
    """p_c ∝ (Σ w_mc p_mc^g)^(1/T) over the parts that vote, with g, T and all w more than 0."""

    DECAYS = MANY_DECAYS

    def __init__(self, n_parts: int, n_classes: int) -> None:
        super().__init__(n_parts, n_classes)
        self.log_weights = nn.Parameter(torch.zeros(n_parts, n_classes))
        self.log_power = nn.Parameter(torch.zeros(()))
        self.log_temperature = nn.Parameter(torch.zeros(()))

    def forward(self, log_p: Tensor, votes: Tensor) -> Tensor:
        terms = (self.log_weights + self.log_power.exp() * log_p).masked_fill(~votes[:, :, None], -torch.inf)
        return (terms.logsumexp(dim=1) / self.log_temperature.exp()).log_softmax(dim=1)


COMBINATIONS: dict[str, type[Combination]] = {
    "mean": Mean,
    "linear_pool": LinearPool,
    "scalar_weights": ScalarWeights,
    "class_weights": ClassWeights,
    "linear": Linear,
    "own_confidence": OwnConfidence,
    "class_precision": ClassPrecision,
    "class_f1": ClassF1,
    "class_log_loss": ClassLogLoss,
    "temperature": Temperature,
    "vector": Vector,
    "sharpen": Sharpen,
}


def _fitted_scalars(log_p: Tensor, votes: Tensor, labels: Tensor) -> Tensor:
    simpler = ScalarWeights(log_p.shape[1], log_p.shape[2])
    simpler._minimise(log_p, votes, labels, max(simpler.DECAYS))
    return simpler.weights.detach()


def _pool(log_p: Tensor, weights: Tensor) -> Tensor:
    """Return log of Σ w p over the parts, normalised; weights [B, P, 1] or [B, P, C], not negative."""
    p = (weights * log_p.exp()).sum(dim=1)
    return (p / p.sum(dim=1, keepdim=True)).log()


def _scores(log_p: Tensor, votes: Tensor) -> Tensor:
    """Return s = log p + log C of the parts that vote and 0 of the others, as of one that finds all classes alike."""
    return (log_p + math.log(log_p.shape[2])) * votes[:, :, None]

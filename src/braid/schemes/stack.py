"""Networks of one shape that are trained together on the same minibatches, as one network with one more dimension.

Each is trained by its own optimiser and schedule and stopped by its own validation loss, as `braid.schemes.fit.fit`
would do alone: with one seed for all, initial weights, minibatches and dropout are those of each alone, so that the
numbers are the same but for rounding.

Letters: P networks, B items, C classes, D numbers that go into a layer and E that come out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, nll_loss
from torch.overrides import TorchFunctionMode

from braid.errors import DivergedError
from braid.schemes.balance import drop_modalities
from braid.schemes.base import Scheme
from braid.schemes.batch import Batch, Selection
from braid.schemes.fit import CHUNK, Course, Epoch, usable

OWN = (
    "optimizer",
    "learning_rate",
    "weight_decay",
    "momentum",
    "schedule",
    "restart_epochs",
    "restart_factor",
    "plateau_patience",
    "plateau_factor",
    "epochs",
    "patience",
)
"""Settings in which the networks of a stack may differ; all others shape the network or its random numbers."""

MOST_NETWORKS = 64
MOST_NUMBERS = 1_000_000
"""Parameters of a stack, 4 MB: with its gradients and moments in memory, larger ones are slower than one by one."""


def can_be_stacked(scheme: Scheme) -> bool:
    """Return whether a scheme is one network with a batching rule, trained by nothing but its gradients."""
    alone = type(scheme).learn is Scheme.learn and scheme.reads == "embedding"
    return alone and not scheme.settings.get("gradient_modulation")


def most_together(scheme: Scheme) -> int:
    """Return how many networks of this size to train together."""
    n_parameters = sum(parameter.numel() for parameter in scheme.parameters())
    return min(MOST_NETWORKS, max(1, MOST_NUMBERS // n_parameters))


def fit_stack(schemes: Sequence[Scheme], train: Selection, val: Selection) -> list[list[Epoch] | None]:
    """Train schemes of one shape in place and leave each with the weights of its best epoch.

    Parameters
    ----------
    schemes : sequence of Scheme [P]
        Their settings differ in `OWN` at most; made with one seed, after which the random numbers have not been used.
    train, val : Selection
        Items that lack every modality are passed over.

    Returns
    -------
    list of list of Epoch, or None [P]
        As of `braid.schemes.fit.fit`; None for a network whose loss is no longer finite.

    Raises
    ------
    TrainingError
        No item can be used.
    """
    train, val = usable(schemes[0].name, train, val)
    courses = [Course(scheme, scheme.name, scheme.settings) for scheme in schemes]
    diverged: set[Course] = set()
    running, stack = courses, _Stack(schemes)
    while running:
        trained = stack.train_epoch(train, [course.optimiser for course in running], schemes[0].settings)
        for course, before, after in zip(running, trained, stack.score(val), strict=True):
            try:
                course.record(*before, *after)
            except DivergedError:
                diverged.add(course)
        left = [course for course in running if course.goes_on and course not in diverged]
        if len(left) < len(running):
            stack.release()
            if left:
                stack = _Stack([course.network for course in left])
        running = left
    return [None if course in diverged else course.finish() for course in courses]


class _Stack:
    """P networks whose parameters and buffers are parts of common tensors [P, …]: who changes one changes the other."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        self.networks = networks
        for network in networks:
            network.train()
        self.parameters, self.buffers = torch.func.stack_module_state(list(networks))
        for i, network in enumerate(networks):
            for name, parameter in network.named_parameters():
                parameter.data = self.parameters[name].data[i]
            for name, buffer in network.named_buffers():
                buffer.data = self.buffers[name][i]

    def release(self) -> None:
        """Give each network tensors of its own again, so that the common ones can go."""
        for network in self.networks:
            for tensor in (*network.parameters(), *network.buffers()):
                tensor.data = tensor.data.clone()

    def train_epoch(
        self, train: Selection, optimisers: Sequence[torch.optim.Optimizer], settings: dict[str, Any]
    ) -> list[tuple[float, float]]:
        """Train for one epoch and return loss and accuracy of each."""
        self.networks[0].train()
        dropped = settings.get("modality_dropout", 0)
        sums = torch.zeros(2, len(self.networks))
        for batch in train.shuffled(settings["batch_size"]):
            if dropped:
                batch = drop_modalities(batch, dropped)
            losses, right = self._judge(batch)
            for parameter in self.parameters.values():
                parameter.grad = None
            # Not `torch.autograd.grad`, whose gradients may lie in memory otherwise than what fused optimisers expect.
            losses.mean(dim=1).sum().backward()
            for i, (network, optimiser) in enumerate(zip(self.networks, optimisers, strict=True)):
                for name, parameter in network.named_parameters():
                    parameter.grad = cast(Tensor, self.parameters[name].grad)[i]
                optimiser.step()
            sums += torch.stack([losses.detach().sum(dim=1), right.sum(dim=1)])
        return _means(sums, len(train))

    @torch.no_grad()
    def score(self, val: Selection) -> list[tuple[float, float]]:
        """Return mean cross entropy in nats and accuracy of each in evaluation mode."""
        self.networks[0].eval()
        sums = torch.zeros(2, len(self.networks))
        for batch in val.in_turn(CHUNK):
            losses, right = self._judge(batch)
            sums += torch.stack([losses.sum(dim=1), right.sum(dim=1)])
        return _means(sums, len(val))

    def _judge(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the cross entropy, and whether the most probable class is right, float32 and bool [P, B]."""

        def run(parameters: dict[str, Tensor], buffers: dict[str, Tensor]) -> Tensor:
            given = (batch.features, batch.present)
            return torch.func.functional_call(self.networks[0], (parameters, buffers), given)

        with _WideLayers():
            log_p = torch.func.vmap(run, randomness="same")(self.parameters, self.buffers)
        labels = batch.labels.expand(len(log_p), -1)
        losses = nll_loss(log_p.flatten(0, 1), labels.flatten(), reduction="none").view_as(labels)
        return losses, log_p.argmax(dim=2) == labels


class _WideLayers(TorchFunctionMode):
    """Has linear layers computed by `_Wide`."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return _Wide.apply(*args) if func is linear else func(*args, **(kwargs or {}))


class _Wide(torch.autograd.Function):
    """A linear layer of all networks; on items that are the same for all one product, P times as wide.

    The batching rule of torch multiplies them network by network, which takes two to four times as long.
    """

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return linear(x, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keep nothing: what `vmap` computes, torch differentiates."""

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *args: Tensor) -> tuple[Tensor, int]:
        """Return what comes out and which dimension counts networks."""
        x, weight, bias = args  # weight [P, E, D], bias [P, E]
        if in_dims[0] is None:  # x [B, D]
            return linear(x, weight.flatten(0, 1), bias.flatten()).unflatten(1, bias.shape), 1
        return torch.baddbmm(bias[:, None], x.movedim(in_dims[0], 0), weight.mT), 0


def _means(sums: Tensor, n: int) -> list[tuple[float, float]]:
    return [(loss, accuracy) for loss, accuracy in (sums / n).T.tolist()]

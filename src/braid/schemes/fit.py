"""The training loop of every network: minibatches, early stopping, the best weights kept."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import nll_loss
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts, ReduceLROnPlateau

from braid.errors import DivergedError, TrainingError
from braid.schemes.balance import drop_modalities, modulate
from braid.schemes.batch import Selection

if TYPE_CHECKING:
    from braid.schemes.base import Additive

CHUNK = 1024
"""Items that are predicted at once; bounds memory."""


@dataclass(frozen=True)
class Epoch:
    """One line of `history.csv`: an epoch of one part of a scheme.

    Losses are mean cross entropies in nats, accuracies are in [0, 1]. Those of train are means over the epoch while the
    weights move and dropout is on; those of val are taken after it.
    """

    part: str
    epoch: int
    train_loss: float
    val_loss: float
    train_accuracy: float
    val_accuracy: float
    learning_rate: float
    kept: bool = False


class Course:
    """A network in training: its optimiser and schedule, what happened so far, its best weights.

    Attributes
    ----------
    goes_on : bool
        Whether another epoch is to follow.
    """

    def __init__(self, network: nn.Module, part: str, settings: dict[str, Any]) -> None:
        self.network, self.part, self.settings = network, part, settings
        self.optimiser = _optimiser(network, settings)
        self.goes_on = True
        self._advance = _schedule(self.optimiser, settings)
        self._history: list[Epoch] = []
        self._best, self._best_score, self._best_weights = 0, -math.inf, _weights(network)

    def record(self, train_loss: float, train_accuracy: float, val_loss: float, val_accuracy: float) -> None:
        """Take note of an epoch and move the schedule on.

        Raises
        ------
        DivergedError
            A loss is not finite.
        """
        epoch, rate = len(self._history), self.optimiser.param_groups[0]["lr"]
        if not math.isfinite(train_loss + val_loss):
            raise DivergedError(
                f"The loss of {self.part} is not finite in epoch {epoch + 1}; lower `learning_rate`, now {rate:g}."
            )
        self._history.append(Epoch(self.part, epoch + 1, train_loss, val_loss, train_accuracy, val_accuracy, rate))
        merit = val_accuracy if self.settings["monitor"] == "val_accuracy" else -val_loss
        if merit > self._best_score:
            self._best, self._best_score, self._best_weights = epoch, merit, _weights(self.network)
        self.goes_on = epoch - self._best < self.settings["patience"] and epoch + 1 < self.settings["epochs"]
        self._advance(val_loss)

    def finish(self) -> list[Epoch]:
        """Leave the network with the weights of its best epoch; return the history, in which `kept` marks it."""
        self.network.load_state_dict(self._best_weights)
        self.network.eval()
        self._history[self._best] = replace(self._history[self._best], kept=True)
        return self._history


def fit(network: nn.Module, part: str, train: Selection, val: Selection, settings: dict[str, Any]) -> list[Epoch]:
    """Train `network` in place by cross entropy and leave it with the weights of its best epoch.

    Parameters
    ----------
    network : module
        ``network(features, present)`` returns log probabilities [B, C].
    part : str
        What errors and the history call it.
    train, val : Selection
        Items that lack every modality of the network are passed over.
    settings : dict
        Complete entry of the config.

    Returns
    -------
    list of Epoch
        One an epoch; `kept` marks the best one, whose weights stay: the first with the smallest ``val_loss`` or the
        largest ``val_accuracy``, as ``monitor`` says.

    Raises
    ------
    TrainingError
        If no item can be used, or the loss is not finite.
    """
    train, val = usable(part, train, val)
    course = Course(network, part, settings)
    while course.goes_on:
        course.record(*_train_epoch(network, train, course.optimiser, settings), *score(network, val))
    return course.finish()


def usable(part: str, train: Selection, val: Selection) -> tuple[Selection, Selection]:
    """Return the items that have any modality of the network that is called `part`; TrainingError if these are none."""
    train, val = train.usable(), val.usable()
    if len(train) < 2:
        raise TrainingError(f"{part} needs two training items that have it, got {len(train)}; look at problems.tsv.")
    if not len(val):
        raise TrainingError(
            f"No validation item has {part}, so that training would not know when to stop; put such items into `val`."
        )
    return train, val


def _weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


@torch.no_grad()
def predict(network: nn.Module, items: Selection) -> Tensor:
    """Return what `network` says of the items in evaluation mode: log probabilities, float32 [B, C]."""
    network.eval()
    return torch.cat([network(part.features, part.present) for part in items.in_turn(CHUNK)])


def score(network: nn.Module, items: Selection) -> tuple[float, float]:
    """Return mean cross entropy in nats and accuracy of `network` in evaluation mode."""
    log_p = predict(network, items)
    return nll_loss(log_p, items.labels).item(), _n_correct(log_p, items.labels).item() / len(items)


def _train_epoch(
    network: nn.Module, train: Selection, optimiser: torch.optim.Optimizer, settings: dict[str, Any]
) -> tuple[float, float]:
    """Train for one epoch; what a scheme cannot be trained with, its settings do not have."""
    network.train()
    dropped, alpha = settings.get("modality_dropout", 0), settings.get("gradient_modulation", 0)
    loss_sum = torch.zeros(())
    n_correct = torch.zeros((), dtype=torch.int64)
    for batch in train.shuffled(settings["batch_size"]):
        if dropped:
            batch = drop_modalities(batch, dropped)
        optimiser.zero_grad()
        if alpha:
            terms = cast("Additive", network).terms(batch.features, batch.present)
            log_p = terms.sum(dim=1).log_softmax(dim=1)
        else:
            terms, log_p = None, network(batch.features, batch.present)
        loss = nll_loss(log_p, batch.labels)
        loss.backward()
        if terms is not None:
            modulate(cast("Additive", network).branches, terms.detach(), batch.present, batch.labels, alpha)
        optimiser.step()
        loss_sum += loss.detach() * len(batch)
        n_correct += _n_correct(log_p, batch.labels)
    return loss_sum.item() / len(train), n_correct.item() / len(train)


def _n_correct(log_p: Tensor, labels: Tensor) -> Tensor:
    return (log_p.argmax(dim=1) == labels).sum()


def _optimiser(network: nn.Module, settings: dict[str, Any]) -> torch.optim.Optimizer:
    rates = {"lr": settings["learning_rate"], "weight_decay": settings["weight_decay"]}
    match settings["optimizer"]:
        case "adamw":
            return torch.optim.AdamW(network.parameters(), **rates, fused=True)
        case "adam":
            return torch.optim.Adam(network.parameters(), **rates, fused=True)
        case "sgd":
            return torch.optim.SGD(network.parameters(), **rates, momentum=settings["momentum"], fused=True)
        case other:
            raise ValueError(f"optimizer must be adamw, adam or sgd, got {other!r}")


def _schedule(optimiser: torch.optim.Optimizer, settings: dict[str, Any]) -> Callable[[float], None]:
    """Return what is called with ``val_loss`` after each epoch."""
    match settings["schedule"]:
        case "cosine_warm_restarts":
            restarts = CosineAnnealingWarmRestarts(optimiser, settings["restart_epochs"], settings["restart_factor"])
            return lambda val_loss: restarts.step()
        case "reduce_on_plateau":
            return ReduceLROnPlateau(
                optimiser, factor=settings["plateau_factor"], patience=settings["plateau_patience"]
            ).step
        case "constant":
            return lambda val_loss: None
        case other:
            raise ValueError(f"schedule must be cosine_warm_restarts, reduce_on_plateau or constant, got {other!r}")

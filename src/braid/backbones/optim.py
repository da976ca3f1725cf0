"""How weights move: the optimiser, its learning rate as a function of time, the loss.

Letters: B items, K classes.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot


def optimiser(network: nn.Module, settings: Mapping[str, Any]) -> torch.optim.Optimizer:
    """Return the optimiser that settings ask for; weight decay is for parameters of two or more dimensions."""
    parameters = list(network.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": settings["weight_decay"]},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    rates = {"lr": settings["learning_rate"], "fused": settings["dtype"] != "float16"}  # where losses are scaled
    match settings["optimizer"]:
        case "adamw":
            return torch.optim.AdamW(groups, **rates)
        case "adam":
            return torch.optim.Adam(groups, **rates)
        case "sgd":
            return torch.optim.SGD(groups, **rates, momentum=settings["momentum"])
        case other:
            raise ValueError(f"optimizer must be adam, adamw or sgd, got {other!r}")


def learning_rate(settings: Mapping[str, Any], step: int, n_steps: int) -> float:
    """Return the learning rate of a step.

    Parameters
    ----------
    settings : mapping
        `learning_rate`, `schedule`, `epochs`, `warmup_epochs`, `milestones`, `gamma`.
    step : int
        Steps since training began, the first is 0.
    n_steps : int
        Steps of an epoch.
    """
    rate, time, warmup = settings["learning_rate"], step / n_steps, settings["warmup_epochs"]
    rate *= min(1.0, (step + 1) / (warmup * n_steps)) if warmup else 1.0
    match settings["schedule"]:
        case "constant":
            return rate
        case "cosine":
            share = max(time - warmup, 0) / max(settings["epochs"] - warmup, 1 / n_steps)
            return rate * (1 + math.cos(math.pi * min(share, 1))) / 2
        case "steps":
            return rate * settings["gamma"] ** bisect_right(sorted(settings["milestones"]), time)
        case other:
            raise ValueError(f"schedule must be constant, cosine or steps, got {other!r}")


def targets(labels: Tensor, n_classes: int) -> Tensor:
    """Return float32 [B, K] with a 1 for the class of each of `labels`, int64 [B]."""
    return one_hot(labels, n_classes).float()


def mix(x: Tensor, wanted: Tensor, alpha: float, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Return every item mixed with another one of the batch, and its targets (mixup: Zhang et al., ICLR 2018).

    Parameters
    ----------
    x : Tensor
        Float32 [B, ...].
    wanted : Tensor
        Targets, float32 [B, K].
    alpha : float
        Both parameters of the beta distribution from which the share of the item itself is drawn, one share for the
        batch; 0 mixes nothing.
    """
    if not alpha:
        return x, wanted
    share = rng.beta(alpha, alpha)
    other = torch.from_numpy(rng.permutation(len(x))).to(x.device)
    return torch.lerp(x[other], x, share), torch.lerp(wanted[other], wanted, share)


def loss_sum(logits: Tensor, wanted: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Return the cross entropies, in nats, of logits [B, K] to targets [B, K], summed over items in float32."""
    return cross_entropy(logits.float(), wanted, reduction="sum", label_smoothing=label_smoothing)


def n_right(logits: Tensor, wanted: Tensor) -> Tensor:
    """Return how much of the targets [B, K] is on the classes with the largest of the logits [B, K]."""
    return wanted.gather(1, logits.argmax(dim=1, keepdim=True)).sum()

"""How weights move: learning rates in closed form, decay, mixed items, losses."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from backbone_data import settings
from torch import nn

from braid.backbones import optim

N_STEPS = 10


def rates(**changes: Any) -> list[float]:
    """Return the learning rate of each step of 4 epochs of 10."""
    chosen = settings("x3d", learning_rate=1.0, epochs=4, **changes)
    return [optim.learning_rate(chosen, step, N_STEPS) for step in range(4 * N_STEPS)]


def test_a_constant_rate_is_constant() -> None:
    assert rates() == [1.0] * 40


def test_warm_up_rises_in_equal_steps() -> None:
    assert rates(warmup_epochs=1.5)[:16] == pytest.approx([*(k / 15 for k in range(1, 16)), 1.0])


def test_cosine_falls_from_one_to_nothing() -> None:
    falling = rates(schedule="cosine")
    assert falling == pytest.approx([(1 + math.cos(math.pi * k / 40)) / 2 for k in range(40)])
    warm = rates(schedule="cosine", warmup_epochs=1)
    assert max(warm) == warm[10] == 1
    assert warm[25] == pytest.approx(0.5)


def test_steps_fall_at_their_milestones() -> None:
    falling = rates(schedule="steps", milestones=[3, 1], gamma=0.5)
    assert falling == [1.0] * 10 + [0.5] * 20 + [0.25] * 10


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_decay_pulls_at_matrices_alone(name: str) -> None:
    network = nn.Linear(2, 3)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    optimiser = optim.optimiser(network, settings("x3d", optimizer=name, weight_decay=0.1, learning_rate=0.01))
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    assert torch.equal(network.bias, before["bias"])
    assert (network.weight.abs() < before["weight"].abs()).all()


def test_mixed_items_have_mixed_targets() -> None:
    x = torch.arange(4.0)[:, None].expand(4, 3)
    mixed, wanted = optim.mix(x, torch.eye(4), 1.0, np.random.default_rng(0))
    torch.testing.assert_close(mixed[:, 0], wanted @ torch.arange(4.0))
    torch.testing.assert_close(wanted.sum(dim=1), torch.ones(4))
    assert not wanted.equal(torch.eye(4))
    same, targets = optim.mix(x, torch.eye(4), 0, np.random.default_rng(0))
    assert same is x and targets.equal(torch.eye(4))


def test_losses_are_summed_and_smoothed() -> None:
    logits, labels = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0, 1])
    wanted = optim.targets(labels, 3)
    chosen, every = (-logits.log_softmax(1) * part for part in (wanted, torch.full((5, 3), 1 / 3)))
    torch.testing.assert_close(optim.loss_sum(logits, wanted), chosen.sum())
    torch.testing.assert_close(optim.loss_sum(logits, wanted, 0.3), 0.7 * chosen.sum() + 0.3 * every.sum())
    assert optim.n_right(logits, wanted) == (logits.argmax(dim=1) == labels).sum()

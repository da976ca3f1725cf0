"""Networks that are trained together: the numbers of each are those that it has alone, whatever the others do."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from scheme_data import settings

from braid.schemes.base import Scheme
from braid.schemes.batch import Batch, Selection
from braid.schemes.fit import Epoch
from braid.schemes.registry import REGISTRY
from braid.schemes.stack import OWN, can_be_stacked, fit_stack, most_together
from braid.schemes.train import reproducible

N_CLASSES, DIMS = 4, [12, 7]
STACKED = ["single", "early", "intermediate", "weighted", "gated"]
OTHERS: list[dict[str, Any]] = [
    {"optimizer": "adamw", "learning_rate": 0.003, "weight_decay": 0.1, "patience": 1},
    {"optimizer": "adam", "learning_rate": 0.001, "schedule": "reduce_on_plateau", "plateau_patience": 0},
    {"optimizer": "sgd", "learning_rate": 0.02, "momentum": 0.5, "schedule": "constant", "epochs": 5},
    {"optimizer": "adamw", "learning_rate": 0.0001, "schedule": "cosine_warm_restarts", "restart_epochs": 3},
]


def make(type_: str, **changes: Any) -> Scheme:
    names = ["a"] if type_ == "single" else ["a", "b"]
    entry = settings(type_, names, **{"epochs": 12, "batch_size": 16, "monitor": "val_loss"} | changes)
    return REGISTRY[type_].load()(names, DIMS[: len(names)], N_CLASSES, entry)


def split(type_: str) -> tuple[Selection, Selection]:
    """Return 70 items to train on and 30 to stop by; some lack a modality, two lack both."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(100) % N_CLASSES
    dims = DIMS[:1] if type_ == "single" else DIMS
    x = [
        torch.randn(N_CLASSES, d, generator=generator)[labels] + torch.randn(100, d, generator=generator) for d in dims
    ]
    present = torch.rand(100, len(dims), generator=generator) > 0.1
    present[[3, 90]] = False
    whole = Batch(x, torch.ones_like(present), labels, torch.arange(100)).without(~present).selection()
    return whole.rows(torch.arange(70)), whole.rows(torch.arange(70, 100))


def alone(type_: str, **changes: Any) -> tuple[Scheme, list[Epoch]]:
    with reproducible(5):
        scheme = make(type_, **changes)
        return scheme, scheme.learn(*split(type_))


def together(type_: str, several: list[dict[str, Any]]) -> tuple[list[Scheme], list[list[Epoch] | None]]:
    with reproducible(5):
        schemes = []
        for changes in several:
            torch.manual_seed(5)
            schemes.append(make(type_, **changes))
        return schemes, fit_stack(schemes, *split(type_))


def assert_same(ours: list[Epoch] | None, theirs: list[Epoch]) -> None:
    assert ours is not None
    assert [(epoch.part, epoch.epoch, epoch.kept) for epoch in ours] == [
        (epoch.part, epoch.epoch, epoch.kept) for epoch in theirs
    ]
    for key in ("train_loss", "val_loss", "train_accuracy", "val_accuracy", "learning_rate"):
        assert [getattr(each, key) for each in ours] == pytest.approx(
            [getattr(each, key) for each in theirs], rel=1e-3, abs=1e-4
        )


def changed(type_: str, common: dict[str, Any]) -> list[dict[str, Any]]:
    own = {} if type_ == "single" else common
    return [each | {key: value for key, value in own.items() if key != "hidden" or type_ == "early"} for each in OTHERS]


@pytest.mark.parametrize("common", [{}, {"dropout": 0.3, "modality_dropout": 0.3, "hidden": 9}], ids=["", "dropout"])
@pytest.mark.parametrize("type_", STACKED)
def test_each_of_a_stack_is_as_alone(type_: str, common: dict[str, Any]) -> None:
    """Optimisers, schedules and the moments to stop are their own; dropout and minibatches are those of the seed."""
    several = changed(type_, common)
    schemes, histories = together(type_, several)
    lengths = set()
    for changes, scheme, history in zip(several, schemes, histories, strict=True):
        expected, its_history = alone(type_, **changes)
        assert_same(history, its_history)
        lengths.add(len(its_history))
        # Not the weights: a bias before batch normalisation has a gradient of rounding errors alone.
        val = split(type_)[1].usable()
        torch.testing.assert_close(scheme.predict(val).exp(), expected.predict(val).exp(), atol=1e-3, rtol=1e-3)
    assert len(lengths) > 1  # some stop before others


def test_one_that_diverges_leaves_the_others_alone() -> None:
    several: list[dict[str, Any]] = [{"learning_rate": 0.01}, {"optimizer": "sgd", "learning_rate": 1e38}]
    _, (fine, diverged) = together("early", several)
    assert diverged is None
    assert_same(fine, alone("early", learning_rate=0.01)[1])


def test_networks_of_a_stack_do_not_share_memory_afterwards() -> None:
    schemes, _ = together("early", [{"epochs": 2}, {"epochs": 4}, {"epochs": 4}])
    pointers = {tensor.untyped_storage().data_ptr() for scheme in schemes for tensor in scheme.state_dict().values()}
    assert len(pointers) == sum(len(scheme.state_dict()) for scheme in schemes)


@pytest.mark.parametrize("type_", [name for name in REGISTRY if name not in ("scores", "ensemble", "calibrated")])
def test_which_schemes_are_stacked(type_: str) -> None:
    assert can_be_stacked(make(type_)) == (type_ in STACKED)
    if type_ == "weighted":
        assert not can_be_stacked(make(type_, gradient_modulation=0.5))


def test_large_networks_are_trained_one_by_one() -> None:
    assert most_together(make("early")) == 64
    assert most_together(make("early", hidden=200_000)) == 1


@pytest.mark.parametrize("key", OWN)
def test_what_networks_of_a_stack_differ_in_does_not_shape_them(key: str) -> None:
    assert key in make("early").settings

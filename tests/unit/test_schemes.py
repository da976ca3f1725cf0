"""Every scheme of the registry on tensors: closed forms, masks, sizes, combinations with a known answer."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from scheme_data import settings
from sklearn.linear_model import LogisticRegression
from torch.nn.functional import nll_loss

from braid import config
from braid.schemes.batch import Batch
from braid.schemes.combine import COMBINATIONS, fit_combination
from braid.schemes.late import Combined
from braid.schemes.model import Description, Model, Standardiser
from braid.schemes.networks import Scheme, Weighted
from braid.schemes.registry import REGISTRY

N_CLASSES = 5


def make(type_: str, dims: list[int], n_classes: int = N_CLASSES, **changes: object) -> Scheme:
    features = [f"feature{m}" for m in range(len(dims))]
    torch.manual_seed(0)
    return REGISTRY[type_].load()(features, dims, n_classes, settings(type_, features, **changes)).eval()


def dims_of(type_: str) -> list[int]:
    return [12] if type_ == "single" else [12, 7, 9]


def count(scheme: Scheme) -> int:
    return sum(parameter.numel() for parameter in scheme.parameters())


def test_registry_and_schema_name_the_same_schemes() -> None:
    assert set(REGISTRY) == set(config.types("schemes"))


def test_registry_is_light() -> None:
    code = "import sys, braid.schemes.registry, braid.metrics; print({'torch', 'sklearn', 'h5py'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


@pytest.mark.parametrize("type_", REGISTRY)
def test_gives_log_probabilities(type_: str) -> None:
    dims = dims_of(type_)
    x = [torch.randn(20, d) for d in dims]
    log_p = make(type_, dims)(x, torch.ones(20, len(dims), dtype=torch.bool))
    assert log_p.shape == (20, N_CLASSES)
    torch.testing.assert_close(log_p.exp().sum(dim=1), torch.ones(20))


@pytest.mark.parametrize("type_", [name for name in REGISTRY if name != "single"])
def test_a_missing_modality_changes_nothing_whatever_it_holds(type_: str) -> None:
    """The mask alone decides, except for early fusion, whose input is zero where the mask is."""
    dims = dims_of(type_)
    scheme = make(type_, dims)
    present = torch.tensor([[True, False, True]]).repeat(8, 1)
    x = [torch.randn(8, d) for d in dims]
    zeros = [x[0], torch.zeros(8, dims[1]), x[2]]
    if type_ in ("early", "double"):
        x = zeros
    torch.testing.assert_close(scheme(x, present), scheme(zeros, present))
    assert not torch.allclose(scheme(zeros, present), scheme(zeros, torch.ones_like(present))) or type_ == "early"


@pytest.mark.parametrize(
    ("type_", "dims", "n_classes", "changes", "expected"),
    [
        ("early", [768, 512], 15, {}, 19_215),
        ("early", [1024, 512], 15, {}, 23_055),
        ("single", [512], 15, {"hidden": 512}, 512 * 512 + 512 + 2 * 512 + 512 * 15 + 15),
        ("intermediate", [512, 512], 10, {}, 2 * (512 * 512 + 512 + 1024 + 512 * 128 + 128) + 34_186),
        ("weighted", [512, 512], 10, {}, 2 * (512 * 512 + 512 + 1024 + 512 * 10 + 10) + 10),
    ],
)
def test_sizes_of_the_sources(type_: str, dims: list[int], n_classes: int, changes: dict, expected: int) -> None:
    assert count(make(type_, dims, n_classes, **changes)) == expected


def test_double_is_late_and_early_together() -> None:
    dims = [12, 7]
    sizes = {name: count(make(name, dims, combine="mean")) for name in ("late", "double")} | {
        "early": count(make("early", dims))
    }
    assert sizes["double"] == sizes["late"] + sizes["early"]


def test_weighted_is_the_sum_of_the_first_logits_and_the_weighted_others() -> None:
    scheme = make("weighted", [12, 7])
    assert isinstance(scheme, Weighted)
    assert scheme.weights.shape == (1, N_CLASSES)
    assert scheme.weights.abs().max() <= 0.1
    x = [torch.randn(6, 12), torch.randn(6, 7)]
    first, second = (net(values) for net, values in zip(scheme.branches, x, strict=True))
    expected = (first + second * scheme.weights).log_softmax(dim=1)
    torch.testing.assert_close(scheme(x, torch.ones(6, 2, dtype=torch.bool)), expected)
    only_second = scheme(x, torch.tensor([[False, True]]).repeat(6, 1))
    torch.testing.assert_close(only_second, (second * scheme.weights).log_softmax(dim=1))


@pytest.mark.parametrize("name", COMBINATIONS)
def test_a_combination_of_equals_is_each_of_them(name: str) -> None:
    log_p = torch.randn(10, 1, N_CLASSES).log_softmax(dim=2).repeat(1, 3, 1)
    combined = COMBINATIONS[name](3, N_CLASSES)(log_p, torch.ones(10, 3, dtype=torch.bool))
    torch.testing.assert_close(combined, log_p[:, 0])


def test_mean_is_over_the_parts_that_vote() -> None:
    log_p = torch.randn(4, 3, N_CLASSES).log_softmax(dim=2)
    votes = torch.tensor([[1, 1, 1], [1, 0, 1], [0, 1, 0], [1, 1, 0]]).bool()
    expected = torch.stack([log_p[i, votes[i]].exp().mean(dim=0) for i in range(4)])
    torch.testing.assert_close(COMBINATIONS["mean"](3, N_CLASSES)(log_p, votes).exp(), expected)


@pytest.mark.parametrize("name", [name for name in COMBINATIONS if name != "mean"])
def test_a_part_without_a_vote_is_as_good_as_undecided(name: str) -> None:
    combination = COMBINATIONS[name](2, N_CLASSES)
    torch.nn.init.normal_(next(combination.parameters()))
    log_p = torch.randn(6, 2, N_CLASSES).log_softmax(dim=2)
    undecided = log_p.clone()
    undecided[:, 1] = -np.log(N_CLASSES)
    masked = combination(log_p, torch.tensor([[True, False]]).repeat(6, 1))
    torch.testing.assert_close(masked, combination(undecided, torch.ones(6, 2, dtype=torch.bool)))


@pytest.mark.parametrize("name", [name for name in COMBINATIONS if name != "mean"])
def test_fitted_weights_lower_the_loss_and_leave_noise_out(name: str) -> None:
    torch.manual_seed(0)
    labels = torch.randint(N_CLASSES, (400,))
    good = torch.randn(400, N_CLASSES)
    good[torch.arange(400), labels] += 2
    log_p = torch.stack([good, 4 * torch.randn(400, N_CLASSES)], dim=1).log_softmax(dim=2)
    votes = torch.ones(400, 2, dtype=torch.bool)
    combination = COMBINATIONS[name](2, N_CLASSES)
    before = nll_loss(combination(log_p, votes), labels)
    fit_combination(combination, log_p, votes, labels, 0.0)
    after = nll_loss(combination(log_p, votes), labels)
    assert after < before
    assert after < nll_loss(log_p[:, 0], labels) + 1e-4  # the good part alone is within reach
    weights = next(combination.parameters()).detach().reshape(-1)
    if name == "scalar_weights":
        assert weights[0] > 0.5
        assert abs(weights[1]) < 0.1


def test_linear_combination_agrees_with_scikit_learn() -> None:
    torch.manual_seed(0)
    labels = torch.randint(3, (300,))
    scores = torch.randn(300, 2, 3)
    scores[torch.arange(300), :, labels] += 1
    log_p, votes = scores.log_softmax(dim=2), torch.ones(300, 2, dtype=torch.bool)
    combination = COMBINATIONS["linear"](2, 3)
    fit_combination(combination, log_p, votes, labels, 0.0)
    inputs = (log_p + np.log(3)).flatten(start_dim=1).numpy()
    reference = LogisticRegression(C=np.inf, max_iter=2000, tol=1e-8).fit(inputs, labels)
    np.testing.assert_allclose(
        combination(log_p, votes).exp().detach().numpy(), reference.predict_proba(inputs), atol=2e-3
    )


def test_parts_of_late_fusion_learn_alone() -> None:
    """A branch in late fusion ends with the same weights whatever the other branch is given to learn."""
    torch.manual_seed(0)
    labels = torch.arange(60) % 3
    x = torch.randn(3, 8)[labels] + torch.randn(60, 8)
    ends = []
    for other in (torch.randn(60, 5), torch.zeros(60, 5)):
        scheme = make("late", [8, 5], 3, epochs=5)
        assert isinstance(scheme, Combined)
        batch = Batch([x, other], torch.ones(60, 2, dtype=torch.bool), labels)
        torch.manual_seed(1)
        scheme.learn(batch, batch)
        ends.append(scheme.parts[0].state_dict())
    for name, tensor in ends[0].items():
        assert torch.equal(tensor, ends[1][name]), name


@pytest.mark.parametrize(("n", "batch_size"), [(65, 64), (2, 64), (3, 2), (7, 3), (129, 64), (128, 64), (5, 2)])
def test_minibatches_hold_every_item_once_and_never_one_alone(n: int, batch_size: int) -> None:
    batch = Batch([torch.zeros(n, 1)], torch.ones(n, 1, dtype=torch.bool), torch.arange(n))
    parts = list(batch.shuffled(batch_size))
    assert sorted(torch.cat([part.labels for part in parts]).tolist()) == list(range(n))
    assert min(map(len, parts)) >= 2
    assert max(map(len, parts)) <= max(batch_size, 3)


def test_standardised_features_have_mean_0_and_deviation_1() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(1000, [1e-2, 1, 1e3], (500, 3)).astype(np.float32)
    z = Standardiser(3).fit(x)(torch.from_numpy(x), torch.ones(500, dtype=torch.bool))
    np.testing.assert_allclose(z.mean(dim=0), 0, atol=1e-2)
    np.testing.assert_allclose(z.std(dim=0, correction=0), 1, atol=1e-2)


def test_a_constant_feature_and_a_missing_modality_are_zero() -> None:
    x = np.array([[0.1, 1], [0.1, 2], [0.1, 3]], dtype=np.float32)
    standardiser = Standardiser(2).fit(x)
    new = torch.tensor([[7.0, 2.0], [0.1, 3.0]])
    z = standardiser(new, torch.tensor([True, False]))
    assert z.tolist() == [[0, 0], [0, 0]]
    assert standardiser(new, torch.tensor([True, True]))[:, 0].tolist() == [0, 0]


@pytest.mark.parametrize("type_", REGISTRY)
def test_a_model_survives_its_file(type_: str, tmp_path) -> None:
    dims = dims_of(type_)
    names = [f"feature{m}" for m in range(len(dims))]
    torch.manual_seed(0)
    model = Model(Description(["ä", "b"], names, dims, settings(type_, names), "1", 3))
    model.prior = torch.tensor([0.25, 0.75])
    model.save(tmp_path / "model.safetensors")
    again = Model.load(tmp_path / "model.safetensors")
    assert again.description == model.description
    x = [np.random.default_rng(0).normal(size=(9, d)).astype(np.float32) for d in dims]
    present = np.ones((9, len(dims)), dtype=bool)
    present[4] = False
    p, q = (m.predict(m.standardise(x, present, np.zeros(9, np.int64))) for m in (model, again))
    assert np.array_equal(p, q)
    assert p[4].tolist() == [0.25, 0.75]

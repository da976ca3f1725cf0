"""Every scheme of the registry on tensors: closed forms, masks, sizes, combinations with a known answer."""

from __future__ import annotations

import subprocess
import sys
from typing import cast

import numpy as np
import pytest
import torch
from scheme_data import OVER_SCHEMES, settings
from sklearn.linear_model import LogisticRegression
from torch.nn.functional import nll_loss

from braid import config
from braid.errors import TrainingError
from braid.schemes.balance import drop_modalities, modulate
from braid.schemes.base import Additive, Scheme
from braid.schemes.batch import Batch
from braid.schemes.combine import COMBINATIONS, Learned, Linear
from braid.schemes.folds import group_folds
from braid.schemes.inputs import Inputs, scaled, smoothed
from braid.schemes.late import Combined
from braid.schemes.model import Description, Model
from braid.schemes.networks import Gated, Weighted
from braid.schemes.registry import REGISTRY
from braid.schemes.scaling import Standardiser
from braid.schemes.tokens import Bottleneck, TokenFusion

N_CLASSES = 5
LEARNED = [name for name, combination in COMBINATIONS.items() if issubclass(combination, Learned)]
LOGARITHMIC = ["scalar_weights", "class_weights", "linear", "temperature", "vector"]
ALONE = ("single", "scores", "calibrated")


def make(type_: str, dims: list[int], n_classes: int = N_CLASSES, **changes: object) -> Scheme:
    features = [f"feature{m}" for m in range(len(dims))]
    torch.manual_seed(0)
    return REGISTRY[type_].load()(features, dims, n_classes, settings(type_, features, **changes)).eval()


def dims_of(type_: str, n_classes: int = N_CLASSES) -> list[int]:
    dims = [12] if type_ in ALONE else [12, 7, 9]
    return [n_classes] * len(dims) if type_ in (*OVER_SCHEMES, "scores") else dims


def raw(type_: str, n: int, dims: list[int]) -> list[torch.Tensor]:
    """Return random inputs of n items in the form that the scheme reads; the last token of every other is none."""
    reads = REGISTRY[type_].load().reads
    if reads == "tokens":
        x = [torch.cat([torch.rand(n, 4, 2), torch.randn(n, 4, d)], dim=2) for d in dims]
        for values in x:
            values[::2, -1] = torch.nan
        return x
    x = [torch.randn(n, d) for d in dims]
    return x if reads == "embedding" else [values.log_softmax(dim=1) for values in x]


def batch_of(x: list[torch.Tensor], labels: torch.Tensor) -> Batch:
    n = len(labels)
    return Batch(x, torch.ones(n, len(x), dtype=torch.bool), labels, torch.arange(n))


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
    log_p = make(type_, dims)(raw(type_, 20, dims), torch.ones(20, len(dims), dtype=torch.bool))
    assert log_p.shape == (20, N_CLASSES)
    torch.testing.assert_close(log_p.exp().sum(dim=1), torch.ones(20))


@pytest.mark.parametrize("type_", [name for name in REGISTRY if name not in ALONE])
def test_a_missing_modality_changes_nothing_whatever_it_holds(type_: str) -> None:
    """The mask alone decides, except for schemes whose input is zero where the mask is."""
    dims = dims_of(type_)
    scheme = make(type_, dims)
    present = torch.tensor([[True, False, True]]).repeat(8, 1)
    x = raw(type_, 8, dims)
    zeros = [x[0], torch.zeros_like(x[1]), x[2]]
    if type_ in ("early", "double", "gated"):
        x = zeros
    torch.testing.assert_close(scheme(x, present), scheme(zeros, present))
    assert not torch.allclose(scheme(zeros, present), scheme(zeros, torch.ones_like(present))) or type_ == "early"


@pytest.mark.parametrize("type_", [name for name in REGISTRY if name not in ALONE])
@pytest.mark.parametrize("only", [0, 1, 2])
def test_an_item_with_a_single_modality_has_a_probability_and_a_gradient(type_: str, only: int) -> None:
    dims = dims_of(type_)
    scheme = make(type_, dims).train()
    present = torch.zeros(8, 3, dtype=torch.bool)
    present[:, only] = True
    batch = Batch(raw(type_, 8, dims), torch.ones_like(present), torch.arange(8) % N_CLASSES, torch.arange(8))
    batch = batch.without(~present)
    loss = nll_loss(scheme(batch.features, batch.present), batch.labels)
    assert loss.isfinite()
    if loss.requires_grad:
        loss.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in scheme.parameters())


@pytest.mark.parametrize("type_", [name for name in REGISTRY if REGISTRY[name].load().reads == "embedding"])
def test_several_of_one_shape_can_be_stacked(type_: str) -> None:
    """A forward pass is a function of inputs, parameters and buffers alone; attention has no batching rule."""
    dims = dims_of(type_)
    x, present = raw(type_, 8, dims), torch.ones(8, len(dims), dtype=torch.bool)
    several = [make(type_, dims), make(type_, dims)]
    with torch.no_grad():
        for parameter in several[1].parameters():
            parameter.mul_(1.5)
    parameters, buffers = torch.func.stack_module_state(cast("list[torch.nn.Module]", several))
    skeleton = make(type_, dims)

    def run(parameters: dict[str, torch.Tensor], buffers: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.func.functional_call(skeleton, (parameters, buffers), (x, present))

    together = torch.func.vmap(run)(parameters, buffers)
    for scheme, log_p in zip(several, together, strict=True):
        torch.testing.assert_close(scheme(x, present), log_p)


@pytest.mark.parametrize(
    ("type_", "dims", "n_classes", "changes", "expected"),
    [
        ("early", [768, 512], 15, {}, 19_215),
        ("early", [1024, 512], 15, {}, 23_055),
        ("single", [512], 15, {"hidden": 512}, 512 * 512 + 512 + 2 * 512 + 512 * 15 + 15),
        ("intermediate", [512, 512], 10, {}, 2 * (512 * 512 + 512 + 1024 + 512 * 128 + 128) + 34_186),
        ("intermediate", [640, 512, 512], 10, {"branch_out": 256}, 1_350_282),  # the CLIP late fusion network
        ("weighted", [512, 512], 10, {}, 2 * (512 * 512 + 512 + 1024 + 512 * 10 + 10) + 10),
        ("gated", [64, 32], 10, {"hidden": 16}, 16 * (64 + 1) + 16 * (32 + 1) + 32 * (96 + 1) + 10 * (16 + 1)),
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


@pytest.mark.parametrize(
    "name", [name for name in COMBINATIONS if name not in ("own_confidence", "temperature", "vector", "sharpen")]
)
def test_a_combination_of_equals_is_each_of_them(name: str) -> None:
    log_p = torch.randn(10, 1, N_CLASSES).log_softmax(dim=2).repeat(1, 3, 1)
    combined = COMBINATIONS[name](3, N_CLASSES)(log_p, torch.ones(10, 3, dtype=torch.bool))
    torch.testing.assert_close(combined, log_p[:, 0])


def test_mean_is_over_the_parts_that_vote() -> None:
    log_p = torch.randn(4, 3, N_CLASSES).log_softmax(dim=2)
    votes = torch.tensor([[1, 1, 1], [1, 0, 1], [0, 1, 0], [1, 1, 0]]).bool()
    expected = torch.stack([log_p[i, votes[i]].exp().mean(dim=0) for i in range(4)])
    torch.testing.assert_close(COMBINATIONS["mean"](3, N_CLASSES)(log_p, votes).exp(), expected)


@pytest.mark.parametrize("name", LOGARITHMIC)
def test_a_part_without_a_vote_is_as_good_as_undecided(name: str) -> None:
    combination = COMBINATIONS[name](2, N_CLASSES)
    torch.nn.init.normal_(next(combination.parameters()))
    log_p = torch.randn(6, 2, N_CLASSES).log_softmax(dim=2)
    undecided = log_p.clone()
    undecided[:, 1] = -np.log(N_CLASSES)
    masked = combination(log_p, torch.tensor([[True, False]]).repeat(6, 1))
    torch.testing.assert_close(masked, combination(undecided, torch.ones(6, 2, dtype=torch.bool)))


@pytest.mark.parametrize("name", [name for name in COMBINATIONS if name not in LOGARITHMIC])
def test_a_part_without_a_vote_does_not_count(name: str) -> None:
    log_p = torch.randn(6, 2, N_CLASSES).log_softmax(dim=2)
    combination = COMBINATIONS[name](2, N_CLASSES)
    other = log_p.clone()
    other[:, 1] = torch.randn(6, N_CLASSES).log_softmax(dim=1)
    votes = torch.tensor([[True, False]]).repeat(6, 1)
    torch.testing.assert_close(combination(log_p, votes), combination(other, votes))
    assert not torch.allclose(combination(log_p, votes), combination(log_p, torch.ones_like(votes)))


def good_and_noise(n: int = 400) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return log probabilities of a good part and of a sure one that knows nothing, votes, labels and groups."""
    torch.manual_seed(0)
    labels = torch.randint(N_CLASSES, (n,))
    good = torch.randn(n, N_CLASSES)
    good[torch.arange(n), labels] += 2
    log_p = torch.stack([good, 4 * torch.randn(n, N_CLASSES)], dim=1).log_softmax(dim=2)
    return log_p, torch.ones(n, 2, dtype=torch.bool), labels, torch.arange(n)


@pytest.mark.parametrize("name", [name for name in LEARNED if name != "temperature"])
def test_fitted_weights_lower_the_loss_and_leave_noise_out(name: str) -> None:
    log_p, votes, labels, groups = good_and_noise()
    combination = COMBINATIONS[name](2, N_CLASSES)
    before = nll_loss(combination(log_p, votes), labels)
    combination.fit(log_p, votes, labels, groups)
    after = nll_loss(combination(log_p, votes), labels)
    assert after < before
    alone = nll_loss(log_p[:, 0], labels)
    assert after < alone + 0.02  # the good part alone is within reach
    if name == "scalar_weights":
        weights = next(combination.parameters()).detach().reshape(-1)
        assert weights[0] > 0.5
        assert abs(weights[1]) < 0.1


@pytest.mark.parametrize("name", ["class_weights", "linear"])
def test_few_items_leave_fitted_weights_near_those_of_the_parts(name: str) -> None:
    """With 60 items one layer on all scores would fit the noise, if its decay were not cross-validated."""
    log_p, votes, labels, groups = good_and_noise(4060)
    few, many = slice(0, 60), slice(60, None)
    right = {}
    for each in ("scalar_weights", name):
        combination = COMBINATIONS[each](2, N_CLASSES)
        combination.fit(log_p[few], votes[few], labels[few], groups[few])
        right[each] = (combination(log_p[many], votes[many]).argmax(dim=1) == labels[many]).float().mean()
    assert right[name] > right["scalar_weights"] - 0.02


@pytest.mark.parametrize("name", ["class_precision", "class_f1", "class_log_loss"])
def test_class_reliabilities(name: str) -> None:
    """Part 0 says class 0 for sure and is right; part 1 says class 1 and is right every other time."""
    sure = torch.tensor([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1]]).log()
    labels = torch.tensor([0, 0, 1, 1] * 10)
    log_p = torch.stack([sure[labels], sure[torch.tensor([1, 0, 1, 0] * 10)]], dim=1)
    combination = COMBINATIONS[name](2, 3)
    combination.fit(log_p, torch.ones(40, 2, dtype=torch.bool), labels, torch.arange(40))
    weights = combination.get_buffer("weights")
    precision = (20 + 2 * 1) / (20 + 2), (10 + 2 * 0.5) / (20 + 2)
    right, wrong = -np.log(0.8), -(np.log(0.8) + np.log(0.1)) / 2
    expected = (1 / right, 1 / wrong) if name == "class_log_loss" else precision
    for part in (0, 1):
        assert weights[part, :2].tolist() == pytest.approx([expected[part]] * 2, rel=1e-5)
        assert weights[part, 2].item() == pytest.approx(expected[part], rel=1e-5)  # of no item: the mean of the others


def test_own_confidence_is_the_normalised_sum_of_squares() -> None:
    log_p, votes, *_ = good_and_noise(10)
    squares = log_p.exp().square().sum(dim=1)
    expected = squares / squares.sum(dim=1, keepdim=True)
    torch.testing.assert_close(COMBINATIONS["own_confidence"](2, N_CLASSES)(log_p, votes).exp(), expected)


@pytest.mark.parametrize("name", ["temperature", "vector", "sharpen"])
def test_calibration_finds_the_temperature_that_spoilt_the_probabilities(name: str) -> None:
    torch.manual_seed(0)
    honest = (2 * torch.randn(4000, 1, N_CLASSES)).log_softmax(dim=2)
    labels = honest[:, 0].exp().multinomial(1).flatten()
    votes = torch.ones(4000, 1, dtype=torch.bool)
    spoilt = (3 * honest).log_softmax(dim=2)
    combination = COMBINATIONS[name](1, N_CLASSES)
    combination.fit(spoilt, votes, labels, torch.arange(4000))
    mended = combination(spoilt, votes)
    assert abs(nll_loss(mended, labels) - nll_loss(honest[:, 0], labels)) < 0.003
    assert nll_loss(spoilt[:, 0], labels) > nll_loss(mended, labels) + 0.2
    if name == "temperature":
        assert combination.get_parameter("log_temperature").exp().item() == pytest.approx(3, rel=0.05)
        assert torch.equal(mended.argmax(dim=1), spoilt[:, 0].argmax(dim=1))


def test_linear_combination_agrees_with_scikit_learn() -> None:
    torch.manual_seed(0)
    labels = torch.randint(3, (300,))
    scores = torch.randn(300, 2, 3)
    scores[torch.arange(300), :, labels] += 1
    log_p, votes = scores.log_softmax(dim=2), torch.ones(300, 2, dtype=torch.bool)
    combination = Linear(2, 3)
    combination.DECAYS = (0.0,)
    combination.fit(log_p, votes, labels, torch.arange(300))
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
        items = batch_of([x, other], labels).selection()
        torch.manual_seed(1)
        scheme.learn(items, items)
        ends.append(scheme.parts[0].state_dict())
    for name, tensor in ends[0].items():
        assert torch.equal(tensor, ends[1][name]), name


@pytest.mark.parametrize(("n", "batch_size"), [(65, 64), (2, 64), (3, 2), (7, 3), (129, 64), (128, 64), (5, 2)])
def test_minibatches_hold_every_item_once_and_never_one_alone(n: int, batch_size: int) -> None:
    batch = batch_of([torch.zeros(n, 1)], torch.arange(n))
    parts = list(batch.selection().shuffled(batch_size))
    assert sorted(torch.cat([part.labels for part in parts]).tolist()) == list(range(n))
    assert min(map(len, parts)) >= 2
    assert max(map(len, parts)) <= max(batch_size, 3)


def test_standardised_features_have_mean_0_and_deviation_1() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(1000, [1e-2, 1, 1e3], (500, 3)).astype(np.float32)
    z = Standardiser(3).fit(x, np.ones(500, bool))(torch.from_numpy(x), torch.ones(500, dtype=torch.bool))
    np.testing.assert_allclose(z.mean(dim=0), 0, atol=1e-2)
    np.testing.assert_allclose(z.std(dim=0, correction=0), 1, atol=1e-2)


def test_a_constant_feature_and_a_missing_modality_are_zero() -> None:
    x = np.array([[0.1, 1], [0.1, 2], [0.1, 3]], dtype=np.float32)
    standardiser = Standardiser(2).fit(x, np.ones(3, bool))
    new = torch.tensor([[7.0, 2.0], [0.1, 3.0]])
    z = standardiser(new, torch.tensor([True, False]))
    assert z.tolist() == [[0, 0], [0, 0]]
    assert standardiser(new, torch.tensor([True, True]))[:, 0].tolist() == [0, 0]


@pytest.mark.parametrize("type_", REGISTRY)
def test_a_model_survives_its_file(type_: str, tmp_path) -> None:
    dims = dims_of(type_, n_classes=2)
    names = [f"feature{m}" for m in range(len(dims))]
    torch.manual_seed(0)
    model = Model(Description(["ä", "b"], names, dims, settings(type_, names), "1", 3))
    model.prior = torch.tensor([0.25, 0.75])
    model.save(tmp_path / "model.safetensors")
    again = Model.load(tmp_path / "model.safetensors")
    assert again.description == model.description
    x = [values.numpy() for values in raw(type_, 9, dims)]
    present = np.ones((9, len(dims)), dtype=bool)
    present[4] = False
    kind, nothing = model.scheme.reads, np.zeros(9, np.int64)
    data = Inputs("1", kind, names, ["ä", "b"], x, present, nothing, nothing, nothing, nothing)
    p, q = (m.predict(scaled(data, m.how_scaled()).selection()) for m in (model, again))
    assert np.array_equal(p, q)
    assert p[4].tolist() == [0.25, 0.75]


def test_gates_of_two_modalities_are_a_sigmoid_and_one_minus_it() -> None:
    scheme = make("gated", [12, 7])
    assert isinstance(scheme, Gated)
    x = [torch.randn(6, 12), torch.randn(6, 7)]
    first, second = (net(values) for net, values in zip(scheme.branches, x, strict=True))
    both = scheme.gates(torch.cat(x, dim=1))
    gate = (both[:, :256] - both[:, 256:]).sigmoid()
    expected = scheme.head(gate * first + (1 - gate) * second).log_softmax(dim=1)
    torch.testing.assert_close(scheme(x, torch.ones(6, 2, dtype=torch.bool)), expected)


@pytest.mark.parametrize("type_", ["tokens", "bottleneck"])
def test_tokens_of_one_modality_reach_those_of_another(type_: str) -> None:
    """What is read at each place depends on the tokens of both modalities, and never on what is no token."""
    scheme = make(type_, [12, 7], dropout=0.0)
    assert isinstance(scheme, TokenFusion | Bottleneck)
    x = [values.requires_grad_() for values in raw(type_, 6, [12, 7])]
    seen = scheme.attend(x, torch.ones(6, 2, dtype=torch.bool))
    # The places of the first modality's tokens, or its summary, and those of the second's.
    places = (seen[:, 1:5], seen[:, 5:]) if type_ == "tokens" else (seen[:, 0], seen[:, 1])
    for mine in places:
        for gradient, values in zip(torch.autograd.grad(mine[..., 0].sum(), x, retain_graph=True), x, strict=True):
            reached = gradient[..., 2:].abs().sum(dim=2) > 0
            assert torch.equal(reached, ~values[..., 0].isnan())


@pytest.mark.parametrize("type_", ["tokens", "bottleneck"])
def test_the_second_at_which_a_token_is_matters_but_not_its_row(type_: str) -> None:
    scheme = make(type_, [12, 7])
    x, present = raw(type_, 6, [12, 7]), torch.ones(6, 2, dtype=torch.bool)
    turned = [values.flip(1) for values in x]
    torch.testing.assert_close(scheme(x, present), scheme(turned, present))
    later = [values.clone() for values in x]
    later[0][..., :2] += 1.5
    assert not torch.allclose(scheme(x, present), scheme(later, present))


def test_a_token_scheme_tells_an_order_that_no_mean_can() -> None:
    """The same two tokens, in one order or the other."""
    torch.manual_seed(0)
    n = 400
    labels = torch.randint(2, (n,))
    signs = torch.where(labels[:, None] == 1, torch.tensor([1.0, -1.0]), torch.tensor([-1.0, 1.0]))
    start = 3 * torch.rand(n, 1) + torch.tensor([0.0, 1.0])
    x = torch.cat([start[..., None], start[..., None] + 1, signs[..., None].repeat(1, 1, 4)], dim=2)
    x[..., 2:] += 0.1 * torch.randn(n, 2, 4)
    scheme = make("tokens", [4], 2, width=32, epochs=60, patience=60)
    batch = batch_of([x], labels)
    items = batch.selection()
    scheme.learn(items.rows(torch.arange(300)), items.rows(torch.arange(300, n)))
    right = scheme.predict(items).argmax(dim=1) == labels
    assert right[300:].float().mean() > 0.95


@pytest.mark.parametrize("type_", ["intermediate", "weighted"])
def test_terms_add_up_to_the_logits(type_: str) -> None:
    scheme = make(type_, [12, 7, 9])
    assert isinstance(scheme, Additive)
    x = raw(type_, 6, [12, 7, 9])
    present = torch.tensor([[True, True, True], [True, False, True]]).repeat(3, 1)
    terms = scheme.terms(x, present)
    assert terms.shape == (6, 3, N_CLASSES)
    torch.testing.assert_close(terms.sum(dim=1).log_softmax(dim=1), scheme(x, present))


def test_gradients_of_the_modality_that_is_ahead_are_slowed_down() -> None:
    torch.manual_seed(0)
    labels = torch.zeros(4, dtype=torch.int64)
    terms = torch.tensor([[2.0, 0.0], [0.0, 0.0]]).repeat(4, 1, 1)  # [B, M, C]: the first is sure, the second is not
    branches = torch.nn.ModuleList(torch.nn.Linear(200, 200, bias=False) for _ in range(2))
    for branch in branches:
        weight = branch.get_parameter("weight")
        weight.grad = torch.ones_like(weight)
    modulate(branches, terms, torch.ones(4, 2, dtype=torch.bool), labels, alpha=0.5)
    ratio = (np.exp(2) / (np.exp(2) + 1)) / 0.5
    first, second = (branch.get_parameter("weight").grad for branch in branches)
    assert first is not None
    assert second is not None
    torch.testing.assert_close(first, torch.full_like(first, 1 - np.tanh(0.5 * ratio)))  # ones have no spread
    assert (second == 1).all()
    noisy = branches[0].get_parameter("weight")
    noisy.grad = torch.randn_like(noisy)
    modulate(branches, terms, torch.ones(4, 2, dtype=torch.bool), labels, alpha=0.5)
    factor = 1 - np.tanh(0.5 * ratio)
    assert noisy.grad.std().item() == pytest.approx(np.sqrt(1 + factor**2), rel=0.02)


def test_dropped_modalities_leave_every_item_one() -> None:
    torch.manual_seed(0)
    batch = batch_of([torch.ones(5000, 2), torch.ones(5000, 3, 4)], torch.zeros(5000, dtype=torch.int64))
    batch = batch.without(torch.arange(10_000).reshape(5000, 2) % 4 == 1)  # some lack the second
    left = drop_modalities(batch, 0.3)
    assert left.present.any(dim=1).all()
    assert not (left.present & ~batch.present).any()
    assert torch.equal(left.features[0][:, 0] == 0, ~left.present[:, 0])
    assert torch.equal(left.features[1][:, 0, 0].isnan(), ~left.present[:, 1])
    both = batch.present.all(dim=1)
    share = 0.3 - 0.3 * 0.3  # lost alone; who would lose both keeps both
    for kept in left.present[both].float().mean(dim=0).tolist():
        assert kept == pytest.approx(1 - share, abs=0.03)


def test_folds_hold_out_every_item_once_and_share_no_group() -> None:
    groups = torch.arange(60) // 3
    held_out = []
    for rest, held in group_folds(groups, 5):
        assert not set(groups[rest].tolist()) & set(groups[held].tolist())
        assert sorted([*rest.tolist(), *held.tolist()]) == list(range(60))
        held_out += held.tolist()
    assert sorted(held_out) == list(range(60))
    with pytest.raises(TrainingError, match=r"of 3 groups, which cannot be held out in 5 parts; lower `n_folds`"):
        list(group_folds(torch.arange(30) % 3, 5))


def test_out_of_fold_parts_have_not_seen_what_they_score() -> None:
    """Labels are random and features tell each item apart: in-sample scores look right, held-out ones do not."""
    torch.manual_seed(0)
    labels = torch.randint(3, (90,))
    train = batch_of([torch.randn(90, 200), torch.randn(90, 200)], labels).selection()
    val = batch_of([torch.randn(60, 200), torch.randn(60, 200)], torch.arange(60) % 3).selection()
    scheme = make("late", [200, 200], 3, combine="linear", fit_on="out_of_fold", epochs=20, monitor="val_accuracy")
    assert isinstance(scheme, Combined)
    torch.manual_seed(1)
    log_p, votes = scheme._out_of_fold(train, val)
    assert votes.all()
    held_out = (log_p.argmax(dim=2) == labels[:, None]).float().mean()
    scheme.learn(train, val)
    seen = (scheme._scores(train)[0].argmax(dim=2) == labels[:, None]).float().mean()
    assert held_out < 0.5
    assert seen > held_out + 0.15


def test_smoothing_is_the_mean_over_the_items_of_a_clip_that_were_seen() -> None:
    p = np.array([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8], [0.0, 1.0]], dtype=np.float32)
    smooth = smoothed(p, np.array([True, True, False, True]), ["a", "a", "a", "b"])
    np.testing.assert_allclose(smooth, [[0.7, 0.3], [0.7, 0.3], [0.7, 0.3], [0.0, 1.0]], atol=1e-6)

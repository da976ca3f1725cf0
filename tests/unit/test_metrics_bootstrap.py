"""Intervals of resampled groups agree with SciPy's bootstrap, with closed forms, and with what clusters mean."""

from __future__ import annotations

import time

import numpy as np
import pytest
import sklearn.metrics
from scipy import stats

from braid import metrics
from braid.metrics import bootstrap
from braid.metrics.sums import contributions

CLASSES = list("abcd")


def predictions(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return labels [n] and probabilities [n, 4] that are right about half of the time."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, n)
    return labels, 0.4 * np.eye(4)[labels] * rng.integers(0, 2, (n, 1)) + 0.6 * rng.dirichlet(np.ones(4), n)


def normalised(labels: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return labels, p / p.sum(axis=1, keepdims=True)


def test_resamples_draw_as_many_groups_as_there_are() -> None:
    drawn = np.concatenate(list(bootstrap.draws(7, 3000)))
    assert drawn.shape == (3000, 7)
    assert (drawn.sum(axis=1) == 7).all()
    assert drawn.mean(axis=0) == pytest.approx(np.ones(7), abs=0.08)
    assert drawn.var(axis=0) == pytest.approx(np.full(7, 6 / 7), abs=0.12)  # binomial(7, 1/7)


def test_resamples_are_the_same_in_parts_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.concatenate(list(bootstrap.draws(11, 50, seed=3)))
    monkeypatch.setattr(bootstrap, "_CHUNK", 40)
    assert np.array_equal(np.concatenate(list(bootstrap.draws(11, 50, seed=3))), whole)


def test_every_metric_of_a_resample_is_that_of_its_items() -> None:
    labels, p = normalised(*predictions(60))
    groups = np.repeat(np.arange(12), 5)
    drawn = next(bootstrap.draws(12, 1))[0].astype(int)
    rows = np.concatenate([np.flatnonzero(groups == g) for g in range(12) for _ in range(drawn[g])])
    expected = metrics.evaluate(labels[rows], p[rows], CLASSES)
    found = bootstrap.intervals(contributions(labels, p, 4), [f"{g:02d}" for g in groups], n_resamples=1)
    assert set(found) == {name for name, value in expected.items() if isinstance(value, float)} - {"log_loss_eps"}
    for name, interval in found.items():
        assert interval == pytest.approx([expected[name]] * 2), name


@pytest.mark.parametrize("score", ["accuracy", "log_loss", "macro_f1"])
def test_agrees_with_scipy_where_each_item_is_a_group(score: str) -> None:
    labels, p = normalised(*predictions(200))
    ours = metrics.evaluate(labels, p, CLASSES, [str(i) for i in range(200)])["intervals"][score]
    functions = {
        "accuracy": lambda i: (p[i].argmax(axis=1) == labels[i]).mean(),
        "log_loss": lambda i: -np.log(p[i, labels[i]]).mean(),
        "macro_f1": lambda i: sklearn.metrics.f1_score(labels[i], p[i].argmax(axis=1), average="macro"),
    }
    theirs = stats.bootstrap(
        (np.arange(200),), functions[score], n_resamples=1000, method="percentile", vectorized=False, rng=1
    ).confidence_interval
    assert ours == pytest.approx([theirs.low, theirs.high], abs=0.15 * (theirs.high - theirs.low))


def test_items_of_a_group_that_are_copies_add_nothing() -> None:
    labels, p = normalised(*predictions(100))
    names = [f"{i:03d}" for i in range(100)]
    alone = metrics.evaluate(labels, p, CLASSES, names)
    copied = metrics.evaluate(np.tile(labels, 4), np.tile(p, (4, 1)), CLASSES, names * 4)
    assert (alone["n_groups"], copied["n_groups"], copied["n"]) == (100, 100, 400)
    for name, interval in alone["intervals"].items():
        assert copied["intervals"][name] == pytest.approx(interval), name
    as_items = metrics.evaluate(np.tile(labels, 4), np.tile(p, (4, 1)), CLASSES, [str(i) for i in range(400)])

    def width(got: dict) -> float:
        low, high = got["intervals"]["accuracy"]
        return high - low

    assert width(as_items) == pytest.approx(width(copied) / 2, rel=0.15)


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    """200 data sets of 60 groups of five alike items each, whose accuracy is 0.7."""
    rng = np.random.default_rng(0)
    covered = by_items = 0
    for _ in range(200):
        right = np.repeat(rng.random(60) < 0.7, 5)
        p = np.where(right[:, None], [0.8, 0.2], [0.2, 0.8])
        items = contributions(np.zeros(300, dtype=int), p, 2)
        groups = np.repeat(np.arange(60), 5).astype(str)
        low, high = bootstrap.intervals(items, groups, n_resamples=400)["accuracy"] or (0, 0)
        covered += low <= 0.7 <= high
        low, high = bootstrap.intervals(items, np.arange(300).astype(str), n_resamples=400)["accuracy"] or (0, 0)
        by_items += low <= 0.7 <= high
    assert 0.9 < covered / 200 < 0.99
    assert by_items / 200 < 0.75


def test_where_every_item_is_right_the_interval_is_that_of_wilson_for_the_groups() -> None:
    p = np.tile([0.9, 0.1], (8, 1))
    got = metrics.evaluate(np.zeros(8, dtype=int), p, ["a", "b"], list("aabbccdd"))["intervals"]
    assert got["accuracy"] == pytest.approx(bootstrap.wilson(1, 4))
    assert got["kappa"] is None
    none = metrics.evaluate(np.ones(8, dtype=int), p, ["a", "b"], list("aabbccdd"))["intervals"]
    assert none["accuracy"] == pytest.approx(bootstrap.wilson(0, 4))


def test_of_one_group_nothing_follows() -> None:
    labels, p = normalised(*predictions(20))
    got = metrics.evaluate(labels, p, CLASSES, ["a"] * 20)
    assert got["n_groups"] == 1
    assert set(got["intervals"].values()) == {None}
    with pytest.raises(ValueError, match="one group an item"):
        metrics.evaluate(labels, p, CLASSES, ["a"] * 19)


def test_a_thousand_resamples_of_a_hundred_thousand_items_take_seconds() -> None:
    rng = np.random.default_rng(0)
    labels, p = rng.integers(0, 51, 100_000), rng.dirichlet(np.full(51, 0.3), 100_000)
    started = time.process_time()
    metrics.evaluate(labels, p, [str(c) for c in range(51)], (np.arange(100_000) // 3).astype(str))
    assert time.process_time() - started < 20


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [(504, 1500, 0.313, 0.360), (1411, 1500, 0.928, 0.952), (1473, 1500, 0.974, 0.988), (738, 750, 0.972, 0.991)],
)
def test_wilson_interval(right: int, n: int, low: float, high: float) -> None:
    assert bootstrap.wilson(right / n, n) == pytest.approx((low, high), abs=6e-4)
    reference = stats.binomtest(right, n).proportion_ci(0.95, method="wilson")
    assert bootstrap.wilson(right / n, n) == pytest.approx((reference.low, reference.high), rel=1e-9)


def test_wilson_interval_of_all_or_none_stays_in_range() -> None:
    low, high = bootstrap.wilson(1.0, 10)
    assert 0.7 < low < 0.75
    assert high == pytest.approx(1)
    assert bootstrap.wilson(0.0, 10) == pytest.approx((0, 1 - low))

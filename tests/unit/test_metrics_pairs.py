"""Comparisons of schemes agree with statsmodels, with SciPy, with closed forms, and with each other."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests

from braid.metrics.bootstrap import wilson
from braid.metrics.letters import letters
from braid.metrics.pairs import Outcomes, compare
from braid.metrics.significance import enough_flips, flip_signs, holm, mcnemar


def outcomes(right: np.ndarray, *, groups=None, folds=None, items=None, log_loss=None, voted=None) -> Outcomes:
    """Return S schemes on N cases, of one seed, each in a group of its own, where nothing else is said."""
    n = right.shape[1]
    names = np.array([f"{i:05d}" for i in range(n)])
    return Outcomes(
        [f"scheme {s}" for s in range(len(right))],
        names if items is None else items,
        np.full(n, "1") if folds is None else folds,
        names if groups is None else groups,
        right.astype(float),
        1.0 - right if log_loss is None else log_loss,
        right > 0.5 if voted is None else voted,
    )


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 0), (5, 5), (3, 9), (40, 20), (0, 12)])
def test_mcnemar_agrees_with_statsmodels(first: int, second: int) -> None:
    reference: Any = statsmodels_mcnemar([[7, first], [second, 9]], exact=True)
    assert mcnemar(first, second) == pytest.approx(reference.pvalue)
    assert mcnemar(first, second) == mcnemar(second, first)


def test_mcnemar_of_six_items_that_all_go_one_way() -> None:
    assert mcnemar(6, 0) == pytest.approx(2 / 2**6)


@pytest.mark.parametrize("seed", range(5))
def test_holm_agrees_with_statsmodels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    p = np.concatenate([rng.random(10) ** 4, [0.0, 1.0, 0.03, 0.03]])
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])


def test_holm_of_none_and_one() -> None:
    assert holm([]) == []
    assert holm([0.03]) == [0.03]


def test_flipping_signs_is_mcnemars_test_where_each_item_is_a_group() -> None:
    rng = np.random.default_rng(0)
    right = rng.random((2, 60)) < [[0.75], [0.5]]
    first, second = (right[0] & ~right[1]).sum(), (right[1] & ~right[0]).sum()
    (p,) = flip_signs(right.astype(float), [(0, 1)], n_flips=20_000)
    assert p == pytest.approx(mcnemar(first, second), abs=0.004)


def test_flipping_signs_agrees_with_scipy_for_groups_of_any_size() -> None:
    rng = np.random.default_rng(1)
    by_group = rng.normal(size=(3, 9)) + np.array([[0.4], [0.0], [0.1]])
    pairs = list(combinations(range(3), 2))
    for (i, j), p in zip(pairs, flip_signs(by_group, pairs, n_flips=20_000), strict=True):
        every = stats.permutation_test(  # all 2⁹ flips
            (by_group[i], by_group[j]),
            lambda x, y, axis: (x - y).sum(axis=axis),
            permutation_type="samples",
            vectorized=True,
        )
        assert p == pytest.approx(every.pvalue, abs=0.015)


def test_schemes_that_answer_alike_are_not_told_apart() -> None:
    right = np.tile(np.arange(40) % 3 > 0, (2, 1))
    (pair,) = compare(outcomes(right)).pairs
    assert (pair.accuracy, pair.only_first, pair.only_second, pair.p_mcnemar, pair.p) == (0, 0, 0, 1, 1)
    assert pair.accuracy_interval == pair.log_loss_interval == [0, 0]


def test_false_alarms_are_as_rare_as_they_should_be_with_groups() -> None:
    """Two schemes alike, ten alike items a group: by items McNemar's test errs often, flips of groups do not."""
    rng = np.random.default_rng(0)
    by_group = by_item = 0
    for _ in range(300):
        right = np.repeat(rng.random((2, 30)) < 0.6, 10, axis=1)
        sums = right.reshape(2, 30, 10).sum(axis=2).astype(float)
        by_group += flip_signs(sums, [(0, 1)], n_flips=400)[0] < 0.05
        by_item += mcnemar(int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())) < 0.05
    assert by_group / 300 < 0.08
    assert by_item / 300 > 0.3


def test_differences_and_intervals_are_those_of_the_paired_bootstrap() -> None:
    rng = np.random.default_rng(2)
    right = rng.random((3, 150)) < [[0.8], [0.7], [0.6]]
    loss = rng.exponential([[0.5], [0.6], [0.8]], (3, 150))
    found = compare(outcomes(right, log_loss=loss))
    for (i, j), pair in zip(combinations(range(3), 2), found.pairs, strict=True):
        assert (pair.first, pair.second) == (f"scheme {i}", f"scheme {j}")
        for values, difference, interval in (
            (right.astype(float), pair.accuracy, pair.accuracy_interval),
            (loss, pair.log_loss, pair.log_loss_interval),
        ):
            assert difference == pytest.approx(values[i].mean() - values[j].mean())
            reference = stats.bootstrap((values[i] - values[j],), np.mean, n_resamples=5000, method="percentile", rng=0)
            low, high = reference.confidence_interval
            assert interval == pytest.approx([low, high], abs=0.08 * (high - low))
        assert pair.only_first == (right[i] & ~right[j]).sum()
    assert [pair.p_holm for pair in found.pairs] == pytest.approx(holm([pair.p for pair in found.pairs]))
    assert [p.p_mcnemar_holm for p in found.pairs] == pytest.approx(holm([p.p_mcnemar or 0 for p in found.pairs]))


def test_the_order_of_two_schemes_changes_signs_only() -> None:
    right = np.random.default_rng(3).random((2, 80)) < [[0.8], [0.6]]
    (pair,), (turned,) = compare(outcomes(right)).pairs, compare(outcomes(right[::-1])).pairs
    assert pair.accuracy == -turned.accuracy
    assert pair.accuracy_interval == pytest.approx([-limit for limit in reversed(turned.accuracy_interval or [])])
    assert (pair.p, pair.p_mcnemar, pair.only_first) == (turned.p, turned.p_mcnemar, turned.only_second)


def test_copies_of_an_item_in_its_group_are_no_evidence() -> None:
    right = np.random.default_rng(4).random((2, 50)) < [[0.8], [0.6]]
    groups = np.array([f"{i:05d}" for i in range(50)])
    once = compare(outcomes(right, groups=groups))
    often = compare(outcomes(np.tile(right, (1, 5)), groups=np.tile(groups, 5)))
    assert once.accuracy_intervals == {name: pytest.approx(i) for name, i in often.accuracy_intervals.items()}
    assert once.pairs[0].p == often.pairs[0].p
    assert (often.pairs[0].p_mcnemar or 1) < (once.pairs[0].p_mcnemar or 0)


def test_an_item_that_is_judged_in_two_folds_is_one_group_and_leaves_no_mcnemar() -> None:
    right = np.random.default_rng(5).random((2, 40)) < [[0.9], [0.6]]
    items = np.array([f"{i:05d}" for i in range(40)])
    both, folds = np.tile(items, 2), np.repeat(["1", "2"], 40)
    twice = outcomes(np.tile(right, (1, 2)), items=both, groups=both, folds=folds)
    one, two = compare(outcomes(right)), compare(twice)
    assert two.pairs[0].p_mcnemar is two.pairs[0].only_first is two.pairs[0].p_mcnemar_holm is None
    assert two.pairs[0].accuracy_interval == pytest.approx(one.pairs[0].accuracy_interval)
    assert two.pairs[0].p == one.pairs[0].p


def test_folds_of_different_sizes_weigh_the_same() -> None:
    right = np.array([[1] * 30 + [0] * 10, [0] * 40])
    found = compare(outcomes(right, folds=np.array(["1"] * 30 + ["2"] * 10)))
    assert found.pairs[0].accuracy == pytest.approx(0.5)


def test_seeds_count_with_their_mean() -> None:
    right = np.array([[1.0, 1 / 3, 2 / 3, 0.0], [0.0, 0.0, 1 / 3, 1.0]])
    (pair,) = compare(outcomes(right)).pairs
    assert pair.accuracy == pytest.approx(2 / 4 - 4 / 12)
    assert (pair.only_first, pair.only_second) == (2, 1)  # of the votes


def test_always_right_and_one_group() -> None:
    right = np.array([[1] * 12, [1, 0] * 6])
    assert compare(outcomes(right)).accuracy_intervals["scheme 0"] == pytest.approx(wilson(1, 12))
    alone = compare(outcomes(right, groups=np.full(12, "one")))
    assert set(alone.accuracy_intervals.values()) == set(alone.log_loss_intervals.values()) == {None}
    assert alone.pairs[0].accuracy_interval is None
    assert alone.pairs[0].p == 1
    assert compare(outcomes(right[:1])).pairs == []


def test_letters_of_schemes_in_order() -> None:
    assert letters("abc", []) == {"a": "a", "b": "a", "c": "a"}
    assert letters(["x", "y", "z"], [("x", "z")]) == {"x": "a", "y": "ab", "z": "b"}
    assert letters(["x", "y", "z"], [("x", "y"), ("x", "z"), ("z", "y")]) == {"x": "a", "y": "b", "z": "c"}


@pytest.mark.parametrize("seed", range(20))
def test_schemes_share_a_letter_exactly_if_they_do_not_differ(seed: int) -> None:
    rng = np.random.default_rng(seed)
    schemes = [f"s{i}" for i in range(9)]
    different = {pair for pair in combinations(schemes, 2) if rng.random() < 0.4}
    found = letters(schemes, different)
    for pair in combinations(schemes, 2):
        assert bool(set(found[pair[0]]) & set(found[pair[1]])) is (pair not in different)
    assert found["s0"][0] == "a"


def test_more_letters_than_the_alphabet_has() -> None:
    schemes = [f"s{i:02d}" for i in range(30)]
    found = letters(schemes, combinations(schemes, 2))
    assert [found["s00"], found["s25"], found["s26"], found["s29"]] == ["a", "z", "a2", "d2"]


@pytest.mark.parametrize("n_pairs", [1, 100, 231, 5000])
def test_flips_are_enough_for_a_difference_to_stand_after_holm(n_pairs):
    smallest = 1 / (1 + enough_flips(n_pairs))
    assert holm([smallest] + [1.0] * (n_pairs - 1))[0] < 0.02

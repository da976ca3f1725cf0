"""Shares of a score add up, a published list of classes is corrected, and every item is counted once."""

from __future__ import annotations

import json
from itertools import combinations, permutations
from pathlib import Path

import numpy as np
import pytest

from braid.metrics.worth import agreement, class_gains, shapley

SCENES = json.loads((Path(__file__).parent / "data" / "scenes.json").read_text())


def scores(column: str) -> dict[str, list[float]]:
    """Return one column of the published tables: modality → a score for each class."""
    at = SCENES["columns"].index(column)
    return {modality: [row[at] for row in table] for modality, table in SCENES["tables"].items()}


def game(modalities: str, value) -> dict[frozenset[str], float]:
    return {frozenset(s): value(frozenset(s)) for n in range(len(modalities) + 1) for s in combinations(modalities, n)}


def test_shapley_values_of_known_games() -> None:
    assert shapley({frozenset(): 0.1, frozenset("a"): 0.7}) == pytest.approx({"a": 0.6})
    worth = {"a": 0.3, "b": 0.2, "c": 0.0}
    assert shapley(game("abc", lambda s: sum(worth[m] for m in s))) == pytest.approx(worth)  # nothing shared
    assert shapley(game("abc", lambda s: 1.0 if s else 0.0)) == pytest.approx(dict.fromkeys("abc", 1 / 3))  # all alike
    glove = game("abc", lambda s: 1.0 if "a" in s and len(s) > 1 else 0.0)  # a left glove and two right ones
    assert shapley(glove) == pytest.approx({"a": 2 / 3, "b": 1 / 6, "c": 1 / 6})


def test_shapley_is_the_mean_gain_over_all_orders() -> None:
    rng = np.random.default_rng(0)
    values = game("abcd", lambda s: float(rng.normal()))
    gains = {m: [] for m in "abcd"}
    for order in permutations("abcd"):
        for i, m in enumerate(order):
            gains[m].append(values[frozenset(order[: i + 1])] - values[frozenset(order[:i])])
    found = shapley(values)
    assert found == pytest.approx({m: np.mean(gain) for m, gain in gains.items()})
    assert sum(found.values()) == pytest.approx(values[frozenset("abcd")] - values[frozenset()])


@pytest.mark.parametrize("value", [None, np.nan])
def test_a_subset_without_a_value_is_named(value: float | None) -> None:
    values = game("abc", len)
    del values[frozenset("ac")]
    if value is not None:
        values[frozenset("ac")] = value
    with pytest.raises(ValueError, match=r"\{a, c\} is (missing|nan)"):
        shapley(values)


def test_the_published_tables_hold_together() -> None:
    support = np.array(SCENES["support"])
    assert support.sum() == SCENES["n"]
    for modality, recall in scores("recall").items():
        assert np.array(recall) @ support / SCENES["n"] == pytest.approx(SCENES["accuracy"][modality], abs=0.005)


def test_corrected_list_of_the_classes_that_gain_most_from_fusion() -> None:
    """The report names the classes 2, 4, 8 and 10; against the better single modality they are 2, 3, 8 and 10."""
    f1 = scores("f1")
    gains = class_gains(SCENES["classes"], f1["M"], {"A": f1["A"], "V": f1["V"]})
    assert sorted(SCENES["classes"].index(gain.name) + 1 for gain in gains[:4]) == [2, 3, 8, 10]
    by_name = {gain.name: gain for gain in gains}
    expected = {"bus": 0.14, "metro": 0.09, "street_pedestrian": 0.08, "tram": 0.08, "metro_station": 0.03}
    assert {name: by_name[name].gain for name in expected} == pytest.approx(expected)
    assert [by_name[name].modality for name in ("bus", "metro", "metro_station", "tram")] == ["A", "V", "V", "A"]


def test_a_class_that_loses_recall_by_fusion() -> None:
    recall = scores("recall")
    last = class_gains(SCENES["classes"], recall["M"], {"A": recall["A"], "V": recall["V"]})[-1]
    assert (last.name, last.modality, last.fused, last.best) == ("airport", "A", 0.66, 0.68)
    assert last.gain == pytest.approx(-0.02)


def test_scores_of_other_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="scores of 2 classes"):
        class_gains(["a", "b"], [0.1, 0.2], {"A": [0.1]})
    with pytest.raises(ValueError, match="at least one single modality"):
        class_gains(["a", "b"], [0.1, 0.2], {})


def test_each_item_is_in_one_cell_of_the_agreement() -> None:
    sound, picture = np.array([1, 1, 0, 0, 1], bool), np.array([1, 0, 1, 0, 1], bool)
    fused = np.array([1, 1, 0, 1, 0], bool)
    cells = agreement({"sound": sound, "picture": picture}, fused)
    assert [(set(cell.right), cell.items.tolist(), cell.fused_right) for cell in cells] == [
        ({"sound", "picture"}, [0, 4], 1),
        ({"sound"}, [1], 1),
        ({"picture"}, [2], 0),
        (set(), [3], 1),
    ]
    rng = np.random.default_rng(0)
    many = {m: rng.random(1000) < 0.6 for m in "abcd"}
    cells = agreement(many, rng.random(1000) < 0.7)
    assert len(cells) == 16
    assert np.sort(np.concatenate([cell.items for cell in cells])).tolist() == list(range(1000))
    assert sum(len(cell.items) for cell in cells if "a" in cell.right) == many["a"].sum()


def test_agreement_needs_the_same_items() -> None:
    with pytest.raises(ValueError, match="same N items"):
        agreement({"a": np.ones(3, bool)}, np.ones(4, bool))

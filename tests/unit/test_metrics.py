"""Metrics agree with the corrected tables of published matrices, with scikit-learn and with closed forms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.metrics

from braid import metrics

MATRICES = json.loads((Path(__file__).parent / "data" / "confusions.json").read_text())


@pytest.mark.parametrize("name", MATRICES)
def test_published_matrices(name: str) -> None:
    expected = MATRICES[name]
    got = metrics.from_confusion(expected["cm"], [str(c) for c in range(len(expected["cm"]))])
    for key in ("n", "accuracy", "macro_precision", "macro_recall", "macro_f1", "weighted_precision", "weighted_f1"):
        assert got[key] == pytest.approx(expected[key], abs=1e-6), key
    for key in ("precision", "recall", "f1", "support", "predicted"):
        assert [row[key] for row in got["per_class"]] == pytest.approx(expected[key], abs=1e-6), key
    assert sum(row["tp"] for row in got["per_class"]) == expected["correct"]
    assert all(row["tp"] + row["fp"] + row["fn"] + row["tn"] == expected["n"] for row in got["per_class"])


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 7, 200)
    labels[labels == 5] = 4  # a class without items
    p = rng.dirichlet(np.full(7, 0.5), 200)
    predicted = p.argmax(axis=1)
    got = metrics.evaluate(labels, p, list("abcdefg"))
    assert got["accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(labels, predicted))
    assert got["log_loss"] == pytest.approx(sklearn.metrics.log_loss(labels, p, labels=range(7)), abs=1e-9)
    assert got["confusion"] == sklearn.metrics.confusion_matrix(labels, predicted, labels=range(7)).tolist()
    recall = sklearn.metrics.recall_score(labels, predicted, labels=[0, 1, 2, 3, 4, 6], average="macro")
    assert got["balanced_accuracy"] == pytest.approx(recall)
    for average in ("macro", "weighted"):
        options: dict[str, Any] = {"average": average, "zero_division": 0}
        reference = sklearn.metrics.precision_recall_fscore_support(labels, predicted, **options)
        names = [f"{average}_{score}" for score in ("precision", "recall", "f1")]
        assert [got[name] for name in names] == pytest.approx(reference[:3])


def test_closed_forms() -> None:
    uniform = metrics.evaluate(np.arange(4), np.full((4, 4), 0.25), list("abcd"))
    assert uniform["log_loss"] == pytest.approx(np.log(4))
    assert uniform["accuracy"] == 0.25
    perfect = metrics.evaluate(np.arange(4), np.eye(4), list("abcd"))
    assert perfect["log_loss"] == 0
    assert perfect["macro_f1"] == perfect["weighted_recall"] == perfect["balanced_accuracy"] == 1
    wrong = metrics.evaluate([0], [[0.0, 1.0]], ["a", "b"])
    assert wrong["log_loss"] == pytest.approx(-np.log(metrics.LOG_LOSS_EPS))
    assert wrong["accuracy"] == wrong["macro_f1"] == 0


def test_order_of_items_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    labels, p = rng.integers(0, 3, 50), rng.dirichlet(np.ones(3), 50)
    order = rng.permutation(50)
    one, other = (metrics.evaluate(labels[rows], p[rows], list("abc")) for rows in (np.arange(50), order))
    for name, value in one.items():
        if isinstance(value, float):
            assert other[name] == pytest.approx(value), name
        else:
            assert name == "reliability" or other[name] == value, name
    for mine, theirs in zip(one["reliability"], other["reliability"], strict=True):
        assert mine == pytest.approx(theirs)


def test_survives_json() -> None:
    got = metrics.evaluate(np.array([0, 1]), np.array([[0.9, 0.1], [0.2, 0.8]], dtype=np.float32), ["a", "b"])
    assert json.loads(json.dumps(got, allow_nan=False)) == got


@pytest.mark.parametrize(
    ("labels", "probabilities"),
    [
        ([], np.zeros((0, 2))),
        ([2], [[0.5, 0.5]]),
        ([-1], [[0.5, 0.5]]),
        ([0.5], [[0.5, 0.5]]),
        ([0], [[0.5, 0.4]]),
        ([0], [[np.nan, 1.0]]),
        ([0, 1], [[0.5, 0.5]]),
    ],
)
def test_refuses(labels: list, probabilities: list) -> None:
    with pytest.raises(ValueError, match="must be"):
        metrics.evaluate(labels, probabilities, ["a", "b"])

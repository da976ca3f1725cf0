"""Metrics agree with the corrected tables of published matrices, with scikit-learn and with closed forms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.metrics
from sklearn.calibration import calibration_curve

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


@pytest.mark.parametrize(
    ("name", "kappa", "mcc"),
    [
        ("HW2-SIFT", 0.288415, 0.289070),
        ("HW2-CNN", 0.936402, 0.936433),
        ("HW2-CNN3D", 0.980706, 0.980716),
        ("HW3-early", 0.982849, 0.982876),
    ],
)
def test_chance_corrected_scores_of_published_matrices(name: str, kappa: float, mcc: float) -> None:
    matrix = MATRICES[name]["cm"]
    got = metrics.from_confusion(matrix, [str(c) for c in range(len(matrix))])
    assert (got["kappa"], got["mcc"]) == pytest.approx((kappa, mcc), abs=1e-6)


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
    assert got["kappa"] == pytest.approx(sklearn.metrics.cohen_kappa_score(labels, predicted))
    assert got["mcc"] == pytest.approx(sklearn.metrics.matthews_corrcoef(labels, predicted))
    unscaled: dict[str, Any] = {"labels": range(7), "scale_by_half": False}
    assert got["brier"] == pytest.approx(sklearn.metrics.brier_score_loss(labels, p, **unscaled))
    losses = [sklearn.metrics.log_loss(labels[labels == c], p[labels == c], labels=range(7)) for c in set(labels)]
    assert got["macro_log_loss"] == pytest.approx(np.mean(losses))


def test_a_true_class_of_probability_0_costs_what_it_does_in_scikit_learn() -> None:
    labels, p = np.array([0, 1, 1]), np.array([[1.0, 0.0], [1.0, 0.0], [0.5, 0.5]])
    assert metrics.evaluate(labels, p, ["a", "b"])["log_loss"] == pytest.approx(sklearn.metrics.log_loss(labels, p))


@pytest.mark.parametrize("seed", range(5))
def test_top_five_agrees_with_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels, p = rng.integers(0, 11, 200), rng.dirichlet(np.ones(11), 200)
    expected = sklearn.metrics.top_k_accuracy_score(labels, p, k=5, labels=range(11))
    assert metrics.evaluate(labels, p, list("abcdefghijk"))["top5_accuracy"] == pytest.approx(expected)
    assert "top5_accuracy" not in metrics.evaluate(labels % 10, np.full((200, 10), 0.1), list("abcdefghij"))


def test_of_equal_probabilities_the_first_five_classes_are_on_top() -> None:
    got = metrics.evaluate(np.arange(20), np.full((20, 20), 1 / 20), [str(c) for c in range(20)])
    assert got["top5_accuracy"] == 5 / 20
    assert got["accuracy"] == 1 / 20


@pytest.mark.parametrize("seed", range(5))
def test_calibration_error_agrees_with_scikit_learn(seed: int) -> None:
    """Which gives the curve: shares of right answers and mean confidences of the bins that are not empty."""
    rng = np.random.default_rng(seed)
    labels, p = rng.integers(0, 4, 300), rng.dirichlet(np.full(4, 0.3), 300)
    right, confidence = p.argmax(axis=1) == labels, p.max(axis=1)
    accuracies, confidences = calibration_curve(right, confidence, n_bins=15)
    n, _ = np.histogram(confidence, bins=15, range=(0, 1))
    expected = np.average(np.abs(accuracies - confidences), weights=n[n > 0])
    assert metrics.evaluate(labels, p, list("abcd"))["ece"] == pytest.approx(expected)


def test_calibration_of_a_forecast_that_is_right_as_often_as_it_says() -> None:
    labels = np.array([0, 0, 0, 1, 1])  # 3 of 5
    calibrated = metrics.evaluate(labels, np.tile([0.6, 0.4], (5, 1)), ["a", "b"])
    assert calibrated["ece"] == pytest.approx(0, abs=1e-12)
    assert calibrated["brier"] == pytest.approx((3 * 2 * 0.4**2 + 2 * 2 * 0.6**2) / 5)
    filled = [row for row in calibrated["reliability"] if row["n"]]
    assert filled == [
        {"low": 8 / 15, "high": 9 / 15, "n": 5, "confidence": pytest.approx(0.6), "accuracy": pytest.approx(0.6)}
    ]
    sure = metrics.evaluate(labels, np.tile([1.0, 0.0], (5, 1)), ["a", "b"])
    assert sure["ece"] == pytest.approx(0.4)
    assert sure["reliability"][-1] == {"low": 14 / 15, "high": 1.0, "n": 5, "confidence": 1.0, "accuracy": 0.6}


def test_one_class_only() -> None:
    got = metrics.evaluate([1, 1, 1], np.tile([0.2, 0.8], (3, 1)), ["a", "b"])
    assert got["kappa"] is None
    assert got["mcc"] == 0
    assert got["accuracy"] == got["balanced_accuracy"] == got["macro_f1"] == 1
    assert got["macro_log_loss"] == got["log_loss"] == pytest.approx(-np.log(0.8))


def test_one_item_of_a_class_counts_as_much_as_all_of_another_in_class_means() -> None:
    labels, p = np.array([0] * 9 + [1]), np.tile([0.9, 0.1], (10, 1))
    got = metrics.evaluate(labels, p, ["a", "b"])
    assert got["balanced_accuracy"] == 0.5
    assert got["macro_log_loss"] == pytest.approx(-(np.log(0.9) + np.log(0.1)) / 2)


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
    grouped = metrics.evaluate([1, 1], [[0.1, 0.9], [0.2, 0.8]], ["a", "b"], ["g", "h"])
    assert json.loads(json.dumps(grouped, allow_nan=False)) == grouped


@pytest.mark.parametrize(
    ("labels", "probabilities"),
    [
        ([], np.zeros((0, 2))),
        ([2], [[0.5, 0.5]]),
        ([-1], [[0.5, 0.5]]),
        ([0.5], [[0.5, 0.5]]),
        ([0], [[0.5, 0.4]]),
        ([0], [[np.nan, 1.0]]),
        ([0], [[np.inf, -np.inf]]),
        ([0], [[1.5, -0.5]]),
        ([0, 1], [[0.5, 0.5]]),
    ],
)
def test_bad_input_is_refused(labels: list, probabilities: list) -> None:
    with pytest.raises(ValueError, match="must be"):
        metrics.evaluate(labels, probabilities, ["a", "b"])

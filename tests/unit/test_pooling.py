"""From tokens and class scores of views to those of an item, in closed form."""

import numpy as np
import pytest

from braid.extractors.pooling import average, pool

TOKENS = np.array([[3.0, 0.0], [0.0, 1.0]], dtype=np.float32)
LOGITS = np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1], [0.6, 0.2, 0.2]], dtype=np.float32))


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (["mean"], [1.5, 0.5]),
        (["max"], [3, 1]),
        (["std"], [1.5, 0.5]),
        (["max", "mean", "std"], [3, 1, 1.5, 0.5, 1.5, 0.5]),
    ],
)
def test_statistics_one_after_the_other(parts, expected):
    np.testing.assert_allclose(pool(TOKENS, parts), expected)
    assert pool(TOKENS, parts).dtype == np.float32


def test_one_token_has_no_spread():
    np.testing.assert_array_equal(pool(TOKENS[:1], ["mean", "std"]), [3, 0, 0, 0])


def test_the_mean_of_unit_vectors_is_one():
    units = np.eye(2, dtype=np.float32)
    np.testing.assert_allclose(pool(units, ["mean", "max"], normalised=True), [0.5**0.5, 0.5**0.5, 1, 1])


def test_probabilities():
    np.testing.assert_allclose(average(LOGITS, "probabilities"), [0.4, 1.25 / 3, 0.55 / 3], rtol=1e-6)


def test_probabilities_of_classes_that_go_together():
    np.testing.assert_allclose(
        average(np.array([[0, 100], [0, -100]], dtype=np.float32), "probabilities", True), [0.5, 0.5]
    )


def test_logits():
    np.testing.assert_allclose(average(LOGITS, "logits"), LOGITS.mean(axis=0))


def test_a_vote_counts_views_and_may_choose_another_class():
    np.testing.assert_allclose(average(LOGITS, "vote"), [2 / 3, 1 / 3, 0])
    assert average(LOGITS, "vote").argmax() != average(LOGITS, "probabilities").argmax()

"""Sampling by time, in closed form."""

import numpy as np
import pytest
import torch

from braid.extractors import sampling
from braid.extractors.batches import batches


def test_cover_ends_when_the_last_frame_leaves_the_screen():
    assert sampling.cover("ok", "", np.array([0.5, 0.75, 1.0]))[2:] == (0.5, 1.25)
    assert sampling.cover("ok", "", np.array([3.0]))[2:] == (3.0, 3.0 + sampling.STILL_SECONDS)


@pytest.mark.parametrize(
    ("end", "views", "starts"),
    [
        (10.0, 1, [4.5]),
        (10.0, 2, [0, 9]),
        (10.0, 4, [0, 3, 6, 9]),
        (3.0, "all", [0, 1, 2]),
        (3.8, "all", [0, 1.4, 2.8]),
        (1.9, "all", [0.45]),
        (0.5, "all", [0]),
        (0.5, 3, [0, 0, 0]),
    ],
)
def test_views_of_a_second_are_spread_evenly(end, views, starts):
    times = np.arange(0, end, 0.04)
    np.testing.assert_allclose(sampling.spread(0, end, 1.0, views, "even", times), starts)
    np.testing.assert_allclose(sampling.spread(7, 7 + end, 1.0, views, "even", 7 + times), 7 + np.array(starts))


def test_slowfast_begins_view_k_at_k_parts_of_the_room():
    np.testing.assert_allclose(sampling.spread(2, 12, 2.0, 4, "slowfast", np.arange(2, 12, 0.1)), [2, 4, 6, 8])
    np.testing.assert_allclose(sampling.spread(2, 3, 2.0, 2, "slowfast", np.arange(2, 3, 0.1)), [2, 2])


def test_blocks_begin_at_equal_numbers_of_frames_and_end_in_black():
    """103 frames in 10 blocks: every 10 frames, and the last view sees 13 of its 16."""
    times = np.arange(103) / 25
    starts = sampling.spread(0, 103 / 25, 16 / 25, 10, "blocks", times)
    np.testing.assert_allclose(starts, np.arange(10) * 10 / 25)
    seen = sampling.on_screen(times, starts[-1] + np.arange(16) / 25, 103 / 25, "black")
    np.testing.assert_array_equal(seen, [*range(90, 103), *[sampling.BLACK] * 3])


def test_blocks_of_a_window_count_its_own_frames():
    times = np.arange(103) / 25
    np.testing.assert_allclose(sampling.spread(1.0, 3.0, 0.5, 5, "blocks", times), 1.0 + np.arange(5) * 10 / 25)
    np.testing.assert_allclose(sampling.spread(1.0, 1.04, 0.5, 3, "blocks", times), [1.0] * 3)


def test_half_the_rate_is_every_second_frame():
    times = np.round(np.arange(60) / 30, 6)  # a container's clock rounds
    np.testing.assert_array_equal(sampling.on_screen(times, np.arange(16) / 15, 2.0), 2 * np.arange(16))


def test_variable_frame_rate_follows_the_clock():
    times = np.array([0, 0.1, 0.5, 0.6, 1.5])
    np.testing.assert_array_equal(
        sampling.on_screen(times, np.array([-1, 0, 0.3, 0.59, 1.0, 9.0]), 2.0), [0, 0, 1, 2, 3, 4]
    )


def test_a_frame_at_the_end_of_the_item_is_not_seen():
    times = np.arange(10.0)
    np.testing.assert_array_equal(sampling.on_screen(times, np.array([2.0, 3.0, 4.0, 9.0]), 4.0), [2, 3, 3, 3])


def test_batches_hold_one_shape_and_depend_on_order_alone():
    shapes = [1, 2, 1, 1, 3, 2, 1, 1, 2]
    found = [
        (keys, tuple(batch.shape)) for keys, batch in batches(((i, torch.zeros(n)) for i, n in enumerate(shapes)), 3)
    ]
    assert found == [([0, 2, 3], (3, 1)), ([1, 5, 8], (3, 2)), ([4], (1, 3)), ([6, 7], (2, 1))]


def test_a_rare_shape_does_not_wait_for_ever():
    jobs = [(0, torch.zeros(9, 9))] + [(i, torch.zeros(i)) for i in range(1, 100)]
    order = [keys for keys, _ in batches(iter(jobs), 2)]
    assert order == [[i] for i in range(100)]

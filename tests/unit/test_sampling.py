"""Sampling by time, in closed form."""

import numpy as np
import pytest

from braid.extractors import sampling


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


def slowfast(n_frames, clip_frames, clip_length, n_views):
    """Return the frames, before rounding down, that SlowFast's test loader takes of a clip: float64 [N, T]."""
    room = max(n_frames - clip_frames, 0)
    starts = [room * k / n_views for k in range(n_views)]
    places = np.array([np.linspace(start, start + clip_frames - 1, clip_length) for start in starts])
    return np.clip(places, 0, n_frames - 1)


@pytest.mark.parametrize("n_frames", [300, 250, 97, 80, 41, 2])
@pytest.mark.parametrize(("clip_length", "stride"), [(16, 5), (4, 12), (13, 6)])
@pytest.mark.parametrize("fps", [30, 25])
def test_slowfast_sees_the_frames_of_slowfast(n_frames, clip_length, stride, fps):
    """10 views of 30/stride frames a second. Where a moment falls on the very edge of a frame, either side will do."""
    times = np.arange(n_frames) / fps
    end, rate = n_frames / fps, 30 / stride
    starts = sampling.spread(0, end, clip_length / rate, 10, "slowfast", times)
    moments = sampling.moments(clip_length, rate, "slowfast", times)
    ours = np.array([sampling.on_screen(times, start + moments, end) for start in starts])
    places = slowfast(n_frames, clip_length * stride * fps / 30, clip_length, 10)
    clear = abs(places - places.round()) > 0.01
    assert (ours == np.floor(places))[clear].all()
    assert (abs(ours - places) < 1.01).all()


def test_other_placements_see_frames_at_the_rate_that_is_asked_for():
    for placement in ("even", "blocks"):
        np.testing.assert_allclose(sampling.moments(4, 2.5, placement, np.arange(50) / 25), [0, 0.4, 0.8, 1.2])


def test_a_frame_longer_than_the_view_fills_a_view_of_slowfast():
    np.testing.assert_allclose(sampling.moments(3, 30, "slowfast", np.array([0.0, 1.0])), [0, 0, 0])


@pytest.mark.parametrize("n_frames", [103, 64, 16, 7])
@pytest.mark.parametrize("n_views", [1, 2, 10, 16])
@pytest.mark.parametrize(("clip_length", "stride"), [(16, 5), (4, 12), (8, 1)])
def test_blocks_are_those_of_the_source(n_frames, n_views, clip_length, stride):
    """View k begins at frame k·(n // N), takes every stride-th one, and lacks those from frame n on."""
    times = np.arange(n_frames) / 30
    end = n_frames / 30
    starts = sampling.spread(0, end, clip_length * stride / 30, n_views, "blocks", times)
    moments = sampling.moments(clip_length, 30 / stride, "blocks", times)
    for k, start in enumerate(starts):
        frames = [k * (n_frames // n_views) + j * stride for j in range(clip_length)]
        expected = [frame if frame < n_frames else sampling.BLACK for frame in frames]
        np.testing.assert_array_equal(sampling.on_screen(times, start + moments, end, "black"), expected)


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


@pytest.mark.parametrize(("end", "n"), [(3.0, 29), (1.0, 9), (0.95, 9), (1.05, 10), (0.2, 1), (0.1, 1)])
def test_an_item_shows_pairs_of_which_it_has_both_frames(end, n):
    """At 10 frames a second, frames 0 to 9 lie before 1 s: they make 9 pairs, and frame 10 is the next item's."""
    times = np.arange(30) / 10
    assert sampling.pair_times(times, end).tolist() == times[:n].tolist()
    seen = sampling.on_screen(sampling.pair_times(times, end), np.arange(0, end, 0.05), end)
    assert seen.max() == n - 1

"""Where views lie in an item, and which frames they see. Sampling is by time, so frame rates may vary."""

from __future__ import annotations

import numpy as np

from braid.extractors.plan import Cover

TIME_ERROR_SECONDS = 1e-4
"""Times nearer than this are the same: containers round them to a tick of a clock."""
STILL_SECONDS = 0.04
"""How long a single frame stays on screen."""
BLACK = -1
"""Stands for a black frame among the indices of a view."""


def cover(status: str, reason: str, times: np.ndarray) -> Cover:
    """Return what frames at `times`, float64 [T] seconds, cover: the last one stays on screen as long as the median."""
    if not len(times):
        return Cover(status, reason, 0.0, 0.0)
    return Cover(status, reason, float(times[0]), float(times[-1]) + frame_seconds(times))


def cover_pairs(status: str, reason: str, times: np.ndarray) -> Cover:
    """Return what pairs of neighbouring frames at `times`, float64 [T] seconds, cover; of a single frame nothing."""
    if len(times) < 2 and status not in ("missing", "unreadable"):
        status, reason = "missing", "; ".join(filter(None, [reason, "there is no pair of frames"]))
    return cover(status, reason, times)


def pair_times(times: np.ndarray, end: float) -> np.ndarray:
    """Return when the pairs of neighbouring frames appear that an item may show: both frames before `end`, in seconds.

    The pair that begins with the last frame before `end` shows what moves until after it, the next item's. Of several
    items that share a clip each so has a pair less than frames. An item of one frame shows the pair that leads to it.

    Parameters
    ----------
    times : float64 [T] seconds, T at least 2, when each frame of the clip appears
    """
    last = int(np.searchsorted(times, end - TIME_ERROR_SECONDS, side="left")) - 1
    return times[: max(last, 1)]


def frame_seconds(times: np.ndarray) -> float:
    """Return how long a frame stays on screen, the median; `times` is float64 [T] seconds, T at least 1."""
    return float(np.median(np.diff(times))) if len(times) > 1 else STILL_SECONDS


def spread(
    start: float, end: float, view_seconds: float, views: int | str, placement: str, times: np.ndarray
) -> np.ndarray:
    """Return the starts, float64 [N_t] seconds, of views of [start, end).

    Parameters
    ----------
    views : int or `all`
        How many; `all` stands for as many as there is room for without overlap, at least one.
    placement : str
        With Δ the time that is left beside a view, 0 where the item is shorter: `even` is kΔ/(N_t-1), the first at the
        start, the last at the end, one alone in the middle (SlowFast with offsets); `slowfast` is kΔ/N_t (SlowFast
        without); `blocks` begins one at each of N_t equal numbers of frames, whether there is room after it or not.
    times : float64 [T] seconds, when each frame appears
    """
    room = max(end - start - view_seconds, 0.0)
    n = max(int((end - start) / view_seconds + 1e-6), 1) if views == "all" else int(views)
    if placement == "even":
        return start + room * (np.linspace(0, 1, n) if n > 1 else np.array([0.5]))
    if placement == "slowfast":
        return start + room * np.arange(n) / n
    first, last = np.searchsorted(times, [start - TIME_ERROR_SECONDS, end - TIME_ERROR_SECONDS])
    return times[np.minimum(first + np.arange(n) * ((last - first) // n), len(times) - 1)]


def moments(clip_length: int, frame_rate: float, placement: str, times: np.ndarray) -> np.ndarray:
    """Return when a view sees each of its frames, float64 [clip_length] seconds after its start.

    They are 1/`frame_rate` apart, but for the placement `slowfast`: SlowFast cuts as many frames of the clip as pass
    in clip_length/frame_rate seconds, and spreads the view from the first to the last one of them.

    Parameters
    ----------
    times : float64 [T] seconds, when each frame of the clip appears
    """
    if placement == "slowfast":
        return np.linspace(0, max(clip_length / frame_rate - frame_seconds(times), 0), clip_length)
    return np.arange(clip_length) / frame_rate


def middles(times: np.ndarray, start: float, end: float, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the bounds of n equal parts of [start, end) seconds, float64 [n + 1], and the frame in the middle of each.

    Frames are those on screen at that moment, int64 [n]; `times` as for `on_screen`.
    """
    bounds = np.linspace(start, end, n + 1)
    return bounds, on_screen(times, (bounds[:-1] + bounds[1:]) / 2, end)


def on_screen(times: np.ndarray, at: np.ndarray, end: float, after: str = "hold") -> np.ndarray:
    """Return the index of the frame that is on screen at each moment, int64 [n].

    Parameters
    ----------
    times : float64 [T] seconds, increasing, when each frame appears
    at : float64 [n] seconds; before the first frame it is the first one
    end : seconds; a frame that appears then or later is not shown
    after : str
        What is seen from `end` on: `hold` the last frame before it, or `black` (`BLACK`).
    """
    shown = np.searchsorted(times, at + TIME_ERROR_SECONDS, side="right") - 1
    last = np.searchsorted(times, end - TIME_ERROR_SECONDS, side="left") - 1
    indices = np.clip(np.minimum(shown, last), 0, len(times) - 1)
    return np.where(at < end - TIME_ERROR_SECONDS, indices, BLACK) if after == "black" else indices

"""The flow stage on pictures with known motion."""

from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from braid import config
from braid.flow import compute
from braid.flow.compute import compute_flow
from braid.flow.farneback import Farneback
from braid.flow.registry import REGISTRY
from braid.store.flow import FlowShard

HEIGHT, WIDTH = 64, 96
FARNEBACK = {
    "type": "farneback",
    "scale": 1,
    "encoding": "float16",
    "bound": 20,
    "pyramid_scale": 0.5,
    "levels": 3,
    "window": 15,
    "iterations": 3,
    "poly_n": 5,
    "poly_sigma": 1.2,
}
INSIDE = (..., slice(12, -12), slice(12, -12))


def moving(right: int, down: int, n_frames: int) -> np.ndarray:
    """A smooth random texture moving by whole pixels a frame, uint8 [T, H, W, 3]."""
    noise = np.random.default_rng(0).normal(size=(3 * HEIGHT, 3 * WIDTH, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.5)
    picture = np.clip(128 + 50 * smooth / smooth.std(), 0, 255).astype(np.uint8)
    corners = [(HEIGHT - t * down, WIDTH - t * right) for t in range(n_frames)]
    return np.stack([picture[top : top + HEIGHT, left : left + WIDTH] for top, left in corners])


@dataclass
class Video:
    status: str = "ok"
    reason: str = ""

    @property
    def usable(self) -> bool:
        return self.status in ("ok", "short", "damaged")


@dataclass
class Clip:
    """A decoded clip in memory that remembers which frames were read."""

    pictures: np.ndarray
    video: Video = field(default_factory=Video)
    reads: list[list[int]] = field(default_factory=list)

    @property
    def times(self) -> np.ndarray:
        return np.arange(len(self.pictures)) / 25 + 0.04

    def frames(self, indices: slice) -> np.ndarray:
        self.reads.append(list(range(len(self.pictures)))[indices])
        return self.pictures[indices]


class Shard(dict[str, Clip]):
    """A decoded shard in memory."""

    clips = property(tuple)

    def __enter__(self) -> "Shard":
        return self

    def __exit__(self, *_: Any) -> None:
        pass


def run(
    clips: dict[str, Clip], out: Path, monkeypatch: pytest.MonkeyPatch, threads: int = 2, **settings: Any
) -> FlowShard:
    monkeypatch.setattr(compute, "DecodedShard", lambda path: Shard(clips))
    compute_flow(Path("decoded.zarr.zip"), out, FARNEBACK | settings, threads)
    return FlowShard(out)


@pytest.mark.parametrize("motion", [(3, 0), (-3, 0), (0, 3), (0, -3), (2, -1), (0, 0)])
def test_a_shifted_picture_has_that_much_flow(motion: tuple[int, int]) -> None:
    method = Farneback(FARNEBACK, threads=1)
    frames = method.encode(moving(*motion, n_frames=2))
    flow = method.match(frames[:1], frames[1:])
    assert flow.shape == (1, 2, HEIGHT, WIDTH)
    assert flow.dtype == np.float32
    error = flow - np.reshape(motion, (2, 1, 1))
    assert np.abs(error[INSIDE]).mean() < 0.05


def test_flow_of_a_mirrored_clip_has_u_negated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = moving(3, 1, n_frames=3)
    clips = {"there": Clip(pictures), "back": Clip(pictures[:, :, ::-1])}
    with run(clips, tmp_path / "s.zarr.zip", monkeypatch) as shard:
        there, back = (shard[name].pairs(slice(None)) for name in clips)
    assert np.abs(back[..., ::-1] - there * np.reshape([-1, 1], (2, 1, 1))).mean() < 0.01


@pytest.mark.parametrize("threads", [1, 3, 9])
def test_pairs_come_in_order_from_frames_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    pictures = np.concatenate([moving(t % 4, t % 3, n_frames=4) for t in range(9)])[:35]
    clip = Clip(pictures)
    with run({"a": clip}, tmp_path / "s.zarr.zip", monkeypatch, threads) as shard:
        flow, times = shard["a"].pairs(slice(None)), shard["a"].times
    greys = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in pictures]
    for pair, (first, second) in zip(flow, pairwise(greys), strict=True):
        expected = cv2.calcOpticalFlowFarneback(first, second, np.empty(0), 0.5, 3, 15, 3, 5, 1.2, 0)
        assert np.abs(pair - np.clip(expected, -20, 20).transpose(2, 0, 1)).max() <= 2.0**-7
    assert np.array_equal(times, clip.times)
    assert [t for read in clip.reads for t in read] == list(range(35))
    assert max(map(len, clip.reads)) <= 24


@pytest.mark.parametrize("scale", [0.5, 0.25, 0.125])
def test_scaled_flow_has_scaled_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scale: float) -> None:
    with run({"a": Clip(moving(4, -2, 3))}, tmp_path / "s.zarr.zip", monkeypatch, scale=scale) as shard:
        flow = shard["a"].pairs(slice(None))
    assert flow.shape == (2, 2, HEIGHT * scale, WIDTH * scale)
    inside = flow[..., 2:-2, 2:-2]
    assert np.abs(inside - np.reshape([4 * scale, -2 * scale], (2, 1, 1))).mean() < 0.05 * scale


def test_statuses_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = moving(1, 0, 3)
    clips = {
        "damaged": Clip(pictures, Video("damaged", "ends early")),
        "missing": Clip(pictures[:0], Video("missing", "the clip has no video")),
        "single": Clip(pictures[:1]),
        "unreadable": Clip(pictures[:0], Video("unreadable", "no frame could be decoded")),
    }
    with run(clips, tmp_path / "s.zarr.zip", monkeypatch) as shard:
        found = {name: (shard[name].status, shard[name].reason, shard[name].n_pairs) for name in shard.clips}
    assert found == {
        "damaged": ("damaged", "ends early", 2),
        "missing": ("missing", "the clip has no video", 0),
        "single": ("short", "the video has a single frame, and flow needs two", 0),
        "unreadable": ("unreadable", "no frame could be decoded", 0),
    }


def test_the_shard_says_how_it_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with run({"a": Clip(moving(1, 0, 2))}, tmp_path / "s.zarr.zip", monkeypatch) as shard:
        assert shard.attrs["settings"] == FARNEBACK
        assert shard.attrs["version"] == REGISTRY["farneback"].version


def test_a_failure_while_reading_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Clip):
        def frames(self, indices: slice) -> np.ndarray:
            if indices.start > 8:
                raise OSError("the disk is gone")
            return super().frames(indices)

    with pytest.raises(OSError, match="the disk is gone"):
        run({"a": Broken(moving(1, 0, 30))}, tmp_path / "s.zarr.zip", monkeypatch)
    assert list(tmp_path.iterdir()) == []


def test_every_method_has_a_schema_and_can_be_loaded() -> None:
    assert set(REGISTRY) == set(config.types("flow"))
    for entry in REGISTRY.values():
        method = entry.load()
        assert callable(method.encode)
        assert callable(method.match)

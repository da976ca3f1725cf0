"""What a config would take: views, bytes and hours from the rates that the benchmarks have kept."""

import pytest

from braid import config
from braid.plan.estimate import Media, costs, n_views

MEDIA = Media(n_clips=100, n_items=100, clip_seconds=10, item_seconds=10, frame_rate=30, n_folds=3)


def plan(**entries):
    """Return the costs by stage of a config with these extractors."""
    loaded = config.load(
        {
            "name": "mine",
            "manifest": "clips.tsv",
            "decode": {"short_side": 240, "sample_rate": 48000},
            "flow": {"slow": {"type": "farneback", "scale": 1, "encoding": "uint8"}, "net": {"type": "gmflow"}},
            "extractors": entries,
            "schemes": {"one": {"type": "single", "features": [next(iter(entries))]}},
        }
    )
    return {cost.stage: cost for cost in costs(loaded, MEDIA)}


@pytest.mark.parametrize(
    ("settings", "views"),
    [
        ({"views": 16, "crops": 5}, 80),
        ({"views": "all", "clip_length": 32, "frame_rate": 15, "crops": 1}, 4),
        ({"views": "all", "clip_length": 600, "frame_rate": 15}, 1),
        ({"frames": 1, "frame_rate": 1.5, "crops": 1}, 15),
        ({"frames": 8, "frame_rate": None, "crops": 2}, 16),
        ({"hop_seconds": 0.1}, 100),
        ({}, 5),
    ],
)
def test_views_of_ten_seconds(settings, views):
    assert n_views(settings, 10, 5) == views


def test_decoded_bytes_are_those_of_pixels_and_samples():
    frames, samples = 100 * 10 * 30 * 240 * 320 * 3 / 13, 100 * 10 * 48000 * 4
    assert plan(clip={"type": "clip"})["decode"].bytes == pytest.approx(frames + samples)


def test_flow_takes_what_was_measured_for_hmdb51():
    """14.9 GB for 634,258 pairs of 256×340; here are fewer pairs of fewer pixels."""
    expected = 14.9e9 * (30_000 / 634_258) * (240 * 320) / (256 * 340)
    found = plan(clip={"type": "clip"})
    assert found["flow slow"].bytes == pytest.approx(expected)
    assert found["flow slow"].hours and found["flow net"].hours is None


def test_what_is_not_measured_has_no_hours_and_says_why():
    found = plan(
        vit={"type": "clip"}, other={"type": "clip", "architecture": "RN50x4-quickgelu"}, words={"type": "sift"}
    )
    assert found["vit"].hours and found["vit"].hours > 0
    assert found["other"].hours is None and "RN50x4-quickgelu is not measured" in found["other"].basis
    assert found["words"].hours is None
    assert found["words"].bytes == 3 * 100 * 15 * 1024 * 4  # each of three folds has its own

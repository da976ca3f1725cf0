"""Which clips are shown with their flow, and the pictures of them."""

import base64
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import polars as pl
import pytest
from test_flow_compute import Clip, write_decoded

from braid.report.examples import CANDIDATES, MOST_CLASSES, choose, flow_methods
from braid.report.flow_pictures import BOUND_PIXELS, GAP, HEIGHT, N_PAIRS, WHEEL, draw_flow
from braid.store.flow import FlowWriter

NOISE = np.random.default_rng(0).integers(0, 256, (6, 96, 168, 3), dtype=np.uint8)
RED, GREEN_TO_BLUE = (255, 0, 0), (0, 209, 255)  # rightwards and leftwards, as in test_flow_picture


def items(*rows: tuple[str | None, str, str, str | None]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=["label", "shard", "clip", "video"], orient="row")


def test_the_first_clips_of_each_class_are_chosen_from_one_shard() -> None:
    found = choose(
        items(
            ("walk", "a", "1", "1.mp4"),
            ("walk", "a", "1", "1.mp4"),  # two windows of a clip
            (None, "a", "2", "2.mp4"),
            ("sit", "a", "3", None),
            ("walk", "a", "4", "4.mp4"),
            ("sit", "b", "5", "5.mp4"),
            ("walk", "b", "6", "6.mp4"),
        )
    )
    assert [(row["label"], row["shard"], row["clip"]) for row in found] == [
        ("sit", "b", "5"),
        ("walk", "a", "1"),
        ("walk", "a", "4"),
    ]


def test_no_more_classes_and_clips_than_are_shown() -> None:
    rows = [(f"class {i % 20:02d}", "a", str(i), f"{i}.mp4") for i in range(200)]
    found = choose(items(*rows))
    assert [row["label"] for row in found] == [f"class {i:02d}" for i in range(MOST_CLASSES) for _ in range(CANDIDATES)]


def test_flow_is_shown_that_an_extractor_or_its_backbone_reads() -> None:
    config = {
        "extractors": {"a": {"flow": "dis"}, "b": {"backbone": "x3d"}, "c": {}},
        "backbones": {"x3d": {"flow": "raft"}, "other": {"flow": "gmflow"}, "rgb": {}},
    }
    assert flow_methods(config) == ["dis", "raft"]
    assert flow_methods({"extractors": {"a": {}}}) == []


def picture(url: str) -> np.ndarray:
    """The picture in a data URL, RGB or RGBA."""
    head, content = url.split(",")
    assert head in ("data:image/jpeg;base64", "data:image/png;base64")
    decoded: Any = cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_UNCHANGED)
    return cv2.cvtColor(decoded, cv2.COLOR_BGRA2RGBA if decoded.shape[2] == 4 else cv2.COLOR_BGR2RGB)


@pytest.fixture
def drawn(tmp_path: Path) -> dict[str, Any]:
    """Pictures of noise that is said to move right in one clip and left in the other, at half the size."""
    decoded = write_decoded(
        tmp_path / "a.zarr.zip", {"none": Clip(NOISE[:1]), "right": Clip(NOISE), "left": Clip(NOISE[:3])}
    )
    with FlowWriter(tmp_path / "flow.zarr.zip", "float16", 20, {}) as writer:
        writer.write("none", np.zeros(1), "short", "one frame", ())
        for name, pixels, n in (("right", 1, 6), ("left", -1, 3)):
            flow = np.zeros((n - 1, 2, 48, 84), np.float32)
            flow[:, 0] = pixels * BOUND_PIXELS / 2
            writer.write(name, np.arange(n) / 25, "ok" if n == 6 else "damaged", "", [flow])
    examples = [
        {"label": "l", "shard": "a", "clip": "left", "video": "left.mp4"},
        {"label": "r", "shard": "a", "clip": "none", "video": "none.mp4"},
        {"label": "r", "shard": "a", "clip": "right", "video": "right.mp4"},
    ]
    draw_flow(examples, {"a": decoded}, {"a": tmp_path / "flow.zarr.zip"}, tmp_path / "examples.json")
    return json.loads((tmp_path / "examples.json").read_text())


def test_the_first_clip_with_flow_is_shown(drawn: dict[str, Any]) -> None:
    shown = [(row["label"], row["video"], row["pairs"], row["status"]) for row in drawn["examples"]]
    assert shown == [("l", "left.mp4", 2, "damaged"), ("r", "right.mp4", 5, "ok")]
    assert [row["mean_pixels"] for row in drawn["examples"]] == [BOUND_PIXELS, BOUND_PIXELS], "of the decoded frame"


def test_strips_are_small_and_of_the_colour_of_the_motion(drawn: dict[str, Any]) -> None:
    for row, n, colour in zip(drawn["examples"], (2, N_PAIRS), (GREEN_TO_BLUE, RED), strict=True):
        for name in ("frames", "flow"):
            assert picture(row[name]).shape == (HEIGHT, n * (126 + GAP), 3)
            assert len(row[name]) < 20_000 * 4 / 3, "of pure noise"
        first = picture(row["flow"])[:, :110].astype(int)
        assert np.abs(first - colour).mean(axis=(0, 1)).max() < 4


def test_the_wheel_is_white_within_and_has_no_corners(drawn: dict[str, Any]) -> None:
    wheel = picture(drawn["wheel"])
    centre = WHEEL // 2
    assert wheel.shape == (WHEEL, WHEEL, 4)
    assert wheel[centre, centre].tolist() == [255] * 4
    assert wheel[centre, -1].tolist() == [*RED, 255]
    assert wheel[centre, 0].tolist() == [*GREEN_TO_BLUE, 255]
    assert wheel[0, 0, 3] == 0


def test_an_empty_choice_is_an_empty_page(tmp_path: Path) -> None:
    draw_flow([], {}, {}, tmp_path / "examples.json")
    assert json.loads((tmp_path / "examples.json").read_text())["examples"] == []

"""N_t views in time × N_s crops in space of an item, through the whole extraction, against loops written out here."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from fake_clips import FakeClip, FakeShard, items, settings

from braid.extractors import extract
from braid.extractors.transformers_video import TransformersVideo
from braid.store.features import FeatureShard

MODEL = str(Path(__file__).parent / "data" / "videomae")
SIDE, FRAMES, RATE, FPS = 32, 4, 5.0, 25
"""What the model reads: 4 frames, here every fifth of a clip, 32×32."""


def extracted(clips, folder, monkeypatch, **changes):
    """Return the settings and the shard of features of whole clips; the shard is open."""
    chosen = settings("transformers_video", architecture=MODEL, frame_rate=RATE, **changes)
    monkeypatch.setattr(extract, "_open", lambda source, path: FakeShard(clips))
    rows = items(*((name, name, None, None) for name in clips))
    extract.extract_features(rows, folder, folder / "features.h5", chosen, 1, "cpu", batch_size=3)
    shard: Any = FeatureShard(folder / "features.h5")
    return chosen, shard


def scores_of_views(clip, chosen, indices, corners):
    """Return the logits [V, C] of views: rows of frames (-1 is black), each cut at some (top, left) of its 32×42."""
    network = TransformersVideo(chosen).network
    processor = transformers.AutoVideoProcessor.from_pretrained(MODEL)
    rows = []
    for frames in indices:
        pictures = np.stack([clip.pictures[i] if i >= 0 else np.zeros_like(clip.pictures[0]) for i in frames])
        whole = processor(pictures, do_center_crop=False, return_tensors="pt")["pixel_values"]  # [1, T, 3, 32, 42]
        for top, left, mirrored in corners(whole.shape[-2], whole.shape[-1]):
            cut = whole[..., top : top + SIDE, left : left + SIDE]
            with torch.inference_mode():
                pooled = network["embedding"](cut.flip(-1) if mirrored else cut).logits
                rows.append(network["classifier"](pooled)[0])
    return torch.stack(rows)


def left_centre_right(height, width):
    return [(0, left, False) for left in (0, -((SIDE - width) // 2), width - SIDE)]


def reversed_five_crop(height, width):
    down, across = height - SIDE, width - SIDE
    places = [(down // 2, across // 2), (down, across), (down, 0), (0, across), (0, 0)]
    return [(top, left, mirrored) for mirrored in (False, True) for top, left in places]


def combined(logits, how):
    if how == "vote":
        winners = [int(row.argmax()) for row in logits]
        return torch.tensor([winners.count(k) / len(winners) for k in range(logits.shape[1])])
    rows = logits if how == "logits" else logits.softmax(dim=1)
    return sum(rows) / len(rows)


@pytest.mark.parametrize("how", ["probabilities", "logits", "vote"])
def test_ten_by_three_views_of_slowfast(how, tmp_path, monkeypatch):
    """View k begins at frame k·Δ/10; the scores of 30 views are averaged (SlowFast: the sum of softmaxes)."""
    n = 77
    clips = {"clip": FakeClip(4, seconds=n / FPS)}
    chosen, shard = extracted(
        clips, tmp_path, monkeypatch, views=10, crops=3, placement="slowfast", scores=how, pooling=["mean", "max"]
    )
    clip_frames = FRAMES * FPS / RATE
    starts = [(n - clip_frames) * k / 10 for k in range(10)]
    indices = [np.linspace(start, start + clip_frames - 1, FRAMES).astype(int) for start in starts]
    logits = scores_of_views(clips["clip"], chosen, indices, left_centre_right)
    with shard:
        tokens, times = shard.tokens(0)
        assert tokens.shape == (30, 32)
        np.testing.assert_allclose(times[:, 0], np.repeat(starts, 3) / FPS)  # in time first, then in space
        np.testing.assert_allclose(times[:, 1] - times[:, 0], clip_frames / FPS)
        np.testing.assert_allclose(shard.embedding[0], np.concatenate([tokens.mean(axis=0), tokens.max(axis=0)]))
        np.testing.assert_allclose(shard.scores[0], combined(logits, how), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("n_views", "n_crops"), [(1, 1), (4, 5), (10, 10)])
def test_blocks_by_corners_and_a_vote(n_views, n_crops, tmp_path, monkeypatch):
    """View k begins at frame k·(n // N_t), frames past the end are black, and the class of most views wins."""
    n = 43
    clips = {"clip": FakeClip(5, seconds=n / FPS)}
    chosen, shard = extracted(
        clips,
        tmp_path,
        monkeypatch,
        views=n_views,
        crops=n_crops,
        placement="blocks",
        crop_layout="corners",
        scores="vote",
    )
    indices = [
        [frame if (frame := k * (n // n_views) + 5 * j) < n else -1 for j in range(FRAMES)] for k in range(n_views)
    ]
    logits = scores_of_views(clips["clip"], chosen, indices, lambda h, w: reversed_five_crop(h, w)[:n_crops])
    with shard:
        np.testing.assert_allclose(shard.scores[0], combined(logits, "vote"), atol=1e-6)


@pytest.mark.parametrize("placement", ["even", "slowfast", "blocks"])
def test_items_shorter_than_a_view_hold_their_last_frame_or_run_into_black(placement, tmp_path, monkeypatch):
    """One, two and seven frames, of which a view of 0.8 s sees those at 0, 0.2, 0.4 and 0.6 s."""
    clips = {str(n): FakeClip(n, seconds=n / FPS) for n in (1, 2, 7)}
    chosen, shard = extracted(clips, tmp_path, monkeypatch, views=1, placement=placement)
    seen = {
        "even": {1: [0, 0, 0, 0], 2: [0, 1, 1, 1], 7: [0, 5, 6, 6]},
        "slowfast": {1: [0, 0, 0, 0], 2: [0, 1, 1, 1], 7: [0, 6, 6, 6]},  # spread over 19 frames: 0, 6.3, 12.7, 19
        "blocks": {1: [0, -1, -1, -1], 2: [0, -1, -1, -1], 7: [0, 5, -1, -1]},
    }[placement]
    rule = "what lacks is black" if placement == "blocks" else "its last frame is held"
    with shard:
        for row, (n, frames) in enumerate(seen.items()):
            logits = scores_of_views(clips[str(n)], chosen, [frames], lambda h, w: [(0, (w - SIDE) // 2, False)])
            np.testing.assert_allclose(shard.scores[row], combined(logits, "probabilities"), rtol=1e-4, atol=1e-5)
            assert shard.status[row] == "short" and rule in shard.reason[row]
            np.testing.assert_allclose(shard.tokens(row)[1], [[0, n / FPS]])

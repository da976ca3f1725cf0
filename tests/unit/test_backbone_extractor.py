"""A trained backbone as an extractor: its tokens, its scores, and every smaller grid of views out of one extraction."""

from typing import Any

import numpy as np
import pytest
import torch
from fake_clips import FakeClip, FakeShard, items
from fake_clips import settings as extractor_settings
from test_backbone_networks import settings

from braid.backbones import grid, inputs, model, networks
from braid.backbones.registry import sources
from braid.errors import StoreError
from braid.extractors.backbone import Trained, extract_trained
from braid.extractors.extract import write_features
from braid.extractors.pooling import average
from braid.store.features import FeatureShard, FeatureWriter
from braid.store.flow import FlowWriter

CLASSES = ["clap", "jump", "run"]
ITEMS = items(("long", "a", None, None), ("part", "a", 0.5, 2.5), ("silent", "b", None, None))


def trained(folder, **changes):
    """Write a backbone as if it had been trained, and return its path."""
    chosen = settings(**{"kind": "x3d", "crop": 32, "short_side": 48, "clip_length": 4} | changes)
    network = networks.make(chosen, inputs.make(chosen).n_channels, len(CLASSES))
    with torch.no_grad():  # as random weights would have them, all views would look the same
        for name, value in network.named_parameters():
            value += 0.05 * torch.randn(value.shape, generator=torch.Generator().manual_seed(len(name)))
    model.save(folder / "model.safetensors", network, chosen, CLASSES, fold="1", epoch=3)
    return folder / "model.safetensors"


def chosen(**changes: Any) -> dict[str, Any]:
    entry = extractor_settings("backbone", backbone="some", dtype="float32", **changes)
    return {key: value for key, value in entry.items() if key != "weights"}


def extracted(path, out, **changes):
    """Extract from clips in memory, of which `b` has no picture."""
    usable, without = FakeClip(seconds=4), FakeClip(status="missing", reason="no video")
    clips = {"a": inputs.Clips(usable, usable), "b": inputs.Clips(without, without)}
    extractor = Trained(chosen(**changes), path)
    attrs = {"weights": "", "source": {}, "backbone": extractor.backbone.settings}
    write_features(ITEMS, FakeShard(clips), out, extractor, chosen(**changes), attrs, 1, "cpu", 4, 4000)
    return FeatureShard(out)


@pytest.mark.parametrize("input", ["rgb", "flow", "strided_flow", "flow_grey", "zeros_grey"])
def test_tokens_and_scores_are_those_of_the_network(tmp_path, input):
    path = trained(tmp_path, input=input)
    known = model.load(path)
    clip = FakeClip(seconds=4)
    reader = inputs.make(known.settings, chosen(views=3, crops=2, crop_layout="corners"))
    views = reader.plan(inputs.Clips(clip, clip), 0.5, 2.5).views
    raw = torch.stack([reader.centred(inputs.Clips(clip, clip), view) for view in views])
    embeddings, _ = known.network.features(reader.encode(raw[:, None])[:, 0])
    logits = known.network.classify(embeddings).numpy()
    with extracted(path, tmp_path / "x.h5", views=3, crops=2, crop_layout="corners") as shard:
        assert shard.attrs["classes"] == CLASSES and shard.attrs["backbone"]["input"] == input
        assert shard.status == ["ok", "ok", "missing"]
        tokens, times = shard.tokens(1)
        np.testing.assert_allclose(tokens, embeddings.numpy(), rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(times[:, 0], [view.start_seconds for view in views])
        np.testing.assert_allclose(shard.embedding[1], tokens.mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(shard.view_scores(1), logits, rtol=1e-3, atol=1e-4)
        assert shard.scores is not None
        np.testing.assert_allclose(shard.scores[1], average(shard.view_scores(1), "probabilities"), rtol=1e-5)
        assert shard.view_scores(2).shape == (0, 3) and np.isnan(shard.scores[2]).all()
        assert (
            np.ptp(logits, axis=0).min() > 0.01 * np.abs(logits).max()
        )  # of views that differ nothing holds by chance


def test_steps_divide_the_seconds_of_their_view(tmp_path):
    with extracted(trained(tmp_path), tmp_path / "x.h5", views=2, tokens="steps") as shard:
        tokens, times = shard.tokens(0)
        assert tokens.shape == (2 * 4, 216) and shard.view_scores(0).shape == (2, 3)
        view = 4 / 5  # seconds of four frames, five a second
        np.testing.assert_allclose(times[:4], np.stack([np.arange(4), np.arange(1, 5)], axis=1) * view / 4)
        np.testing.assert_allclose(times[4:, 1] - times[4:, 0], view / 4)
        np.testing.assert_allclose(shard.embedding[0], tokens.mean(axis=0), rtol=1e-4)


def test_sound(tmp_path):
    path = trained(tmp_path, kind="logmel", crop=None, sample_rate=32_000)
    with extracted(path, tmp_path / "x.h5", views=3) as shard:
        assert shard.view_scores(0).shape == (3, 3) and grid.layout_of(shard.attrs) == (1, "even", "line")


@pytest.mark.parametrize(
    ("full", "smaller"),
    [
        ({"views": 5, "crops": 3}, {"views": 3, "crops": 1}),
        ({"views": 5, "crops": 3}, {"views": 1, "crops": 2}),
        ({"views": 4, "crops": 6, "crop_layout": "corners"}, {"views": 2, "crops": 5, "crop_layout": "corners"}),
        ({"views": 4, "crops": 3, "placement": "slowfast"}, {"views": 2, "crops": 1, "placement": "slowfast"}),
        ({"views": 4, "placement": "blocks"}, {"views": 1, "placement": "blocks"}),
    ],
)
@pytest.mark.parametrize("how", grid.AVERAGES)
def test_a_smaller_grid_is_that_of_an_extraction_of_its_own(tmp_path, full, smaller, how):
    """Where the places coincide: one forward pass a view gives every grid."""
    path = trained(tmp_path)
    with (
        extracted(path, tmp_path / "full.h5", **full) as all_views,
        extracted(path, tmp_path / "smaller.h5", **smaller, scores=how) as own,
    ):
        n_crops, placement, layout = grid.layout_of(all_views.attrs)
        n_t, n_s = smaller["views"], smaller.get("crops", 1)
        found = grid.select(all_views.view_scores(0), n_crops, n_t, n_s, placement, layout)
        np.testing.assert_allclose(found, own.view_scores(0), rtol=1e-4, atol=1e-5)
        assert own.scores is not None
        np.testing.assert_allclose(average(found, how), own.scores[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("n", "fewer", "placement", "which"),
    [
        (5, 1, "even", [2]),
        (4, 1, "even", [1]),  # of two that are equally near the earlier one
        (5, 2, "even", [0, 4]),
        (5, 3, "even", [0, 2, 4]),
        (10, 4, "even", [0, 3, 6, 9]),
        (4, 3, "even", [0, 1, 3]),
        (10, 5, "slowfast", [0, 2, 4, 6, 8]),
        (4, 1, "blocks", [0]),
        (9, 3, "middles", [1, 4, 7]),
        (3, 1, "middles", [1]),
    ],
)
def test_places(n, fewer, placement, which):
    assert grid.places(n, fewer, placement).tolist() == which


@pytest.mark.parametrize("placement", ["even", "slowfast", "middles"])
def test_no_view_stands_for_two(placement):
    for n in range(1, 20):
        for fewer in range(1, n + 1):
            which = grid.places(n, fewer, placement)
            assert len(set(which.tolist())) == fewer and which.min() >= 0 and which.max() < n
        assert grid.places(n, n, placement).tolist() == list(range(n))


def test_corners_begin_in_the_centre():
    assert grid.crops(5, 3, "corners").tolist() == [0, 1, 2]
    assert grid.crops(3, 1, "line").tolist() == [1]


def test_an_item_with_fewer_views_gives_all_that_it_has():
    scores = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(grid.select(scores, 1, 4, 1), scores)


def test_accuracies_of_grids(tmp_path):
    """Views of an item that disagree: which wins depends on how many are asked, and how."""
    views = {"x": [[9, 0], [0, 3], [0, 3]], "y": [[0, 2], [1, 0], [0, 2]]}
    attrs = {"classes": ["a", "b"], "settings": chosen(views=3), "backbone": {"type": "x3d"}}
    with FeatureWriter(tmp_path / "s.h5", attrs) as writer:
        for item, scores in views.items():
            writer.append(item, np.zeros(1, np.float32), view_scores=np.array(scores, np.float32))
        writer.append("lost", None, status="missing")
    labels = {"x": "a", "y": "b", "lost": "a"}
    rows = list(grid.counts([([tmp_path / "s.h5"], labels)], dict.fromkeys(labels, "s")))
    right = {(row["views"], row["average"]): row["right"] for row in rows}
    assert {row["n"] for row in rows} == {2}
    assert right[1, "probabilities"] == 0  # the view in the middle
    assert right[2, "logits"] == 2
    assert right[3, "vote"] == 1 and right[3, "logits"] == 2 and right[3, "probabilities"] == 1
    assert list(grid.counts([([tmp_path / "s.h5"], {})], {})) == []


def test_folds_whose_items_have_more_views_are_judged_on_one_grid(tmp_path):
    """Of `views: all` the longest item of a fold decides how many there are in it."""
    attrs = {"classes": ["a", "b"], "settings": chosen(views="all"), "backbone": {"type": "x3d"}}
    folds = []
    for fold, n_views in enumerate((3, 7)):
        (tmp_path / str(fold)).mkdir()
        path = tmp_path / str(fold) / "s.h5"
        with FeatureWriter(path, attrs) as writer:
            writer.append(f"x{fold}", np.zeros(1, np.float32), view_scores=np.zeros((n_views, 2), np.float32))
        folds.append(([path], {f"x{fold}": "a"}))
    rows = list(grid.counts(folds, {"x0": "s", "x1": "s"}))
    assert {row["views"] for row in rows} == {1, 2, 4, 7} and {row["n"] for row in rows} == {2}


def test_which_shards_a_backbone_reads():
    for kind in ("x3d", "timm", "logmel"):
        for input in ("rgb", "flow", "strided_flow", "flow_grey", "zeros_grey") if kind == "x3d" else ("rgb",):
            entry = settings(kind, **({} if kind == "logmel" else {"input": input}))
            assert sources(entry) == inputs.make(entry).sources


def test_out_of_flow_shards(tmp_path):
    """From files to a file; what made the features is in it."""
    rng = np.random.default_rng(0)
    with FlowWriter(tmp_path / "s.zarr.zip", "float16", 20, {"method": "some"}) as writer:
        writer.write("a", np.arange(31) / 10, "ok", "", [rng.normal(0, 4, (30, 2, 48, 64)).astype(np.float32)])
        writer.write("b", np.arange(0), "missing", "no video", [])
    path = trained(tmp_path, input="flow")
    out = tmp_path / "s.h5"
    extract_trained(ITEMS, {"flow": tmp_path / "s.zarr.zip"}, path, out, chosen(views=2), 1, "cpu", batch_size=2)
    with FeatureShard(out) as shard:
        assert shard.status == ["ok", "ok", "missing"] and shard.embedding.shape == (3, 1024)
        assert shard.attrs["source"]["flow"]["method"] == "some" and len(shard.attrs["weights"]) == 64
        assert shard.attrs["backbone"]["input"] == "flow" and shard.attrs["extractor"] == "backbone"


def test_a_file_that_is_no_backbone(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(StoreError, match=r"model.safetensors is no backbone of braid"):
        Trained(chosen(), tmp_path / "model.safetensors")

"""SIFT bag of words: descriptors of frames, words of the training items, counts; each against its definition."""

from __future__ import annotations

import tracemalloc

import cv2
import numpy as np
import polars as pl
import pytest
from fake_clips import FakeClip, FakeShard, items
from scipy.spatial.distance import cdist

from braid.errors import FeatureError, StoreError
from braid.extractors.registry import REGISTRY
from braid.store.features import FeatureShard
from braid.store.gather import gather
from braid.words import codebook, describe
from braid.words import descriptors as store
from braid.words.codebook import Codebook, prepare
from braid.words.count import count_words
from braid.words.descriptors import DescriptorShard, DescriptorWriter
from braid.words.fit import fit_words, share
from braid.words.sift import Sift, root_sift

DESCRIBE = {"type": "sift", "frame_rate": 5, "descriptors": 32}
FIT = {"words": 8, "root": False, "descriptors_for_fit": 10_000}
COUNT = {"type": "sift", "pooling": ["max"]}


@pytest.fixture
def described(tmp_path, monkeypatch):
    """Return a function: clips, rows and changes of settings to the descriptor shard of these items."""

    def run(clips, rows, threads=2, name="a", **changes):
        monkeypatch.setattr(describe, "DecodedShard", lambda path: FakeShard(clips))
        out = tmp_path / f"{name}.h5"
        describe.describe_shard(items(*rows), tmp_path, out, DESCRIBE | changes, threads)
        return out

    return run


def write(path, frames_of):
    """Write a descriptor shard: item → uint8 [n, 128] of each of its frames."""
    attrs = {"settings": DESCRIBE, "opencv": cv2.__version__, "source": {"settings": {}}}
    with DescriptorWriter(path, attrs) as writer:
        for item, frames in frames_of.items():
            for number, rows in enumerate(frames):
                writer.add_frame(number, number + 1, rows)
            writer.end_item(item, "ok" if frames else "missing", "" if frames else "no video")
    return path


def noise(seed, n, low=0, high=256):
    return np.random.default_rng(seed).integers(low, high, (n, 128), dtype=np.uint8)


def manifest(**splits):
    """Return items of shard `a`: name to split in fold 1."""
    return pl.DataFrame({"item": list(splits), "shard": ["a"] * len(splits), "split_1": list(splits.values())})


def fit(tmp_path, rows, paths, **changes):
    fit_words(rows, "words", "1", paths, tmp_path / "fold1.npz", FIT | changes)
    return Codebook.load(tmp_path / "fold1.npz")


# Descriptors


def test_the_registry_names_it_as_fitted():
    assert REGISTRY["sift"].load() is Sift
    assert [kind for kind, entry in REGISTRY.items() if entry.fitted] == ["sift", "backbone"]


def test_descriptors_are_those_of_opencv_on_the_grey_frame():
    frame = FakeClip(1).pictures[0]  # coloured squares
    _, expected = cv2.SIFT.create(32).detectAndCompute(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), None)
    found = Sift(DESCRIBE).describe(frame)
    assert found.dtype == np.uint8 and len(found) >= 32
    np.testing.assert_array_equal(found.astype(np.float32), expected)


@pytest.mark.parametrize("shape", [(1, 1), (1, 90), (2, 3), (64, 64)])
def test_a_picture_without_contrast_has_no_descriptor(shape):
    assert Sift(DESCRIBE).describe(np.full((*shape, 3), 90, np.uint8)).shape == (0, 128)


def test_root_sift_is_the_root_of_shares():
    x = noise(0, 5)
    rooted = root_sift(x)
    np.testing.assert_allclose(rooted, np.sqrt(x / np.abs(x.astype(float)).sum(axis=1, keepdims=True)), rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(rooted, axis=1), 1, rtol=1e-6)
    hellinger = np.sqrt(x.astype(float) / x.sum(axis=1, keepdims=True, dtype=float))
    np.testing.assert_allclose(rooted @ rooted.T, hellinger @ hellinger.T, rtol=1e-5)
    np.testing.assert_array_equal(root_sift(np.zeros((1, 128), np.uint8)), np.zeros((1, 128)))


def test_frames_are_those_in_the_middle_of_equal_parts_of_the_item(described):
    clip = FakeClip(1, seconds=4, start=0.5)
    path = described({"c": clip}, [("whole", "c", None, None), ("window", "c", 1.5, 2.5)])
    with DescriptorShard(path) as shard:
        assert shard.items == ["whole", "window"] and shard.status == ["ok", "ok"]
        assert np.diff(shard.frame_bounds).tolist() == [20, 5]
        np.testing.assert_allclose(shard.times[20:], [(1.5 + i / 5, 1.7 + i / 5) for i in range(5)])
        for i, seconds in enumerate([1.6, 1.8, 2.0, 2.2, 2.4]):
            start, stop = shard.descriptor_bounds[20 + i : 22 + i]
            ((_, found),) = shard.blocks(start, stop)
            frame = clip.pictures[int((seconds - 0.5) * 25 + 0.01)]
            np.testing.assert_array_equal(found, Sift(DESCRIBE).describe(frame))


def test_status_of_items_is_that_of_every_extractor(described):
    clips = {
        "good": FakeClip(1, seconds=2),
        "still": FakeClip(2, seconds=0.04),
        "none": FakeClip(status="missing", reason="the file has no video"),
        "cut": FakeClip(3, status="damaged", reason="it is cut off"),
    }
    rows = [
        ("absent", "none", None, None),
        ("whole", "good", None, None),
        ("partly", "good", 1.0, 3.0),
        ("beyond", "good", 4.0, 5.0),
        ("still", "still", None, None),
        ("cut", "cut", None, None),
        ("last", "none", None, None),
    ]
    with DescriptorShard(described(clips, rows)) as shard:
        assert shard.items == [row[0] for row in rows]
        assert shard.status == ["missing", "ok", "short", "missing", "ok", "damaged", "missing"]
        assert shard.reason[0] == "the file has no video" and "of which the stream covers" in shard.reason[2]
        assert np.diff(shard.frame_bounds).tolist() == [0, 10, 5, 0, 1, 10, 0]
        assert "clips" not in shard.attrs["source"]


def test_a_picture_of_one_pixel_is_an_item_without_descriptors(described, tmp_path):
    dot = FakeClip(seconds=1)
    dot.pictures = np.zeros((25, 1, 1, 3), np.uint8)
    path = described({"dot": dot, "c": FakeClip(1, seconds=2)}, [("dot", "dot", None, None), ("c", "c", None, None)])
    fit(tmp_path, manifest(c="train", dot="train"), [path])
    count_words(path, tmp_path / "fold1.npz", tmp_path / "features.h5", COUNT)
    with FeatureShard(tmp_path / "features.h5") as shard:
        assert (shard.status[0], shard.reason[0]) == ("ok", "")
        np.testing.assert_array_equal(shard.embedding[0], np.zeros(8))
        assert shard.tokens(0)[0].shape == (5, 8)


def test_what_waits_to_be_written_is_bounded_in_a_clip_of_two_hours(described, monkeypatch):
    clip = FakeClip()
    clip.times = np.arange(7200.0)
    loaded, written, most = [0], [0], [0]

    def frames(indices):
        loaded[0] += 1
        most[0] = max(most[0], loaded[0] - written[0])
        return np.zeros((1, 16, 16, 3), np.uint8)

    def add_frame(self, start, end, rows):
        written[0] += 1
        before(self, start, end, rows)

    before = DescriptorWriter.add_frame
    monkeypatch.setattr(clip, "frames", frames)
    monkeypatch.setattr(DescriptorWriter, "add_frame", add_frame)
    described({"c": clip}, [("long", "c", None, None)], frame_rate=1)
    assert loaded[0] == written[0] == 7200
    assert most[0] <= 2 * describe.FRAMES_AHEAD + 2


# Words


def test_words_come_from_training_items_alone(tmp_path):
    train = {"a": [noise(0, 40, 0, 50)], "b": [noise(1, 40, 0, 50), noise(2, 20, 0, 50)]}
    rest = {"v": [noise(3, 500, 200, 256)], "t": [noise(4, 500, 100, 150)], "unused": [noise(5, 500, 150, 200)]}
    alone = fit(tmp_path, manifest(a="train", b="train"), [write(tmp_path / "a.h5", train)])
    mixed = {key: (train | rest)[key] for key in ("v", "a", "unused", "t", "b")}
    rows = manifest(a="train", b="train", v="val", t="test", unused=None)
    together = fit(tmp_path, rows, [write(tmp_path / "a.h5", mixed)])
    np.testing.assert_array_equal(together.centres, alone.centres)
    assert together.centres.max() < 50
    assert (together.attrs["n_items"], together.attrs["n_descriptors"]) == (2, 100)
    moved = fit(tmp_path, manifest(a="train", b="train", v="train"), [tmp_path / "a.h5"])
    assert moved.centres.max() > 200


def test_a_row_of_the_item_in_a_shard_that_it_has_left_is_not_looked_at(tmp_path):
    here, there = noise(0, 40, 0, 50), noise(1, 40, 200, 256)
    paths = [write(tmp_path / "a.h5", {"x": [here]}), write(tmp_path / "b.h5", {"x": [there]})]
    assert fit(tmp_path, manifest(x="train"), paths).centres.max() < 50


def test_words_are_the_centres_of_what_is_apart(tmp_path):
    """Eight clouds: k-means finds the mean of each."""
    middles = noise(0, 8, 20, 235)
    clouds = [np.clip(middles[k] + np.random.default_rng(k).integers(-3, 4, (50, 128)), 0, 255) for k in range(8)]
    path = write(tmp_path / "a.h5", {"x": [cloud.astype(np.uint8) for cloud in clouds]})
    centres = fit(tmp_path, manifest(x="train"), [path]).centres
    nearest = cdist(np.stack([cloud.mean(axis=0) for cloud in clouds]), centres)
    assert sorted(nearest.argmin(axis=1).tolist()) == list(range(8))
    assert nearest.min(axis=1).max() < 1


@pytest.mark.parametrize("distances", [1, 1000, codebook.DISTANCES])
@pytest.mark.parametrize("root", [False, True])
def test_the_word_of_a_descriptor_is_the_nearest(root, distances, monkeypatch):
    monkeypatch.setattr(codebook, "DISTANCES", distances)
    centres = prepare(noise(1, 50), root)
    x = noise(0, 300)
    expected = cdist(prepare(x, root).astype(float), centres.astype(float)).argmin(axis=1)
    np.testing.assert_array_equal(Codebook(centres, {"settings": {"root": root}}).words(x), expected)


def test_memory_does_not_grow_with_words_and_descriptors():
    words = Codebook(prepare(noise(1, 2000), False), {"settings": {"root": False}})
    x = noise(0, 20_000)
    tracemalloc.start()
    words.words(x)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * 8 * codebook.DISTANCES < 8 * len(x) * 2000


@pytest.mark.parametrize(
    ("counts", "most", "sizes"),
    [
        ([5, 5, 5], 100, [5, 5, 5]),
        ([0, 1, 50, 9], 21, [0, 1, 9, 11]),
        ([10, 10, 10], 7, [2, 2, 3]),
        ([9, 9, 9, 9], 2, [0, 0, 1, 1]),
        ([], 5, []),
        ([0, 0], 5, [0, 0]),
    ],
)
def test_shares_are_as_even_as_can_be(counts, most, sizes):
    taken = share(np.array(counts, dtype=np.int64), most, np.random.default_rng(0))
    assert sorted(taken.tolist()) == sorted(sizes)
    assert (taken <= counts).all()


def test_the_sample_is_bounded_and_even(tmp_path, monkeypatch):
    """Each item has descriptors of its own brightness, so that the words tell how many each gave."""
    monkeypatch.setattr(store, "BLOCK_ROWS", 7)
    bright = {f"{k}": [np.full((n, 128), 20 * k + 1, np.uint8)] for k, n in enumerate([500, 100, 30, 500])}
    seen = []
    monkeypatch.setattr("braid.words.fit.prepare", lambda x, root: seen.append(x) or prepare(x, root))
    path = write(tmp_path / "a.h5", bright)
    words = fit(tmp_path, manifest(**dict.fromkeys(bright, "train")), [path], words=4, descriptors_for_fit=330)
    values, counts = np.unique(seen[0][:, 0], return_counts=True)
    assert dict(zip(values.tolist(), counts.tolist(), strict=True)) == {1: 100, 21: 100, 41: 30, 61: 100}
    assert words.attrs["n_descriptors"] == 330


def test_fewer_descriptors_than_words_is_said(tmp_path):
    path = write(tmp_path / "a.h5", {"x": [noise(0, 5)], "y": [noise(1, 300)]})
    with pytest.raises(FeatureError, match="'words' asks for 8 words, but the 1 training items of fold 1 have 5"):
        fit(tmp_path, manifest(x="train", y="val"), [path])
    assert not (tmp_path / "fold1.npz").exists()


def test_no_descriptor_at_all_is_said(tmp_path):
    with pytest.raises(FeatureError, match="have 0 SIFT descriptors"):
        fit(tmp_path, manifest(x="train"), [write(tmp_path / "a.h5", {"x": []})])


def test_a_training_item_without_a_row_is_said(tmp_path):
    with pytest.raises(FeatureError, match="1 of 2 training items are in none of the 1 descriptor shards"):
        fit(tmp_path, manifest(x="train", z="train"), [write(tmp_path / "a.h5", {"x": [noise(0, 50)]})])


# Counts


@pytest.mark.parametrize("block_rows", [7, 1 << 16])
def test_counts_are_how_often_each_word_is_the_nearest(tmp_path, monkeypatch, block_rows):
    monkeypatch.setattr(store, "BLOCK_ROWS", block_rows)
    none = np.empty((0, 128), np.uint8)
    frames = {
        "x": [noise(0, 30), none, noise(1, 12)],
        "absent": [],
        "plain": [none, none],
        "y": [none, noise(2, 33), none],
    }
    path = write(tmp_path / "a.h5", frames)
    words = fit(tmp_path, manifest(x="train", y="train"), [path])
    count_words(path, tmp_path / "fold1.npz", tmp_path / "features.h5", COUNT | {"pooling": ["max", "mean"]})
    with FeatureShard(tmp_path / "features.h5") as shard:
        assert shard.items == list(frames)
        assert shard.status == ["ok", "missing", "ok", "ok"] and shard.reason == ["", "no video", "", ""]
        for i, rows in enumerate(frames.values()):
            tokens, times = shard.tokens(i)
            assert tokens.sum(axis=1).tolist() == [len(each) for each in rows]
            if not rows:
                assert np.isnan(shard.embedding[i]).all()
                continue
            nearest = [cdist(each, words.centres).argmin(axis=1) for each in rows]
            np.testing.assert_array_equal(tokens, [np.bincount(each, minlength=8) for each in nearest])
            np.testing.assert_array_equal(times, [(k, k + 1) for k in range(len(rows))])
            pooled = np.concatenate([tokens.max(axis=0), tokens.mean(axis=0)])
            np.testing.assert_array_equal(shard.embedding[i], pooled)
        settings = {**DESCRIBE, **FIT, "pooling": ["max", "mean"]}
        assert shard.attrs["settings"] == settings and shard.attrs["words"]["fold"] == "1"
    x, present = gather([tmp_path / "features.h5"], list(frames), ["features"] * 4)
    assert present.tolist() == [True, False, True, True]
    np.testing.assert_array_equal(x[2], np.zeros(16))


def test_the_same_twice_is_the_same_bit_for_bit(described, tmp_path):
    clips = {f"c{i}": FakeClip(i, seconds=1) for i in range(6)}
    rows = [(f"{i}", f"c{i}", None, None) for i in range(6)]
    splits = manifest(**{f"{i}": "train" for i in range(6)})
    files = []
    for threads in (1, 3):
        path = described(clips, rows, threads=threads)
        fit(tmp_path, splits, [path], descriptors_for_fit=300)
        count_words(path, tmp_path / "fold1.npz", tmp_path / "features.h5", COUNT)
        files.append([(tmp_path / name).read_bytes() for name in ("a.h5", "fold1.npz", "features.h5")])
    assert files[0] == files[1]


# Files


def test_truncated_files_are_named(tmp_path):
    path = write(tmp_path / "a.h5", {"x": [noise(0, 50)]})
    fit(tmp_path, manifest(x="train"), [path])
    for name in ("a.h5", "fold1.npz"):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(StoreError, match=f"{name} cannot be read.*delete it and run again"):
            count_words(tmp_path / "a.h5", tmp_path / "fold1.npz", tmp_path / "features.h5", COUNT)
        (tmp_path / name).write_bytes(whole)


def test_another_kind_of_file_is_named(tmp_path):
    from braid.store.features import FeatureWriter

    with FeatureWriter(tmp_path / "a.h5", {}) as writer:
        writer.append("x", np.zeros(3, np.float32))
    with pytest.raises(StoreError, match=r"a\.h5 is no file of the format 'braid descriptors"):
        DescriptorShard(tmp_path / "a.h5")


def test_a_writer_that_fails_leaves_no_file(tmp_path):
    with pytest.raises(RuntimeError), DescriptorWriter(tmp_path / "a.h5", {}) as writer:
        writer.add_frame(0, 1, noise(0, 3))
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []

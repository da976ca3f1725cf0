"""The pipeline around an extractor: order, overlap, bounded memory, statuses, errors that name the item."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from fake_clips import FakeClip, FakeShard, items
from torch import nn

from braid.errors import FeatureError
from braid.extractors import extract, sizing
from braid.extractors.base import Extractor
from braid.extractors.plan import Cover, View
from braid.extractors.registry import REGISTRY, ExtractorEntry
from braid.store.features import FeatureShard

BATCH_SIZE = 4
SETTINGS = {
    "type": "toy",
    "weights": "random",
    "dtype": "auto",
    "pooling": ["mean"],
    "scores": "logits",
}


class Toy(Extractor):
    """Two numbers a second of a clip: the second and the clip's first pixel; every third view has another shape."""

    least_seconds = 1.0
    short_rule = "it is taken as it is"
    last: Toy

    def __init__(self, settings):
        self.network = nn.Identity()
        self.lock = threading.Lock()
        self.alive = self.most_alive = 0
        Toy.last = self

    def cover(self, clip):
        return Cover(clip.video.status, clip.video.reason, 0.0, len(clip.times) / 25)

    def views(self, clip, start, end):
        return [View(t, t + 1, np.array([t])) for t in range(int(start), max(int(end), int(start) + 1))]

    def load(self, clip, view):
        with self.lock:
            self.alive += 1
            self.most_alive = max(self.most_alive, self.alive)
        row = torch.tensor([float(view.indices[0]), float(clip.pictures[0, 0, 0, 0])])
        return row.repeat(2 if view.indices[0] % 3 == 2 else 1)

    def forward(self, batch):
        with self.lock:
            self.alive -= len(batch)
        return batch[:, :2], batch[:, :1]


@pytest.fixture
def run(monkeypatch, tmp_path):
    monkeypatch.setitem(REGISTRY, "toy", ExtractorEntry(f"{__name__}:Toy", 3, "video", "none"))

    def run(clips, rows, batch_size=BATCH_SIZE, memory_mb=8000, threads=1, **changes):
        monkeypatch.setattr(extract, "_open", lambda source, path: FakeShard(clips))
        sizes = {"batch_size": batch_size, "memory_mb": memory_mb}
        extract.extract_features(
            items(*rows), tmp_path, tmp_path / "out.h5", SETTINGS | changes, threads, "cpu", **sizes
        )
        return FeatureShard(tmp_path / "out.h5")

    return run


def test_the_network_has_the_threads_of_the_job_and_a_loader_one(run, monkeypatch):
    found = {}
    for name in ("load", "forward"):
        method = getattr(Toy, name)

        def asking(self, *given, name=name, method=method):
            found.setdefault(name, set()).add(torch.get_num_threads())
            return method(self, *given)

        monkeypatch.setattr(Toy, name, asking)
    with ThreadPoolExecutor(1) as job:  # a thread in which PyTorch has done nothing yet, as at the start of a job
        job.submit(run, {"c": FakeClip(seconds=4)}, [("a", "c", None, None)], threads=3).result()
    assert found == {"load": {1}, "forward": {3}}


def test_items_keep_their_order_and_their_tokens(run):
    clips = {f"c{i}": FakeClip(i, seconds=1 + i % 5) for i in range(23)}
    shard = run(clips, [(f"item {i}", f"c{i}", None, None) for i in range(23)])
    assert shard.items == [f"item {i}" for i in range(23)]
    assert set(shard.status) == {"ok"}
    for i in range(23):
        tokens, times = shard.tokens(i)
        seconds = np.arange(1 + i % 5)
        np.testing.assert_array_equal(tokens[:, 0], seconds)
        np.testing.assert_array_equal(tokens[:, 1], clips[f"c{i}"].pictures[0, 0, 0, 0])
        np.testing.assert_array_equal(times, np.stack([seconds, seconds + 1], axis=1))
        np.testing.assert_allclose(shard.embedding[i], tokens.mean(axis=0))
        assert shard.scores is not None
        np.testing.assert_allclose(shard.scores[i], seconds.mean())


def test_attributes_say_how_the_numbers_came_about(run):
    attrs = run({"c": FakeClip()}, [("a", "c", None, None)]).attrs
    assert attrs["settings"] == SETTINGS
    assert (attrs["version"], attrs["weights"], attrs["dtype"], attrs["device"]) == (3, "random:0", "float32", "cpu")
    assert attrs["source"] == {"settings": {"codec": "none"}}


def test_status_of_items(run):
    clips = {
        "good": FakeClip(seconds=4),
        "late": FakeClip(seconds=0.4),
        "none": FakeClip(status="missing", reason="the file has no video"),
        "bad": FakeClip(status="damaged", reason="it is cut off"),
    }
    rows = [
        ("whole", "good", None, None),
        ("window", "good", 1.0, 3.0),
        ("nearly", "good", 1.0, 4.05),
        ("partly", "good", 3.0, 5.0),
        ("beyond", "good", 4.0, 5.0),
        ("brief", "late", None, None),
        ("absent", "none", None, None),
        ("cut", "bad", 1.0, 9.0),
    ]
    shard = run(clips, rows)
    found = dict(zip(shard.items, zip(shard.status, shard.reason, strict=True), strict=True))
    assert found["whole"] == found["window"] == found["nearly"] == ("ok", "")
    assert found["partly"] == ("short", "the item is [3, 5) s, of which the stream covers [3, 4) s")
    assert found["beyond"] == ("missing", "the item is [4, 5) s, the stream only [0, 4) s")
    assert found["brief"] == ("short", "0.4 s where a view takes 1 s: it is taken as it is")
    assert found["absent"] == ("missing", "the file has no video")
    assert found["cut"] == ("damaged", "it is cut off; the item is [1, 9) s, of which the stream covers [1, 2) s")
    unusable = np.isnan(shard.embedding).all(axis=1)
    assert [item for item, absent in zip(shard.items, unusable, strict=True) if absent] == ["beyond", "absent"]
    assert np.isfinite(shard.embedding[~unusable]).all()
    assert [len(shard.tokens(i)[0]) for i in range(8)] == [4, 2, 3, 1, 0, 1, 0, 1]


def test_a_shard_without_a_usable_item(run):
    shard = run({"c": FakeClip(status="unreadable", reason="x")}, [(f"{i}", "c", None, None) for i in range(30)])
    assert shard.embedding.shape == (30, 0) and set(shard.status) == {"unreadable"}


@pytest.mark.parametrize("n_items", [10, 300])
def test_what_waits_is_bounded(run, n_items):
    """Tensors that are loaded and not yet through the network: those ahead, those of other shapes, those in work."""
    run({"c": FakeClip(seconds=4)}, [(f"{i}", "c", None, None) for i in range(n_items)])
    assert Toy.last.alive == 0
    assert Toy.last.most_alive <= (2 + 4 + 2) * BATCH_SIZE + 1


def test_a_long_clip_streams_as_well(run):
    clip = FakeClip()
    clip.times = np.arange(25 * 7200) / 25  # two hours, of which only the first picture is looked at
    run({"c": clip}, [("long", "c", None, None)])
    assert Toy.last.most_alive <= (2 + 4 + 2) * BATCH_SIZE + 1


def test_on_a_cpu_nothing_is_loaded_while_the_network_works(run, monkeypatch):
    """Each forward pass finds all loading done, and lasts long enough for another one to begin."""
    working, met = threading.Event(), []
    load, forward = Toy.load, Toy.forward

    def load_between(self, clip, view):
        time.sleep(0.01)
        met.append(working.is_set())
        return load(self, clip, view)

    def forward_alone(self, batch):
        working.set()
        time.sleep(0.05)
        working.clear()
        return forward(self, batch)

    monkeypatch.setattr(Toy, "load", load_between)
    monkeypatch.setattr(Toy, "forward", forward_alone)
    run({"c": FakeClip(seconds=20)}, [("a", "c", None, None)], threads=2)
    assert met == [False] * 20


def test_beside_a_gpu_loading_goes_on_while_the_network_works(run, monkeypatch):
    """The second batch is only loaded once the first forward pass has begun, which waits for that."""
    monkeypatch.setattr(extract, "in_turn", extract.ahead)
    begun, loaded = threading.Event(), threading.Event()
    load, forward = Toy.load, Toy.forward

    def load_later(self, clip, view):
        if view.indices[0] >= BATCH_SIZE:
            assert begun.wait(60)
            loaded.set()
        return load(self, clip, view)[:2]

    def forward_meanwhile(self, batch):
        begun.set()
        assert loaded.wait(60), "nothing was loaded while the network worked"
        return forward(self, batch)

    monkeypatch.setattr(Toy, "load", load_later)
    monkeypatch.setattr(Toy, "forward", forward_meanwhile)
    run({"c": FakeClip(seconds=20)}, [("a", "c", None, None)])


def test_numbers_that_are_not_finite_stop_with_the_item_and_leave_no_file(run, tmp_path, monkeypatch):
    monkeypatch.setattr(Toy, "forward", lambda self, batch: (batch[:, :2] / 0 * 0, None))
    with pytest.raises(FeatureError, match="toy: item 'the item'"), np.errstate(all="ignore"):
        run({"c": FakeClip(seconds=2)}, [("the item", "c", None, None)])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [FeatureError("no"), RuntimeError("no")])
def test_errors_while_reading_name_the_item(run, monkeypatch, error):
    def fail(self, clip, view):
        raise error

    monkeypatch.setattr(Toy, "load", fail)
    with pytest.raises(type(error)) as raised:
        run({"c": FakeClip()}, [("the item", "c", None, None)])
    assert "toy, item 'the item'" in f"{raised.value} {getattr(raised.value, '__notes__', '')}"


def test_bfloat16_is_autocast_and_recorded(run, monkeypatch):
    monkeypatch.setattr(Toy, "forward", lambda self, batch: ((batch[:, :2] @ torch.eye(2)), None))
    shard = run({"c": FakeClip(seconds=1)}, [("a", "c", None, None)], dtype="bfloat16")
    assert shard.attrs["dtype"] == "bfloat16" and shard.embedding.dtype == np.float32


@pytest.mark.parametrize("batch_size", [sizing.AUTO, 7, 64])
def test_batches_that_do_not_fit_are_halved_and_no_view_is_lost(run, monkeypatch, capsys, batch_size):
    passes = []
    forward = Toy.forward

    def small_memory(self, batch):
        passes.append(len(batch))
        if len(batch) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, batch)

    monkeypatch.setattr(Toy, "forward", small_memory)
    monkeypatch.setattr(sizing.BatchSize, "took", lambda self, n, seconds: None if self.settled else grow(self))
    clips = {f"c{i}": FakeClip(i, seconds=1 + i % 5) for i in range(20)}
    shard = run(clips, [(f"item {i}", f"c{i}", None, None) for i in range(20)], batch_size)
    assert Toy.last.alive == 0, "a view went through the network twice, or not at all"
    assert shard.items == [f"item {i}" for i in range(20)]
    for i in range(20):
        np.testing.assert_array_equal(shard.tokens(i)[0][:, 0], np.arange(1 + i % 5))
    assert "did not fit" in capsys.readouterr().out
    assert 0 < sum(n > 5 for n in passes) <= 2 * 4, "it did not learn from what failed, in one of the two shapes"


def grow(size):
    size.now *= 2


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("no"), RuntimeError("DefaultCPUAllocator: can't allocate")])
def test_a_view_that_does_not_fit_alone_stops_with_a_sentence(run, tmp_path, monkeypatch, error):
    def full(self, batch):
        raise error

    monkeypatch.setattr(Toy, "forward", full)
    with pytest.raises(
        FeatureError, match=r"toy, item 'the item': a single view, \(\d,\) numbers .* or choose a smaller"
    ):
        run({"c": FakeClip(seconds=2)}, [("the item", "c", None, None)])
    assert list(tmp_path.iterdir()) == []


def test_errors_of_the_network_name_extractor_and_items(run, monkeypatch):
    def fail(self, batch):
        raise RuntimeError("no kernel")

    monkeypatch.setattr(Toy, "forward", fail)
    with pytest.raises(RuntimeError, match="no kernel") as raised:
        run({"c": FakeClip(seconds=1)}, [("one", "c", None, None), ("two", "c", None, None)])
    assert raised.value.__notes__ == ["This was in toy, items 'one', 'two'."]


def test_what_waits_is_bounded_in_bytes(run, monkeypatch):
    """Views of 0.8 and 1.6 MB in a job of 64 MB: 4 MB may wait for others of their shape, 4 MB be loaded ahead."""
    load = Toy.load
    monkeypatch.setattr(Toy, "load", lambda self, clip, view: load(self, clip, view).repeat_interleave(100_000))
    clip = FakeClip()
    clip.times = np.arange(25 * 100) / 25
    run({"c": clip}, [("long", "c", None, None)], batch_size=1024, memory_mb=64)
    assert Toy.last.alive == 0 and Toy.last.most_alive <= 4 * 5 + 2

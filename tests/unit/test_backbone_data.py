"""Data sets of items in shards, and the loader: what comes is a function of seed, epoch and index alone."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import polars as pl
import pytest
import torch
from backbone_inputs import video
from fake_clips import FakeClip, FakeShard

from braid.backbones import shards as opened
from braid.backbones.data import Batch, Evaluation, Sample, Training, loader
from braid.errors import StoreError
from braid.store.flow import FlowWriter


def table(rows: list[tuple[str, str, str]]) -> pl.DataFrame:
    """Return items (name, shard, clip) that are whole clips, of classes 0, 1, 2, 0, …"""
    return pl.DataFrame(rows, schema=["item", "shard", "clip"], orient="row").with_columns(
        start_seconds=pl.lit(None, pl.Float64), end_seconds=pl.lit(None, pl.Float64), code=pl.int_range(len(rows)) % 3
    )


@pytest.fixture
def stored(tmp_path) -> tuple[pl.DataFrame, dict[str, list[Path]]]:
    """Return the items of two flow shards of four clips, one of which has a single frame."""
    rows, paths = [], []
    for s in range(2):
        paths.append(tmp_path / f"00{s}.zarr.zip")
        with FlowWriter(paths[-1], "float16", 20, {}) as writer:
            for c in range(4):
                name, clip = f"{s}{c}", FakeClip(10 * s + c, seconds=0.04 if (s, c) == (1, 2) else 1.0)
                writer.write(name, clip.times, "ok", "", [clip.flow] if clip.n_pairs else [])
                rows.append((f"item {name}", f"00{s}", name))
    return table(rows), {"flow": paths}


def same(one: Batch | Sample, other: Batch | Sample) -> bool:
    return all(
        (a is None and b is None) or torch.equal(torch.as_tensor(a), torch.as_tensor(b))
        for a, b in zip(one, other, strict=True)
    )


def test_items_that_cannot_be_read_are_counted_and_left_out(stored):
    items, shards = stored
    for data in (Training(items, shards, video("flow"), 0), Evaluation(items, shards, video("flow"))):
        assert data.lacking == 1 and len(data) == 7
        assert data.items == [name for name in items["item"] if name != "item 12"]
        assert data.labels.tolist() == [0, 1, 2, 0, 1, 2, 1]
        assert (data[0, 3] if isinstance(data, Training) else data[3]).label == 0


def test_a_sample_depends_on_seed_epoch_and_index_alone(stored):
    items, shards = stored
    data = Training(items, shards, video("flow"), 5)
    sample = data[2, 3]
    for _ in range(3):
        data[1, 0]
    again = Training(items, shards, video("flow"), 5)[2, 3]
    assert same(sample, again)
    for other in (data[3, 3], data[2, 4], Training(items, shards, video("flow"), 6)[2, 3]):
        assert not torch.equal(sample.raw, other.raw)


@pytest.mark.parametrize("kind", [Training, Evaluation])
def test_batches_do_not_depend_on_the_number_of_processes(stored, kind):
    items, shards = stored
    data: Any
    data = Training(items, shards, video("flow"), 1) if kind is Training else Evaluation(items, shards, video("flow"))
    order = [[5, 0, 3], [6, 1], [2], [4, 4, 0]]
    keys = [[(7, i) for i in batch] for batch in order] if kind is Training else order
    data[keys[0][0]]  # has a file open that the processes must not share
    before = torch.get_rng_state()
    found = [list(loader(data, iter(keys), workers, pin=False)) for workers in (0, 1, 2)]
    assert torch.equal(before, torch.get_rng_state())
    for batches in found[1:]:
        assert all(same(one, other) for one, other in zip(found[0], batches, strict=True))
    assert [batch.labels.tolist() for batch in found[0]] == [data.labels[batch].tolist() for batch in order]
    assert found[0][0].raw.shape == (3, 1, 4, 2, 32, 32)
    assert (found[0][0].draws is None) == (kind is Evaluation)


def test_processes_start_where_opencv_has_run_in_parallel(stored):
    items, shards = stored
    cv2.setNumThreads(4)
    cv2.GaussianBlur(np.zeros((2000, 2000, 3), np.uint8), (9, 9), 0)  # starts OpenCV's own threads
    data = Training(items, shards, video("flow"), 1)
    data[0, 0]
    assert len(next(loader(data, iter([[(0, 0), (0, 1)]]), 1, pin=False)).raw) == 2


def test_batches_may_be_without_an_end(stored):
    items, shards = stored
    data = Training(items, shards, video("flow"), 1)
    endless = ([(epoch, i) for i in range(2)] for epoch in itertools.count())
    for batch in itertools.islice(loader(data, endless, 1, pin=False), 3):
        assert len(batch.raw) == 2


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_shard_is_an_error_that_names_the_item(stored, workers):
    items, shards = stored
    data = Evaluation(items, shards, video("flow"))
    shards["flow"][1].write_bytes(shards["flow"][1].read_bytes()[:1000])
    with pytest.raises(StoreError, match=r"^item 'item 10': .*001\.zarr\.zip cannot be read") as raised:
        list(loader(data, [[0, 4]], workers, pin=False))
    assert "Traceback" not in str(raised.value)


def test_a_shard_that_is_not_given_is_named(stored):
    items, shards = stored
    with pytest.raises(StoreError, match=r"item 'item 10': none of the 1 flow shards given is 001\.zarr\.zip"):
        Evaluation(items, {"flow": shards["flow"][:1]}, video("flow"))


class Counted(FakeShard):
    """A shard of one clip that counts how many of its kind are open, and which frames are read."""

    now: ClassVar[set[str]] = set()
    most = 0
    frames: ClassVar[list[int]] = []

    def __init__(self, path: Path) -> None:
        clip = FakeClip(int(path.name.partition(".")[0]))
        pictures = clip.frames
        clip.frames = lambda indices: (Counted.frames.extend(np.ravel(indices).tolist()), pictures(indices))[1]
        super().__init__({"clip": clip})
        self.name = path.name
        Counted.now.add(self.name)
        Counted.most = max(Counted.most, len(Counted.now))

    def close(self) -> None:
        Counted.now.remove(self.name)


def test_few_shards_are_open_and_only_wanted_frames_are_decoded(monkeypatch):
    monkeypatch.setitem(opened.KINDS, "decoded", Counted)
    monkeypatch.setattr(opened, "MOST", 3)
    items = table([(str(i), f"{i:03}", "clip") for i in range(20)])
    shards: dict[str, list[Any]] = {"decoded": [f"folder/{i:03}.zarr.zip" for i in range(20)]}
    data = Training(items, shards, video(), 0)
    assert not Counted.now and not Counted.frames
    first = [data[0, i].raw for i in range(20)]
    assert len(Counted.frames) == 20 * 4
    assert all(torch.equal(data[0, i].raw, first[i]) for i in reversed(range(20)))
    assert Counted.most == 3
    data.shards.close()
    assert not Counted.now


def test_several_frames_of_an_item_in_an_epoch(stored):
    items, shards = stored
    source = video("flow")
    source.repeats = 3
    data = Training(items, shards, source, 0)
    assert len(data) == 21
    assert [data[0, i].label for i in range(9)] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert not torch.equal(data[0, 0].raw, data[0, 1].raw)

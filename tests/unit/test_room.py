"""Features that do not fit into the memory of a job: the same numbers from files, and no file left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from scheme_data import OVER_SCHEMES, make_items, settings, write_feature

from braid import config
from braid.errors import StoreError, TrainingError
from braid.schemes import room as rooms
from braid.schemes import scaling, train
from braid.schemes.inputs import read_inputs, scaled
from braid.schemes.model import Model
from braid.schemes.registry import REGISTRY
from braid.schemes.results import read_predictions
from braid.schemes.room import Room
from braid.schemes.sweep import sweep_scheme
from braid.schemes.train import train_scheme
from braid.schemes.weigh import weigh_modalities
from braid.store import gather
from braid.store.features import FeatureWriter

NAMES = ["sound", "picture"]
LEARNT = [name for name in REGISTRY if name not in ("scores", *OVER_SCHEMES)]
Usage = namedtuple("Usage", "total used free")


class Data:
    """Two modalities of 1,300 items in a random order, so that no split is in one piece; some lack one or both."""

    def __init__(self, folder: Path) -> None:
        items, labels = make_items({"train": 700, "val": 300, "test": 300}, 4)
        self.items = items[np.random.default_rng(5).permutation(len(items))]
        lacking = np.random.default_rng(0).random((2, len(items))) < 0.1
        lacking[:, -1] = True
        self.features = {
            name: write_feature(folder / name, items, labels // (1 + m), dim=9, lacking=lacking[m], seed=m)
            for m, name in enumerate(NAMES)
        }

    def train(self, out: Path, room: Room, type_: str, **changes: Any) -> None:
        names = NAMES[: 1 if type_ == "single" else 2]
        known = config.types("schemes")[type_]["properties"]
        entry = settings(type_, names, **{key: each for key, each in changes.items() if key in known})
        train_scheme(self.items, "1", self.features, entry, 0, out, room)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    return Data(tmp_path_factory.mktemp("features"))


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of a few rows, so that these data are many."""
    monkeypatch.setattr(scaling, "BLOCK_BYTES", 9 * 4 * 50)
    monkeypatch.setattr(gather, "BLOCK_BYTES", 9 * 4 * 70)


def files(tmp_path: Path) -> Room:
    """Return a room of a job without memory for features."""
    folder = tmp_path / "tmp"
    folder.mkdir(exist_ok=True)
    return Room(900, folder)


def mapped(folder: Path) -> list[str]:
    """Return which files in the folder this process still maps."""
    lines = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if str(folder) in line]


@pytest.mark.parametrize("type_", LEARNT)
def test_the_same_from_files_bit_for_bit(
    type_: str, data: Data, tmp_path: Path, small_blocks: None, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = {"epochs": 2, "modality_dropout": 0.2, "width": 16, "combine": "linear", "fit_on": "out_of_fold"}
    data.train(tmp_path / "memory", Room(), type_, **changes)
    assert "GB, in memory" in capsys.readouterr().out
    room = files(tmp_path)
    data.train(tmp_path / "files", room, type_, **changes)
    assert f"held in files without a name in {room.folder}" in capsys.readouterr().out
    for name in ("predictions.h5", "history.csv"):
        assert (tmp_path / "memory" / name).read_bytes() == (tmp_path / "files" / name).read_bytes()
    one, other = (json.loads((tmp_path / each / "metrics.json").read_text()) for each in ("memory", "files"))
    assert one | {"seconds": 0} == other | {"seconds": 0}
    one, other = (Model.load(tmp_path / each / "model.safetensors").state_dict() for each in ("memory", "files"))
    assert all(np.array_equal(tensor, other[key]) for key, tensor in one.items())
    present = read_predictions(tmp_path / "files" / "predictions.h5").present
    assert (~present.any(axis=1)).any() and (present.sum(axis=1) == 1).any()


def test_a_sweep_and_what_modalities_are_worth_are_the_same_from_files(data: Data, tmp_path: Path) -> None:
    rates = {"parameters": {"learning_rate": [0.01, 0.001], "max_tokens": [1, 2]}}
    entry = settings("tokens", NAMES, epochs=1, width=8, layers=1, heads=1, sweep=rates)
    for name, room in (("memory", Room()), ("files", files(tmp_path))):
        sweep_scheme(data.items, "1", data.features, entry, [0], tmp_path / name, room)
        data.train(tmp_path / name, room, "early", epochs=2)
        model = tmp_path / name / "model.safetensors"
        weigh_modalities(data.items, data.features, model, tmp_path / name / "worth.json", room=room)
    for name in ("sweep.csv", "finished.json", "worth.json"):
        assert (tmp_path / "memory" / name).read_bytes() == (tmp_path / "files" / name).read_bytes()
    assert mapped(tmp_path / "tmp") == []


def test_blocks_change_no_bit_of_the_scaling(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mean and deviation are those of all training items at once, as NumPy has them."""
    monkeypatch.setattr(scaling, "BLOCK_BYTES", 9 * 4 * 50)
    entry = settings("early", NAMES)
    raw = read_inputs(data.items, "1", data.features, entry, Room())
    x = raw.x[0][(raw.splits == "train") & raw.present[:, 0]].copy()
    found = scaled(raw).scalings[0]
    assert isinstance(found, scaling.Standardiser)
    assert np.array_equal(found.mean.numpy(), x.mean(axis=0, dtype=np.float64).astype(np.float32))
    assert np.array_equal(found.scale.numpy(), (1 / x.std(axis=0, dtype=np.float64)).astype(np.float32))


BOUNDED = """
import json, resource, sys
from pathlib import Path
import polars as pl
from braid.schemes.room import Room
from braid.schemes.train import train_scheme
folder, memory_mb = Path(sys.argv[1]), int(sys.argv[2])
items, entry = pl.read_parquet(folder / "items.parquet"), json.loads((folder / "entry.json").read_text())
def train(items, room):
    train_scheme(items, "1", {"wide": [folder / "a.h5"]}, entry, 0, folder / sys.argv[2], room)
train(items.gather_every(1001), Room())  # what is imported on the way
(held,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmData")]
limit = int(held.split()[1]) * 1024 + 190 * 10**6
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
train(items, Room(memory_mb, folder))
"""


def test_features_of_240_mb_are_learnt_from_in_190(tmp_path: Path) -> None:
    """The bound is on memory that is the job's own; pages of files can be taken back by the system."""
    n, dim = 24_000, 2_500
    items, labels = make_items({"train": n // 2, "val": n // 4, "test": n // 4}, 4)
    items.with_columns(shard=pl.lit("a"), group=pl.lit("one") + pl.col("label")).write_parquet(
        tmp_path / "items.parquet"
    )
    rows = np.random.default_rng(0).normal(size=(4, dim)).astype(np.float32)
    with FeatureWriter(tmp_path / "a.h5", {}) as writer:
        for item, label in zip(items["item"], labels, strict=True):
            writer.append(item, rows[label])
    (tmp_path / "entry.json").write_text(json.dumps(settings("early", ["wide"], epochs=1)))
    ran = {}
    for memory_mb in (900, 4000):
        command = [sys.executable, "-c", BOUNDED, str(tmp_path), str(memory_mb)]
        # What is freed goes back to the system at once: how much a thread's heap keeps is a matter of its timing.
        at_once = os.environ | {"MALLOC_MMAP_THRESHOLD_": "1000000"}
        ran[memory_mb] = subprocess.run(command, capture_output=True, text=True, check=False, env=at_once)
    assert ran[900].returncode == 0, ran[900].stderr
    assert "take 0.24 GB" in ran[900].stdout
    assert "MemoryError" in ran[4000].stderr  # so the bound would have been felt
    assert read_predictions(tmp_path / "900" / "predictions.h5").probabilities.shape == (n, 4)


def test_no_file_is_left_after_an_error(data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room, seen = files(tmp_path), []

    def fails(*arguments: Any) -> None:
        seen.append((len(mapped(room.folder)), list(room.folder.iterdir())))
        raise TrainingError("no")

    monkeypatch.setattr(train, "train", fails)
    with pytest.raises(TrainingError):
        data.train(tmp_path / "out", room, "early")
    assert seen == [(2, [])]  # two modalities are mapped; their files have no name
    assert mapped(room.folder) == []
    assert list(room.folder.iterdir()) == []


def test_no_file_is_left_by_a_killed_job(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from braid.schemes.room import Room;"
        "x = Room(0, Path(sys.argv[1])).hold([(1000, 1000)], 0); x[0][:] = 1; os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert killed.returncode == -9
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_space_is_a_sentence_before_anything_is_read(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms.shutil, "disk_usage", lambda folder: Usage(10**6, 10**6 - 5000, 5000))
    monkeypatch.setattr(gather.LocatedRows, "read", None)
    sentence = (
        r"features of this job take 9.36e-05 GB, more than the 0 GB that its memory \(mem_mb: 900\) has for them, and "
        r"\S+/tmp, which is to hold them, has 5e-06 GB free. Free space there, name another folder as the resource "
        r"`tmpdir`, or give the job more `mem_mb`."
    )
    with pytest.raises(StoreError, match=sentence):
        data.train(tmp_path / "out", files(tmp_path), "early")


def test_a_quota_and_a_folder_that_is_not_there_are_sentences(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StoreError, match=r"none cannot hold them: No such file or directory. Free space there, name"):
        data.train(tmp_path / "out", Room(900, tmp_path / "none"), "early")

    def refuse(*arguments: Any) -> None:
        raise OSError(122, os.strerror(122))

    monkeypatch.setattr(rooms.os, "posix_fallocate", refuse)
    with pytest.raises(StoreError, match="cannot hold them: Disk quota exceeded"):
        data.train(tmp_path / "out", files(tmp_path), "early")


def test_what_is_still_used_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of two schemes whose features fit alone the second has files, until the first is gone."""
    room = Room(3, tmp_path)
    first = room.hold([(500, 1000)], 0)
    second = room.hold([(500, 1000)], 0)
    del first
    third = room.hold([(500, 1000)], 0)
    said = capsys.readouterr().out.splitlines()
    assert ["in memory" in line for line in said] == [True, False, True]
    assert "take 0.002 GB, more than the 0.001 GB that its memory (mem_mb: 3) has for them" in said[1]
    assert not (second[0].any() or third[0].any())


def test_what_a_job_needs_besides_its_features_is_left_to_it() -> None:
    shapes = [(2000, 10), (2000, 3, 30)]
    itself = rooms.besides([(0, 0)], 0, 0, 0)
    assert itself == rooms.ITSELF_BYTES
    assert rooms.besides(shapes, 50, 7, 256) == itself + 2000 * (1000 + 50 * 16) + 7 * 24 + 256 * 4 * 4 * (10 + 90)

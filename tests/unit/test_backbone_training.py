"""Training of backbones: what is learnt and kept, how it goes on after a kill, on how many devices, clear errors."""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from backbone_data import SIZES, WAYS, make_items, quick, write_flow
from safetensors.torch import load_file
from torch import Tensor

from braid.backbones import data, epochs, inputs, model, networks
from braid.backbones.checkpoint import Checkpoints
from braid.backbones.fit import Fit
from braid.backbones.train import train_backbone
from braid.errors import StoreError, TrainingError
from braid.fold import labelled


class Killed(BaseException):
    """Stands for a signal: nothing catches it."""


class Task:
    """What is trained on, and a folder to train in."""

    def __init__(self, folder: Path) -> None:
        self.items = make_items()
        self.shards = write_flow(folder / "flow", self.items)
        self.folder = folder

    def train(self, out: str, devices: int = 1, **changes: Any) -> Path:
        """Return the folder of the results; the same `out` again is the same training, done before."""
        folder = self.folder / out / "fold1"
        if not (folder / "model.safetensors").exists():
            train_backbone("ways", self.items, "1", self.shards, quick(**changes), folder, 1, "cpu", devices)
        return folder


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    return Task(tmp_path_factory.mktemp("backbones"))


def same(one: Path, other: Path) -> bool:
    """Return whether two trainings have the same weights and history, bit for bit."""
    weights, others = (load_file(folder / "model.safetensors") for folder in (one, other))
    histories = [pl.read_csv(folder / "history.csv").drop("seconds") for folder in (one, other)]
    return all(torch.equal(weights[name], others[name]) for name in weights) and histories[0].equals(histories[1])


def test_a_backbone_learns_and_its_best_weights_are_kept(task: Task, capsys: pytest.CaptureFixture[str]) -> None:
    out = task.train("learns")
    report = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    assert report["val"]["accuracy"] == 1
    assert report["items"] == {"train": 2 * SIZES["train"], "val": SIZES["val"]}
    assert report["lacking"] == {"train": 0, "val": 0}
    assert report["multiply_adds"] > report["parameters"] > 0
    history = pl.read_csv(out / "history.csv")
    assert history["epoch"].to_list() == [1, 2, 3, 4]
    best = history.sort("val_accuracy", "epoch", descending=[True, False])["epoch"][0]
    assert history.filter(pl.col("kept"))["epoch"].to_list() == [report["best_epoch"]] == [best]
    settings, classes, network = model.load(out / "model.safetensors")
    assert (settings, classes) == (quick(), list(WAYS))
    source = inputs.make(settings)
    val = data.Evaluation(labelled(task.items, "1", classes).filter(pl.col("split") == "val"), task.shards, source)
    (batch,) = data.loader(val, [list(range(len(val)))], workers=0, pin=False)
    logits = network(source.encode(batch.raw))
    loss = torch.nn.functional.cross_entropy(logits, batch.labels)
    assert logits.argmax(dim=1).equal(batch.labels)
    assert loss.item() == pytest.approx(history["val_loss"][best - 1], rel=1e-4)
    assert not (out.parent / "fold1.parts").exists()
    printed = capsys.readouterr().out
    assert printed.count("clips/s") == 4 and "seed 0" in printed


def kill(task: Task, name: str, method: str, call: int, **changes: Any) -> None:
    """Train until a method of the loop has been called so many times."""
    n_calls, original = 0, getattr(Fit, method)

    def unlucky(self: Fit) -> Any:
        nonlocal n_calls
        n_calls += 1
        result = original(self)
        if n_calls == call:
            raise Killed
        return result

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Fit, method, unlucky)
        task.train(name, **changes)
    assert not (task.folder / name / "fold1" / "model.safetensors").exists()


@pytest.mark.parametrize(("method", "n_finished"), [("_save", 3), ("_validate", 2)])
@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "sgd", "schedule": "cosine", "warmup_epochs": 1, "dropout": 0.5, "clip_gradient": 0.5},
        {"optimizer": "adamw", "architecture": "test_resnet", "accumulate": 2, "mirror": 0.5},
    ],
    ids=["sgd", "adamw"],
)
def test_training_that_was_killed_goes_on_as_if_it_had_not_been(
    task: Task, changes: dict[str, Any], method: str, n_finished: int, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"{changes['optimizer']} {method}"
    undisturbed = task.train(f"{changes['optimizer']} undisturbed", **changes)
    kill(task, name, method, 3, **changes)
    capsys.readouterr()
    resumed = task.train(name, **changes)
    printed = capsys.readouterr().out
    assert f"resumed after epoch {n_finished}" in printed
    assert printed.count("clips/s") == 4 - n_finished
    assert same(undisturbed, resumed)
    assert [path.name for path in (task.folder / name).iterdir()] == ["fold1"]


def test_what_was_killed_with_other_settings_is_of_no_use(task: Task, capsys: pytest.CaptureFixture[str]) -> None:
    kill(task, "other", "_save", 1, epochs=2, learning_rate=0.1)
    out = task.train("other", epochs=2)
    assert "resumed" not in capsys.readouterr().out
    assert same(out, task.train("another", epochs=2))


def test_only_what_is_saved_replaces_what_was_begun_with_other_settings(tmp_path: Path) -> None:
    """Several processes look for their checkpoint at once; none of them takes anything away from under another."""
    Checkpoints(tmp_path, "that").save({"a": 1})
    this = Checkpoints(tmp_path, "this")
    assert this.load() is None and Checkpoints(tmp_path, "that").load() == {"a": 1}
    this.save({"a": 2})
    assert this.load() == {"a": 2} and Checkpoints(tmp_path, "that").load() is None


def test_a_damaged_checkpoint_is_a_sentence(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, "this")
    assert checkpoints.load() is None
    checkpoints.save({"a": torch.arange(3)})
    loaded = checkpoints.load()
    assert loaded is not None and loaded["a"].tolist() == [0, 1, 2]
    (file,) = tmp_path.glob("*/checkpoint.pt")
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(StoreError, match=r"checkpoint.pt cannot be read.*delete it, and training starts over"):
        checkpoints.load()


def test_training_stops_when_nothing_gets_better(task: Task) -> None:
    out = task.train("stops", learning_rate=1e-12, patience=2, epochs=50)
    history = pl.read_csv(out / "history.csv")
    assert history["epoch"].to_list() == [1, 2, 3]
    assert history["kept"].to_list() == [True, False, False]


def test_monitor_loss_keeps_the_smallest_loss(task: Task) -> None:
    history = pl.read_csv(task.train("loss", monitor="loss", learning_rate=0.05) / "history.csv")
    assert history["kept"].arg_max() == history["val_loss"].arg_min()


def weights_after(task: Task, name: str, **changes: Any) -> dict[str, Tensor]:
    changes = {"epochs": 2, "optimizer": "sgd", "learning_rate": 0.01, "batch_size": 7} | changes
    return load_file(task.train(name, **changes) / "model.safetensors")


@pytest.mark.parametrize("changes", [{"accumulate": 3}, {"devices": 2}], ids=["passes", "devices"])
def test_a_step_is_the_same_however_it_is_divided(task: Task, changes: dict[str, int]) -> None:
    """Without batch normalisation; 48 samples do not divide evenly into steps of 7, nor 7 into passes or devices."""
    whole, divided = weights_after(task, "whole"), weights_after(task, f"divided {changes}", **changes)
    torch.testing.assert_close(divided, whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("devices", [1, 2])
def test_a_loss_that_is_not_finite_is_a_sentence(task: Task, devices: int) -> None:
    sentence = r"^The training loss of backbone ways is not finite in epoch 1: lower `learning_rate`, now 1e\+30"
    with pytest.raises(TrainingError, match=sentence):
        task.train(f"infinite {devices}", devices, optimizer="sgd", learning_rate=1e30)


@pytest.mark.parametrize("devices", [1, 2])
def test_a_shard_that_is_missing_is_a_sentence(task: Task, devices: int) -> None:
    few = {kind: paths[:1] for kind, paths in task.shards.items()}
    with pytest.raises(StoreError, match=r"^item .*: none of the 1 flow shards given is \S+\.zarr\.zip$"):
        train_backbone(
            "ways", task.items, "1", few, quick(), task.folder / f"few {devices}" / "fold1", 1, "cpu", devices
        )


def test_too_little_memory_is_a_sentence(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    def features(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(networks.Frames, "features", features)
    sentence = "Backbone ways lacks memory in epoch 1, with passes of 8 items: raise `accumulate`, now 1, or lower"
    with pytest.raises(TrainingError, match=sentence):
        task.train("memory")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"dtype": "float16"}, "dtype float16, which is for GPUs"),
        ({"accumulate": 16}, "batch_size 8, but each of its 16 passes on 1 devices needs an item: raise it to 16"),
    ],
)
def test_settings_that_cannot_be_used_are_a_sentence(task: Task, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(TrainingError, match=sentence):
        task.train("never", **changes)


def test_a_file_that_is_no_backbone_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"\x10")
    with pytest.raises(StoreError, match=r"no backbone of braid.*delete it and train again"):
        model.load(path)


@pytest.mark.parametrize(("n_items", "size", "accumulate", "world"), [(10, 4, 1, 1), (48, 7, 3, 2), (3, 16, 8, 2)])
def test_an_epoch_has_every_item_once_and_depends_on_seed_and_epoch(
    n_items: int, size: int, accumulate: int, world: int
) -> None:
    def passes(seed: int, epoch: int) -> list[list[int]]:
        devices = [list(epochs.steps(n_items, size, accumulate, seed, epoch, rank, world)) for rank in range(world)]
        for step in zip(*devices, strict=True):
            (n,) = {n for n, _ in step}
            assert n == sum(len(part) for _, parts in step for part in parts) <= size
            assert len({len(parts) for _, parts in step}) == 1
            assert all(len(part) for _, parts in step for part in parts)
        return [part.tolist() for device in devices for _, parts in device for part in parts]

    first = passes(seed=0, epoch=1)
    assert sorted(chain.from_iterable(first)) == list(range(n_items))
    assert first == passes(seed=0, epoch=1)
    assert n_items < 10 or first not in (passes(seed=0, epoch=2), passes(seed=1, epoch=1))


def test_rounds_have_every_item_once() -> None:
    parts = [part.tolist() for rank in range(3) for part in epochs.rounds(11, 2, rank, 3)]
    assert sorted(chain.from_iterable(parts)) == list(range(11))
    assert max(map(len, parts)) == 2
    assert epochs.rounds(1, 2, rank=1, world=2) == []

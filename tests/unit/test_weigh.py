"""What modalities are worth, on data where each tells a known part of the class."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from itertools import combinations
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scheme_data import make_items, settings, write_feature

from braid import config
from braid.errors import StoreError, TrainingError
from braid.schemes import parts, weigh
from braid.schemes.batch import Batch
from braid.schemes.inputs import read_inputs, scaled
from braid.schemes.model import Model
from braid.schemes.results import read_predictions
from braid.schemes.room import Room
from braid.schemes.train import train_scheme

SIZES = {"train": 240, "val": 120, "test": 240}
LARGE = {"train": 400, "val": 400, "test": 1200}
NAMES = ["sound", "picture", "noise"]
WEIGHED = [
    name for name, rules in config.types("schemes").items() if {"worth", "features"} <= rules["properties"].keys()
]
FAST = {"learning_rate": 0.003, "epochs": 30, "hidden": 64, "width": 32, "dropout": 0.0}


class Data:
    """Four places: the sound tells in which half an item is, the picture which side of it; the noise tells nothing."""

    def __init__(self, folder: Path, classes: list[int], sizes: dict[str, int] = LARGE, lacking: float = 0.0) -> None:
        self.items, place = make_items(sizes, 4)
        self.labels = np.array(classes)[place]
        self.items = self.items.with_columns(label=np.array([f"class {c}" for c in self.labels]))
        gone = np.random.default_rng(0).random((3, len(place))) < lacking
        told = {"sound": place // 2, "picture": place % 2, "noise": place * 0}
        self.features = {
            name: write_feature(folder / name, self.items, told[name], dim=8, noise=0.05, lacking=gone[m], seed=4 + m)
            for m, name in enumerate(NAMES)
        }
        self.complete = ~gone.any(axis=0)

    def train(self, out: Path, type_: str, names: list[str], **changes: Any) -> Path:
        speed = {key: value for key, value in FAST.items() if key in config.types("schemes")[type_]["properties"]}
        entry = settings(type_, names, **speed | changes)
        train_scheme(self.items, "1", self.features, entry, 0, out)
        return out / "model.safetensors"

    def weigh(self, model: Path) -> dict[str, Any]:
        weigh.weigh_modalities(self.items, self.features, model, model.parent / "worth.json")
        return json.loads((model.parent / "worth.json").read_text())


@pytest.fixture(scope="module")
def gaps(tmp_path_factory: pytest.TempPathFactory) -> Data:
    return Data(tmp_path_factory.mktemp("gaps"), [0, 1, 2, 3], SIZES, lacking=0.1)


def scores(found: dict[str, Any], kind: str, *names: str) -> dict[str, float]:
    (row,) = [row for row in found["subsets"] if row["modalities"] == list(names)]
    return row[kind]


def disturbed(found: dict[str, Any], name: str, how: str) -> list[dict[str, Any]]:
    return [row for row in found["disturbed"] if (row["modality"], row["how"]) == (name, how)]


def test_two_halves_of_the_answer_are_worth_one_bit_each(tmp_path: Path) -> None:
    """Four classes by two factors: ln 4 - ln 2 - 0 nats, whichever comes first; accuracy 1/4, 1/2, 1."""
    data = Data(tmp_path, [0, 1, 2, 3])
    found = data.weigh(data.train(tmp_path / "scheme", "intermediate", NAMES, epochs=60))
    assert (found["split"], found["n"], found["lacking"]) == ("test", 1200, 0)
    assert scores(found, "retrained") == pytest.approx({"accuracy": 1 / 4, "log_loss": log(4)}, abs=1e-6)
    assert scores(found, "retrained", "sound") == pytest.approx({"accuracy": 1 / 2, "log_loss": log(2)}, abs=0.07)
    share = found["shapley"]
    assert share["accuracy"] == pytest.approx({"sound": 3 / 8, "picture": 3 / 8, "noise": 0}, abs=0.04)
    assert share["log_loss"] == pytest.approx({"sound": log(2), "picture": log(2), "noise": 0}, abs=0.07)
    for name in ("sound", "picture"):  # of another item's half, half are wrong
        (swapped,) = disturbed(found, name, "permuted")
        assert swapped["accuracy"] == pytest.approx(1 / 2, abs=0.05) and swapped["accuracy_sd"] > 0
    (swapped,) = disturbed(found, "noise", "permuted")
    assert swapped["accuracy"] > 0.98
    assert [row["level"] for row in disturbed(found, "sound", "noise")] == list(weigh.NOISE)
    assert min(row["accuracy"] for row in disturbed(found, "noise", "noise")) > 0.9


def test_what_only_two_together_tell_is_worth_half_to_each(tmp_path: Path) -> None:
    """The class is the exclusive or of the factors: neither alone says anything."""
    data = Data(tmp_path, [0, 1, 1, 0])
    found = data.weigh(data.train(tmp_path / "scheme", "early", NAMES, epochs=60, monitor="val_loss"))
    assert scores(found, "retrained", "sound", "picture")["accuracy"] > 0.98
    assert scores(found, "retrained", "sound")["accuracy"] == pytest.approx(1 / 2, abs=0.06)
    share = found["shapley"]
    assert share["accuracy"] == pytest.approx({"sound": 1 / 4, "picture": 1 / 4, "noise": 0}, abs=0.04)
    assert share["log_loss"] == pytest.approx({"sound": log(2) / 2, "picture": log(2) / 2, "noise": 0}, abs=0.07)


@pytest.mark.parametrize("type_", WEIGHED)
def test_rows_are_what_training_and_masking_by_hand_give(type_: str, gaps: Data, tmp_path: Path) -> None:
    """On the same complete items; masking by hand is to say that the item has not the modality."""
    path = gaps.train(tmp_path / "all", type_, NAMES, epochs=2)
    found = gaps.weigh(path)
    assert [row["modalities"] for row in found["subsets"]] == [
        list(names) for size in range(4) for names in combinations(NAMES, size)
    ]
    at = gaps.complete & (gaps.items["split_1"] == "test").to_numpy()
    assert found["n"] == at.sum() < 240 == found["n"] + found["lacking"]

    def by_hand(probabilities: np.ndarray) -> dict[str, float]:
        p = probabilities[at]
        of_true = p[np.arange(len(p)), gaps.labels[at]]
        return {"accuracy": (p.argmax(axis=1) == gaps.labels[at]).mean(), "log_loss": -np.log(of_true).mean()}

    everything = by_hand(read_predictions(path.parent / "predictions.h5").probabilities)
    for kind in ("retrained", "masked"):
        assert scores(found, kind, *NAMES) == pytest.approx(everything, abs=1e-6)
    again = gaps.train(tmp_path / "two", type_, ["sound", "picture"], epochs=2)
    expected = by_hand(read_predictions(again.parent / "predictions.h5").probabilities)
    assert scores(found, "retrained", "sound", "picture") == pytest.approx(expected, abs=1e-6)
    model = Model.load(path)
    data = read_inputs(gaps.items, "1", gaps.features, model.description.settings, Room())
    data.present[:, 1] = False
    masked = model.predict(scaled(data, model.how_scaled()).selection())
    assert scores(found, "masked", "sound", "noise") == pytest.approx(by_hand(masked), abs=1e-6)


class Ensemble:
    """Trained schemes on features by name, and one over them all."""

    def __init__(self, data: Data, folder: Path, reads: dict[str, list[str]], epochs: int, **changes: Any) -> None:
        self.data, self.folder, self.members = data, folder, list(reads)
        self.paths = {
            name: data.train(folder / name, "single" if len(on) == 1 else "early", on, epochs=epochs)
            for name, on in reads.items()
        }
        self.entry = settings("ensemble", self.members, **changes)
        self.path = self.over({name: path.parent for name, path in self.paths.items()}, folder / "ensemble")

    def over(self, parts: dict[str, Path], out: Path) -> Path:
        inputs = {name: [folder / "predictions.h5"] for name, folder in parts.items()}
        train_scheme(self.data.items, "1", inputs, self.entry | {"schemes": list(parts)}, 0, out)
        return out / "model.safetensors"

    def weigh(self) -> dict[str, Any]:
        out = self.folder / "worth.json"
        weigh.weigh_modalities(self.data.items, self.data.features, self.path, out, self.paths)
        return json.loads(out.read_text())


def test_an_ensemble_of_two_halves_owes_one_bit_to_the_modality_of_each(tmp_path: Path) -> None:
    """As of one scheme on both, though no part knows more than a half."""
    data = Data(tmp_path, [0, 1, 2, 3])
    reads = {name: [name] for name in NAMES}
    found = Ensemble(data, tmp_path, reads, epochs=60, combine="scalar_weights").weigh()
    assert found["modalities"] == NAMES and (found["n"], found["lacking"]) == (1200, 0)
    assert scores(found, "retrained") == pytest.approx({"accuracy": 1 / 4, "log_loss": log(4)}, abs=1e-6)
    assert scores(found, "retrained", "sound") == pytest.approx({"accuracy": 1 / 2, "log_loss": log(2)}, abs=0.07)
    share = found["shapley"]
    assert share["accuracy"] == pytest.approx({"sound": 3 / 8, "picture": 3 / 8, "noise": 0}, abs=0.04)
    assert share["log_loss"] == pytest.approx({"sound": log(2), "picture": log(2), "noise": 0}, abs=0.07)
    for name in ("sound", "picture"):
        (swapped,) = disturbed(found, name, "permuted")
        assert swapped["accuracy"] == pytest.approx(1 / 2, abs=0.05) and swapped["accuracy_sd"] > 0
    assert disturbed(found, "noise", "permuted")[0]["accuracy"] > 0.98


def test_subsets_of_an_ensemble_are_what_its_parts_on_them_give(gaps: Data, tmp_path: Path) -> None:
    """The picture is read by two parts; by hand: train those parts on what is left, and fit the ensemble over them."""
    reads = {"pair": ["sound", "picture"], "other": ["picture", "noise"], "alone": ["noise"]}
    whole = Ensemble(gaps, tmp_path, reads, epochs=2, combine="class_weights")
    found = whole.weigh()
    assert found["modalities"] == ["sound", "picture", "noise"]
    at = gaps.complete & (gaps.items["split_1"] == "test").to_numpy()
    assert found["n"] == at.sum() < 240 == found["n"] + found["lacking"]

    def by_hand(probabilities: np.ndarray) -> dict[str, float]:
        p = probabilities[at]
        of_true = p[np.arange(len(p)), gaps.labels[at]]
        return {"accuracy": (p.argmax(axis=1) == gaps.labels[at]).mean(), "log_loss": -np.log(of_true).mean()}

    everything = by_hand(read_predictions(whole.path.parent / "predictions.h5").probabilities)
    for kind in ("retrained", "masked"):
        assert scores(found, kind, *NAMES) == pytest.approx(everything, abs=1e-5)
    early = {
        name: gaps.train(tmp_path / "again" / name, "early", [on], epochs=2).parent
        for name, on in (("pair", "sound"), ("other", "noise"))
    }
    again = whole.over(early | {"alone": whole.paths["alone"].parent}, tmp_path / "again")
    expected = by_hand(read_predictions(again.parent / "predictions.h5").probabilities)
    assert scores(found, "retrained", "sound", "noise") == pytest.approx(expected, abs=1e-5)
    only = whole.over({"pair": early["pair"]}, tmp_path / "only")
    expected = by_hand(read_predictions(only.parent / "predictions.h5").probabilities)
    assert scores(found, "retrained", "sound") == pytest.approx(expected, abs=1e-5)

    log_p, present, data = [], [], None
    for name, on in reads.items():
        model = Model.load(whole.paths[name])
        data = read_inputs(gaps.items, "1", gaps.features, model.description.settings, Room())
        data.present[:, [m for m, each in enumerate(on) if each == "picture"]] = False
        log_p.append(np.log(model.predict(scaled(data, model.how_scaled()).selection()).clip(1e-7)))
        present.append(data.present.any(axis=1))
    model = Model.load(whole.path)
    assert data is not None
    heard = replace(data, kind="predictions", names=list(reads), x=log_p, present=np.stack(present, axis=1))
    masked = model.predict(scaled(heard, model.how_scaled()).selection())
    assert scores(found, "masked", "sound", "noise") == pytest.approx(by_hand(masked), abs=1e-5)


def test_noise_on_scores_is_of_their_own_deviation_and_they_still_sum_to_one(tmp_path: Path) -> None:
    """What a scheme says that reads scores is what it is shown."""
    items, place = make_items(SIZES, 4)
    random = np.random.default_rng(0)
    told = np.exp(random.normal(size=(len(place), 4)) * [1, 2, 3, 0] + 3 * np.eye(4)[place])
    given = told / told.sum(axis=1, keepdims=True)
    classes = [f"class {c}" for c in range(4)]
    paths = write_feature(tmp_path / "clip", items, place, scores=given, classes=classes)
    train_scheme(items, "1", {"clip": paths}, settings("scores", ["clip"]), 0, tmp_path)
    reader = parts.read_parts(items, {"clip": paths}, tmp_path / "model.safetensors", {}, Room())
    assert isinstance(reader, parts.Reader)
    expected = np.log(given[: SIZES["train"]]).std(axis=0)
    np.testing.assert_allclose(reader.deviation(0), expected, rtol=1e-4)
    noise = weigh.changed("clip", partial(weigh._noisy, seed=[0], level=2.0))
    p, _ = reader.answers(torch.arange(len(items)), noise)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)
    drawn = np.random.default_rng([0]).standard_normal((len(items), 4), dtype=np.float32)
    shown = given * np.exp(2 * drawn * expected)
    np.testing.assert_allclose(p, shown / shown.sum(axis=1, keepdims=True), atol=1e-4)


def test_the_same_scheme_gives_the_same_bytes(gaps: Data, tmp_path: Path) -> None:
    path = gaps.train(tmp_path, "gated", NAMES, epochs=2)
    gaps.weigh(path)
    first = (tmp_path / "worth.json").read_bytes()
    gaps.weigh(path)
    assert (tmp_path / "worth.json").read_bytes() == first


def test_without_labelled_test_items_those_of_val_judge(gaps: Data, tmp_path: Path) -> None:
    data = Data.__new__(Data)
    data.features = gaps.features
    data.items = gaps.items.with_columns(split_1=gaps.items["split_1"].replace("test", "predict"))
    assert data.weigh(data.train(tmp_path, "early", NAMES, epochs=1))["split"] == "val"


def test_permuted_items_have_one_modality_of_each_other() -> None:
    batch = tokens(50)
    changed = weigh.permuted(batch.selection(), 0, [0, 0, 0]).batch()
    assert torch.equal(changed.features[1], batch.features[1])
    where = [
        [torch.equal(row.nan_to_num(), own.nan_to_num()) for own in batch.features[0]] for row in changed.features[0]
    ]
    assert np.sum(where, axis=0).tolist() == np.sum(where, axis=1).tolist() == [1] * 50
    assert np.trace(where) < 10


def test_noise_has_its_level_and_spares_times_constants_and_what_is_no_token() -> None:
    batch = tokens(2000)
    varies = torch.tensor([True, False, True])
    once, twice = (
        torch.cat([part.features[0] for part in weigh.noisy(batch.selection(), 0, level, varies, [1, 2, 3])])
        for level in (0.5, 1.0)
    )
    noise = once - batch.features[0]
    torch.testing.assert_close(twice - batch.features[0], 2 * noise, equal_nan=True)
    assert torch.equal(noise[..., 0].isnan(), batch.features[0][..., 0].isnan())
    assert noise[..., [0, 1, 3]].nan_to_num().abs().max() == 0
    given = noise[..., [2, 4]][~noise[..., 0].isnan()]
    assert given.std().item() == pytest.approx(0.5, rel=0.05) and abs(given.mean().item()) < 0.02


def tokens(n: int) -> Batch:
    """Two modalities, the first with two tokens an item, of which each third item has one."""
    random = torch.Generator().manual_seed(0)
    first = torch.randn(n, 2, 5, generator=random)
    first[::3, 1] = torch.nan
    labels = torch.zeros(n, dtype=torch.int64)
    return Batch([first, torch.randn(n, 4, generator=random)], torch.ones(n, 2, dtype=torch.bool), labels, labels)


def test_items_that_all_lack_something_are_a_sentence(gaps: Data, tmp_path: Path) -> None:
    path = gaps.train(tmp_path, "early", NAMES, epochs=1)
    at = (gaps.items["split_1"] != "test").to_numpy() | ~gaps.complete
    some = gaps.items.filter(at)
    with pytest.raises(TrainingError, match="No labelled test item of fold 1 has all of sound, picture, noise"):
        weigh.weigh_modalities(some, gaps.features, path, tmp_path / "worth.json")
    other = gaps.items.with_columns(label=gaps.items["label"].replace("class 3", "class 2"))
    with pytest.raises(StoreError, match="has other classes"):
        weigh.weigh_modalities(other, gaps.features, path, tmp_path / "worth.json")
    assert not (tmp_path / "worth.json").exists()

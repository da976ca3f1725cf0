"""Sweeps: which points there are, which sentences refuse them, what is trained, what is kept and what is chosen."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from scheme_data import make_items, settings, write_feature

from braid.errors import ConfigError, StoreError, TrainingError
from braid.schemes import sweep as sweeping
from braid.schemes.model import Model
from braid.schemes.search import FIRST, search
from braid.schemes.sweep import sweep_scheme
from braid.schemes.train import train_scheme
from braid.sweeps import points

N_CLASSES = 4
RATES = {"low": 1e-4, "high": 1e-1, "scale": "log"}


def swept(type_: str, parameters: dict[str, Any], names: list[str] | None = None, **sweep: Any) -> dict[str, Any]:
    changes = {key: sweep.pop(key) for key in ("epochs", "patience", "monitor", "max_tokens") if key in sweep}
    names = names or (["sound"] if type_ == "single" else ["sound", "picture"])
    return settings(type_, names, sweep={"parameters": parameters} | sweep, **{"epochs": 15} | changes)


def points_of(type_: str, parameters: dict[str, Any], **sweep: Any) -> list[dict[str, Any]]:
    return points(swept(type_, parameters, **sweep)["sweep"])


def test_a_grid_has_all_combinations_in_the_order_of_the_schema() -> None:
    grid = points_of("single", {"hidden": [8, 16], "learning_rate": ["1e-3", 0.01]})
    assert [tuple(each.items()) for each in grid] == list(
        product([("hidden", 8), ("hidden", 16)], [("learning_rate", 0.001), ("learning_rate", 0.01)])
    )
    assert points_of("single", {"learning_rate": [0.001, 0.01], "hidden": [8, 16]}) == grid


def test_points_that_are_drawn() -> None:
    parameters = {"learning_rate": RATES, "hidden": {"low": 3, "high": 6}, "optimizer": ["adam", "sgd"]}
    found = points_of("single", parameters, budget=400)
    assert len({json.dumps(point) for point in found}) == 400
    rates = np.log10([point["learning_rate"] for point in found])
    assert rates.min() >= -4 and rates.max() <= -1
    np.testing.assert_allclose(np.histogram(rates, 3)[0], 400 / 3, atol=4 * np.sqrt(400 * 2 / 9))
    widths, counts = np.unique([point["hidden"] for point in found], return_counts=True)
    assert widths.tolist() == [3, 4, 5, 6]
    np.testing.assert_allclose(counts, 100, atol=4 * np.sqrt(400 * 3 / 16))
    assert {point["optimizer"] for point in found} == {"adam", "sgd"}
    assert points_of("single", parameters, budget=100) == found[:100]
    assert points_of("single", parameters, budget=100, seed=1) != found[:100]


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_whole_numbers_of_a_range(scale: str) -> None:
    parameters = {"batch_size": {"low": 2, "high": 9, "scale": scale}}
    for budget in (8, 1000):
        assert [point["batch_size"] for point in points_of("single", parameters, budget=budget)] == list(range(2, 10))
    some = [point["batch_size"] for point in points_of("single", parameters, budget=5)]
    assert len(set(some)) == 5 and set(some) <= set(range(2, 10))
    decays = points_of("single", {"weight_decay": {"low": 0, "high": 3, "integer": True}}, budget=4)
    assert [point["weight_decay"] for point in decays] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("type_", "parameters", "sweep", "sentence"),
    [
        ("single", {"learning_rat": [1]}, {}, r"parameters has no key 'learning_rat'; did you mean 'learning_rate'\?"),
        ("single", {"features": [["picture"]]}, {}, "has no key 'features'"),
        ("single", {"monitor": ["val_loss"]}, {}, "has no key 'monitor'"),
        ("single", {"modality_dropout": [0.1]}, {}, "has no key 'modality_dropout'"),
        ("single", {"learning_rate": [0.1, -1]}, {}, r"parameters.learning_rate must be more than 0, got -1"),
        ("single", {"dropout": [0.1, 1]}, {}, r"parameters.dropout must be less than 1, got 1"),
        (
            "single",
            {"optimizer": ["adam", "lion"]},
            {},
            r"parameters.optimizer must be one of adamw, adam, sgd, got 'lion'",
        ),
        ("single", {"learning_rate": []}, {}, r"parameters.learning_rate must be a list with at least 1"),
        ("single", {"learning_rate": [0.1, 0.1]}, {}, "must not name anything twice"),
        ("single", {"learning_rate": 0.1}, {}, r"parameters.learning_rate must be of type array, got 0.1"),
        ("single", {"learning_rate": RATES}, {}, "is a range, of which `budget` must say how many points"),
        ("single", {"learning_rate": {"low": 0, "high": 1}}, {"budget": 3}, r"learning_rate.low must be more than 0"),
        ("single", {"dropout": {"low": 0, "high": 1}}, {"budget": 3}, r"dropout.high must be less than 1"),
        ("single", {"weight_decay": {"low": 0, "high": 1, "scale": "log"}}, {"budget": 3}, r"on a scale of logarithms"),
        ("single", {"hidden": {"low": 8, "high": 8}}, {"budget": 3}, r"hidden.low must be less than high, got 8 and 8"),
        ("single", {"hidden": {"low": 8.5, "high": 9}}, {"budget": 3}, r"hidden.low must be of type integer, got 8.5"),
        ("single", {"hidden": {"low": 8}}, {"budget": 3}, r"hidden lacks 'high'"),
        ("single", {"hidden": {"low": 8, "high": 9, "step": 1}}, {"budget": 3}, r"hidden has no key 'step'"),
        ("single", {"optimizer": {"low": 0, "high": 1}}, {"budget": 3}, r"optimizer cannot be a range"),
        ("tokens", {"width": {"low": 8, "high": 16}}, {"budget": 3}, r"width cannot be a range"),
        ("single", {"hidden": [8]}, {"budget": 0}, r"sweep.budget must be at least 1, got 0"),
        ("single", {"hidden": [8]}, {"trials": 3}, r"sweep has no key 'trials'"),
        (
            "single",
            {"hidden": [8, 9]},
            {"sampler": "tpe"},
            r"sampler is tpe, of which `budget` must say",
        ),
        ("single", {"hidden": [8]}, {"sampler": "grid"}, r"sweep.sampler must be one of random, tpe, got 'grid'"),
        ("single", {}, {}, r"sweep.parameters"),
        ("early", {"modality_dropout": [0, 0.2]}, {"names": ["sound"]}, "modality_dropout, which needs at least two"),
    ],
)
def test_sweeps_that_are_refused(type_: str, parameters: dict[str, Any], sweep: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        swept(type_, parameters, **sweep)


@pytest.mark.parametrize("type_", ["ensemble", "calibrated"])
def test_what_is_not_trained_has_no_sweep(type_: str) -> None:
    with pytest.raises(ConfigError, match="has no key 'sweep'"):
        settings(type_, ["sound", "picture"][: 1 + (type_ == "ensemble")], sweep={"parameters": {"combine": ["mean"]}})


class Data:
    """Two modalities that together tell the class of 60 training, 40 validation and 40 test items."""

    def __init__(self, folder: Path) -> None:
        self.items, labels = make_items({"train": 60, "val": 40, "test": 40}, N_CLASSES)
        self.labels = labels
        self.features = {
            "sound": write_feature(folder / "sound", self.items, labels, noise=1.5, seed=1),
            "picture": write_feature(folder / "picture", self.items, labels // 2, seed=2),
        }

    def sweep(self, out: Path, entry: dict[str, Any], seeds: tuple[int, ...] = (0, 1), **changes: Any) -> pl.DataFrame:
        items, inputs = changes.get("items", self.items), changes.get("inputs", self.features)
        sweep_scheme(items, "1", {name: inputs[name] for name in entry["features"]}, entry, seeds, out)
        table = pl.read_csv(out / "sweep.csv")
        chosen = table.filter("chosen").to_dicts()
        assert len(chosen) == 1
        told = json.loads((out / "sweep.json").read_text())
        assert {key: chosen[0][key] for key in told} == told
        return table


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    return Data(tmp_path_factory.mktemp("features"))


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[dict[str, Any], int]]:
    """Return a list that receives the settings and seed of every training that is done."""
    done: list[tuple[dict[str, Any], int]] = []
    original = sweeping._train

    def spy(data: Any, trainings: dict[str, Any]) -> Any:
        for keys, found in original(data, trainings):
            done.extend(trainings[key] for key in keys)
            yield keys, found

    monkeypatch.setattr(sweeping, "_train", spy)
    return done


@pytest.mark.parametrize("monitor", ["val_loss", "val_accuracy"])
@pytest.mark.parametrize("type_", ["single", "early", "intermediate", "weighted", "gated", "late", "double", "tokens"])
def test_an_absurd_learning_rate_is_never_chosen(type_: str, monitor: str, data: Data, tmp_path: Path) -> None:
    entry = swept(type_, {"learning_rate": [1e-9, 0.003, 1e30], "dropout": [0.0, 0.2]}, monitor=monitor, epochs=6)
    table = data.sweep(tmp_path, entry, seeds=(0, 1))
    assert len(table) == 6
    assert table.filter("chosen")["learning_rate"].to_list() == [0.003]
    best = table[monitor].min() if monitor == "val_loss" else table[monitor].max()
    assert table.filter("chosen")[monitor][0] == best
    for score in ("val_loss", "val_accuracy"):
        kept = table.drop_nulls(score)
        mean = (kept[f"{score}_seed0"] + kept[f"{score}_seed1"]) / 2
        np.testing.assert_allclose(kept[score], mean)


SPACE = {"learning_rate": RATES, "hidden": {"low": 8, "high": 512, "scale": "log"}, "optimizer": ["adam", "sgd"]}


def away(point: dict[str, Any]) -> float:
    """A loss with its least value, 0, at Adam, a rate of 0.003 and a width of 64."""
    return (
        abs(np.log10(point["learning_rate"] / 0.003))
        + abs(np.log10(point["hidden"] / 64))
        + (point["optimizer"] == "sgd")
    )


def test_a_search_goes_where_points_are_good() -> None:
    """Against as many points at random, over ten seeds."""
    best = {"tpe": 0.0, "random": 0.0}
    late, early = [], []
    for seed in range(10):
        sweep = swept("single", SPACE, budget=50, sampler="tpe", seed=seed)["sweep"]
        found = search(sweep, lambda points: [away(point) for point in points])
        assert len(found) == 50 and {type(point["hidden"]) for point in found} == {int}
        losses = [away(point) for point in found]
        early += losses[:FIRST]
        late += losses[-15:]
        best["tpe"] += min(losses) / 10
        best["random"] += min(map(away, points(sweep))) / 10
    assert np.mean(late) < 0.6 * np.mean(early)
    assert best["tpe"] < best["random"] / 2
    sweep = swept("single", SPACE, budget=50, sampler="tpe", seed=9)["sweep"]
    long, short = (search(sweep | {"budget": n}, lambda points: [away(point) for point in points]) for n in (50, 20))
    assert short == long[:20]


def test_a_search_goes_on_where_points_diverge() -> None:
    """All rates above 0.003 do, and the best lie just below."""
    sweep = swept("single", {"learning_rate": RATES}, budget=40, sampler="tpe")["sweep"]

    def judge(points: list[dict[str, Any]]) -> list[float]:
        rates = [point["learning_rate"] for point in points]
        return [np.inf if rate > 0.003 else -np.log10(rate) for rate in rates]

    found = search(sweep, judge)
    assert np.isinf(judge(found)).sum() < 30
    assert min(judge(found)) < -np.log10(0.0025)


def test_a_search_learns_from_the_validation_scores_and_goes_on(data: Data, tmp_path: Path, trained: list[Any]) -> None:
    def entry(budget: int) -> dict[str, Any]:
        low = {"low": 1e-6, "high": 0.1, "scale": "log"}
        return swept("early", {"learning_rate": low}, budget=budget, sampler="tpe", epochs=6)

    short = data.sweep(tmp_path / "kept", entry(13))
    assert len(short) == 13 and len(trained) == 26
    # The first ten are the same whatever the scores; what follows are not.
    other = search(entry(13)["sweep"], lambda points: [point["learning_rate"] for point in points])
    assert [point["learning_rate"] for point in other[:FIRST]] == pytest.approx(
        short["learning_rate"][:FIRST].to_list()
    )
    assert other[-1]["learning_rate"] != pytest.approx(short["learning_rate"][12])
    assert short.filter("chosen")["val_loss"].item() == short["val_loss"].min()
    trained.clear()
    longer = data.sweep(tmp_path / "kept", entry(15))
    assert len(trained) == 4
    assert longer.drop("chosen")[:13].equals(short.drop("chosen"))
    assert data.sweep(tmp_path / "anew", entry(15)).equals(longer)


def test_a_search_of_less_than_its_budget_is_a_grid(data: Data, tmp_path: Path) -> None:
    table = data.sweep(tmp_path, swept("early", {"learning_rate": [0.01, 0.001]}, budget=9, sampler="tpe", epochs=2))
    assert table["learning_rate"].to_list() == [0.01, 0.001]


def test_of_equals_the_first_is_chosen(data: Data, tmp_path: Path) -> None:
    """Momentum is nothing to AdamW."""
    table = data.sweep(tmp_path, swept("early", {"momentum": [0.7, 0.1, 0.9]}))
    assert table["val_loss"].n_unique() == 1
    assert table["chosen"].to_list() == [True, False, False]


def test_the_scores_are_those_of_the_scheme_with_these_settings(data: Data, tmp_path: Path) -> None:
    for type_ in ("early", "late"):
        entry = swept(type_, {"learning_rate": [0.0003, 0.001, 0.003]})
        table = data.sweep(tmp_path / type_, entry)
        alone = {key: value for key, value in entry.items() if key != "sweep"}
        for row in table.iter_rows(named=True):
            for seed in (0, 1):
                settings_ = alone | {"learning_rate": row["learning_rate"]}
                train_scheme(data.items, "1", data.features, settings_, seed, tmp_path / "alone")
                val = json.loads((tmp_path / "alone" / "metrics.json").read_text())["val"]
                assert row[f"val_loss_seed{seed}"] == pytest.approx(val["log_loss"], rel=1e-3)
                assert row[f"val_accuracy_seed{seed}"] == pytest.approx(val["accuracy"], abs=1e-9)


def test_what_is_finished_is_not_trained_again(data: Data, tmp_path: Path, trained: list[Any]) -> None:
    data.sweep(tmp_path, swept("early", {"learning_rate": [0.001, 0.003]}))
    assert len(trained) == 4
    before = (tmp_path / "sweep.json").read_bytes(), (tmp_path / "sweep.csv").read_bytes()
    trained.clear()
    data.sweep(tmp_path, swept("early", {"learning_rate": [0.001, 0.003]}))
    assert trained == []
    assert before == ((tmp_path / "sweep.json").read_bytes(), (tmp_path / "sweep.csv").read_bytes())
    data.sweep(tmp_path, swept("early", {"learning_rate": [0.003, 0.0001, 0.001]}))
    assert [(entry["learning_rate"], seed) for entry, seed in trained] == [(0.0001, 0), (0.0001, 1)]
    trained.clear()
    data.sweep(tmp_path, swept("early", {"learning_rate": [0.001, 0.003]}), seeds=(0, 1, 2))
    assert [seed for _, seed in trained] == [2, 2]
    trained.clear()
    data.sweep(tmp_path, swept("early", {"learning_rate": [0.001, 0.003]}, patience=3))
    assert len(trained) == 4


def test_other_features_and_labels_train_again_test_items_do_not(
    data: Data, tmp_path: Path, trained: list[Any]
) -> None:
    entry = swept("early", {"learning_rate": [0.001, 0.003]}, names=["sound"])
    data.sweep(tmp_path, entry)
    trained.clear()
    is_test = pl.col("split_1") == "test"
    data.sweep(tmp_path, entry, items=data.items.filter(~is_test))
    label = pl.when(is_test).then(pl.lit("class 0")).otherwise("label").alias("label")
    data.sweep(tmp_path, entry, items=data.items.with_columns(label))
    assert trained == []
    swapped = pl.when(pl.col("item") == "item 0").then(pl.lit("class 1")).otherwise("label").alias("label")
    data.sweep(tmp_path, entry, items=data.items.with_columns(swapped))
    assert len(trained) == 4
    other = {"sound": write_feature(tmp_path / "other", data.items, data.labels, seed=8)}
    data.sweep(tmp_path, entry, inputs=other)
    assert len(trained) == 8


def test_test_items_are_not_even_read(data: Data, tmp_path: Path) -> None:
    """Their features are not in the shards."""
    only = data.items.filter(pl.col("split_1") != "test")
    inputs = {"sound": write_feature(tmp_path / "only", only, data.labels[: len(only)])}
    data.sweep(tmp_path, swept("single", {"learning_rate": [0.01]}), inputs=inputs)


def test_finished_points_survive_a_kill(data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = swept("single", {"hidden": [8, 9, 10]})
    original, n = sweeping._score, 0

    def killed(*arguments: Any) -> Any:
        nonlocal n
        n += 1
        if n > 4:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(sweeping, "_score", killed)
    with pytest.raises(KeyboardInterrupt):
        data.sweep(tmp_path, entry)
    assert not (tmp_path / "sweep.json").exists()
    assert len(json.loads((tmp_path / "finished.json").read_text())) == 4
    monkeypatch.setattr(sweeping, "_score", original)
    spied: list[int] = []
    monkeypatch.setattr(sweeping, "_score", lambda *arguments: spied.append(1) or original(*arguments))
    whole = data.sweep(tmp_path, entry)
    assert len(spied) == 2
    assert whole.equals(data.sweep(tmp_path / "at once", entry))


def test_a_sweep_of_what_is_read(data: Data, tmp_path: Path) -> None:
    """Points with other `max_tokens` read other tokens; the table has them in the order of the config."""
    table = data.sweep(tmp_path, swept("tokens", {"max_tokens": [1, 3], "dropout": [0.0, 0.1]}, epochs=2), seeds=(0,))
    assert sorted(zip(table["max_tokens"], table["dropout"], strict=True)) == [(1, 0.0), (1, 0.1), (3, 0.0), (3, 0.1)]
    assert table["point"].to_list() == [1, 2, 3, 4]
    assert table["val_loss"].n_unique() == 4


def test_the_chosen_point_is_an_ordinary_scheme(data: Data, tmp_path: Path) -> None:
    entry = swept("early", {"learning_rate": [1e-8, 0.003]})
    data.sweep(tmp_path, entry)
    chosen = json.loads((tmp_path / "sweep.json").read_text())
    alone = {key: value for key, value in entry.items() if key != "sweep"}
    train_scheme(data.items, "1", data.features, alone | chosen, 0, tmp_path / "seed0")
    assert Model.load(tmp_path / "seed0" / "model.safetensors").description.settings["learning_rate"] == 0.003


def test_every_point_diverges(data: Data, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="every point of the sweep is not finite in fold 1"):
        data.sweep(tmp_path, swept("early", {"optimizer": ["sgd"], "learning_rate": [1e30, 1e32]}))
    assert not (tmp_path / "sweep.json").exists()


def test_a_store_that_cannot_be_read(data: Data, tmp_path: Path) -> None:
    (tmp_path / "finished.json").write_text("{")
    with pytest.raises(StoreError, match=r"finished.json cannot be read .*delete it"):
        data.sweep(tmp_path, swept("early", {"learning_rate": [0.01]}))


def test_a_validation_split_that_lacks_the_modality_is_no_divergence(data: Data, tmp_path: Path) -> None:
    lacking = (data.items["split_1"] == "val").to_numpy()
    inputs = {"sound": write_feature(tmp_path / "gappy", data.items, data.labels, lacking=lacking)}
    for type_, parameters in (("single", {"hidden": [8, 9]}), ("single", {"learning_rate": [0.01, 0.1]})):
        with pytest.raises(TrainingError, match="No validation item has sound"):
            data.sweep(tmp_path, swept(type_, parameters), inputs=inputs)

"""`train_scheme` from feature shards to files: known answers, reproducibility, missing modalities, clear errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from scheme_data import OVER_SCHEMES, make_items, settings, write_feature

from braid import config, metrics
from braid.errors import FeatureError, StoreError, TrainingError
from braid.schemes.model import Model
from braid.schemes.registry import REGISTRY
from braid.schemes.results import read_predictions
from braid.schemes.train import train_scheme
from braid.store.features import FeatureWriter
from braid.store.gather import gather

N_CLASSES = 6
SIZES = {"train": 120, "val": 60, "test": 360, "predict": 6}
FAST_EARLY = {"hidden": 64, "learning_rate": 0.003, "epochs": 40}
FAST = {"learning_rate": 0.003, "epochs": 30, "width": 32}


class Data:
    """Two modalities that each tell half of the class: sound tells 2 groups, picture 3; `strong` tells nearly all."""

    def __init__(self, folder: Path) -> None:
        self.items, self.labels = make_items(SIZES, N_CLASSES)
        rng = np.random.default_rng(0)
        lacking = rng.random((2, len(self.labels))) < 0.05
        lacking[:, -1] = True  # the last item has neither
        self.lacking = lacking
        self.classes = [f"class {c}" for c in range(N_CLASSES)]
        told = np.where(np.arange(N_CLASSES) % 2 == self.labels[:, None] % 2, 1 / 3, 0)  # as the sound, but for sure
        self.features = {
            "sound": write_feature(folder / "sound", self.items, self.labels % 2, lacking=lacking[0], seed=1),
            "picture": write_feature(folder / "picture", self.items, self.labels // 2, lacking=lacking[1], seed=2),
            "strong": write_feature(folder / "strong", self.items, self.labels, noise=1.2, seed=3),
            "noise": write_feature(folder / "noise", self.items, self.labels * 0, seed=4),
            "named": write_feature(
                folder / "named", self.items, self.labels, lacking=lacking[0], scores=told, classes=self.classes
            ),
        }

    def train(self, out: Path, type_: str, names: list[str], seed: int = 0, **changes: Any) -> dict[str, Any]:
        """Train a scheme and return its metrics; where it reads schemes, single ones of these features first."""
        items = changes.pop("items", self.items)
        inputs = self.features
        if type_ in OVER_SCHEMES:
            inputs = {name: [out / name / "predictions.h5"] for name in names}
            single = {"epochs": changes.pop("epochs", 30), "monitor": "val_loss"}
            for name in names:
                self.train(out / name, "single", [name], seed, items=items, **single)
        speed = {key: value for key, value in FAST.items() if key in config.types("schemes")[type_]["properties"]}
        entry = settings(type_, names, **speed | changes)
        train_scheme(items, "1", inputs, entry, seed, out)
        return json.loads((out / "metrics.json").read_text())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    return Data(tmp_path_factory.mktemp("features"))


@pytest.fixture(scope="module")
def accuracy(data: Data, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., float]:
    """The mean test accuracy of a scheme over three seeds, since one training moves by a point or two."""
    out = tmp_path_factory.mktemp("accuracy")

    @cache
    def mean(type_: str, *features: str, **changes: Any) -> float:
        reports = [data.train(out, type_, list(features), seed, **changes) for seed in range(3)]
        return float(np.mean([report["test"]["accuracy"] for report in reports]))

    return mean


def modalities(type_: str) -> list[str]:
    return {"single": ["sound"], "calibrated": ["sound"], "scores": ["named"]}.get(type_, ["sound", "picture"])


def epochs(type_: str, n: int) -> dict[str, Any]:
    """Return the setting, of schemes that are trained."""
    return {} if type_ == "scores" else {"epochs": n}


@pytest.mark.parametrize("type_", REGISTRY)
def test_learns_what_its_modalities_tell(type_: str, data: Data, tmp_path: Path) -> None:
    # Of two unsure parts the mean stays unsure; the product knows.
    combine: dict[str, Any] = {"combine": "scalar_weights"} if type_ == "ensemble" else {}
    report = data.train(tmp_path, type_, modalities(type_), **epochs(type_, 60), **combine)
    predictions = read_predictions(tmp_path / "predictions.h5")
    complete = (np.array(predictions.splits) == "test") & predictions.present.all(axis=1)
    accuracy = (predictions.probabilities.argmax(axis=1) == predictions.labels)[complete].mean()
    if len(modalities(type_)) == 1:  # which of three classes the sound cannot tell
        assert abs(accuracy - 1 / 3) < 3 * np.sqrt(2 / 9 / complete.sum())
    else:
        assert accuracy > 0.95
    assert (report["n_parameters"] > 0) == (type_ != "scores")
    assert predictions.items == data.items["item"].to_list()
    assert predictions.classes == [f"class {c}" for c in range(N_CLASSES)]
    rows = np.array(predictions.splits) == "test"
    groups = data.items["group"].to_numpy()[rows]
    again = metrics.evaluate(predictions.labels[rows], predictions.probabilities[rows], predictions.classes, groups)
    assert again == report["test"]
    assert (predictions.labels[-SIZES["predict"] :] == -1).all()
    np.testing.assert_allclose(predictions.probabilities.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("type_", REGISTRY)
def test_same_seed_same_bytes_whatever_the_threads(type_: str, data: Data, tmp_path: Path) -> None:
    features = modalities(type_)
    n_threads = torch.get_num_threads()
    try:
        for name, seed, threads in (("a", 0, 1), ("b", 0, 2), ("c", 1, 1)):
            torch.set_num_threads(threads)
            torch.rand(threads)  # the state of the caller's generator must not matter
            data.train(tmp_path / name, type_, features, seed, **epochs(type_, 3))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(n_threads)
    for file in ("predictions.h5", "history.csv"):
        a, b, c = ((tmp_path / name / file).read_bytes() for name in "abc")
        assert a == b
        assert a != c or type_ == "scores" or (type_ in OVER_SCHEMES and file == "history.csv")


@pytest.mark.parametrize("type_", REGISTRY)
def test_items_without_a_modality_are_kept(type_: str, data: Data, tmp_path: Path) -> None:
    features = modalities(type_)
    report = data.train(tmp_path, type_, features, **epochs(type_, 3))
    predictions = read_predictions(tmp_path / "predictions.h5")
    columns = [["sound", "picture"].index(name.replace("named", "sound")) for name in features]
    assert np.array_equal(predictions.present, ~data.lacking[columns].T)
    without = ~predictions.present.any(axis=1)
    prior = np.full(N_CLASSES, 1 / N_CLASSES, dtype=np.float32)  # the classes of train are balanced
    assert without.any()
    np.testing.assert_allclose(predictions.probabilities[without], np.tile(prior, (without.sum(), 1)), rtol=1e-6)
    assert report["answered_by_prior"] == without.sum()
    for split, counts in report["lacking"].items():
        rows = np.array(predictions.splits) == split
        assert counts == dict(zip(features, (~predictions.present[rows]).sum(axis=0), strict=True))
    assert report["test"]["n"] == SIZES["test"]


@pytest.mark.parametrize("type_", ["late", "double"])
@pytest.mark.parametrize(
    ("combine", "fit_on"),
    [(name, "val") for name in ("mean", "linear_pool", "scalar_weights", "class_weights", "linear")]
    + [("linear", "out_of_fold")],
)
@pytest.mark.parametrize("other", ["noise", "sound"])
def test_late_fusion_does_not_fall_below_the_best_modality(
    type_: str, combine: str, fit_on: str, other: str, accuracy: Callable[..., float]
) -> None:
    best = max(accuracy("single", "strong"), accuracy("single", other))
    assert accuracy(type_, "strong", other, combine=combine, fit_on=fit_on) >= best - 0.02


def test_best_epoch_is_kept_and_training_stops_early(data: Data, tmp_path: Path) -> None:
    report = data.train(tmp_path, "double", ["strong", "noise"], patience=4, epochs=50)
    history = pl.read_csv(tmp_path / "history.csv")
    assert history.columns[:2] == ["part", "epoch"]
    assert set(report["best_epoch"]) == {"strong", "noise", "strong+noise"}
    for (part,), rows in history.group_by("part"):
        best = rows.sort("val_loss", "epoch").row(0, named=True)  # double watches the loss
        assert report["best_epoch"][part] == best["epoch"]
        assert rows.filter("kept")["epoch"].to_list() == [best["epoch"]]
        assert rows["epoch"].to_list() == list(range(1, len(rows) + 1))
        assert len(rows) == min(best["epoch"] + 4, 50)
    assert len(history.filter(pl.col("part") == "noise")) < 50


@pytest.mark.parametrize("monitor", ["val_loss", "val_accuracy"])
def test_the_tested_weights_are_those_of_the_best_epoch(monitor: str, data: Data, tmp_path: Path) -> None:
    report = data.train(tmp_path, "single", ["strong"], monitor=monitor, patience=30)
    history = pl.read_csv(tmp_path / "history.csv")
    (best,) = history.filter("kept").iter_rows(named=True)
    extreme = history["val_loss"].min() if monitor == "val_loss" else history["val_accuracy"].max()
    assert best[monitor] == extreme
    assert best["epoch"] == history.filter(pl.col(monitor) == extreme)["epoch"].min()
    assert report["val"]["log_loss"] == pytest.approx(best["val_loss"], rel=1e-5)
    assert report["val"]["accuracy"] == pytest.approx(best["val_accuracy"])


def test_scaling_and_prior_come_from_train_alone(data: Data, tmp_path: Path) -> None:
    """Other numbers, labels and modalities outside of train and val leave the model as it is."""
    data.train(tmp_path / "a", "early", ["sound", "picture"], epochs=3)
    fewer = data.items.filter(pl.col("split_1").is_in(["train", "val"]))
    data.train(tmp_path / "b", "early", ["sound", "picture"], epochs=3, items=fewer)
    a, b = (Model.load(tmp_path / name / "model.safetensors").state_dict() for name in "ab")
    assert all(torch.equal(tensor, b[name]) for name, tensor in a.items())
    here = (data.items["split_1"] == "train").to_numpy() & ~data.lacking[0]
    x, _ = gather(data.features["sound"], data.items["item"].to_list(), data.items["shard"].to_list())
    np.testing.assert_allclose(a["scalings.0.mean"], x[here].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(a["scalings.0.scale"], 1 / x[here].std(axis=0), rtol=1e-4)


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
@pytest.mark.parametrize("schedule", ["cosine_warm_restarts", "reduce_on_plateau", "constant"])
def test_optimisers_and_schedules(optimizer: str, schedule: str, data: Data, tmp_path: Path) -> None:
    changes = {"optimizer": optimizer, "schedule": schedule, "learning_rate": 0.1, "plateau_patience": 0}
    data.train(tmp_path, "early", ["strong"], **changes, epochs=40, patience=40)
    history = pl.read_csv(tmp_path / "history.csv")
    assert history["train_loss"][-1] < history["train_loss"][0]
    rates = history["learning_rate"].to_numpy()
    if schedule == "constant":
        assert (rates == 0.1).all()
    elif schedule == "cosine_warm_restarts":
        turns = np.concatenate([np.arange(10) / 10, np.arange(20) / 20])
        np.testing.assert_allclose(rates[:30], 0.05 * (1 + np.cos(np.pi * turns)))
    else:
        rate, best = 0.1, np.inf
        for got, val_loss in zip(rates, history["val_loss"], strict=True):
            assert got == pytest.approx(rate, abs=2e-8)  # differences below 1e-8 are not taken
            rate, best = (rate, val_loss) if val_loss < best * (1 - 1e-4) else (0.1 * rate, best)
        assert rates[-1] < 0.1


def changed(items: pl.DataFrame, where: pl.Expr, **values: Any) -> pl.DataFrame:
    return items.with_columns(
        pl.when(where).then(pl.lit(value)).otherwise(pl.col(name)).alias(name) for name, value in values.items()
    )


IN = {split: pl.col("split_1") == split for split in SIZES}


@pytest.mark.parametrize(
    ("where", "values", "message"),
    [
        (IN["val"], {"split_1": "train"}, r"Fold 1 has no val items.*write `val` into the column split"),
        (IN["train"], {"split_1": None}, r"Fold 1 has no train items"),
        (pl.col("label").is_not_null(), {"label": "one"}, r"All items have the label 'one'"),
        (IN["test"], {"label": "<new>"}, r"no training items of '<new>'"),
        (IN["val"], {"label": None}, r"60 val items of fold 1 have no label, the first is 'item 120'"),
    ],
)
def test_folds_that_cannot_be_trained_on(
    where: pl.Expr, values: dict[str, Any], message: str, data: Data, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match=message):
        data.train(tmp_path, "early", ["strong"], items=changed(data.items, where, **values))
    assert list(tmp_path.iterdir()) == []


def test_scores_need_no_training_item_of_each_class(data: Data, tmp_path: Path) -> None:
    without = data.items.filter(~(IN["train"] & (pl.col("label") == "class 3")))
    report = data.train(tmp_path, "scores", ["named"], items=without)
    assert report["test"]["per_class"][3]["support"] == SIZES["test"] / N_CLASSES
    with pytest.raises(TrainingError, match=r"no training items of 'class 3'"):
        data.train(tmp_path, "early", ["strong"], items=without)


@pytest.mark.parametrize("how", ["probabilities", "logits"])
def test_scores_are_in_the_order_of_the_labels(how: str, data: Data, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(len(data.labels), N_CLASSES)).astype(np.float32)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    turned = {"scores": (logits if how == "logits" else p)[:, ::-1], "classes": data.classes[::-1], "how": how}
    named = write_feature(tmp_path / "named", data.items, data.labels, **turned)
    train_scheme(data.items, "1", {"named": named}, settings("scores", ["named"]), 0, tmp_path / "out")
    np.testing.assert_allclose(read_predictions(tmp_path / "out" / "predictions.h5").probabilities, p, atol=1e-5)


def test_scores_of_other_classes_are_refused(data: Data, tmp_path: Path) -> None:
    named = write_feature(tmp_path / "named", data.items, data.labels, scores=np.ones((546, 2)), classes=["cat", "dog"])
    with pytest.raises(FeatureError, match=r"classes \['cat', 'dog'\], but the labels are \['class 0'"):
        train_scheme(data.items, "1", {"named": named}, settings("scores", ["named"]), 0, tmp_path / "out")


@pytest.mark.parametrize(
    "combine", ["mean", "own_confidence", "class_precision", "scalar_weights", "linear", "sharpen"]
)
def test_an_ensemble_of_a_good_scheme_and_noise_keeps_the_good_one(combine: str, data: Data, tmp_path: Path) -> None:
    report = data.train(tmp_path, "ensemble", ["strong", "noise"], combine=combine)
    strong = json.loads((tmp_path / "strong" / "metrics.json").read_text())
    assert report["test"]["accuracy"] > strong["test"]["accuracy"] - 0.02
    assert report["best_epoch"] == {}
    assert pl.read_csv(tmp_path / "history.csv").is_empty()


def test_calibration_lowers_the_log_loss_and_leaves_the_accuracy(data: Data, tmp_path: Path) -> None:
    report = data.train(tmp_path, "calibrated", ["sound"])
    sound = json.loads((tmp_path / "sound" / "metrics.json").read_text())
    assert report["val"]["log_loss"] <= sound["val"]["log_loss"]
    assert report["test"]["accuracy"] == sound["test"]["accuracy"]


def test_smoothing_within_clips_votes(data: Data, tmp_path: Path) -> None:
    """Ten items of one class a clip: their mean is right where most of them are."""
    train = data.items.with_row_index("i")
    clip = pl.concat_str(pl.col("split_1"), pl.lit(" "), (pl.col("i") % N_CLASSES).cast(pl.String), pl.lit(" "))
    items = train.with_columns(clip=clip + (pl.col("i") // (10 * N_CLASSES)).cast(pl.String)).drop("i")
    accuracy = {
        smooth: data.train(tmp_path, "calibrated", ["strong"], items=items, smooth_within_clip=smooth)["test"][
            "accuracy"
        ]
        for smooth in (False, True)
    }
    assert accuracy[True] > accuracy[False] + 0.05
    assert accuracy[True] > 0.97


def test_predictions_of_other_items_are_refused(data: Data, tmp_path: Path) -> None:
    data.train(tmp_path / "sound", "single", ["sound"], epochs=1)
    inputs = {"sound": [tmp_path / "sound" / "predictions.h5"]}
    fewer = data.items.filter(pl.col("item") != "item 0")
    with pytest.raises(StoreError, match=r"predictions.h5 is of other items, splits or classes than the manifest"):
        train_scheme(fewer, "1", inputs, settings("calibrated", ["sound"]), 0, tmp_path / "out")


@pytest.mark.parametrize(
    "type_", ["single", "early", "intermediate", "gated", "tokens", "bottleneck", "late", "double"]
)
def test_one_item_in_a_class(type_: str, data: Data, tmp_path: Path) -> None:
    """It is learnt from like any other; out-of-fold scores of it come from parts that do not know its class."""
    items = data.items.with_row_index("i")
    one = items.filter(IN["train"] & (pl.col("label") == "class 2"))["i"][0]
    items = items.filter(~IN["train"] | (pl.col("label") != "class 2") | (pl.col("i") == one)).drop("i")
    names = ["strong"] if type_ == "single" else ["strong", "sound"]
    stacked: dict[str, Any] = {"combine": "linear", "fit_on": "out_of_fold"} if type_ in ("late", "double") else {}
    report = data.train(tmp_path, type_, names, items=items, epochs=5, **stacked)
    assert report["train"]["per_class"][2]["support"] == 1
    assert np.isfinite(read_predictions(tmp_path / "predictions.h5").probabilities).all()


@pytest.mark.parametrize("option", ["modality_dropout", "gradient_modulation"])
@pytest.mark.parametrize("type_", ["intermediate", "weighted"])
def test_training_options_change_training_and_still_learn(type_: str, option: str, data: Data, tmp_path: Path) -> None:
    changes: dict[str, Any] = {option: 0.2}
    names = ["sound", "picture"]
    plain = data.train(tmp_path / "plain", type_, names, epochs=40)
    other = data.train(tmp_path / "other", type_, names, epochs=40, **changes)
    assert plain["test"]["log_loss"] != other["test"]["log_loss"]
    assert other["test"]["accuracy"] > 0.8


def test_modality_dropout_helps_where_a_modality_goes_missing_only_in_the_test(data: Data, tmp_path: Path) -> None:
    """Trained without it, early fusion leans on the modality that tells more; with it, each must do alone."""
    lacking = (data.items["split_1"] == "test").to_numpy()
    gappy = write_feature(tmp_path / "gappy", data.items, data.labels, noise=0.3, lacking=lacking, seed=9)
    inputs = data.features | {"gappy": gappy}
    accuracy = {}
    for share in (0.0, 0.5):
        entry = settings("early", ["strong", "gappy"], **FAST_EARLY, modality_dropout=share)
        train_scheme(data.items, "1", inputs, entry, 0, tmp_path / "out")
        accuracy[share] = json.loads((tmp_path / "out" / "metrics.json").read_text())["test"]["accuracy"]
    assert accuracy[0.5] > accuracy[0.0] + 0.02


@pytest.mark.parametrize("type_", ["single", "late"])
@pytest.mark.parametrize(("split", "message"), [("train", "No training item"), ("val", "No validation item")])
def test_a_modality_missing_for_a_whole_split(type_: str, split: str, message: str, data: Data, tmp_path: Path) -> None:
    lacking = (data.items["split_1"] == split).to_numpy()
    gappy = write_feature(tmp_path / "gappy", data.items, data.labels, lacking=lacking)
    names = ["gappy"] if type_ == "single" else ["strong", "gappy"]
    with pytest.raises(TrainingError, match=f"{message}.*gappy"):
        train_scheme(data.items, "1", data.features | {"gappy": gappy}, settings(type_, names), 0, tmp_path / "out")


def test_a_modality_missing_for_the_whole_test_split(data: Data, tmp_path: Path) -> None:
    lacking = (data.items["split_1"] == "test").to_numpy()
    gappy = write_feature(tmp_path / "gappy", data.items, data.labels, lacking=lacking)
    train_scheme(data.items, "1", {"gappy": gappy}, settings("single", ["gappy"], epochs=3), 0, tmp_path / "out")
    report = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert report["test"]["log_loss"] == pytest.approx(np.log(N_CLASSES), rel=1e-5)


@pytest.mark.parametrize("type_", [name for name in REGISTRY if name not in ("scores", *OVER_SCHEMES)])
def test_constant_features_are_survived(type_: str, data: Data, tmp_path: Path) -> None:
    names = ["constant"] if type_ == "single" else ["constant", "other"]
    inputs = {name: write_feature(tmp_path / name, data.items, data.labels * 0, noise=0) for name in names}
    train_scheme(data.items, "1", inputs, settings(type_, names, epochs=3), 0, tmp_path / "out")
    p = read_predictions(tmp_path / "out" / "predictions.h5").probabilities
    assert np.isfinite(p).all()
    if type_ not in ("tokens", "bottleneck"):  # whose tokens still have their times
        np.testing.assert_allclose(p, np.tile(p[0], (len(p), 1)), atol=1e-6)


@pytest.mark.parametrize("combine", ["mean", "temperature", "vector", "sharpen"])
def test_probabilities_of_exactly_0_are_survived(combine: str, data: Data, tmp_path: Path) -> None:
    """The scores are 1/3 for three classes and 0 for the others, and for some items that is wrong."""
    told = np.where(np.arange(N_CLASSES) % 2 == data.labels[:, None] % 2, 1 / 3, 0)
    told[::7] = 1 / 3 - told[::7]
    named = write_feature(tmp_path / "named", data.items, data.labels, scores=told, classes=data.classes)
    train_scheme(data.items, "1", {"named": named}, settings("scores", ["named"]), 0, tmp_path / "scores")
    inputs = {"named": [tmp_path / "scores" / "predictions.h5"]}
    train_scheme(data.items, "1", inputs, settings("calibrated", ["named"], combine=combine), 0, tmp_path / "out")
    before, after = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("scores", "out"))
    assert np.isfinite(read_predictions(tmp_path / "out" / "predictions.h5").probabilities).all()
    if combine != "mean":
        assert after["test"]["log_loss"] < before["test"]["log_loss"] - 1


@pytest.mark.parametrize("type_", ["tokens", "bottleneck"])
def test_an_extractor_without_tokens(type_: str, data: Data, tmp_path: Path) -> None:
    bare = []
    for shard in range(2):
        bare.append(tmp_path / "bare" / f"{shard}.h5")
        with FeatureWriter(bare[-1], {}) as writer:
            for item in data.items["item"].to_list()[shard::2]:
                writer.append(item, np.ones(4, np.float32))
    with pytest.raises(TrainingError, match=r"No training item of fold 1 has the tokens of the feature 'bare'"):
        train_scheme(
            data.items, "1", data.features | {"bare": bare}, settings(type_, ["sound", "bare"]), 0, tmp_path / "out"
        )


def test_unlabelled_test_items_have_no_metrics(data: Data, tmp_path: Path) -> None:
    report = data.train(tmp_path, "early", ["strong"], epochs=2, items=changed(data.items, IN["test"], label=None))
    assert report["test"] is None
    assert report["val"]["n"] == SIZES["val"]


def test_a_loss_that_is_not_finite(data: Data, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"loss of strong is not finite in epoch 1; lower `learning_rate`"):
        data.train(tmp_path, "early", ["strong"], optimizer="sgd", learning_rate=1e38)


def test_items_that_no_shard_has(data: Data, tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match="in none of the"):
        train_scheme(
            data.items, "1", {"strong": data.features["strong"][:1]}, settings("early", ["strong"]), 0, tmp_path / "out"
        )


def test_foreign_and_truncated_files(data: Data, tmp_path: Path) -> None:
    data.train(tmp_path, "early", ["strong"], epochs=1)
    for name, read in (("predictions.h5", read_predictions), ("model.safetensors", Model.load)):
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[:50])
        with pytest.raises(StoreError, match=f"{name}.*delete it and train again"):
            read(path)

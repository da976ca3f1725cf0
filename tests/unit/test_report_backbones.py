"""The report on trained backbones: its tables against hand calculations, and what the page says of them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from report_results import Experiment

from braid import SCHEMAS
from braid.files import write_text
from braid.report import backbones, outputs
from braid.report.build import build_report
from braid.report.collect import collect
from braid.store.features import FeatureWriter

TEMPLATE = SCHEMAS.parent / "report" / "report.html.j2"
N_VIEWS, N_CROPS = 4, 2
VIEW = {"views": N_VIEWS, "placement": "even", "crops": N_CROPS, "crop_layout": "line"}
READER = {"type": "backbone", "backbone": "moves", "tokens": "views", "scores": "logits", "pooling": ["mean"], **VIEW}
MOVES = {"type": "x3d", "architecture": "tiny", "weights": "random", "input": "flow", "flow": "dis", "order_test": 5}


class Trained(Experiment):
    """Two backbones, one of which is an extractor; view j is right about every item but those with i % 8 > j."""

    def config(self) -> dict[str, Any]:
        config = super().config()
        config["backbones"] = {"moves": MOVES, "ears": {"type": "logmel", "architecture": "b1", "weights": "random"}}
        config["extractors"]["reader"] = READER
        config["flow"]["dis"] = {"type": "dis"}
        return config

    def write(self, folder: Path) -> Path:
        results = super().write(folder)
        items = pl.read_csv(folder / "clips.tsv", separator="\t")
        classes = sorted(self.classes)
        for fold in range(1, self.n_folds + 1):
            attrs = {"classes": classes, "settings": READER, "backbone": MOVES, "weights": "0" * 64, "dtype": "float32"}
            attrs |= {"source": {"flow": {"settings": {}, "versions": {}, "weights": "none"}}, "device": "cpu"}
            with FeatureWriter(results / "features" / "reader" / f"fold{fold}" / "s0.h5", attrs) as features:
                for i, (item, label) in enumerate(items.select("item", "label").iter_rows()):
                    true = classes.index(label) if label else 0
                    named = [true if j >= i % 8 else (true + 1) % len(classes) for j in range(N_VIEWS * N_CROPS)]
                    logits = np.eye(len(classes), dtype=np.float32)[named]
                    features.append(item, np.ones(2, np.float32), scores=logits.mean(axis=0), view_scores=logits)
            for name, flops in (("moves", 96_400_000), ("ears", 5_500_000_000)):
                self._training(results / "backbones" / name / f"fold{fold}", fold, flops)
            write_text(results / "backbones" / "moves" / f"fold{fold}" / "order.json", json.dumps(ORDER))
        write_text(results / "flow" / "dis" / "examples.json", '{"wheel": "data:,", "bound": 1, "examples": []}')
        return results

    def _training(self, folder: Path, fold: int, flops: int) -> None:
        told = {"val": {"accuracy": 0.5 + 0.1 * fold}, "parameters": 890_000, "flops": flops, "epochs": 4}
        told |= {"best_epoch": 2, "seconds": 60.0 * fold, "dtype": "float32", "device": "cpu"}
        write_text(folder / "metrics.json", json.dumps(told))
        epochs = np.arange(1, 5)
        columns = {f"{split}_loss": 1 / epochs for split in ("train", "val")}
        columns |= {f"{split}_accuracy": epochs / 5 for split in ("train", "val")}
        pl.DataFrame({"epoch": epochs, **columns, "kept": epochs == 2}).write_csv(folder / "history.csv")


ORDER = {
    "split": "test",
    "n": 30,
    "lacking": 0,
    "seed": 0,
    "conditions": [
        {"order": "ordered", "right": 24, "accuracy": 0.8},
        {"order": "reversed", "right": 12, "accuracy": 0.4, "only_ordered": 14, "only_this": 2, "p": 0.004},
        {"order": "repeated", "right": 9, "accuracy": 0.3, "only_ordered": 15, "only_this": 0, "p": 6e-5},
        {"order": "shuffled", "right": 15, "accuracy": 0.5, "only_ordered": 10, "only_this": 1, "p": 0.01},
        {"order": "shuffled", "right": 18, "accuracy": 0.6, "only_ordered": 7, "only_this": 1, "p": 0.07},
    ],
    "shuffled": {"permutations": 2, "accuracy": 0.55, "sd": 0.0707, "p": 0.02},
}


@pytest.fixture(scope="module")
def experiment() -> Trained:
    return Trained(n_folds=2)


@pytest.fixture(scope="module")
def results(experiment: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = experiment.write(tmp_path_factory.mktemp("backbones"))
    build_report(results, experiment.config(), TEMPLATE)
    return results


def table(results: Path, name: str) -> pl.DataFrame:
    return pl.read_csv(results / "tables" / f"{name}.csv")


def text_of(results: Path) -> str:
    page = (results / "report.html").read_text(encoding="utf-8")
    section = page[page.index('<section id="backbones"') : page.index('<section id="flow"')]
    return re.sub(r"\s+", " ", re.sub(r"<svg.*?</svg>|<[^>]+>", " ", section, flags=re.DOTALL))


def test_exactly_the_listed_files_are_written(experiment: Trained, results: Path) -> None:
    files = [*results.glob("*.*"), *results.glob("tables/*"), *results.glob("figures/*")]
    assert {str(path.relative_to(results)) for path in files} == set(outputs(experiment.config()))


def test_without_backbones_nothing_is_said_of_them(tmp_path: Path) -> None:
    results = Experiment().write(tmp_path)
    build_report(results, Experiment().config(), TEMPLATE)
    page = (results / "report.html").read_text(encoding="utf-8")
    assert 'id="backbones"' not in page and '"#backbones"' not in page
    assert not (results / "tables" / "backbones.csv").exists()


def test_grids_against_the_rule_by_which_views_are_right(experiment: Trained, results: Path) -> None:
    """With one view and one crop that is the second view's first crop, view 2: right where i % 8 <= 2."""
    found = collect(results, experiment.config())
    judged = found.items.with_row_index().filter(split_1="test")["index"].to_numpy()
    views = table(results, "views")
    one = views.filter(views=1, crops=1)
    assert one["n"].unique().to_list() == [2 * len(judged)]  # two folds with the same items
    np.testing.assert_allclose(one["accuracy"], (judged % 8 <= 2).mean())
    full = views.filter(views=4, crops=2, average="logits")
    right = 8 - judged % 8  # views that are right; of 4 and 4 the first class wins
    assert (right > 4).mean() <= full["accuracy"][0] <= (right >= 4).mean()
    assert views.filter("chosen").select("views", "crops", "average").rows() == [(4, 2, "logits")]
    assert views.group_by("average").len()["len"].to_list() == [3 * 2] * 3  # 1, 2, 4 views by 1, 2 crops


def test_table_of_backbones(results: Path) -> None:
    rows = {row["backbone"]: row for row in table(results, "backbones").iter_rows(named=True)}
    moves, ears = rows["moves"], rows["ears"]
    assert moves["gflops"] == pytest.approx(0.0964) and ears["gflops"] == pytest.approx(5.5)
    assert moves["val_accuracy"] == pytest.approx(0.65) and moves["seconds"] == pytest.approx(90)
    assert moves["val_accuracy_sd"] == pytest.approx(0.1 / np.sqrt(2))
    assert (moves["extractor"], moves["views"], moves["crops"]) == ("reader", 4, 2)
    assert moves["accuracy"] == table(results, "views").filter("chosen")["accuracy"][0]
    assert ears["extractor"] is None and ears["accuracy"] is None and ears["input"] == "sound"


def test_table_of_orders(results: Path) -> None:
    orders = table(results, "orders")
    assert orders.height == 2 * 6 and orders["backbone"].unique().to_list() == ["moves"]
    mean = orders.filter(order="shuffled, mean", fold=1).row(0, named=True)
    assert (mean["accuracy"], mean["permutations"], mean["p"]) == (0.55, 2, 0.02)
    reverse = orders.filter(order="reversed", fold=2).row(0, named=True)
    assert (reverse["only_ordered"], reverse["only_this"], reverse["p"]) == (14, 2, 0.004)


def test_what_the_page_says(results: Path) -> None:
    text = text_of(results)
    assert "moves x3d tiny · from scratch" in text and "0.0964" in text and "890 000" in text
    assert "0.650" in text and "reader 4 × 2 views" in text
    assert "reversed 0.400 −40.0 points 14 2 0.004" in text
    assert "one, repeated 0.300 −50.0 points 15 0 &lt; 0.001" in text
    assert "shuffled 2 permutations 0.550 ± 0.071 −25.0 points – – 0.020" in text
    assert text.count("What order in time is worth to moves, fold") == 2


def test_weights_of_backbones_are_told_and_not_warned_of(results: Path) -> None:
    rows = {row["name"]: row for row in table(results, "extractors").iter_rows(named=True)}
    assert rows["moves"]["weights"] == "from scratch" and rows["reader"]["weights"] == "trained here: moves"
    assert rows["dis"]["section"] == "flow"
    warned = (results / "report.html").read_text(encoding="utf-8").partition("ran with")[0]
    assert "moves" not in warned.rpartition("Random weights")[2]


def test_the_darkest_cell_is_the_highest(experiment: Trained, results: Path) -> None:
    found = collect(results, experiment.config())
    (shown,) = backbones.grids(found, backbones.views(found))
    cells = [cell for row in shown["rows"] for cell in row["cells"]]
    highest, lowest = max(cells, key=lambda cell: cell["share"]), min(cells, key=lambda cell: cell["share"])
    assert (highest["share"], lowest["share"]) == (1, 0)
    assert highest["accuracy"] == max(cell["accuracy"] for cell in cells)
    assert [[cell["crops"] for cell in row["cells"]] for row in shown["rows"]] == [[1, 2]] * 3

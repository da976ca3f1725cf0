"""`braid.open`: what comes back is what the stages wrote, and what is not there is named with what makes it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import notebooks
import numpy as np
import pytest
from report_results import PROBLEMS, Experiment

import braid
from braid import SCHEMAS, index
from braid.errors import BraidError, FeatureError, StoreError
from braid.report.build import build_report
from braid.schemes.results import read_predictions
from braid.store.features import FeatureWriter

ROOT = SCHEMAS.parents[1]
PROBLEM = "k1\t7.mp4\t7.mp4\taudio\tmissing\tthe file has no sound\ts0\n"
EXPERIMENT = Experiment(
    accuracies={"sound": 0.3, "early": 0.9}, n_items=48, n_folds=2, seeds=(0, 3), problems=PROBLEMS + PROBLEM
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = EXPERIMENT.write(tmp_path_factory.mktemp("run"))
    build_report(folder, EXPERIMENT.config(), SCHEMAS.parent / "report" / "report.html.j2")
    return folder


@pytest.fixture
def unfinished(tmp_path: Path) -> Path:
    """A folder without its report, whose last scheme has not been trained."""
    folder = EXPERIMENT.write(tmp_path)
    shutil.rmtree(folder / "schemes" / "early")
    return folder


def write_features(path: Path, items: list[str], width: int = 3, n_classes: int = 0, n_tokens: int = 0) -> None:
    """Write a shard whose numbers say which item they are of; items called `mute …` have no stream."""
    with FeatureWriter(path, {"weights": "random:0"}) as shard:
        for item in items:
            n = float(item.split()[1])
            if item.startswith("mute"):
                shard.append(item, None, status="missing", reason="no sound")
                continue
            shard.append(
                item,
                np.full(width, n, np.float32),
                scores=np.full(n_classes, -n, np.float32) if n_classes else None,
                tokens=np.full((n_tokens, 2), n, np.float32) if n_tokens else None,
                times=np.arange(2.0 * n_tokens).reshape(-1, 2) if n_tokens else None,
            )


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """A folder of two shards, the second with nothing usable, and a row of an item that is in no manifest any more."""
    rows = {"s0": ["clip 4", "clip 1", "mute 2"], "s1": ["mute 7"]}
    lines = ["item\tvideo\taudio\tlabel\tsplit\tshard"]
    for i, (shard, item) in enumerate((shard, item) for shard, items in rows.items() for item in items):
        (tmp_path / f"{i}.mp4").touch()
        lines.append(f"{item}\t{i}.mp4\t{i}.mp4\tcat\ttrain\t{shard}")
    (tmp_path / "clips.tsv").write_text("\n".join(lines) + "\n")
    results = tmp_path / "results" / "toy"
    index.update(tmp_path / "clips.tsv", results / "index")
    write_features(results / "features" / "ear" / "s0.h5", ["gone 9", *rows["s0"]], n_classes=2, n_tokens=2)
    write_features(results / "features" / "ear" / "s1.h5", rows["s1"])
    for fold, width in (("fold1", 3), ("fold2", 5)):
        for shard, items in rows.items():
            write_features(results / "features" / "words" / fold / f"{shard}.h5", items, width)
    return results


def test_features_are_in_the_order_of_the_index_and_nothing_is_padded_but_with_nan(shards: Path) -> None:
    features = braid.open(shards).features("ear")
    assert features.items == ["clip 1", "clip 4", "mute 2", "mute 7"]
    assert features.status == ["ok", "ok", "missing", "missing"]
    assert features.reason == ["", "", "no sound", "no sound"]
    assert features.scores is not None
    nan = np.nan
    np.testing.assert_array_equal(features.embedding, [[1] * 3, [4] * 3, [nan] * 3, [nan] * 3])
    np.testing.assert_array_equal(features.scores, [[-1] * 2, [-4] * 2, [nan] * 2, [nan] * 2])
    assert features.embedding.dtype == features.scores.dtype == np.float32
    assert features.attrs == {"weights": "random:0"}


def test_features_as_xarray_are_found_by_item(shards: Path) -> None:
    dataset = braid.open(shards).features("ear").to_xarray()
    assert dict(dataset.sizes) == {"item": 4, "number": 3, "class": 2}
    assert dataset["embedding"].sel(item="clip 4").values.tolist() == [4, 4, 4]
    assert dataset["status"].sel(item="mute 7").item() == "missing"


def test_features_of_each_fold(shards: Path) -> None:
    results = braid.open(shards)
    assert results.features("words", fold=1).embedding.shape == (4, 3)
    assert results.features("words", fold="2").embedding.shape == (4, 5)
    assert results.features("words", fold="2").scores is None
    with pytest.raises(StoreError, match=r"has features for each fold.* 1, 2, as in `fold='1'`"):
        results.features("words")
    with pytest.raises(StoreError, match="words has fold1, fold2"):
        results.features("words", fold=3)


def test_tokens_are_those_of_the_item(shards: Path) -> None:
    results = braid.open(shards)
    tokens, times = results.tokens("ear", "clip 4")
    assert tokens.tolist() == [[4, 4], [4, 4]]
    assert times.tolist() == [[0, 1], [2, 3]]
    assert len(results.tokens("ear", "mute 2")[0]) == 0
    assert results.tokens("words", "clip 4", fold=2)[0].shape == (0, 5)
    with pytest.raises(StoreError, match=r"has no item 'gone 9'; the first of its 4 is 'clip 1'"):
        results.tokens("ear", "gone 9")


def test_features_that_are_older_than_an_item_are_refused(shards: Path) -> None:
    write_features(shards / "features" / "ear" / "s0.h5", ["clip 1", "mute 2"])
    with pytest.raises(FeatureError, match=r"s0.h5 lacks 1 of 3 items, the first is 'clip 4'"):
        braid.open(shards).features("ear")


def test_predictions(folder: Path) -> None:
    table = braid.open(folder).predictions("early", fold=2, seed=3)
    written = read_predictions(folder / "schemes" / "early" / "fold2" / "seed3" / "predictions.h5")
    assert table.columns.tolist() == ["item", "split", "label", "guessed", "p(clap)", "p(jump)", "p(wave)"]
    assert table["item"].tolist() == written.items
    assert table["split"].tolist() == written.splits
    np.testing.assert_array_equal(table.filter(like="p("), written.probabilities)
    labels = [written.classes[label] if label >= 0 else "" for label in written.labels]
    assert table["label"].fillna("").tolist() == labels
    assert labels.count("") == (table["split"] == "predict").sum() == EXPERIMENT.n_predict
    assert table["guessed"].tolist() == [False] * len(table)


def test_metrics_are_the_numbers_of_each_run(folder: Path) -> None:
    table = braid.open(folder).metrics()
    assert len(table) == 2 * 2 * 2 * 3  # schemes, folds, seeds, splits
    for row in table.to_dict("records"):
        path = folder / "schemes" / row["scheme"] / f"fold{row['fold']}" / f"seed{row['seed']}" / "metrics.json"
        written = json.loads(path.read_text())[row["split"]]
        assert {name: row[name] for name in ("n", "accuracy", "log_loss", "macro_f1")} == {
            name: written[name] for name in ("n", "accuracy", "log_loss", "macro_f1")
        }


def test_problems_config_and_classes(folder: Path) -> None:
    results = braid.open(str(folder))
    assert results.problems().to_dict("records") == [
        dict(zip(PROBLEMS.strip().split("\t"), PROBLEM.strip().split("\t"), strict=True))
    ]
    assert results.config == EXPERIMENT.config()
    assert results.classes == ["clap", "jump", "wave"]
    assert results.provenance["folds"]["2"] == {"train": 24, "val": 12, "test": 12, "predict": 6, "unused": 0}


def test_what_is_no_results_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is no results folder, for it holds no index; name one as results/<name>"):
        braid.open(tmp_path)


def test_an_unfinished_run_gives_what_it_has_and_says_what_makes_the_rest(unfinished: Path) -> None:
    results = braid.open(unfinished)
    assert len(results.features("clip").items) == len(results.predictions("sound", 1, 0)) == 54
    with pytest.raises(StoreError) as caught:
        results.predictions("early", 1, 0)
    assert str(caught.value) == (
        f"{unfinished}/schemes/early/fold1/seed0/predictions.h5 is not there; {unfinished}/schemes has sound. If the "
        "config asks for it, make it with `snakemake results/toy/schemes/early/fold1/seed0/predictions.h5 --configfile "
        "FILE`, FILE being the config whose `name` is toy."
    )
    with pytest.raises(StoreError, match=r"provenance.json is not there; .* `snakemake results/toy/provenance.json"):
        _ = results.config
    with pytest.raises(StoreError, match=r"runs\.csv is not there"):
        results.metrics()


def test_metrics_of_a_run_that_goes_on_after_its_report_are_refused(unfinished: Path) -> None:
    unfinished = Experiment(n_items=48).write(unfinished.parents[1] / "again")
    build_report(unfinished, Experiment(n_items=48).config(), SCHEMAS.parent / "report" / "report.html.j2")
    path = unfinished / "schemes" / "late" / "fold1" / "seed1" / "metrics.json"
    metrics = json.loads(path.read_text())
    metrics["val"]["log_loss"] *= 2
    path.write_text(json.dumps(metrics))
    with pytest.raises(StoreError, match="late/fold1/seed1 was trained again after the report was written"):
        braid.open(unfinished).metrics()
    path.unlink()
    with pytest.raises(StoreError, match=r"late/fold1/seed1/metrics.json is not there"):
        braid.open(unfinished).metrics()


@pytest.mark.parametrize("package", ["pandas", "xarray"])
def test_without_the_extra_it_is_named(package: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    results = braid.open(folder)
    with pytest.raises(BraidError, match=rf"needs the package {package}.*pip install '\.\[notebook\]'"):
        _ = results.metrics() if package == "pandas" else results.features("clip").to_xarray()


def test_opening_costs_no_import_that_is_not_needed(folder: Path) -> None:
    code = """
import sys, braid
assert not {'numpy', 'polars', 'h5py'} & set(sys.modules)
results = braid.open(sys.argv[1])
results.features('clip'), results.config
assert not {'torch', 'pandas', 'xarray', 'scipy', 'matplotlib'} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code, folder], check=True)


def test_the_notebook_runs(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "results" / "demo")
    (tmp_path / "docs").mkdir()
    printed = notebooks.run(ROOT / "docs" / "results.ipynb", tmp_path / "docs").splitlines()
    assert printed == ["3 classes: clap jump wave", "schemes: sound early", "clip 00000 (0, 4) []"]


def test_the_notebook_is_kept_without_what_it_shows() -> None:
    cells = json.loads((ROOT / "docs" / "results.ipynb").read_text(encoding="utf-8"))["cells"]
    assert [cell["outputs"] for cell in cells if cell.get("outputs")] == []

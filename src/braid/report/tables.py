"""The tables of the report, one function a table; every number on the page is in one of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl

from braid import metrics
from braid.config import inputs_of
from braid.errors import StoreError
from braid.report.collect import Results, Run, judged_on
from braid.schemes.results import read_predictions

SCORES = (
    *("accuracy", "balanced_accuracy", "macro_precision", "macro_recall", "macro_f1", "weighted_f1", "kappa", "mcc"),
    *("log_loss", "macro_log_loss", "brier", "ece", "top5_accuracy"),
)
"""The metrics of `braid.metrics.evaluate` that are compared between schemes; the last one of more than ten classes."""

LABELLED = ("train", "val", "test")
SPLITS = (*LABELLED, "predict")
STATUSES = ("ok", "missing", "short", "damaged", "unreadable")


def judged_split(results: Results) -> str:
    """Return the split that schemes are compared on: `test`, or `val` where no test item has a label."""
    return judged_on(results.runs)


def labelled_items(results: Results, split: str) -> int:
    """Return how many labelled items are in `split` of at least one fold."""
    in_split = pl.any_horizontal([pl.col(f"split_{fold}") == split for fold in results.folds])
    return results.items.filter(in_split, pl.col("label").is_not_null()).height


def chance(results: Results) -> dict[str, float]:
    """Return what a guess reaches: `accuracy` of the most frequent class, `log_loss` of equal probabilities."""
    judged = judged_split(results)
    labels = pl.concat(
        results.items.filter(pl.col(f"split_{fold}") == judged, pl.col("label").is_not_null())["label"]
        for fold in results.folds
    )
    counts = labels.value_counts()["count"].to_list()
    return {"accuracy": max(counts) / sum(counts), "log_loss": math.log(len(results.index.classes))}


def splits(results: Results) -> list[dict[str, Any]]:
    """Return for each fold how many items are in each split; items of no split are `unused`."""
    rows = []
    for fold in results.folds:
        names = results.items[f"split_{fold}"].fill_null("unused")
        rows.append({"fold": fold} | {split: int((names == split).sum()) for split in (*SPLITS, "unused")})
    return rows


def runs(results: Results) -> pl.DataFrame:
    """One row a run and split: its metrics, and how the run was trained.

    `best_epoch` is that of the part which trained longest, where a scheme trains several.
    """
    rows = [
        {"scheme": run.scheme, "fold": run.fold, "seed": run.seed, "split": split, "n": run.metrics[split]["n"]}
        | {score: run.metrics[split][score] for score in SCORES if score in run.metrics[split]}
        | {"n_parameters": run.metrics["n_parameters"]}
        | {"best_epoch": max(run.metrics["best_epoch"].values(), default=None)}
        | {"seconds": run.metrics["seconds"]}
        for run in results.runs
        for split in LABELLED
        if run.metrics[split]
    ]
    return pl.DataFrame(rows, schema_overrides={"kappa": pl.Float64}, infer_schema_length=None)


def schemes(results: Results, all_runs: pl.DataFrame) -> pl.DataFrame:
    """One row a scheme, the best on val first: mean and standard deviation of each metric over folds and seeds.

    Among schemes of the same accuracy on val the lower log loss on val goes first.
    """
    judged = judged_split(results)
    rows = []
    for name, settings in results.config["schemes"].items():
        mine = all_runs.filter(scheme=name)
        row: dict[str, Any] = {"scheme": name, "type": settings["type"], "features": " + ".join(inputs_of(settings))}
        row |= {"runs": len(results.runs_of(name)), "parameters": mine["n_parameters"][0]}
        for split in dict.fromkeys(("val", judged)):
            for score in (score for score in SCORES if score in mine.columns):
                values = mine.filter(split=split)[score]
                row |= {f"{split}_{score}": values.mean(), f"{split}_{score}_sd": values.std()}
        trained = mine.unique(["fold", "seed"])
        row |= {"best_epoch": trained["best_epoch"].median(), "seconds": trained["seconds"].mean()}
        rows.append(row)
    table = pl.DataFrame(rows, infer_schema_length=None)
    return table.sort(["val_accuracy", "val_log_loss"], descending=[True, False], maintain_order=True)


def summed_confusion(results: Results, scheme: str) -> list[list[int]]:
    """Return the counts [C, C] of one scheme over all folds and seeds, true class in rows."""
    judged = judged_split(results)
    return np.sum([run.metrics[judged]["confusion"] for run in results.runs_of(scheme)], axis=0).tolist()


def confusions(results: Results) -> pl.DataFrame:
    """One row a scheme, true class and predicted class: the count over all folds and seeds."""
    classes = results.index.classes
    rows = [
        (scheme, true, predicted, count)
        for scheme in results.config["schemes"]
        for true, counts in zip(classes, summed_confusion(results, scheme), strict=True)
        for predicted, count in zip(classes, counts, strict=True)
    ]
    return pl.DataFrame(rows, schema=["scheme", "true", "predicted", "count"], orient="row")


def per_class(results: Results) -> pl.DataFrame:
    """One row a scheme and class, from the counts over all folds and seeds."""
    columns = ("class", "precision", "recall", "f1", "support", "predicted")
    rows = [
        {"scheme": scheme} | {column: row[column] for column in columns}
        for scheme in results.config["schemes"]
        for row in metrics.from_confusion(summed_confusion(results, scheme), results.index.classes)["per_class"]
    ]
    return pl.DataFrame(rows)


def streams(results: Results) -> pl.DataFrame:
    """One row an extractor: how many items have which status of the stream that it reads."""
    rows = [
        {"extractor": extractor} | {status: counts[status] for status in STATUSES}
        for extractor, counts in results.statuses.items()
    ]
    return pl.DataFrame(rows)


def extractors(results: Results) -> pl.DataFrame:
    """One row an extractor, then a backbone, then a flow method that is read: its type and weights, and how it was run.

    All but type and weights are as recorded with the features, the training or the flow. The weights of a backbone are
    those that its training began with; an extractor that is one has its name in their place.
    """
    trained = {training.backbone: training.metrics for training in results.trainings}
    recorded: dict[str, dict[str, Any]] = {"extractors": results.extractors, "backbones": trained, "flow": {}}
    for name, attrs in results.flow.items():
        recorded["flow"][name] = attrs | {"dtype": attrs["settings"].get("dtype", "float32")} | attrs["versions"]
    rows = [
        {"section": section, "name": name, "type": settings["type"], "weights": _weights(section, settings)}
        | {key: results.receipts[section].get(name, {}).get(key) for key in ("licence", "non_commercial", "citation")}
        | {key: attrs.get(key) for key in ("dtype", "device", "torch", "braid")}
        | {"weights_identity": attrs.get("weights") if {"weights", "backbone"} & settings.keys() else None}
        for section, entries in recorded.items()
        for name, attrs in entries.items()
        for settings in (results.config[section][name],)
    ]
    return pl.DataFrame(rows, infer_schema_length=None)


def _weights(section: str, settings: dict[str, Any]) -> str:
    if section == "backbones" and settings["weights"] == "random":
        return "from scratch"
    return f"trained here: {settings['backbone']}" if "backbone" in settings else settings.get("weights", "none")


def histories(results: Results) -> dict[str, list[pl.DataFrame]]:
    """Return the learning curves, one table a run: by scheme, or by scheme and part where a scheme trains several."""
    curves: dict[str, list[pl.DataFrame]] = {}
    for run in results.runs:
        parts = run.history.partition_by("part", maintain_order=True)
        for history in parts:
            title = run.scheme if len(parts) == 1 else f"{run.scheme}, {history['part'][0]}"
            curves.setdefault(title, []).append(history)
    return curves


def curves(results: Results) -> pl.DataFrame:
    """One row a run, part of a scheme that trains several, and epoch: what the learning curves are drawn from."""
    tables = [
        run.history.select(
            pl.lit(run.scheme).alias("scheme"), pl.lit(run.fold).alias("fold"), pl.lit(run.seed).alias("seed"), pl.all()
        )
        for run in results.runs
    ]
    return pl.concat(tables, how="diagonal_relaxed")


def to_predict(results: Results) -> list[str]:
    """Return the items that are in the split `predict` of at least one fold."""
    asked = pl.any_horizontal([pl.col(f"split_{fold}") == "predict" for fold in results.folds])
    return results.items.filter(asked)["item"].to_list()


def predictions(results: Results, scheme: str) -> pl.DataFrame:
    """One row an unlabelled item: its most probable class, whether that is a guess, and the probability of each class.

    Probabilities are the mean over seeds and over the folds in which the item is to be predicted. Where an item has
    none of the scheme's modalities they are the shares of the classes in train; `guessed` says so.
    """
    classes = results.index.classes
    items = to_predict(results)
    row_of = {item: row for row, item in enumerate(items)}
    total = np.zeros((len(items), len(classes)))
    times = np.zeros(len(items), dtype=np.int64)
    guessed = np.zeros(len(items), dtype=bool)
    for run in results.runs_of(scheme):
        ours, probabilities, lacking = _predicted(run, row_of, classes)
        total[ours] += probabilities
        times[ours] += 1
        guessed[ours] |= lacking
    if not times.all():
        raise StoreError(
            f"{scheme} predicts nothing for the item {items[int(times.argmin())]!r}, which is in the split `predict`; "
            f"train it again."
        )
    mean = total / times[:, None]
    labels = [classes[c] for c in mean.argmax(axis=1)]
    columns = {
        "item": pl.Series(items, dtype=pl.String),
        "label": pl.Series(labels, dtype=pl.String),
        "guessed": guessed,
    }
    return pl.DataFrame(columns | {f"p({name})": mean[:, c] for c, name in enumerate(classes)})


def _predicted(run: Run, row_of: dict[str, int], classes: list[str]) -> tuple[list[int], np.ndarray, np.ndarray]:
    """Return rows [n] of the items to be predicted, probabilities [n, C], and bool [n] where no modality is there."""
    predicted = read_predictions(run.predictions)
    if predicted.classes != classes:
        raise StoreError(f"{run.predictions} has other classes than the manifest; delete it and train again")
    theirs = [i for i, split in enumerate(predicted.splits) if split == "predict" and predicted.items[i] in row_of]
    ours = [row_of[predicted.items[i]] for i in theirs]
    return ours, predicted.probabilities[theirs], np.logical_not(predicted.present[theirs].any(axis=1))

"""What the report says of backbones: cost and accuracy, learning curves, grids of views, and what order is worth."""

from __future__ import annotations

from typing import Any

import matplotlib
import polars as pl
from matplotlib.figure import Figure

from braid.backbones import grid
from braid.report import figures, tables
from braid.report.collect import Results

COUNTED = {"average": pl.String, "views": pl.Int64, "crops": pl.Int64, "n": pl.Int64, "right": pl.Int64}


def readers(config: dict[str, Any]) -> list[str]:
    """Return the extractors that are trained backbones."""
    return [name for name, settings in config["extractors"].items() if settings["type"] == "backbone"]


def views(found: Results) -> pl.DataFrame:
    """One row an extractor, way to average and smaller grid of its views, see `braid.backbones.grid`.

    Items are the labelled ones of the split that schemes are judged on, of all folds together. `placement` says
    where the views lie, and `chosen` which row is the extractor's own: all its views, averaged as its `scores` are.
    """
    judged = tables.judged_split(found)
    of_shard = dict(found.items.select("item", "shard").iter_rows())
    rows = []
    for name in readers(found.config):
        settings = found.config["extractors"][name]
        parts = []
        for fold in found.folds:
            used = found.items.filter(pl.col(f"split_{fold}") == judged, pl.col("label").is_not_null())
            paths = [found.folder / "features" / name / f"fold{fold}" / f"{shard}.h5" for shard in found.index.shards]
            parts.append((paths, dict(used.select("item", "label").iter_rows())))
        counted = pl.DataFrame(list(grid.counts(parts, of_shard)), schema=COUNTED)
        most = (pl.col("views") == pl.col("views").max()) & (pl.col("crops") == pl.col("crops").max())
        rows.append(
            counted.select(
                pl.lit(name).alias("extractor"),
                pl.lit(settings["backbone"]).alias("backbone"),
                pl.lit(judged).alias("split"),
                "average",
                "views",
                "crops",
                "n",
                (pl.col("right") / pl.col("n")).alias("accuracy"),
                (most & (pl.col("average") == settings["scores"])).alias("chosen"),
            )
        )
    return pl.concat(rows) if rows else pl.DataFrame()


def backbones(found: Results, all_views: pl.DataFrame) -> pl.DataFrame:
    """One row a backbone and an extractor that is it: cost of one view, accuracy on val in training, and as extractor.

    `gflops` counts a multiply-add as two, for one view and without the reading of it; times and epochs are means over
    folds. `val_accuracy` is that of the weights that were kept, on the middle of each item or of each of its segments;
    `accuracy` that of all views of the extractor on the `split` that schemes are judged on.
    """
    rows = []
    for name, settings in found.config["backbones"].items():
        mine = [training for training in found.trainings if training.backbone == name]
        told = pl.DataFrame(
            [
                {"val": training.metrics["val"]["accuracy"]}
                | {key: training.metrics[key] for key in ("parameters", "flops", "best_epoch", "epochs", "seconds")}
                for training in mine
            ]
        )
        row: dict[str, Any] = {"backbone": name, "type": settings["type"], "architecture": settings["architecture"]}
        row |= {"input": settings.get("input", "sound"), "weights": settings["weights"], "folds": len(mine)}
        row |= {"parameters": told["parameters"][0], "gflops": told["flops"][0] / 1e9}
        row |= {"val_accuracy": told["val"].mean(), "val_accuracy_sd": told["val"].std()}
        row |= {key: told[key].mean() for key in ("best_epoch", "epochs", "seconds")}
        nobody = {"extractor": None, "split": None, "views": None, "crops": None, "n": None, "accuracy": None}
        own = all_views.filter("chosen", backbone=name).to_dicts() if all_views.height else []
        rows += [row | {key: each[key] for key in nobody} for each in own or [nobody]]
    return pl.DataFrame(rows, infer_schema_length=None)


def orders(found: Results) -> pl.DataFrame:
    """One row a backbone, fold and order of frames; see `braid.backbones.order`.

    Of shuffled frames there is a row for each permutation, and one of order `shuffled, mean` with the standard
    deviation over them and the p value of the flips of signs; the others have McNemar's exact test.
    """
    rows = []
    for training in found.trainings:
        if training.order is None:
            continue
        where = {"backbone": training.backbone, "fold": training.fold, "split": training.order["split"]}
        where |= {"n": training.order["n"]}
        empty = {"accuracy_sd": None, "permutations": None, "only_ordered": None, "only_this": None, "p": None}
        for each in training.order["conditions"]:
            told = {key: each[key] for key in ("only_ordered", "only_this", "p") if key in each}
            rows.append(where | {"order": each["order"], "accuracy": each["accuracy"]} | empty | told)
        mean = training.order["shuffled"]
        told = {"accuracy_sd": mean["sd"], "permutations": mean["permutations"], "p": mean["p"]}
        rows.append(where | {"order": "shuffled, mean", "accuracy": mean["accuracy"]} | empty | told)
    return pl.DataFrame(rows, infer_schema_length=None)


def order_tables(table: pl.DataFrame) -> list[dict[str, Any]]:
    """Return what the page shows of `orders`: for each backbone and fold its orders but for single permutations."""
    shown = table.filter(pl.col("order") != "shuffled") if table.height else table
    return [
        {"backbone": part["backbone"][0], "fold": part["fold"][0], "split": part["split"][0], "n": part["n"][0]}
        | {"rows": part.to_dicts(), "ordered": part.filter(order="ordered")["accuracy"][0]}
        for part in (shown.partition_by("backbone", "fold", maintain_order=True) if shown.height else [])
    ]


def grids(found: Results, table: pl.DataFrame) -> list[dict[str, Any]]:
    """Return what the page shows of `views`: for each extractor of several views its accuracies, as rows of columns.

    `share` of a cell is 0 for the lowest accuracy of the grid and 1 for the highest.
    """
    shown = []
    for name in readers(found.config):
        mine = table.filter(extractor=name, average=found.config["extractors"][name]["scores"])
        if mine.height < 2:
            continue
        low, high = mine.select(pl.min("accuracy"), pl.max("accuracy").alias("high")).row(0)
        mine = mine.with_columns(share=(pl.col("accuracy") - low) / ((high - low) or 1))
        rows = [
            {"views": part["views"][0], "cells": part.sort("crops").to_dicts()}
            for part in mine.partition_by("views", maintain_order=True)
        ]
        shown.append({"extractor": name, "average": mine["average"][0], "n": mine["n"][0], "rows": rows})
    return shown


def curves_of(found: Results) -> dict[str, list[pl.DataFrame]]:
    """Return the learning curves of each backbone, one table a fold."""
    curves: dict[str, list[pl.DataFrame]] = {}
    for training in found.trainings:
        curves.setdefault(training.backbone, []).append(training.history)
    return curves


@matplotlib.rc_context(figures.STYLE)
def curves(histories: dict[str, list[pl.DataFrame]]) -> str:
    """Draw loss and accuracy against epoch, a row a backbone, a line a fold; a dot marks the weights that were kept.

    Parameters
    ----------
    histories : backbone → one table a fold with the columns epoch, kept and {train,val}_{loss,accuracy}
    """
    figure = Figure(figsize=(9, 1.9 * len(histories) + 0.4))
    all_axes = figure.subplots(len(histories), 2, squeeze=False)
    for (backbone, runs), pair in zip(histories.items(), all_axes, strict=True):
        for axes, score in zip(pair, ("loss", "accuracy"), strict=True):
            figures.learning_curves(axes, runs, backbone, score)
    return figures.finish(figure, all_axes.flat[0])


def tabulate(found: Results) -> dict[str, pl.DataFrame]:
    """Return the tables of backbones that are written as csv, by their names; none where there is no backbone."""
    if not found.config["backbones"]:
        return {}
    all_views = views(found)
    return {"backbones": backbones(found, all_views), "views": all_views, "orders": orders(found)}


def draw(found: Results) -> dict[str, str]:
    """Return the figures of backbones as SVG, by their names; none where there is no backbone."""
    return {"backbones": curves(curves_of(found))} if found.trainings else {}


def shown(found: Results, data: dict[str, pl.DataFrame]) -> dict[str, Any]:
    """Return what the page says of backbones, from the tables of `tabulate`; nothing where there is none."""
    if not found.config["backbones"]:
        return {}
    return {
        "rows": data["backbones"].to_dicts(),
        "orders": order_tables(data["orders"]),
        "grids": grids(found, data["views"]),
    }

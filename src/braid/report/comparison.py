"""Schemes compared on the items that judge them: intervals, pairs, letters, and the bins of reliability diagrams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from braid.errors import StoreError
from braid.metrics.letters import letters
from braid.metrics.pairs import Comparison, Outcomes
from braid.metrics.sums import contributions
from braid.report.collect import Results, Run
from braid.report.tables import judged_split
from braid.schemes.results import read_predictions

ALPHA = 0.05
"""Schemes with a smaller p value after Holm are said to differ."""


def outcomes(results: Results, schemes: Sequence[str]) -> Outcomes:
    """Return what `schemes`, in this order, made of the labelled items of the split that judges them.

    Raises
    ------
    StoreError
        Runs of one fold do not judge the same items, so that their scores cannot be compared.
    """
    groups = dict(results.items.select("item", "group").iter_rows())
    judged = judged_split(results)
    items: list[str] = []
    folds: list[str] = []
    by_fold = []
    for fold in results.folds:
        runs = [[run for run in results.runs_of(scheme) if run.fold == fold] for scheme in schemes]
        names, right, log_loss, voted = _fold(runs, judged, results.index.classes)
        items += names
        folds += [fold] * len(names)
        by_fold.append((right, log_loss, voted))
    right, log_loss, voted = (np.concatenate(parts, axis=1) for parts in zip(*by_fold, strict=True))
    return Outcomes(
        list(schemes),
        np.array(items),
        np.array(folds),
        np.array([groups[item] for item in items]),
        right,
        log_loss,
        voted,
    )


def _fold(
    runs: list[list[Run]], judged: str, classes: list[str]
) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """Return the items [N] of one fold; and right, log loss and vote [S, N] as in `Outcomes`, from the runs [S][R]."""
    first = runs[0][0]
    names, labels, _ = _answers(first, judged)
    rows = []
    for of_scheme in runs:
        right, log_loss = np.zeros(len(names)), np.zeros(len(names))
        total = np.zeros((len(names), len(classes)))
        for run in of_scheme:
            theirs, their_labels, p = _answers(run, judged)
            if theirs != names or not np.array_equal(their_labels, labels):
                odd = sorted(set(theirs) ^ set(names))
                what = f"{odd[0]!r} is judged by one of them only" if odd else "their order or labels differ"
                raise StoreError(
                    f"{run.predictions} and {first.predictions} do not judge the same {judged} items ({what}), so that "
                    f"their schemes cannot be compared; delete both and train again."
                )
            answers = contributions(labels, p, len(classes))
            right += answers.right
            log_loss += answers.log_loss
            total += p
        rows.append((right / len(of_scheme), log_loss / len(of_scheme), total.argmax(axis=1) == labels))
    right, log_loss, voted = (np.stack(column) for column in zip(*rows, strict=True))
    return names, right, log_loss, voted


def _answers(run: Run, judged: str) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return items, labels and probabilities of what one run says of the labelled items of a split."""
    predicted = read_predictions(run.predictions)
    here = (np.array(predicted.splits) == judged) & (predicted.labels >= 0)
    names = [item for item, wanted in zip(predicted.items, here, strict=True) if wanted]
    return names, predicted.labels[here], predicted.probabilities[here]


def n_groups(results: Results) -> int:
    """Return how many groups the labelled items that judge the schemes come from."""
    judged = judged_split(results)
    in_split = pl.any_horizontal([pl.col(f"split_{fold}") == judged for fold in results.folds])
    return results.items.filter(in_split, pl.col("label").is_not_null())["group"].n_unique()


def with_certainty(schemes: pl.DataFrame, comparison: Comparison) -> pl.DataFrame:
    """Return the table of schemes, best first, with the limits of their intervals, and letters of who differs."""
    names = schemes["scheme"].to_list()
    differ = [(pair.first, pair.second) for pair in comparison.pairs if pair.p_holm < ALPHA]
    shared = letters(names, differ)
    columns: dict[str, pl.Series] = {}
    for prefix, found in (("", comparison.accuracy_intervals), ("log_loss_", comparison.log_loss_intervals)):
        for side, end in enumerate(("low", "high")):
            limits = [interval[side] if (interval := found[name]) else None for name in names]
            columns[f"{prefix}interval_{end}"] = pl.Series(limits, dtype=pl.Float64)
    return schemes.with_columns(**columns, letters=pl.Series([shared[name] for name in names], dtype=pl.String))


def pairs(comparison: Comparison) -> pl.DataFrame:
    """One row a pair of schemes, with the columns of `braid.metrics.pairs.Pair`; intervals as two columns each."""
    floats = dict.fromkeys(
        [f"{score}{end}" for score in ("accuracy_difference", "log_loss_difference") for end in ("", "_low", "_high")],
        pl.Float64,
    )
    counts = {"only_first": pl.Int64, "only_second": pl.Int64}
    tests = dict.fromkeys(["p_mcnemar", "p_mcnemar_holm", "p", "p_holm"], pl.Float64)
    rows = [
        (
            pair.first,
            pair.second,
            pair.accuracy,
            *(pair.accuracy_interval or (None, None)),
            pair.log_loss,
            *(pair.log_loss_interval or (None, None)),
            pair.only_first,
            pair.only_second,
            pair.p_mcnemar,
            pair.p_mcnemar_holm,
            pair.p,
            pair.p_holm,
        )
        for pair in comparison.pairs
    ]
    return pl.DataFrame(rows, {"first": pl.String, "second": pl.String} | floats | counts | tests, orient="row")


def matrix(table: pl.DataFrame) -> dict[tuple[str, str], dict[str, Any]]:
    """Return what the page shows of each pair, in both directions: first - second in points, its interval, Holm's p."""
    cells = {}
    for row in table.iter_rows(named=True):
        for one, other, sign in (("first", "second", 1), ("second", "first", -1)):
            ends = [row[f"accuracy_difference_{end}"] for end in ("low", "high")]
            low, high = sorted(100 * sign * end for end in ends) if None not in ends else (None, None)
            cells[row[one], row[other]] = {
                "points": 100 * sign * row["accuracy_difference"],
                "low": low,
                "high": high,
                "p": row["p_holm"],
                "differ": row["p_holm"] < ALPHA,
            }
    return cells


def reliability(results: Results) -> pl.DataFrame:
    """One row a scheme and bin of the predicted class' probability: its items over all folds and seeds.

    `confidence` is the mean of the probabilities in (low, high], `accuracy` the share of these items that are right.
    """
    judged = judged_split(results)
    rows = [
        {"scheme": run.scheme} | bin_
        for run in results.runs
        for bin_ in run.metrics[judged]["reliability"]
        if bin_["n"]
    ]
    mean = (pl.col("confidence", "accuracy") * pl.col("n")).sum() / pl.col("n").sum()
    return (
        pl.DataFrame(rows)
        .group_by("scheme", "low", "high", maintain_order=True)
        .agg(pl.col("n").sum(), mean)
        .sort("scheme", "low")
        .select("scheme", "low", "high", "n", "confidence", "accuracy")
    )

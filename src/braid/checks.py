"""What is wrong in the rows of a manifest: found on whole columns, told row by row, several problems at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl

from braid.errors import ManifestError

REPORTED = 10
"""How many problems one error lists."""

LABELLED = ("train", "val", "test")
"""The splits whose items have a label, and which a group must not straddle."""

LINE = "line of the file"
"""Column of line numbers that rows have while they are checked."""


class Problems:
    """Collects what is wrong in a manifest, row by row, and raises it all at once.

    `names` maps columns to what the file calls them, where that differs.
    """

    def __init__(self, source: object, names: dict[str, str]) -> None:
        self._source = source
        self._names = names
        self._first: list[tuple[int, str]] = []
        self._count = 0

    def add(self, rows: pl.DataFrame, column: str, sentence: Callable[[dict[str, Any]], str]) -> None:
        """Note `rows`, which have the column of line numbers, as wrong in `column`; `sentence` says why, row by row."""
        self._count += rows.height
        column = self._names.get(column, column)
        for row in rows.head(REPORTED).iter_rows(named=True):
            self._first.append((row[LINE], f"row {row[LINE]}, column {column}: {sentence(row)}"))

    def raise_any(self) -> None:
        """Raise ManifestError with the first problems in the order of the file, if there are any."""
        if not self._count:
            return
        sentences = [sentence for _, sentence in sorted(self._first)[:REPORTED]]
        if self._count == 1:
            raise ManifestError(f"{self._source}, {sentences[0]}")
        rest = [f"and {self._count - len(sentences)} more."] if self._count > len(sentences) else []
        raise ManifestError("\n  ".join([f"{self._source} has {self._count} problems:", *sentences, *rest]))


def check_rows(items: pl.DataFrame, splits: list[str], problems: Problems) -> None:
    """Note where the fields of a row, and rows among themselves, contradict each other.

    `items` is as `braid.manifest.parse` returns it, with the column of line numbers; `splits` names its split columns.
    """
    start = pl.col("start_seconds").fill_null(0)
    problems.add(
        items.filter((pl.col("video") == "") & (pl.col("audio") == "")),
        "video",
        lambda row: f"item {row['item']!r} has neither video nor audio; name a file in one of them.",
    )
    problems.add(
        items.filter(pl.col("end_seconds") <= start),
        "end_seconds",
        lambda row: f"the item ends at {row['end_seconds']} s, not after its start at {row['start_seconds'] or 0.0} s.",
    )
    _check_unique(items, problems)
    _check_labels(items, splits, problems)
    _check_clips(items, problems)
    _check_straddling(items, splits, problems)


def _check_unique(items: pl.DataFrame, problems: Problems) -> None:
    repeated = items.filter(pl.col("item").is_duplicated()).with_columns(first=pl.col(LINE).min().over("item"))
    problems.add(
        repeated.filter(pl.col(LINE) != pl.col("first")),
        "item",
        lambda row: f"{row['item']!r} is also the item of row {row['first']}; give each item a name of its own.",
    )


def _check_labels(items: pl.DataFrame, splits: list[str], problems: Problems) -> None:
    for column in splits:
        problems.add(
            items.filter(pl.col(column).is_in(LABELLED) & pl.col("label").is_null()),
            "label",
            lambda row, column=column: f"it is empty in a {row[column]} row; label the item or put it in predict.",
        )
        problems.add(
            items.filter((pl.col(column) == "predict") & pl.col("label").is_not_null()),
            "label",
            lambda row: f"{row['label']!r} is the label of a predict row; empty it or put the item in another split.",
        )


def _check_clips(items: pl.DataFrame, problems: Problems) -> None:
    """Note the rows of a clip that disagree with its first row about the clip."""
    together = items.filter(pl.col("clip").is_duplicated())
    for column in ("group", "shard", "bytes", "sha256"):
        first = together.with_columns(pl.col(LINE, column).first().over("clip").name.prefix("first "))
        problems.add(
            first.filter(~pl.col(column).eq_missing(pl.col(f"first {column}"))),
            column,
            lambda row, column=column: (
                f"{row[column]!r}, but row {row[f'first {LINE}']} of the same clip says {row[f'first {column}']!r};"
                " all items of a clip have the same."
            ),
        )


def _check_straddling(items: pl.DataFrame, splits: list[str], problems: Problems) -> None:
    """Note groups that are in more than one of train, val and test of a fold."""
    shared = items.filter(pl.col("group").is_duplicated())
    for split in splits:
        firsts = (
            shared.filter(pl.col(split).is_in(LABELLED)).group_by("group", split).agg(pl.all().sort_by(LINE).first())
        )
        straddling = (
            firsts.sort(LINE)
            .with_columns(place=pl.format("{} (row {})", split, LINE))
            .group_by("group", maintain_order=True)
            .agg(pl.col("place"), pl.col(LINE, "clip", "video", "audio").last())
            .filter(pl.col("place").list.len() > 1)
        )
        problems.add(
            straddling,
            split,
            lambda row: (
                f"{_named_group(row)} is in {' and '.join(row['place'])}, so that what is learnt from one is tested on"
                " the other; put all of it in one split."
            ),
        )


def _named_group(row: dict[str, Any]) -> str:
    alone = row["group"] == row["clip"]
    return f"the clip {row['video'] or row['audio']!r}" if alone else f"the group {row['group']!r}"

"""Any table with a line of column names, one row an item: csv or tsv, separated by commas, semicolons or tabs."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from braid import table
from braid.checks import LABELLED
from braid.datasets import files
from braid.datasets.source import SCHEMA, Source
from braid.errors import ManifestError

ALIASES = {
    "item": ("item", "item_id"),
    "video": ("video", "path", "file", "filename", "video_path", "file_path", "filepath", "video_file"),
    "audio": ("audio", "sound", "audio_path", "audio_file"),
    "start_seconds": ("start_seconds", "start", "time_start", "start_time"),
    "end_seconds": ("end_seconds", "end", "time_end", "end_time"),
    "label": ("label", "class", "category", "class_name"),
    "split": ("split", "subset", "partition"),
    "group": ("group",),
}
"""Column of the manifest to the names that are taken for it, the first that is there; `-` and spaces count as `_`."""

SPLIT_NAMES = {
    "training": "train",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "testing": "test",
}


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add `braid index csv` to the command line."""
    parser = subparsers.add_parser(
        "csv",
        help="any csv or tsv with a line of column names",
        description="Each row is an item. Columns are found by their usual names; an option names another, or none "
        "with ''. A file in the video column holds both streams unless there is an audio column, and is only sound if "
        "its ending says so. Columns split_1, split_2, … are folds.",
    )
    parser.add_argument("table", type=Path, metavar="FILE")
    parser.add_argument("--root", type=Path, metavar="DIR", help="what paths are relative to, else FILE's folder")
    for column, names in ALIASES.items():
        option = f"--{column.removesuffix('_seconds')}-column"
        parser.add_argument(option, dest=f"{column}_column", metavar="NAME", help=f"else one of: {', '.join(names)}")
    parser.set_defaults(
        find=lambda arguments: find(
            arguments.table,
            arguments.root or arguments.table.parent,
            {column: getattr(arguments, f"{column}_column") for column in ALIASES},
        )
    )
    return parser


def find(path: Path, base: Path, chosen: dict[str, str | None]) -> Source:
    """Return the items of the table `path`, whose files are relative to the folder `base`.

    Parameters
    ----------
    chosen : dict of str to (str or None)
        A key of `ALIASES` to the column of the table that holds it, to "" for none, or to None for the usual names.

    Raises
    ------
    ManifestError
        The table cannot be read, has no column of files, or a split or a number of seconds is none.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ManifestError(f"There is no table {path}; give a csv or tsv file with a line of column names.") from None
    parsed = table.parse(data, table.separator_of(data), path)
    columns = _columns(parsed.fields.columns, chosen, path)
    rows = parsed.fields.select(pl.col(name).alias(column) for column, name in columns.items())
    items = rows.with_columns(
        _seconds(rows[column], parsed.lines, path) if dtype == pl.Float64 else pl.col(column).replace("", None)
        for column, dtype in SCHEMA.items()
        if column in columns
    )
    splits = [column for column in columns if column.startswith("split")]
    items = items.with_columns(_split(rows[column], parsed.lines, path) for column in splits)
    items = items.rename({"split": "split_1"} if "split" in splits else {})
    if "item" not in columns:
        items = items.with_columns(_names(rows))
    items = items.with_columns(
        pl.lit(None, dtype).alias(name) for name, dtype in SCHEMA.items() if name not in items.columns
    )
    taken = [f"{column} is {name!r}" for column, name in columns.items()]
    unused = [repr(name) for name in parsed.fields.columns if name not in columns.values()]
    notes = [f"Columns of {path}: {', '.join(taken)}" + (f"; not used: {', '.join(unused)}." if unused else ".")]
    return Source(_with_streams(items, "audio" in columns, base), notes)


def _columns(names: list[str], chosen: dict[str, str | None], path: Path) -> dict[str, str]:
    """Return the manifest's columns that the table has, each with its name there."""
    usual = {re.sub(r"[ -]", "_", name.strip().lower()): name for name in reversed(names)}
    columns = {}
    for column, aliases in ALIASES.items():
        choice = chosen[column]
        if choice and choice not in names:
            raise ManifestError(f"{path} has no column {choice!r}; choose from {', '.join(names)}.")
        name = next((usual[alias] for alias in aliases if alias in usual), None) if choice is None else choice
        if name:
            columns[column] = name
    if "split" not in columns:
        columns |= {split: name for split, name in usual.items() if re.fullmatch(r"split_[1-9]\d*", split)}
    if "video" not in columns and "audio" not in columns:
        raise ManifestError(
            f"{path} has no column of files among {', '.join(names)}; name it with --video-column or --audio-column."
        )
    return columns


def _with_streams(items: pl.DataFrame, has_audio: bool, base: Path) -> pl.DataFrame:
    """Return `items` with `video` and `audio` as paths from the working folder, or empty."""
    pairs = [
        (video or "", audio or "") if has_audio else files.streams(video or "")
        for video, audio in items.select("video", "audio").iter_rows()
    ]
    return items.with_columns(
        pl.Series(stream, [str(base / pair[i]) if pair[i] else "" for pair in pairs], pl.String)
        for i, stream in enumerate(("video", "audio"))
    )


def _names(rows: pl.DataFrame) -> pl.Series:
    """Return a name for each row: its file as the table has it, and its window."""
    absent = [pl.lit("").alias(name) for name in SCHEMA if name not in rows.columns]
    file = pl.when(pl.col("video") != "").then("video").otherwise("audio")
    start, end = pl.col("start_seconds"), pl.col("end_seconds")
    window = pl.when((start != "") | (end != "")).then(pl.format("@{}-{}", start, end)).otherwise(pl.lit(""))
    return rows.with_columns(absent).select(item=file + window).to_series()


def _seconds(texts: pl.Series, lines: np.ndarray, path: Path) -> pl.Series:
    seconds = texts.replace("", None).cast(pl.Float64, strict=False)
    _refuse(texts, (texts != "") & seconds.is_null(), lines, path, "is not a number of seconds")
    return seconds


def _split(texts: pl.Series, lines: np.ndarray, path: Path) -> pl.Series:
    names = texts.str.to_lowercase().replace(SPLIT_NAMES)
    known = [*LABELLED, "predict", ""]
    _refuse(texts, ~names.is_in(known), lines, path, f"is none of {', '.join([*known[:-1], *SPLIT_NAMES])}")
    return names.replace("", None)


def _refuse(texts: pl.Series, bad: pl.Series, lines: np.ndarray, path: Path, sentence: str) -> None:
    """Raise about the first text that is `bad`, if there is one."""
    if bad.any():
        row = bad.arg_true()[0]
        raise ManifestError(f"{path}, row {lines[row]}, {texts.name}: {texts[row]!r} {sentence}.")

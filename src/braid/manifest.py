"""The manifest `clips.tsv`: one row an item, read, checked and written as workflow/schemas/manifest.yaml says.

Checks run on whole columns, so that a million rows take seconds, and report several problems at once.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from braid import SCHEMAS, table
from braid.checks import LINE, REPORTED, Problems, check_rows
from braid.errors import ManifestError
from braid.files import whole

_DTYPES = {"string": pl.String, "number": pl.Float64, "integer": pl.Int64}


@cache
def schema() -> dict[str, Any]:
    """Return the JSON schema of a row."""
    return yaml.safe_load((SCHEMAS / "manifest.yaml").read_text(encoding="utf-8"))


def read(path: str | Path) -> pl.DataFrame:
    """Return the manifest at `path`, checked, with all columns of the schema; see `parse`."""
    path = Path(path)
    stat(path)
    return parse(path.read_bytes(), path)


def stat(path: Path) -> os.stat_result:
    """Return the status of the manifest's file; ManifestError where there is none."""
    try:
        return path.stat()
    except FileNotFoundError:
        raise ManifestError(f"There is no manifest {path}; write one with `braid index`, or mend `manifest`.") from None


def parse(data: bytes, path: object) -> pl.DataFrame:
    """Return the items in `data`, the content of the manifest `path`, in the order of the file.

    Returns
    -------
    polars.DataFrame
        item, clip, video, audio (str), start_seconds, end_seconds (float64 or null, seconds), label (str or null),
        split_1 … split_K (str or null), group (str; the clip's key where the file says none), shard (str),
        bytes (int64 or null), sha256 (str or null). `clip` is the key of the clip: 16 hexadecimal digits.

    Raises
    ------
    ManifestError
        With row, column, value and cure of up to `REPORTED` problems. Whether the files exist is not checked here.
    """
    _check_columns(data, path)
    parsed = table.parse(data, "\t", path)
    problems = Problems(path, {"split_1": "split"} if "split" in parsed.fields.columns else {})
    if parsed.fields.is_empty():
        raise ManifestError(f"{path} names no items; add a row for each.")
    items = _typed(parsed.fields.with_columns(pl.Series(LINE, parsed.lines)), problems)
    problems.raise_any()
    items = _completed(items)
    check_rows(items, [f"split_{fold}" for fold in folds(items)], problems)
    problems.raise_any()
    return items.drop(LINE)


def write(items: pl.DataFrame, path: str | Path) -> None:
    """Write `items`, with the columns that `read` returns, as a manifest; columns without a value are left out.

    A file that holds the same already is left alone.

    Raises
    ------
    ManifestError
        `read` would refuse the manifest. Nothing is written then.
    """
    path = Path(path)
    splits = folds(items)
    names = {f"split_{fold}": "split" if len(splits) == 1 else f"split_{fold}" for fold in splits}
    items = items.with_columns(group=pl.when(pl.col("group") != pl.col("clip")).then("group")).rename(names)
    order = [name for column in schema()["properties"] for name in (names.values() if column == "split" else [column])]
    needed = {*schema()["required"], *names.values()}
    kept = [name for name in order if name in needed or items[name].null_count() < items.height]
    # Polars quotes empty strings, to tell them from null; a manifest has no such difference.
    text = items.select(kept).with_columns(pl.col(pl.String).replace("", None)).write_csv(separator="\t")
    data = text.encode()
    parse(data, f"{path} (not written)")
    if path.exists() and path.read_bytes() == data:
        return
    with whole(path) as beside:
        beside.write_bytes(data)


def classes(items: pl.DataFrame) -> list[str]:
    """Return the labels of all items that a fold uses, sorted, so that position is class number."""
    used = items.filter(pl.any_horizontal(pl.col("^split_.*$").is_not_null()))
    return used["label"].drop_nulls().unique().sort().to_list()


def folds(items: pl.DataFrame) -> list[str]:
    """Return the names of the folds, "1" to "K", of a manifest that `read` returned."""
    return [column.removeprefix("split_") for column in items.columns if column.startswith("split_")]


def clip_keys(items: pl.DataFrame) -> pl.Series:
    """Return the key of each row's clip: 16 hexadecimal digits of the BLAKE2b of `video`, a zero byte, `audio`."""
    paths = (items["video"] + "\0" + items["audio"]).to_list()
    return pl.Series("clip", [hashlib.blake2b(path.encode(), digest_size=8).hexdigest() for path in paths], pl.String)


def check_inside(items: pl.DataFrame, path: str | Path) -> None:
    """Raise ManifestError where a path of `items`, or a link, leads out of the folder of the manifest `path`.

    Folders are listed once each, as by `check_files`.
    """
    named = pl.concat([items.select("item", file="video"), items.select("item", file="audio")])
    named = named.filter(pl.col("file") != "").unique(maintain_order=True)
    root = Path(path).parent.resolve()
    links: dict[str, set[str] | None] = {}

    def within(file: str) -> bool:
        return (root / file).resolve().is_relative_to(root)

    def leaves(file: str) -> bool:
        folder, name = os.path.split(file)
        if folder not in links:
            links[folder] = _links_in(root / folder) if within(folder) else None
        inside = links[folder]
        return inside is None or (name in inside and not within(file))

    written = named["file"].str.contains(r"^/|(^|/)\.\.(/|$)").to_list()
    outside = named.filter(
        pl.Series([out or leaves(file) for out, file in zip(written, named["file"], strict=True)], dtype=pl.Boolean)
    )
    if outside.height:
        first = "".join(f"\n  {file!r} of item {item!r}" for item, file in outside.head(REPORTED).iter_rows())
        raise ManifestError(
            f"{path} names {outside.height} files outside its folder, which `allow_outside: false` in the config "
            f"forbids; put them into the folder, remove the rows, or allow it:{first}"
        )


def check_files(clips: pl.DataFrame, path: str | Path) -> None:
    """Raise ManifestError where a file that `clips` (item, video, audio) of the manifest `path` names does not exist.

    Folders are listed once each, which a network file system answers far sooner than a question a file.
    """
    root = Path(path).parent
    own_audio = clips.filter(pl.col("audio") != pl.col("video"))
    named = pl.concat([clips.select("item", file="video"), own_audio.select("item", file="audio")])
    named = named.filter(pl.col("file") != "")
    present: dict[str, set[str]] = {}

    def exists(file: str) -> bool:
        folder, name = os.path.split(file)
        if folder not in present:
            present[folder] = _files_in(os.path.normpath(root / folder))
        # A file system may take other spellings of a name, by case or Unicode form, than it lists.
        return name in present[folder] or Path(os.path.normpath(root / file)).is_file()

    missing = named.filter(pl.Series([not exists(file) for file in named["file"].to_list()], dtype=pl.Boolean))
    if missing.height:
        first = missing.sort("item").head(REPORTED)
        raise ManifestError(
            f"{path} names {missing.height} files that do not exist, as seen from {root}; put them there, run"
            " `braid index` again, or mend or remove the rows:"
            + "".join(f"\n  {file!r} of item {item!r}" for item, file in first.iter_rows())
        )


def _files_in(folder: str) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if entry.is_file()}
    except OSError:
        return set()


def _links_in(folder: Path) -> set[str]:
    """Return the names in `folder` that are links."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if entry.is_symlink()}
    except OSError:
        return set()


def _check_columns(data: bytes, path: object) -> None:
    """Raise unless the first line names the columns that the schema asks for, and no others."""
    names = table.header(data, "\t", path)
    separator = table.separator_of(data)
    if separator != "\t":
        raise ManifestError(
            f"{path} separates its columns by {table.describe(separator)}, a manifest by tabs; `braid index csv {path}"
            " -o clips.tsv` converts any table."
        )
    known = schema()["properties"]
    for name in names:
        if name not in known and not _is_split(name):
            near = difflib.get_close_matches(name, known, n=1)
            cure = f"did you mean {near[0]}?" if near else f"choose from {', '.join(known)}, split_1 … split_K."
            raise ManifestError(f"{path}, row 1: there is no column {name!r} in a manifest; {cure}")
        if names.count(name) > 1:
            raise ManifestError(f"{path}, row 1: the column {name} is there {names.count(name)} times; keep one.")
    missing = [name for name in schema()["required"] if name not in names]
    if missing:
        raise ManifestError(f"{path}, row 1: the column {missing[0]} is missing; add it, with empty fields if need be.")
    splits = [name for name in names if _is_split(name)]
    if ("split" in names) == bool(splits):
        raise ManifestError(f"{path}, row 1: a manifest has either one column split or the columns split_1 … split_K.")
    absent = {f"split_{fold}" for fold in range(1, len(splits) + 1)} - set(splits)
    if absent:
        raise ManifestError(f"{path}, row 1: {len(splits)} split columns, but no {min(absent)}; number them from 1.")


def _is_split(name: str) -> bool:
    return any(re.search(pattern, name) for pattern in schema()["patternProperties"])


def _field(column: str) -> dict[str, Any]:
    """Return the schema of the fields of a column."""
    return schema()["properties"]["split" if _is_split(column) else column]


def _typed(items: pl.DataFrame, problems: Problems) -> pl.DataFrame:
    """Return `items` with numbers as numbers and, where the schema allows null, empty fields as null."""
    typed = []
    for name in items.drop(LINE).columns:
        field = _field(name)
        kind = field["type"] if isinstance(field["type"], str) else field["type"][0]
        text = pl.col(name) if kind == field["type"] else pl.col(name).replace("", None)
        value = text.cast(_DTYPES[kind], strict=False)
        typed.append(value)
        for bad, sentence in _rules(field, kind, text, value):
            problems.add(items.filter(bad), name, lambda row, name=name, sentence=sentence: f"{row[name]!r} {sentence}")
    return items.with_columns(typed)


def _rules(field: dict[str, Any], kind: str, text: pl.Expr, value: pl.Expr) -> Iterator[tuple[pl.Expr, str]]:
    """Yield what the schema of a column forbids, as an expression that finds it and the end of a sentence about it."""
    if kind == "string":
        if "minLength" in field:
            yield text == "", "is empty; every row needs one."
        if "enum" in field:
            choices = [choice for choice in field["enum"] if choice is not None]
            yield ~text.is_in(choices), f"is none of {', '.join(choices)}."
        if "pattern" in field:
            yield ~text.str.contains(field["pattern"]), f"does not match {field['pattern']}."
    else:
        yield text.is_not_null() & value.is_null(), f"is not {'a number' if kind == 'number' else 'a whole number'}."
        yield value < field["minimum"], f"is less than {field['minimum']}."
        if kind == "number":
            yield ~value.is_finite(), "is not finite."


def _completed(items: pl.DataFrame) -> pl.DataFrame:
    """Return `items` with every column of the schema, the key of the clip, and `split` named as fold 1."""
    if "split" in items.columns:
        items = items.rename({"split": "split_1"})
    splits = [f"split_{fold}" for fold in range(1, len(folds(items)) + 1)]
    absent = [
        pl.lit(None, _DTYPES[_field(name)["type"][0]]).alias(name)
        for name in schema()["properties"]
        if name != "split" and name not in items.columns
    ]
    items = items.with_columns(*absent, clip_keys(items)).with_columns(pl.coalesce("group", "clip").alias("group"))
    order = ["item", "clip", "video", "audio", "start_seconds", "end_seconds", "label", *splits]
    return items.select(*order, "group", "shard", "bytes", "sha256", LINE)

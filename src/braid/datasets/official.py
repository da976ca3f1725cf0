"""What the data sets with official layouts and split files share."""

from __future__ import annotations

import argparse
import csv
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl

from braid.datasets import files, splits
from braid.datasets.source import SCHEMA, Source
from braid.errors import ManifestError

ARCHIVES = {".rar": "unrar x", ".zip": "unzip", ".gz": "tar xf", ".tar": "tar xf"}
"""Ending of an archive to the command that unpacks it."""
SHOWN = 5
"""How many names a message shows."""


def add_split_lists(parser: argparse.ArgumentParser, find: Callable[[Path, Path | None, float, int], Source]) -> None:
    """Give a parser the arguments of a data set that is a folder of clips and a folder of split files."""
    parser.add_argument("root", type=Path, metavar="ROOT")
    parser.add_argument("--splits", type=Path, metavar="DIR", help="folder of the split files, where it is elsewhere")
    parser.set_defaults(find=lambda given: find(given.root, given.splits, given.val, given.seed))


def folder(root: Path, names: Iterable[str], holds: str) -> Path:
    """Return the first folder of `names` below `root` that exists ("." is `root` itself).

    Raises
    ------
    ManifestError
        There is none: what was expected, what is there, and how to unpack archives that are.
    """
    names = list(names)
    for name in names:
        if (root / name).is_dir():
            return root / name
    raise ManifestError(f"{root} must hold {holds} in a folder {' or '.join(names)}; {_there(root)}")


def file(root: Path, names: Iterable[str], holds: str) -> Path:
    """Return the first file of `names` below `root` that exists; ManifestError as from `folder`."""
    names = list(names)
    for name in names:
        if (root / name).is_file():
            return root / name
    raise ManifestError(f"{root} must hold {holds} in a file {' or '.join(names)}; {_there(root)}")


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the number, from 1, and the text of the lines of `path` that are not empty, without what surrounds them.

    Raises
    ------
    ManifestError
        The file is not UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path} is not UTF-8 ({error}); fetch it again from its publisher.") from None
    yield from ((number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip())


def bad_line(path: Path, number: int, line: str, form: str) -> ManifestError:
    """Return the error for a line that has not the form that its publisher gave it."""
    return ManifestError(f"{path}, line {number}, must be {form}, got {line!r}; fetch the file again.")


def source(rows: list[dict[str, Any]], n_folds: int, val: float, seed: int, notes: list[str]) -> Source:
    """Return the items, with a share of the training items of each fold, by whole groups, moved to `val`.

    Parameters
    ----------
    rows : list of dict
        Keys of `braid.datasets.source.SCHEMA` (those that are left out have no value) and `split_1` … of the folds.
    val : float
        Share of the training items; 0 leaves the splits as they are.
    """
    columns = [f"split_{fold}" for fold in range(1, n_folds + 1)]
    items = pl.DataFrame(rows, schema=SCHEMA | dict.fromkeys(columns, pl.String))
    for column in columns if val else ():
        train = items.filter(pl.col(column) == "train")
        drawn = splits.draw(
            train["label"].to_list(),
            train["group"].to_list(),
            [None] * train.height,
            {"train": 1 - val, "val": val},
            seed,
        )
        place = dict(zip(train["item"], drawn, strict=True))
        chosen = [place.get(item, split) for item, split in items.select("item", column).iter_rows()]
        items = items.with_columns(pl.Series(column, chosen, pl.String))
    return Source(items, notes)


def records(path: Path, separator: str = ",") -> Iterator[tuple[int, list[str]]]:
    """Yield the number of the last line, from 1, and the fields of each row of a table, quoted where they have to be.

    Raises
    ------
    ManifestError
        The file is not UTF-8.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, delimiter=separator)
            yield from ((reader.line_num, [field.strip() for field in row]) for row in reader if row)
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path} is not UTF-8 ({error}); fetch it again from its publisher.") from None


def table(path: Path, columns: Iterable[str], separator: str = ",") -> Iterator[dict[str, str]]:
    """Yield the rows of a table with a line of column names, by name.

    Raises
    ------
    ManifestError
        One of `columns` is not there, or a row has another number of fields.
    """
    rows = records(path, separator)
    _, header = next(rows, (1, []))
    lacking = [column for column in columns if column not in header]
    if lacking:
        raise ManifestError(
            f"{path} must begin with the column names {', '.join(columns)}; {', '.join(lacking)} is not among "
            f"{', '.join(map(repr, header))}."
        )
    for number, row in rows:
        if len(row) != len(header):
            raise bad_line(path, number, separator.join(row), f"{len(header)} fields")
        yield dict(zip(header, row, strict=True))


def downloads(root: Path, wanted: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Return which of the clips that lists name were downloaded, and sentences about those that were not.

    Videos go away from where they were published, so that hardly anyone has all of them: what is missing is counted.

    Parameters
    ----------
    wanted : mapping of str to str
        Name of a file without folder and ending to the list that it is in.

    Returns
    -------
    paths : dict of str to str
        Name to path.
    notes : list of str

    Raises
    ------
    ManifestError
        There is none of them.
    """
    found, _ = files.find(root)
    paths = {name: str(root / path) for path in found if (name := PurePosixPath(path).stem) in wanted}
    if not paths:
        some = f", but {len(found)} others, such as {found[0]!r}" if found else ""
        raise ManifestError(
            f"Below {root} is none of the {len(wanted)} clips of the lists, such as {next(iter(wanted))!r}{some}; "
            "files must keep the names that the usual download scripts give them."
        )
    lost = Counter(part for name, part in wanted.items() if name not in paths)
    parts = ", ".join(f"{n} of {part}" for part, n in sorted(lost.items()))
    return paths, [f"{lost.total()} of {len(wanted)} clips were not downloaded: {parts}."] if lost else []


def _there(root: Path) -> str:
    if not root.is_dir():
        return f"there is no folder {root}."
    names = sorted(path.name for path in root.iterdir())
    if not names:
        return "the folder is empty."
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    packed = [name for name in names if Path(name).suffix.lower() in ARCHIVES]
    hint = f" Unpack the archives first: {ARCHIVES[Path(packed[0]).suffix.lower()]} {packed[0]!r}" if packed else ""
    return f"there is {', '.join(map(repr, names[:SHOWN]))}{more}.{hint}"

"""Delimited text files as tables of strings, with the line on which an editor shows each row.

Quoting is that of RFC 4180: a field that holds the separator, a quote or a line break stands in double quotes, a
quote inside it is doubled, and a quote has no place in a field without them.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass

import numpy as np
import polars as pl

from braid.errors import ManifestError

_NEWLINE, _RETURN, _QUOTE = b'\n\r"'


@dataclass(frozen=True)
class Table:
    """The fields of a file as they stand in it.

    Attributes
    ----------
    fields : polars.DataFrame
        All columns are strings; an empty field is the empty string.
    lines : numpy.ndarray
        int64 [number of rows], the line of the file, from 1, on which each row begins.
    """

    fields: pl.DataFrame
    lines: np.ndarray


def parse(data: bytes, separator: str, source: object) -> Table:
    """Return the table that `data`, the whole content of a file with one line of column names, holds.

    Parameters
    ----------
    data : bytes
        UTF-8, with or without byte order mark; lines end in LF or CRLF.
    separator : str
        One ASCII character.
    source : object
        What messages call the file.

    Raises
    ------
    ManifestError
        The text is not UTF-8, a quote is misplaced, or a row has more or fewer fields than there are columns.
    """
    data = data.removeprefix(b"\xef\xbb\xbf").rstrip(b"\r\n")
    _check_encoding(data, source)
    names = header(data, separator, source)
    text = np.frombuffer(data, np.uint8)
    newlines = np.flatnonzero(text == _NEWLINE)
    separators = np.flatnonzero(text == ord(separator))
    row_ends = newlines
    if b'"' in data:
        quotes = np.flatnonzero(text == _QUOTE)
        _check_quotes(text, quotes, newlines, ord(separator), source)
        row_ends, separators = (at[np.searchsorted(quotes, at) % 2 == 0] for at in (newlines, separators))
    row_ends = np.append(row_ends, len(data))
    # One separator fewer than fields; searchsorted counts those before each row's end.
    widths = np.diff(np.searchsorted(separators, row_ends), prepend=0) + 1
    lines = np.searchsorted(newlines, np.append(0, row_ends[:-1] + 1)) + 1
    uneven = np.flatnonzero(widths != len(names))
    if len(uneven):
        more = f" (and {len(uneven) - 1} more rows like it)" if len(uneven) > 1 else ""
        raise ManifestError(
            f"{source}, row {lines[uneven[0]]}: {widths[uneven[0]]} fields where the first line names {len(names)}"
            f" columns{more}; separate the fields by {describe(separator)} and keep empty fields and no empty lines."
        )
    schema = dict.fromkeys(names, pl.String)
    body = data[row_ends[0] + 1 :]
    if not body:
        return Table(pl.DataFrame(schema=schema), lines[1:])
    fields = pl.read_csv(body, separator=separator, has_header=False, schema=schema, empty_string_is_null=False)
    return Table(fields, lines[1:])


def header(data: bytes, separator: str, source: object) -> list[str]:
    """Return the column names in the first line of `data`; ManifestError where it is not UTF-8."""
    first = _first_line(data).removeprefix(b"\xef\xbb\xbf")
    _check_encoding(first, source)
    return next(csv.reader([first.decode().rstrip("\r")], delimiter=separator), [])


def separator_of(data: bytes) -> str:
    """Return which of tab, semicolon and comma occurs most often in the first line of `data`; tab when none does."""
    first = _first_line(data)
    return max("\t;,", key=lambda separator: first.count(separator.encode()))


def describe(separator: str) -> str:
    """Return the word for a separator."""
    return {"\t": "tabs", ",": "commas", ";": "semicolons"}[separator]


def _first_line(data: bytes) -> bytes:
    end = data.find(b"\n")
    return data if end < 0 else data[:end]


def _check_encoding(data: bytes, source: object) -> None:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ManifestError(
            f"{source}, row {line}: the byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8."
        ) from None


def _check_quotes(text: np.ndarray, quotes: np.ndarray, newlines: np.ndarray, separator: int, source: object) -> None:
    """Raise unless quotes open at the start of a field, close at its end and are doubled in between."""
    padded = np.concatenate(([_NEWLINE], text, [_NEWLINE]))
    before, after = padded[quotes], padded[quotes + 2]
    outside = [separator, _NEWLINE, _RETURN, _QUOTE]
    fine = np.where(np.arange(len(quotes)) % 2 == 0, np.isin(before, outside), np.isin(after, outside))
    if len(quotes) % 2:
        fine[-1] = False
    if not fine.all():
        line = np.searchsorted(newlines, quotes[np.argmin(fine)]) + 1
        raise ManifestError(
            f"{source}, row {line}: a double quote is not closed or stands inside a field without quotes; put the whole"
            ' field in double quotes and double each one inside it, as in "a ""b"".mp4".'
        )

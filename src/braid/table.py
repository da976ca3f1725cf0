"""Delimited text files as tables of strings, with the line on which an editor shows each row.

A field that begins with a double quote ends with one, may hold separators and line breaks, and doubles each quote
inside it. A quote anywhere else stands for itself.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass

import numpy as np
import polars as pl

from braid.errors import ManifestError

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


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
        The text is not UTF-8, a quoted field does not end, or a row has more or fewer fields than there are columns.
    """
    data = data.removeprefix(_BYTE_ORDER_MARK).rstrip(b"\r\n")
    _check_encoding(data, source)
    names = header(data, separator, source)
    return (_parse_quoted if b'"' in data else _parse_plain)(data, separator, names, source)


def header(data: bytes, separator: str, source: object) -> list[str]:
    """Return the column names in the first line of `data`; ManifestError where it is not UTF-8."""
    first = _first_line(data).removeprefix(_BYTE_ORDER_MARK)
    _check_encoding(first, source)
    return next(csv.reader([first.decode().rstrip("\r")], delimiter=separator), [])


def separator_of(data: bytes) -> str:
    """Return which of tab, semicolon and comma occurs most often in the first line of `data`; tab when none does."""
    first = _first_line(data)
    return max("\t;,", key=lambda separator: first.count(separator.encode()))


def describe(separator: str) -> str:
    """Return the word for a separator."""
    return {"\t": "tabs", ",": "commas", ";": "semicolons"}[separator]


def _parse_plain(data: bytes, separator: str, names: list[str], source: object) -> Table:
    """Return the table in `data` without quotes, where every line is a row."""
    text = np.frombuffer(data, np.uint8)
    ends = np.append(np.flatnonzero(text == ord("\n")), len(data))
    # One separator fewer than fields; searchsorted counts those before each row's end.
    separators = np.searchsorted(np.flatnonzero(text == ord(separator)), ends)
    lines = np.arange(2, len(ends) + 1)
    _check_widths(np.diff(separators) + 1, lines, names, separator, source)
    schema = dict.fromkeys(names, pl.String)
    body = data[ends[0] + 1 :]
    if not body:
        return Table(pl.DataFrame(schema=schema), lines)
    fields = pl.read_csv(
        body, separator=separator, has_header=False, schema=schema, quote_char=None, empty_string_is_null=False
    )
    return Table(fields, lines)


def _parse_quoted(data: bytes, separator: str, names: list[str], source: object) -> Table:
    """Return the table in `data` with quotes, several times slower."""
    reader = csv.reader(io.StringIO(data.decode(), newline="\n"), delimiter=separator, strict=True)
    rows, ends = [], []
    try:
        for row in reader:
            rows.append(row)
            ends.append(reader.line_num)
    except csv.Error as error:
        begin = ends[-1] + 1 if ends else 1
        raise ManifestError(
            f"{source}, row {begin}: a field begins with a double quote and does not end with one ({error}); put the"
            ' whole field in double quotes and double each one inside it, as in """b"" a.mp4".'
        ) from None
    lines = np.array(ends[:-1], np.int64) + 1
    _check_widths(np.array([len(row) for row in rows[1:]], np.int64), lines, names, separator, source)
    return Table(pl.DataFrame(rows[1:], schema=dict.fromkeys(names, pl.String), orient="row"), lines)


def _check_widths(widths: np.ndarray, lines: np.ndarray, names: list[str], separator: str, source: object) -> None:
    uneven = np.flatnonzero(widths != len(names))
    if len(uneven):
        more = f" (and {len(uneven) - 1} more rows like it)" if len(uneven) > 1 else ""
        raise ManifestError(
            f"{source}, row {lines[uneven[0]]}: {widths[uneven[0]]} fields where the first line names {len(names)}"
            f" columns{more}; separate the fields by {describe(separator)} and keep empty fields and no empty lines."
        )


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

"""Figures that others have published for the same data, beside ours: what differs, and how sure ours is."""

from __future__ import annotations

from typing import Any

import polars as pl

from braid.errors import ConfigError
from braid.report import provenance, tables
from braid.report.collect import Results

COLUMNS = {
    "scheme": pl.String,
    "measure": pl.String,
    "published": pl.Float64,
    "items": pl.Int64,
    "place": pl.String,
    "note": pl.String,
}
"""Of the file of published figures: a scheme of the config; one of `MEASURES`; the figure; of how many items a fold,
empty where that is not known; where it is published; and what is to be known of it."""
MEASURES = {"accuracy": "interval", "log_loss": "log_loss_interval", "macro_f1": "", "macro_log_loss": ""}
"""What can be compared, and the columns of its interval in the table of schemes."""


def read(config: dict[str, Any]) -> pl.DataFrame:
    """Return the published figures that a config names under `report.published`, none where it names no file.

    Raises
    ------
    ConfigError
        The file is missing, has other columns, or names a scheme or measure that does not exist.
    """
    path = config["report"]["published"]
    if path is None:
        return pl.DataFrame(schema=COLUMNS)
    try:
        table = pl.read_csv(path, schema_overrides=COLUMNS)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise ConfigError(f"report.published: {path} cannot be read: {error}. Name a csv file, or null.") from error
    if table.columns != list(COLUMNS):
        raise ConfigError(
            f"report.published: {path} has the columns {', '.join(table.columns)}; write {', '.join(COLUMNS)}."
        )
    for column, known in (("scheme", config["schemes"]), ("measure", MEASURES)):
        for line, value in enumerate(table[column].to_list(), start=2):
            if value not in known:
                raise ConfigError(
                    f"report.published: {path}, line {line}, column {column}: there is no {value!r}; it can be "
                    f"{', '.join(known)}."
                )
    if table["published"].null_count():
        raise ConfigError(f"report.published: {path}: each line needs a number in the column published.")
    return table


def tabulate(found: Results, schemes: pl.DataFrame, extractors: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Return the table that is written as csv, by its name; none where the config names no published figures.

    `ours` is the mean over folds and seeds on the split that judges, `difference` is ours less theirs, `low` and
    `high` are the limits of our 95 % interval. All are empty where ours is of other data or of networks with random
    weights: `because` says so.
    """
    figures = read(found.config)
    if found.config["report"]["published"] is None:
        return {}
    judged, random = tables.judged_split(found), provenance.random_networks(extractors)
    here = (pl.col(f"split_{found.folds[0]}") == judged) & pl.col("label").is_not_null()
    n_items = found.items.filter(here).height
    known = figures["items"].drop_nulls().unique().sort().to_list()
    by_scheme = {row["scheme"]: row for row in schemes.iter_rows(named=True)}
    rows = []
    for figure in figures.iter_rows(named=True):
        because = _not_comparable(known if figure["items"] is None else [figure["items"]], n_items, random)
        mine = by_scheme[figure["scheme"]]
        ours = low = high = None
        if not because:
            ours = mine[f"{judged}_{figure['measure']}"]
            if interval := MEASURES[figure["measure"]]:
                low, high = mine[f"{interval}_low"], mine[f"{interval}_high"]
        difference = None if ours is None else ours - figure["published"]
        rows.append(figure | {"ours": ours, "difference": difference, "low": low, "high": high, "because": because})
    floats = dict.fromkeys(("ours", "difference", "low", "high"), pl.Float64)
    return {"published": pl.DataFrame(rows, schema=COLUMNS | floats | {"because": pl.String})}


def _not_comparable(theirs: list[int], ours: int, random: list[str]) -> str:
    """Return why a figure of ours is of something else; nothing where it is not, or none of `theirs` is known.

    Where a figure does not say how many items it is of, the others of its file stand for it: they are of one data set.
    """
    if random:
        return f"{', '.join(random)} ran with random weights"
    if theirs and ours not in theirs:
        return f"judged by {ours} items, not {' or '.join(map(str, theirs))}"
    return ""

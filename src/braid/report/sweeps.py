"""What the report says of sweeps: every point that was tried, its validation scores, and which was chosen.

Tables are those of `braid.schemes.sweep`; no number here is of a test item.
"""

from __future__ import annotations

import math
from typing import Any

import matplotlib
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from braid.errors import StoreError
from braid.report import figures, swept
from braid.report.collect import Results

SCORES = ("val_loss", "val_accuracy")
BEST_SHOWN = 10
"""Points of a sweep and fold on the page, the best ones; all are in the csv."""
N_COLUMNS = 3
LOG_FROM = 20
"""Values of a parameter that span this factor or more are drawn on a logarithmic axis."""


def sweeps(found: Results) -> pl.DataFrame:
    """One row a scheme, fold and point: what it sets, its scores with each seed and their means, whether it is chosen.

    A parameter that another scheme sweeps is empty. `rank` is 1 for the best point of a scheme and fold by the score
    that the scheme monitors; a point that diverges has neither rank nor scores.
    """
    parts = []
    for scheme in swept(found.config):
        monitor = found.config["schemes"][scheme]["monitor"]
        for fold in found.folds:
            points = _read(found, scheme, fold)
            order = pl.col(monitor).rank("ordinal", descending=monitor == "val_accuracy")
            where = [pl.lit(value).alias(name) for name, value in (("scheme", scheme), ("fold", fold))]
            parts.append(points.select(*where, "point", order.alias("rank"), pl.exclude("point")))
    return pl.concat(parts, how="diagonal_relaxed") if parts else pl.DataFrame()


def _read(found: Results, scheme: str, fold: str) -> pl.DataFrame:
    path = found.folder / "schemes" / scheme / f"fold{fold}" / "sweep.csv"
    try:
        return pl.read_csv(path, infer_schema_length=None)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise StoreError(f"{path} cannot be read ({error}); delete it and run again.") from error


def tabulate(found: Results) -> dict[str, pl.DataFrame]:
    """Return the table of sweeps that is written as csv, by its name; none where no scheme has one."""
    return {"sweeps": sweeps(found)} if swept(found.config) else {}


@matplotlib.rc_context(figures.STYLE)
def draw(found: Results, data: dict[str, pl.DataFrame]) -> dict[str, str]:
    """Return the figure of sweeps as SVG, by its name: a panel a scheme and parameter, a dot a point and fold."""
    if "sweeps" not in data:
        return {}
    panels = [(scheme, name) for scheme in swept(found.config) for name in parameters(found.config, scheme)]
    n_rows = -(-len(panels) // N_COLUMNS)
    figure = Figure(figsize=(9, 2.1 * n_rows + 0.4))
    grid = figure.subplots(n_rows, N_COLUMNS, squeeze=False)
    for axes in list(grid.flat)[len(panels) :]:
        axes.set_axis_off()
    for axes, (scheme, name) in zip(grid.flat, panels, strict=False):
        _panel(axes, data["sweeps"].filter(scheme=scheme), name, found.config["schemes"][scheme]["monitor"])
        axes.set_title(scheme, loc="left", fontsize=9, fontweight="bold")
    return {"sweeps": figures.finish(figure, grid.flat[0])}


def parameters(config: dict[str, Any], scheme: str) -> list[str]:
    """Return what the sweep of a scheme varies."""
    return list(config["schemes"][scheme]["sweep"]["parameters"])


def _panel(axes: Axes, points: pl.DataFrame, name: str, monitor: str) -> None:
    """Draw the monitored score against one parameter; words, and numbers of which there are few, at equal distances."""
    points = points.filter(pl.col(monitor).is_not_null(), pl.col(name).is_not_null())
    values = points[name].unique().sort()
    numbers = values.dtype.is_numeric() and len(values) > 6
    places = points[name].to_list() if numbers else [values.to_list().index(value) for value in points[name]]
    chosen = points["chosen"].to_list()
    axes.grid(axis="y")
    axes.plot(
        places, points[monitor], "o", color=figures.FIRST, markersize=3.2, markeredgewidth=0, alpha=0.6, label="a point"
    )
    axes.plot(
        [place for place, here in zip(places, chosen, strict=True) if here],
        points.filter("chosen")[monitor],
        "D",
        color=figures.SECOND,
        markersize=5,
        fillstyle="none",
        label="chosen",
    )
    if not numbers:
        axes.set_xticks(range(len(values)), [_word(value) for value in values])
        axes.set_xlim(-0.5, max(len(values), 1) - 0.5)
    elif values[0] > 0 and values[-1] / values[0] >= LOG_FROM:
        axes.set_xscale("log")
    axes.tick_params(labelsize=7.5, labelcolor=figures.MUTED)
    axes.set_xlabel(name, fontsize=7.5)
    axes.set_ylabel(monitor, fontsize=7.5)


def _word(value: Any) -> str:
    """Write a value of a parameter: numbers with three significant digits."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def shown(found: Results, data: dict[str, pl.DataFrame]) -> list[dict[str, Any]]:
    """Return what the page shows of each sweep and fold: how many points, the best of them, and the chosen one."""
    if "sweeps" not in data:
        return []
    told = []
    for (scheme, fold), points in data["sweeps"].group_by("scheme", "fold", maintain_order=True):
        names = parameters(found.config, str(scheme))
        best = points.filter(pl.col("rank").is_not_null()).sort("rank").head(BEST_SHOWN)
        told.append(
            {
                "scheme": scheme,
                "fold": fold,
                "monitor": found.config["schemes"][str(scheme)]["monitor"],
                "names": names,
                "n": points.height,
                "n_diverged": int(points["rank"].null_count()),
                "seeds": len(found.config["seeds"]),
                "rows": [
                    row
                    | {
                        "values": [_word(row[name]) for name in names],
                        "sd": {score: _sd(row, score) for score in SCORES},
                    }
                    for row in best.iter_rows(named=True)
                ],
            }
        )
    return told


def _sd(row: dict[str, Any], score: str) -> float | None:
    """Return the standard deviation (n - 1) over seeds; None of a single one."""
    values = [value for name, value in row.items() if name.startswith(f"{score}_seed") and value is not None]
    if len(values) < 2:
        return None
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))

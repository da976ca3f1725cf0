"""The figures of the report as SVG: the same bytes for the same numbers, text as text.

Colours are those of Okabe and Ito (2008), which readers with colour vision deficiency can tell apart. On the page each
of them becomes a variable of the style sheet, so that a figure follows the theme of the reader.
"""

from __future__ import annotations

import io
import re
from typing import Any

import matplotlib
import polars as pl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

INK, MUTED, RULE, FIRST, SECOND = "#1c2024", "#60666d", "#d5d9dd", "#0072b2", "#d55e00"
VARIABLES = {INK: "--ink", MUTED: "--muted", RULE: "--rule", FIRST: "--first", SECOND: "--second"}

WIDTH_INCHES = 4.6
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "braid",
    "font.family": "sans-serif",
    "font.size": 8.5,
    "text.parse_math": False,
    "text.color": INK,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": INK,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}
NO_METADATA = {"Creator": None, "Date": None, "Format": None, "Type": None}


@matplotlib.rc_context(STYLE)
def accuracy(schemes: pl.DataFrame, runs: pl.DataFrame, judged: str, chance: float) -> str:
    """Draw the accuracy of each scheme: a dot a run, a bar for the interval of the mean where there is one, a diamond
    for val.

    Parameters
    ----------
    schemes, runs : the tables of these names
    judged : split that schemes are compared on
    chance : accuracy of always naming the most frequent class
    """
    figure, axes = _rows(len(schemes))
    _intervals(axes, schemes, "interval")
    _dots(axes, schemes, runs, judged, "accuracy")
    axes.axvline(chance, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)), label="most frequent class")
    axes.set_xlim(0, 1.02)
    axes.set_xlabel("accuracy")
    return finish(figure, axes)


@matplotlib.rc_context(STYLE)
def log_loss(schemes: pl.DataFrame, runs: pl.DataFrame, judged: str, chance: float) -> str:
    """Draw the log loss of each scheme like the accuracy; `chance` is that of equal probabilities."""
    figure, axes = _rows(len(schemes))
    _intervals(axes, schemes, "log_loss_interval")
    _dots(axes, schemes, runs, judged, "log_loss")
    axes.axvline(chance, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)), label="equal probabilities")
    axes.set_xlim(0, 1.05 * axes.dataLim.x1)
    axes.set_xlabel("log loss in nats (less is better)")
    return finish(figure, axes)


@matplotlib.rc_context(STYLE)
def curves(histories: dict[str, list[pl.DataFrame]]) -> str:
    """Draw loss against epoch for each scheme, a thin line a run; a dot marks the epoch whose weights were kept.

    Parameters
    ----------
    histories : scheme → one table a run with the columns epoch, train_loss, val_loss, kept
    """
    n_columns = 3
    n_rows = max(-(-len(histories) // n_columns), 1)
    figure = Figure(figsize=(9, 1.75 * n_rows + 0.4))
    grid = figure.subplots(n_rows, n_columns, squeeze=False)
    for axes in list(grid.flat)[len(histories) :]:
        axes.set_axis_off()
    if not histories:
        grid.flat[0].text(0, 0.5, "None of the schemes is trained.")
    for axes, (scheme, runs) in zip(grid.flat, histories.items(), strict=False):
        learning_curves(axes, runs, scheme, "loss")
    return finish(figure, grid.flat[0])


@matplotlib.rc_context(STYLE)
def curve_panels(histories: dict[str, list[pl.DataFrame]]) -> list[str]:
    """Draw the same for the page: each panel alone, so that as many stand side by side as there is room for."""
    panels = []
    for scheme, runs in histories.items():
        figure = Figure(figsize=(3, 1.9))
        learning_curves(figure.subplots(), runs, scheme, "loss")
        panels.append(_svg(figure))
    return panels


def learning_curves(axes: Axes, runs: list[pl.DataFrame], title: str, score: str) -> None:
    """Draw `score` (`loss` or `accuracy`) on train and val against epoch, a line a run.

    Parameters
    ----------
    runs : tables with the columns epoch, train_<score>, val_<score> and kept
    """
    axes.grid(axis="y")
    axes.set_title(title, loc="left", fontsize=9, fontweight="bold")
    for history in runs:
        axes.plot(
            history["epoch"],
            history[f"train_{score}"],
            color=SECOND,
            linewidth=0.8,
            alpha=0.7,
            linestyle=(0, (3, 1.5)),
            label="train",
        )
        axes.plot(history["epoch"], history[f"val_{score}"], color=FIRST, linewidth=1, alpha=0.85, label="val")
        kept = history.filter("kept")
        axes.plot(kept["epoch"], kept[f"val_{score}"], "o", color=FIRST, markersize=3.5, label="weights kept")
    axes.set_ylim(0, 1.02 if score == "accuracy" else 1.05 * axes.dataLim.y1)
    locator: Any = axes.xaxis.get_major_locator()
    locator.set_params(integer=True)
    axes.tick_params(labelsize=7.5, labelcolor=MUTED)
    axes.set_xlabel("epoch", fontsize=7.5)
    axes.set_ylabel(score, fontsize=7.5)


@matplotlib.rc_context(STYLE)
def reliability(bins: pl.DataFrame, schemes: list[str]) -> str:
    """Draw the share of right answers against the probability that they were given, for each scheme.

    Parameters
    ----------
    bins : scheme, n, confidence, accuracy, one row a bin; the area of a dot is the share of items in it
    schemes : in the order of the panels
    """
    n_columns = 4
    n_rows = -(-len(schemes) // n_columns)
    figure = Figure(figsize=(9, 2.25 * n_rows + 0.4))
    grid = figure.subplots(n_rows, n_columns, squeeze=False)
    for axes in list(grid.flat)[len(schemes) :]:
        axes.set_axis_off()
    for axes, scheme in zip(grid.flat, schemes, strict=False):
        mine = bins.filter(scheme=scheme)
        share = (mine["n"] / mine["n"].sum()).to_numpy()
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)), label="as sure as right")
        axes.plot(mine["confidence"], mine["accuracy"], color=FIRST, linewidth=0.8)
        axes.scatter(mine["confidence"], mine["accuracy"], s=4 + 150 * share, color=FIRST, linewidth=0, alpha=0.75)
        axes.set_title(scheme, loc="left", fontsize=9, fontweight="bold")
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
        axes.tick_params(labelsize=7.5, labelcolor=MUTED)
        axes.set_xlabel("probability given", fontsize=7.5)
        axes.set_ylabel("share right", fontsize=7.5)
        for artist in (*axes.collections, *axes.lines):
            artist.set_clip_on(False)
    return finish(figure, grid.flat[0])


def inline(svg: str, name: str) -> str:
    """Return a drawn figure as an element of the page: colours from the style sheet, ids that are unique to `name`."""
    body = re.sub(r'\b(id="|xlink:href="#|url\(#)', rf"\g<1>{name}-", svg[svg.index("<svg") :])
    for colour, variable in VARIABLES.items():
        body = body.replace(colour, f"var({variable})")
    return body


def _rows(n: int) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH_INCHES, 0.28 * n + 1.0))
    axes = figure.subplots()
    axes.grid(axis="x")
    return figure, axes


def _intervals(axes: Axes, schemes: pl.DataFrame, prefix: str) -> None:
    """Draw a bar from `<prefix>_low` to `<prefix>_high` in the row of each scheme that has both."""
    for y, (low, high) in enumerate(schemes.select(f"{prefix}_low", f"{prefix}_high").iter_rows()):
        if low is not None:
            axes.hlines(y, low, high, color=FIRST, alpha=0.35, linewidth=6)


def _dots(axes: Axes, schemes: pl.DataFrame, runs: pl.DataFrame, judged: str, score: str) -> None:
    """One row a scheme, the first on top; runs of the same value are spread upwards and downwards."""
    names = schemes["scheme"].to_list()
    for y, scheme in enumerate(names):
        values = runs.filter(scheme=scheme, split=judged)[score].sort()
        spread = [y + 0.22 * ((i % 3) - 1) if len(values) > 1 else y for i in range(len(values))]
        axes.plot(values, spread, "o", color=FIRST, markersize=3.6, markeredgewidth=0, label=f"{judged}, one run")
    if judged != "val":
        axes.plot(
            schemes[f"val_{score}"],
            range(len(names)),
            "D",
            color=SECOND,
            markersize=4.2,
            fillstyle="none",
            label="val, mean",
        )
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)


def finish(figure: Figure, axes: Axes) -> str:
    """Return a figure as SVG, under a legend of what is labelled in `axes`."""
    handles, labels = axes.get_legend_handles_labels()
    one_each = dict(zip(labels, handles, strict=True))
    figure.legend(
        one_each.values(),
        one_each,
        loc="outside upper left",
        ncols=len(one_each),
        fontsize=7.5,
        labelcolor=MUTED,
        handletextpad=0.4,
        columnspacing=1.2,
    )
    return _svg(figure)


def _svg(figure: Figure) -> str:
    """Return a figure as SVG. `savefig` would draw it twice, for backends that need a layout beforehand."""
    stream = io.StringIO()
    FigureCanvasSVG(figure).print_svg(stream, metadata=NO_METADATA)
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", stream.getvalue(), flags=re.DOTALL)
    return re.sub(r"<[^>]+>", lambda tag: _rounded(tag[0]), svg)


def _rounded(tag: str) -> str:
    """Coordinates with two decimals, a hundredth of a point: half of the bytes."""
    return re.sub(r"\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}", tag)

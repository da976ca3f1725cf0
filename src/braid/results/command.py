"""`braid compare`, which puts two results folders side by side."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braid.report.wording import NONE, count, duration, mebibytes, p_value, points, score, spread
from braid.results.folder import Results

if TYPE_CHECKING:
    import polars as pl

    from braid.metrics.pairs import Pair
    from braid.results.compare import Overlap, SideBySide


def add_parser(subparsers: Any) -> None:
    """Add `braid compare` to the command line."""
    says = "put two results folders side by side: configs, scores with tests, data, versions, costs"
    parser = subparsers.add_parser("compare", help=says, description=says)
    for name in ("A", "B"):
        parser.add_argument(name.lower(), type=Path, metavar=name, help="a folder results/<name> of a finished run")
    parser.set_defaults(run=_compare)


def _compare(arguments: argparse.Namespace) -> None:
    from braid.results.compare import side_by_side  # SciPy takes a second to import; other commands do without

    a, b = Results(arguments.a), Results(arguments.b)
    found = side_by_side(a, b)
    print("\n".join(page(found, str(arguments.a), str(arguments.b))))


def page(found: SideBySide, a: str, b: str) -> Iterator[str]:
    """Yield the lines that are printed; `a` and `b` are the names of the folders."""
    yield from (f"A: {a}", f"B: {b}")
    for title, part in (
        ("Config", _differences(found.config, "The configs are the same.")),
        ("Data", aligned(("", "A", "B"), [(row[0], count(row[1]), count(row[2])) for row in found.data.rows()])),
        ("Items", [*map(_overlap, found.overlaps), *found.reasons]),
        ("Accuracy", _scores(found, "accuracy")),
        ("Log loss", _scores(found, "log_loss")),
        ("Versions", _differences(found.versions, "The versions are the same.")),
        ("Costs", _costs(found.costs)),
    ):
        yield from ("", title, "-" * len(title), *part)


def aligned(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    lines = []
    for first, *others in (heads, *rows):
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return lines


def _differences(rows: Sequence[tuple[str, str, str]], none: str) -> Iterator[str]:
    for key, a, b in rows:
        yield from (key, f"  A: {a}", f"  B: {b}")
    if not rows:
        yield none


def _overlap(overlap: Overlap) -> str:
    if overlap.same:
        return f"Fold {overlap.fold}: both have the same items, splits and labels; {len(overlap.common)} items judge."
    n_a, n_b = overlap.judged
    return (
        f"Fold {overlap.fold}: {n_a} items judge in A, {n_b} in B, {len(overlap.common)} of them in both with the same "
        f"label. Of all items {overlap.only[0]} are in A only, {overlap.only[1]} in B only; of the others "
        f"{overlap.moved} are in another split and {overlap.relabelled} have another label."
    )


def _scores(found: SideBySide, name: str) -> Iterator[str]:
    """Yield each run's own score of each scheme, mean ± sd of its runs, and the difference on the common items."""
    heads = ["scheme", "A", "B"]
    if found.pairs:
        heads += ["B - A", "95 % interval"] + (["p (Holm)", "only A", "only B"] if name == "accuracy" else [])
    rows = []
    for row in found.schemes.iter_rows(named=True):
        cells = [row["scheme"], *(score(row[f"{name}_{side}"]) + spread(row[f"{name}_sd_{side}"]) for side in "ab")]
        if found.pairs:
            pair = found.pairs.get(row["scheme"])
            cells += _difference(pair, name) if pair else [""] * (len(heads) - 3)
        rows.append(cells)
    yield from aligned(heads, rows)
    if found.pairs:
        n = sum(len(overlap.common) for overlap in found.overlaps)
        yield f"A and B: all items of each run, mean ± sd over its folds and seeds. The rest: the {n} common items."


def _difference(pair: Pair, name: str) -> list[str]:
    """Return B - A with its interval, in points of accuracy or in nats, and of the accuracy the tests."""

    def write(value: float) -> str:
        return points(100 * value) if name == "accuracy" else f"{value:+.3f}".replace("-", "−")

    limits = getattr(pair, f"{name}_interval")
    cells = [write(getattr(pair, name)), " to ".join(map(write, limits)) if limits else NONE]
    if name == "accuracy":
        cells += [p_value(pair.p_holm), count(pair.only_second), count(pair.only_first)]
    return cells


def _costs(costs: pl.DataFrame) -> list[str]:
    rows = [
        (
            row["rule"],
            *(count(row[f"jobs_{side}"]) for side in "ab"),
            *(duration(row[f"seconds_{side}"]) for side in "ab"),
            *(duration(row[f"cpu_seconds_{side}"]) for side in "ab"),
            *(mebibytes(row[f"largest_memory_mib_{side}"]) for side in "ab"),
        )
        for row in costs.iter_rows(named=True)
    ]
    heads = [f"{what} {side}" for what in ("jobs", "time", "processor", "memory") for side in "AB"]
    return aligned(("rule", *heads), rows)

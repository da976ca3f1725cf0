"""The points of a sweep: which settings a scheme with `sweep` is to be tried with. Importing this costs nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import product
from random import Random
from typing import Any

FIXED = ("type", "features", "monitor", "worth", "sweep")
"""Keys of a scheme that no sweep varies: what it is and reads, what judges the points, and what is no setting."""

Values = list[Any] | dict[str, Any]


def is_grid(sweep: Mapping[str, Any]) -> bool:
    """Return whether all combinations are tried: there is no budget for less."""
    return sweep["budget"] is None or sweep["budget"] >= math.prod(map(_count, sweep["parameters"].values()))


def points(sweep: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what each point of a sweep sets that needs no result of another, parameter → value, no two the same.

    Of a grid these are all combinations; the values of the last parameter change fastest. Else they are as many of them
    as `budget` says, drawn uniformly from lists and on the scales of ranges; the first are those of any smaller budget.

    Parameters
    ----------
    sweep : mapping
        The complete `sweep` of a scheme.
    """
    values: dict[str, Values] = sweep["parameters"]
    if is_grid(sweep):
        return [dict(zip(values, point, strict=True)) for point in product(*map(_listed, values.values()))]
    random = Random(sweep["seed"])
    found: dict[str, dict[str, Any]] = {}
    while len(found) < sweep["budget"]:
        point = {name: _draw(each, random) for name, each in values.items()}
        found.setdefault(repr(point), point)
    return list(found.values())


def _count(values: Values) -> float:
    """Return how many different values there are."""
    if isinstance(values, dict) and not values["integer"]:
        return math.inf
    return len(_listed(values))


def _listed(values: Values) -> list[Any] | range:
    """Return a list, or the whole numbers of a range."""
    return values if isinstance(values, list) else range(math.ceil(values["low"]), math.floor(values["high"]) + 1)


def _draw(values: Values, random: Random) -> Any:
    if isinstance(values, list):
        return random.choice(values)
    low, high = values["low"], values["high"]
    # Whole numbers: each is drawn for what rounds to it, so that the outer ones are as likely as the others.
    half = 0.5 if values["integer"] else 0.0
    if values["scale"] == "log":
        drawn = math.exp(random.uniform(math.log(low - half), math.log(high + half)))
    else:
        drawn = random.uniform(low - half, high + half)
    drawn = min(max(drawn, low), high)
    return round(drawn) if values["integer"] else drawn

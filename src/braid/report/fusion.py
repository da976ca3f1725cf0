"""Fusion against the single modalities: the items that only some of them get right, and the classes it gains or loses.

A modality is judged by the scheme that reads its extractor alone, the best on val where there are several. Modalities
of an ensemble are those of all schemes that it reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from braid.config import modalities_of
from braid.metrics.pairs import Outcomes
from braid.metrics.worth import agreement, class_gains

MOST_SINGLES = 8
"""More modalities are not told apart item by item: these have 256 cells."""
MOST_BESIDE = 6
"""Single modalities that a single modality is shown with."""


def singles(config: Mapping[str, Any], ranked: Sequence[str]) -> dict[str, list[str]]:
    """Return scheme → the schemes of its single modalities, for schemes of two and more modalities that have some.

    Parameters
    ----------
    ranked : names of the schemes, the best on val first
    """
    alone = _alone(config, ranked)
    found = {}
    for name in ranked:
        read = modalities_of(config["schemes"], name)
        known = [alone[extractor] for extractor in read if extractor in alone]
        if len(read) > 1 and known:
            found[name] = known
    return found


def members(config: Mapping[str, Any], ranked: Sequence[str]) -> dict[str, list[str]]:
    """Return scheme → the schemes whose answers are shown beside its own: those that it reads, and its modalities.

    Beside a single modality they are the best of the others.
    """
    alone = _alone(config, ranked)
    of = singles(config, ranked)
    found = {}
    for name in ranked:
        read = [*config["schemes"][name].get("schemes", []), *of.get(name, [])]
        beside = read or [other for other in ranked if other in alone.values()][:MOST_BESIDE]
        found[name] = [other for other in dict.fromkeys(beside) if other != name]
    return found


def agreements(outcomes: Outcomes, config: Mapping[str, Any]) -> pl.DataFrame:
    """Return one row a fusing scheme and set of its modalities: the items that exactly these get right.

    An answer is the class with the largest mean probability over seeds; an item counts once in each fold that judges
    it.
    """
    row = dict(zip(outcomes.schemes, outcomes.voted, strict=True))
    rows = [
        (scheme, " + ".join(name for name in alone if name in cell.right), len(cell.items), cell.fused_right)
        for scheme, alone in singles(config, outcomes.schemes).items()
        if len(alone) <= MOST_SINGLES
        for cell in agreement({name: row[name] for name in alone}, row[scheme])
    ]
    columns = {"scheme": pl.String, "right_alone": pl.String, "items": pl.Int64, "scheme_right": pl.Int64}
    return pl.DataFrame(rows, schema=columns, orient="row")


def gains(per_class: pl.DataFrame, config: Mapping[str, Any], ranked: Sequence[str]) -> pl.DataFrame:
    """Return one row a fusing scheme and class: its F1, that of the modality which is best in this class, and the gain.

    Parameters
    ----------
    per_class : the table of this name
    """
    f1 = {str(name): rows["f1"].to_list() for (name,), rows in per_class.group_by("scheme")}
    classes = per_class["class"].unique(maintain_order=True).to_list()
    rows = [
        (scheme, gain.name, gain.fused, gain.modality, gain.best, gain.gain)
        for scheme, alone in singles(config, ranked).items()
        for gain in class_gains(classes, f1[scheme], {name: f1[name] for name in alone})
    ]
    columns = dict.fromkeys(["scheme", "class"], pl.String) | {"f1": pl.Float64, "best_single": pl.String}
    return pl.DataFrame(rows, schema=columns | dict.fromkeys(["best_single_f1", "gain"], pl.Float64), orient="row")


def _alone(config: Mapping[str, Any], ranked: Sequence[str]) -> dict[str, str]:
    """Return extractor → the best scheme that reads nothing else."""
    alone: dict[str, str] = {}
    for name in ranked:
        entry = config["schemes"][name]
        if len(entry.get("features", [])) == 1:
            alone.setdefault(entry["features"][0], name)
    return alone

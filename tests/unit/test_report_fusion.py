"""Whose answers are compared with whose: the modalities of a scheme, whatever it reads them through."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from braid.metrics.pairs import Outcomes
from braid.report.fusion import MOST_BESIDE, MOST_SINGLES, agreements, gains, members, singles


def config(**schemes: list[str] | dict[str, Any]) -> dict[str, Any]:
    """Return a config with these schemes: a list of what they read, features but for names of schemes before them."""
    entries: dict[str, Any] = {}
    for name, read in schemes.items():
        entries[name] = {"schemes" if set(read) <= set(entries) else "features": list(read)}
    return {"schemes": entries}


CONFIG = config(
    hear=["sound"],
    see=["video"],
    look=["video"],
    late=["sound", "video"],
    early=["sound", "flow"],
    all=["late", "early"],
)
RANKED = ["all", "early", "late", "look", "hear", "see"]


def outcomes(**voted: list[int]) -> Outcomes:
    right = np.array([*voted.values()], dtype=bool)
    n = right.shape[1]
    return Outcomes(list(voted), np.arange(n), np.ones(n), np.arange(n), right.astype(float), 1.0 - right, right)


def test_a_modality_is_judged_by_its_best_scheme_and_one_without_is_left_out() -> None:
    assert singles(CONFIG, RANKED) == {"all": ["hear", "look"], "early": ["hear"], "late": ["hear", "look"]}


def test_an_ensemble_is_shown_with_what_it_reads_and_a_modality_with_the_others() -> None:
    found = members(CONFIG, RANKED)
    assert found["all"] == ["late", "early", "hear", "look"]
    assert found["late"] == ["hear", "look"]
    assert found["hear"] == ["look"]
    assert found["see"] == ["look", "hear"]
    many = {f"scheme{i}": [f"feature{i}"] for i in range(20)}
    assert all(len(beside) <= MOST_BESIDE for beside in members(config(**many), list(many)).values())


def test_items_are_counted_by_the_modalities_that_are_right() -> None:
    voted = outcomes(
        late=[1, 1, 0, 1, 0, 1], look=[1, 1, 1, 0, 0, 0], hear=[1, 0, 0, 1, 0, 0], see=[0, 0, 0, 0, 0, 0], all=[0] * 6
    )
    found = agreements(voted, CONFIG)
    assert found.filter(scheme="late").rows() == [
        ("late", "hear + look", 1, 1),
        ("late", "hear", 1, 1),
        ("late", "look", 2, 1),
        ("late", "", 2, 1),
    ]
    assert set(found["scheme"]) == {"late", "all"}


def test_too_many_modalities_are_not_told_apart() -> None:
    names = [f"feature{i}" for i in range(MOST_SINGLES + 1)]
    schemes = config(**{name: [name.removeprefix("x")] for name in names}, together=names)
    schemes["schemes"]["together"] = {"features": names}
    found = agreements(outcomes(**{name: [1, 0] for name in [*names, "together"]}), schemes)
    assert found.height == 0


def test_gains_are_taken_class_by_class() -> None:
    f1 = {"late": [0.9, 0.2], "hear": [0.5, 0.4], "look": [0.6, 0.3], "early": [0.1, 0.1], "all": [0, 0], "see": [1, 1]}
    rows = [(scheme, name, value) for scheme, both in f1.items() for name, value in zip("ab", both, strict=True)]
    table = pl.DataFrame(rows, schema={"scheme": pl.String, "class": pl.String, "f1": pl.Float64}, orient="row")
    found = gains(table, CONFIG, RANKED).filter(scheme="late")
    assert found.drop("scheme", "gain").rows() == [("a", 0.9, "look", 0.6), ("b", 0.2, "hear", 0.4)]
    assert np.allclose(found["gain"], [0.3, -0.2])

"""Points of a sweep that follow from the results of others: the tree-structured Parzen estimator of Optuna."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from braid.sweeps import Values

FIRST = 10
"""Points that are drawn at random before the estimator knows enough, and judged together."""

Point = dict[str, Any]


def search(sweep: Mapping[str, Any], judge: Callable[[list[Point]], list[float]]) -> list[Point]:
    """Return the points that an estimator has asked for, no two the same, in the order in which it did.

    It models where good points lie and where the others do, and asks for one where the former are dense against the
    latter (Bergstra, Bardenet, Bengio and Kégl, *Algorithms for hyper-parameter optimization*, NeurIPS 2011). The same
    losses give the same points, and a larger budget goes on from those of a smaller one. What it asks for again counts
    again, so that there may be fewer points than the budget.

    Parameters
    ----------
    sweep : mapping
        The complete `sweep` of a scheme, with a `budget`.
    judge : function
        From points to their losses, less is better; infinite where a point cannot be used.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=sweep["seed"], n_startup_trials=FIRST))
    space = {name: _distribution(values) for name, values in sweep["parameters"].items()}
    asked: list[Point] = []
    while len(asked) < sweep["budget"]:
        n = 1 if asked else min(FIRST, sweep["budget"])
        trials = [study.ask(space) for _ in range(n)]
        points = [{name: trial.params[name] for name in space} for trial in trials]
        for trial, loss in zip(trials, judge(points), strict=True):
            study.tell(trial, loss)
        asked += points
    return list({repr(point): point for point in asked}.values())


def _distribution(values: Values) -> BaseDistribution:
    if isinstance(values, list):
        return CategoricalDistribution(values)
    log = values["scale"] == "log"
    if values["integer"]:
        return IntDistribution(math.ceil(values["low"]), math.floor(values["high"]), log=log)
    return FloatDistribution(values["low"], values["high"], log=log)

"""Two results folders side by side, A and B; differences are B - A.

Items are matched by their names within the fold of the same name, schemes by theirs. A scheme that both have is tested
on the items that judge it in both, with the same label, as `braid.metrics.pairs` tests two schemes; how many others
there are is part of what comes back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from braid.errors import StoreError
from braid.metrics.pairs import Outcomes, Pair, compare
from braid.metrics.significance import holm
from braid.metrics.sums import contributions
from braid.report.wording import NONE
from braid.results.folder import Results


@dataclass(frozen=True)
class Overlap:
    """The items of one fold in A and B.

    Attributes
    ----------
    common : list of str
        Those that judge the schemes in both, with the same label.
    judged, only : (int, int)
        How many judge the schemes of A and of B; how many of all items, those to learn from too, only one of them has.
    moved, relabelled : int
        How many of those that both have are in another split, or have another label.
    """

    fold: str
    common: list[str]
    judged: tuple[int, int]
    only: tuple[int, int]
    moved: int
    relabelled: int

    @property
    def same(self) -> bool:
        """Whether both have the same items with the same splits and labels."""
        return not (any(self.only) or self.moved or self.relabelled)


@dataclass(frozen=True)
class SideBySide:
    """What differs between two runs.

    Attributes
    ----------
    config, versions : list of (key, A, B)
        Those that differ, as text; – where one lacks the key.
    data, schemes, costs : DataFrame
        One row a count; a scheme of either, with the scores of each run on all of its own items; a rule of either.
    overlaps : list of Overlap
        One for each fold that both have; none where `reasons` forbid to compare at all.
    pairs : dict of str to Pair
        Scheme of both → B against A on the common items; `…_holm` over these schemes.
    reasons : list of str
        Why there are no pairs, or what they leave out, in sentences.
    """

    config: list[tuple[str, str, str]]
    versions: list[tuple[str, str, str]]
    data: pl.DataFrame
    schemes: pl.DataFrame
    costs: pl.DataFrame
    overlaps: list[Overlap]
    pairs: dict[str, Pair]
    reasons: list[str]


def side_by_side(a: Results, b: Results) -> SideBySide:
    """Compare two finished runs; StoreError where one is not finished."""
    for run in (a, b):
        run.check_finished()
    reasons = list(_incomparable(a, b))
    overlaps, pairs = ([], {}) if reasons else _paired(a, b, reasons)
    both = a.provenance, b.provenance
    versions = [each["versions"] | {"git commit": each["commit"] or NONE} for each in both]
    return SideBySide(
        config=list(differences(a.config, b.config)),
        versions=list(differences(*versions)),
        data=_beside("count", *(_counts(each) for each in both)),
        schemes=_beside("scheme", *(_scores(run) for run in (a, b))),
        costs=_beside("rule", *(pl.read_csv(run.existing("tables/costs.csv")) for run in (a, b))),
        overlaps=overlaps,
        pairs=pairs,
        reasons=reasons,
    )


def differences(a: Any, b: Any, where: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield key, with dots between levels, and both values as text, wherever two nested mappings differ."""
    for key in dict.fromkeys([*a, *b]):
        path, values = f"{where}{key}", (a.get(key), b.get(key))
        if all(isinstance(value, dict) for value in values):
            yield from differences(*values, f"{path}.")
        elif values[0] != values[1] or (key in a) != (key in b):
            in_a, in_b = (_text(side[key]) if key in side else NONE for side in (a, b))
            yield path, in_a, in_b


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_text(each)}" for key, each in value.items())
    if isinstance(value, list):
        return f"[{', '.join(map(_text, value))}]"
    return "null" if value is None else str(value)


def _counts(provenance: dict[str, Any]) -> pl.DataFrame:
    rows = {"clips": provenance["n_clips"], "clips that cannot be used": provenance["n_lost_clips"]}
    rows |= {"items": provenance["n_items"], "classes": len(provenance["classes"])}
    for fold, splits in provenance["folds"].items():
        rows |= {f"fold {fold}, {split}": n for split, n in splits.items()}
    return pl.DataFrame({"count": list(rows), "n": list(rows.values())})


def _scores(run: Results) -> pl.DataFrame:
    """Return mean and standard deviation of accuracy and log loss of each scheme on the split that judges it."""
    judged = run.provenance["judged"]
    table = pl.read_csv(run.existing("tables/schemes.csv"), schema_overrides={"scheme": pl.String})
    scores = [f"{score}{sd}" for score in ("accuracy", "log_loss") for sd in ("", "_sd")]
    return table.select("scheme", *(pl.col(f"{judged}_{score}").cast(pl.Float64).alias(score) for score in scores))


def _beside(key: str, a: pl.DataFrame, b: pl.DataFrame) -> pl.DataFrame:
    """Return both tables as one, with columns `<column>_a` and `<column>_b`: the rows of A, then those of B alone."""
    order = pl.concat([a.select(key), b.select(key)]).unique(maintain_order=True)
    for name, table in (("a", a), ("b", b)):
        renamed = table.rename({column: f"{column}_{name}" for column in table.columns if column != key})
        order = order.join(renamed, on=key, how="left", maintain_order="left")
    return order


def _incomparable(a: Results, b: Results) -> Iterator[str]:
    """Yield why no item of A can be compared with one of B."""
    if a.classes != b.classes:
        only_a, only_b = sorted(set(a.classes) - set(b.classes)), sorted(set(b.classes) - set(a.classes))
        yield (
            f"The classes differ (only in A: {', '.join(only_a) or 'none'}; only in B: {', '.join(only_b) or 'none'}): "
            f"the runs answer different questions, and no scheme is tested against itself."
        )
    judged = [run.provenance["judged"] for run in (a, b)]
    if judged[0] != judged[1]:
        yield f"A judges its schemes on {judged[0]}, B on {judged[1]}: no scheme is tested against itself."


def _paired(a: Results, b: Results, reasons: list[str]) -> tuple[list[Overlap], dict[str, Pair]]:
    """Return the overlap of each fold and the comparison of each scheme that both have; add to `reasons`."""
    folds = [fold for fold in a.provenance["folds"] if fold in b.provenance["folds"]]
    alone = sorted(set(a.provenance["folds"]) ^ set(b.provenance["folds"]))
    if alone:
        reasons.append(f"Only one of the runs has the folds {', '.join(alone)}: they are left out of the tests.")
    names = [name for name in a.config["schemes"] if name in b.config["schemes"]]
    if not names:
        reasons.append("No scheme of A has the name of one of B: none is tested against itself.")
        return [], {}
    overlaps = [_overlap(a, b, fold, names[0]) for fold in folds]
    if not any(overlap.common for overlap in overlaps):
        reasons.append("No item is judged in both with the same label: no scheme is tested against itself.")
        return overlaps, {}
    groups = [dict(run.index.items().select("item", "group").iter_rows()) for run in (a, b)]
    common = {item for overlap in overlaps for item in overlap.common}
    if _parts(groups[0], common) != _parts(groups[1], common):
        reasons.append("The common items are grouped in another way in B: the tests take the groups of A.")
    return overlaps, _tested(a, b, names, overlaps, groups[0])


def _tested(
    a: Results, b: Results, names: list[str], overlaps: list[Overlap], groups: dict[str, str]
) -> dict[str, Pair]:
    """Return B against A for each scheme on the common items of all folds, adjusted over these schemes alone."""
    judged = [overlap for overlap in overlaps if overlap.common]
    rows = []
    for run in (b, a):
        for name in names:
            parts = [_outcome(run, name, overlap) for overlap in judged]
            rows.append([np.concatenate(part) for part in zip(*parts, strict=True)])
    items = [item for overlap in judged for item in overlap.common]
    folds = [overlap.fold for overlap in judged for _ in overlap.common]
    measures = [np.stack(measure) for measure in zip(*rows, strict=True)]
    cases = np.array(items), np.array(folds), np.array([groups[item] for item in items])
    # All in one, since resamples cost more than pairs that are not asked for.
    sides = [f"{run} {name}" for run in "BA" for name in names]
    pairs = {(pair.first, pair.second): pair for pair in compare(Outcomes(sides, *cases, *measures)).pairs}
    found = {name: pairs[f"B {name}", f"A {name}"] for name in names}
    p = holm([pair.p for pair in found.values()])
    exact = [pair.p_mcnemar for pair in found.values() if pair.p_mcnemar is not None]
    exact = holm(exact) if exact else [None] * len(p)
    return {
        name: replace(pair, p_holm=p_holm, p_mcnemar_holm=p_exact)
        for (name, pair), p_holm, p_exact in zip(found.items(), p, exact, strict=True)
    }


def _parts(groups: dict[str, str], items: set[str]) -> set[frozenset[str]]:
    """Return the parts that groups cut the items into, whatever their names."""
    parts: dict[str, set[str]] = {}
    for item in items:
        parts.setdefault(groups[item], set()).add(item)
    return {frozenset(part) for part in parts.values()}


def _overlap(a: Results, b: Results, fold: str, scheme: str) -> Overlap:
    """Return which items both have, as the first run of a scheme says; all runs of a fold have the same items."""
    sides = []
    for run in (a, b):
        found = run.read_predictions(scheme, fold, run.config["seeds"][0])
        sides.append(dict(zip(found.items, zip(found.splits, found.labels.tolist(), strict=True), strict=True)))
    of_a, of_b = sides
    judged = [
        [item for item, (split, label) in side.items() if split == run.provenance["judged"] and label >= 0]
        for run, side in ((a, of_a), (b, of_b))
    ]
    both = of_a.keys() & of_b.keys()
    return Overlap(
        fold=fold,
        common=[item for item in judged[0] if of_b.get(item) == of_a[item]],
        judged=(len(judged[0]), len(judged[1])),
        only=(len(of_a.keys() - both), len(of_b.keys() - both)),
        moved=sum(of_a[item][0] != of_b[item][0] for item in both),
        relabelled=sum(of_a[item][1] != of_b[item][1] for item in both),
    )


def _outcome(run: Results, scheme: str, overlap: Overlap) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return right, log loss and vote [N], as in `Outcomes`, of the common items of a fold."""
    by_seed = []
    for seed in run.config["seeds"]:
        found = run.read_predictions(scheme, overlap.fold, seed)
        row_of = {item: row for row, item in enumerate(found.items)}
        missing = [item for item in overlap.common if item not in row_of]
        if missing:
            raise StoreError(
                f"{run.folder}: the runs of fold {overlap.fold} do not judge the same items, {missing[0]!r} is lacking "
                f"in {scheme} with seed {seed}; run the workflow again."
            )
        rows = [row_of[item] for item in overlap.common]
        p = found.probabilities[rows]
        answers = contributions(found.labels[rows], p, len(found.classes))
        by_seed.append((answers.right, answers.log_loss, p, found.labels[rows]))
    right, log_loss, p, labels = (np.stack(part) for part in zip(*by_seed, strict=True))
    return right.mean(axis=0), log_loss.mean(axis=0), p.sum(axis=0, dtype=np.float64).argmax(axis=1) == labels[0]

"""What the report says of the schemes that are asked what each modality is worth, see `braid.schemes.weigh`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from braid.errors import StoreError
from braid.report import weighed
from braid.report.collect import Results, Run

ROW = {"scheme": pl.String, "row": pl.String, "modalities": pl.String, "level": pl.Float64, "split": pl.String}
ROW |= {"fold": pl.String, "n": pl.Int64, "lacking": pl.Int64, "accuracy": pl.Float64, "log_loss": pl.Float64}
ROW |= {"accuracy_draw_sd": pl.Float64, "log_loss_draw_sd": pl.Float64}


def modalities(found: Results) -> pl.DataFrame:
    """One row a scheme and number of its modalities, mean and standard deviation (n - 1) over folds and seeds.

    `row` says what it is: `retrained`, trained on just these `modalities`; `masked`, the trained scheme without the
    others; `permuted` and `noise` of some `level`, the trained scheme with this modality so; `share`, the Shapley value
    of this modality, in accuracy and in what the log loss falls by. `n` items have all modalities, over all folds, and
    `lacking` have not. Of several draws within a run `accuracy_draw_sd` and `log_loss_draw_sd` are the standard
    deviation, as the root of the mean square over runs.
    """
    rows = [
        {"scheme": name, "fold": run.fold} | row
        for name in weighed(found.config)
        for run in found.runs_of(name)
        for row in _rows(_read(run))
    ]
    per_run = pl.DataFrame(rows, schema=ROW)
    scores = ("accuracy", "log_loss")
    return per_run.group_by("scheme", "row", "modalities", "level", maintain_order=True).agg(
        pl.col("split").unique(maintain_order=True).str.join(" and "),
        # The same items in each seed.
        *((pl.col(count).sum() // (pl.len() // pl.n_unique("fold"))).alias(count) for count in ("n", "lacking")),
        pl.len().alias("runs"),
        *(each for score in scores for each in (pl.mean(score), pl.std(score).alias(f"{score}_sd"))),
        *(pl.col(f"{score}_draw_sd").pow(2).mean().sqrt() for score in scores),
    )


def _read(run: Run) -> dict[str, Any]:
    path = run.folder / "worth.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read ({error}); delete it and run again.") from error


def _rows(told: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the numbers of one run in the columns of `ROW`."""
    items = {key: told[key] for key in ("split", "n", "lacking")}
    for row in ("retrained", "masked"):
        for subset in told["subsets"]:
            yield items | {"row": row, "modalities": " + ".join(subset["modalities"])} | subset[row]
    for name in told["modalities"]:
        shares = {score: of[name] for score, of in told["shapley"].items()}
        yield items | {"row": "share", "modalities": name} | shares
    for each in told["disturbed"]:
        drawn = {f"{score}_draw_sd": each[f"{score}_sd"] for score in ("accuracy", "log_loss")}
        scores = {score: each[score] for score in ("accuracy", "log_loss")}
        yield items | {"row": each["how"], "modalities": each["modality"], "level": each.get("level")} | scores | drawn


def tabulate(found: Results) -> dict[str, pl.DataFrame]:
    """Return the table that is written as csv, by its name; none where no scheme is asked."""
    return {"modalities": modalities(found)} if weighed(found.config) else {}


def shown(data: Mapping[str, pl.DataFrame]) -> list[dict[str, Any]]:
    """Return what the page shows of the table `modalities`: for each scheme its subsets, and its modalities.

    A subset has its `retrained` and `masked` row, a modality its `share`, `permuted` and `noise` rows; `all` and
    `none` are the trained scheme and the class prior.
    """
    if "modalities" not in data:
        return []
    return [_of_scheme(part.to_dicts()) for part in data["modalities"].partition_by("scheme", maintain_order=True)]


def _of_scheme(rows: list[dict[str, Any]]) -> dict[str, Any]:
    of: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for row in rows:
        of.setdefault(row["row"], {}).setdefault(row["modalities"], []).append(row)
    subsets = [
        {"modalities": name, "retrained": retrained, "masked": of["masked"][name][0]}
        for name, (retrained,) in of["retrained"].items()
    ]
    return {key: rows[0][key] for key in ("scheme", "split", "n", "lacking", "runs")} | {
        "subsets": subsets,
        "none": subsets[0]["retrained"],
        "all": subsets[-1]["retrained"],
        "modalities": [
            {"name": name, "share": share, "permuted": of["permuted"][name][0], "noise": of["noise"][name]}
            for name, (share,) in of["share"].items()
        ],
    }

"""Build the report: collect, tabulate, draw, and fill the template."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import jinja2
import polars as pl
import yaml
from markupsafe import Markup

from braid.files import whole, write_text
from braid.metrics.pairs import compare
from braid.report import (
    backbones,
    comparison,
    costs,
    figures,
    fusion,
    modalities,
    provenance,
    published,
    sweeps,
    tables,
    wording,
)
from braid.report.collect import Results, collect

PROBLEMS_SHOWN = 200
"""Rows of the table of problems on the page; all of them are in the csv."""
MOST_CSV_BYTES = 250_000
"""Of a table that can be downloaded from the page itself; larger ones are beside it only."""


def build_report(results: Path, config: dict[str, Any], template: Path) -> None:
    """Write every file of `braid.report.outputs` into `results`; the same results give the same bytes.

    Parameters
    ----------
    results : folder `results/<name>`, in which all other stages are done
    config : complete config, as `braid.config.load` returns it
    template : the page as a Jinja template

    Raises
    ------
    StoreError
        A file of an earlier stage is missing or cannot be read; the message names it.
    """
    found = collect(results, config)
    data = tabulate(found)
    drawings = draw(found, data)
    for name, table in data.items():
        with whole(results / "tables" / f"{name}.csv") as path:
            table.write_csv(path)
    for name, svg in drawings.items():
        write_text(results / "figures" / f"{name}.svg", svg)
    item, label = config["report"]["submission_columns"]
    with whole(results / "submission.csv") as path:
        data["predictions"].select(pl.col("item").alias(item), pl.col("label").alias(label)).write_csv(path)
    record = _record(found, provenance.commit(template.parent))
    write_text(results / "provenance.json", json.dumps(record, indent=1, ensure_ascii=False))
    write_text(results / "report.html", _page(found, data, drawings, template))


def tabulate(found: Results) -> dict[str, pl.DataFrame]:
    """Return every table that is written as csv, by its name."""
    runs = tables.runs(found)
    schemes = tables.schemes(found, runs)
    ranked = schemes["scheme"].to_list()
    outcomes = comparison.outcomes(found, ranked)
    compared = compare(outcomes)
    per_class = tables.per_class(found)
    certain = comparison.with_certainty(schemes, compared)
    extractors = tables.extractors(found)
    jobs = costs.with_gpu(found.costs, extractors)
    return (
        {
            "schemes": certain,
            "runs": runs,
            "pairs": comparison.pairs(compared),
            "reliability": comparison.reliability(found),
            "curves": tables.curves(found),
            "per_class": per_class,
            "gains": fusion.gains(per_class, found.config, ranked),
            "agreement": fusion.agreements(outcomes, found.config),
            "confusions": tables.confusions(found),
            "predictions": tables.predictions(found, schemes["scheme"][0]),
            "problems": found.problems,
            "streams": tables.streams(found),
            "costs": costs.costs(jobs),
            "costs_by_name": costs.costs_by_name(jobs),
            "reruns": costs.reruns(jobs, found.config),
            "sizes": found.sizes,
            "extractors": extractors,
        }
        | backbones.tabulate(found)
        | modalities.tabulate(found)
        | sweeps.tabulate(found)
        | published.tabulate(found, certain, extractors)
    )


def draw(found: Results, data: dict[str, pl.DataFrame]) -> dict[str, str]:
    """Return each figure as SVG, by its name."""
    judged, guess = tables.judged_split(found), tables.chance(found)
    return (
        {
            "accuracy": figures.accuracy(data["schemes"], data["runs"], judged, guess["accuracy"]),
            "log_loss": figures.log_loss(data["schemes"], data["runs"], judged, guess["log_loss"]),
            "reliability": figures.reliability(data["reliability"], data["schemes"]["scheme"].to_list()),
            "curves": figures.curves(tables.histories(found)),
        }
        | backbones.draw(found)
        | sweeps.draw(found, data)
    )


def _record(found: Results, commit: str) -> dict[str, Any]:
    """Return what the numbers were made from, for `braid.results`."""
    return {
        "config": found.config,
        "versions": provenance.versions(),
        "commit": commit,
        "classes": found.index.classes,
        "judged": tables.judged_split(found),
        "n_clips": found.items["clip"].n_unique(),
        "n_lost_clips": found.n_lost_clips,
        "n_items": found.items.height,
        "folds": {row.pop("fold"): row for row in tables.splits(found)},
    }


def _page(found: Results, data: dict[str, pl.DataFrame], drawings: dict[str, str], template: Path) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template.parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    environment.filters |= wording.FILTERS
    schemes = data["schemes"].to_dicts()
    return environment.get_template(template.name).render(
        config=found.config,
        judged=tables.judged_split(found),
        n_judged=tables.labelled_items(found, tables.judged_split(found)),
        n_items=found.items.height,
        n_clips=found.items["clip"].n_unique(),
        n_to_predict=len(tables.to_predict(found)),
        n_guessed=int(data["predictions"]["guessed"].sum()),
        classes=found.index.classes,
        chance=tables.chance(found),
        splits=tables.splits(found),
        schemes=schemes,
        best=schemes[0],
        best_single=next((scheme for scheme in schemes if scheme["type"] == "single"), None),
        confused=_most_confused(data["confusions"], schemes[0]["scheme"]),
        gains=data["gains"].filter(scheme=schemes[0]["scheme"])["gain"].to_list(),
        pairs=comparison.matrix(data["pairs"]),
        n_pairs=data["pairs"].height,
        n_groups=comparison.n_groups(found),
        problems=data["problems"].to_dicts(),
        n_lost_clips=found.n_lost_clips,
        n_problems_shown=PROBLEMS_SHOWN,
        streams=data["streams"].to_dicts(),
        costs=data["costs"].to_dicts(),
        costs_by_name=data["costs_by_name"].to_dicts(),
        reruns=data["reruns"].to_dicts(),
        sizes=data["sizes"].to_dicts(),
        extractors=data["extractors"].to_dicts(),
        flow_pictures=found.pictures,
        modalities=modalities.shown(data),
        sweeps=sweeps.shown(found, data),
        published=data["published"].to_dicts() if "published" in data else [],
        backbones=backbones.shown(found, data),
        data=_data(found, data),
        csv={name: _csv(table) for name, table in data.items()},
        curves=[
            Markup(figures.inline(svg, f"curve{i}"))
            for i, svg in enumerate(figures.curve_panels(tables.histories(found)))
        ],
        figures={name: Markup(figures.inline(svg, name)) for name, svg in drawings.items()},
        random=provenance.random_networks(data["extractors"]),
        versions=provenance.versions(),
        commit=provenance.commit(template.parent),
        config_text=yaml.safe_dump(found.config, sort_keys=False, allow_unicode=True),
    )


def _most_confused(confusions: pl.DataFrame, scheme: str) -> dict[str, Any] | None:
    """Return the cell of most errors of a scheme and the `support` of its row; None where every answer is right."""
    mine = confusions.filter(scheme=scheme).with_columns(support=pl.col("count").sum().over("true"))
    wrong = mine.filter(pl.col("true") != pl.col("predicted"), pl.col("count") > 0)
    return wrong.sort("count", descending=True, maintain_order=True).row(0, named=True) if wrong.height else None


def _csv(table: pl.DataFrame) -> str:
    """Return a table as the data URL of a csv file; empty where it is too large for a page."""
    text = table.write_csv().encode()
    return f"data:text/csv;charset=utf-8;base64,{b64encode(text).decode()}" if len(text) <= MOST_CSV_BYTES else ""


def _data(found: Results, data: dict[str, pl.DataFrame]) -> dict[str, Any]:
    """Return what the script of the page fills matrices, tables and clips from: each number once, as JSON."""
    ranked = data["schemes"]["scheme"].to_list()
    beside = fusion.members(found.config, ranked)
    scores = data["per_class"].with_columns(pl.col("precision", "recall", "f1").round(4))
    gains = data["gains"].with_columns(pl.col("best_single_f1", "gain").round(4))
    number = {name: position for position, name in enumerate(found.clips["schemes"])}
    clips = [clip | {"answers": [clip["answers"][number[name]] for name in ranked]} for clip in found.clips["clips"]]
    return {
        "classes": found.index.classes,
        "schemes": {
            scheme: {
                "confusion": tables.summed_confusion(found, scheme),
                "scores": scores.filter(scheme=scheme).select("precision", "recall", "f1", "support").rows(),
                "gains": {
                    row["class"]: [row["best_single"], row["best_single_f1"], row["gain"]]
                    for row in gains.filter(scheme=scheme).iter_rows(named=True)
                },
                "agreement": data["agreement"].filter(scheme=scheme).drop("scheme").rows(),
                "runs": len(found.runs_of(scheme)),
                "members": beside[scheme],
            }
            for scheme in ranked
        },
        "clips": clips,
    }

"""Everything that the report shows, read from `results/<name>/` once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import polars as pl

from braid import config as configs
from braid import index as indexes
from braid import weights
from braid.errors import StoreError
from braid.extractors.registry import REGISTRY
from braid.index import Index
from braid.report.examples import flow_methods
from braid.store.features import FeatureShard

REPORT_RULE = "build_report"
"""Left out of the costs: the report cannot hold what it cost itself."""
STAGES = ("decoded", "flow", "descriptors", "words", "backbones", "features", "schemes")
"""Folders whose sizes are shown."""


@dataclass(frozen=True)
class Run:
    """One training of a scheme: a fold and a seed, its evaluation and its learning curve."""

    scheme: str
    fold: str
    seed: int
    metrics: dict[str, Any]
    history: pl.DataFrame
    folder: Path

    @property
    def predictions(self) -> Path:
        """Path of the probabilities that this run gives to every item."""
        return self.folder / "predictions.h5"


@dataclass(frozen=True)
class Training:
    """One training of a backbone: its evaluation on val, its learning curve, and the test of order if there is one."""

    backbone: str
    fold: str
    metrics: dict[str, Any]
    history: pl.DataFrame
    order: dict[str, Any] | None


@dataclass(frozen=True)
class Results:
    """What a report is made from.

    Attributes
    ----------
    index : Index
    items : DataFrame
        One row an item, with the columns of the manifest.
    folder : Path
        `results/<name>`.
    runs : list of Run
        In the order of schemes in the config, then folds, then seeds.
    trainings : list of Training
        In the order of backbones in the config, then folds.
    extractors : dict
        Extractor → attributes of its first feature shard.
    flow : dict
        Flow method that an extractor reads → attributes of a flow shard.
    pictures : dict
        Flow method that is computed → what `braid.report.flow_pictures.draw_flow` wrote.
    clips : dict
        What `braid.report.clips.draw_clips` wrote.
    receipts : dict
        Section of the config, `extractors`, `flow` or `backbones` → name → what its official weights are, of those that
        have some.
    statuses : dict
        Extractor → how many items have which status of the stream that it reads.
    problems : DataFrame
        clip, video, audio, stream, status, reason, shard.
    n_lost_clips : int
        Clips of which no stream can be used.
    costs : DataFrame
        rule, name (of the extractor, flow method, backbone or scheme; may be empty), seconds, cpu_seconds, memory_mib:
        one row a job.
    sizes : DataFrame
        stage, files, mebibytes: one row a folder of an earlier stage.
    """

    config: dict[str, Any]
    index: Index
    items: pl.DataFrame
    folds: list[str]
    folder: Path
    runs: list[Run]
    trainings: list[Training]
    extractors: dict[str, dict[str, Any]]
    flow: dict[str, dict[str, Any]]
    pictures: dict[str, dict[str, Any]]
    clips: dict[str, Any]
    receipts: dict[str, dict[str, dict[str, Any]]]
    statuses: dict[str, Counter[str]]
    problems: pl.DataFrame
    n_lost_clips: int
    costs: pl.DataFrame
    sizes: pl.DataFrame

    def runs_of(self, scheme: str) -> list[Run]:
        """Return the runs of one scheme."""
        return [run for run in self.runs if run.scheme == scheme]


def collect(results: Path, config: dict[str, Any]) -> Results:
    """Read what the report shows; only what `config` names is read, whatever else the folder holds.

    Raises
    ------
    StoreError
        A file that an earlier stage writes is missing or cannot be read; the message names it.
    """
    index = indexes.load(results / "index")
    folds = configs.folds(config, index.splits)
    attributes, statuses = _features(results / "features", config["extractors"], folds[0], index)
    flow = dict(_flow_read(config, name, attrs) for name, attrs in attributes.items())
    flow.pop("", None)
    return Results(
        config=config,
        index=index,
        items=index.items(),
        folds=folds,
        runs=read_runs(results, config["schemes"], folds, config["seeds"]),
        folder=results,
        trainings=[
            _training(
                results / "backbones" / backbone / f"fold{fold}", backbone, fold, settings.get("order_test", 0) > 0
            )
            for backbone, settings in config["backbones"].items()
            for fold in folds
        ],
        extractors=attributes,
        flow=flow,
        pictures={name: _json(results / "flow" / name / "examples.json") for name in flow_methods(config)},
        clips=_json(results / "clips" / "clips.json"),
        receipts={
            section: {
                name: _json(results / "weights" / section / f"{name}.json")
                for name in names
                if weights.is_pretrained(config[section][name])
            }
            for section, names in (("extractors", attributes), ("flow", flow), ("backbones", config["backbones"]))
        },
        statuses=statuses,
        problems=_table(
            results / "decoded" / "problems.tsv", separator="\t", infer_schema=False, empty_string_is_null=False
        ),
        n_lost_clips=_json(results / "decoded" / "counts.json")["bad"],
        costs=_costs(results / "benchmarks"),
        sizes=_sizes(results),
    )


def read_runs(results: Path, schemes: Iterable[str], folds: Iterable[str], seeds: Iterable[int]) -> list[Run]:
    """Read every training of `schemes`: in their order, then that of folds, then seeds."""
    return [
        _run(results / "schemes" / scheme / f"fold{fold}" / f"seed{seed}", scheme, fold, seed)
        for scheme, fold, seed in product(schemes, folds, seeds)
    ]


def judged_on(runs: Iterable[Run]) -> str:
    """Return the split that schemes are compared on: `test`, or `val` where no test item has a label."""
    return "test" if all(run.metrics["test"] for run in runs) else "val"


def _run(folder: Path, scheme: str, fold: str, seed: int) -> Run:
    return Run(scheme, fold, seed, _json(folder / "metrics.json"), _table(folder / "history.csv"), folder)


def _flow_read(config: dict[str, Any], extractor: str, attrs: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the flow method that an extractor reads, itself or its backbone, and the attributes of the flow; or ""."""
    settings = config["extractors"][extractor]
    if "flow" in settings:
        return settings["flow"], attrs["source"]
    if "backbone" in settings and "flow" in attrs["source"]:
        return config["backbones"][settings["backbone"]]["flow"], attrs["source"]["flow"]
    return "", {}


def _training(folder: Path, backbone: str, fold: str, has_order: bool) -> Training:
    order = _json(folder / "order.json") if has_order else None
    return Training(backbone, fold, _json(folder / "metrics.json"), _table(folder / "history.csv"), order)


def _features(
    folder: Path, extractors: dict[str, Any], fold: str, index: Index
) -> tuple[dict[str, dict[str, Any]], dict[str, Counter[str]]]:
    attributes: dict[str, dict[str, Any]] = {}
    statuses: dict[str, Counter[str]] = {extractor: Counter() for extractor in extractors}
    for extractor, settings in extractors.items():
        # Of an extractor with features for each fold those of the first one: attributes and statuses are the same.
        place = folder / extractor / (f"fold{fold}" if REGISTRY[settings["type"]].fitted else "")
        for shard in index.shards:
            with FeatureShard(place / f"{shard}.h5") as features:
                attributes.setdefault(extractor, features.attrs)
                present = set(index.items(shard)["item"])  # rows of clips that were removed since stay in the file
                statuses[extractor].update(
                    status for item, status in zip(features.items, features.status, strict=True) if item in present
                )
    return attributes, statuses


def _costs(folder: Path) -> pl.DataFrame:
    """Read the benchmark files of Snakemake; `NA` is what it did not see.

    They are `<rule>.tsv`, `<rule>/<shard>.tsv` or `<rule>/<name>/…/*.tsv`, where a name is one of the config.
    """
    columns = {
        "rule": pl.String,
        "name": pl.String,
        "seconds": pl.Float64,
        "cpu_seconds": pl.Float64,
        "memory_mib": pl.Float64,
    }
    rows = []
    for path in sorted(folder.rglob("*.tsv")):
        parts = path.relative_to(folder).parts
        rule, name = parts[0].removesuffix(".tsv"), parts[1] if len(parts) > 2 else ""
        if rule != REPORT_RULE:
            for job in _table(path, separator="\t", infer_schema=False).iter_rows(named=True):
                rows.append((rule, name, _number(job["s"]), _number(job["cpu_time"]), _number(job["max_rss"])))
    return pl.DataFrame(rows, schema=columns, orient="row")


def _sizes(results: Path) -> pl.DataFrame:
    """Return how many files of what size the stages that can be dear have left; none where they were deleted."""
    rows = []
    for stage in STAGES:
        sizes = [path.stat().st_size for path in (results / stage).rglob("*") if path.is_file()]
        if sizes:
            rows.append((stage, len(sizes), sum(sizes) / 2**20))
    return pl.DataFrame(rows, schema={"stage": pl.String, "files": pl.Int64, "mebibytes": pl.Float64}, orient="row")


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None


def _json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def _table(path: Path, **options: Any) -> pl.DataFrame:
    try:
        return pl.read_csv(path, **options)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> StoreError:
    return StoreError(f"{path} cannot be read ({error}); delete it and run again")

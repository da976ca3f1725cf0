"""What a run cost, by rule and by name in the config, and what a change would cost again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from braid.config import inputs_of

SECTION_OF = (
    dict.fromkeys(("compute_flow", "draw_flow"), "flow")
    | dict.fromkeys(("train_backbone", "test_order"), "backbones")
    | dict.fromkeys(("extract_features", "extract_trained", "describe_shard", "fit_words", "count_words"), "extractors")
    | dict.fromkeys(("sweep_scheme", "train_scheme", "weigh_modalities"), "schemes")
)
"""Rule → the section of the config that its jobs are for an entry of."""
ON_GPU = ("compute_flow", "train_backbone", "test_order", "extract_features", "extract_trained")
"""Rules that ask for a GPU (`gpu` of their resources), where there is one."""


def with_gpu(jobs: pl.DataFrame, networks: pl.DataFrame) -> pl.DataFrame:
    """Add `section` to the jobs, and `gpu_seconds`: the wall time of those that had a GPU.

    Whether one had is recorded with what it made, as the device of its network. It is null for rules that use none.

    Parameters
    ----------
    jobs : DataFrame
        `braid.report.collect.Results.costs`
    networks : DataFrame
        Columns section, name, device, see `braid.report.tables.extractors`.
    """
    devices = networks.select("section", "name", pl.col("device").cast(pl.String))
    section = pl.col("rule").replace_strict(SECTION_OF, default=None, return_dtype=pl.String)
    jobs = jobs.with_columns(section=section).join(devices, on=["section", "name"], how="left", maintain_order="left")
    on_gpu = ~pl.col("device").fill_null("cpu").str.starts_with("cpu")
    seconds = pl.when(pl.col("rule").is_in(ON_GPU)).then(pl.when(on_gpu).then("seconds").otherwise(0.0))
    return jobs.with_columns(gpu_seconds=seconds).drop("device")


def costs(jobs: pl.DataFrame) -> pl.DataFrame:
    """One row a rule, the longest first: jobs, wall, processor and GPU time of all jobs, largest memory of one."""
    return _by(jobs, ["rule"])


def costs_by_name(jobs: pl.DataFrame) -> pl.DataFrame:
    """One row an extractor, flow method, backbone or scheme and rule that ran for it, as in `costs`."""
    return _by(jobs.filter(pl.col("name") != ""), ["rule", "name"])


def reruns(jobs: pl.DataFrame, config: Mapping[str, Any]) -> pl.DataFrame:
    """One row a change, the dearest first: what the jobs took that it would run again; the report is left out.

    The first row, of the section `decode`, is everything: all that follows from other settings of decoding. Each other
    is an entry of the config with what reads it, directly or not.
    """
    rows = [{"section": "decode", "name": ""} | _sums(jobs)]
    for section in ("flow", "backbones", "extractors", "schemes"):
        for name in config[section]:
            reached = pl.DataFrame(sorted(_reached(config, section, name)), schema=["section", "name"], orient="row")
            again = jobs.join(reached, on=["section", "name"], how="semi")
            rows.append({"section": section, "name": name} | _sums(again))
    return pl.DataFrame(rows, infer_schema_length=None).sort("seconds", descending=True, maintain_order=True)


def _reached(config: Mapping[str, Any], section: str, name: str) -> set[tuple[str, str]]:
    """Return an entry of the config and all entries that read it, directly or not."""
    found = {(section, name)}
    for reader in _readers(config, section, name):
        found |= _reached(config, *reader)
    return found


def _readers(config: Mapping[str, Any], section: str, name: str) -> Iterator[tuple[str, str]]:
    key = {"flow": "flow", "backbones": "backbone"}.get(section, "")
    for above in ("backbones", "extractors"):
        yield from ((above, reader) for reader, entry in config[above].items() if key and entry.get(key) == name)
    for reader, entry in config["schemes"].items():
        reads = "extractors" if "features" in entry else "schemes"
        if section == reads and name in inputs_of(entry):
            yield "schemes", reader


def _sums(jobs: pl.DataFrame) -> dict[str, Any]:
    row = {"jobs": jobs.height}
    return row | {key: jobs[key].sum() for key in ("seconds", "cpu_seconds", "gpu_seconds")}


def _by(jobs: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    return (
        jobs.group_by(by)
        .agg(
            jobs=pl.len(),
            seconds=pl.col("seconds").sum(),
            **{key: _known(key) for key in ("cpu_seconds", "gpu_seconds")},
            longest_job_seconds=pl.col("seconds").max(),
            largest_memory_mib=pl.col("memory_mib").max(),
        )
        .sort(["seconds", *by], descending=[True, *(False for _ in by)])
    )


def _known(key: str) -> pl.Expr:
    """Return the sum of a column, null where nothing of it is known."""
    return pl.when(pl.col(key).is_not_null().any()).then(pl.col(key).sum())

"""What a run cost on which device, and what a change would run again."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest

from braid.report import costs

RULES = Path(__file__).parents[2] / "workflow" / "rules"
JOBS = pl.DataFrame(
    [
        ("decode_shard", "", 10.0, 20.0),
        ("compute_flow", "dis", 1.0, 2.0),
        ("compute_flow", "raft", 2.0, 2.0),
        ("extract_features", "sound", 4.0, None),
        ("extract_features", "motion", 8.0, 8.0),
        ("train_backbone", "tall", 16.0, 16.0),
        ("extract_trained", "own", 32.0, 32.0),
        ("train_scheme", "sound", 64.0, 64.0),
        ("train_scheme", "both", 128.0, 128.0),
        ("train_scheme", "all", 256.0, 256.0),
    ],
    schema={"rule": pl.String, "name": pl.String, "seconds": pl.Float64, "cpu_seconds": pl.Float64},
    orient="row",
).with_columns(memory_mib=pl.lit(1.0))
NETWORKS = pl.DataFrame(
    [
        ("extractors", "sound", "cuda"),
        ("extractors", "motion", "cpu"),
        ("extractors", "own", "cuda"),
        ("backbones", "tall", "cuda"),
        ("flow", "raft", "cuda"),
        ("flow", "dis", None),
    ],
    schema=["section", "name", "device"],
    orient="row",
)
CONFIG = {
    "flow": {"dis": {}, "raft": {}},
    "backbones": {"tall": {"flow": "raft"}},
    "extractors": {"sound": {}, "motion": {"flow": "dis"}, "own": {"backbone": "tall"}},
    "schemes": {
        "sound": {"features": ["sound"]},
        "both": {"features": ["sound", "own"]},
        "all": {"schemes": ["sound", "both"]},
    },
}


def test_gpu_time_is_that_of_jobs_whose_network_was_on_one() -> None:
    table = costs.costs(costs.with_gpu(JOBS, NETWORKS))
    found = dict(table.select("rule", "gpu_seconds").iter_rows())
    assert found["extract_features"] == 4 and found["compute_flow"] == 2 and found["train_backbone"] == 16
    assert found["decode_shard"] is None and found["train_scheme"] is None


def test_a_change_runs_again_what_reads_it() -> None:
    """Each job has a time of its own power of two, so that a sum says which ones are in it."""
    found = costs.reruns(costs.with_gpu(JOBS, NETWORKS), CONFIG).rows_by_key(
        ["section", "name"], named=True, unique=True
    )
    seconds = {".".join(filter(None, key)): row["seconds"] for key, row in found.items()}
    assert seconds == {
        "decode": 521.0,
        "flow.raft": 2 + 16 + 32 + 128 + 256,
        "flow.dis": 1 + 8,
        "backbones.tall": 16 + 32 + 128 + 256,
        "extractors.sound": 4 + 64 + 128 + 256,
        "extractors.own": 32 + 128 + 256,
        "extractors.motion": 8,
        "schemes.sound": 64 + 256,
        "schemes.both": 128 + 256,
        "schemes.all": 256,
    }
    assert next(iter(found)) == ("decode", "")
    assert found["flow", "raft"]["gpu_seconds"] == 2 + 16 + 32 and found["flow", "raft"]["jobs"] == 5
    assert found["extractors", "sound"]["cpu_seconds"] == pytest.approx(448)


def test_rules_are_those_of_the_workflow() -> None:
    """A rule for an entry of the config, or on a GPU, that is not told of would be left out of the sums."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(RULES.glob("*.smk")))
    rules = dict(re.findall(r"(?m)^rule (\w+):\n((?:.*\n)*?)(?=^rule |\Z)", text))
    wildcard = {"method": "flow", "backbone": "backbones", "extractor": "extractors", "scheme": "schemes"}
    sections = {}
    for name, rule in rules.items():
        found = re.search(r"benchmarks/\w+/\{\{(\w+)\}\}", rule)
        if found and found[1] in wildcard:
            sections[name] = wildcard[found[1]]
    assert sections == costs.SECTION_OF
    assert {name for name, rule in rules.items() if re.search(r"(?m)^        gpu=", rule)} == set(costs.ON_GPU)

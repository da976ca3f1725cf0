"""What backbones learn from scratch of clips whose answer is known; `make learn` runs it, `make test` a small part.

It runs config/presets/learn.yaml in this checkout and prints a table, which it keeps in benchmarks/results/learn.json.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from .conftest import ROOT
from .known import FACTORS, bound, shares

RESULTS = ROOT / "results" / "learn"
KEPT = ROOT / "benchmarks" / "results" / "learn.json"
CEILINGS = {
    "flow": 0.5,
    "rgb": 0.5,
    "small": 0.5,
    "segments": 0.5,
    "flow_grey": 0.5,
    "zeros_grey": 0.5,
    "frame": 0.25,
    "mel": 0.25,
}
LEARNT = {  # the factors that a backbone must know
    "flow": ["direction"],
    "rgb": ["digit", "direction"],
    "small": ["digit", "direction"],
    "segments": ["digit", "direction"],
    "flow_grey": ["digit", "direction"],
    "zeros_grey": ["digit", "direction"],
    "frame": ["digit"],
    "mel": ["sound"],
}
MOST_MULTIPLY_ADDS = 0.1e9
SEQUENCES = ("rgb", "small")
ORDERED = ("flow", *SEQUENCES)


@pytest.fixture(scope="module")
def table() -> dict[str, dict[str, Any]]:
    """Shares that are right, and what each backbone costs."""
    command = [sys.executable, "-m", "snakemake", "--configfile", "config/presets/learn.yaml", "--cores", "all"]
    subprocess.run([*command, "--quiet"], cwd=ROOT, check=True, timeout=3600)
    rows: dict[str, dict[str, Any]] = {}
    for name in (*CEILINGS, "rgb_mel"):
        rows[name] = {key: round(value, 3) for key, value in shares(RESULTS, name).items()}
    for name, ceiling in CEILINGS.items():
        metrics = json.loads((RESULTS / "backbones" / name / "fold1" / "metrics.json").read_text(encoding="utf-8"))
        rows[name] |= {"ceiling": ceiling, **{key: metrics[key] for key in ("parameters", "multiply_adds")}}
    for name in ORDERED:
        rows[name] |= {f"{order}_label": round(share, 3) for order, share in orders(name).items()}
    done = subprocess.run([*command, "--dry-run"], cwd=ROOT, check=True, timeout=600, capture_output=True, text=True)
    assert "Nothing to be done" in done.stdout + done.stderr
    print(f"\n{'backbone':12}" + "".join(f"{key:>11}" for key in ("label", *FACTORS, "ceiling")) + "  multiply-adds")
    for name, row in rows.items():
        cells = "".join(f"{row.get(key, 1.0):11.3f}" for key in ("label", *FACTORS, "ceiling"))
        print(f"{name:12}{cells}  {row.get('multiply_adds', 0) / 1e6:10.1f} M")
    for name in ORDERED:
        print(f"{name:12}" + ", ".join(f"{order} {share:.3f}" for order, share in orders(name).items()))
    seconds = sum(float(path.read_text(encoding="utf-8").split()[10]) for path in RESULTS.glob("benchmarks/**/*.tsv"))
    KEPT.write_text(json.dumps({"seconds_of_jobs": round(seconds), "rows": rows}, indent=1) + "\n", encoding="utf-8")
    return rows


def orders(name: str) -> dict[str, float]:
    """Return the share of labels that are right, by the order in which frames were shown."""
    order = json.loads((RESULTS / "backbones" / name / "fold1" / "order.json").read_text(encoding="utf-8"))
    alone = {row["order"]: row["accuracy"] for row in order["conditions"] if row["order"] != "shuffled"}
    return alone | {"shuffled": order["shuffled"]["accuracy"]}


@pytest.mark.parametrize("name", CEILINGS)
def test_nothing_beats_its_ceiling(table, name):
    assert table[name]["label"] <= bound(CEILINGS[name])


@pytest.mark.parametrize("name", CEILINGS)
def test_a_backbone_knows_the_factors_that_it_can_see(table, name):
    for factor in FACTORS:
        if factor in LEARNT[name]:
            assert table[name][factor] >= 0.9, factor


@pytest.mark.parametrize("name", CEILINGS)
def test_a_backbone_does_not_know_what_it_cannot_see(table, name):
    hidden = {"frame": ["direction", "sound"], "mel": ["digit", "direction"]}.get(name, ["sound"])
    for factor in hidden:
        assert table[name][factor] <= bound(0.5), factor


@pytest.mark.parametrize("name", ORDERED)
def test_backwards_down_is_up(name, table):
    assert orders(name)["reversed"] <= 0.1


@pytest.mark.parametrize("name", SEQUENCES)
def test_without_the_order_of_frames_the_direction_is_a_guess(name, table):
    share = orders(name)
    assert share["shuffled"] <= 0.75 * share["ordered"]
    assert share["repeated"] <= 0.75 * share["ordered"]


def test_a_pair_of_frames_shows_the_direction_in_any_order_of_pairs(table):
    share = orders("flow")
    assert share["shuffled"] >= share["ordered"] - 0.05
    assert share["repeated"] >= 0.2, "a single pair, which hardly shows the digit: 0.25 of four labels"


def test_the_small_network_is_small(table):
    assert table["small"]["multiply_adds"] < MOST_MULTIPLY_ADDS
    assert table["small"]["multiply_adds"] < table["rgb"]["multiply_adds"] / 5


def test_seeing_and_hearing_together_reach_what_neither_can(table):
    assert table["rgb_mel"]["label"] >= 0.9

"""The demo obeys the ceilings that its clips have by construction (resources/demo/README.md).

It runs in this checkout, as `make demo` does; after `make demo` it has nothing to do.
"""

import csv
import subprocess
import sys
from math import log

import notebooks
import pytest
from scipy.stats import binom

from braid.schemes.registry import REGISTRY

from .conftest import ROOT

RESULTS = ROOT / "results" / "demo"
CEILINGS = {"sound": 0.25, "frame": 0.25, "zero_shot": 0.25, "video": 0.5, "motion": 0.5}
LATE = ("late_mean", "late_pool", "late", "late_classes", "late_linear", "stacking", "double")
TOGETHER = ("early", "early_mlp", "intermediate", "balanced", "gated", "tokens", "bottleneck", "ensemble", "calibrated")
N_PAIRS = 24
"""Test clips come in pairs of one handwriting with the same pictures: that many draws are independent."""
CHANCE = 0.999


def table(name: str, delimiter: str = ",") -> list[dict[str, str]]:
    with (RESULTS / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter=delimiter))


@pytest.fixture(scope="module")
def accuracy() -> dict[str, float]:
    """Mean accuracy over the seeds on the test items, by scheme, best on val first."""
    subprocess.run([sys.executable, "-m", "snakemake", "--cores", "all"], cwd=ROOT, check=True, timeout=1200)
    rows = table("tables/schemes.csv")
    assert {row["runs"] for row in rows} == {"3"}
    return {row["scheme"]: float(row["test_accuracy"]) for row in rows}


@pytest.mark.parametrize("scheme", CEILINGS)
def test_no_modality_beats_its_ceiling(accuracy, scheme):
    """With luck that one run in a thousand has, a modality at its ceiling would reach the bound."""
    assert accuracy[scheme] <= binom.ppf(CHANCE, N_PAIRS, CEILINGS[scheme]) / N_PAIRS


def test_each_modality_tells_more_than_nothing(accuracy):
    chance = 1 / 8
    for scheme in CEILINGS.keys() - {"zero_shot"}:  # words and pictures never met in random weights
        assert accuracy[scheme] > chance + 0.05, scheme


def test_sound_and_video_together_reach_what_neither_can(accuracy):
    best_single = max(accuracy[scheme] for scheme in CEILINGS)
    chosen = next(iter(accuracy))
    assert chosen not in CEILINGS
    assert accuracy[chosen] >= 0.9
    assert accuracy[chosen] >= best_single + 0.3


@pytest.mark.parametrize("scheme", LATE)
def test_late_fusion_does_not_fall_below_the_best_modality(accuracy, scheme):
    assert accuracy[scheme] >= max(accuracy[name] for name in CEILINGS) - 0.02


@pytest.mark.parametrize("scheme", TOGETHER)
def test_what_sees_all_modalities_together_beats_the_ceiling_of_each(accuracy, scheme):
    assert accuracy[scheme] >= 0.8


def test_each_modality_is_worth_what_its_clips_tell(accuracy):
    """Of three bits the sound tells one that nothing else does; motion tells one that the video tells too."""
    shares = {
        row["modalities"]: float(row["log_loss"]) for row in table("tables/modalities.csv") if row["row"] == "share"
    }
    assert sum(shares.values()) == pytest.approx(log(8), abs=0.1)
    assert shares["sound"] == pytest.approx(log(2), abs=0.15)
    assert shares["video"] > shares["sound"] > shares["motion"] > 0.2


def test_calibration_lowers_the_log_loss(accuracy):
    loss = {row["scheme"]: float(row["val_log_loss"]) for row in table("tables/schemes.csv")}
    assert loss["calibrated"] <= loss["ensemble"]


def test_the_demo_has_a_scheme_of_each_type(accuracy):
    assert {row["type"] for row in table("tables/schemes.csv")} == set(REGISTRY)


def test_what_could_not_be_read_is_listed(accuracy):
    problems = table("decoded/problems.tsv", delimiter="\t")
    missing = [row for row in problems if row["status"] == "missing"]
    unreadable = {row["video"] for row in problems if row["status"] == "unreadable"}
    assert len(missing) == 5
    assert {row["stream"] for row in missing} == {"audio"}
    assert len(unreadable) == 1
    page = (RESULTS / "report.html").read_text(encoding="utf-8")
    assert unreadable.pop() in page
    assert "random weights" in page.lower()


def test_items_without_a_label_are_predicted(accuracy):
    classes = {row["class"] for row in table("tables/per_class.csv")}
    submitted = table("submission.csv")
    assert len(submitted) == 8
    assert {row["label"] for row in submitted} <= classes


def test_the_notebook_runs_on_it(accuracy):
    classes, schemes, tokens = notebooks.run(ROOT / "docs" / "results.ipynb", ROOT / "docs").splitlines()
    assert classes.startswith("8 classes: one-down-high ")
    assert set(schemes.removeprefix("schemes: ").split()) == set(accuracy)
    assert tokens.startswith("clip_")

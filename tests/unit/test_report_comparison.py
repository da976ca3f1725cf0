"""What the report says of schemes against each other: its tables agree with the predictions that they come from."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from report_results import Experiment

from braid import SCHEMAS
from braid.errors import StoreError
from braid.metrics.bootstrap import wilson
from braid.metrics.significance import holm, mcnemar
from braid.report.build import build_report
from braid.schemes.results import Predictions, read_predictions, write_predictions

TEMPLATE = SCHEMAS.parent / "report" / "report.html.j2"


def build(experiment: Experiment, folder: Path) -> Path:
    results = experiment.write(folder)
    build_report(results, experiment.config(), TEMPLATE)
    return results


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(Experiment(n_items=240, grouped=True), tmp_path_factory.mktemp("comparison"))


def table(results: Path, name: str) -> pl.DataFrame:
    return pl.read_csv(results / "tables" / f"{name}.csv")


def page(results: Path) -> str:
    return (results / "report.html").read_text(encoding="utf-8")


def right(results: Path, scheme: str) -> np.ndarray:
    """Return the mean over seeds of whether each test item is right."""
    answers = []
    for path in sorted((results / "schemes" / scheme).glob("*/*/predictions.h5")):
        found = read_predictions(path)
        rows = np.array(found.splits) == "test"
        answers.append(found.probabilities[rows].argmax(axis=1) == found.labels[rows])
    return np.mean(answers, axis=0)


def test_intervals_hold_the_mean_and_follow_the_groups(results: Path, tmp_path: Path) -> None:
    alone = build(Experiment(n_items=240, grouped=False), tmp_path)
    for row, other in zip(table(results, "schemes").to_dicts(), table(alone, "schemes").to_dicts(), strict=True):
        for score, prefix in (("test_accuracy", ""), ("test_log_loss", "log_loss_")):
            assert row[f"{prefix}interval_low"] < row[score] < row[f"{prefix}interval_high"]
            assert row[score] == other[score]
            assert row[f"{prefix}interval_low"] != other[f"{prefix}interval_low"]
        answers = right(results, row["scheme"])
        groups = answers.reshape(-1, 3).mean(axis=1)  # three test items in turn are a group
        expected = 2 * 1.96 * groups.std() / np.sqrt(len(groups))
        assert row["interval_high"] - row["interval_low"] == pytest.approx(expected, rel=0.2)
    assert "the 20\u00a0groups that these come from" in page(results)
    assert "the 60\u00a0groups that these come from" in page(alone)


def test_every_pair_is_compared_once_the_better_on_val_first(results: Path) -> None:
    schemes, pairs = table(results, "schemes"), table(results, "pairs")
    assert pairs.select("first", "second").rows() == list(combinations(schemes["scheme"], 2))
    means = dict(schemes.select("scheme", "test_accuracy").iter_rows())
    losses = dict(schemes.select("scheme", "test_log_loss").iter_rows())
    for row in pairs.iter_rows(named=True):
        assert row["accuracy_difference"] == pytest.approx(means[row["first"]] - means[row["second"]])
        assert row["log_loss_difference"] == pytest.approx(losses[row["first"]] - losses[row["second"]])
        for score in ("accuracy", "log_loss"):
            difference = row[f"{score}_difference"]
            assert row[f"{score}_difference_low"] <= difference <= row[f"{score}_difference_high"]
        assert row["p_mcnemar"] == pytest.approx(mcnemar(row["only_first"], row["only_second"]))
    assert pairs["p_holm"].to_list() == pytest.approx(holm(pairs["p"]))
    assert pairs["p_mcnemar_holm"].to_list() == pytest.approx(holm(pairs["p_mcnemar"]))


def test_mcnemar_counts_what_the_mean_over_seeds_gets_right(results: Path) -> None:
    voted = {}
    for scheme in ("late", "sound"):
        runs = [read_predictions(path) for path in (results / "schemes" / scheme).glob("*/*/predictions.h5")]
        rows = np.array(runs[0].splits) == "test"
        mean = np.mean([run.probabilities[rows] for run in runs], axis=0)
        voted[scheme] = mean.argmax(axis=1) == runs[0].labels[rows]
    row = table(results, "pairs").filter(first="late", second="sound").row(0, named=True)
    assert row["only_first"] == (voted["late"] & ~voted["sound"]).sum()
    assert row["only_second"] == (voted["sound"] & ~voted["late"]).sum()


def test_letters_say_what_the_p_values_say(results: Path) -> None:
    letters = dict(table(results, "schemes").select("scheme", "letters").iter_rows())
    for first, second, p in table(results, "pairs").select("first", "second", "p_holm").iter_rows():
        assert bool(set(letters[first]) & set(letters[second])) is (p >= 0.05)
    assert not set(letters["late"]) & set(letters["sound"])


def test_the_page_shows_each_pair_in_both_directions(results: Path) -> None:
    section = page(results).split('id="pairs"')[1].split("</section>")[0]
    row = table(results, "pairs").filter(first="late", second="sound").row(0, named=True)
    points = f"{100 * row['accuracy_difference']:.1f}"
    assert f"<strong>+{points}</strong>" in section
    assert f"<strong>−{points}</strong>" in section
    assert section.count("<td") == 4 * 4
    assert "adjusted by Holm for 6\u00a0pairs" in section
    summary = page(results).split('id="summary"')[1].split("</section>")[0]
    assert re.search(
        r"fusion gains [\d.]+ points \(95 % interval \+[\d.]+ to \+[\d.]+\),\s+which is more than", summary
    )


def test_items_of_several_folds_leave_no_mcnemar(tmp_path: Path) -> None:
    results = build(Experiment(n_folds=2, seeds=(0,)), tmp_path)
    pairs = table(results, "pairs")
    assert pairs["p_mcnemar"].null_count() == pairs["only_first"].null_count() == pairs.height == 6
    assert pairs["p"].null_count() == 0


def test_one_scheme_has_no_pairs(tmp_path: Path) -> None:
    results = build(Experiment(accuracies={"sound": 0.5}, seeds=(0,)), tmp_path)
    assert table(results, "pairs").height == 0
    assert "There is only one scheme." in page(results)
    assert table(results, "schemes")["letters"].to_list() == ["a"]


def test_a_scheme_that_is_always_right_keeps_an_interval(tmp_path: Path) -> None:
    results = build(Experiment(accuracies={"late": 1.0, "early": 0.5}, seeds=(0,)), tmp_path)
    row = table(results, "schemes").filter(scheme="late").row(0, named=True)
    assert row["test_accuracy"] == 1
    assert (row["interval_low"], row["interval_high"]) == pytest.approx(wilson(1, 30))


def test_one_group_gives_no_intervals_and_the_page_says_so(tmp_path: Path) -> None:
    results = build(Experiment(accuracies={"late": 0.9, "early": 0.5}, n_items=12, grouped=True, n_predict=0), tmp_path)
    assert table(results, "schemes")["interval_low"].null_count() == 2
    assert table(results, "pairs")["accuracy_difference_low"].null_count() == 1
    assert "with one group there is none" in page(results)


def test_runs_that_judge_other_items_are_refused_with_one_of_them(tmp_path: Path) -> None:
    experiment = Experiment(seeds=(0,))
    results = experiment.write(tmp_path)
    path = results / "schemes" / "late" / "fold1" / "seed0" / "predictions.h5"
    old = read_predictions(path)
    odd = old.splits.index("test")
    splits = [*old.splits]
    splits[odd] = "val"
    write_predictions(path, Predictions(**{**vars(old), "splits": splits}))
    with pytest.raises(StoreError, match=f"do not judge the same test items \\('{old.items[odd]}' is judged by one"):
        build_report(results, experiment.config(), TEMPLATE)


def test_reliability_holds_every_item_of_every_run(tmp_path: Path) -> None:
    results = build(Experiment(seeds=(0, 1)), tmp_path)
    bins = table(results, "reliability")
    for (scheme,) in table(results, "schemes").select("scheme").iter_rows():
        mine = bins.filter(scheme=scheme)
        assert mine["n"].sum() == 30 * 2
        runs = [json.loads(path.read_text()) for path in (results / "schemes" / scheme).glob("*/*/metrics.json")]
        right_items = sum(run["test"]["accuracy"] * 30 for run in runs)
        assert (mine["n"] * mine["accuracy"]).sum() == pytest.approx(right_items)
        assert (mine["low"] < mine["confidence"]).all() and (mine["confidence"] <= mine["high"]).all()


def test_calibration_error_follows_from_the_bins_of_one_run(tmp_path: Path) -> None:
    results = build(Experiment(seeds=(0,)), tmp_path)
    bins = table(results, "reliability")
    for scheme, ece in table(results, "schemes").select("scheme", "test_ece").iter_rows():
        mine = bins.filter(scheme=scheme)
        gaps = (mine["accuracy"] - mine["confidence"]).abs().to_numpy()
        assert gaps @ mine["n"].to_numpy() / 30 == pytest.approx(ece)

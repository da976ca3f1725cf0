"""`braid compare`: differences are those of the runs' own tables and tests, and what does not match is said."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from report_results import Experiment

import braid
from braid import SCHEMAS
from braid.cli import main
from braid.metrics.significance import holm, mcnemar
from braid.report.build import build_report
from braid.results.command import aligned
from braid.results.compare import differences, side_by_side
from braid.schemes.results import read_predictions, write_predictions

A = Experiment(
    accuracies={"sound": 0.3, "video": 0.5, "early": 0.6, "late": 0.9}, n_items=60, seeds=(0, 1), grouped=True
)
OTHERS = {
    "better": replace(A, accuracies={"sound": 0.3, "early": 0.95, "late": 0.5}, seeds=(0, 1, 2)),
    "longer": replace(A, n_items=72),
    "ungrouped": replace(A, grouped=False),
    "two_folds": replace(A, n_folds=2),
    "other_classes": replace(A, classes=("clap", "jump", "run")),
    "challenge": replace(A, labelled_test=False),
    "other_schemes": replace(A, accuracies={"gated": 0.7}),
}


def report(folder: Path, experiment: Experiment) -> Path:
    build_report(folder, experiment.config(), SCHEMAS.parent / "report" / "report.html.j2")
    return folder


@pytest.fixture(scope="module")
def a(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report(A.write(tmp_path_factory.mktemp("a")), A)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function: the results folder of one of `OTHERS`."""
    made: dict[str, Path] = {}

    def of(name: str) -> Path:
        if name not in made:
            made[name] = report(OTHERS[name].write(tmp_path_factory.mktemp(name)), OTHERS[name])
        return made[name]

    return of


@pytest.fixture
def copy(a: Path, tmp_path: Path) -> Path:
    for clip in a.parents[1].iterdir():
        if clip.is_file():
            (tmp_path / clip.name).write_bytes(clip.read_bytes())
    return Path(shutil.copytree(a, tmp_path / "results" / "toy"))


def right(folder: Path, scheme: str) -> np.ndarray:
    """Return whether the class of the largest mean probability is the true one, for each test item."""
    runs = [read_predictions(path) for path in sorted(folder.glob(f"schemes/{scheme}/fold1/*/predictions.h5"))]
    test = np.array(runs[0].splits) == "test"
    return np.mean([each.probabilities[test] for each in runs], axis=0).argmax(axis=1) == runs[0].labels[test]


def test_a_run_is_no_other_than_itself(a: Path) -> None:
    found = side_by_side(braid.open(a), braid.open(a))
    assert (found.config, found.versions, found.reasons) == ([], [], [])
    assert [overlap.same for overlap in found.overlaps] == [True]
    for pair in found.pairs.values():
        assert (pair.accuracy, pair.accuracy_interval, pair.log_loss, pair.p, pair.p_mcnemar) == (0, [0, 0], 0, 1, 1)


def test_differences_on_the_same_items_are_those_of_the_tables(a: Path, run: Callable[[str], Path]) -> None:
    b = run("better")
    found = side_by_side(braid.open(a), braid.open(b))
    assert found.schemes["scheme"].sort().to_list() == ["early", "late", "sound", "video"]
    assert list(found.pairs) == ["sound", "early", "late"]
    rows = {row["scheme"]: row for row in found.schemes.to_dicts()}
    assert rows["video"]["accuracy_b"] is None
    for scheme, pair in found.pairs.items():
        for score in ("accuracy", "log_loss"):
            ours, theirs = (
                pl.read_csv(folder / "tables" / "schemes.csv").filter(scheme=scheme)[f"test_{score}"][0]
                for folder in (a, b)
            )
            assert (rows[scheme][f"{score}_a"], rows[scheme][f"{score}_b"]) == (ours, theirs)
            assert getattr(pair, score) == pytest.approx(theirs - ours, abs=1e-6)
            low, high = getattr(pair, f"{score}_interval")
            assert low < theirs - ours < high
        only_b = int((right(b, scheme) & ~right(a, scheme)).sum())
        only_a = int((right(a, scheme) & ~right(b, scheme)).sum())
        assert (pair.only_first, pair.only_second) == (only_b, only_a)
        assert pair.p_mcnemar == mcnemar(only_b, only_a)
    for p in ("p", "p_mcnemar"):
        assert [getattr(pair, f"{p}_holm") for pair in found.pairs.values()] == holm(
            [getattr(pair, p) for pair in found.pairs.values()]
        )


def test_two_runs_are_tested_as_two_schemes_of_one_run(a: Path, copy: Path) -> None:
    """With two schemes exchanged in B, each of them is compared with the other one, as the report of A does it."""
    schemes = copy / "schemes"
    (schemes / "early").rename(schemes / "was early")
    (schemes / "late").rename(schemes / "early")
    (schemes / "was early").rename(schemes / "late")
    report(copy, A)
    found = side_by_side(braid.open(a), braid.open(copy)).pairs["early"]
    (row,) = pl.read_csv(a / "tables" / "pairs.csv").filter(first="late", second="early").to_dicts()
    assert found.accuracy == pytest.approx(row["accuracy_difference"])
    assert found.accuracy_interval == pytest.approx([row["accuracy_difference_low"], row["accuracy_difference_high"]])
    assert found.log_loss == pytest.approx(row["log_loss_difference"])
    assert (found.only_first, found.only_second, found.p) == (row["only_first"], row["only_second"], row["p"])


def test_other_items_and_splits_are_counted(a: Path, run: Callable[[str], Path]) -> None:
    (overlap,) = side_by_side(braid.open(a), braid.open(run("longer"))).overlaps
    assert not overlap.same
    assert overlap.judged == (15, 18)
    assert overlap.common == [f"clip {i:05d}" for i in range(60) if i // 3 % 4 == 3]
    assert overlap.only == (0, 12)
    assert (overlap.moved, overlap.relabelled) == (6, 6)  # what A is to predict has a label in B


def test_items_with_other_labels_are_not_compared(a: Path, copy: Path) -> None:
    for path in copy.glob("schemes/*/*/*/predictions.h5"):
        found = read_predictions(path)
        test = np.array(found.splits) == "test"
        write_predictions(path, replace(found, labels=np.where(test, (found.labels + 1) % 3, found.labels)))
    found = side_by_side(braid.open(a), braid.open(copy))
    assert [(overlap.common, overlap.relabelled) for overlap in found.overlaps] == [([], 15)]
    assert found.pairs == {}
    assert found.reasons == ["No item is judged in both with the same label: no scheme is tested against itself."]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("other_classes", "The classes differ (only in A: wave; only in B: run): the runs answer different questions"),
        ("challenge", "A judges its schemes on test, B on val"),
        ("other_schemes", "No scheme of A has the name of one of B"),
    ],
)
def test_what_cannot_be_compared_is_not(name: str, reason: str, a: Path, run: Callable[[str], Path]) -> None:
    found = side_by_side(braid.open(a), braid.open(run(name)))
    assert [each.startswith(reason) for each in found.reasons] == [True]
    assert found.pairs == {}


def test_folds_and_groups_that_differ_are_said(a: Path, run: Callable[[str], Path]) -> None:
    found = side_by_side(braid.open(a), braid.open(run("two_folds")))
    assert found.reasons == ["Only one of the runs has the folds 2: they are left out of the tests."]
    assert [overlap.fold for overlap in found.overlaps] == ["1"]
    found = side_by_side(braid.open(a), braid.open(run("ungrouped")))
    assert found.reasons == ["The common items are grouped in another way in B: the tests take the groups of A."]
    assert found.overlaps[0].same


def test_differences_of_configs_are_found_key_by_key() -> None:
    ours = {"x": 1, "same": [1], "deep": {"a": {"b": None, "c": 2}, "gone": {"type": "late", "n": [1, 2]}}}
    theirs = {"x": "1.0", "same": [1], "deep": {"a": {"b": False, "c": 2}, "new": True}}
    assert list(differences(ours, theirs)) == [
        ("x", "1", "1.0"),
        ("deep.a.b", "null", "False"),
        ("deep.gone", "type: late, n: [1, 2]", "–"),
        ("deep.new", "–", "True"),
    ]


def test_the_command_prints_it(a: Path, run: Callable[[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    b = run("better")
    assert main(["compare", str(a), str(b)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [f"A: {a}", f"B: {b}"]
    assert [lines[i - 1] for i, line in enumerate(lines) if line and not line.strip("-")] == [
        "Config", "Data", "Items", "Accuracy", "Log loss", "Versions", "Costs",
    ]  # fmt: skip
    assert lines[lines.index("seeds") :][:3] == ["seeds", "  A: [0, 1]", "  B: [0, 1, 2]"]
    assert lines[lines.index("schemes.video") :][:3] == [
        "schemes.video",
        "  A: type: single, features: [clip]",
        "  B: –",
    ]
    assert "fold 1, test               15  15" in lines
    assert "Fold 1: both have the same items, splits and labels; 15 items judge." in lines
    pair = side_by_side(braid.open(a), braid.open(b)).pairs["early"]
    (early,) = (line for line in lines[lines.index("Accuracy") : lines.index("Log loss")] if line.startswith("early"))
    assert early.split("  ")[-1].strip() == str(pair.only_first)
    assert f"{100 * pair.accuracy:+.1f}".replace("-", "−") in early
    assert "The versions are the same." in lines
    assert any(line.startswith("decode_shard") and line.count("1 min 32 s") == 2 for line in lines)


def test_the_command_says_what_does_not_match(
    a: Path, run: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", str(a), str(run("longer"))]) == 0
    assert (
        "Fold 1: 15 items judge in A, 18 in B, 15 of them in both with the same label. Of all items 0 are in A only, "
        "12 in B only; of the others 6 are in another split and 6 have another label."
    ) in capsys.readouterr().out
    assert main(["compare", str(a), str(run("other_classes"))]) == 0
    assert "95 % interval" not in capsys.readouterr().out


def test_an_unfinished_run_is_refused(a: Path, copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copy / "schemes" / "late" / "fold1" / "seed1" / "metrics.json").unlink()
    assert main(["compare", str(a), str(copy)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert f"{copy}/schemes/late/fold1/seed1/metrics.json is not there" in said.err


def test_tables_are_aligned() -> None:
    assert aligned(("", "A"), [("long", "1"), ("x", "100")]) == ["        A", "long    1", "x     100"]

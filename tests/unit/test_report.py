"""The report says what the results folder holds: its tables against hand calculations, its files against their list."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import polars as pl
import pytest
from jsonschema import Draft202012Validator
from report_results import BENCHMARK, PROBLEMS, Experiment

from braid import SCHEMAS
from braid.config import schema
from braid.errors import StoreError
from braid.files import write_text
from braid.report import (
    OUTPUTS,
    OUTPUTS_OF_BACKBONES,
    OUTPUTS_OF_PUBLISHED,
    OUTPUTS_OF_SWEEPS,
    OUTPUTS_OF_WORTH,
    tables,
    wording,
)
from braid.report.build import build_report
from braid.report.collect import collect
from braid.schemes.results import Predictions, read_predictions, write_predictions

TEMPLATE = SCHEMAS.parent / "report" / "report.html.j2"


def build(experiment: Experiment, folder: Path) -> Path:
    results = experiment.write(folder)
    build_report(results, experiment.config(), TEMPLATE)
    return results


def written(results: Path) -> dict[str, bytes]:
    files = [*results.glob("*.*"), *results.glob("tables/*"), *results.glob("figures/*")]
    return {str(path.relative_to(results)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(Experiment(n_folds=2), tmp_path_factory.mktemp("report"))


def test_exactly_the_listed_files_are_written(results: Path) -> None:
    assert set(written(results)) == set(OUTPUTS)


def test_every_file_has_a_caption_and_every_caption_a_file() -> None:
    further = OUTPUTS_OF_BACKBONES | OUTPUTS_OF_WORTH | OUTPUTS_OF_SWEEPS | OUTPUTS_OF_PUBLISHED
    captions = set((OUTPUTS | further).values())
    assert {path.stem for path in TEMPLATE.parent.glob("*.rst")} == captions


def test_a_best_scheme_that_is_no_better_than_the_most_frequent_class_is_told_so(tmp_path: Path, results: Path) -> None:
    poor, said = Experiment({"early": 0.0}), "early</strong>, the best scheme, is no better than that"
    assert said not in (results / "report.html").read_text(encoding="utf-8")
    for run in collect(poor.write(tmp_path), poor.config()).runs:
        right = run.metrics | {"test": run.metrics["test"] | {"accuracy": 0.3}}  # of three classes
        write_text(run.folder / "metrics.json", json.dumps(right))
    build_report(tmp_path / "results" / "toy", poor.config(), TEMPLATE)
    assert said in (tmp_path / "results" / "toy" / "report.html").read_text(encoding="utf-8")


def test_the_list_of_files_costs_no_import() -> None:
    heavy = "{'matplotlib', 'torch', 'polars', 'jinja2'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", f"import sys, braid.report; assert not {heavy}, {heavy}"], check=True)


def test_the_same_results_give_the_same_bytes(results: Path) -> None:
    before = written(results)
    build_report(results, Experiment(n_folds=2).config(), TEMPLATE)
    assert written(results) == before


def test_schemes_are_means_over_folds_and_seeds_best_on_val_first(results: Path) -> None:
    table = pl.read_csv(results / "tables" / "schemes.csv")
    for row in table.iter_rows(named=True):
        runs = [json.loads(path.read_text()) for path in results.glob(f"schemes/{row['scheme']}/*/*/metrics.json")]
        assert row["runs"] == len(runs) == 6
        for split in ("val", "test"):
            for score in ("accuracy", "macro_f1", "log_loss"):
                values = [run[split][score] for run in runs]
                assert row[f"{split}_{score}"] == pytest.approx(np.mean(values))
                assert row[f"{split}_{score}_sd"] == pytest.approx(np.std(values, ddof=1))
    assert table["val_accuracy"].is_sorted(descending=True)


def test_counts_of_all_runs_are_added_up(results: Path) -> None:
    counts = (
        pl.read_csv(results / "tables" / "confusions.csv")
        .group_by("scheme")
        .agg(total=pl.col("count").sum(), right=pl.col("count").filter(pl.col("true") == pl.col("predicted")).sum())
    )
    shares = counts.select("scheme", accuracy=pl.col("right") / pl.col("total")).sort("scheme")
    means = pl.read_csv(results / "tables" / "schemes.csv").select("scheme", accuracy="test_accuracy").sort("scheme")
    assert counts["total"].to_list() == [30 * 6] * 4  # test items, folds × seeds
    assert shares["accuracy"].to_list() == pytest.approx(means["accuracy"].to_list())


def test_the_best_scheme_is_chosen_on_val_and_predicts(tmp_path: Path) -> None:
    experiment = Experiment(accuracies={"late": 0.95, "early": 0.6})
    results = experiment.write(tmp_path)
    for path in results.glob("schemes/early/*/*/metrics.json"):
        run = json.loads(path.read_text())
        run["val"]["accuracy"] = 1.0
        path.write_text(json.dumps(run))
    build_report(results, experiment.config(), TEMPLATE)
    table = pl.read_csv(results / "tables" / "schemes.csv")
    assert table["scheme"].to_list() == ["early", "late"]
    assert table["test_accuracy"][0] < table["test_accuracy"][1]
    runs = [read_predictions(results / f"schemes/early/fold1/seed{seed}/predictions.h5") for seed in experiment.seeds]
    asked = np.array(runs[0].splits) == "predict"
    mean = np.mean([run.probabilities[asked] for run in runs], axis=0)
    submission = pl.read_csv(results / "submission.csv")
    assert submission.columns == ["Id", "Category"]
    assert submission["Id"].to_list() == np.array(runs[0].items)[asked].tolist()
    assert submission["Category"].to_list() == [runs[0].classes[c] for c in mean.argmax(axis=1)]
    predictions = pl.read_csv(results / "tables" / "predictions.csv")
    assert predictions.select("p(clap)", "p(jump)", "p(wave)").to_numpy() == pytest.approx(mean)


def test_equal_accuracy_on_val_is_decided_by_log_loss_on_val(tmp_path: Path) -> None:
    experiment = Experiment(accuracies={"a": 0.5, "b": 0.5})
    results = experiment.write(tmp_path)
    for path in results.glob("schemes/*/*/*/metrics.json"):
        run = json.loads(path.read_text())
        run["val"] |= {"accuracy": 0.5, "log_loss": 0.9 if "/b/" in str(path) else 1.0}
        path.write_text(json.dumps(run))
    found = collect(results, experiment.config())
    assert tables.schemes(found, tables.runs(found))["scheme"].to_list() == ["b", "a"]


def test_items_without_any_modality_are_marked_as_guessed(tmp_path: Path) -> None:
    experiment = Experiment(accuracies={"late": 0.95})
    results = experiment.write(tmp_path)
    for path in results.glob("schemes/late/*/*/predictions.h5"):
        old = read_predictions(path)
        present = old.present.copy()
        present[old.splits.index("predict")] = False
        write_predictions(path, Predictions(**{**vars(old), "present": present}))
    build_report(results, experiment.config(), TEMPLATE)
    assert pl.read_csv(results / "tables" / "predictions.csv")["guessed"].to_list() == [True] + [False] * 5
    assert "1 of them has none of its modalities" in (results / "report.html").read_text(encoding="utf-8")


def test_the_summary_names_what_is_confused_most_and_where_fusion_gains(results: Path) -> None:
    best = pl.read_csv(results / "tables" / "schemes.csv")["scheme"][0]
    counts = pl.read_csv(results / "tables" / "confusions.csv").filter(scheme=best)
    most = counts.filter(pl.col("true") != pl.col("predicted"))["count"].max()
    gains = pl.read_csv(results / "tables" / "gains.csv").filter(scheme=best)["gain"]
    page = re.sub(r"<[^>]+>", "", (results / "report.html").read_text(encoding="utf-8"))
    told = re.search(rf"What {best} confuses most is (\w+), taken for (\w+) in (\d+) of (\d+)\sanswers", page)
    assert told is not None
    pair = counts.filter(pl.col("true") == told[1], pl.col("predicted") == told[2])
    assert pair["count"].item() == most == int(told[3])
    assert counts.filter(pl.col("true") == told[1])["count"].sum() == int(told[4])
    assert f"is higher in {(gains > 0).sum()} of 3\u00a0classes and lower in {(gains < 0).sum()}." in page


def test_costs_add_up_over_jobs_and_leave_the_report_out(results: Path) -> None:
    costs = pl.read_csv(results / "tables" / "costs.csv").rows_by_key("rule", named=True, unique=True)
    assert costs["decode_shard"] == {
        "jobs": 2,
        "seconds": 91.75,
        "cpu_seconds": 183.5,
        "gpu_seconds": None,
        "longest_job_seconds": 61.5,
        "largest_memory_mib": 512.0,
    }
    assert costs["list_problems"]["cpu_seconds"] is None
    assert set(costs) == {"decode_shard", "list_problems"}


def test_costs_are_told_apart_by_name_and_stages_by_size(tmp_path: Path) -> None:
    experiment = Experiment(seeds=(0,))
    results = experiment.write(tmp_path)
    for shard, seconds in (("s0", 3.0), ("s1", 4.0)):
        line = f"{seconds}\t0:00:03\t100\t1\t1\t1\t0\t0\t90\t{seconds}\n"
        write_text(results / "benchmarks" / "extract_features" / "clip" / f"{shard}.tsv", BENCHMARK + line)
    build_report(results, experiment.config(), TEMPLATE)
    names = pl.read_csv(results / "tables" / "costs_by_name.csv")
    assert names.select("rule", "name", "jobs", "seconds").rows() == [("extract_features", "clip", 2, 7.0)]
    assert pl.read_csv(results / "tables" / "costs.csv").filter(rule="extract_features")["seconds"].item() == 7.0
    assert pl.read_csv(results / "tables" / "costs.csv").filter(rule="extract_features")["gpu_seconds"].item() == 0.0
    sizes = pl.read_csv(results / "tables" / "sizes.csv").rows_by_key("stage", named=True, unique=True)
    written = [path.stat().st_size for path in (results / "features").rglob("*.h5")]
    assert sizes["features"] == {"files": len(written), "mebibytes": pytest.approx(sum(written) / 2**20)}
    assert "flow" not in sizes


def test_curves_hold_every_epoch_of_every_run(results: Path) -> None:
    curves = pl.read_csv(results / "tables" / "curves.csv")
    assert curves.filter(scheme="early").height == 2 * 3 * 12  # folds, seeds, epochs
    assert set(curves.filter(scheme="late")["part"]) == {"passt", "clip"}
    kept = curves.filter(pl.col("kept"), scheme="early", fold=2, seed=1)["epoch"].to_list()
    assert kept == [9]


def test_streams_are_counted_by_status(results: Path) -> None:
    streams = pl.read_csv(results / "tables" / "streams.csv").rows_by_key("extractor", named=True, unique=True)
    assert streams["passt"]["missing"] == 4
    assert streams["passt"]["ok"] == 122
    assert streams["clip"]["ok"] == 126


def test_without_labelled_test_items_val_judges_and_the_page_says_so(tmp_path: Path) -> None:
    results = build(Experiment(labelled_test=False), tmp_path)
    columns = pl.read_csv(results / "tables" / "schemes.csv").columns
    assert "val_accuracy" in columns
    assert "test_accuracy" not in columns
    assert "No test item has a label" in (results / "report.html").read_text(encoding="utf-8")


def test_one_run_of_one_scheme_has_no_spread(tmp_path: Path) -> None:
    results = build(Experiment(accuracies={"sound": 0.5}, seeds=(7,), n_predict=0), tmp_path)
    page = (results / "report.html").read_text(encoding="utf-8")
    assert pl.read_csv(results / "tables" / "schemes.csv")["test_accuracy_sd"].to_list() == [None]
    assert "\u00a0±" not in page
    assert "It is a single modality" in page
    assert (results / "submission.csv").read_text() == "Id,Category\n"


def test_random_weights_are_announced_and_official_ones_come_with_their_licence(results: Path, tmp_path: Path) -> None:
    assert "Random weights." in (results / "report.html").read_text(encoding="utf-8")
    official = build(Experiment(weights="pretrained", seeds=(0,)), tmp_path)
    page = (official / "report.html").read_text(encoding="utf-8")
    assert "Random weights." not in page
    assert "Apache-2.0" in page and "Somebody, 2026" in page
    assert page.count("not for commercial use") == 1
    table = pl.read_csv(official / "tables" / "extractors.csv")
    assert dict(table.select("name", "non_commercial").iter_rows()) == {"passt": False, "clip": True}


@pytest.mark.parametrize("weights", ["pretrained", "random"])
def test_flow_networks_are_listed_with_their_weights_as_extractors_are(tmp_path: Path, weights: str) -> None:
    experiment = Experiment(weights="pretrained", seeds=(0,))
    results = experiment.write(tmp_path)
    config = experiment.config()
    settings = {"type": "gmflow", "weights": weights, "dtype": "bfloat16"}
    config["flow"] = {"clip": settings, "not read": {"type": "raft", "weights": "random"}}
    config["extractors"]["motion"] = {"type": "flow_r2plus1d", "weights": "random", "flow": "clip"}
    made = {"settings": settings, "versions": {"torch": "2.13.0"}, "weights": "0123", "device": "cuda"}
    shutil.copytree(results / "features" / "clip", results / "features" / "motion")
    for path in (results / "features" / "motion").iterdir():
        with h5py.File(path, "a") as file:
            file.attrs["braid.source"] = json.dumps(made)
    shown = {"label": "<i>clap</i>", "video": "a&b.mp4", "status": "damaged", "pairs": 1, "mean_pixels": 1.25}
    drawn = {"bound": 5, "wheel": "data:w", "examples": [shown | {"frames": "data:f", "flow": "data:m"}]}
    write_text(results / "flow" / "clip" / "examples.json", json.dumps(drawn))
    receipt = {"licence": "MIT or so", "non_commercial": True, "citation": "Flow, 2022"}
    write_text(results / "weights" / "flow" / "clip.json", json.dumps(receipt))
    build_report(results, config, TEMPLATE)
    table = pl.read_csv(results / "tables" / "extractors.csv")
    assert table.select("section", "name").rows()[2:] == [("extractors", "motion"), ("flow", "clip")]
    flow = table.row(3, named=True)
    assert (flow["type"], flow["weights"], flow["weights_identity"]) == ("gmflow", weights, "0123")
    assert (flow["dtype"], flow["device"], flow["torch"]) == ("bfloat16", "cuda", "2.13.0")
    page = (results / "report.html").read_text(encoding="utf-8")
    official = weights == "pretrained"
    assert flow["licence"] == ("MIT or so" if official else None)
    assert ("Flow, 2022" in page) is official
    assert ("motion, clip ran with" in page) is not official
    assert "clip: an example clip of 1 of 3 classes" in page and "full at 5 pixels" in page
    assert '<img src="data:f" alt="Frames of a&amp;b.mp4">' in page and '<img src="data:m"' in page
    assert "&lt;i&gt;clap&lt;/i&gt;" in page and "1\u00a0pair, 1.25 pixels on average, damaged" in page


def test_a_report_without_flow_has_no_section_of_it(results: Path) -> None:
    assert 'id="flow"' not in (results / "report.html").read_text(encoding="utf-8")


def test_problems_are_shown_with_their_reason(tmp_path: Path) -> None:
    line = "0a1b\todd/a&b <i>.mp4\t\tvideo\tunreadable\tno frame decodes\ts0\n"
    results = build(Experiment(problems=PROBLEMS + line, seeds=(0,)), tmp_path)
    page = (results / "report.html").read_text(encoding="utf-8")
    assert "odd/a&amp;b &lt;i&gt;.mp4" in page
    assert "no frame decodes" in page
    assert pl.read_csv(results / "tables" / "problems.csv")["video"].to_list() == ["odd/a&b <i>.mp4"]


def test_only_what_the_config_names_is_read(tmp_path: Path) -> None:
    experiment = Experiment()
    results = experiment.write(tmp_path)
    config = experiment.config()
    del config["schemes"]["late"]
    config["seeds"] = [1]
    found = collect(results, config)
    assert {(run.scheme, run.seed) for run in found.runs} == {("sound", 1), ("video", 1), ("early", 1)}


@pytest.mark.parametrize("name", ["metrics.json", "history.csv", "predictions.h5"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    experiment = Experiment(accuracies={"late": 0.9})
    results = experiment.write(tmp_path)
    path = results / "schemes" / "late" / "fold1" / "seed1" / name
    path.unlink()
    with pytest.raises(StoreError) as error:
        build_report(results, experiment.config(), TEMPLATE)
    assert str(path) in str(error.value)


def test_twenty_schemes_of_fifty_one_classes_stay_a_small_file(tmp_path: Path) -> None:
    experiment = Experiment(
        accuracies={f"scheme{i:02d}": 0.02 + 0.04 * i for i in range(20)},
        classes=tuple(f"class {i:02d}" for i in range(51)),
        n_items=612,
        epochs=60,
    )
    assert (build(experiment, tmp_path) / "report.html").stat().st_size < 3e6


def test_schema_of_the_section() -> None:
    rules = schema("report")
    Draft202012Validator.check_schema(rules)
    validator = Draft202012Validator(rules)
    assert validator.is_valid({"submission_columns": ["Id", "Category"]})
    assert not validator.is_valid({"submission_columns": ["Id"]})
    assert not validator.is_valid({"titel": "x"})
    assert all("description" in rule and "default" in rule for rule in rules["properties"].values())


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "–"), (0.42, "0.42 s"), (7.06, "7.1 s"), (59.97, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_durations(seconds: float | None, words: str) -> None:
    assert wording.duration(seconds) == words


def test_numbers_with_their_noun() -> None:
    assert wording.plural(1, "class", "classes") == "1\u00a0class"
    assert wording.plural(1234567, "item") == "1\u202f234\u202f567\u00a0items"

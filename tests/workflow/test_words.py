"""SIFT words: which change reruns which of the three stages, as exact sets of jobs of a dry run (docs/words.md)."""

import csv
import re
from pathlib import Path

import h5py
import numpy as np
import pytest

from .conftest import ROOT, Project
from .test_reruns import JUDGED, PROBLEMS, edit, edit_rows

SIFT = {"type": "sift", "frame_rate": 5, "words": 8}
DECODING = {"Decoding shard a", "Decoding shard b"}
DESCRIBING = {"Describing shard a for words", "Describing shard b for words"}
TRAINING = {"Training words, fold 1", *JUDGED}


def finding(fold: int = 1) -> str:
    return f"Finding the words of words, fold {fold}"


def counting(fold: int = 1) -> set[str]:
    return {f"Counting words of words in shard {shard}, fold {fold}" for shard in "ab"}


def table(project: Project, name: str) -> list[dict[str, str]]:
    text = (project.results / "tables" / f"{name}.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


@pytest.fixture(scope="module")
def counted(fresh, tmp_path_factory) -> Project:
    """A project whose only extractor is fitted, after one whole run."""
    project = fresh.copy(tmp_path_factory.mktemp("counted") / "project")
    config = project.config | {"extractors": {"words": SIFT}, "flow": {}}
    project.config = config | {"schemes": {"words": {"type": "single", "features": ["words"]}}}
    project.snakemake()
    return project


@pytest.fixture
def words(counted, tmp_path) -> Project:
    """A copy of it that a test may change."""
    return counted.copy(tmp_path / "project")


def test_nothing_changed(words):
    assert words.planned() == set()


@pytest.mark.parametrize(("key", "value"), [("words", 4), ("root", True), ("descriptors_for_fit", 10_000)])
def test_what_only_the_words_depend_on(words, key, value):
    edit(words, f"extractors.words.{key}", value)
    assert words.planned() == {finding()} | counting() | TRAINING


def test_pooling(words):
    edit(words, "extractors.words.pooling", ["max", "mean"])
    assert words.planned() == counting() | TRAINING
    words.snakemake()
    assert words.planned() == set()
    with h5py.File(words.results / "features" / "words" / "fold1" / "a.h5") as file:
        assert np.asarray(file["embedding"]).shape == (8, 16)


@pytest.mark.parametrize(("key", "value"), [("descriptors", 16), ("frame_rate", 2)])
def test_what_the_descriptors_depend_on(words, key, value):
    edit(words, f"extractors.words.{key}", value)
    assert words.planned() == DESCRIBING | {finding()} | counting() | TRAINING


def test_a_training_item_that_leaves_train(words):
    edit_rows(words, lambda rows: [rows[0].replace("\ttrain\t", "\tval\t"), *rows[1:]])
    assert words.planned() == {finding()} | counting() | TRAINING


def test_a_label_and_a_split_that_is_not_train(words):
    edit_rows(words, lambda rows: [rows[0].replace("\tright\t", "\tdown\t"), *rows[1:]])
    assert words.planned() == TRAINING
    edit_rows(words, lambda rows: [*rows[:-1], rows[-1].replace("\ttest\t", "\tval\t")])
    assert words.planned() == TRAINING


def test_another_fold(words):
    """It has words of its own; frames are described once for all folds."""
    head, *rows = words.manifest.read_text(encoding="utf-8").splitlines()
    lines = [head.replace("split", "split_1") + "\tsplit_2", *(f"{row}\t{row.split(chr(9))[4]}" for row in rows)]
    words.manifest.write_text("\n".join(lines) + "\n", encoding="utf-8")
    second = {finding(2)} | counting(2) | {"Training words, fold 2"}
    assert words.planned() == second | JUDGED
    assert words.planned("features") == {finding(2)} | counting(2)


def test_a_network_beside_it(words):
    """Which rule makes the features of an extractor is told by its type, whatever its name."""
    edit(words, "extractors.fold1", {"type": "clip", "weights": "random"})
    edit(words, "schemes.early", {"type": "early", "features": ["words", "fold1"]})
    extracting = {"Extracting fold1 from shard a", "Extracting fold1 from shard b"}
    assert words.planned() == extracting | {"Training early, fold 1", *JUDGED}
    words.snakemake()
    with h5py.File(words.results / "schemes" / "early" / "fold1" / "seed0" / "predictions.h5") as file:
        assert len(np.asarray(file["probabilities"])) == 12


def test_too_few_descriptors_stop_the_run_with_a_sentence(words):
    edit(words, "extractors.words.words", 10_000)
    printed = words.snakemake(fails=True)
    assert re.search(r"braid: extractor 'words' asks for 10000 words, but the 6 training items of fold 1 have", printed)
    assert "Traceback" not in printed


def test_everything_runs_from_nothing_and_the_report_lists_it(counted, tmp_path):
    fresh = counted.copy(tmp_path / "project")
    (fresh.folder / "results").rename(fresh.folder / "before")
    assert fresh.planned() == DECODING | PROBLEMS | DESCRIBING | {finding()} | counting() | TRAINING
    (extractor,) = table(counted, "extractors")
    assert (extractor["name"], extractor["weights"], extractor["weights_identity"]) == ("words", "none", "")
    (stream,) = table(counted, "streams")
    assert stream["ok"] == "12"
    rules = {row["rule"] for row in table(counted, "costs")}
    assert {"describe_shard", "fit_words", "count_words"} <= rules
    assert ">none<" in (counted.results / "report.html").read_text(encoding="utf-8")


def test_the_table_in_the_docs_names_every_test():
    page = (ROOT / "docs" / "words.md").read_text(encoding="utf-8")
    here = re.findall(r"^def (test_\w+)\(words", Path(__file__).read_text(encoding="utf-8"), re.MULTILINE)
    assert set(re.findall(r"`(test_\w+)`", page)) == set(here)

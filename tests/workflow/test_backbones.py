"""Backbones: which change trains again, as exact sets of jobs of a dry run, and what a killed training leaves."""

import csv
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from .conftest import ROOT, Project
from .test_reruns import JUDGED, PROBLEMS, REPORT, decoding, edit, edit_rows, raise_version

BACKBONE = {
    "type": "timm",
    "architecture": "test_efficientnet_ln",
    "weights": "random",
    "input": "flow",
    "flow": "farneback",
    "crop": 32,
    "epochs": 30,
    "batch_size": 4,
}
TRAINING = "Training backbone ways, fold 1"
USING = {f"Extracting motion from shard {shard}, fold 1" for shard in "ab"}
JUDGING = {"Training motion, fold 1", *JUDGED}


@pytest.fixture(scope="module")
def trained(fresh, tmp_path_factory) -> Project:
    """A project whose only extractor is a backbone on flow, after one whole run."""
    project = fresh.copy(tmp_path_factory.mktemp("trained") / "project")
    project.config = project.config | {
        "backbones": {"ways": BACKBONE},
        "extractors": {"motion": {"type": "backbone", "backbone": "ways", "views": 1, "batch_size": 8}},
        "schemes": {"motion": {"type": "single", "features": ["motion"]}},
    }
    project.snakemake()
    return project


@pytest.fixture
def backbone(trained, tmp_path) -> Project:
    """A copy of it that a test may change."""
    return trained.copy(tmp_path / "project")


def test_nothing_changed(backbone):
    assert backbone.planned() == set()


@pytest.mark.parametrize(("key", "value"), [("learning_rate", 0.01), ("batch_size", 6)])
def test_parameter_of_a_backbone(backbone, key, value):
    edit(backbone, f"backbones.ways.{key}", value)
    assert backbone.planned() == {TRAINING} | USING | JUDGING


def test_version_of_a_backbone(backbone):
    raise_version(backbone, "backbones", "timm")
    assert backbone.planned() == {TRAINING} | USING | JUDGING


@pytest.mark.parametrize(
    ("before", "after", "also"),
    [("\tright\t", "\tdown\t", {"Drawing farneback flow of example clips"}), ("\ttrain\t", "\tval\t", set())],
    ids=["label", "split"],
)
def test_label_or_split_of_a_backbone(backbone, before, after, also):
    edit_rows(backbone, lambda rows: [rows[0].replace(before, after), *rows[1:]])
    assert backbone.planned() == {TRAINING} | USING | JUDGING | also


def test_views_of_a_backbone(backbone):
    edit(backbone, "extractors.motion.views", 2)
    assert backbone.planned() == USING | JUDGING


def test_flow_that_a_backbone_reads(backbone):
    edit(backbone, "flow.farneback.window", 9)
    flow = {f"Computing farneback flow of shard {shard}" for shard in "ab"}
    assert flow | {TRAINING} | USING | JUDGING <= backbone.planned()


def test_new_backbone(backbone):
    edit(backbone, "backbones.sound", {"type": "logmel", "weights": "random", "sample_rate": 32000})
    assert backbone.planned("backbones") == {"Training backbone sound, fold 1"}


def test_order_of_a_backbone(backbone):
    """It shows in the report, and a change of it trains nothing; scores of the backbone are a scheme as they are."""
    clips = {"type": "x3d", "architecture": "tiny", "clip_length": 4, "short_side": 32, "order_test": 5}
    edit(backbone, "backbones.ways", {key: BACKBONE[key] for key in BACKBONE} | clips | {"epochs": 2})
    edit(backbone, "schemes.told", {"type": "scores", "features": ["motion"]})
    testing = "Testing what order is worth to backbone ways, fold 1"
    told = "Training told, fold 1"
    assert backbone.planned() == {TRAINING, testing, told} | USING | JUDGING
    backbone.snakemake()
    assert backbone.planned() == set()
    rows = list(csv.DictReader((backbone.results / "tables" / "orders.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["order"] for row in rows] == ["ordered", "reversed", "repeated", *["shuffled"] * 5, "shuffled, mean"]
    page = (backbone.results / "report.html").read_text(encoding="utf-8")
    assert "What order in time is worth to ways" in page and "5\xa0permutations" in page
    edit(backbone, "backbones.ways.order_test", 6)
    assert backbone.planned() == {testing, REPORT}
    edit(backbone, "backbones.ways.order_test", 0)
    assert backbone.planned() == {REPORT}


def test_a_killed_training_goes_on_to_the_same_weights(backbone, trained):
    folder = backbone.results / "backbones" / "ways" / "fold1"
    shutil.rmtree(folder.parent)
    log = backbone.results / "logs" / "train_backbone" / "ways" / "fold1.log"
    log.unlink()
    process = subprocess.Popen(
        backbone.command("backbones"), cwd=backbone.folder, env=backbone.environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        until = time.monotonic() + 300
        while not (log.exists() and "epoch 3/30" in log.read_text(encoding="utf-8")):
            assert process.poll() is None and time.monotonic() < until, log.read_text(encoding="utf-8")
            time.sleep(0.02)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert list(folder.parent.glob("fold1.parts/*/checkpoint.pt"))
    backbone.snakemake("--unlock")
    assert backbone.planned("backbones") == {TRAINING}
    backbone.snakemake("backbones")
    resumed = re.search(r"resumed after epoch (\d+)", log.read_text(encoding="utf-8"))
    assert resumed and 3 <= int(resumed[1]) < 30
    undisturbed = trained.results / "backbones" / "ways" / "fold1"
    weights, others = (load_file(each / "model.safetensors") for each in (folder, undisturbed))
    assert all(weights[name].equal(others[name]) for name in others)
    histories = [(each / "history.csv").read_text(encoding="utf-8") for each in (folder, undisturbed)]
    rows, same = ([row | {"seconds": ""} for row in csv.DictReader(text.splitlines())] for text in histories)
    assert rows == same and len(rows) == 30
    assert [path.name for path in folder.parent.iterdir()] == ["fold1"]


def test_a_training_that_cannot_begin_is_a_sentence(backbone):
    edit(backbone, "backbones.ways.architecture", "resnet_18")
    assert re.search(r"config key backbones.ways: timm has no network 'resnet_18'", backbone.snakemake(fails=True))
    edit(backbone, "backbones.ways", BACKBONE | {"learning_rate": 1e30, "optimizer": "sgd"})
    printed = backbone.snakemake("backbones", fails=True)
    assert "braid: The training loss of backbone ways is not finite in epoch 1: lower `learning_rate`" in printed
    assert "Traceback" not in printed


def test_everything_runs_from_nothing(backbone):
    (backbone.folder / "results").rename(backbone.folder / "before")
    assert decoding("a", "b") | PROBLEMS | {TRAINING} | USING | JUDGING <= backbone.planned()


def test_the_docs_name_every_test():
    page = (ROOT / "docs" / "backbones.md").read_text(encoding="utf-8")
    here = re.findall(r"^def (test_\w+)\(backbone", Path(__file__).read_text(encoding="utf-8"), re.MULTILINE)
    assert set(re.findall(r"`(test_\w+)`", page)) == set(here)

"""Official weights in the workflow: fetched once, before any job of their extractor, and part of its features' key."""

import contextlib
import io
import json
from pathlib import Path

import pytest
import torch

from .conftest import Project, announced
from .test_reruns import edit, extracting

FETCHING = {"Fetching the weights of sound"}
EXTRACTING = extracting("sound", "a", "b")
FILE = "passt-s-f128-p16-s16-ap.468.pt"


def put_weights(project: Project, seed: int) -> None:
    """Put a file of the official name and layout, with random numbers, into the weights folder."""
    from hear21passt.models.passt import get_model

    folder = Path(project.environment["BRAID_WEIGHTS"])
    folder.mkdir(exist_ok=True)
    torch.manual_seed(seed)
    with contextlib.redirect_stdout(io.StringIO()):
        network = get_model("passt_s_p16_s16_128_ap468", pretrained=False, fstride=16, tstride=16, input_tdim=998)
    torch.save(network.state_dict(), folder / FILE)
    (folder / f"{FILE}.sha256").unlink(missing_ok=True)


@pytest.fixture(scope="module")
def decoded(fresh, tmp_path_factory) -> Project:
    """A project with a single extractor, decoded."""
    project = fresh.copy(tmp_path_factory.mktemp("decoded") / "project")
    edit(project, "extractors", {"sound": fresh.config["extractors"]["sound"]})
    edit(project, "schemes", {"sound": {"type": "single", "features": ["sound"]}})
    project.snakemake("decode")
    return project


@pytest.fixture
def project(decoded, tmp_path) -> Project:
    """A copy of it that a test may change, without a network and without weights."""
    copy = decoded.copy(tmp_path / "project")
    copy.environment |= {"BRAID_WEIGHTS": str(copy.folder / "weights"), "BRAID_OFFLINE": "1"}
    return copy


@pytest.fixture
def pretrained(project) -> Project:
    """The same, its sound by official weights."""
    edit(project, "extractors.sound.weights", "pretrained")
    return project


def test_one_job_fetches_the_weights_of_an_extractor(pretrained):
    assert pretrained.planned("features") == FETCHING | EXTRACTING


def test_random_weights_are_not_fetched(project):
    assert project.planned("features") == EXTRACTING


def test_missing_weights_stop_before_any_job_of_the_extractor(pretrained):
    printed = pretrained.snakemake("features", fails=True)
    sentence = next(line for line in printed.splitlines() if line.startswith("braid: "))
    assert sentence == (
        f"braid: {pretrained.folder}/weights/{FILE} is missing and BRAID_OFFLINE is set: put {FILE} into "
        f"{pretrained.folder}/weights; it comes from https://github.com/kkoutini/PaSST/releases/download/"
        f"v0.0.2-audioset/{FILE}"
    )
    assert announced(printed) == FETCHING


def test_the_receipt_is_what_features_are_known_by(pretrained):
    receipt = pretrained.results / "weights" / "extractors" / "sound.json"
    put_weights(pretrained, seed=1)
    assert announced(pretrained.snakemake("features")) == FETCHING | EXTRACTING
    first = json.loads(receipt.read_text())
    assert first["file"] == FILE and first["licence"] == "Apache-2.0"
    assert pretrained.planned("features") == set()

    edit(pretrained, "extractors.sound.batch_size", 3)
    assert pretrained.planned("features") == set()

    def fetch_again() -> None:
        receipt.unlink()
        assert announced(pretrained.snakemake(str(receipt.relative_to(pretrained.folder)))) == FETCHING

    fetch_again()
    assert json.loads(receipt.read_text()) == first
    assert pretrained.planned("features") == set()

    put_weights(pretrained, seed=2)
    fetch_again()
    assert json.loads(receipt.read_text())["sha256"] != first["sha256"]
    assert pretrained.planned("features") == EXTRACTING


def test_a_tokenizer_is_fetched_by_the_same_rule_where_weights_are_random(project):
    """No GPU job waits for a download: without a network the run says what is missing, and none of them starts."""
    words = {"type": "clip", "weights": "random", "architecture": "ViT-B-16-SigLIP2"}
    edit(project, "extractors.words", words)
    assert project.planned("features") == EXTRACTING | extracting("words", "a", "b")
    edit(project, "extractors.words", words | {"classes": ["a bus", "a tram"]})
    fetching = {"Fetching the weights of words"}
    assert project.planned("features") == fetching | EXTRACTING | extracting("words", "a", "b")
    printed = project.snakemake("features", "--omit-from", "extract_features", fails=True)
    assert "weights/timm--ViT-B-16-SigLIP2/tokenizer.json is missing and BRAID_OFFLINE is set" in printed
    assert announced(printed) == fetching

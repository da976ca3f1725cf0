"""Every preset of a published system, whole, on a small data set of its layout, with smaller networks.

`make presets` runs it, `make test` a part (test_presets.py). `REDUCED` lists all that is smaller; what it does not name
is as in config/presets. With random weights and a few clips the scores say nothing of the real data, and the report
leaves its column beside the published figures empty.
"""

from __future__ import annotations

import csv
import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from scipy.stats import binom

from braid import config as configs
from braid.cli import main
from braid.schemes.results import read_predictions
from braid.store.features import FeatureShard

from . import miniatures
from .conftest import ROOT, Project
from .known import CHANCE


@dataclass(frozen=True)
class Preset:
    """What a preset runs on, and what its results must be.

    Attributes
    ----------
    make, kind, options : the maker of its data, and how `braid index` reads them
    splits : items in train, val, test and predict of fold 1
    dimensions : extractor → numbers of an embedding
    parameters : scheme → numbers that it learns, at the sizes of the preset where no network is smaller here
    fused, single : schemes of several modalities, the best of which is at least as good as each single one
    ceilings : scheme → share of test items that can be known from what it sees or hears
    """

    make: Callable[..., None]
    kind: str
    options: list[str]
    splits: tuple[int, int, int, int]
    dimensions: dict[str, int] = field(default_factory=dict)
    parameters: dict[str, int] = field(default_factory=dict)
    fused: tuple[str, ...] = ()
    single: tuple[str, ...] = ()
    ceilings: dict[str, float] = field(default_factory=dict)


def perceptron(*sizes: int) -> int:
    """Return the parameters of linear layers of these sizes, all but the last one with batch normalisation."""
    linear = sum(one * other + other for one, other in pairwise(sizes))
    return linear + sum(2 * size for size in sizes[1:-1])


CMU = {"make": miniatures.cmu11775, "kind": "cmu11775", "options": ["--split", "train=.8", "val=.1", "test=.1"]}
PRESETS = {
    "cmu-fusion": Preset(
        **CMU,
        splits=(120, 15, 15, 15),
        dimensions={"sound": 768, "video": 512},
        parameters={"early": perceptron(768 + 512, 15), "sound": perceptron(768, 512, 15)},
        fused=("early", "late", "late_mean", "double"),
        single=("sound", "video"),
        ceilings={"sound": 3 / 15, "video": 5 / 15},
    ),
    "cmu-visual-features": Preset(
        **CMU,
        splits=(120, 15, 15, 15),
        dimensions={"sift": 128, "convnext": 768, "r2plus1d": 512},
        parameters={name: perceptron(size, 512, 15) for name, size in (("sift", 128), ("r2plus1d", 512))},
        ceilings=dict.fromkeys(["sift", "convnext", "r2plus1d"], 5 / 15),
    ),
    "hmdb51-action": Preset(
        miniatures.hmdb51,
        "hmdb51",
        ["--val", "0.2"],
        splits=(29, 7, 12, 0),
        fused=("token_fusion", "logit_fusion", "logit_fusion_classes"),
        single=("m", "flow_zero"),
        ceilings={"frames": 1 / 2, "flow_zero": 1 / 2},
    ),
    "tau-weighted": Preset(
        miniatures.tau2021,
        "tau2021",
        ["--val", "0.3"],
        splits=(21, 9, 20, 0),
        dimensions={"audio": 512, "video": 512},
        parameters={"audio": perceptron(512, 512, 10), "early": perceptron(1024, 512, 10)},
        fused=("early", "intermediate", "late", "weighted"),
        single=("audio", "video"),
        ceilings={"audio": 2 / 10, "video": 5 / 10},
    ),
    "tau-clip-ensemble": Preset(
        partial(miniatures.tau2021, test=1),
        "tau2021",
        ["--val", "0.3", "--item-seconds", "2"],  # half as many as the 1 s of the preset's page
        splits=(100, 50, 50, 0),
        dimensions={"clip_rn50x4": 640, "clip_rn101": 512, "clip_vit": 512, "openl3_audio": 512, "openl3_video": 512},
        parameters={"clip_fusion": 1_350_282},
        fused=("without_clip", "e01", "e02", "b03_both"),
        single=("a04_audio", "v04_frames", "clip_fusion", "b01_audio", "b02_video"),
    ),
}


def at_most(limit: float) -> Callable[[Any], Any]:
    """Return a function that lowers numbers to `limit` and leaves words alone."""
    return lambda value: min(value, limit) if isinstance(value, (int, float)) else value


def at_least(limit: float) -> Callable[[Any], Any]:
    return lambda value: max(value, limit)


RUN = {"folds": ["1"], "seeds": [0]}
FLOW = {"type": "farneback"}  # a network with random weights sees no motion
TINY_CROPS = {"crop": 48, "short_side": 48, "scale": [0.5, 1]}
SWEEP = {  # the rates of the preset are for thousands of items
    "parameters": {
        "learning_rate": {"low": 0.0001, "high": 0.01, "scale": "log"},
        "optimizer": ["adam", "adamw", "sgd"],
        "batch_size": [16, 64, 256],
        "layers": [1, 2, 4],
    },
    "budget": 3,
}
REDUCED: dict[str, dict[str, dict[str, Any]]] = {  # section → type, or "" for all → what becomes of settings
    "backbones": {
        "": {
            "weights": "random",
            "epochs": at_most(30),
            "batch_size": at_most(8),  # few clips are few steps,
            "learning_rate": at_least(0.003),  # which are to lead somewhere
        },
        "x3d": TINY_CROPS | {"architecture": "tiny", "clip_length": 4, "frame_rate": 8, "bound": 4},
        "timm": TINY_CROPS | {"architecture": "resnet10t", "frames_an_epoch": at_most(4)},
        "logmel": {"architecture": "resnet10t", "epochs": at_most(8)},
    },
    "extractors": {
        "": {"weights": "random", "views": at_most(4)},
        "passt": {"architecture": "passt_s_p16_s16_128_ap468"},
        "openl3_audio": {"hop_seconds": 2.0},
        "openl3_image": {"frame_rate": 0.5},
        "torchvision": {"architecture": "convnext_tiny"},
        "torchvision_video": {"clip_length": 8, "views": 1},
    },
    "schemes": {
        "": {
            "batch_size": at_most(16),
            "learning_rate": at_least(0.003),
            "sweep": lambda sweep: sweep and sweep | SWEEP,
        },
    },
}


def load(preset: str) -> dict[str, Any]:
    """Return a preset with its defaults."""
    path = ROOT / "config" / "presets" / f"{preset}.yaml"
    return configs.load(yaml.safe_load(path.read_text(encoding="utf-8")))


def reduced(config: dict[str, Any]) -> dict[str, Any]:
    """Return a complete config with what `RUN`, `FLOW` and `REDUCED` say in place of its own settings."""
    for section, by_type in REDUCED.items():
        for settings in config[section].values():
            for key, change in (by_type.get("", {}) | by_type.get(settings["type"], {})).items():
                if key in settings:
                    settings[key] = change(settings[key]) if callable(change) else change
    config["flow"] = dict.fromkeys(config["flow"], FLOW)
    return config | RUN | {"name": f"{config['name']}-miniature", "manifest": "resources/clips.tsv"}


def make_project(folder: Path, preset: str, config: Mapping[str, Any], **sizes: float) -> Project:
    """Return a copy of the workflow, with the data of a preset, indexed, and a config that has yet to run."""
    for name in ("Snakefile", "workflow", "profiles", "src", "config"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        copy(ROOT / name, folder / name)
    made = PRESETS[preset]
    made.make(folder / "data", **sizes)
    manifest = folder / "resources" / "clips.tsv"
    index = ["index", made.kind, str(folder / "data"), "-o", str(manifest), "--shard-size", "200"]
    assert main([*index, *made.options]) == 0
    project = Project(folder)
    project.config = dict(config)
    return project


def table(results: Path, name: str) -> list[dict[str, str]]:
    with (results / "tables" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def check(results: Path, preset: str, splits: tuple[int, int, int, int]) -> None:
    """Assert the structure of the results, that nothing beats its ceiling, and that fusion is as good as its parts."""
    wanted, config = PRESETS[preset], load(preset)
    rows = {row["scheme"]: row for row in table(results, "schemes")}
    assert set(rows) == set(config["schemes"])
    record = json.loads((results / "provenance.json").read_text(encoding="utf-8"))
    counts, n_classes = record["folds"]["1"], len(record["classes"])
    assert tuple(counts[split] for split in ("train", "val", "test", "predict")) == splits
    for name in config["schemes"]:
        found = read_predictions(results / "schemes" / name / "fold1" / "seed0" / "predictions.h5")
        assert found.probabilities.shape == (sum(splits), n_classes), name
        assert np.allclose(found.probabilities.sum(axis=1), 1, atol=1e-4), name
    for extractor in config["extractors"]:
        with FeatureShard(next((results / "features" / extractor).rglob("*.h5"))) as shard:
            size = wanted.dimensions.get(extractor, shard.embedding.shape[1])
            assert shard.embedding.shape == (sum(splits), size), extractor
            assert np.isfinite(shard.embedding).all(), extractor
    for backbone in config["backbones"]:
        assert (results / "backbones" / backbone / "fold1" / "model.safetensors").is_file()
    for scheme, count in wanted.parameters.items():
        assert int(rows[scheme]["parameters"]) == count, scheme
    accuracies = {name: float(row["test_accuracy"]) for name, row in rows.items()}
    print(", ".join(f"{name} {accuracy:.2f}" for name, accuracy in accuracies.items()))
    for scheme, ceiling in wanted.ceilings.items():
        assert accuracies[scheme] <= binom.ppf(CHANCE, splits[2], ceiling) / splits[2], scheme
    if wanted.fused:
        best = max(accuracies[name] for name in wanted.fused)
        assert best >= max(accuracies[name] for name in wanted.single)
        assert best >= 3 / n_classes, "nothing was learnt"
    published = table(results, "published")
    assert published and all(row["ours"] == "" and row["because"] for row in published)
    page = (results / "report.html").read_text(encoding="utf-8")
    assert "Ours is empty: this run is not of the published data" in page
    lines = (results / "submission.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == ",".join(config["report"]["submission_columns"]) and len(lines) == 1 + splits[3]


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_runs_whole_on_a_miniature_of_its_data(tmp_path, preset):
    config = reduced(load(preset))
    project = make_project(tmp_path, preset, config)
    start = time.monotonic()
    project.snakemake("--max-threads", "1")  # the networks are too small for two cores: two jobs at once
    print(f"\n{preset}: {time.monotonic() - start:.0f} s")
    check(tmp_path / "results" / config["name"], preset, PRESETS[preset].splits)
    assert project.planned() == set(), "a second run has nothing to do"

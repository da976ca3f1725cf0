"""Every preset, whole, on a small data set of its layout, with smaller networks; `make presets` runs it.

What is smaller is listed in `reduced`; all else is as in config/presets. With random weights and a few clips the scores say nothing of the
real data, and the report leaves its column beside the published figures empty.
"""

from __future__ import annotations

import csv
import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from braid.cli import main
from braid.store.features import FeatureShard

from . import miniatures
from .conftest import ROOT, Project

DATA = {  # preset → maker, kind of index, its options
    "cmu-fusion": (miniatures.cmu11775, "cmu11775", ["--split", "train=.8", "val=.1", "test=.1"]),
    "cmu-visual-features": (miniatures.cmu11775, "cmu11775", ["--split", "train=.8", "val=.1", "test=.1"]),
    "hmdb51-action": (miniatures.hmdb51, "hmdb51", ["--val", "0.2"]),
    "tau-weighted": (miniatures.tau2021, "tau2021", ["--val", "0.3"]),
    "tau-clip-ensemble": (miniatures.tau2021, "tau2021", ["--val", "0.3", "--item-seconds", "1"]),
}
SPLITS = {  # train, val, test and predict of fold 1
    "cmu-fusion": (120, 15, 15, 15),
    "cmu-visual-features": (120, 15, 15, 15),
    "hmdb51-action": (28, 8, 12, 0),
    "tau-weighted": (21, 9, 20, 0),
    "tau-clip-ensemble": (210, 90, 200, 0),
}
DIMENSIONS = {
    "cmu-fusion": {"sound": 768, "video": 512},
    "cmu-visual-features": {"sift": 128, "convnext": 768, "r2plus1d": 512},
    "hmdb51-action": {},
    "tau-weighted": {"audio": 512, "video": 512},
    "tau-clip-ensemble": {"clip_rn50x4": 640, "clip_rn101": 512, "clip_vit": 512, "openl3_audio": 512, "openl3_video": 512},
}  # fmt: skip
PARAMETERS = {
    "cmu-fusion": {"early": (768 + 512) * 15 + 15},
    "cmu-visual-features": {"r2plus1d": 512 * 512 + 512 + 2 * 512 + 512 * 15 + 15},
    "hmdb51-action": {},
    "tau-weighted": {},
    "tau-clip-ensemble": {"clip_fusion": 1_350_282},
}
FUSED = {  # schemes of several modalities, and the single ones that they are held against
    "cmu-fusion": (["early", "late", "late_mean", "double"], ["sound", "video"]),
    "hmdb51-action": (["token_fusion", "logit_fusion", "logit_fusion_classes"], ["m", "flow_zero"]),
    "tau-weighted": (["early", "intermediate", "late", "weighted"], ["audio", "video"]),
    "tau-clip-ensemble": (["without_clip", "e01", "e02", "b03_both"], ["a04_audio", "v04_frames", "clip_fusion"]),
}
SMALLER_NETWORKS = {
    "passt": {"architecture": "passt_s_p16_s16_128_ap468"},
    "torchvision_video": {"clip_length": 8, "views": 1},
    "torchvision": {"architecture": "convnext_tiny"},
    "openl3_audio": {"hop_seconds": 1.0},
    "openl3_image": {"frame_rate": 1},
}


def reduced(config: dict[str, Any], manifest: str) -> dict[str, Any]:
    """Return a preset with one fold and seed, random weights, small pictures, small backbones and short trainings."""
    config |= {"name": f"{config['name']}-miniature", "manifest": manifest, "folds": ["1"], "seeds": [0]}
    config["decode"] |= {"short_side": 48}
    for settings in config.get("flow", {}).values():
        settings |= {"weights": "random", "dtype": "float32"}
    for settings in config.get("backbones", {}).values():
        small = {"weights": "random", "batch_size": 16, "epochs": 3, "learning_rate": 0.003}
        if settings["type"] == "x3d":
            small |= {"architecture": "tiny", "clip_length": 4, "frame_rate": 4, "crop": 48, "short_side": 48}
        else:
            small |= {"architecture": "resnet10t"}
        if settings["type"] == "timm":
            small |= {"crop": 48, "short_side": 48} | ({"frames_an_epoch": 2} if "frames_an_epoch" in settings else {})
        settings |= small
    for settings in config["extractors"].values():
        kind = settings["type"]
        settings |= SMALLER_NETWORKS.get(kind, {}) | ({} if kind in ("backbone", "sift") else {"weights": "random"})
        if kind == "backbone" and isinstance(settings.get("views"), int):
            settings["views"] = min(settings["views"], 4)
    for settings in config["schemes"].values():
        if "sweep" in settings:
            settings["sweep"]["budget"] = 3
    return config


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Project:
    """A copy of the workflow, in which each data set is made once."""
    folder = tmp_path_factory.mktemp("presets")
    for name in ("Snakefile", "workflow", "profiles", "src", "config"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        copy(ROOT / name, folder / name)
    return Project(folder)


def run(project: Project, preset: str) -> Path:
    """Make the data set of a preset, index it, run the preset, and return its results."""
    make, kind, options = DATA[preset]
    root, manifest = project.folder / "data" / kind, project.folder / "resources" / preset / "clips.tsv"
    if not root.exists():
        make(root)
    assert main(["index", kind, str(root), "-o", str(manifest), "--shard-size", "40", *options]) == 0
    config = yaml.safe_load((ROOT / "config" / "presets" / f"{preset}.yaml").read_text(encoding="utf-8"))
    project.config = reduced(config, str(manifest.relative_to(project.folder)))
    start = time.monotonic()
    project.snakemake()
    print(f"{preset}: {time.monotonic() - start:.0f} s")
    assert "Nothing to be done" in project.snakemake()
    return project.folder / "results" / f"{preset}-miniature"


def table(results: Path, name: str) -> list[dict[str, str]]:
    with (results / "tables" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def check(results: Path, preset: str) -> None:
    """Assert the structure of the results, and that fusion is at least as good as its parts."""
    config = yaml.safe_load((ROOT / "config" / "presets" / f"{preset}.yaml").read_text(encoding="utf-8"))
    rows = {row["scheme"]: row for row in table(results, "schemes")}
    assert set(rows) == set(config["schemes"])
    record = json.loads((results / "provenance.json").read_text(encoding="utf-8"))
    counts = record["folds"]["1"]
    assert tuple(counts[split] for split in ("train", "val", "test", "predict")) == SPLITS[preset]
    for extractor, size in DIMENSIONS[preset].items():
        path = next((results / "features" / extractor).rglob("*.h5"))
        with FeatureShard(path) as shard:
            assert shard.embedding.shape[1] == size, extractor
    for scheme, count in PARAMETERS[preset].items():
        assert int(rows[scheme]["parameters"]) == count, scheme
    if preset in FUSED:
        fused, single = ([float(rows[name]["test_accuracy"]) for name in names] for names in FUSED[preset])
        assert max(fused) >= max(single)
        assert max(fused) > 1.5 / len(record["classes"]), "nothing was learnt"
    published = table(results, "published")
    assert published and all(row["ours"] == "" and "random weights" in row["because"] for row in published)
    page = (results / "report.html").read_text(encoding="utf-8")
    assert "Ours is empty: this run is not of the published data" in page
    if SPLITS[preset][3]:
        lines = (results / "submission.csv").read_text(encoding="utf-8").splitlines()
        assert lines[0] == "Id,Category" and len(lines) == 1 + SPLITS[preset][3]


@pytest.mark.parametrize("preset", DATA)
def test_a_preset_runs_whole_on_a_miniature_of_its_data(project, preset):
    check(run(project, preset), preset)

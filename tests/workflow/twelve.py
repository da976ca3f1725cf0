"""Twelve extractors on real clips, and a second run that has nothing to do; `make twelve` runs it, `make test` not.

The clips are the files of the folder that the environment variable BRAID_CLIPS names; a few of the demo's without it.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from braid.store.features import FeatureShard

from .conftest import ROOT, Project

CONFIG = yaml.safe_load((ROOT / "config" / "presets" / "twelve.yaml").read_text(encoding="utf-8"))
DEMO = ROOT / "resources" / "demo" / "clips"
N_DEMO = 8


@pytest.fixture
def clips() -> list[Path]:
    folder = Path(os.environ.get("BRAID_CLIPS") or DEMO)
    found = sorted(path.resolve() for path in folder.iterdir() if path.is_file())
    assert found, f"{folder} holds no clip"
    return found[:N_DEMO] if folder == DEMO else found


@pytest.fixture
def project(tmp_path, clips) -> Project:
    for name in ("Snakefile", "workflow", "profiles", "src"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        copy(ROOT / name, tmp_path / name)
    rows = ["item\tvideo\taudio\tlabel\tsplit\tshard"]
    splits = ("train", "train", "val", "test")
    for i, clip in enumerate(clips):
        rows.append(f"{i}\t{clip}\t{clip}\t{'ab'[i // 4 % 2]}\t{splits[i % 4]}\tall")
    (tmp_path / "clips.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    project = Project(tmp_path)
    project.config = CONFIG
    return project


def test_twelve_extractors_run_once(project, clips):
    assert len(CONFIG["extractors"]) == 12
    project.snakemake("features")
    files = sorted((project.folder / "results" / "twelve" / "features").rglob("*.h5"))
    assert {file.relative_to(project.folder / "results" / "twelve" / "features").parts[0] for file in files} == set(
        CONFIG["extractors"]
    )
    for file in files:
        with FeatureShard(file) as shard:
            usable = ~np.isin(shard.status, ["missing", "unreadable"])
            assert len(shard.items) == len(clips) and usable.any(), file
            assert np.isfinite(shard.embedding[usable]).all(), file
    assert project.planned("features") == set()
    assert "Nothing to be done" in project.snakemake("features")

"""`braid plan` of every preset on its official layout at full size, files without content; `make plans` runs it."""

import shutil
import subprocess
import sys
from pathlib import Path

import official_layouts
import pytest

from .conftest import ROOT

CMU = ("cmu11775", ["--split", "train=.8", "val=.1", "test=.1"], [], "8,249 items of 8,249 clips in 129 shards")
PRESETS = {  # preset → data set, options of its index, options of the plan, items and shards of the manifest
    "cmu-fusion": CMU,
    "cmu-visual-features": CMU,
    "hmdb51-action": ("hmdb51", [], ["--clip-seconds", "3.12"], "6,766 items of 6,766 clips in 106 shards"),
    "tau-weighted": ("tau2021", [], [], "12,291 items of 12,291 clips in 193 shards"),
    "tau-clip-ensemble": ("tau2021", ["--item-seconds", "1"], [], "122,910 items of 12,291 clips in 193 shards"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("plans")
    for name in ("Snakefile", "workflow", "profiles", "config"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        copy(ROOT / name, folder / name)
    for kind in ("cmu11775", "hmdb51", "tau2021"):
        getattr(official_layouts, kind)(folder / kind)
    return folder


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_has_a_plan_at_full_size(folder, preset):
    kind, index, plan, size = PRESETS[preset]
    braid = str(Path(sys.executable).with_name("braid"))
    config = Path("config", "presets", f"{preset}.yaml")
    manifest = next(
        line.split()[1] for line in (folder / config).read_text().splitlines() if line.startswith("manifest:")
    )
    for command in (["index", kind, kind, "-o", manifest, *index], ["plan", str(config), *plan]):
        done = subprocess.run([braid, *command], cwd=folder, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
    print(done.stdout)
    assert done.stdout.startswith(f"{preset}: {size}")
    assert "build_report                1" in done.stdout
    assert "together" in done.stdout

"""The smallest backbones, trained from scratch for a minute or two, know the factor that they are shown.

`make learn` is the whole of it, see learn.py.
"""

import subprocess
import sys

import pytest
import yaml

from .conftest import ROOT
from .known import bound, shares

EPOCHS = {"motion": 10, "mel": 8}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    config = yaml.safe_load((ROOT / "config" / "presets" / "learn.yaml").read_text(encoding="utf-8"))
    backbones = {"motion": config["backbones"]["flow"] | {"architecture": "tiny"}, "mel": config["backbones"]["mel"]}
    for name, epochs in EPOCHS.items():
        backbones[name] |= {"epochs": epochs}
    backbones["motion"] |= {"order_test": 0}
    config |= {
        "name": "learn-briefly",
        "backbones": backbones,
        "extractors": {
            name: {"type": "backbone", "backbone": name, "views": 1, "batch_size": 16} for name in backbones
        },
        "schemes": {name: {"type": "scores", "features": [name]} for name in backbones},
    }
    path = tmp_path_factory.mktemp("learn") / "config.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    # Without the lock of this folder: the demo may run in it now, into other results.
    command = [sys.executable, "-m", "snakemake", "--configfile", str(path), "--cores", "all", "--nolock"]
    subprocess.run(command, cwd=ROOT, check=True, timeout=1200)
    return ROOT / "results" / "learn-briefly"


@pytest.mark.parametrize(("scheme", "factor"), [("motion", "direction"), ("mel", "sound")])
def test_a_backbone_knows_what_it_is_shown_and_nothing_else(results, scheme, factor):
    share = shares(results, scheme)
    assert share[factor] >= 0.9
    for other in {"digit", "direction", "sound"} - {factor} - ({"digit"} if scheme == "motion" else set()):
        assert share[other] <= bound(0.5), other

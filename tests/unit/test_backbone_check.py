"""Backbones in a config: what only libraries know is asked before the first job; the example of the docs is valid."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from backbone_data import settings

from braid import config
from braid.backbones.check import check_backbones
from braid.errors import ConfigError

ROOT = Path(__file__).parents[2]
MINIMAL = {
    "name": "n",
    "manifest": "m",
    "extractors": {"sound": {"type": "passt"}},
    "schemes": {"sound": {"type": "single", "features": ["sound"]}},
}


def test_the_example_of_the_docs_can_be_trained() -> None:
    page = (ROOT / "docs" / "backbones.md").read_text(encoding="utf-8")
    example = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert example is not None
    full = config.load({"name": "example", "manifest": "clips.tsv"} | yaml.safe_load(example[1]))
    check_backbones(full["backbones"])


def test_wrong_settings_are_a_sentence_each() -> None:
    wrong = {
        "a": settings("timm", architecture="resnot50"),
        "b": settings("logmel", seconds=0.01),
        "c": settings("timm", architecture="resnet18", crop=32),
    }
    with pytest.raises(ConfigError) as error:
        check_backbones(wrong)
    first, second = str(error.value).splitlines()
    assert first.startswith("config key backbones.a: timm has no network 'resnot50'; near it are ")
    assert second.startswith("config key backbones.b: seconds 0.01")


def test_a_length_that_a_network_cannot_take_is_a_sentence() -> None:
    raw = {"type": "torchvision_video", "architecture": "s3d", "clip_length": 8}
    with pytest.raises(ConfigError, match=r"config key backbones.mine.clip_length must be at least 14, got 8"):
        config.load(MINIMAL | {"backbones": {"mine": raw}})

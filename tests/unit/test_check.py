"""Settings that only the libraries know to be wrong are refused before anything is constructed."""

import subprocess
import sys
from pathlib import Path

import pytest
from fake_clips import settings

from braid.errors import ConfigError
from braid.extractors.check import check_extractors
from braid.extractors.plan import Planner
from braid.extractors.registry import REGISTRY

NEEDED = {
    "timm": {"architecture": "resnet18"},
    "transformers_video": {"weights": "pretrained"},
    "flow_r2plus1d": {"flow": "farneback"},
}


@pytest.mark.parametrize("kind", REGISTRY)
def test_defaults_are_accepted(kind):
    check_extractors({"mine": settings(kind, **NEEDED.get(kind, {}))})


@pytest.mark.parametrize(
    ("kind", "changes", "says"),
    [
        ("timm", {"architecture": "resnet19"}, "timm has no network 'resnet19'; near it are .*resnet18"),
        (
            "torchvision",
            {"architecture": "convnext_bass"},
            "'convnext_bass'; near it are convnext_base",
        ),
        ("logmel", {"architecture": "efficientnet_b11"}, "timm has no network 'efficientnet_b11'"),
        ("logmel", {"f_max": 30000}, "at most 24000, half the rate"),
        ("logmel", {"n_mels": 900}, "mel bands hold no frequency"),
        ("logmel", {"seconds": 0.01}, "must be more than half of n_fft"),
        ("clip", {"architecture": "ViT-B-33"}, "open_clip has no architecture 'ViT-B-33'; near it are"),
        ("clip", {"pretrained_tag": "laion3b"}, "laion3b"),
        ("clip", {"classes": ["a", "very " * 80]}, "is longer than the 77 tokens"),
        (
            "clip",
            {"architecture": "ViT-B-16-SigLIP2", "classes": ["a", "b"], "templates": ["{class} {"]},
            "has a brace",
        ),
        ("transformers_video", {"architecture": "no/folder"}, "'no/folder' is no folder"),
        ("transformers_video", {"architecture": str(Path(__file__).parent)}, "must hold config.json"),
    ],
)
def test_what_is_wrong_is_said_with_its_key(kind, changes, says):
    with pytest.raises(ConfigError, match=rf"(?s)^config key extractors\.mine: .*{says}"):
        check_extractors({"mine": settings(kind, **changes)})


@pytest.mark.parametrize("kind", REGISTRY)
def test_just_those_that_know_more_than_the_schema_are_imported(kind):
    own = REGISTRY[kind].load().check.__func__ is not Planner.check.__func__
    assert REGISTRY[kind].checked == own


def test_every_wrong_entry_is_named():
    wrong = {name: settings("timm", architecture=name) for name in ("renset18", "renset34")}
    with pytest.raises(ConfigError) as raised:
        check_extractors(wrong)
    assert [line.split(":")[0] for line in str(raised.value).splitlines()] == [
        "config key extractors.renset18",
        "config key extractors.renset34",
    ]


def test_checking_leaves_the_root_logger_alone():
    """A handler that stayed there would print every line of Snakemake twice."""
    code = (
        "import logging, sys; sys.path.insert(0, 'tests/unit'); from fake_clips import settings;"
        "from braid.extractors.check import check_extractors;"
        "check_extractors({'look': settings('clip', classes=['a', 'b'])}); assert logging.getLogger().handlers == []"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])

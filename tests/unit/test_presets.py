"""The five systems: each preset is a valid config of what its system has, with published figures and a page."""

from pathlib import Path

import pytest
import yaml

from braid import config, sweeps
from braid.report.published import read
from braid.schemes.registry import REGISTRY

ROOT = Path(__file__).parents[2]
SYSTEMS = ("cmu-fusion", "cmu-visual-features", "hmdb51-action", "tau-weighted", "tau-clip-ensemble")


def load(preset):
    return config.load(yaml.safe_load((ROOT / "config" / "presets" / f"{preset}.yaml").read_text(encoding="utf-8")))


@pytest.fixture(autouse=True)
def here(monkeypatch):
    monkeypatch.chdir(ROOT)  # published figures are named from there


@pytest.mark.parametrize("preset", SYSTEMS)
def test_a_preset_is_named_by_its_file_and_uses_all_that_it_extracts(preset):
    loaded = load(preset)
    assert loaded["name"] == preset
    read_by_schemes = {name for entry in loaded["schemes"].values() for name in entry.get("features", [])}
    assert read_by_schemes == set(loaded["extractors"])
    used = {entry["backbone"] for entry in loaded["extractors"].values() if entry["type"] == "backbone"}
    alone = {name for name, entry in loaded["backbones"].items() if entry.get("order_test")}
    assert used | alone == set(loaded["backbones"])


@pytest.mark.parametrize("preset", SYSTEMS)
def test_networks_begin_with_official_weights_except_where_authors_began_from_scratch(preset):
    loaded = load(preset)
    scratch = {name for name, entry in loaded["backbones"].items() if entry["weights"] == "random"}
    expected = {"xs", "tiny", "segments_2", "segments_3", "segments_5"} if preset == "hmdb51-action" else set()
    assert scratch == expected
    assert all(entry.get("weights", "pretrained") == "pretrained" for entry in loaded["extractors"].values())


@pytest.mark.parametrize("preset", SYSTEMS)
def test_published_figures_are_shares_or_losses_of_schemes(preset):
    table = read(load(preset))
    assert table.height >= 3
    assert table.filter(measure="accuracy")["published"].is_between(0, 1).all()
    assert table.filter(measure="log_loss")["published"].is_between(0.1, 2).all()
    assert table.select("scheme", "measure").is_duplicated().sum() == 0


@pytest.mark.parametrize("preset", SYSTEMS)
def test_a_page_says_how_to_run_a_preset(preset):
    page = (ROOT / "docs" / "systems" / f"{preset}.md").read_text(encoding="utf-8")
    assert f"--configfile config/presets/{preset}.yaml" in page
    assert f"-o {load(preset)['manifest']}" in page
    assert f"results/{preset}/report.html" in page
    for scheme, measure, published in read(load(preset)).select("scheme", "measure", "published").iter_rows():
        assert f"`{scheme}`" in page, (scheme, measure, published)
        assert f"{published:.3f}".rstrip("0").lstrip("0") in page, (scheme, measure, published)


def test_systems_have_the_parts_that_they_are_known_for():
    action, ensemble = load("hmdb51-action"), load("tau-clip-ensemble")
    for encoding in ("two", "mean", "zero", "picture"):
        assert action["backbones"][f"flow_{encoding}"]["encoding"] == encoding
    assert [action["backbones"][f"segments_{n}"]["segments"] for n in (2, 3, 5)] == [2, 3, 5]
    assert action["backbones"]["zeros_grey"]["input"] == "zeros_grey"
    assert action["schemes"]["token_fusion"]["sweep"]
    assert ensemble["schemes"]["clip_fusion"]["branch_out"] == 256  # 1,350,282 parameters: test_schemes.py
    assert ensemble["schemes"]["e02"]["schemes"] == ["e01"]
    assert list(ensemble["extractors"]["clip_vit"]["classes"]) == sorted(ensemble["extractors"]["clip_vit"]["classes"])
    assert len(ensemble["extractors"]["clip_vit"]["classes"]) == 10


@pytest.mark.parametrize(
    ("preset", "scheme", "dims", "n_classes", "expected"),
    [
        ("cmu-fusion", "early", [768, 512], 15, 19_215),
        ("cmu-visual-features", "sift", [128], 15, 128 * 512 + 512 + 1024 + 512 * 15 + 15),
        ("tau-weighted", "intermediate", [512, 512], 10, 2 * (512 * 512 + 512 + 1024 + 512 * 128 + 128) + 34_186),
        ("tau-clip-ensemble", "clip_fusion", [640, 512, 512], 10, 1_350_282),
    ],
)
def test_networks_of_a_preset_have_the_sizes_of_its_system(preset, scheme, dims, n_classes, expected):
    settings = load(preset)["schemes"][scheme]
    network = REGISTRY[settings["type"]].load()(settings["features"], dims, n_classes, settings)
    assert sum(parameter.numel() for parameter in network.parameters()) == expected


COURSE = {
    "optimizer": "adam",
    "learning_rate": 0.0001,
    "weight_decay": 0.0001,
    "schedule": "reduce_on_plateau",
    "plateau_patience": 3,
    "plateau_factor": 0.1,
    "batch_size": 128,
    "epochs": 100,
    "monitor": "val_loss",
    "patience": 7,
    "dropout": 0.2,
}


@pytest.mark.parametrize(
    ("preset", "schemes"),
    [
        ("tau-weighted", ("audio", "video", "early", "intermediate", "late", "weighted")),
        ("tau-clip-ensemble", ("b01_audio", "b02_video", "b03_both")),
    ],
)
def test_heads_on_openl3_train_as_the_course_and_the_baseline_do(preset, schemes):
    for scheme in schemes:
        settings = load(preset)["schemes"][scheme]
        assert {key: settings[key] for key in COURSE} == COURSE, scheme


def test_late_fusion_of_s4_is_a_layer_on_the_scores_of_both():
    assert load("tau-weighted")["schemes"]["late"]["combine"] == "linear"


def test_the_sweep_of_token_fusion_is_within_the_values_of_its_authors():
    sweep = load("hmdb51-action")["schemes"]["token_fusion"]["sweep"]
    assert set(sweep["parameters"]) == {"epochs", "optimizer", "learning_rate", "batch_size"}
    assert len(sweeps.points(sweep | {"budget": None})) == 4 * 2 * 5 * 3


def test_figures_of_validation_items_are_not_called_those_of_test_clips():
    for scheme, n_items in read(load("hmdb51-action")).select("scheme", "items").iter_rows():
        assert n_items == (None if scheme in ("frames", "token_fusion", "logit_fusion") else 1530), scheme

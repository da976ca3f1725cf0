"""The config: every wrong key is a sentence, every default comes from the schemas, the reference does not drift."""

import re
from copy import deepcopy
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from braid import config, reference
from braid.backbones.registry import REGISTRY as BACKBONES
from braid.errors import ConfigError
from braid.extractors.registry import REGISTRY as EXTRACTORS
from braid.flow.registry import REGISTRY as FLOW
from braid.schemes.registry import REGISTRY as SCHEMES

ROOT = Path(__file__).parents[2]
MINIMAL = {
    "name": "tiny",
    "manifest": "clips.tsv",
    "extractors": {"sound": {"type": "passt"}},
    "schemes": {"sound": {"type": "single", "features": ["sound"]}},
}


def changed(path: str, value):
    """Return the minimal config with `value` at the dotted `path`."""
    raw = deepcopy(MINIMAL)
    *parents, last = path.split(".")
    node = raw
    for parent in parents:
        node = node.setdefault(parent, {})
    node[last] = value
    return raw


@pytest.mark.parametrize("name", ["config", *config.SECTIONS])
def test_schema_is_strict_and_described(name):
    rules = config.schema(name)
    Draft202012Validator.check_schema(rules)
    assert_strict_and_described(rules, name, name)


@pytest.mark.parametrize("section", config.TYPED_SECTIONS)
def test_schema_of_each_type_is_strict_and_described(section):
    for name, rules in config.types(section).items():
        Draft202012Validator.check_schema({**rules, "$defs": config.schema(section).get("$defs", {})})
        assert_strict_and_described(rules, section, f"{section}.{name}")


def assert_strict_and_described(rules, document, where):
    assert rules["additionalProperties"] is False, where
    assert rules["description"], where
    for key, rule in rules["properties"].items():
        rule = config.resolve(rule, document)
        assert rule.get("description") or "const" in rule, f"{where}.{key} has no description"
        required = key in rules.get("required", [])
        assert required or "default" in rule, f"{where}.{key} is optional but has no default"
        if "default" in rule:
            defined = {**rule, "$defs": config.schema(document).get("$defs", {})}
            assert Draft202012Validator(defined).is_valid(rule["default"]), f"the default of {where}.{key} is invalid"


@pytest.mark.parametrize(
    ("section", "registry"),
    [("flow", FLOW), ("backbones", BACKBONES), ("extractors", EXTRACTORS), ("schemes", SCHEMES)],
    ids=lambda value: str(value)[:9],
)
def test_each_registry_entry_has_a_schema_and_the_reverse(section, registry):
    assert set(config.types(section)) == set(registry)


def test_defaults_are_filled_from_the_schemas():
    full = config.load(MINIMAL)
    assert full["seeds"] == config.schema("config")["properties"]["seeds"]["default"]
    decode = {key: rule["default"] for key, rule in config.schema("decode")["properties"].items()}
    assert full["decode"] == decode
    assert set(full["extractors"]["sound"]) == set(config.types("extractors")["passt"]["properties"])


def test_order_of_keys_and_defaults_that_are_written_out_change_nothing():
    full = config.load(MINIMAL)
    turned = {
        section: {name: dict(reversed(entry.items())) for name, entry in full[section].items()}
        for section in config.TYPED_SECTIONS
    }
    turned |= {section: dict(reversed(full[section].items())) for section in config.SECTIONS}
    assert repr(config.load(full | turned)) == repr(full)


def test_a_number_without_a_dot_is_a_number():
    full = config.load(changed("schemes.sound.learning_rate", yaml.safe_load("1e-4")))
    assert full["schemes"]["sound"]["learning_rate"] == 1e-4


def test_load_leaves_its_argument_alone():
    raw = deepcopy(MINIMAL)
    config.load(raw)
    assert raw == MINIMAL


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("extractor", {}, "the config has no key 'extractor'; did you mean 'extractors'?"),
        ("decode.shortside", 3, "config key decode has no key 'shortside'; did you mean 'short_side'?"),
        ("name", "a b", "config key name: 'a b' must match"),
        ("name", 3, "config key name must be of type string, got 3."),
        ("seeds", [0, -1], "config key seeds.1 must be at least 0, got -1."),
        (
            "decode.sample_rate",
            16000,
            "must be at least 32000 for extractors.sound (type passt), got 16000;",
        ),
        (
            "extractors.sound",
            {"type": "openl3_audio"},
            "config key decode.sample_rate must be at least 48000 for extractors.sound (type openl3_audio), got 32000;",
        ),
        (
            "extractors.sound",
            {"type": "logmel", "sample_rate": 44100},
            "at least 44100 for extractors.sound",
        ),
        ("decode.sample_rate", 44101, "config key decode.sample_rate: 44101 is not a multiple of 25."),
        ("max_bad_fraction", 1.5, "config key max_bad_fraction must be at most 1, got 1.5."),
        ("folds", "1", "config key folds must be all or a list with at least 1, got '1'."),
        ("schemes.sound.features", "sound", "features must be of type array, got 'sound'; write [sound]."),
        ("schemes.sound.features", [], "config key schemes.sound.features must be a list with at least 1, got []."),
        ("schemes.sound.features", ["sound", "look"], "must be a list with at most 1, got ['sound', 'look']."),
        ("schemes.sound.features", ["sound", "sound"], "must not name anything twice, got ['sound', 'sound']."),
        (
            "extractors.sound",
            {"type": "torchvision_video", "views": "ten"},
            "config key extractors.sound.views must be all or of type integer at least 1, got 'ten'.",
        ),
        (
            "extractors.sound",
            {"type": "clip", "classes": []},
            "classes must be null or a list with at least 2 or a mapping with at least 2, got [].",
        ),
        ("extractors.sound", "passt", "config key extractors.sound must be a mapping with a `type`, got 'passt'."),
        ("extractors.sound.type", "pasta", "config key extractors.sound.type must be one of"),
        ("schemes.sound.features", ["picture"], "names 'picture', which is not under extractors; choose from sound."),
        (
            "extractors.flow",
            {"type": "flow_r2plus1d", "flow": "dis"},
            "names 'dis', which is not under flow; flow is empty.",
        ),
        (
            "extractors.mine",
            {"type": "backbone", "backbone": "mine"},
            "config key extractors.mine.backbone names 'mine', which is not under backbones; backbones is empty.",
        ),
        (
            "backbones.mine",
            {"type": "x3d", "architecture": "tiny"},
            "config key backbones.mine.weights is pretrained, but the architecture tiny has no official weights;",
        ),
        (
            "backbones.mine",
            {"type": "x3d", "input": "flow"},
            "config key backbones.mine lacks 'flow', the name of a stored flow, which the input flow needs; flow is",
        ),
        (
            "backbones.mine",
            {"type": "x3d", "input": "zeros_grey", "flow": "dis"},
            "config key backbones.mine.flow names 'dis', which is not under flow; flow is empty.",
        ),
        (
            "backbones.mine",
            {"type": "torchvision_video", "flow": "dis"},
            "config key backbones.mine.flow is 'dis', but the input rgb reads no stored flow; leave out one of them,",
        ),
        (
            "backbones.mine",
            {"type": "x3d", "crop": 96, "short_side": 64},
            "config key backbones.mine.short_side must be at least its crop 96, got 64.",
        ),
        (
            "backbones.mine",
            {"type": "timm", "architecture": "resnet18", "scale": [1, 0.5]},
            "config key backbones.mine.scale must be [least, largest], got [1, 0.5].",
        ),
        (
            "backbones.mine",
            {"type": "logmel"},
            "config key decode.sample_rate must be at least 48000 for backbones.mine (type logmel), got 32000;",
        ),
    ],
)
def test_a_wrong_key_is_a_sentence(path, value, sentence):
    with pytest.raises(ConfigError) as error:
        config.load(changed(path, value))
    assert sentence in str(error.value)


OVER = {"a": ["b", "sound"], "b": ["c", "sound"], "c": ["a", "sound"]}


@pytest.mark.parametrize(
    ("schemes", "sentence"),
    [
        (
            {"a": {"type": "ensemble", "schemes": ["sound", "b"]}},
            "schemes.a.schemes names 'b', which is not under schemes",
        ),
        ({"a": {"type": "ensemble", "schemes": ["sound"]}}, "a.schemes must be a list with at least 2, got ['sound']."),
        ({"a": {"type": "calibrated", "schemes": ["a"]}}, "config key schemes has a circle: a reads a;"),
        (
            {name: {"type": "ensemble", "schemes": over} for name, over in OVER.items()},
            "config key schemes has a circle: ",
        ),
        ({"a": {"type": "early", "features": ["sound"], "modality_dropout": 0.2}}, "needs at least two features"),
        ({"a": {"type": "single", "features": ["sound"], "modality_dropout": 0.2}}, "has no key 'modality_dropout'"),
        ({"a": {"type": "early", "features": ["sound"], "worth": True}}, "of its 1 features is worth"),
        ({"a": {"type": "single", "features": ["sound"], "worth": True}}, "has no key 'worth'"),
        ({"a": {"type": "calibrated", "schemes": ["sound"], "worth": True}}, "of its 1 features is worth"),
        ({"a": {"type": "late", "features": ["sound"], "gradient_modulation": 1}}, "no key 'gradient_modulation'"),
        ({"a": {"type": "tokens", "features": ["sound"], "width": 100}}, "a.width: 100 is not a multiple of 8."),
    ],
)
def test_schemes_that_cannot_be(schemes, sentence):
    raw = deepcopy(MINIMAL)
    raw["schemes"] |= schemes
    with pytest.raises(ConfigError) as error:
        config.load(raw)
    assert sentence in str(error.value)


def test_schemes_over_schemes_in_any_order():
    raw = deepcopy(MINIMAL)
    over = {
        "last": {"type": "calibrated", "schemes": ["both"]},
        "both": {"type": "ensemble", "schemes": ["sound", "two"]},
    }
    raw["schemes"] = over | raw["schemes"] | {"two": {"type": "early", "features": ["sound"]}}
    full = config.load(raw)["schemes"]
    assert config.inputs_of(full["last"]) == ["both"]
    assert config.inputs_of(full["two"]) == ["sound"]


@pytest.mark.parametrize(
    ("extractor", "sentence"),
    [
        ({"classes": ["cat", "dog"]}, None),
        ({"classes": {"dog": "a dog", "cat": "a cat"}}, None),
        ({"classes": ["cat", "cow", "dog"]}, "classes have 'cow', which no item has"),
        ({"classes": ["cat", "hound"]}, "classes lack 'dog' and have 'hound', which no item has"),
        (
            {},
            "schemes.named takes the scores of frame, whose classes lack 'cat', 'dog'; name an extractor of type clip",
        ),
    ],
)
def test_scores_are_of_the_labels(extractor, sentence):
    raw = deepcopy(MINIMAL)
    raw["extractors"]["frame"] = {"type": "clip", **extractor}
    raw["schemes"]["named"] = {"type": "scores", "features": ["frame"]}
    full = config.load(raw)
    if sentence is None:
        config.check_classes(full, ["cat", "dog"])
    else:
        with pytest.raises(ConfigError, match=sentence):
            config.check_classes(full, ["cat", "dog"])


def test_groups_of_keys_are_written_out_for_each_type_that_has_them():
    training = set(config.schema("schemes")["$defs"]["training"]["properties"])
    for name, rules in config.types("schemes").items():
        trained = name not in ("scores", "ensemble", "calibrated")
        assert (training <= set(rules["properties"])) == trained
        assert "allOf" not in rules
    defaults = {name: config.types("schemes")[name]["properties"]["optimizer"] for name in ("single", "weighted")}
    assert [rule["default"] for rule in defaults.values()] == ["adamw", "adam"]
    assert defaults["single"]["description"] == defaults["weighted"]["description"]


def test_a_higher_sample_rate_than_a_network_hears_is_fine():
    assert config.load(changed("decode.sample_rate", 48000))["decode"]["sample_rate"] == 48000


def test_a_missing_key_is_a_sentence():
    with pytest.raises(ConfigError, match="the config lacks 'manifest'"):
        config.load({key: value for key, value in MINIMAL.items() if key != "manifest"})


def test_a_fold_that_the_manifest_lacks_is_a_sentence():
    full = config.load(changed("folds", ["4"]))
    with pytest.raises(ConfigError, match="names '4', but the manifest has the folds 1, 2"):
        config.folds(full, {"1": ["train", "val"], "2": ["train", "val"]})


@pytest.mark.parametrize(("splits", "lacks"), [(["train", "test"], "val"), (["test", "val"], "train")])
def test_a_fold_without_items_to_train_or_stop_by_is_a_sentence(splits, lacks):
    with pytest.raises(ConfigError, match=f"has no item in the split '{lacks}'.*braid index"):
        config.folds(config.load(MINIMAL), {"1": splits})


def test_the_demo_config_and_the_presets_are_valid():
    for path in [ROOT / "config" / "config.yaml", *(ROOT / "config" / "presets").glob("*.yaml")]:
        config.load(yaml.safe_load(path.read_text(encoding="utf-8")))


def test_the_reference_is_up_to_date():
    page = (ROOT / "docs" / "config.md").read_text(encoding="utf-8")
    assert page == reference.reference(), "docs/config.md is out of date; run `make docs`"


@pytest.mark.parametrize(
    ("kind", "views", "sentence"),
    [
        ({"type": "logmel"}, {"crops": 3}, "extractors.mine.crops is 3, but its backbone hears sound; leave it out."),
        ({"type": "logmel"}, {"placement": "blocks"}, "extractors.mine.placement is blocks, which is for views of se"),
        ({"type": "timm", "architecture": "resnet18"}, {"placement": "slowfast"}, "of which its backbone, a timm, has"),
    ],
)
def test_views_that_a_backbone_has_not(kind, views, sentence):
    raw = changed("backbones.some", kind | {"weights": "random"}) | {"decode": {"sample_rate": 48000}}
    raw["extractors"] = raw["extractors"] | {"mine": {"type": "backbone", "backbone": "some", **views}}
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        config.load(raw)
    raw["extractors"]["mine"] = {"type": "backbone", "backbone": "some", "views": 3}
    config.load(raw)


@pytest.mark.parametrize(("n", "allowed"), [(2, True), (6, True), (7, False)])
def test_a_scheme_is_trained_on_every_subset_of_at_most_six(n, allowed):
    raw = deepcopy(MINIMAL)
    names = [f"frame{i}" for i in range(n)]
    raw["extractors"] |= {name: {"type": "torchvision_video"} for name in names}
    raw["schemes"]["all"] = {"type": "early", "features": names, "worth": True}
    if allowed:
        assert config.load(raw)["schemes"]["all"]["worth"]
    else:
        with pytest.raises(ConfigError, match=r"all\.worth asks what each of its 7 features is worth, .* 2 to 6"):
            config.load(raw)


def test_the_modalities_of_a_scheme_over_schemes_are_those_of_its_parts():
    raw = deepcopy(MINIMAL)
    names = ["sound", "picture", "motion"]
    raw["extractors"] |= {name: {"type": "torchvision_video"} for name in names}
    raw["schemes"] |= {
        "pair": {"type": "early", "features": ["motion", "picture"]},
        "calm": {"type": "calibrated", "schemes": ["pair"], "worth": True},
        "all": {"type": "ensemble", "schemes": ["sound", "calm", "pair"], "worth": True},
    }
    schemes = config.load(raw)["schemes"]
    assert config.below(schemes, "all") == ["sound", "pair", "calm"] and config.below(schemes, "pair") == []
    assert config.modalities_of(schemes, "all") == ["sound", "motion", "picture"]
    raw["schemes"]["calm"]["smooth_within_clip"] = True
    for name in ("calm", "all"):
        raw["schemes"]["calm"]["worth"] = name == "calm"
        with pytest.raises(ConfigError, match=rf"schemes\.{name}\.worth asks .* but schemes\.calm has smooth_within"):
            config.load(raw)


def test_a_key_that_is_there_twice_is_named_with_its_line(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("schemes:\n  early: {type: early}\n  late: &x {type: late}\n  early: *x\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"mine\.yaml, line 4: the key 'early' is there for the second time"):
        config.refuse_keys_twice(str(path))
    path.write_text("schemes:\n  a: &x {type: late}\n  b: {<<: *x, type: early}\n", encoding="utf-8")
    config.refuse_keys_twice(str(path))

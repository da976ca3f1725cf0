"""The config: checked against its schemas, completed with their defaults, its cross references followed.

The schemas under `workflow/schemas/` are the one source of names, types, ranges, units and defaults. `decode` and
`report` have a schema each; an entry of `flow`, `backbones`, `extractors` or `schemes` has the schema of its `type`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

from braid import SCHEMAS, sweeps, violations
from braid.errors import ConfigError

SECTIONS = ("decode", "report")
TYPED_SECTIONS = ("flow", "backbones", "extractors", "schemes")

MOST_WEIGHED = 6
"""Modalities of a scheme that is asked what each is worth: with these it is trained 62 more times."""

INPUTS_WITH_FLOW = ("flow", "flow_grey", "zeros_grey")
"""What a backbone can read that is, or goes with, a stored flow."""


@cache
def schema(name: str) -> dict[str, Any]:
    """Return the schema `workflow/schemas/<name>.yaml`; where types share groups of keys, each has them written out."""
    found = yaml.safe_load((SCHEMAS / f"{name}.yaml").read_text(encoding="utf-8"))
    for rules in found.values():
        if isinstance(rules, dict) and "unevaluatedProperties" in rules:
            _flatten(rules, found["$defs"])
    return found


def _flatten(rules: dict[str, Any], shared: dict[str, dict[str, Any]]) -> None:
    """Put the properties of the groups that a type has by `allOf` after its own; what both say of a key, it says."""
    own = rules["properties"]
    groups = {
        name: rule
        for part in rules.pop("allOf")
        for name, rule in shared[part["$ref"].removeprefix("#/$defs/")]["properties"].items()
    }
    rules["properties"] = {name: rule for name, rule in own.items() if name not in groups}
    rules["properties"] |= {name: {**rule, **own.get(name, {})} for name, rule in groups.items()}
    rules["additionalProperties"] = rules.pop("unevaluatedProperties")


def types(section: str) -> dict[str, dict[str, Any]]:
    """Return the schema of each `type` that an entry of `section` can have."""
    return {name: entry for name, entry in schema(section).items() if not name.startswith("$")}


def load(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config with every default filled in.

    Parameters
    ----------
    raw : mapping
        What was read from the YAML file and the command line.

    Raises
    ------
    ConfigError
        With one sentence for each key that is unknown, missing, of the wrong type or out of range, and for each
        name that refers to nothing.
    """
    if not isinstance(raw, Mapping):
        raise ConfigError(f"The config must be keys and values, such as `name: mine`; got {raw!r}.")
    config = _complete(copy.deepcopy(dict(raw)), schema("config"), "config", where="")
    for section in SECTIONS:
        config[section] = _complete(config[section], schema(section), section, where=section)
    for section in TYPED_SECTIONS:
        config[section] = {name: _typed(entry, section, name) for name, entry in config[section].items()}
    _follow_references(config)
    return config


def inputs_of(entry: Mapping[str, Any]) -> list[str]:
    """Return what an entry of `schemes` reads, in its order: names of extractors, or of other schemes."""
    return entry["features"] if "features" in entry else entry["schemes"]


def below(schemes: Mapping[str, Any], name: str) -> list[str]:
    """Return the schemes that a scheme is over, those that these are over first, each once; none of one on features."""
    found = dict[str, None]()
    for read in schemes[name].get("schemes", ()):
        found |= dict.fromkeys([*below(schemes, read), read])
    return list(found)


def modalities_of(schemes: Mapping[str, Any], name: str) -> list[str]:
    """Return the extractors that a scheme reads, itself or by the schemes that it is over, each once."""
    return list(
        dict.fromkeys(
            extractor for part in (*below(schemes, name), name) for extractor in schemes[part].get("features", ())
        )
    )


def check_classes(config: Mapping[str, Any], classes: list[str]) -> None:
    """Refuse an extractor whose classes are not the labels, where a scheme takes its scores.

    Parameters
    ----------
    classes : list of str
        The labels of the manifest.

    Raises
    ------
    ConfigError
        With the names that only one of them has.
    """
    for name, entry in config["schemes"].items():
        if entry["type"] != "scores" or "backbone" in config["extractors"][entry["features"][0]]:
            continue
        (extractor,) = entry["features"]
        scored = set(config["extractors"][extractor].get("classes") or ())
        missing, unknown = sorted(set(classes) - scored), sorted(scored - set(classes))
        wrong = [f"lack {', '.join(map(repr, missing))}"] if missing else []
        wrong += [f"have {', '.join(map(repr, unknown))}, which no item has"] if unknown else []
        if wrong:
            raise ConfigError(
                f"config key schemes.{name} takes the scores of {extractor}, whose classes {' and '.join(wrong)}; name "
                f"an extractor of type clip that has just the labels under `classes`, if need be each with a better "
                f"word, as in `classes: {{metro_station: metro station}}`, or one of type backbone."
            )


class _Strict(yaml.SafeLoader):
    """YAML whose mappings name nothing twice; by itself the last one wins, and the others are gone."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                where = f"{self.name}, line {key.start_mark.line + 1}"
                raise ConfigError(f"{where}: the key {key.value!r} is there for the second time; take one of them out.")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def refuse_keys_twice(path: str) -> None:
    """Raise ConfigError where a mapping of the YAML file at `path` has a key twice."""
    with Path(path).open(encoding="utf-8") as file:  # whose name the loader knows
        yaml.load(file, _Strict)


def folds(config: Mapping[str, Any], splits: Mapping[str, list[str]]) -> list[str]:
    """Return the folds to use, of those in the manifest.

    Parameters
    ----------
    splits : mapping
        Fold → the splits that have items in it, as `braid.index.Index` says.

    Raises
    ------
    ConfigError
        The config names a fold that the manifest does not have, or a fold has no item to train on or to stop by.
    """
    chosen = list(splits) if config["folds"] == "all" else config["folds"]
    for fold in chosen:
        if fold not in splits:
            raise ConfigError(f"config key folds names {fold!r}, but the manifest has the folds {', '.join(splits)}.")
        for needed, use in (("train", "to train on"), ("val", "to stop training and choose by")):
            if needed not in splits[fold]:
                raise ConfigError(
                    f"fold {fold} of the manifest {config['manifest']} has no item in the split {needed!r} {use}; "
                    f"write {needed!r} into the split column of some items, for instance with `braid index … --split`."
                )
    return chosen


def _typed(entry: Any, section: str, name: str) -> dict[str, Any]:
    where = f"{section}.{name}"
    known = types(section)
    if not isinstance(name, str):
        raise ConfigError(f"config key {section}: the name {name!r} must be text; write it in quotes.")
    if not isinstance(entry, dict):
        raise ConfigError(f"config key {where} must be a mapping with a `type`, got {entry!r}.")
    if not isinstance(entry.get("type"), str) or entry["type"] not in known:
        got = f"got {entry['type']!r}" if "type" in entry else "which is missing"
        raise ConfigError(f"config key {where}.type must be one of {', '.join(known)}, {got}.")
    full = _complete(entry, known[entry["type"]], section, where)
    if full.get("sweep"):
        full["sweep"] = _sweep(full["sweep"], known[entry["type"]], section, f"{where}.sweep")
    return full


def _sweep(sweep: dict[str, Any], rules: dict[str, Any], document: str, where: str) -> dict[str, Any]:
    """Return a checked sweep with its defaults, in the order of the schema; each value obeys its parameter's rule."""
    shared = schema(document)["$defs"]
    sweep = _complete(sweep, shared["sweep"], document, where)
    rules = {name: resolve(rule, document) for name, rule in rules["properties"].items() if name not in sweeps.FIXED}
    known = {"properties": {name: {} for name in rules}, "additionalProperties": False}
    _check(sweep["parameters"], known, document, f"{where}.parameters")
    parameters = {name: sweep["parameters"][name] for name in rules if name in sweep["parameters"]}
    for name, values in parameters.items():
        key, rule = f"{where}.parameters.{name}", rules[name]
        if isinstance(values, dict):
            parameters[name] = _range(values, rule, document, key)
            if sweep["budget"] is None:
                raise ConfigError(f"config key {key} is a range, of which `budget` must say how many points to try.")
        else:
            _check(values, shared["values"], document, key)
            parameters[name] = [_number(value, rule) for value in values]
            for value in parameters[name]:
                _check(value, rule, document, key)
    if sweep["sampler"] == "tpe" and sweep["budget"] is None:
        raise ConfigError(
            f"config key {where}.sampler is tpe, of which `budget` must say how many points to try; without it all "
            f"combinations are tried."
        )
    return sweep | {"parameters": parameters}


def _range(values: dict[str, Any], rule: dict[str, Any], document: str, key: str) -> dict[str, Any]:
    """Return a checked range of a swept parameter with its defaults."""
    if rule.get("type") not in ("number", "integer") or "multipleOf" in rule:
        raise ConfigError(f"config key {key} cannot be a range, got {values!r}; write a list of its values.")
    values = _complete(values, schema(document)["$defs"]["range"], document, key)
    for name in ("low", "high"):
        _check(values[name], rule, document, f"{key}.{name}")
    if not values["low"] < values["high"]:
        raise ConfigError(f"config key {key}.low must be less than high, got {values['low']} and {values['high']}.")
    if values["scale"] == "log" and values["low"] <= 0:
        raise ConfigError(f"config key {key}.low must be more than 0 on a scale of logarithms, got {values['low']}.")
    return values | {"integer": values["integer"] or rule["type"] == "integer"}


def _complete(value: dict[str, Any], rules: dict[str, Any], document: str, where: str) -> dict[str, Any]:
    """Return a checked mapping with its defaults, in the order of the schema.

    One order for all, since what a job depends on is compared as text: neither the order of keys in the file nor a
    default that is written out may run anything again.
    """
    properties = {name: resolve(rule, document) for name, rule in rules["properties"].items()}
    value = {name: _number(each, properties.get(name, {})) for name, each in value.items()}
    _check(value, rules, document, where)
    full = {name: copy.deepcopy(rule["default"]) for name, rule in properties.items() if "default" in rule} | value
    return {name: full[name] for name in properties if name in full}


def _number(value: Any, rule: dict[str, Any]) -> Any:
    """Return text such as `1e-4`, which YAML 1.1 takes for a string for want of a dot, as the number that it means."""
    if isinstance(value, str) and rule.get("type") == "number":
        with suppress(ValueError):
            return float(value)
    return value


def _check(value: Any, rules: dict[str, Any], document: str, where: str) -> None:
    rooted = {**rules, "$defs": schema(document).get("$defs", {})}
    errors = sorted(Draft202012Validator(rooted).iter_errors(value), key=lambda error: list(map(str, error.path)))
    if errors:
        raise ConfigError("\n".join(sentence for error in errors for sentence in violations.sentences(error, where)))


def resolve(rule: dict[str, Any], document: str) -> dict[str, Any]:
    """Follow a reference into `$defs`; keys beside `$ref` win, as in a default that one type has for itself."""
    if "$ref" not in rule:
        return rule
    shared = schema(document)["$defs"][rule["$ref"].removeprefix("#/$defs/")]
    return {**shared, **{key: value for key, value in rule.items() if key != "$ref"}}


def _follow_references(config: dict[str, Any]) -> None:
    for name, entry in config["backbones"].items():
        _check_backbone(entry, f"backbones.{name}", config)
        _is_heard(entry, "backbones", name, config)
    for name, entry in config["extractors"].items():
        if "flow" in entry:
            _exists(entry["flow"], "flow", config, f"extractors.{name}.flow")
        if "backbone" in entry:
            _exists(entry["backbone"], "backbones", config, f"extractors.{name}.backbone")
            _check_views(entry, config["backbones"][entry["backbone"]], f"extractors.{name}")
        package = types("extractors")[entry["type"]].get("x-package")
        if package and find_spec(package) is None:
            raise ConfigError(
                f"config key extractors.{name}.type is {entry['type']!r}, which needs the package {package}, and that "
                f"is not installed: install braid with its extra of that name, as in `pip install '.[{package}]'`."
            )
        _is_heard(entry, "extractors", name, config)
    for name, entry in config["schemes"].items():
        key, section = ("features", "extractors") if "features" in entry else ("schemes", "schemes")
        for read in entry[key]:
            _exists(read, section, config, f"schemes.{name}.{key}")
        swept = entry["sweep"]["parameters"] if entry.get("sweep") else {}
        for option in ("modality_dropout", "gradient_modulation"):
            if (entry.get(option) or option in swept) and len(entry[key]) < 2:
                raise ConfigError(
                    f"config key schemes.{name} has {option}, which needs at least two features to choose between; "
                    f"leave it out."
                )
    _check_no_cycle(config["schemes"])
    for name, entry in config["schemes"].items():
        if entry.get("worth"):
            _check_worth(config["schemes"], name)


def _check_views(entry: dict[str, Any], backbone: dict[str, Any], where: str) -> None:
    """Refuse views that a backbone of this type does not have."""
    heard, single = backbone["type"] == "logmel", backbone["type"] == "timm"
    if heard and entry["crops"] > 1:
        raise ConfigError(f"config key {where}.crops is {entry['crops']}, but its backbone hears sound; leave it out.")
    if (heard and entry["placement"] == "blocks") or (single and entry["placement"] != "even"):
        raise ConfigError(
            f"config key {where}.placement is {entry['placement']}, which is for views of several frames, of which its "
            f"backbone, a {backbone['type']}, has none; leave it out."
        )


def _check_worth(schemes: dict[str, Any], name: str) -> None:
    """Refuse to ask what modalities are worth where they are too few or many, or items answer for one another."""
    n = len(modalities_of(schemes, name))
    if not 2 <= n <= MOST_WEIGHED:
        raise ConfigError(
            f"config key schemes.{name}.worth asks what each of its {n} features is worth, for which it is trained on "
            f"every subset of them: there must be 2 to {MOST_WEIGHED}; leave it out."
        )
    for part in (name, *below(schemes, name)):
        if schemes[part].get("smooth_within_clip"):
            raise ConfigError(
                f"config key schemes.{name}.worth asks what an item loses with a modality, but schemes.{part} has "
                f"smooth_within_clip, by which the other items of its clip still tell of it; leave one of them out."
            )


def _check_no_cycle(schemes: dict[str, Any]) -> None:
    """Refuse schemes over schemes that wait for themselves."""
    over = {name: entry["schemes"] for name, entry in schemes.items() if "schemes" in entry}
    try:
        TopologicalSorter(over).prepare()
    except CycleError as error:
        circle = " reads ".join(reversed(error.args[1]))
        raise ConfigError(f"config key schemes has a circle: {circle}; take one of these names out.") from error


def _check_backbone(entry: dict[str, Any], where: str, config: dict[str, Any]) -> None:
    if entry.get("architecture") == "tiny" and entry["weights"] == "pretrained":
        raise ConfigError(
            f"config key {where}.weights is pretrained, but the architecture tiny has no official weights; write "
            "`weights: random` to train from scratch."
        )
    for key in ("scale", "ratio"):
        least, largest = entry.get(key, (0, 0))
        if least > largest:
            raise ConfigError(f"config key {where}.{key} must be [least, largest], got {entry[key]}.")
    if (entry.get("short_side") or math.inf) < (entry.get("crop") or 0):
        raise ConfigError(
            f"config key {where}.short_side must be at least its crop {entry['crop']}, got {entry['short_side']}."
        )
    kind, flow = entry.get("input"), entry.get("flow")
    if kind in INPUTS_WITH_FLOW and flow is None:
        raise ConfigError(
            f"config key {where} lacks 'flow', the name of a stored flow, which the input {kind} needs; "
            f"{_choice(config['flow'], 'flow')}."
        )
    if flow is not None:
        if kind not in INPUTS_WITH_FLOW:
            raise ConfigError(
                f"config key {where}.flow is {flow!r}, but the input {kind} reads no stored flow; leave out one of "
                f"them, or choose an input from {', '.join(INPUTS_WITH_FLOW)}."
            )
        _exists(flow, "flow", config, f"{where}.flow")


def _is_heard(entry: dict[str, Any], section: str, name: str, config: dict[str, Any]) -> None:
    """Refuse a network of sound that hears a higher sample rate than there is."""
    stored = config["decode"]["sample_rate"]
    heard = entry.get("sample_rate", types(section)[entry["type"]].get("x-sample-rate", 0))
    if stored < heard:
        raise ConfigError(
            f"config key decode.sample_rate must be at least {heard} for {section}.{name} (type {entry['type']}), "
            f"got {stored}; the network would be without the treble that it is made for: write `decode: {{sample_rate: "
            f"{heard}}}`, or a lower `sample_rate` where the entry has one."
        )


def _exists(name: str, section: str, config: dict[str, Any], where: str) -> None:
    known = config[section]
    if name not in known:
        raise ConfigError(
            f"config key {where} names {name!r}, which is not under {section}; {_choice(known, section)}."
        )


def _choice(known: Iterable[str], section: str) -> str:
    names = ", ".join(known)
    return f"choose from {names}" if names else f"{section} is empty"

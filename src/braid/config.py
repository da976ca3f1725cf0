"""The config: checked against its schemas, completed with their defaults, its cross references followed.

The schemas under `workflow/schemas/` are the one source of names, types, ranges, units and defaults. `decode` and
`report` have a schema each; an entry of `flow`, `extractors` or `schemes` has the schema of its `type`.
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import yaml
from jsonschema import Draft202012Validator, ValidationError

from braid import SCHEMAS
from braid.errors import ConfigError

SECTIONS = ("decode", "report")
TYPED_SECTIONS = ("flow", "extractors", "schemes")


@cache
def schema(name: str) -> dict[str, Any]:
    """Return the schema `workflow/schemas/<name>.yaml`."""
    return yaml.safe_load((SCHEMAS / f"{name}.yaml").read_text(encoding="utf-8"))


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
    config = copy.deepcopy(dict(raw))
    _check(config, schema("config"), "config", where="")
    _fill(config, schema("config"), "config")
    for section in SECTIONS:
        _check(config[section], schema(section), section, where=section)
        _fill(config[section], schema(section), section)
    for section in TYPED_SECTIONS:
        for name, entry in config[section].items():
            _check_typed(entry, section, name)
    _follow_references(config)
    return config


def folds(config: Mapping[str, Any], present: list[str]) -> list[str]:
    """Return the folds to use, of those `present` in the manifest.

    Raises
    ------
    ConfigError
        When the config names a fold that the manifest does not have.
    """
    if config["folds"] == "all":
        return present
    for fold in config["folds"]:
        if fold not in present:
            raise ConfigError(f"config key folds names {fold!r}, but the manifest has the folds {', '.join(present)}.")
    return config["folds"]


def _check_typed(entry: Any, section: str, name: str) -> None:
    where = f"{section}.{name}"
    known = types(section)
    if not isinstance(entry, dict):
        raise ConfigError(f"config key {where} must be a mapping with a `type`, got {entry!r}.")
    if entry.get("type") not in known:
        got = f"got {entry['type']!r}" if "type" in entry else "which is missing"
        raise ConfigError(f"config key {where}.type must be one of {', '.join(known)}, {got}.")
    _check(entry, known[entry["type"]], section, where)
    _fill(entry, known[entry["type"]], section)


def _check(value: Any, rules: dict[str, Any], document: str, where: str) -> None:
    rooted = {**rules, "$defs": schema(document).get("$defs", {})}
    errors = sorted(Draft202012Validator(rooted).iter_errors(value), key=lambda error: list(map(str, error.path)))
    if errors:
        raise ConfigError("\n".join(sentence for error in errors for sentence in _sentences(error, where)))


def _sentences(error: ValidationError, where: str) -> Iterator[str]:
    path = ".".join([part for part in (where, *map(str, error.absolute_path)) if part]) or "the config"
    key = path if path == "the config" else f"config key {path}"
    rule: Any = error.validator
    value: Any = error.instance
    limit: Any = error.validator_value
    rules: Any = error.schema
    if rule == "additionalProperties":
        known = list(rules["properties"])
        for name in sorted(set(value) - set(known)):
            near = difflib.get_close_matches(str(name), known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(known)}."
            yield f"{key} has no key {name!r}; {hint}"
    elif rule == "required":
        missing = [name for name in limit if name not in value]
        yield f"{key} lacks {' and '.join(map(repr, missing))}."
    elif rule == "type":
        wanted = " or ".join(limit) if isinstance(limit, list) else limit
        yield f"{key} must be of type {wanted}, got {value!r}."
    elif rule == "enum":
        yield f"{key} must be one of {', '.join(map(str, limit))}, got {value!r}."
    elif rule == "const":
        yield f"{key} must be {limit!r}, got {value!r}."
    elif rule == "minimum":
        yield f"{key} must be at least {limit}, got {value!r}."
    elif rule == "exclusiveMinimum":
        yield f"{key} must be more than {limit}, got {value!r}."
    elif rule == "maximum":
        yield f"{key} must be at most {limit}, got {value!r}."
    elif rule == "exclusiveMaximum":
        yield f"{key} must be less than {limit}, got {value!r}."
    elif rule == "pattern":
        yield f"{key}: {value!r} must match {limit} (letters, digits and what the pattern names)."
    elif rule == "anyOf":
        yield f"{key}: {value!r} is none of the forms that are allowed. {rules.get('description', '')}".strip()
    else:
        yield f"{key}: {error.message}."


def _fill(value: dict[str, Any], rules: dict[str, Any], document: str) -> None:
    for name, rule in rules.get("properties", {}).items():
        rule = resolve(rule, document)
        if name not in value and "default" in rule:
            value[name] = copy.deepcopy(rule["default"])
        if isinstance(value.get(name), dict):
            _fill(value[name], rule, document)


def resolve(rule: dict[str, Any], document: str) -> dict[str, Any]:
    """Follow a reference into `$defs`; keys beside `$ref` win, as in a default that one type has for itself."""
    if "$ref" not in rule:
        return rule
    shared = schema(document)["$defs"][rule["$ref"].removeprefix("#/$defs/")]
    return {**shared, **{key: value for key, value in rule.items() if key != "$ref"}}


def _follow_references(config: dict[str, Any]) -> None:
    for name, entry in config["extractors"].items():
        if "flow" in entry:
            _exists(entry["flow"], "flow", config, f"extractors.{name}.flow")
    for name, entry in config["schemes"].items():
        for extractor in entry["features"]:
            _exists(extractor, "extractors", config, f"schemes.{name}.features")


def _exists(name: str, section: str, config: dict[str, Any], where: str) -> None:
    known = config[section]
    if name not in known:
        there = f"choose from {', '.join(known)}" if known else f"{section} is empty"
        raise ConfigError(f"config key {where} names {name!r}, which is not under {section}; {there}.")

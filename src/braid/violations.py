"""Sentences for what a schema refuses."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any

from jsonschema import ValidationError

LIMITS = {
    "const": "be {}",
    "minimum": "be at least {}",
    "exclusiveMinimum": "be more than {}",
    "maximum": "be at most {}",
    "exclusiveMaximum": "be less than {}",
    "minItems": "be a list with at least {}",
    "maxItems": "be a list with at most {}",
    "uniqueItems": "not name anything twice",
}
"""What a value must do where a schema has one number, or one value, to say so."""


def sentences(error: ValidationError, where: str) -> Iterator[str]:
    """Yield what is wrong with a value, and what it may be; `where` is the key of the checked mapping."""
    path = ".".join([part for part in (where, *map(str, error.absolute_path)) if part]) or "the config"
    key = path if path == "the config" else f"config key {path}"
    rule: Any = error.validator
    value: Any = error.instance
    limit: Any = error.validator_value
    rules: Any = error.schema
    if rule == "additionalProperties":
        known = list(rules["properties"])
        for name in sorted(set(value) - set(known), key=str):
            near = difflib.get_close_matches(str(name), known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(known)}."
            yield f"{key} has no key {name!r}; {hint}"
    elif rule == "required":
        missing = [name for name in limit if name not in value]
        yield f"{key} lacks {' and '.join(map(repr, missing))}."
    elif rule == "type":
        wanted = " or ".join(limit) if isinstance(limit, list) else limit
        cure = f"; write [{value}]" if limit == "array" and isinstance(value, str) else ""
        yield f"{key} must be of type {wanted}, got {value!r}{cure}."
    elif rule == "enum":
        choices = ", ".join("null" if choice is None else str(choice) for choice in limit)
        yield f"{key} must be one of {choices}, got {value!r}."
    elif rule in LIMITS:
        yield f"{key} must {LIMITS[rule].format(repr(limit))}, got {value!r}."
    elif rule == "pattern":
        yield f"{key}: {value!r} must match {limit} (letters, digits and what the pattern names)."
    elif rule == "anyOf":
        yield f"{key} must be {' or '.join(map(_form, limit))}, got {value!r}."
    else:
        yield f"{key}: {error.message}."


def _form(rule: dict[str, Any]) -> str:
    """Return in words what one alternative of a rule allows."""
    if "const" in rule:
        return str(rule["const"])
    if "enum" in rule:
        return ", ".join(map(str, rule["enum"]))
    words = {"null": "null", "array": "a list", "object": "a mapping", "string": "text"}
    name = words.get(rule["type"], f"of type {rule['type']}")
    least = rule.get("minimum", rule.get("minItems", rule.get("minProperties")))
    what = "at least" if "minimum" in rule else "with at least"
    return name if least is None else f"{name} {what} {least}"

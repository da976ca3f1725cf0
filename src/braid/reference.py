"""Write the reference of the config from its schemas: ``python -m braid.reference > docs/config.md``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from braid.config import SECTIONS, TYPED_SECTIONS, resolve, schema, types

HEAD = """# Config reference

Made from `workflow/schemas/` by `make docs`; edit the schemas, not this page. A key without a default must be given.
A key that is not listed here is an error that names the nearest one.
"""


def reference() -> str:
    """Return the reference of every config key as Markdown."""
    return "\n".join([HEAD, *_document()]).rstrip() + "\n"


def _document() -> Iterator[str]:
    yield "## The file"
    yield from _object(schema("config"), "config")
    for section in SECTIONS:
        yield f"## `{section}`"
        yield from _object(schema(section), section)
    for section in TYPED_SECTIONS:
        yield f"## `{section}`"
        yield ""
        for name, rules in types(section).items():
            yield f"### `type: {name}`"
            yield from _object(rules, section)
        for name, rules in schema(section).get("$defs", {}).items():
            if "additionalProperties" in rules:
                yield f"### `{name}`"
                yield from _object(rules, section)


def _object(rules: dict[str, Any], document: str) -> Iterator[str]:
    yield f"\n{_cell(rules.get('description', ''))}\n"
    yield "| key | values | default | meaning |"
    yield "|---|---|---|---|"
    for name, rule in rules["properties"].items():
        rule = resolve(rule, document)
        if "const" in rule:
            continue
        default = f"`{json.dumps(rule['default'])}`" if "default" in rule else ""
        yield f"| `{name}` | {_values(rule)} | {default} | {_cell(rule.get('description', ''))} |"
    yield ""


def _values(rule: dict[str, Any]) -> str:
    if "enum" in rule:
        return ", ".join(f"`{json.dumps(value)}`" for value in rule["enum"])
    if "anyOf" in rule:
        return " or ".join(_values(each) for each in rule["anyOf"])
    if "const" in rule:
        return f"`{json.dumps(rule['const'])}`"
    kinds = rule.get("type", "any")
    text = " or ".join(kinds) if isinstance(kinds, list) else kinds
    if text == "array" and "items" in rule:
        text = f"list of {_values(rule['items'])}"
    bounds = [
        f"{sign} {rule[key]:g}"
        for key, sign in (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
        if key in rule
    ]
    return " ".join([text, *bounds])


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    print(reference(), end="")

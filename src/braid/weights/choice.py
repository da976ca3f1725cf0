"""Which weights an extractor or flow method uses, by its settings: `pretrained`, `random`, a file, or none at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from braid.errors import WeightsError
from braid.extractors.registry import REGISTRY as EXTRACTORS
from braid.files import write_text
from braid.flow.registry import REGISTRY as FLOW_METHODS
from braid.weights import clip, huggingface
from braid.weights.folder import fetch, folder, sha256, verify
from braid.weights.record import Weights

RANDOM_SEED = 0
"""Seed of `weights: random`, the same for every network and run."""
OFFICIAL = {kind: entry.official for kind, entry in (EXTRACTORS | FLOW_METHODS).items() if entry.official}
"""Function that gives the official weights, as ``module:function``, by the type of the extractor or flow method."""


def is_pretrained(settings: Mapping[str, Any]) -> bool:
    """Return whether settings ask for official weights."""
    return settings.get("weights") == "pretrained"


def official(settings: Mapping[str, Any]) -> Weights:
    """Return the official weights that settings ask for.

    Raises
    ------
    WeightsError
        There are none for its architecture.
    """
    target = OFFICIAL.get(settings["type"])
    if not target:
        raise WeightsError(f"the type {settings['type']} has no official weights")
    return resolve_name(target)(settings)


def is_fetched(settings: Mapping[str, Any]) -> bool:
    """Return whether settings ask for official files, be it of weights or of a tokenizer alone."""
    return is_pretrained(settings) or bool(_tokenizer(settings))


def needed(settings: Mapping[str, Any]) -> Weights:
    """Return the official files of settings for which `is_fetched`.

    These are the weights with their companions; where weights are random or the user's, the files of the tokenizer.
    """
    if is_pretrained(settings):
        return official(settings)
    first, *others = _tokenizer(settings)
    return replace(first, companions=tuple(others))


def _tokenizer(settings: Mapping[str, Any]) -> tuple[Weights, ...]:
    asked = settings["type"] == "clip" and settings.get("classes")
    return clip.tokenizer(settings["architecture"]) if asked else ()


def identity(settings: Mapping[str, Any]) -> str:
    """Return what stands for weights in the key of what they give, without reading a network.

    Random weights are named by their seed and a file of the user's by its SHA-256, with those of the configs that the
    network is made from where these are the user's too. `pretrained` stands for itself: the SHA-256 of official weights
    and their configs reaches the key by their receipt.
    """
    if is_pretrained(settings):
        return "pretrained"
    configs = huggingface.users_configs(settings) if settings["type"] == "transformers_video" else []
    return " ".join([digest(settings), *(f"{path.name}:{sha256(path)}" for path in configs)])


def digest(settings: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the weights file, `random:<seed>`, or `none`."""
    chosen = settings.get("weights", "none")
    if chosen == "random":
        return f"random:{RANDOM_SEED}"
    return chosen if chosen == "none" else sha256(find(settings))


def find(settings: Mapping[str, Any]) -> Path:
    """Return the weights file where weights are not random; official ones are fetched if need be.

    Raises
    ------
    WeightsError
        The file is missing and cannot be fetched, or is not the one it should be; the message says which file to put
        where and where it comes from.
    """
    return fetch(official(settings)) if is_pretrained(settings) else _users_file(settings["weights"])


def receipt(settings: Mapping[str, Any], out: Path) -> None:
    """Fetch and verify the official files that settings ask for, and write what they are to `out` as JSON.

    Equal files give equal text: there is no time in it.
    """
    weights = needed(settings)
    fetch(weights)
    main, *companions = [
        {
            "file": each.file,
            "url": each.url,
            "sha256": verify(each),
            "size_bytes": (folder() / each.file).stat().st_size,
        }
        for each in weights.files
    ]
    terms = {
        "licence": weights.licence,
        "non_commercial": weights.non_commercial,
        "citation": weights.citation,
        "companions": companions,
    }
    write_text(out, json.dumps(main | terms, indent=2, ensure_ascii=False) + "\n")


def check_receipt(settings: Mapping[str, Any], path: Path) -> None:
    """Refuse official files that are not those of the receipt at `path`, by which features are known.

    Raises
    ------
    WeightsError
        Another file is in the folder now, or another one would be used.
    """
    main = json.loads(path.read_text(encoding="utf-8"))
    told = {each["file"]: each["sha256"] for each in (main, *main["companions"])}
    weights = needed(settings)
    fetch(weights)
    for each in weights.files:
        here, said = sha256(folder() / each.file), told.get(each.file, "nothing of it")
        if here != said:
            raise WeightsError(
                f"{folder() / each.file} has the SHA-256 {here}, but {path} says {said}: the weights have changed "
                f"since they were fetched for this run; delete {path} and run again"
            )


def _users_file(name: str) -> Path:
    path = Path(name).expanduser()
    if not path.is_file():
        raise WeightsError(f"weights file {path} does not exist; give a path, `pretrained` or `random`")
    return path

"""Texts of classes for zero-shot classification, from templates.

A template is a sentence with `{class}` where the name of a class goes and `{photo|video}` where one of several words
does, of which one may be nothing: `{|using }`. It stands for every combination of these.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

from braid.errors import ConfigError

CLASS = "class"
SETS = {
    "raw": ("{class}",),
    "ucf101": (
        "a {photo|video|example|demonstration} of {a|the} person {|using |doing |during |performing |practicing }"
        "{class}.",
    ),
    "kinetics700": (
        "a {photo|video|example|demonstration} of "
        "{|a person |a person using |a person doing |a person during |a person performing |a person practicing }"
        "{class}.",
    ),
    "sun397": ("a photo of {a|the} {class}.",),
}
"""Templates by name: the bare name of the class, and those that Radford et al. (ICML 2021) used for data sets."""


def texts(names: Sequence[str], templates: str | Sequence[str]) -> list[list[str]]:
    """Return the texts of each class, as many as the templates stand for, in the order of `names`.

    Parameters
    ----------
    names : names of classes as they go into the text; any characters
    templates : a name of `SETS`, or templates

    Raises
    ------
    ConfigError
        The set does not exist, or a template lacks `{class}` or has a brace without its other half.
    """
    if isinstance(templates, str):
        if templates not in SETS:
            raise ConfigError(
                f"templates must be one of {', '.join(SETS)}, or a list of sentences with {{class}}, got {templates!r}"
            )
        templates = SETS[templates]
    sentences = [pieces for template in templates for pieces in _expanded(template)]
    return [[name.join(pieces) for pieces in sentences] for name in names]


def _expanded(template: str) -> list[list[str]]:
    """Return each sentence that a template stands for, as the pieces around the name of the class."""
    parts = re.split(r"\{([^{}]*)\}", template)
    if any(set(part) & set("{}") for part in parts[::2]):
        raise ConfigError(f"template {template!r} has a brace inside braces or without its other half")
    if CLASS not in parts[1::2]:
        raise ConfigError(f"template {template!r} must hold {{class}}, where the name of the class goes")
    choices = [[None] if part == CLASS else part.split("|") for part in parts[1::2]]
    sentences = []
    for chosen in itertools.product(*choices):
        pieces = [parts[0]]
        for word, after in zip(chosen, parts[2::2], strict=True):
            if word is None:
                pieces.append(after)
            else:
                pieces[-1] += word + after
        sentences.append(pieces)
    return sentences

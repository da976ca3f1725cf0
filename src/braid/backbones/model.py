"""A trained backbone in a file: weights, and all that is needed to make its network and feed it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import safe_open
from safetensors.torch import load_file, save_file

from braid.backbones.inputs import make as make_input
from braid.backbones.networks import Backbone
from braid.backbones.registry import REGISTRY
from braid.errors import StoreError
from braid.files import whole

FORMAT = "braid backbone 1"


class Model(NamedTuple):
    """A trained backbone.

    Attributes
    ----------
    settings : dict
        The complete entry of the config that it was trained with.
    classes : list of str [K]
        In the order of its logits.
    network : Backbone
        In evaluation, without gradients.
    """

    settings: dict[str, Any]
    classes: list[str]
    network: Backbone


def save(path: Path, network: Backbone, settings: dict[str, Any], classes: list[str], fold: str, epoch: int) -> None:
    """Write weights, and what they are, to a safetensors file.

    Parameters
    ----------
    fold : str
        Whose training items it has seen.
    epoch : int
        After which these weights were taken.
    """
    known = {"format": FORMAT, "settings": settings, "classes": classes, "fold": fold, "epoch": epoch}
    metadata = {key: json.dumps(value, ensure_ascii=False) for key, value in known.items()}
    tensors = {name: value.cpu().contiguous() for name, value in network.state_dict().items()}
    with whole(path) as beside:
        save_file(tensors, beside, metadata=metadata)


def load(path: Path) -> Model:
    """Read what `save` wrote.

    Raises
    ------
    StoreError
        The file is missing, truncated or no backbone of braid.
    """
    try:
        with safe_open(path, framework="pt") as file:
            known = {key: json.loads(value) for key, value in file.metadata().items()}
        if known["format"] != FORMAT:
            raise ValueError(f"its format is {known['format']!r}")
        settings, classes = known["settings"], known["classes"]
        make = REGISTRY[settings["type"]].load()
        network = make(settings, make_input(settings).n_channels, len(classes))
        network.load_state_dict(load_file(path))
    except Exception as error:
        raise StoreError(f"{path} is no backbone of braid ({error}); delete it and train again.") from error
    return Model(settings, classes, network.eval().requires_grad_(False))

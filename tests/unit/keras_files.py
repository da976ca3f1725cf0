"""HDF5 files of weights as Keras 2 writes them."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from torch import nn

Layers = dict[str, dict[str, np.ndarray]]
"""Arrays by layer and name, kernels [height, width, in, out]."""


def layers(network: nn.Module) -> Layers:
    """Return the convolutions and batch normalisations of a network, by their names there, as Keras lays them out."""
    found: Layers = {}
    for name, module in network.named_children():
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d):
            state = {key: value.numpy() for key, value in module.state_dict().items()}
            if isinstance(module, nn.Conv2d):
                found[name] = {"kernel": state["weight"].transpose(2, 3, 1, 0), "bias": state["bias"]}
            else:
                found[name] = {
                    "gamma": state["weight"],
                    "beta": state["bias"],
                    "moving_mean": state["running_mean"],
                    "moving_variance": state["running_var"],
                }
    return found


def write(path: Path, arrays: Layers, nested: str = "", below: str = "", first: int = 1) -> None:
    """Write layers into a file.

    Parameters
    ----------
    nested : the layers are those of a model that is itself the one layer of this name
    below : the group that holds the layers
    first : number of the first layer of a kind; 0 is written as none
    """
    renamed = {}
    for name, values in arrays.items():
        kind, _, number = name.rpartition("_")
        shifted = int(number) + first - 1 if number.isdecimal() else None
        renamed[name if shifted is None else f"{kind}_{shifted}" if shifted else kind] = values
    groups = {nested: renamed} if nested else {name: {name: values} for name, values in renamed.items()}
    with h5py.File(path, "w") as file:
        root = file.create_group(below) if below else file
        root.attrs["layer_names"] = [b"input_1", *(name.encode() for name in groups)]
        root.create_group("input_1").attrs["weight_names"] = []
        for group_name, members in groups.items():
            group = root.create_group(group_name)
            paths = {f"{layer}/{leaf}:0": value for layer, values in members.items() for leaf, value in values.items()}
            group.attrs["weight_names"] = [name.encode() for name in paths]
            for name, value in paths.items():
                group[name] = value

"""Weights that Keras 2 wrote as HDF5, in the names and layouts of torch.

Such a file holds a group for each layer, itself or below `model_weights`; the attribute `weight_names` of a group lists
its arrays as `<layer>/<name>:0`, those of nested models one after another.
"""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braid.errors import WeightsError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

NAMES = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
"""Names of torch by those of Keras."""
NUMBERED = re.compile(r"(conv2d|batch_normalization)(_\d+)?")
"""Layers that Keras named by itself, with a number that counts on over all networks of the session."""


def read(path: Path) -> dict[str, Tensor]:
    """Return the state dict in a Keras file (`.h5`, or `.h5.gz`) of convolutions and batch normalisations.

    Layers that Keras numbered are numbered from 1 in the order of the file. Kernels become [out, in, height, width].

    Raises
    ------
    WeightsError
        The file is truncated, of another kind, or holds weights of other layers.
    """
    import h5py

    try:
        source = io.BytesIO(gzip.decompress(path.read_bytes())) if path.suffix == ".gz" else path
        with h5py.File(source, "r") as file:
            arrays = _arrays(file.get("model_weights", file))
    except (OSError, EOFError, KeyError, ValueError, zlib.error) as error:
        raise WeightsError(
            f"weights file {path} is truncated or was not written by Keras ({error}): fetch it again"
        ) from error
    try:
        return _to_torch(arrays)
    except KeyError as error:
        raise WeightsError(
            f"weights file {path} holds {error.args[0]}, where convolutions and batch normalisations are expected: "
            "give the file of this architecture"
        ) from error


def _arrays(root: Any) -> dict[str, np.ndarray]:
    """Return the arrays by `<layer>/<name>`, in the order of the file."""
    arrays = {}
    for layer in _texts(root, "layer_names"):
        for name in _texts(root[layer], "weight_names"):
            arrays["/".join(name.removesuffix(":0").split("/")[-2:])] = root[layer][name][()]
    return arrays


def _texts(group: Any, attribute: str) -> list[str]:
    return [text.decode() if isinstance(text, bytes) else str(text) for text in group.attrs[attribute]]


def _to_torch(arrays: dict[str, np.ndarray]) -> dict[str, Tensor]:
    import torch

    counts: Counter[str] = Counter()
    layers: dict[str, str] = {}
    state: dict[str, Tensor] = {}
    for name, array in arrays.items():
        layer, _, leaf = name.rpartition("/")
        if leaf not in NAMES or (leaf == "kernel" and array.ndim != 4):
            raise KeyError(f"{name} of shape {array.shape}")
        if layer not in layers:
            kind = NUMBERED.fullmatch(layer)
            counts.update([kind[1]] if kind else [])
            layers[layer] = f"{kind[1]}_{counts[kind[1]]}" if kind else layer
        value = torch.from_numpy(array)
        state[f"{layers[layer]}.{NAMES[leaf]}"] = value.permute(3, 2, 0, 1).contiguous() if leaf == "kernel" else value
        if leaf == "moving_mean":
            state[f"{layers[layer]}.num_batches_tracked"] = torch.tensor(0)
    return state

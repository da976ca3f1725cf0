"""Parameters out of a checkpoint file, and into a network, strictly."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braid.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor, nn

NESTED_UNDER = ("state_dict", "model", "model_state")
"""Keys under which publishers put the parameters beside other things; `model_state` is PyTorchVideo's."""


def load(path: Path) -> dict[str, Tensor]:
    """Return the parameters in a checkpoint: a state dict, alone or under one of `NESTED_UNDER`.

    Reads safetensors, files of `torch.save` (only tensors and plain values, no code), TorchScript archives such as
    OpenAI's, and Keras HDF5 (`.h5`, `.h5.gz`).
    """
    try:
        state = _read(path)
    except WeightsError:
        raise
    except Exception as error:  # what these readers raise on a broken file is not documented
        raise WeightsError(f"weights file {path} cannot be read: {_fault(path, error)}") from error
    for key in NESTED_UNDER:
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    if not isinstance(state, Mapping) or not state or not all(_is_tensor(value) for value in state.values()):
        raise WeightsError(
            f"weights file {path} holds no parameters: a mapping of names to tensors is expected, alone or under "
            f"{', '.join(NESTED_UNDER)}"
        )
    return dict(state)


def _read(path: Path) -> Any:
    import torch

    if path.name.endswith((".h5", ".h5.gz")):
        from braid.weights import keras

        return keras.read(path)
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    if _is_torchscript(path):
        return torch.jit.load(path, map_location="cpu").state_dict()
    return torch.load(path, map_location="cpu", weights_only=True)


def _fault(path: Path, error: Exception) -> str:
    """Return what is wrong with a file that a reader refused; PyTorch's own advice is to run the code in it."""
    with path.open("rb") as file:
        begin = file.read(64).lstrip()
    if not begin:
        return "it is empty"
    if begin.startswith(b"<"):
        return "it is a web page; fetch the file itself"
    if begin.startswith(b"version https://git-lfs"):
        return "it is a pointer of git-lfs; fetch the file itself with `git lfs pull`"
    if isinstance(error, (pickle.UnpicklingError, KeyError)):
        return (
            "it is no file of torch.save, or holds more than tensors and plain values, whose code is never run; save "
            "`network.state_dict()` alone"
        )
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'damaged or cut short'}"


def _is_tensor(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor)


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(re.fullmatch(r"[^/]+/constants\.pkl", name) for name in archive.namelist())


def fill(network: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Put `state`, read from `path`, into `network`; names and shapes must be exactly the network's.

    Only the counters of batches may be missing: files of PyTorch before 0.4.1 have none, and nothing but training reads
    them.

    Raises
    ------
    WeightsError
        A name is missing, unknown or of another shape.
    """
    own = network.state_dict()
    state = {name: value for name, value in own.items() if name.endswith(".num_batches_tracked")} | dict(state)
    wanted = {name: tuple(value.shape) for name, value in own.items()}
    given = {name: tuple(value.shape) for name, value in state.items()}
    problems = [
        *(f"lacks {name}" for name in wanted.keys() - given.keys()),
        *(f"has {name}, which the network does not" for name in given.keys() - wanted.keys()),
        *(
            f"has {name} of shape {given[name]} instead of {wanted[name]}"
            for name in wanted.keys() & given.keys()
            if given[name] != wanted[name]
        ),
    ]
    if problems:
        first = "; ".join(sorted(problems)[:3])
        raise WeightsError(
            f"weights file {path} does not fit {type(network).__name__} in {len(problems)} of its parameters: it "
            f"{first}; give the file of this architecture"
        )
    network.load_state_dict(state)

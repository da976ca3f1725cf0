"""Weights of networks: where the official ones come from, a folder that keeps them, and a strict way to load them.

The folder is the environment variable BRAID_WEIGHTS, else `~/.cache/braid/weights`. With BRAID_OFFLINE=1 nothing is
downloaded. Beside each file stands `<file>.sha256` (the format of sha256sum), written when the file is first seen:
it pins a file whose publisher gives no checksum.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import urllib.error
import urllib.request
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braid.errors import WeightsError
from braid.extractors.registry import REGISTRY
from braid.files import whole, write_text

if TYPE_CHECKING:
    from torch import Tensor, nn

RANDOM_SEED = 0
"""Seed of `weights: random`, the same for every extractor and run."""
CHUNK_BYTES = 1 << 20
TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class Weights:
    """One official file.

    Attributes
    ----------
    file : name of the file in the weights folder
    url : where its publisher offers it
    sha256 : all 64 hexadecimal digits, or as many of the first ones as the publisher gives, or none
    licence, citation : of the weights, not of the code
    """

    file: str
    url: str
    sha256: str
    licence: str
    citation: str


def _clip(digest: str, file: str) -> Weights:
    return Weights(
        file=f"clip-{file}",
        url=f"https://openaipublic.azureedge.net/clip/models/{digest}/{file}",
        sha256=digest,
        licence="MIT (the model card puts deployed use out of scope)",
        citation="Radford et al., Learning transferable visual models from natural language supervision, ICML 2021",
    )


def _passt(release: str, file: str) -> Weights:
    return Weights(
        file=file,
        url=f"https://github.com/kkoutini/PaSST/releases/download/{release}/{file}",
        sha256="",
        licence="Apache-2.0",
        citation="Koutini et al., Efficient training of audio transformers with patchout, Interspeech 2022",
    )


OFFICIAL: dict[str, Weights] = {
    "passt_s_swa_p16_128_ap476": _passt("v0.0.1-audioset", "passt-s-f128-p16-s10-ap.476-swa.pt"),
    "passt_s_kd_p16_128_ap486": _passt("v.0.0.9", "passt-s-kd-ap.486.pt"),
    "passt_s_p16_s16_128_ap468": _passt("v0.0.2-audioset", "passt-s-f128-p16-s16-ap.468.pt"),
    "ViT-B-32-quickgelu": _clip("40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af", "ViT-B-32.pt"),
    "RN101-quickgelu": _clip("8fa8567bab74a42d41c5915025a8e4538c3bdbe8804a470a72f30b0d94fab599", "RN101.pt"),
    "RN50x4-quickgelu": _clip("7e526bd135e493cef0776de27d5f42653e6b4c8bf9e0f653bb11773263205fdd", "RN50x4.pt"),
    "r2plus1d_18": Weights(
        file="r2plus1d_18-91a641e6.pth",
        url="https://download.pytorch.org/models/r2plus1d_18-91a641e6.pth",
        sha256="91a641e6",
        licence="BSD-3-Clause (trained on Kinetics-400)",
        citation="Tran et al., A closer look at spatiotemporal convolutions for action recognition, CVPR 2018",
    ),
}
"""Official weights by the name of their architecture."""


def folder() -> Path:
    """Return the folder that keeps weights."""
    return Path(os.environ.get("BRAID_WEIGHTS") or Path.home() / ".cache" / "braid" / "weights").expanduser()


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal; computed once while its size and time of change stay the same."""
    stat = path.stat()
    return _sha256(path, stat.st_size, stat.st_mtime_ns)


@lru_cache
def _sha256(path: Path, size: int, mtime_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def identity(settings: Mapping[str, Any]) -> str:
    """Return what stands for the weights of an extractor in the key of its features, without reading a network.

    Random weights are named by their seed, official ones by their file and published checksum, whether they are here
    yet or not, and a file of the user's by its SHA-256.
    """
    chosen = settings["weights"]
    if chosen == "random":
        return f"random:{RANDOM_SEED}"
    if chosen == "pretrained":
        weights = official(settings)
        return f"{weights.file}:{weights.sha256}"
    return sha256(_users_file(chosen))


def digest(settings: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the weights file of an extractor, or `random:<seed>`."""
    return f"random:{RANDOM_SEED}" if settings["weights"] == "random" else sha256(find(settings))


def official(settings: Mapping[str, Any]) -> Weights:
    """Return the official weights of an extractor.

    Raises
    ------
    WeightsError
        None are registered for its architecture.
    """
    name = REGISTRY[settings["type"]].weights.format(**settings)
    if name not in OFFICIAL:
        raise WeightsError(
            f"no official weights are registered for {name!r}: set `weights` to a checkpoint file or to `random`, "
            f"or choose an architecture from {', '.join(OFFICIAL)}"
        )
    return OFFICIAL[name]


def find(settings: Mapping[str, Any]) -> Path:
    """Return the weights file of an extractor whose weights are not random; official ones are fetched if need be.

    Raises
    ------
    WeightsError
        The file is missing and cannot be fetched, or is not the one it should be; the message says which file to put
        where and where it comes from.
    """
    return fetch(official(settings)) if settings["weights"] == "pretrained" else _users_file(settings["weights"])


def fetch(weights: Weights) -> Path:
    """Return the path of an official file, downloaded where it is missing, its checksum verified."""
    path = folder() / weights.file
    if not path.exists():
        advice = f"put {weights.file} into {folder()}; it comes from {weights.url}"
        if os.environ.get("BRAID_OFFLINE", "0") not in ("", "0"):
            raise WeightsError(f"{path} is missing and BRAID_OFFLINE is set: {advice}")
        try:
            _download(weights, path)
        except OSError as error:  # of which urllib's URLError is one
            raise WeightsError(f"{weights.url} cannot be fetched ({error}): {advice}") from error
    verify(weights)
    return path


def verify(weights: Weights) -> str:
    """Return the SHA-256 of an official file in the folder; the first time that it is seen, it is pinned beside it.

    Raises
    ------
    WeightsError
        The checksum is not the published or the pinned one.
    """
    path = folder() / weights.file
    digest = sha256(path)
    pin = path.with_name(f"{path.name}.sha256")
    pinned = pin.read_text(encoding="utf-8").split()[0] if pin.exists() else ""
    for origin, expected in (("published", weights.sha256), ("pinned", pinned)):
        if not digest.startswith(expected):
            raise WeightsError(
                f"{path} has the SHA-256 {digest}, but the {origin} one is {expected}: it is damaged or another file; "
                f"delete it and {pin.name} and fetch it again from {weights.url}"
            )
    if not pinned:
        write_text(pin, f"{digest}  {path.name}\n")
    return digest


def _download(weights: Weights, path: Path) -> None:
    print(f"fetching {weights.url} to {path} (licence: {weights.licence})")
    with whole(path) as beside, urllib.request.urlopen(weights.url, timeout=TIMEOUT_SECONDS) as reply:
        digest = hashlib.sha256()
        expected_bytes = reply.headers.get("Content-Length")
        with beside.open("wb") as file:
            while block := reply.read(CHUNK_BYTES):
                digest.update(block)
                file.write(block)
        if expected_bytes is not None and beside.stat().st_size != int(expected_bytes):
            raise OSError(f"{beside.stat().st_size} bytes came instead of {expected_bytes}")
        if not digest.hexdigest().startswith(weights.sha256):
            raise OSError(f"its SHA-256 is {digest.hexdigest()} instead of {weights.sha256}")


def _users_file(name: str) -> Path:
    path = Path(name).expanduser()
    if not path.is_file():
        raise WeightsError(f"weights file {path} does not exist; give a path, `pretrained` or `random`")
    return path


def load(path: Path) -> dict[str, Tensor]:
    """Return the parameters in a checkpoint: a state dict, alone or under `state_dict` or `model`.

    Reads safetensors, files of `torch.save` (only tensors, no code) and TorchScript archives such as OpenAI's.
    """
    import torch
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if _is_torchscript(path):
            return torch.jit.load(path, map_location="cpu").state_dict()
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what these readers raise on a broken file is not documented
        raise WeightsError(f"weights file {path} cannot be read: {error}") from error
    for key in ("state_dict", "model"):
        if key in state:
            state = state[key]
    return state


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(re.fullmatch(r"[^/]+/constants\.pkl", name) for name in archive.namelist())


def fill(network: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Put `state`, read from `path`, into `network`; names and shapes must be exactly the network's.

    Raises
    ------
    WeightsError
        A name is missing, unknown or of another shape.
    """
    wanted = {name: tuple(value.shape) for name, value in network.state_dict().items()}
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


def add_parser(subparsers: Any) -> None:
    """Add `braid weights list | fetch | verify` to the command line."""
    parser = subparsers.add_parser("weights", help="list, fetch and verify the official weights of networks")
    parser.add_argument("action", choices=("list", "fetch", "verify"))
    parser.add_argument("names", nargs="*", metavar="name", help="architectures; all where none is given")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> None:
    unknown = sorted(set(arguments.names) - set(OFFICIAL))
    if unknown:
        raise WeightsError(f"no official weights named {', '.join(unknown)}; choose from {', '.join(OFFICIAL)}")
    for name in arguments.names or OFFICIAL:
        weights = OFFICIAL[name]
        path = folder() / weights.file
        if arguments.action == "fetch":
            fetch(weights)
        if arguments.action == "list" or not path.exists():
            print(f"{name}\t{path}{'' if path.exists() else ' (not here)'}\t{weights.url}\t{weights.licence}")
        else:
            print(f"{name}\t{path}\t{verify(weights)}")

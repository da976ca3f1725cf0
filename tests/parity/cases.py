"""What the comparisons of networks with their references share; the comparisons are in the modules `*_cases`.

There is one function a network, and one row of the table for each of its variants. To add a network, write a function
and mark it with `@case`:

    @case("torchvision", "r2plus1d_18", "s3d")
    def torchvision_video(file: Path, architecture: str) -> Outputs:
        network = models.get_model(architecture).eval()            # 1. the reference
        checkpoint(network, file)                                  # 2. seeded numbers in the official layout
        extractor = ours("torchvision_video", file, architecture=architecture)   # 3. ours, from that file
        batch = items(3, 16, 112, 112)                             # 4. the same input, two different items
        return extractor.forward(batch)[1], network(batch)         # 5. ours first; no softmax, no argmax

Its rows are called `torchvision_video r2plus1d_18` and `torchvision_video s3d`; the table names the package and its
installed version. Import a reference inside its function: those that are no part of the product are only in
.venv-parity, and one that breaks should cost its own rows only. A package that .venv lacks is added to the group
`parity` of pyproject.toml and locked by `make lock`. Where the reference has a preprocessing of its own, begin with
clips (`fake_clips.FakeClip`) and compare everything up to the embedding.

The error is max |ours - reference| / max |reference| over all numbers of the output. So that it means something,
`checkpoint` draws weights that keep the scale of activations, and `compare.py` refuses a case whose outputs for its
two items differ by less than a thousand times the tolerance.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from fake_clips import FakeClip, settings
from torch import Tensor, nn

from braid.extractors.registry import REGISTRY

os.environ["KERAS_BACKEND"] = "torch"
os.environ["HF_HUB_OFFLINE"] = "1"

Outputs = tuple[Tensor, Tensor]
"""Ours and the reference's, of equal shape [2, ...]."""


@dataclass(frozen=True)
class Case:
    """A row of the table.

    Attributes
    ----------
    name : what the row is called
    package : the reference's, whose version is quoted
    outputs : what compares; it gets the path of a checkpoint that it may write
    tolerance : largest error that is no difference
    pixels : largest difference of flow, too, that is none; None where the outputs are no flow
    """

    name: str
    package: str
    outputs: Callable[[Path], Outputs]
    tolerance: float = 1e-5
    pixels: float | None = None


CASES: list[Case] = []


def case(package: str, *variants: str, **limits: float) -> Callable[[Callable[..., Outputs]], Any]:
    """Register a function as a case, once for each variant, which it gets as its second argument."""

    def register(function: Callable[..., Outputs]) -> Callable[..., Outputs]:
        for variant in variants:
            CASES.append(
                Case(f"{function.__name__} {variant}", package, lambda file, v=variant: function(file, v), **limits)
            )
        return function

    return register


def items(*shape: int) -> Tensor:
    """Return two items [2, *shape], float32: normal numbers, and others that are weaker and lie around one half."""
    numbers = torch.randn((2, *shape), generator=torch.Generator().manual_seed(0))
    numbers[1] = numbers[1] / 4 + 0.5
    return numbers


def draw(network: nn.Module, gain: float = 2**0.5) -> Any:
    """Fill a network with seeded numbers that keep the scale of what passes through it: `gain` for rectified layers."""
    generator = torch.Generator().manual_seed(1)
    for name, value in network.state_dict().items():
        if not value.is_floating_point():
            continue
        if name.endswith("running_var"):
            value.uniform_(0.5, 1.5, generator=generator)
        elif value.ndim > 1:
            value.normal_(0, gain * value[0].numel() ** -0.5, generator=generator)
        elif name.endswith("weight"):
            value.uniform_(0.5, 1.0, generator=generator)
        else:
            value.normal_(0, 0.1, generator=generator)
    return network.eval().requires_grad_(False)


def checkpoint(
    network: nn.Module, file: Path, under: str = "", seen: Tensor | None = None, gain: float = 2**0.5
) -> Path:
    """Draw the numbers of a reference and save them as its publisher does, below the key `under` if there is one.

    With `seen` the statistics of its BatchNorms are those of this batch: in a deep network that gates what passes
    through it, drawn ones would leave nothing of the input.
    """
    draw(network, gain)
    if seen is not None:
        norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.train().momentum = 1.0
        network(seen)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.eval().momentum = momentum
    state = network.state_dict()
    torch.save({under: state} if under else state, file)
    return file


def ours(kind: str, file: Path, **changes: Any) -> Any:
    """Return an extractor with the weights of a file, its parameters in memory as those of the reference.

    The product stores convolutions channels last, which adds up the same products in another order. In deep networks
    with drawn numbers that alone is up to 3e-4 of the largest output, and would hide what is looked for.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        extractor = REGISTRY[kind].load()(settings(kind, weights=str(file), **changes))
    extractor.network.to(memory_format=torch.contiguous_format)
    return extractor


def tokens(extractor: Any, clips: list[FakeClip]) -> Tensor:
    """Return the token of each clip that gives one view, [2, D]."""
    return torch.stack(
        [extractor.forward(extractor.load(clip, only_view(extractor, clip))[None])[0][0] for clip in clips]
    )


def only_view(extractor: Any, clip: FakeClip) -> Any:
    """Return the view of a clip that gives one."""
    (view,) = extractor.plan(clip, None, None).views
    return view

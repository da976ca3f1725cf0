"""What the networks for optical flow share: padding, precision, and one encoding for both pairs of a frame.

Letters: n frames or pairs, H, W size of a frame.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from braid.errors import ConfigError


class Encoded(NamedTuple):
    """A frame as the network knows it: its features, and its height and width before padding."""

    features: tuple[Tensor, ...]
    height: int
    width: int


class NetworkMethod(ABC):
    """A network on pairs of frames, padded on all sides by their outermost pixels to sizes that it can take.

    Parameters
    ----------
    settings : mapping
        `dtype`; `compile`, to have torch make kernels of its own for the network.
    device : `cpu` or `cuda`
    batch_size : pairs in one pass, or `braid.extractors.sizing.AUTO`
    network : Any
        The nn.Module, ready for inference.
    multiple, least : int
        Height and width reach the network as multiples of `multiple` and at least `least`.

    Attributes
    ----------
    COMPILED : tuple of str
        Methods that torch compiles where the settings ask for it.
    """

    COMPILED: tuple[str, ...] = ("features", "flow")

    def __init__(
        self, settings: Mapping[str, Any], device: str, batch_size: int, network: Any, multiple: int, least: int
    ) -> None:
        if device == "cuda":
            torch.backends.cudnn.allow_tf32 = False  # float32 means float32, not the 10 bits of TF32
        self.network = network.to(device)
        self.device = device
        self.pairs = batch_size
        self.dtype: torch.dtype = getattr(torch, settings["dtype"])
        self.multiple = multiple
        self.least = least
        if settings["compile"]:
            for name in self.COMPILED:
                setattr(self, name, _compiled(getattr(self, name)))

    @abstractmethod
    def features(self, frames: Tensor) -> tuple[Tensor, ...]:
        """Return what the network makes of single frames, float [n, 3, H, W], RGB in [0, 255], padded."""

    @abstractmethod
    def flow(self, firsts: tuple[Tensor, ...], seconds: tuple[Tensor, ...]) -> Tensor:
        """Return the flow, float [n, 2, H, W], between frames as `features` has them."""

    def encode(self, frames: np.ndarray) -> list[Encoded]:
        """Return the features of each of `frames`, uint8 RGB [n, H, W, 3]."""
        height, width = frames.shape[1:3]
        pictures = torch.from_numpy(frames).to(self.device).permute(0, 3, 1, 2).float()
        with self._running():
            features = self.features(functional.pad(pictures, self._padding(height, width), mode="replicate"))
        return [Encoded(parts, height, width) for parts in zip(*features, strict=True)]

    def match(self, firsts: Sequence[Encoded], seconds: Sequence[Encoded]) -> Tensor:
        """Return the flow, float32 [n, 2, H, W] in pixels, from each of `firsts` to its fellow in `seconds`."""
        _, height, width = firsts[0]
        with self._running():
            flow = self.flow(_stacked(firsts), _stacked(seconds)).float()
        left, _, top, _ = self._padding(height, width)
        return flow[..., top : top + height, left : left + width]

    @contextmanager
    def _running(self) -> Iterator[None]:
        half = self.dtype != torch.float32
        with torch.inference_mode(), torch.autocast(self.device, self.dtype if half else None, enabled=half):
            yield

    def _padding(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Return pixels to add: left, right, top, bottom."""
        across, down = (max(-(-n // self.multiple) * self.multiple, self.least) - n for n in (width, height))
        return across // 2, across - across // 2, down // 2, down - down // 2


def _stacked(frames: Sequence[Encoded]) -> tuple[Tensor, ...]:
    return tuple(map(torch.stack, zip(*(frame.features for frame in frames), strict=True)))


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function`, which torch compiles when it is called first, or says in a sentence that it cannot."""
    from torch._dynamo.exc import BackendCompilerFailed  # a second to import

    compiled = torch.compile(function)

    @wraps(function)
    def call(*arguments: Any) -> Any:
        try:
            return compiled(*arguments)
        except BackendCompilerFailed as error:
            why = str(error).strip().splitlines()[0]
            raise ConfigError(
                f"`compile: true` does not work on this machine ({why}). It needs a C++ compiler such as g++ on the "
                "PATH, for a GPU the package triton, and an environment in a folder without a space in its path; "
                "see to what is missing, or set `compile: false`."
            ) from error

    return call

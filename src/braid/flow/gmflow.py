"""Flow by global matching: GMFlow (Xu et al., CVPR 2022)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from braid.extractors.base import build
from braid.flow.network import NetworkMethod
from braid.networks.gmflow import GMFlow


class GMFlowMethod(NetworkMethod):
    """Flow of RGB frames with `braid.networks.gmflow.GMFlow`.

    Parameters
    ----------
    settings : mapping
        `architecture`, `weights` and what `NetworkMethod` reads.
    """

    def __init__(self, settings: Mapping[str, Any], threads: int, device: str, batch_size: int) -> None:
        network = build(settings, lambda: GMFlow(settings["architecture"]))
        super().__init__(settings, device, batch_size, network, network.multiple, network.multiple)

    def features(self, frames: Tensor) -> tuple[Tensor, ...]:
        return self.network.encode(frames)

    def flow(self, firsts: tuple[Tensor, ...], seconds: tuple[Tensor, ...]) -> Tensor:
        return self.network.match(firsts, seconds)

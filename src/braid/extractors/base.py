"""What every extractor is: views of an item, a tensor for each view, and a network.

Letters: B views of a batch, T tokens (one a view) of an item, D numbers of a token, C classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from braid import weights

SLACK_SECONDS = 0.1
"""A stream that ends this much before the item's end (or begins after its start) still covers the item."""


@dataclass(frozen=True)
class View:
    """A stretch of an item that the network sees at once.

    Attributes
    ----------
    start_seconds, end_seconds : [start, end) on the clip's clock
    indices : what `Extractor.load` reads for it, int64: frames, pairs of frames, or bounds in samples
    crop : number of its crop in space
    """

    start_seconds: float
    end_seconds: float
    indices: np.ndarray
    crop: int = 0


class Plan(NamedTuple):
    """What there is to see of an item: its views, none where its stream is not usable, with status and reason."""

    views: list[View]
    status: str
    reason: str


class Cover(NamedTuple):
    """What there is of a stream: its status and reason, and [start, end) seconds where it is usable."""

    status: str
    reason: str
    start_seconds: float
    end_seconds: float


class Planner(ABC):
    """Which views of an item there are to see, and with what status.

    Attributes
    ----------
    least_seconds : float
        Items of which there is less get the status `short`.
    short_rule : str
        What is done with those.
    """

    least_seconds: float = 0.0
    short_rule: str = ""

    @abstractmethod
    def cover(self, clip: Any) -> Cover:
        """Return what `clip`, as its shard gives it, has of the stream that is read."""

    @abstractmethod
    def views(self, clip: Any, start: float, end: float) -> list[View]:
        """Return the views, at least one, of [start, end) seconds of `clip`, all of which the stream covers."""

    @classmethod  # noqa: B027 (of most, the schema knows everything)
    def check(cls, settings: Mapping[str, Any]) -> None:
        """Refuse settings that the schema cannot know to be wrong, such as a name that a library does not have.

        This is called before the first job of a run, and should construct nothing large.

        Raises
        ------
        ConfigError
            Which setting is wrong, and what to choose.
        """

    def plan(self, clip: Any, start: float | None, end: float | None) -> Plan:
        """Return the views of the item that is [start, end) seconds of `clip`; None is its own start or end."""
        status, reason, low, high = self.extent(clip, start, end)
        views = [] if status in ("missing", "unreadable") else self.views(clip, low, high)
        return Plan(views, status, reason)

    def extent(self, clip: Any, start: float | None, end: float | None) -> Cover:
        """Return what the stream covers of the item that is [start, end) seconds of `clip`.

        The status is the stream's own, but `missing` where nothing of the item is covered, and `short` where a part is
        not or where the item is shorter than a view.
        """
        status, reason, first, last = self.cover(clip)
        if status in ("missing", "unreadable"):
            return Cover(status, reason, 0.0, 0.0)
        low = first if start is None else max(start, first)
        high = last if end is None else min(end, last)
        asked = f"[{first if start is None else start:g}, {last if end is None else end:g}) s"
        if high <= low:
            return Cover("missing", f"the item is {asked}, the stream only [{first:g}, {last:g}) s", 0.0, 0.0)
        faults = [reason] if reason else []
        if (start is not None and low > start + SLACK_SECONDS) or (end is not None and high < end - SLACK_SECONDS):
            faults.append(f"the item is {asked}, of which the stream covers [{low:g}, {high:g}) s")
        if high - low < self.least_seconds * (1 - 1e-6):
            faults.append(f"{high - low:.3g} s where a view takes {self.least_seconds:.3g} s: {self.short_rule}")
        return Cover("short" if faults and status == "ok" else status, "; ".join(faults), low, high)


class Extractor(Planner):
    """One network with its own sampling, preprocessing and pooling.

    A subclass is constructed with the completed settings of its entry in the config, and then has `network`, weights
    loaded. `plan` and `load` may be called from several threads at once.

    Attributes
    ----------
    network : the nn.Module, in evaluation, whatever its class
    normalised : bool
        Tokens have unit length, and so has their mean.
    several_classes : bool
        The logits are of classes of which a view may have several at once.
    class_names : list of str
        The classes of the logits, in their order, where these are labels of the user's; scores are then kept view by
        view too.
    """

    network: Any
    normalised: bool = False
    several_classes: bool = False
    class_names: Sequence[str] = ()

    @abstractmethod
    def load(self, clip: Any, view: View) -> Tensor:
        """Return what the network reads for a view, a float32 tensor on the CPU."""

    @abstractmethod
    def forward(self, batch: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the tokens of a batch of equal-shaped tensors, and the logits [B, C] of views if there are any.

        Tokens are [B, D], or [B, S, D] where a view has S of them, one after the other in time.
        """


def build(
    settings: Mapping[str, Any],
    make: Callable[..., nn.Module],
    adapt: Callable[[dict[str, Tensor]], dict[str, Tensor]] = dict,
    classifier: str = "",
) -> Any:
    """Return the network that `make` constructs, with the weights that the settings ask for, ready for inference.

    Parameters
    ----------
    settings : mapping with `type` and `weights`
    make : constructs the network; its random parameters come from `braid.weights.RANDOM_SEED`
    adapt : turns the state dict of an official file into one of the network
    classifier : name of the layer of logits, whose number of outputs in a file is handed to `make` as `n_classes`, so
        that a checkpoint may have classes of its own
    """
    path = None if settings["weights"] == "random" else weights.find(settings)
    state = adapt(weights.load(path)) if path else {}
    bias = state.get(f"{classifier}.bias")
    with _seeded(weights.RANDOM_SEED):
        network = make() if bias is None else make(n_classes=len(bias))
    if path:
        weights.fill(network, state, path)
        print(f"{settings['type']}: weights of {path}")
    else:
        print(f"{settings['type']}: random weights, seed {weights.RANDOM_SEED}; nothing was learnt from data")
    for module in network.modules():  # convolutions are up to a third faster so, and nowhere slower
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            last = torch.channels_last if isinstance(module, nn.Conv2d) else torch.channels_last_3d
            module.weight.data = module.weight.data.contiguous(memory_format=last)
    return network.eval().requires_grad_(False)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield

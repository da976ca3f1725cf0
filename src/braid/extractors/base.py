"""What every extractor is: views of an item, a tensor for each view, and a network.

Letters: B views of a batch, T tokens (one a view) of an item, D numbers of a token, C classes.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from braid import weights
from braid.extractors.plan import Planner, View


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

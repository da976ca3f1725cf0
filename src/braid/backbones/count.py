"""What a network costs: parameters and floating-point operations."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from braid.backbones.networks import Backbone


def count(network: Backbone, example: Tensor) -> dict[str, int]:
    """Return the parameters of a backbone, and what one view costs it from its input to its logits.

    Parameters
    ----------
    network : Backbone
        Left as it is, in training or evaluation; it is counted in evaluation.
    example : Tensor
        One view, [1, C, T, h, w], or [1, 1, M, T] of sound; its numbers do not matter.

    Returns
    -------
    dict
        ``parameters``; ``flops``, as `torch.utils.flop_counter` counts those of convolutions, matrix products and
        attention, two for each multiply-add, and none for normalisation, activation and pooling; ``multiply_adds``,
        half of them, which papers often call FLOPs.
    """
    training = network.training
    network.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.classify(network.features(example)[0])
    network.train(training)
    flops = counter.get_total_flops()
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return {"parameters": parameters, "flops": flops, "multiply_adds": flops // 2}

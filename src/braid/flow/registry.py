"""The flow methods that a config can name; reading this imports no network.

A method is a class ``Method(settings, threads, device, batch_size)`` with two calls, so that a frame is prepared once
although it is in two pairs, and the number of frames that it wants at a time:

- ``encode(frames)``: uint8 RGB [n, H, W, 3] to a list of `n` encoded frames of any type;
- ``match(firsts, seconds)``: two lists of `n` encoded frames to a tensor, float32 [n, 2, H, W], the motion from first
  to second in pixels of the frame, u right and v down;
- ``pairs``: how many frames it takes at best, or `braid.extractors.sizing.AUTO` where that is to be found out.
"""

from __future__ import annotations

from dataclasses import dataclass

from braid.registry import Entry


@dataclass(frozen=True)
class FlowEntry(Entry):
    """A flow method: `Entry`, and which official weights it wants.

    Attributes
    ----------
    official : str
        Function of the settings that gives the official weights, ``module:function``; a method that has some is a
        network and wants a GPU. Empty where there is nothing to learn.
    """

    official: str = ""


REGISTRY: dict[str, FlowEntry] = {
    "farneback": FlowEntry("braid.flow.farneback:Farneback", version=1),
    "dis": FlowEntry("braid.flow.dis:Dis", version=1),
    "raft": FlowEntry("braid.flow.raft:Raft", version=1, official="braid.weights.torchvision:flow"),
    "gmflow": FlowEntry("braid.flow.gmflow:GMFlowMethod", version=1, official="braid.weights.gmflow:network"),
}

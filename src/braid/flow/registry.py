"""The flow methods that a config can name.

A method is a class ``Method(settings, threads)`` with two calls, so that a frame is prepared once although it is in
two pairs:

- ``encode(frames)``: uint8 RGB [n, H, W, 3] to a list of `n` encoded frames of any type;
- ``match(firsts, seconds)``: two lists of `n` encoded frames to float32 [n, 2, H, W], the motion from first to second
  in pixels of the frame, u right and v down.
"""

from __future__ import annotations

from braid.registry import Entry

REGISTRY: dict[str, Entry] = {
    "farneback": Entry("braid.flow.farneback:Farneback", version=1),
}

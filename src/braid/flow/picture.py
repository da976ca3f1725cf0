"""Flow as a picture: the direction is a hue, the speed how much of it there is.

The colour wheel is that of Baker et al., "A Database and Evaluation Methodology for Optical Flow", ICCV 2007. There
the fastest pixel of a picture sets the scale, so that no two pictures compare; here a bound in pixels does.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

CORNERS = ((1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 1, 1), (0, 0, 1), (1, 0, 1), (1, 0, 0))
STEPS = (15, 6, 4, 11, 13, 6)
"""Colours from each corner to the next: more where the eye sees more."""
TOO_FAST = 0.75
"""What is beyond the bound has its full colour, so much darker."""


def flow_picture(flow: Tensor, bound: float) -> Tensor:
    """Return `flow` as RGB: white where nothing moves, the full colour of its direction at `bound` pixels.

    Parameters
    ----------
    flow : Tensor
        Float [..., 2, H, W] on any device, u right and v down in pixels.
    bound : float
        Speed of the full colours in pixels, above 0. Faster pixels have these at `TOO_FAST` of their brightness.

    Returns
    -------
    Tensor
        Float [..., 3, H, W] in [0, 1], red to the right.
    """
    wheel = _wheel().to(flow)
    u, v = flow.unbind(-3)
    place = (torch.atan2(-v, -u) / torch.pi + 1) / 2 * (len(wheel) - 1)
    before = place.floor().long()
    colour = torch.lerp(wheel[before], wheel[(before + 1) % len(wheel)], (place - before)[..., None]).movedim(-1, -3)
    speed = torch.hypot(u, v).unsqueeze(-3) / bound
    return torch.where(speed <= 1, 1 - speed * (1 - colour), TOO_FAST * colour)


def _wheel() -> Tensor:
    """Return the colours once round, float32 [55, 3] in [0, 1], from the right by way of below."""
    corners = torch.tensor(CORNERS, dtype=torch.float32)
    parts = [
        torch.lerp(start, end, torch.arange(n)[:, None] / n)
        for n, (start, end) in zip(STEPS, pairwise(corners), strict=True)
    ]
    return torch.cat(parts)

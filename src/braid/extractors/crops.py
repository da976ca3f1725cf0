"""Where the crops of a picture lie: N_s views in space.

Letters: H, W height and width of a picture, h, w those of a crop.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

CORNERS = 5
"""Centre and corners; the crops after them are these again, mirrored."""


def crop(
    pictures: Tensor, size: tuple[int, int], number: int, n: int, layout: str, half: Callable[[float], int] = round
) -> Tensor:
    """Return crop `number` of `n` of pictures, uint8 or float [..., H, W] → [..., h, w].

    Parameters
    ----------
    size : (h, w); a picture that is smaller is an error of the caller
    number : int in [0, n)
    layout : str
        `line`: crops lie evenly along the longer side, first to last, as SlowFast has them with n = 3; one alone is in
        the centre. `corners`: the first n of centre, bottom right, bottom left, top right, top left (torchvision's
        FiveCrop from its end), then of the same mirrored.
    half : function
        Which pixel the centre begins at where what is left on both sides is odd: libraries round differently.
        torchvision takes the even one of the two (`round`), transformers the first (`int`), SlowFast the second.
    """
    h, w = size
    down, across = pictures.shape[-2] - h, pictures.shape[-1] - w
    assert down >= 0 and across >= 0, (pictures.shape, size)
    top, left = half(down / 2), half(across / 2)
    if layout == "line" and n > 1:
        left = _ceil(across * number, n - 1) if across >= down else _ceil(across, 2)
        top = _ceil(down, 2) if across >= down else _ceil(down * number, n - 1)
    elif layout == "corners" and number % CORNERS:
        top = down if number % CORNERS in (1, 2) else 0
        left = across if number % CORNERS in (1, 3) else 0
    cut = pictures[..., top : top + h, left : left + w]
    return cut.flip(-1) if is_mirrored(number, layout) else cut


def is_mirrored(number: int, layout: str) -> bool:
    """Return whether a crop is mirrored, which turns the horizontal part of motion around."""
    return layout == "corners" and number >= CORNERS


def _ceil(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)

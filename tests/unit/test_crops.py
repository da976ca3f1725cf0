"""Crops: where they lie, against torchvision's where it has them."""

import math

import pytest
import torch
from torchvision.transforms.functional import center_crop, five_crop, hflip

from braid.extractors.crops import crop, is_mirrored

WIDE = torch.arange(3 * 9 * 16).reshape(3, 9, 16)
TALL = WIDE.transpose(1, 2)


def corner(pictures, number, n):
    """Return top and left of a crop, 7 rows and columns from pixel to pixel."""
    value = int(crop(pictures, (7, 7), number, n, "line")[0, 0, 0])
    top, left = divmod(value, 16)
    return (top, left) if pictures is WIDE else (left, top)


@pytest.mark.parametrize(
    ("pictures", "n", "corners"),
    [
        (WIDE, 3, [(1, 0), (1, 5), (1, 9)]),
        (TALL, 3, [(0, 1), (5, 1), (9, 1)]),
        (WIDE, 2, [(1, 0), (1, 9)]),
        (WIDE, 4, [(1, 0), (1, 3), (1, 6), (1, 9)]),
    ],
)
def test_a_line_runs_along_the_longer_side(pictures, n, corners):
    """With three crops the one in the middle is rounded up, as in SlowFast's uniform crop."""
    assert [corner(pictures, number, n) for number in range(n)] == corners


@pytest.mark.parametrize("layout", ["line", "corners"])
@pytest.mark.parametrize("size", [(h, w) for h in range(1, 10) for w in (1, 2, 5, 11, 13, 15, 16)])
def test_the_first_or_only_crop_is_the_centre_of_torchvision(layout, size):
    assert torch.equal(crop(WIDE, size, 0, 1, layout), center_crop(WIDE, list(size)))


@pytest.mark.parametrize(("half", "left"), [(round, [0, 2, 2, 4]), (int, [0, 1, 2, 3]), (math.ceil, [1, 2, 3, 4])])
def test_an_odd_rest_is_rounded_as_the_library_does(half, left):
    cuts = [crop(WIDE, (9, 16 - rest), 0, 1, "line", half) for rest in (1, 3, 5, 7)]
    assert [int(cut[0, 0, 0]) for cut in cuts] == left


def uniform_crop(pictures, size, place):
    """Return what SlowFast's test transform cuts: left, centre, right, or top, centre, bottom of a tall picture."""
    height, width = pictures.shape[1:]
    top, left = math.ceil((height - size) / 2), math.ceil((width - size) / 2)
    if height > width:
        top = (0, top, height - size)[place]
    else:
        left = (0, left, width - size)[place]
    return pictures[:, top : top + size, left : left + size]


@pytest.mark.parametrize("size", [1, 2, 5, 8, 9])
@pytest.mark.parametrize("pictures", [WIDE, TALL, WIDE[:, :, :9]])
def test_three_in_a_line_are_those_of_slowfast(pictures, size):
    for place in range(3):
        assert torch.equal(crop(pictures, (size, size), place, 3, "line"), uniform_crop(pictures, size, place))


def test_a_picture_that_is_smaller_than_a_crop_is_never_cut():
    with pytest.raises(AssertionError):
        crop(WIDE, (10, 5), 0, 1, "line")


def test_corners_are_five_crop_from_its_end_and_then_mirrored():
    cuts = [crop(WIDE, (7, 6), number, 10, "corners") for number in range(10)]
    expected = list(reversed(five_crop(WIDE, [7, 6])))
    assert all(map(torch.equal, cuts, expected + [hflip(cut) for cut in expected]))
    assert [is_mirrored(number, "corners") for number in range(10)] == [False] * 5 + [True] * 5


def test_a_line_is_never_mirrored():
    assert not any(is_mirrored(number, "line") for number in range(10))

"""Flow as colours: closed forms, and torchvision's wheel."""

import colorsys

import pytest
import torch
from torch import Tensor
from torchvision.utils import flow_to_image

from braid.flow.picture import TOO_FAST, flow_picture

ANGLES = torch.arange(360) * torch.pi / 180


def round_about(speed: float) -> Tensor:
    """Flow of one speed in all directions, float32 [2, 1, 360]."""
    return speed * torch.stack([ANGLES.cos(), ANGLES.sin()])[:, None]


def hue(u: float, v: float) -> float:
    red, green, blue = flow_picture(torch.tensor([u, v], dtype=torch.float32)[:, None, None], 1).flatten().tolist()
    return colorsys.rgb_to_hsv(red, green, blue)[0]


def test_no_motion_is_white_whatever_the_bound() -> None:
    for bound in (0.5, 20.0):
        assert torch.equal(flow_picture(torch.zeros(5, 2, 3, 4), bound), torch.ones(5, 3, 3, 4))


def test_directions_have_the_colours_of_the_wheel() -> None:
    """Red to the right, yellow downwards, cyan to blue leftwards, magenta to blue upwards."""
    assert hue(1, 0) == 0
    assert hue(0, 1) == pytest.approx(13.5 / 15 / 6)
    assert hue(-1, 0) == pytest.approx((3 + 2 / 11) / 6)
    assert hue(0, -1) == pytest.approx((4 + 4.5 / 13) / 6)


def test_opposite_directions_are_half_a_wheel_apart() -> None:
    """No two of them share a hue: on a wheel with more reds than greens they are 100° to 260° apart."""
    for u, v in round_about(1)[:, 0].T.tolist():
        assert 100 <= 360 * abs(hue(u, v) - hue(-u, -v)) <= 260


def test_twice_the_bound_is_half_the_saturation() -> None:
    flow = round_about(3)
    near, far = (1 - flow_picture(flow, bound) for bound in (4.0, 8.0))
    torch.testing.assert_close(far, near / 2)


def test_at_the_bound_a_colour_is_full_and_beyond_it_darker() -> None:
    full = flow_picture(round_about(0.999999), 1)
    assert full.amin(dim=0).max() < 1e-5
    for speed in (1.001, 30):
        torch.testing.assert_close(flow_picture(round_about(speed), 1), TOO_FAST * full, atol=1e-4, rtol=0)


def test_the_wheel_is_torchvisions() -> None:
    """It scales by the fastest pixel, which here is as fast as the bound, and cuts colours to whole numbers."""
    flow = torch.randn(2, 40, 50, generator=torch.Generator().manual_seed(0))
    flow *= 7 / torch.hypot(*flow).max()
    theirs = flow_to_image(flow).float() / 255
    assert (flow_picture(flow, 7.0001) - theirs).abs().max() < 2.5 / 255


def test_pictures_and_batches_of_any_shape_agree() -> None:
    flow = torch.randn(3, 4, 2, 5, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(flow_picture(flow, 2)[1, 3], flow_picture(flow[1, 3], 2))
    assert flow_picture(flow, 1).min() >= 0 and flow_picture(flow, 1).max() <= 1

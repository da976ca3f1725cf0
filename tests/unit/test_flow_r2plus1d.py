"""R(2+1)D-18 on flow: the size of the motion, and the first convolution."""

import numpy as np
import pytest
import torch
from fake_clips import FakeClip, settings
from reference_weights import save
from torchvision.models.video import r2plus1d_18

from braid.extractors.flow_r2plus1d import FlowR2Plus1d, adapt_stem
from braid.extractors.plan import View


@pytest.fixture(scope="module")
def extractor():
    return FlowR2Plus1d(settings("flow_r2plus1d", flow="farneback"))


def test_values_follow_the_size_and_the_bound(extractor):
    """On 128×171 a motion of 4 pixels in a picture of 96×128 is 4·171/128 right and 4·128/96 down; 10 are 1."""
    clip = FakeClip(seconds=1)
    clip.flow[:, 0], clip.flow[:, 1] = 4.0, -100.0
    tensor = extractor.load(clip, View(0, 1, np.arange(16)))
    assert tensor.shape == (2, 16, 112, 112)
    torch.testing.assert_close(tensor[0], torch.full((16, 112, 112), 4 * 171 / 128 / 10))
    torch.testing.assert_close(tensor[1], -torch.ones(16, 112, 112))


def test_rgb_weights_are_averaged_over_channels(extractor, tmp_path):
    """The network on equal u and v is the RGB network on three equal channels of 2/3 of that."""
    rgb = r2plus1d_18().eval()
    file = save(rgb, tmp_path / "rgb.pth")
    flow = FlowR2Plus1d(settings("flow_r2plus1d", flow="farneback", weights=str(file)))
    x = torch.rand(1, 1, 4, 32, 32)
    with torch.inference_mode():
        ours = flow.network.stem(x.repeat(1, 2, 1, 1, 1))
        torch.testing.assert_close(ours, rgb.stem(x.repeat(1, 3, 1, 1, 1) * 2 / 3), rtol=1e-4, atol=1e-5)


def test_weights_for_flow_stay():
    state = {"stem.0.weight": torch.rand(45, 2, 1, 7, 7)}
    assert adapt_stem(state) is state


def test_random_weights_tell_u_from_v(extractor):
    u, v = extractor.network.stem[0].weight.unbind(1)
    assert not torch.allclose(u, v)


def test_a_clip_of_one_frame_has_no_flow(extractor):
    plan = extractor.plan(FakeClip(seconds=0.04), None, None)
    assert plan.views == [] and plan.status == "missing" and "no pair of frames" in plan.reason


def test_a_mirrored_crop_moves_the_other_way():
    mirrored = FlowR2Plus1d(settings("flow_r2plus1d", flow="farneback", crops=10, crop_layout="corners"))
    clip = FakeClip(seconds=1)
    plain, turned = (mirrored.load(clip, View(0, 1, np.arange(16), number)) for number in (0, 5))
    torch.testing.assert_close(turned[0], -plain[0].flip(-1), rtol=0, atol=0)
    torch.testing.assert_close(turned[1], plain[1].flip(-1), rtol=0, atol=0)


def test_nothing_moves_after_the_end_of_the_last_block():
    blocks = FlowR2Plus1d(settings("flow_r2plus1d", flow="farneback", placement="blocks", views=2, clip_length=8))
    clip = FakeClip(seconds=0.6)
    _, last = blocks.views(clip, 0.0, 0.6)
    assert last.indices.tolist() == [7, 8, 10, 12, 13, -1, -1, -1]
    assert blocks.load(clip, last).abs().amax(dim=(0, 2, 3)).gt(0).tolist() == [True] * 5 + [False] * 3


def test_two_frames_are_one_pair_held(extractor):
    plan = extractor.plan(FakeClip(seconds=0.08), None, None)
    assert plan.status == "short" and "its last pair of frames is held" in plan.reason
    (view,) = plan.views
    assert view.indices.tolist() == [0] * 16


def test_flow_of_one_pixel_grows_with_the_picture(extractor):
    """A 25th of a pixel in a picture of one is 171/25 right and 128/25 down of the network's grid, everywhere."""
    clip = FakeClip(seconds=1)
    clip.flow = np.full((24, 2, 1, 1), 0.04, dtype=np.float32)
    tensor = extractor.load(clip, View(0, 1, np.arange(16)))
    torch.testing.assert_close(tensor[0], torch.full((16, 112, 112), 0.04 * 171 / 10))
    torch.testing.assert_close(tensor[1], torch.full((16, 112, 112), 0.04 * 128 / 10))


def test_ten_by_three_views_lie_where_those_of_frames_do():
    flow = FlowR2Plus1d(settings("flow_r2plus1d", flow="farneback", views=10, crops=3, placement="slowfast"))
    views = flow.views(FakeClip(seconds=3), 0.0, 3.0)
    room = 3 - 16 / 15
    np.testing.assert_allclose([view.start_seconds for view in views], np.repeat(room * np.arange(10) / 10, 3))
    assert [view.crop for view in views] == [0, 1, 2] * 10

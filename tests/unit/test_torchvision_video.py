"""Networks on several frames, against torchvision."""

import numpy as np
import pytest
import torch
from fake_clips import FakeClip, settings
from reference_weights import save, token
from torchvision.models.feature_extraction import create_feature_extractor
from torchvision.models.video import R2Plus1D_18_Weights, r2plus1d_18

from braid.extractors.base import View
from braid.extractors.torchvision_video import TorchvisionVideo


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return save(r2plus1d_18(), tmp_path_factory.mktemp("weights") / "r2plus1d_18-91a641e6.pth")


@pytest.fixture(scope="module")
def extractor(file):
    return TorchvisionVideo(settings("torchvision_video", weights=str(file)))


def test_agrees_with_torchvision(extractor, file):
    reference = r2plus1d_18()
    reference.load_state_dict(torch.load(file, weights_only=True))
    flatten = create_feature_extractor(reference.eval(), ["flatten"])
    clip = FakeClip(seconds=2)
    (view,) = extractor.views(clip, 0.0, 2.0)
    frames = torch.from_numpy(clip.pictures[view.indices]).permute(0, 3, 1, 2)
    batch = R2Plus1D_18_Weights.KINETICS400_V1.transforms()(frames)[None]
    with torch.inference_mode():
        torch.testing.assert_close(token(extractor, clip, view), flatten(batch)["flatten"][0], rtol=1e-5, atol=1e-5)


def test_pixels(extractor):
    """A picture of one colour becomes that colour, normalised with the statistics of Kinetics-400."""
    clip = FakeClip(seconds=1)
    clip.pictures[:] = (10, 100, 250)
    tensor = extractor.load(clip, View(0, 1, np.arange(16)))
    mean, std = np.array([0.43216, 0.394666, 0.37645]), np.array([0.22803, 0.22145, 0.216989])
    expected = (np.array([10, 100, 250]) / 255 - mean) / std
    assert tensor.shape == (3, 16, 112, 112)
    torch.testing.assert_close(tensor[:, 5, 50, 60], torch.tensor(expected, dtype=torch.float32))


def test_views_sample_15_frames_a_second(extractor):
    clip = FakeClip(seconds=3)  # 25 frames a second
    first, second = extractor.views(clip, 0.0, 3.0)
    np.testing.assert_array_equal(first.indices, np.floor(np.arange(16) * 25 / 15 + 1e-6))
    assert (first.start_seconds, second.end_seconds) == (0.0, 3.0)


def test_a_short_item_holds_its_last_frame(extractor):
    plan = extractor.plan(FakeClip(seconds=0.4), None, None)
    assert plan.status == "short" and "its last frame is held" in plan.reason
    (view,) = plan.views
    assert view.indices.tolist() == [0, 1, 3, 5, 6, 8] + [9] * 10
    assert view.end_seconds == pytest.approx(0.4)

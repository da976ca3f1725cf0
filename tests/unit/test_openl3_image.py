"""OpenL3 on pictures: the value range of training whatever the size, the right windows, and frames in time."""

import numpy as np
import pytest
import torch
from fake_clips import FakeClip, settings
from pictures import check_colour, load, pictures
from reference_weights import save, token

from braid import weights
from braid.extractors.openl3_image import OpenL3Image
from braid.extractors.plan import View
from braid.networks import openl3


def make(**changes):
    return OpenL3Image(settings("openl3_image", **changes))


@pytest.fixture(scope="module")
def extractor():
    return make()


@pytest.mark.parametrize("side", [224, 240, 256, 300])
def test_pictures_of_every_size_are_in_the_range_of_training(extractor, side):
    """openl3 gives the network [-1, 1] for 224×224 only, and [0, 1] or a share of the brightest for others."""
    white, black = (np.full((side, side + 20, 3), value, np.uint8) for value in (255, 0))
    assert load(extractor, white).unique().tolist() == [1.0]
    assert load(extractor, black).unique().tolist() == [-1.0]
    assert load(extractor, np.full((side, side, 3), 51, np.uint8)).unique().tolist() == pytest.approx([-0.6])


def test_statistics(extractor):
    check_colour(extractor, (0.5,) * 3, (0.5,) * 3)


def test_pixels(extractor):
    """The crop in the centre is that of the network's own preparation; without resizing it is a window of the frame."""
    for name, picture in pictures().items():
        got = load(extractor, picture)
        torch.testing.assert_close(got, openl3.image_tensor(picture), rtol=0, atol=1e-6, msg=name)
    frame = np.random.default_rng(0).integers(0, 256, (255, 241, 3), dtype=np.uint8)
    window = torch.from_numpy(frame[127 - 112 : 127 + 112, 120 - 112 : 120 + 112]).permute(2, 0, 1)
    torch.testing.assert_close(load(extractor, frame), window / 127.5 - 1, rtol=0, atol=1e-6)


def test_crops():
    extractor = make(crops=2, crop_layout="corners")
    frame = np.random.default_rng(0).integers(0, 256, (256, 300, 3), dtype=np.uint8)
    corner = torch.from_numpy(frame[-224:, -224:]).permute(2, 0, 1)
    torch.testing.assert_close(load(extractor, frame, 1), corner / 127.5 - 1, rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [512, 8192])
def test_agrees_with_the_network(tmp_path, size):
    network = openl3.Image(size).eval()
    file = save(network, tmp_path / "openl3_image.pt")
    extractor = make(weights=str(file), embedding_size=size)
    clip = FakeClip()
    view = View(0, 1, np.array([3]))
    with torch.inference_mode():
        expected = network(openl3.image_tensor(clip.pictures[3])[None])[0]
    assert expected.shape == (size,)
    torch.testing.assert_close(token(extractor, clip, view), expected, rtol=1e-4, atol=1e-5)


def test_ten_frames_a_second(extractor):
    views = extractor.views(FakeClip(), 0.0, 1.0)
    assert [int(view.indices[0]) for view in views] == [1, 3, 6, 8, 11, 13, 16, 18, 21, 23]
    np.testing.assert_allclose([view.start_seconds for view in views], np.arange(10) / 10, atol=1e-9)


def test_official_weights_by_input_and_content():
    chosen = settings("openl3_image", input="linear", content="music", weights="pretrained")
    assert weights.official(chosen).file == "openl3_image_linear_music-v0_4_0.h5.gz"

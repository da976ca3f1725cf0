"""OpenL3 on sound: which windows of an item become tokens, and what is in them."""

import numpy as np
import pytest
import torch
from fake_clips import FakeClip, settings
from keras_files import layers, write
from reference_weights import save

from braid.extractors.openl3_audio import OpenL3Audio
from braid.networks import openl3


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """The extractor with a file of the official layout, and the network that was written into it."""
    folder, network = tmp_path_factory.mktemp("weights"), openl3.Audio().eval()
    save(network, folder / "network.pt")
    write(folder / "openl3.h5", layers(network))
    return OpenL3Audio(settings("openl3_audio", weights=str(folder / "openl3.h5"))), network


@pytest.fixture(scope="module")
def default(pair):
    return pair[0]


def clip_of(seconds, start=0.0, sample_rate=48_000):
    return FakeClip(seconds=seconds, start=start, sample_rate=sample_rate)


def loaded(extractor, clip, views):
    return torch.stack([extractor.load(clip, view) for view in views])


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("seconds", [0.013, 0.5, 1.0, 1.04, 2.2])
def test_windows_are_those_of_openl3(seconds, center):
    extractor = OpenL3Audio(settings("openl3_audio", center=center))
    clip = clip_of(seconds, start=0.25)
    views = extractor.plan(clip, None, None).views
    torch.testing.assert_close(loaded(extractor, clip, views), openl3.windows(clip.sound, 0.1, center), rtol=0, atol=0)


def test_10_s_give_96_tokens(default):
    """As in the features of the DCASE 2021 audio-visual baseline: token k is centred on k / 10 s."""
    views = default.plan(clip_of(10), None, None).views
    assert len(views) == 96
    middle = [(view.start_seconds, view.end_seconds) for view in views[5:-1]]
    k = np.arange(5, 95) / 10
    np.testing.assert_allclose(middle, np.stack([k - 0.5, k + 0.5], axis=1), atol=1e-9)
    assert (views[0].start_seconds, views[0].end_seconds) == (0, 0.5)
    assert (views[-1].start_seconds, views[-1].end_seconds) == pytest.approx((9, 10))


def test_a_window_of_a_clip_hears_only_that(default):
    clip = clip_of(3, start=1.0)
    views = default.plan(clip, 2.0, 3.0).views
    assert len(views) == 6
    expected = openl3.windows(clip.sound[48_000:96_000])
    torch.testing.assert_close(loaded(default, clip, views), expected, rtol=0, atol=0)
    assert {(view.start_seconds >= 2, view.end_seconds <= 3) for view in views} == {(True, True)}


def test_tokens_are_those_of_the_network(pair):
    extractor, network = pair
    clip = clip_of(1.0)
    with torch.inference_mode():
        tokens, logits = extractor.forward(loaded(extractor, clip, extractor.plan(clip, None, None).views[:2]))
        torch.testing.assert_close(tokens, network(openl3.windows(clip.sound)[:2]))
    assert tokens.shape == (2, 512) and tokens.std() > 0 and logits is None


@pytest.mark.parametrize(("input", "content", "size"), [("mel128", "music", 6144), ("linear", "env", 512)])
def test_every_input_and_size(input, content, size):
    extractor = OpenL3Audio(settings("openl3_audio", input=input, content=content, embedding_size=size))
    with torch.inference_mode():
        tokens, _ = extractor.forward(torch.rand(1, 1, 48_000))
    assert tokens.shape == (1, size) and tokens.isfinite().all()


def test_a_sound_shorter_than_a_window_is_short(default):
    plan = default.plan(clip_of(0.3), None, None)
    assert plan.status == "short"
    assert plan.reason == "0.3 s where a view takes 1 s: silence is put around it"
    assert len(plan.views) == 1


def test_a_shard_of_a_higher_rate_is_resampled(default):
    clip = clip_of(1.5, sample_rate=96_000)
    views = default.plan(clip, 0.0, 1.5).views
    whole = torch.from_numpy(default.sound(clip, 0, 72_000))
    torch.testing.assert_close(loaded(default, clip, views), openl3.windows(whole), rtol=0, atol=1e-5)

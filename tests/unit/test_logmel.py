"""The log-mel front end against torchaudio and closed forms, and networks of timm on it."""

from typing import Any

import numpy as np
import pytest
import timm
import torch
from fake_clips import FakeClip, settings
from reference_weights import save
from torchaudio.functional import melscale_fbanks
from torchaudio.transforms import MelSpectrogram

from braid.errors import ConfigError, WeightsError
from braid.extractors.logmel import FLOOR, LogMel, LogMelNetwork

SMALL = "test_efficientnet.r160_in1k"


def tone(hertz, rate=48_000, peak=0.5):
    return (peak * torch.sin(2 * torch.pi * hertz * torch.arange(rate, dtype=torch.float64) / rate)).float()[None]


def front_end(**changes):
    return LogMel(settings("logmel", normalise="none") | changes)


def small(**changes):
    return LogMelNetwork(settings("logmel", architecture=SMALL) | changes)


@pytest.mark.parametrize("rate", [32_000, 44_100, 48_000])
def test_front_end_is_that_of_torchaudio(rate):
    sound = torch.from_numpy(FakeClip(seconds=1, sample_rate=rate).sound)[None]
    reference = MelSpectrogram(rate, n_fft=2048, hop_length=512, n_mels=128)(sound)
    torch.testing.assert_close(front_end(sample_rate=rate)(sound)[:, 0], (reference + FLOOR).log())


def test_one_second_at_48_khz_is_94_frames():
    assert front_end()(torch.zeros(3, 48_000)).shape == (3, 1, 128, 94)


@pytest.mark.parametrize("hertz", [300, 1000, 5000, 15_000])
def test_the_energy_of_a_tone_lies_in_its_band(hertz):
    """And is that of its line in the spectrum, by which the triangle of the band is known."""
    hertz = round(hertz / (48_000 / 2048)) * 48_000 / 2048  # on a bin of the spectrum
    values = front_end()(tone(hertz))[0, 0, :, 10:-10]
    centres = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 24_000 / 700), 130)[1:-1] / 2595) - 1)
    bands = values.mean(dim=1).argsort(descending=True)[:2]
    assert np.abs(centres - hertz).argmin() in bands
    bank = melscale_fbanks(1025, 0, 24_000, 128, 48_000)
    line = round(hertz / (48_000 / 2048))
    power = torch.zeros(1025)
    power[line], power[line - 1], power[line + 1] = (
        256.0**2,
        128.0**2,
        128.0**2,
    )  # of a Hann window: N/4 and N/8, by 0.5
    torch.testing.assert_close(values[bands[0]].exp().mean(), (power @ bank)[bands[0]], rtol=1e-3, atol=0)


def test_ten_times_the_amplitude_adds_twice_the_logarithm_of_10():
    sound = tone(1000, peak=0.05)
    quiet, loud = front_end()(sound), front_end()(10 * sound)
    band = quiet[0, 0, :, 40].argmax()
    torch.testing.assert_close(loud[0, 0, band] - quiet[0, 0, band], torch.full((94,), 2 * np.log(10)).float())


def test_normalised_views_have_no_gain():
    sound = torch.from_numpy(FakeClip(seconds=1, sample_rate=48_000).sound)[None]
    values = front_end(normalise="view")(torch.cat([sound, 0.1 * sound]))
    torch.testing.assert_close(values.mean(dim=(1, 2, 3)), torch.zeros(2), atol=1e-4, rtol=0)
    torch.testing.assert_close(values.std(dim=(1, 2, 3), correction=0), torch.ones(2))
    torch.testing.assert_close(values[0], values[1], atol=1e-3, rtol=0)


@pytest.mark.parametrize(("normalise", "level"), [("none", np.log(FLOOR)), ("view", 0.0)])
def test_silence_is_a_constant(normalise, level):
    values = front_end(normalise=normalise)(torch.zeros(1, 48_000))
    torch.testing.assert_close(values, torch.full_like(values, level), atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"n_fft": 512}, "of 128 mel bands hold no frequency of a spectrum of 512 samples at 48000 Hz"),
        ({"f_max": 25_000.0}, "f_min 0 and f_max 25000 must be in order and at most 24000"),
        ({"f_min": 9000.0, "f_max": 8000.0}, "f_min 9000 and f_max 8000 must be in order"),
        ({"seconds": 0.02}, "seconds 0.02 are 960 samples, but must be more than half of n_fft, 1024"),
        ({"architecture": "resnet_18"}, "timm has no network 'resnet_18'; near it are"),
    ],
)
def test_settings_that_cannot_be(changes, sentence):
    with pytest.raises(ConfigError, match=sentence):
        small(**changes)


@pytest.mark.parametrize(
    ("seconds", "hop", "starts"),
    [
        (3.0, 1.0, [0, 1, 2]),
        (3.4, 1.0, [0, 1.2, 2.4]),
        (1.5, 1.0, [0.25]),
        (2.0, 0.5, [0, 0.5, 1]),
        (0.4, 1.0, [0]),
    ],
)
def test_views_lie_evenly(seconds, hop, starts):
    extractor = small(hop_seconds=hop)
    clip = FakeClip(seconds=seconds, start=2.0, sample_rate=48_000)
    plan = extractor.plan(clip, None, None)
    np.testing.assert_allclose([view.start_seconds for view in plan.views], 2 + np.array(starts), atol=1e-9)
    np.testing.assert_allclose(
        [view.end_seconds for view in plan.views], 2 + np.minimum(np.array(starts) + 1, seconds), atol=1e-9
    )
    assert plan.status == ("short" if seconds < 1 else "ok")


def test_a_sound_shorter_than_a_view_is_repeated():
    extractor, clip = small(), FakeClip(seconds=0.3, sample_rate=48_000)
    (view,) = extractor.plan(clip, None, None).views
    torch.testing.assert_close(extractor.load(clip, view), torch.from_numpy(np.resize(clip.sound, 48_000)))


def test_a_window_of_a_clip_hears_only_that():
    extractor, clip = small(sample_rate=32_000), FakeClip(seconds=3, start=1.0, sample_rate=48_000)
    (view,) = extractor.plan(clip, 2.0, 3.0).views
    part = torch.from_numpy(extractor.sound(clip, 32_000, 64_000))
    torch.testing.assert_close(extractor.load(clip, view), part)


TWO_FIRST = "repvgg_a0.rvgg_in1k"
"""A network whose input goes into two convolutions."""


@pytest.mark.parametrize("name", [SMALL, TWO_FIRST])
def test_pretrained_kernels_are_summed_over_the_colours(name, tmp_path):
    """One channel is seen as the same in red, green and blue; the classifier of pictures is left out."""
    rgb: Any = timm.create_model(name)
    extractor = small(architecture=name, weights=str(save(rgb, tmp_path / "rgb.pt")))
    batch = torch.randn(2, 48_000)
    with torch.inference_mode():
        tokens, logits = extractor.forward(batch)
        seen = extractor.log_mel(batch).expand(2, 3, 128, 94)
        expected = rgb.eval().forward_head(rgb.forward_features(seen), pre_logits=True)
    torch.testing.assert_close(tokens, expected, rtol=1e-4, atol=1e-4)
    assert logits is None


@pytest.mark.parametrize("name", [SMALL, TWO_FIRST])
def test_a_checkpoint_of_one_channel_is_taken_as_it_is(name, tmp_path, capfd):
    own: Any = timm.create_model(name, in_chans=1, num_classes=10)
    extractor = small(architecture=name, weights=str(save(own, tmp_path / "own.pt")))
    batch = torch.randn(2, 48_000)
    with torch.inference_mode():
        tokens, logits = extractor.forward(batch)
        torch.testing.assert_close(logits, own.eval()(extractor.log_mel(batch)), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(own.get_classifier()(tokens), logits, rtol=1e-4, atol=1e-4)
    assert logits is not None and logits.shape == (2, 10)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("spoil", ["lacks", "other"])
def test_a_file_that_does_not_fit_is_refused(tmp_path, spoil):
    own = timm.create_model(SMALL, in_chans=1, num_classes=10)
    state = own.state_dict()
    if spoil == "lacks":
        del state["conv_head.weight"]
    file = tmp_path / "bad.pt"
    torch.save({"weight": torch.ones(1)} if spoil == "other" else state, file)
    with pytest.raises(WeightsError, match=r"bad\.pt does not fit"):
        small(weights=str(file))


@pytest.mark.parametrize(
    ("architecture", "width"),
    [("regnety_064.ra3_in1k", 1296), ("resnest50d.in1k", 2048), ("tf_efficientnet_b1.ns_jft_in1k", 1280)],
)
def test_dimension(architecture, width):
    extractor = small(architecture=architecture)
    with torch.inference_mode():
        tokens, _ = extractor.forward(torch.zeros(2, 48_000))
    assert tokens.shape == (2, width)

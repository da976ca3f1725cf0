"""PaSST, against the wrapper of hear21passt."""

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_clips import FakeClip, settings
from hear21passt import base2level
from hear21passt.models.passt import get_model
from hear21passt.models.preprocess import AugmentMelSTFT
from hear21passt.wrapper import PasstBasicWrapper
from reference_weights import save, token

from braid.extractors.audio import _resampler
from braid.extractors.passt import VARIANTS, Passt, _mirrored

# The reference warns of its own STFT, its autocast and of every length but 10 s.
pytestmark = pytest.mark.filterwarnings("ignore")


def pair(architecture: str, stride: int, path: Path, mode: str = "embed_only", tokens: str = "scene"):
    """Return the extractor and the wrapper with the same weights; two layers tell as much as twelve."""
    with contextlib.redirect_stdout(io.StringIO()):
        network = get_model(architecture, pretrained=False, fstride=stride, tstride=stride)
        mel = AugmentMelSTFT(sr=32_000, win_length=800, hopsize=320, fmin_aug_range=10, fmax_aug_range=2000)
    file = save(network, path / "passt.pt")
    extractor = Passt(settings("passt", architecture=architecture, weights=str(file), mode=mode, tokens=tokens))
    extractor.network.blocks, network.blocks = extractor.network.blocks[:2], network.blocks[:2]
    return extractor, PasstBasicWrapper(mel=mel, net=network, mode=mode).eval()


@pytest.fixture(scope="module")
def default(tmp_path_factory):
    return pair("passt_s_swa_p16_128_ap476", 10, tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def coarse(tmp_path_factory):
    return pair("passt_s_p16_s16_128_ap468", 16, tmp_path_factory.mktemp("weights"), "all")


def compare(pair, clip):
    extractor, reference = pair
    end = clip.audio_start_seconds + clip.n_samples / 32_000
    views = extractor.views(clip, clip.audio_start_seconds, end)
    ours = torch.stack([token(extractor, clip, view) for view in views]).mean(dim=0)
    with torch.inference_mode(), contextlib.redirect_stdout(io.StringIO()):
        theirs = reference.get_scene_embeddings(torch.from_numpy(clip.sound)[None])[0]
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    return views


def test_spectrogram(default):
    extractor, reference = default
    sound = torch.from_numpy(FakeClip(seconds=3.3).sound)
    ours = extractor.spectrogram(sound)
    theirs = reference.mel(sound[None])[0, :, : ours.shape[1]]
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_one_pass_up_to_10_s(default):
    (view,) = compare(default, FakeClip(seconds=1.37, start=2.0))
    assert (view.start_seconds, view.end_seconds) == (2.0, pytest.approx(3.37, abs=0.02))


def test_windows_above_10_s(coarse):
    """12.6 s: windows centred on 0, 2.5, … 12.5 s, reflected at the ends, mean; all 527 + 768 numbers."""
    views = compare(coarse, FakeClip(seconds=12.6))
    assert [(view.start_seconds, view.end_seconds) for view in views] == [
        (0, 5), (0, 7.5), (0, 10), (2.5, 12.5), (5, 12.6), (7.5, 12.6),
    ]  # fmt: skip


def test_10_s_fill_998_frames(default):
    """10 s give 1000 frames, the network is made for 998: both see the 99 patches that lie in 996."""
    clip = FakeClip(seconds=10)
    assert default[1].mel(torch.from_numpy(clip.sound)[None]).shape == (1, 128, 1000)
    (view,) = compare(default, clip)
    assert default[0].load(clip, view).shape == (1, 128, 996)


def test_timestamps_of_two_levels(tmp_path):
    """160 ms and 800 ms around a moment; the first half of the numbers is `tokens: timestamps`."""
    extractor, reference = pair("passt_s_swa_p16_128_ap476", 10, tmp_path, "all", "two_levels")
    clip = FakeClip(seconds=1.07, start=0.5)
    views = extractor.plan(clip, None, None).views
    with torch.inference_mode(), contextlib.redirect_stdout(io.StringIO()):
        ours, logits = extractor.forward(torch.stack([extractor.load(clip, view) for view in views]))
        theirs, milliseconds = base2level.get_2lvl_timestamp_embeddings(torch.from_numpy(clip.sound)[None], reference)
    torch.testing.assert_close(ours, theirs[0], rtol=1e-5, atol=1e-5)
    assert ours.shape == (22, 2590)
    torch.testing.assert_close(logits, ours[:, 1295 : 1295 + 527])
    centres = 0.5 + milliseconds[0].numpy() / 1000
    seen = [(view.start_seconds, view.end_seconds) for view in views]
    np.testing.assert_allclose(seen, np.stack([centres - 0.4, centres + 0.4], axis=1).clip(0.5, 1.57), atol=1e-9)


def test_timestamps(default, monkeypatch):
    extractor, reference = default
    monkeypatch.setattr(extractor, "window_lengths", (5120,))
    clip = FakeClip(seconds=0.4)
    views = extractor.views(clip, 0, 0.4)
    with torch.inference_mode(), contextlib.redirect_stdout(io.StringIO()):
        ours, _ = extractor.forward(torch.stack([extractor.load(clip, view) for view in views]))
        theirs, milliseconds = reference.get_timestamp_embeddings(torch.from_numpy(clip.sound)[None])
    assert ours.shape == (9, 768)
    torch.testing.assert_close(ours, theirs[0], rtol=1e-5, atol=1e-5)
    assert [view.end_seconds for view in views[:2]] == pytest.approx(milliseconds[0, :2] / 1000 + 0.08)


def test_timestamps_of_10_s(default, monkeypatch):
    monkeypatch.setattr(default[0], "window_lengths", (5120,))
    assert len(default[0].views(FakeClip(seconds=10), 0, 10)) == 201


def test_mirrored_places_are_those_of_reflection():
    for n in (2, 3, 7):
        expected = np.pad(np.arange(n), 20, mode="reflect")
        np.testing.assert_array_equal(_mirrored(np.arange(-20, n + 20), n), expected)
    assert not _mirrored(np.arange(-3, 4), 1).any()


@pytest.mark.parametrize("n_samples", [1, 2, 1000, 12_000])
def test_timestamps_of_a_sound_shorter_than_their_window(default, monkeypatch, n_samples):
    extractor, _ = default
    monkeypatch.setattr(extractor, "window_lengths", (5120, 25_600))
    clip = FakeClip(seconds=n_samples / 32_000)
    views = extractor.views(clip, 0, n_samples / 32_000)
    assert len(views) == n_samples // 1600 + 1
    for view in views:
        values = extractor.load(clip, view)
        assert values.shape == (1, 128, 16 + 76) and values.isfinite().all()


def test_patchout_does_nothing(default):
    """A network that was trained with patchout drops no patch here; in training it would."""
    extractor, _ = default
    assert not extractor.network.training
    clip = FakeClip(seconds=2)
    (view,) = extractor.views(clip, 0, 2)
    before = token(extractor, clip, view)
    extractor.network.s_patchout_t, extractor.network.s_patchout_f, extractor.network.u_patchout = 5, 4, 3
    try:
        torch.testing.assert_close(token(extractor, clip, view), before, rtol=0, atol=0)
        extractor.network.training = True
        assert not torch.allclose(token(extractor, clip, view), before, rtol=1e-3)
    finally:
        extractor.network.training = False
        extractor.network.s_patchout_t = extractor.network.s_patchout_f = extractor.network.u_patchout = 0


def test_the_front_end_does_not_augment(default):
    """The reference draws its frequency range and masks at random unless it is in evaluation."""
    extractor, reference = default
    sound = torch.from_numpy(FakeClip(seconds=1).sound)
    ours = extractor.spectrogram(sound)
    torch.testing.assert_close(ours, extractor.spectrogram(sound), rtol=0, atol=0)
    reference.mel.train()
    try:
        assert not torch.allclose(ours, reference.mel(sound[None])[0, :, : ours.shape[1]], rtol=1e-3)
    finally:
        reference.mel.eval()


@pytest.mark.filterwarnings("error")
def test_nothing_is_printed_and_nothing_warned_of(default, capfd):
    extractor, _ = default
    clip = FakeClip(seconds=1.3)
    token(extractor, clip, *extractor.views(clip, 0, 1.3))
    assert capfd.readouterr() == ("", "")


def test_networks_for_longer_sound_have_longer_windows(default, monkeypatch):
    monkeypatch.setattr(default[0], "variant", VARIANTS["passt_20sec"])
    assert len(default[0].views(FakeClip(seconds=20), 0, 20)) == 1
    views = default[0].views(FakeClip(seconds=25), 0, 25)
    assert [(view.start_seconds, view.end_seconds) for view in views] == [
        (0, 10), (0, 15), (0, 20), (5, 25), (10, 25), (15, 25),
    ]  # fmt: skip
    assert default[0].spectrogram(torch.zeros(640_000)).shape == (128, 1996)


def test_lengths_that_fill_the_same_patches_share_a_batch(default):
    extractor, _ = default
    shapes = {tuple(extractor.spectrogram(torch.zeros(n)).shape) for n in range(62_401, 65_601, 100)}
    assert shapes == {(128, 196)}  # 196 to 205 frames
    assert extractor.spectrogram(torch.zeros(320_000)).shape == (128, 996)


@pytest.mark.parametrize("n_samples", [1, 300, 5_119])
def test_a_sound_shorter_than_a_patch_is_repeated(default, n_samples):
    extractor, _ = default
    clip = FakeClip(seconds=0.2)
    clip.n_samples, clip.sound = n_samples, clip.sound[:n_samples]
    plan = extractor.plan(clip, None, None)
    assert plan.status == "short" and "repeated" in plan.reason
    repeated = torch.from_numpy(np.resize(clip.sound, 5_120))
    torch.testing.assert_close(extractor.load(clip, plan.views[0])[0], extractor.spectrogram(repeated))


def test_silence_is_a_constant(default):
    extractor, _ = default
    spectrogram = extractor.spectrogram(torch.zeros(32_000))
    torch.testing.assert_close(spectrogram, torch.full_like(spectrogram, (np.log(1e-5) + 4.5) / 5))


def test_a_window_of_a_clip_hears_only_that(default):
    extractor, _ = default
    clip = FakeClip(seconds=3, start=1.0)
    (view,) = extractor.plan(clip, 2.0, 2.5).views
    part = torch.from_numpy(clip.sound[32_000:48_000])
    torch.testing.assert_close(extractor.load(clip, view)[0], extractor.spectrogram(part))


def test_a_shard_of_a_higher_rate_is_resampled(default):
    extractor, _ = default
    clip = FakeClip(seconds=1.5, start=1.0, sample_rate=48_000)
    (view,) = extractor.plan(clip, 1.5, 2.5).views
    heard = _resampler(48_000, 32_000)(torch.from_numpy(clip.sound))[16_000:48_000]
    torch.testing.assert_close(extractor.load(clip, view)[0], extractor.spectrogram(heard), rtol=1e-4, atol=1e-4)

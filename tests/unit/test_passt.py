"""PaSST, against the wrapper of hear21passt."""

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_clips import FakeClip, FakeShard, items, settings
from hear21passt.models.passt import get_model
from hear21passt.models.preprocess import AugmentMelSTFT
from hear21passt.wrapper import PasstBasicWrapper
from reference_weights import save, token

from braid.errors import FeatureError
from braid.extractors import extract
from braid.extractors.passt import Passt

# The reference warns of its own STFT, its autocast and of every length but 10 s.
pytestmark = pytest.mark.filterwarnings("ignore")


def pair(architecture: str, stride: int, path: Path, mode: str = "embed_only"):
    """Return the extractor and the wrapper with the same weights; two layers tell as much as twelve."""
    with contextlib.redirect_stdout(io.StringIO()):
        network = get_model(architecture, pretrained=False, fstride=stride, tstride=stride)
        mel = AugmentMelSTFT(sr=32_000, win_length=800, hopsize=320, fmin_aug_range=10, fmax_aug_range=2000)
    file = save(network, path / "passt.pt")
    extractor = Passt(settings("passt", architecture=architecture, weights=str(file), mode=mode))
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


def test_another_sample_rate_is_refused(default):
    clip = FakeClip()
    clip.sample_rate = 48_000
    with pytest.raises(FeatureError, match="sample_rate: 32000"):
        default[0].plan(clip, None, None)


def test_a_sound_that_is_not_finite_stops_with_the_item(default, tmp_path, monkeypatch):
    clip = FakeClip(seconds=0.3)
    clip.sound[100] = np.nan
    monkeypatch.setattr(extract, "_open", lambda source, path: FakeShard({"c": clip}))
    rows = items(("the item", "c", None, None))
    with pytest.raises(FeatureError, match="'the item'"):
        extract.extract_features(rows, tmp_path, tmp_path / "out.h5", settings("passt"), 1, "cpu")

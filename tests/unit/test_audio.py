"""The samples of an item at the rate of a network, and what becomes of awkward sound on the way through a shard."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import polars as pl
import pytest
import torch
from fake_clips import FakeClip, FakeShard, items, settings
from torch import nn

from braid import config
from braid.errors import FeatureError
from braid.extractors import extract
from braid.extractors.audio import AudioExtractor, _resampler
from braid.media.decode import decode_shard
from braid.store.features import FeatureShard


class Ear(AudioExtractor):
    """Tokens are the loudness of whole items."""

    def __init__(self, sample_rate):
        self.sample_rate = sample_rate
        self.network = nn.Identity()

    def views(self, clip, start, end):
        return [self.view(clip, start, end, *self.bounds(clip, start, end))]

    def load(self, clip, view):
        return torch.from_numpy(self.sound(clip, *view.indices[:2]))

    def forward(self, batch):
        return batch.square().mean(dim=1, keepdim=True), None


def tone(hertz, rate, seconds=1.0):
    clip = FakeClip(seconds=seconds, sample_rate=rate)
    clip.sound = (0.5 * np.sin(2 * np.pi * hertz * np.arange(clip.n_samples) / rate)).astype(np.float32)
    return clip


@pytest.mark.parametrize(("stored", "heard"), [(48_000, 32_000), (44_100, 32_000), (96_000, 48_000), (22_050, 16_000)])
def test_a_window_has_the_samples_of_the_whole(stored, heard):
    clip, ear = FakeClip(seconds=1.5, sample_rate=stored), Ear(heard)
    whole = _resampler(stored, heard)(torch.from_numpy(clip.sound)).numpy()
    assert len(whole) == ear.bounds(clip, 0, 1.5)[1] == round(1.5 * heard)
    for first, last in [(0, len(whole)), (0, 1), (7, 8), (1001, 5003), (len(whole) - 333, len(whole))]:
        part = ear.sound(clip, first, last)
        assert part.dtype == np.float32 and part.shape == (last - first,)
        np.testing.assert_allclose(part, whole[first:last], atol=1e-5)


def test_the_rate_of_the_shard_is_taken_as_it_is():
    clip = FakeClip()
    np.testing.assert_array_equal(Ear(32_000).sound(clip, 100, 900), clip.sound[100:900])


def test_resampling_keeps_what_the_network_hears_and_nothing_above():
    ear = Ear(32_000)
    heard = ear.sound(tone(14_000, 48_000), 1000, 31_000)
    np.testing.assert_allclose(heard, 0.5 * np.sin(2 * np.pi * 14_000 * np.arange(1000, 31_000) / 32_000), atol=1e-4)
    above = ear.sound(tone(18_000, 48_000), 1000, 31_000)  # would be heard as 14 kHz
    assert np.abs(above).max() < 1e-4


@pytest.mark.parametrize("rate", [32_000, 44_100, 48_000])
def test_bounds_are_on_the_clock_of_the_clip(rate):
    clip, ear = FakeClip(seconds=2, start=3.5, sample_rate=rate), Ear(32_000)
    cover = ear.cover(clip)
    assert (cover.start_seconds, cover.end_seconds) == (3.5, 5.5)
    assert ear.bounds(clip, 3.5, 5.5) == (0, 64_000)
    assert ear.bounds(clip, 4.5, 4.75) == (32_000, 40_000)
    assert ear.bounds(clip, 5.5 - 1e-7, 5.5) == (63_999, 64_000)
    view = ear.view(clip, 4.5, 4.75, 31_000, 33_000)  # hangs over the item's start
    assert (view.start_seconds, view.end_seconds) == (4.5, 3.5 + 33_000 / 32_000)
    assert view.indices.tolist() == [31_000, 33_000, 32_000, 40_000]


def test_a_shard_of_a_lower_rate_is_refused():
    with pytest.raises(FeatureError, match=r"only 32000; set `decode.sample_rate: 48000` or more"):
        Ear(48_000).plan(FakeClip(), None, None)


@pytest.mark.parametrize("status", ["missing", "unreadable"])
def test_no_sound_has_its_reason(status):
    plan = Ear(48_000).plan(FakeClip(status=status, reason="why"), None, None)
    assert plan == ([], status, "why")


def write_sound(path, samples, rate, layout):
    """Write float32 [C, n] samples as WAV."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("pcm_f32le", rate=rate, layout=layout)
        assert isinstance(stream, av.AudioStream)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T).reshape(1, -1), format="flt", layout=layout)
        frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), 0
        out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return str(path)


@pytest.fixture(scope="module")
def shard(tmp_path_factory):
    """A decoded shard at 48 kHz, for networks of any rate."""
    folder = tmp_path_factory.mktemp("awkward")
    chord = {rate: tone(440, rate, 1.25).sound + 0.5 * tone(1234, rate, 1.25).sound for rate in (8_000, 48_000)}
    noise = FakeClip(seconds=1.25, sample_rate=48_000).sound
    six = 2 * np.stack([2 * chord[48_000], noise, -noise, chord[48_000], 2 * noise, -2 * noise])
    files = {
        "plain": (chord[48_000][None], 48_000, "mono"),
        "8 kHz": (chord[8_000][None], 8_000, "mono"),
        "6 channels": (six, 48_000, "5.1"),
        "silence": (np.zeros((1, 60_000), np.float32), 48_000, "mono"),
        "brief": (chord[48_000][None, :2400], 48_000, "mono"),
        "one sample": (np.full((1, 1), 0.5, np.float32), 48_000, "mono"),
    }
    paths = [write_sound(folder / f"{i}.wav", *file) for i, file in enumerate(files.values())]
    clips = pl.DataFrame(
        {
            "clip": [f"{i:016x}" for i in range(len(paths))],
            "video": "",
            "audio": paths,
            "bytes": [Path(path).stat().st_size for path in paths],
            "sha256": None,
        }
    )
    decode = {key: rule["default"] for key, rule in config.schema("decode")["properties"].items()}
    decode_shard(clips, folder / "shard.zarr.zip", decode | {"sample_rate": 48_000}, 1)
    return folder / "shard.zarr.zip", dict(zip(files, clips["clip"], strict=True))


CHEAP = {
    "passt": {"architecture": "passt_s_p16_s16_128_ap468"},
    "openl3_audio": {"hop_seconds": 0.5},
    "logmel": {"architecture": "test_efficientnet.r160_in1k", "sample_rate": 44_100},
}


@pytest.mark.parametrize("kind", CHEAP)
def test_awkward_sound_gives_a_right_answer_or_says_why(kind, shard, tmp_path):
    path, clips = shard
    rows = items(*((name, clip, None, None) for name, clip in clips.items()))
    extract.extract_features(rows, path, tmp_path / "out.h5", settings(kind, **CHEAP[kind]), 1, "cpu")
    with FeatureShard(tmp_path / "out.h5") as features:
        rows = {name: features.embedding[i] for i, name in enumerate(features.items)}
        status = dict(zip(features.items, features.status, strict=True))
        assert np.isfinite(features.embedding).all()
    assert [status[name] for name in ("plain", "8 kHz", "6 channels", "silence")] == ["ok"] * 4
    assert status["brief"] == status["one sample"] == "short"
    scale = np.abs(rows["plain"] - rows["silence"]).max()
    assert scale > 1e-3
    np.testing.assert_allclose(rows["6 channels"], rows["plain"], atol=0.01 * scale)  # their mean is the same sound
    assert np.abs(rows["8 kHz"] - rows["plain"]).max() < 0.1 * scale  # lacks nothing that is in this sound


@pytest.mark.parametrize("kind", CHEAP)
@pytest.mark.parametrize("sample", [np.nan, np.inf])
def test_sound_that_is_not_finite_stops_with_the_item(kind, sample, tmp_path, monkeypatch):
    """Not one such sample is lost on the way, in a clamp or a maximum."""
    clip = FakeClip(seconds=1.5, sample_rate=48_000)
    clip.sound[30_000] = sample
    monkeypatch.setattr(extract, "_open", lambda source, path: FakeShard({"c": clip}))
    rows = items(("the item", "c", None, None))
    with pytest.raises(FeatureError, match="'the item'"):
        extract.extract_features(rows, tmp_path, tmp_path / "out.h5", settings(kind, **CHEAP[kind]), 1, "cpu")
    assert list(tmp_path.iterdir()) == []

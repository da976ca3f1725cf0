"""Sound: mono, its rate, where it lies on the clip's clock, what is missing or broken."""

from fractions import Fraction

import av
import numpy as np
import pytest
from media_files import numbered, write_sound, write_video
from scipy.io import wavfile

RATE = 16000


def tone(seconds, rate, hertz=440, peak=0.5):
    """Return int16 [1, n]."""
    return (np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate) * peak * 32767).astype(np.int16)[None]


def test_resampling_keeps_a_tone(tmp_path, decoded):
    clip = decoded("", write_sound(tmp_path / "tone.wav", "pcm_s16le", tone(1, 44100), 44100))
    assert clip.video["status"] == "missing"
    assert clip.audio["status"] == "ok"
    assert abs(len(clip.waveform) - 32000) <= 1
    middle = slice(1000, 31000)  # the filter rings at both ends
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(len(clip.waveform)) / 32000)
    np.testing.assert_allclose(clip.waveform[middle], expected[middle], atol=1e-3)


@pytest.mark.parametrize("codec", ["pcm_s16le", "aac"])
def test_mono_is_the_mean_of_the_channels(tmp_path, decoded, codec):
    """Equal channels sound as loud in stereo as alone, whatever the codec; opposite ones cancel."""
    one = tone(1, RATE)
    name = "sound.mka"
    levels = {}
    for kind, samples in {"mono": one, "equal": np.vstack([one, one]), "half": np.vstack([one, one * 0])}.items():
        clip = decoded("", write_sound(tmp_path / name, codec, samples, RATE), sample_rate=RATE)
        levels[kind] = clip.waveform[2000:14000].std()
    assert levels["mono"] == pytest.approx(0.5 / np.sqrt(2), rel=0.03)
    assert levels["equal"] == pytest.approx(levels["mono"], rel=0.03)
    assert levels["half"] == pytest.approx(levels["mono"] / 2, rel=0.03)


@pytest.mark.parametrize("start", [0.0, 0.75])
def test_sound_and_picture_share_a_clock(tmp_path, decoded, start):
    click = np.zeros((1, RATE), np.int16)
    click[0, 4000] = 30000
    path = write_video(
        tmp_path / "clip.mkv",
        [numbered(i) for i in range(50)],
        options={"bf": "0"},
        sound=("pcm_s16le", click, RATE, start),
    )
    clip = decoded(path, sample_rate=RATE)
    assert clip.audio_start_seconds == pytest.approx(start, abs=1e-3)
    heard = clip.audio_start_seconds + np.abs(clip.waveform).argmax() / RATE
    assert heard == pytest.approx(start + 0.25, abs=1e-3)
    np.testing.assert_allclose(clip.times, np.arange(50) / 25, atol=1e-3)


def test_a_hole_is_filled_with_silence(tmp_path, decoded):
    path = tmp_path / "hole.mka"
    samples = tone(0.5, RATE)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=RATE, layout="mono")
        for start in (0.0, 1.5):
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            frame.sample_rate, frame.time_base, frame.pts = RATE, Fraction(1, RATE), round(start * RATE)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    clip = decoded("", path, sample_rate=RATE)
    assert abs(len(clip.waveform) - 2 * RATE) <= 1
    assert not clip.waveform[RATE // 2 + 50 : RATE * 3 // 2 - 50].any()
    np.testing.assert_allclose(clip.waveform[-8000:], samples[0] / 32768, atol=1e-3)
    assert clip.audio["info"]["n_samples_filled"] == pytest.approx(RATE, abs=1)


def test_many_small_holes_do_not_shift_what_follows(tmp_path, decoded):
    path = tmp_path / "holes.mka"
    piece, hole, count = 0.1, 0.06, 50
    samples = tone(piece, RATE)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=RATE, layout="mono")
        for i in range(count):
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            frame.sample_rate, frame.time_base = RATE, Fraction(1, RATE)
            frame.pts = round(i * (piece + hole) * RATE)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    clip = decoded("", path, sample_rate=RATE)
    lasts = (count - 1) * (piece + hole) + piece
    assert abs(len(clip.waveform) / RATE - lasts) <= 0.1


def test_sound_that_ends_before_the_video_is_short(tmp_path, decoded):
    frames = [numbered(i) for i in range(50)]
    path = write_video(tmp_path / "clip.mp4", frames, sound=("aac", tone(1, RATE), RATE, 0.0))
    clip = decoded(path)
    assert clip.video["status"] == "ok"
    assert clip.audio["status"] == "short"
    assert "the video goes on until 2.00 s" in clip.audio["reason"]
    assert clip.audio["info"]["n_samples"] == len(clip.waveform)


def test_streams_without_a_file_are_missing(tmp_path, decoded):
    clip = decoded(write_video(tmp_path / "silent.mp4", [numbered(1)] * 5), "")
    assert (clip.audio["status"], clip.audio["reason"]) == ("missing", "the manifest names no audio file")
    assert clip.video["status"] == "ok"
    clip = decoded("", write_sound(tmp_path / "sound.wav", "pcm_s16le", tone(1, RATE), RATE))
    assert (clip.video["status"], clip.video["reason"]) == ("missing", "the manifest names no video file")
    assert clip.times.size == 0


def test_damaged_packets_of_sound_are_counted(tmp_path, decoded):
    rng = np.random.default_rng(0)
    path = write_sound(tmp_path / "sound.mp4", "aac", rng.integers(-9999, 9999, (1, 2 * RATE), np.int16), RATE)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 600] = b"\xff" * 600
    path.write_bytes(data)
    clip = decoded("", path)
    assert clip.audio["status"] == "damaged"
    assert "packets are damaged" in clip.audio["reason"]
    assert 32000 < len(clip.waveform) <= 65536


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_samples_that_are_no_sound_are_silent_and_counted(tmp_path, decoded, dtype):
    """In one channel of a file of floats, some with wrong exponents; the resampler would spread them."""
    clean = np.repeat(tone(2, 44_100).T.astype(dtype) / 2**15, 2, axis=1)
    broken = clean.copy()
    broken[30_000:30_005, 1] = np.nan, np.inf, -np.inf, 3e38, -1e30
    clean[30_000:30_005, 1] = 0
    for name, samples in (("clean", clean), ("broken", broken)):
        wavfile.write(tmp_path / f"{name}.wav", 44_100, samples)
    reference, clip = decoded("", tmp_path / "clean.wav"), decoded("", tmp_path / "broken.wav")
    assert (reference.audio["status"], clip.audio["status"]) == ("ok", "damaged")
    assert clip.audio["reason"].startswith("5 samples are NaN or absurdly large, there is silence in their place")
    np.testing.assert_array_equal(clip.waveform, reference.waveform)

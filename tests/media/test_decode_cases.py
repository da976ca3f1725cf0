"""The files that decoders disagree about, made in code: which decoder reads them, and that it reads them rightly."""

import random
from collections.abc import Sequence

import av
import cv2
import numpy as np
import pytest
from av.stream import Disposition
from media_files import HEIGHT, WIDTH, copy_packets, numbered, numbers, write_sound, write_video

from braid.media import probe

N = 60
COUNT = [numbered(i) for i in range(N)]
NO_BFRAMES = {"bf": "0"}


def check_all_frames(clip, decoder, times, shown: Sequence[int] = range(N)):
    assert (clip.video["status"], clip.video["reason"]) == ("ok", "")
    assert clip.info["decoder"] == decoder, clip.info["decoder_reason"]
    assert numbers(clip.frames) == list(shown)
    assert clip.info["n_frames"] == len(shown)
    np.testing.assert_allclose(clip.times, times, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("h264.mp4", "libx264", {"bf": "3"}),
        ("h264.mkv", "libx264", {"bf": "3"}),
        ("hevc.mp4", "libx265", {"x265-params": "log-level=none"}),
        ("vp9.webm", "libvpx-vp9", {"cpu-used": "8", "deadline": "realtime"}),
        ("mpeg4.mp4", "mpeg4", NO_BFRAMES),
    ],
)
def test_decord_reads_what_it_reads_rightly(tmp_path, decoded, name, codec, options):
    clip = decoded(write_video(tmp_path / name, COUNT, codec, options=options))
    check_all_frames(clip, "decord", np.arange(N) / 25)
    assert clip.audio["status"] == "missing"


@pytest.mark.parametrize(
    ("name", "codec", "options", "start", "why"),
    [
        ("packets.ts", "libx264", {"bf": "3"}, 2 / 25, "container mpegts"),
        ("divx.avi", "mpeg4", {"bf": "2"}, 1 / 25, "container avi"),
        ("divx.mp4", "mpeg4", {"bf": "2"}, 0, "MPEG-4 with B-frames"),
        ("h264.avi", "libx264", NO_BFRAMES, 1 / 25, "container avi"),
        ("av1.mkv", "libsvtav1", {"preset": "12", "svtav1-params": "log-level=0"}, 0, "codec av1"),
    ],
)
def test_pyav_reads_the_rest(tmp_path, decoded, name, codec, options, start, why):
    clip = decoded(write_video(tmp_path / name, COUNT, codec, options=options))
    check_all_frames(clip, "pyav", start + np.arange(N) / 25)
    assert why in clip.info["decoder_reason"]


def test_an_edit_list_trims(tmp_path, decoded):
    whole = write_video(tmp_path / "whole.mp4", COUNT, options=NO_BFRAMES)
    ticks = round(10 / 25 * 12800)
    cut = copy_packets(
        whole, tmp_path / "cut.mp4", lambda *_: True, shift=ticks, container={"avoid_negative_ts": "disabled"}
    )
    clip = decoded(cut)
    check_all_frames(clip, "pyav", np.arange(N - 10) / 25, shown=range(10, N))
    assert clip.info["n_packets_trimmed"] == 10


def test_frames_that_a_cut_made_undecodable_are_not_repeated(tmp_path, decoded):
    """A cut at an open group of pictures leaves packets without reference; decord shows the last frame for them."""
    options = {"x265-params": "open-gop=1:keyint=20:min-keyint=20:bframes=4:scenecut=0:log-level=none"}
    whole = write_video(tmp_path / "whole.mkv", COUNT, "libx265", options=options)
    keys = []

    def from_second_key(number, packet):
        if packet.is_keyframe:
            keys.append(number)
        return len(keys) > 1

    clip = decoded(copy_packets(whole, tmp_path / "cut.mkv", from_second_key))
    shown = numbers(clip.frames)
    assert shown == list(range(shown[0], N))
    assert clip.info["n_packets"] > len(shown)
    assert clip.info["decoder"] == "pyav"
    assert "repeats its last picture" in clip.info["decoder_reason"]
    np.testing.assert_allclose(clip.times, np.array(shown) / 25, atol=1e-3)


def test_equal_pictures_at_the_end_are_still_decords(tmp_path, decoded):
    still = [numbered(i) for i in (1, 2, 3, 3, 3)]
    clip = decoded(write_video(tmp_path / "still.mp4", still, options={"crf": "0"}))
    check_all_frames(clip, "decord", np.arange(5) / 25, shown=[1, 2, 3, 3, 3])


@pytest.mark.parametrize("decoder", ["decord", "pyav"])
def test_variable_frame_rate(tmp_path, decoded, decoder):
    times = np.cumsum(np.random.default_rng(0).integers(10, 200, N)) / 1000
    clip = decoded(write_video(tmp_path / "vfr.mp4", COUNT, times=times.tolist(), options=NO_BFRAMES), decoder=decoder)
    check_all_frames(clip, decoder, times)


@pytest.mark.parametrize("decoder", ["decord", "pyav"])
@pytest.mark.parametrize("short_side", [0, 96])
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_frames_are_upright(tmp_path, decoded, rotation, short_side, decoder):
    corner = np.full((192, 256, 3), 40, np.uint8)
    corner[:96, :128] = 200
    path = write_video(tmp_path / "turned.mp4", [corner] * 3, rotation=rotation)
    clip = decoded(path, decoder=decoder, short_side=short_side)
    assert clip.info["decoder"] == decoder
    reference = cv2.VideoCapture(str(path)).read()[1]  # applies the rotation
    size = (reference.shape[1], reference.shape[0]) if short_side == 0 else ((128, 96), (96, 128))[rotation % 180 == 90]
    assert clip.frames.shape[1:3] == size[::-1]
    small = cv2.resize(reference, size, interpolation=cv2.INTER_AREA)
    assert np.abs(clip.frames[0].astype(int) - small).mean() < 4


def test_scaled_frames_of_both_decoders_agree(tmp_path, decoded):
    rng = np.random.default_rng(0)
    noise = [cv2.resize(rng.integers(0, 255, (24, 32, 3), np.uint8), (320, 240)) for _ in range(5)]
    path = write_video(tmp_path / "noise.mp4", noise)
    first, second = (decoded(path, short_side=90, decoder=decoder).frames for decoder in ("decord", "pyav"))
    assert first.shape == second.shape == (5, 90, 120, 3)
    assert np.abs(first.astype(int) - second).mean() < 3


@pytest.mark.parametrize("pixel_format", ["yuv420p10le", "yuv444p", "yuvj420p"])
def test_pixel_formats(tmp_path, decoded, pixel_format):
    path = write_video(tmp_path / "format.mp4", COUNT[:10], pixel_format=pixel_format, options={"crf": "5"})
    clip = decoded(path)
    assert numbers(clip.frames) == list(range(10))
    np.testing.assert_allclose(clip.frames[7].astype(int), COUNT[7], atol=6)
    if pixel_format == "yuv420p10le":
        assert clip.info["decoder"] == "pyav"
        assert "10-bit" in clip.info["decoder_reason"]


def test_colours_of_bt709_and_full_range(tmp_path, decoded):
    """The matrix and range that the file states are applied, by both decoders."""
    colour = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    colour[:] = 220, 60, 30
    for matrix, (y, cb, cr) in {
        "bt709": (0.2126 * 220 + 0.7152 * 60 + 0.0722 * 30, 1.8556, 1.5748),
        "smpte170m": (0.299 * 220 + 0.587 * 60 + 0.114 * 30, 1.772, 1.402),
    }.items():
        planes = np.empty((HEIGHT * 3 // 2, WIDTH), np.uint8)
        planes[:HEIGHT] = round(16 + y * 219 / 255)
        planes[HEIGHT : HEIGHT * 5 // 4] = round(128 + (30 - y) / cb * 224 / 255)
        planes[HEIGHT * 5 // 4 :] = round(128 + (220 - y) / cr * 224 / 255)
        path = tmp_path / f"{matrix}.mp4"
        with av.open(str(path), "w") as out:
            stream = out.add_stream("libx264", rate=25, options={"crf": "1", "x264-params": f"colormatrix={matrix}"})
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            for _ in range(3):
                out.mux(stream.encode(av.VideoFrame.from_ndarray(planes, format="yuv420p")))
            out.mux(stream.encode())
        for decoder in ("decord", "pyav"):
            frames = decoded(path, decoder=decoder).frames
            np.testing.assert_allclose(frames.reshape(-1, 3).mean(axis=0), (220, 60, 30), atol=3, err_msg=matrix)


def test_a_file_cut_off_is_damaged(tmp_path, decoded):
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8) for _ in range(N)]
    whole = write_video(tmp_path / "whole.mp4", frames, options=NO_BFRAMES, container={"movflags": "faststart"})
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    clip = decoded(cut)
    reader, count = cv2.VideoCapture(str(cut)), 0
    while reader.read()[0]:
        count += 1
    assert clip.video["status"] == "damaged"
    assert "cut off" in clip.video["reason"]
    assert 0 < clip.info["n_frames"] < N
    assert abs(clip.info["n_frames"] - count) <= 1


def test_concealed_damage_is_not_taken_for_frames(tmp_path, decoded):
    """Both decoders paint over errors; PyAV says so, and decord's clip is given to it."""
    whole = write_video(tmp_path / "whole.mp4", [np.roll(numbered(93), i, 1) for i in range(N)], options=NO_BFRAMES)
    data = bytearray(whole.read_bytes())
    chance = random.Random(0)
    for position in range(len(data) // 3, len(data) // 3 + 60):
        data[position] = chance.randrange(256)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(data)
    clip = decoded(broken)
    assert clip.info["decoder"] == "pyav"
    assert clip.video["status"] == "damaged"
    assert "damaged" in clip.video["reason"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "not a media file"), (b"plain text\n" * 50, "not a media file"), (None, "does not exist")],
)
def test_what_is_no_media_file_is_unreadable(tmp_path, decoded, content, reason):
    path = tmp_path / "clip.mp4"
    if content is not None:
        path.write_bytes(content)
    clip = decoded(path)
    for stream in (clip.video, clip.audio):
        assert stream["status"] == "unreadable"
        assert reason in stream["reason"]


def test_a_file_whose_index_is_lost_is_unreadable(tmp_path, decoded):
    whole = write_video(tmp_path / "whole.mp4", COUNT)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert decoded(cut).video["status"] == "unreadable"


def test_a_forced_decoder(tmp_path, decoded):
    clip = decoded(write_video(tmp_path / "packets.ts", COUNT), decoder="decord")
    assert clip.video["status"] == "unreadable"
    assert "container mpegts" in clip.video["reason"]
    assert "decode.decoder" in clip.video["reason"]
    clip = decoded(write_video(tmp_path / "plain.mp4", COUNT, options=NO_BFRAMES), decoder="pyav")
    check_all_frames(clip, "pyav", np.arange(N) / 25)


def test_a_cover_picture_is_no_video(tmp_path, decoded):
    path = tmp_path / "song.mp3"
    samples = (np.sin(np.arange(44100) / 10) * 8000).astype(np.int16)[None]
    with av.open(str(path), "w") as out:
        sound = out.add_stream("libmp3lame", rate=44100, layout="mono")
        cover = out.add_stream("mjpeg", rate=25)
        cover.width, cover.height, cover.pix_fmt = WIDTH, HEIGHT, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        out.mux(cover.encode(av.VideoFrame.from_ndarray(numbered(3), format="rgb24")))
        out.mux(cover.encode())
        for begin in range(0, samples.shape[1], 1152):
            frame = av.AudioFrame.from_ndarray(samples[:, begin : begin + 1152], format="s16", layout="mono")
            frame.sample_rate, frame.pts = 44100, begin
            out.mux(sound.encode(frame))
        out.mux(sound.encode())
    clip = decoded(path)
    assert clip.video["status"] == "missing"
    assert clip.audio["status"] == "ok"


def test_of_two_video_streams_the_default_is_read(tmp_path, decoded):
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as out:
        streams = []
        for _ in range(2):
            stream = out.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            streams.append(stream)
        streams[0].disposition, streams[1].disposition = Disposition.comment, Disposition.default
        for i in range(10):
            for stream, number in zip(streams, (i, i + 100), strict=True):
                out.mux(stream.encode(av.VideoFrame.from_ndarray(numbered(number), format="rgb24")))
        for stream in streams:
            out.mux(stream.encode())
    clip = decoded(path)
    assert numbers(clip.frames) == list(range(100, 110))
    assert clip.info["stream"] == 1
    assert "several video streams" in clip.info["decoder_reason"]


def test_metadata_that_is_not_utf8(tmp_path, decoded):
    path = write_video(tmp_path / "named.avi", COUNT, "mpeg4", metadata={"title": "TITLETITLE"})
    path.write_bytes(path.read_bytes().replace(b"TITLETITLE", b"\xff\xfe\xe4\xf6\xfc TIT\xc3"))
    with pytest.raises(UnicodeDecodeError):
        av.open(str(path))
    check_all_frames(decoded(path), "pyav", np.arange(N) / 25)


def test_frames_without_times_are_spaced_by_the_frame_rate(tmp_path, decoded):
    raw = tmp_path / "raw.h264"
    whole = write_video(tmp_path / "whole.h264", COUNT, options=NO_BFRAMES)
    raw.write_bytes(whole.read_bytes())
    clip = decoded(raw)
    assert numbers(clip.frames) == list(range(N))
    assert (np.diff(clip.times) > 0).all()
    np.testing.assert_allclose(np.diff(clip.times), 1 / 25, atol=1e-3)


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (17, 33)])
def test_tiny_and_odd_sizes(tmp_path, decoded, size):
    height, width = size
    frames = [np.full((height, width, 3), level, np.uint8) for level in (60, 120, 180)]
    clip = decoded(write_video(tmp_path / "tiny.mp4", frames, pixel_format="yuv444p", options={"crf": "1"}))
    assert clip.frames.shape == (3, height, width, 3)
    np.testing.assert_allclose(clip.frames.mean(axis=(1, 2, 3)), (60, 120, 180), atol=4)


def test_a_video_that_ends_before_its_sound_is_short(tmp_path, decoded):
    video = write_video(tmp_path / "clip.mp4", COUNT)
    seconds = N / 25
    long = write_sound(tmp_path / "long.wav", "pcm_s16le", np.zeros((1, round(16000 * (seconds + 1))), np.int16), 16000)
    equal = write_sound(tmp_path / "equal.wav", "pcm_s16le", np.zeros((1, round(16000 * seconds)), np.int16), 16000)
    clip = decoded(video, long)
    assert clip.video["status"] == "short"
    assert "the sound goes on until 3.40 s" in clip.video["reason"]
    assert clip.audio["status"] == "ok"
    assert decoded(video, equal).video["status"] == "ok"


def test_large_files_are_pyavs(tmp_path, decoded, monkeypatch):
    monkeypatch.setattr(probe, "DECORD_BYTES", 1000)
    clip = decoded(write_video(tmp_path / "large.mp4", COUNT, options=NO_BFRAMES))
    check_all_frames(clip, "pyav", np.arange(N) / 25)
    assert "before its first frame" in clip.info["decoder_reason"]

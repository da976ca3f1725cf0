"""JPEG frames from the planes of the video: the same picture as by way of RGB, and not a worse one."""

import av
import cv2
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Interpolation
from media_files import HEIGHT, WIDTH, numbered, numbers, write_video

from braid.media.codec import Planes
from braid.media.frames import PyavFrames, full_chroma, full_luma

ACCURATE = Interpolation.BICUBIC | Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND
N = 6


def scenery(height, width):
    """Return frames like natural pictures, uint8 [N, H, W, 3]: the finer the weaker, colours smooth."""
    rng = np.random.default_rng(0)
    picture = np.zeros((height, width + N, 3), np.float32)
    for octave in range(1, 7):
        size = (2 << octave, 2 << octave)
        grey, colour = rng.standard_normal((*size, 1), np.float32), rng.standard_normal((*size, 3), np.float32)
        picture += cv2.resize(grey + 0.4 * colour * (octave < 5), (width + N, height)) / 2 ** (octave - 1)
    picture = np.clip(128 + 40 * picture, 0, 255).astype(np.uint8)
    return [picture[:, i : i + width] for i in range(N)]


def psnr(a, b):
    return 10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2))


@pytest.mark.parametrize("short_side", [0, 121])
def test_planes_are_nearer_to_the_video_than_rgb(tmp_path, decoded, short_side):
    """The reference is an exact conversion to RGB, scaled by area; all stored frames are JPEG of one quality."""
    path = write_video(tmp_path / "scenery.mp4", scenery(240, 320), options={"crf": "12"})
    changes = {"codec": "jpeg", "short_side": short_side}
    planes, rgb = decoded(path, **changes), decoded(path, **changes, decoder="decord")
    assert (planes.info["decoder"], rgb.info["decoder"]) == ("pyav", "decord")
    assert planes.frames.shape == rgb.frames.shape
    size = planes.frames.shape[2], planes.frames.shape[1]
    with av.open(str(path)) as container:
        exact = [frame.to_ndarray(format="rgb24", interpolation=ACCURATE) for frame in container.decode(video=0)]
    exact = np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in exact])
    assert psnr(planes.frames, exact) > max(38, psnr(rgb.frames, exact))
    assert np.abs(planes.frames.astype(int) - rgb.frames).mean() < 3


@pytest.mark.parametrize(
    ("pixel_format", "options", "rotation", "planes"),
    [
        ("yuv420p", {}, 0, True),
        ("yuvj420p", {}, 0, True),
        ("yuv420p", {"x264-params": "colormatrix=smpte170m"}, 0, True),
        ("yuv420p", {"x264-params": "colormatrix=bt709"}, 0, False),
        ("yuv420p", {"x264-params": "fullrange=on"}, 0, True),
        ("yuv444p", {}, 0, False),
        ("yuv420p10le", {}, 0, False),
        ("yuv420p", {}, 180, False),
    ],
)
@pytest.mark.parametrize("short_side", [0, 90])
def test_whatever_the_file_has_the_colours_stay(tmp_path, decoded, pixel_format, options, rotation, planes, short_side):
    """What JPEG has no planes for goes by way of RGB; both are the frames that are stored without loss."""
    path = tmp_path / "colours.mp4"
    write_video(path, scenery(192, 256), pixel_format=pixel_format, options={"crf": "8", **options}, rotation=rotation)
    assert {isinstance(frame, Planes) for _, frame in PyavFrames(str(path), short_side, planes=True)} == {planes}
    jpeg = decoded(path, codec="jpeg", jpeg_quality=98, short_side=short_side)
    exact = decoded(path, decoder="pyav", short_side=short_side)
    assert jpeg.frames.shape == exact.frames.shape
    assert np.abs(jpeg.frames.mean(axis=(0, 1, 2)) - exact.frames.mean(axis=(0, 1, 2))).max() < 2.5
    assert np.abs(jpeg.frames.astype(int) - exact.frames).mean() < 3


def test_the_range_is_stretched_as_the_standard_says():
    """BT.601: luma of 16 to 235 and colour differences of 16 to 240 fill 0 to 255; rows with gaps, as planes have."""
    levels = np.zeros((3, 512), np.uint8)
    levels[:, :256] = np.arange(256)
    levels = levels[:, :256]
    stored = levels.astype(float)
    for stretched, exact in (
        (full_luma(levels), (stored - 16) * 255 / 219),
        (full_chroma(levels), (stored - 128) * 255 / 224 + 128),
    ):
        assert stretched.dtype == np.uint8
        assert np.abs(stretched - np.clip(exact, 0, 255)).max() <= 0.5 + 1e-5
    assert full_luma(levels)[0, [0, 16, 235, 255]].tolist() == [0, 0, 255, 255]
    assert full_chroma(levels)[0, [0, 128, 255]].tolist() == [0, 128, 255]


@pytest.mark.parametrize(("short_side", "levels"), [(0, 1), (90, 2)])
def test_planes_are_those_of_swscale(tmp_path, short_side, levels):
    """swscale stretches the range while it scales and rounds colours down; braid does it after, to the nearest."""
    path = write_video(tmp_path / "scenery.mp4", scenery(192, 256), options={"crf": "12"})
    with av.open(str(path)) as container:
        for frame, (_, planes) in zip(container.decode(video=0), PyavFrames(str(path), short_side, True), strict=True):
            height, width = planes.shape
            reference = frame.reformat(
                width,
                height,
                "yuvj420p",
                interpolation="BILINEAR",
                src_color_range=ColorRange.MPEG,
                dst_color_range=ColorRange.JPEG,
            )
            for plane, other in zip(planes, reference.planes, strict=True):
                rows = np.frombuffer(memoryview(other), np.uint8).reshape(other.height, other.line_size)[
                    :, : other.width
                ]
                assert np.abs(plane.astype(int) - rows).max() <= levels


def test_an_odd_size(tmp_path, decoded):
    path = write_video(tmp_path / "count.mp4", [numbered(i) for i in range(40)])
    clip = decoded(path, codec="jpeg", short_side=51)
    assert clip.frames.shape == (40, 51, 68, 3)
    assert numbers(np.stack([cv2.resize(frame, (WIDTH, HEIGHT)) for frame in clip.frames])) == list(range(40))

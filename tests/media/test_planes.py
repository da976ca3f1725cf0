"""JPEG frames from the planes of the video: the same picture as by way of RGB, and not a worse one."""

import av
import cv2
import numpy as np
import pytest
from av.video.reformatter import Interpolation
from media_files import HEIGHT, WIDTH, numbered, numbers, write_video

from braid.media.codec import Planes
from braid.media.frames import PyavFrames

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


def test_an_odd_size(tmp_path, decoded):
    path = write_video(tmp_path / "count.mp4", [numbered(i) for i in range(40)])
    clip = decoded(path, codec="jpeg", short_side=51)
    assert clip.frames.shape == (40, 51, 68, 3)
    assert numbers(np.stack([cv2.resize(frame, (WIDTH, HEIGHT)) for frame in clip.frames])) == list(range(40))

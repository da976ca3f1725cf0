"""Real files beside the project, where they are: frames are counted again by OpenCV, which has its own FFmpeg."""

from pathlib import Path

import cv2
import numpy as np
import pytest

MEDIA = Path(__file__).parents[3] / "shared" / "media"
FILES = sorted(path for folder in ("labelled", "action", "odd") for path in (MEDIA / folder).glob("*"))
COUNTS = {"av1_video.mkv": 125, "corrupted.mp4": None, "with-attached-pic.mp3": 0, "nasa_13013.mp4": 390}
"""What OpenCV counts otherwise: it reads no AV1, stops at damage, takes a cover picture for video and, of two video
streams, the first instead of the larger."""


def opencv_count(path):
    reader = cv2.VideoCapture(str(path))
    count, shape = 0, None
    while True:
        good, frame = reader.read()
        if not good:
            return count, shape
        count, shape = count + 1, frame.shape[:2]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_frames_are_those_that_opencv_counts(path, decoded):
    clip = decoded(path, codec="jpeg", short_side=64)
    count, shape = opencv_count(path)
    count = COUNTS.get(path.name, count)
    if count is not None:
        assert len(clip.times) == len(clip.frames) == count
    if path.name == "corrupted.mp4":
        assert clip.video["status"] == "damaged"
    elif count:
        assert clip.video["status"] == "ok", clip.video["reason"]
        assert (np.diff(clip.times) > 0).all()
    else:
        assert clip.video["status"] == "missing"
    if shape and count:
        assert (clip.info["height"] > clip.info["width"]) == (shape[0] > shape[1])

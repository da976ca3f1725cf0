import tempfile

import numpy as np
import pytest

from braid.media.clip import decode_clip
from braid.media.codec import decode


class Decoded:
    """A clip decoded in this process: what a shard would hold of it."""

    def __init__(self, record, data, settings):

        self.video, self.audio = record["video"], record["audio"]
        self.info = self.video["info"]
        self.audio_start_seconds = record["audio_start_seconds"]

        def array(name, dtype):
            begin, length = record["arrays"].get(name, (0, 0))
            return np.frombuffer(data, dtype, length, begin)

        self.times = array("times", np.float64)
        self.waveform = array("waveform", np.float32)
        offsets = array("offsets", np.int64)
        self.frames = np.zeros((len(self.times), self.info.get("height", 0), self.info.get("width", 0), 3), np.uint8)
        for i, frame in enumerate(self.frames):
            decode(data[offsets[i] : offsets[i + 1]], settings["codec"], frame)


@pytest.fixture(scope="session")
def settings():
    return {
        "short_side": 0,
        "codec": "lossless",
        "jpeg_quality": 90,
        "sample_rate": 32000,
        "decoder": "auto",
        "timeout_seconds": 60,
    }


@pytest.fixture(scope="session")
def decoded(settings):
    """Decode a clip in this process; `audio` is the same file unless it is given."""

    def run(video, audio=None, **changes):
        chosen = settings | changes
        with tempfile.TemporaryFile(buffering=0) as file:
            record = decode_clip(str(video), str(video if audio is None else audio), chosen, file, lambda: None)
            file.seek(0)
            return Decoded(record, file.read(), chosen)

    return run

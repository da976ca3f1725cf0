"""A shard of odd files: every good clip is kept, and each of the others says what is wrong with it."""

import numpy as np
import polars as pl
import pytest
from media_files import numbered, numbers, write_video

from braid.media.decode import decode_shard
from braid.store.decoded import DecodedShard

RATE, N = 16000, 30
FRAMES = [numbered(i) for i in range(N)]
HUM = (np.sin(np.arange(RATE * N // 25) / 20) * 8000).astype(np.int16)[None]
SOUND = ("aac", HUM, RATE, 0.0)


@pytest.fixture
def folder(tmp_path):
    """Return a folder of good and bad files, all named .mp4."""
    whole = write_video(tmp_path / "good.mp4", FRAMES, sound=SOUND)
    write_video(tmp_path / "silent.mp4", FRAMES)
    write_video(tmp_path / "turned.mp4", FRAMES, rotation=90, sound=SOUND)
    write_video(tmp_path / "film.mkv", FRAMES, sound=SOUND).rename(tmp_path / "really matroska.mp4")
    write_video(tmp_path / "film.avi", FRAMES, "mpeg4", sound=("pcm_s16le", HUM, RATE, 0.0)).rename(
        tmp_path / "really avi.mp4"
    )
    noise = np.random.default_rng(0).integers(0, 255, (N, 96, 128, 3), np.uint8)
    cut = write_video(tmp_path / "cut.mp4", noise, options={"bf": "0"}, container={"movflags": "faststart"})
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    (tmp_path / "no index.mp4").write_bytes(whole.read_bytes()[:2000])
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_text("This is not a film.\n" * 50)
    (tmp_path / "zeros.mp4").write_bytes(bytes(5000))
    (tmp_path / "folder.mp4").mkdir()
    return tmp_path


@pytest.mark.parametrize("codec", ["jpeg", "lossless"])
def test_a_shard_of_odd_files(folder, settings, codec):
    names = [*sorted(path.name for path in folder.glob("*.mp4")), "gone.mp4"]
    clips = pl.DataFrame({"clip": [f"{i:016x}" for i in range(len(names))], "name": names}).with_columns(
        pl.format("{}/{}", pl.lit(str(folder)), "name").alias("video"),
        pl.format("{}/{}", pl.lit(str(folder)), "name").alias("audio"),
        pl.lit(None, pl.Int64).alias("bytes"),
        pl.lit(None, pl.String).alias("sha256"),
    )
    path = folder / "shard.zarr.zip"
    decode_shard(clips, path, settings | {"codec": codec, "sample_rate": RATE}, 2)
    with DecodedShard(path) as shard:
        clip = {name: shard[key] for key, name in clips.select("clip", "name").iter_rows()}
        for name in ("good.mp4", "silent.mp4", "really matroska.mp4", "really avi.mp4"):
            assert (clip[name].video.status, clip[name].video.reason) == ("ok", ""), name
            assert numbers(clip[name].frames(slice(None))) == list(range(N)), name
        assert clip["turned.mp4"].video.status == "ok"
        assert clip["turned.mp4"].frames(slice(None)).shape == (N, 128, 96, 3)
        for name in ("good.mp4", "turned.mp4", "really matroska.mp4", "really avi.mp4"):
            assert clip[name].audio.status == "ok", name
            assert abs(clip[name].n_samples - HUM.shape[1]) <= 2048, name  # AAC works in blocks
            assert clip[name].waveform().std() == pytest.approx(8000 / 32768 / np.sqrt(2), rel=0.05), name
        assert (clip["silent.mp4"].audio.status, clip["silent.mp4"].audio.reason) == (
            "missing",
            "the file has no sound stream",
        )
        assert clip["cut.mp4"].video.status == "damaged"
        assert "the file is cut off" in clip["cut.mp4"].video.reason
        assert N // 4 < len(clip["cut.mp4"].times) < N
        for name, why in {
            "no index.mp4": "not a media file",
            "empty.mp4": "not a media file",
            "text.mp4": "not a media file",
            "zeros.mp4": "not a media file",
            "folder.mp4": "does not exist",
            "gone.mp4": "does not exist",
        }.items():
            for stream in (clip[name].video, clip[name].audio):
                assert stream.status == "unreadable", name
                assert why in stream.reason, (name, stream.reason)

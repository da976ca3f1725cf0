import io
import json
import zipfile

import numpy as np
import pytest
import zarr
from zarr.storage import ZipStore

from braid.errors import StoreError
from braid.media import codec
from braid.store import decoded
from braid.store.decoded import DecodedShard, DecodedWriter

RATE = 1000
HEIGHT, WIDTH = 30, 42


def frames(n, seed=0):
    """Return smooth random frames, uint8 [n, H, W, 3]."""
    x = np.linspace(0, 1, WIDTH) + np.linspace(0, 1, HEIGHT)[:, None]
    phases = np.random.default_rng(seed).uniform(0, 6, (n, 1, 1, 3))
    return (127 + 100 * np.sin(4 * x[None, :, :, None] + phases)).astype(np.uint8)


def spooled(pictures, times, waveform, settings):
    """Return (record, spool) of a clip as a worker leaves it."""
    encode = codec.encoder(settings)
    encoded = [encode(picture) for picture in pictures]
    parts = {
        "frames": np.frombuffer(b"".join(encoded), np.uint8),
        "offsets": np.cumsum([0, *map(len, encoded)], dtype=np.int64),
        "times": np.asarray(times, np.float64),
        "waveform": np.asarray(waveform, np.float32),
    }
    spool, arrays = io.BytesIO(), {}
    for name, part in parts.items():
        arrays[name] = (spool.tell(), len(part))
        spool.write(part.tobytes())
    info = {"n_frames": len(pictures), "height": HEIGHT, "width": WIDTH}
    record = {
        "video": {"status": "ok", "reason": "", "info": info},
        "audio": {"status": "short", "reason": "it ends early", "info": {"n_samples": len(waveform)}},
        "audio_start_seconds": 0.25,
        "arrays": arrays,
    }
    return record, spool


def lost(reason):
    stream = {"status": "unreadable", "reason": reason, "info": {}}
    return {"video": stream, "audio": stream, "audio_start_seconds": 0.0}


@pytest.fixture(params=["lossless", "jpeg"])
def settings(request):
    return {"codec": request.param, "jpeg_quality": 95, "sample_rate": RATE}


@pytest.fixture
def shard(tmp_path, settings, monkeypatch):
    """Return (path, what clip `a` holds); clip `b` is lost. Chunks are small, so that arrays have many."""
    monkeypatch.setattr(decoded, "CHUNK_BYTES", 3000)
    pictures, times, waveform = frames(50), 3 + np.arange(50) / 7, np.linspace(-1, 1, 12345, dtype=np.float32)
    path = tmp_path / "shard.zarr.zip"
    with DecodedWriter(path, {"settings": settings, "versions": {"av": "1"}}) as writer:
        writer.append("b", lost("no such luck"), None)
        writer.append("a", *spooled(pictures, times, waveform, settings))
    return path, pictures, times, waveform


def test_round_trip(shard, settings):
    path, pictures, times, waveform = shard
    with DecodedShard(path) as read:
        assert read.clips == ("a", "b")
        assert read.attrs["settings"] == settings
        assert read.attrs["versions"] == {"av": "1"}
        clip = read["a"]
        assert (clip.video.status, clip.audio.status, clip.audio.reason) == ("ok", "short", "it ends early")
        assert clip.video.usable and clip.audio.usable
        assert (clip.sample_rate, clip.n_samples, clip.audio_start_seconds) == (RATE, len(waveform), 0.25)
        assert clip.times.dtype == np.float64
        np.testing.assert_array_equal(clip.times, times)
        np.testing.assert_array_equal(clip.waveform(), waveform)
        got = clip.frames(slice(None))
    assert (got.dtype, got.shape) == (np.uint8, pictures.shape)
    if settings["codec"] == "lossless":
        np.testing.assert_array_equal(got, pictures)
    else:
        error = np.mean((got.astype(float) - pictures) ** 2)
        assert 10 * np.log10(255**2 / error) > 36


@pytest.mark.parametrize(
    "indices", [[7], [49, 0, 49, 3], [-1, -50], slice(10, 3), slice(-5, None), slice(0, 50, 9), np.arange(20, 30), []]
)
def test_any_frames_in_any_order(shard, indices):
    path, *_ = shard
    with DecodedShard(path) as read:
        clip = read["a"]
        wanted = indices if isinstance(indices, slice) else np.array(indices, np.int64)
        np.testing.assert_array_equal(clip.frames(wanted), clip.frames(slice(None))[wanted])


def test_an_index_that_does_not_exist(shard):
    with DecodedShard(shard[0]) as read, pytest.raises(IndexError):
        read["a"].frames(np.array([50]))


@pytest.mark.parametrize(("start", "stop"), [(0, 10), (5000, 9000), (12000, 99999), (10, 10), (700, 3), (-5, None)])
def test_part_of_the_sound(shard, start, stop):
    path, _, _, waveform = shard
    with DecodedShard(path) as read:
        np.testing.assert_array_equal(read["a"].waveform(start, stop), waveform[start:stop])


def test_a_lost_clip_is_empty(shard):
    with DecodedShard(shard[0]) as read:
        clip = read["b"]
        assert not clip.video.usable and not clip.audio.usable
        assert clip.times.shape == clip.waveform().shape == (0,)
        with pytest.raises(StoreError, match="no such luck"):
            clip.frames(slice(None))


def test_a_clip_that_is_not_there(shard):
    with DecodedShard(shard[0]) as read, pytest.raises(StoreError, match=r"holds no clip c.*snakemake"):
        read["c"]


@pytest.mark.parametrize("kept", [0, 100, -1, -3000])
def test_a_truncated_shard_names_the_cure(shard, kept):
    path, *_ = shard
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(StoreError, match=r"shard\.zarr\.zip.*truncated.*delete it and run `snakemake`"):
        DecodedShard(path)


def test_damaged_bytes_inside_a_shard(shard):
    path, *_ = shard
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        at = archive.getinfo("a/frames/c/1").header_offset
    data[at + 100 : at + 300] = bytes(200)
    path.write_bytes(data)
    with DecodedShard(path) as read, pytest.raises(StoreError, match="delete it"):
        read["a"].frames(slice(None))


def test_foreign_files(tmp_path):
    missing, text, foreign = tmp_path / "missing", tmp_path / "text", tmp_path / "foreign.zarr.zip"
    text.write_text("not a shard")
    with ZipStore(foreign, mode="w") as store:
        zarr.create_group(store, attributes={"format": "another"})
    for path in (missing, text, foreign):
        with pytest.raises(StoreError, match=path.name):
            DecodedShard(path)


def test_a_failure_leaves_no_shard(tmp_path, settings):
    path = tmp_path / "shard.zarr.zip"
    with pytest.raises(RuntimeError), DecodedWriter(path, {"settings": settings}):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def rewritten(path, changes=None, compression=zipfile.ZIP_STORED, without=""):
    """Write the shard anew with other compression, without a part, or with metadata that claims other things."""
    with zipfile.ZipFile(path) as file:
        parts = {name: file.read(name) for name in file.namelist() if name != without}
    for name, change in (changes or {}).items():
        parts[name] = json.dumps(change(json.loads(parts[name]))).encode()
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, data in parts.items():
            file.writestr(name, data)


def test_a_shard_that_claims_more_than_it_has_fills_no_memory(shard):
    path, *_ = shard
    rewritten(path, {"a/waveform/zarr.json": lambda said: said | {"shape": [10**13]}})
    rewritten(path, {"index/zarr.json": lambda said: json.loads(json.dumps(said).replace("12345", str(10**13)))})
    with DecodedShard(path) as read:
        assert read["a"].n_samples == 10**13
        with pytest.raises(StoreError, match="claims more bytes than the file has"):
            read["a"].waveform(0, 10)


def test_a_lost_chunk_is_not_taken_for_zeros(shard):
    path, *_ = shard
    rewritten(path, without="a/waveform/c/0")
    with DecodedShard(path) as read, pytest.raises(StoreError, match="a/waveform/c/0"):
        read["a"].waveform()


def test_frames_larger_than_any_video_are_refused(shard):
    path, *_ = shard
    rewritten(
        path, {"index/zarr.json": lambda said: json.loads(json.dumps(said).replace(f": {HEIGHT},", ": 9999999,"))}
    )
    with DecodedShard(path) as read, pytest.raises(StoreError, match=f"claims frames of 9999999 × {WIDTH} pixels"):
        read["a"].frames(np.array([0]))


def test_compressed_parts_are_refused(shard):
    """A few bytes of them may unpack to any size."""
    rewritten(shard[0], compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(StoreError, match="a part of it is compressed"):
        DecodedShard(shard[0])

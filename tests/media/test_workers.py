"""Workers: a fault of a decoder costs one clip, a fault of the disk the shard, and nothing outlives the parent."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from media_files import numbered, numbers, write_video

from braid.errors import StoreError
from braid.media import pool
from braid.media.decode import decode_shard
from braid.store.decoded import DecodedShard

FAULTY = (sys.executable, str(Path(__file__).with_name("faulty_worker.py")))


def table(paths):
    names = [str(path) for path in paths]
    return pl.DataFrame(
        {"clip": [f"{i:016x}" for i in range(len(names))], "video": names, "audio": names},
    ).with_columns(pl.lit(None, pl.Int64).alias("bytes"), pl.lit(None, pl.String).alias("sha256"))


def make(folder, names, n=10):
    source = write_video(folder / "source.mp4", [numbered(i) for i in range(n)], options={"bf": "0"})
    paths = [folder / name for name in names]
    for path in paths:
        path.write_bytes(source.read_bytes())
    return paths


@pytest.fixture
def faulty(monkeypatch):
    def run(tasks, settings, workers, folder):
        return pool_run(tasks, settings, workers, folder, FAULTY)

    pool_run = pool.run
    monkeypatch.setattr(pool, "run", run)


@pytest.mark.parametrize("workers", [1, 2])
def test_each_fault_costs_one_clip(tmp_path, settings, faulty, workers):
    names = ["good 1.mp4", "crash.mp4", "exit.mp4", "hang.mp4", "error.mp4", "chatter.mp4", "slow.mp4", "good 2.mp4"]
    clips = table(make(tmp_path, names))
    decode_shard(clips, tmp_path / "s.zarr.zip", settings | {"timeout_seconds": 2}, workers)
    reasons = {}
    with DecodedShard(tmp_path / "s.zarr.zip") as shard:
        for key, name in zip(clips["clip"], names, strict=True):
            clip = shard[key]
            reasons[name] = clip.video.reason
            if clip.video.usable:
                assert numbers(clip.frames(slice(None))) == list(range(10))
            else:
                assert clip.video.status == clip.audio.status == "unreadable"
                assert len(clip.times) == clip.n_samples == 0
    assert "SIGSEGV" in reasons.pop("crash.mp4")
    assert "exit status 3" in reasons.pop("exit.mp4")
    assert "2 s (decode.timeout_seconds)" in reasons.pop("hang.mp4")
    assert "no such luck" in reasons.pop("error.mp4")
    assert set(reasons.values()) == {""}  # the slow one took 4 s and lived, since it made progress
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith((".", "tmp"))] == []


def test_a_slow_reader_of_outcomes_is_no_hang(tmp_path, settings):
    """While the caller stores a clip, nobody listens to the workers; that is not their silence."""
    paths = make(tmp_path, ["a.mp4", "slow 1.mp4", "slow 2.mp4", "b.mp4"])
    tasks = [pool.Task(path.stem, str(path), "") for path in paths]
    reasons = {}
    for outcome in pool.run(tasks, settings | {"timeout_seconds": 1.5}, 2, tmp_path, FAULTY):
        reasons[outcome.clip] = outcome.reason
        time.sleep(2.5)
    assert reasons == {path.stem: "" for path in paths}


def test_workers_do_not_change_what_is_decoded(tmp_path, settings):
    clips = table(make(tmp_path, [f"{i}.mp4" for i in range(5)]))
    read = []
    for workers in (1, 3):
        decode_shard(clips, tmp_path / "s.zarr.zip", settings, workers)
        with DecodedShard(tmp_path / "s.zarr.zip") as shard:
            read.append((shard.attrs, [shard[clip].frames(slice(None)) for clip in shard.clips]))
    assert read[0][0] == read[1][0]
    np.testing.assert_array_equal(read[0][1], read[1][1])


def test_any_file_name(tmp_path, settings):
    names = ["a b.mp4", 'it\'s "quoted".mp4', "semi;colon#hash.mp4", "-dash.mp4", "naïve 映像.mp4", "new\nline.mp4"]
    names += ["http:colon.mp4", "per%cent.mp4", "tab\t.mp4", "$HOME`ls`.mp4", "back\\slash.mp4", "%03d.mp4"]
    clips = table(make(tmp_path, names))
    decode_shard(clips, tmp_path / "s.zarr.zip", settings, 1)
    with DecodedShard(tmp_path / "s.zarr.zip") as shard:
        for key, name in zip(clips["clip"], names, strict=True):
            assert shard[key].video.status == "ok", name
            assert shard[key].video.info["decoder"] == "decord", (name, shard[key].video.info)
            assert numbers(shard[key].frames(slice(None))) == list(range(10))
            assert shard.attrs["clips"][key]["paths"]["video"].endswith(name)


def test_a_full_disk_stops_the_shard_and_leaves_nothing(tmp_path):
    make(tmp_path, ["a.mp4"], n=60)
    limit = 20_000  # bytes of a file; the clip takes more
    code = f"""
import resource
from pathlib import Path
from test_workers import table
from braid.media.decode import decode_shard
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
settings = dict(short_side=0, codec="jpeg", jpeg_quality=100, sample_rate=32000, decoder="auto", timeout_seconds=30)
decode_shard(table(["a.mp4"]), Path("out/s.zarr.zip"), settings, 1)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "StoreError" in done.stderr
    assert "File too large" in done.stderr.splitlines()[-1]
    assert list((tmp_path / "out").iterdir()) == []


def test_workers_die_with_their_parent(tmp_path):
    (clip,) = make(tmp_path, ["hang.mp4"])
    code = f"""
from pathlib import Path
from braid.media import pool
settings = dict(timeout_seconds=600)
for _ in pool.run([pool.Task("0" * 16, {str(clip)!r}, "")], settings, 1, Path({str(tmp_path)!r}), {FAULTY!r}):
    pass
"""
    parent = subprocess.Popen([sys.executable, "-c", code])
    note = clip.with_suffix(".pid")
    assert _soon(lambda: note.exists() and note.read_text())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert _soon(lambda: not Path(f"/proc/{note.read_text()}").exists())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hang.mp4", "hang.pid", "source.mp4"]


@pytest.mark.parametrize("decoder", ["decord", "pyav"])
def test_memory_does_not_grow_with_the_clip(tmp_path, settings, decoder):
    """Ten times the frames cost a few megabytes more: 16 bytes a frame and the decoder's own index."""
    frame = numbered(5, 320, 240)
    short = write_video(tmp_path / "short.mp4", [frame] * 100)
    long = write_video(tmp_path / "long.mp4", [frame] * 1000)
    peaks = []
    for path in (short, long):
        code = f"""
import resource, tempfile
from braid.media.clip import decode_clip
with tempfile.TemporaryFile(buffering=0) as file:
    record = decode_clip({str(path)!r}, "", {settings | {"decoder": decoder}!r}, file, lambda: None)
print(record["video"]["info"]["decoder"], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
        printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        assert printed.split()[0] == decoder
        peaks.append(int(printed.split()[1]) / 1024)
    assert peaks[1] < peaks[0] + 40, peaks  # 900 frames raw are 198 MiB


@pytest.mark.parametrize(("column", "value"), [("bytes", 17), ("sha256", "0" * 64)])
def test_a_changed_file_costs_its_clip(tmp_path, settings, column, value):
    clips = table(make(tmp_path, ["a.mp4", "b.mp4"]))
    spoilt = clips["clip"][0]
    clips = clips.with_columns(pl.when(pl.col("clip") == spoilt).then(pl.lit(value)).alias(column))
    decode_shard(clips, tmp_path / "s.zarr.zip", settings, 1)
    with DecodedShard(tmp_path / "s.zarr.zip") as shard:
        for clip in clips["clip"]:
            assert shard[clip].video.usable == (clip != spoilt)
        assert "braid index" in shard[spoilt].video.reason


def test_a_file_that_disappeared_costs_its_clip(tmp_path, settings):
    clips = table(make(tmp_path, ["a.mp4", "b.mp4"]))
    gone, _ = clips.filter(pl.col("video").str.ends_with("a.mp4")).select("clip", "video").row(0)
    (tmp_path / "a.mp4").unlink()
    decode_shard(clips, tmp_path / "s.zarr.zip", settings, 1)
    with DecodedShard(tmp_path / "s.zarr.zip") as shard:
        assert {clip: shard[clip].video.usable for clip in clips["clip"]} == {c: c != gone for c in clips["clip"]}
        assert "'a.mp4' does not exist any more" in shard[gone].video.reason


def test_an_unwritable_folder_is_an_error(settings, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        decode_shard(table([]), tmp_path / "file" / "s.zarr.zip", settings, 1)


def _soon(condition):
    for _ in range(300):
        if condition():
            return True
        time.sleep(0.1)
    return False

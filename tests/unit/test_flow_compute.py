"""The flow stage on pictures with known motion."""

import errno
import multiprocessing
import os
import resource
import signal
import threading
from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar
from zipfile import ZipFile

import cv2
import numpy as np
import pytest
import torch

from braid import config
from braid.errors import FeatureError, StoreError
from braid.extractors import sizing
from braid.extractors.sizing import AUTO
from braid.flow.compute import compute_flow
from braid.flow.dis import Dis
from braid.flow.farneback import Farneback
from braid.flow.grey import PAIRS_A_THREAD
from braid.flow.registry import REGISTRY
from braid.media import codec
from braid.store import flow as flow_store
from braid.store import passes as passes_store
from braid.store.decoded import DecodedClip, DecodedWriter
from braid.store.flow import FlowShard, FlowWriter

HEIGHT, WIDTH = 64, 96
FARNEBACK = {
    "type": "farneback",
    "scale": 1,
    "encoding": "float16",
    "bound": 20,
    "pyramid_scale": 0.5,
    "levels": 3,
    "window": 15,
    "iterations": 3,
    "poly_n": 5,
    "poly_sigma": 1.2,
}
INSIDE = (..., slice(12, -12), slice(12, -12))


def moving(right: int, down: int, n_frames: int) -> np.ndarray:
    """A smooth random texture moving by whole pixels a frame, uint8 [T, H, W, 3]."""
    noise = np.random.default_rng(0).normal(size=(3 * HEIGHT, 3 * WIDTH, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.5)
    picture = np.clip(128 + 50 * smooth / smooth.std(), 0, 255).astype(np.uint8)
    corners = [(HEIGHT - t * down, WIDTH - t * right) for t in range(n_frames)]
    return np.stack([picture[top : top + HEIGHT, left : left + WIDTH] for top, left in corners])


@dataclass
class Clip:
    """What a decoded shard is to hold of one clip."""

    pictures: np.ndarray
    status: str = "ok"
    reason: str = ""

    @property
    def times(self) -> np.ndarray:
        return np.arange(len(self.pictures)) / 25 + 0.04


def write_decoded(path: Path, clips: dict[str, Clip]) -> Path:
    """Write a lossless decoded shard without sound."""
    settings = {"codec": "lossless", "sample_rate": 32000}
    encode = codec.encoder(settings)
    with DecodedWriter(path, {"settings": settings}) as writer:
        for name, clip in clips.items():
            encoded = [encode(picture) for picture in clip.pictures]
            offsets = np.cumsum([0, *map(len, encoded)])
            arrays = {"frames": b"".join(encoded), "offsets": offsets.tobytes(), "times": clip.times.tobytes()}
            starts = np.cumsum([0, *map(len, arrays.values())]).tolist()
            lengths = [offsets[-1], len(offsets), len(clip.times)]
            height, width = clip.pictures.shape[1:3]
            info = {"n_frames": len(encoded), "height": height, "width": width}
            record = {
                "video": {"status": clip.status, "reason": clip.reason, "info": info},
                "audio": {"status": "missing", "reason": "", "info": {}},
                "audio_start_seconds": 0.0,
                "arrays": {key: (at, int(n)) for key, at, n in zip(arrays, starts, lengths, strict=False)},
            }
            writer.append(name, record, BytesIO(b"".join(arrays.values())))
    return path


def run(clips: dict[str, Clip], folder: Path, threads: int = 2, batch_size: int = AUTO, **settings: Any) -> FlowShard:
    folder.mkdir(exist_ok=True)
    decoded = write_decoded(folder / "decoded.zarr.zip", clips)
    compute_flow(decoded, folder / "flow.zarr.zip", FARNEBACK | settings, threads, "cpu", batch_size=batch_size)
    return FlowShard(folder / "flow.zarr.zip")


@pytest.mark.parametrize("make", [Farneback, Dis])
@pytest.mark.parametrize("motion", [(3, 0), (-3, 0), (0, 3), (0, -3), (2, -1), (0, 0)])
def test_a_shifted_picture_has_that_much_flow(motion: tuple[int, int], make: Any) -> None:
    method = make(FARNEBACK | {"preset": "medium"}, 1, "cpu", 0)
    frames = method.encode(moving(*motion, n_frames=2))
    flow = method.match(frames[:1], frames[1:]).numpy()
    assert flow.shape == (1, 2, HEIGHT, WIDTH)
    assert flow.dtype == np.float32
    error = flow - np.reshape(motion, (2, 1, 1))
    assert np.abs(error[INSIDE]).mean() < 0.05


def test_flow_of_a_mirrored_clip_has_u_negated(tmp_path: Path) -> None:
    pictures = moving(3, 1, n_frames=3)
    clips = {"there": Clip(pictures), "back": Clip(pictures[:, :, ::-1])}
    with run(clips, tmp_path) as shard:
        there, back = (shard[name].pairs(slice(None)) for name in clips)
    assert np.abs(back[..., ::-1] - there * np.reshape([-1, 1], (2, 1, 1))).mean() < 0.01


@pytest.mark.parametrize("threads", [1, 3, 9])
def test_pairs_come_in_order_from_frames_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    pictures = np.concatenate([moving(t % 4, t % 3, n_frames=4) for t in range(9)])[:35]
    reads: list[list[int]] = []
    read = DecodedClip.frames

    def frames(clip: DecodedClip, indices: slice) -> np.ndarray:
        reads.append(list(range(35))[indices])
        return read(clip, indices)

    monkeypatch.setattr(DecodedClip, "frames", frames)
    with run({"a": Clip(pictures)}, tmp_path, threads) as shard:
        flow, times = shard["a"].pairs(slice(None)), shard["a"].times
    greys = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in pictures]
    for pair, (first, second) in zip(flow, pairwise(greys), strict=True):
        expected = cv2.calcOpticalFlowFarneback(first, second, np.empty(0), 0.5, 3, 15, 3, 5, 1.2, 0)
        assert np.abs(pair - np.clip(expected, -20, 20).transpose(2, 0, 1)).max() <= 2.0**-7
    assert np.array_equal(times, Clip(pictures).times)
    assert [t for some in reads for t in some] == list(range(35))
    assert max(map(len, reads)) <= PAIRS_A_THREAD * threads


@pytest.mark.parametrize("scale", [0.5, 0.25, 0.125])
def test_scaled_flow_has_scaled_values(tmp_path: Path, scale: float) -> None:
    with run({"a": Clip(moving(4, -2, 3))}, tmp_path, scale=scale) as shard:
        flow = shard["a"].pairs(slice(None))
    assert flow.shape == (2, 2, HEIGHT * scale, WIDTH * scale)
    inside = flow[..., 2:-2, 2:-2]
    assert np.abs(inside - np.reshape([4 * scale, -2 * scale], (2, 1, 1))).mean() < 0.05 * scale


def test_statuses_are_kept(tmp_path: Path) -> None:
    pictures = moving(1, 0, 3)
    clips = {
        "damaged": Clip(pictures, "damaged", "ends early"),
        "missing": Clip(pictures[:0], "missing", "the clip has no video"),
        "cut": Clip(pictures[:1], "damaged", "ends early"),
        "single": Clip(pictures[:1]),
        "unreadable": Clip(pictures[:0], "unreadable", "no frame could be decoded"),
    }
    with run(clips, tmp_path) as shard:
        found = {name: (shard[name].status, shard[name].reason, shard[name].n_pairs) for name in shard.clips}
    assert found == {
        "cut": ("short", "ends early; the video has a single frame, and flow needs two", 0),
        "damaged": ("damaged", "ends early", 2),
        "missing": ("missing", "the clip has no video", 0),
        "single": ("short", "the video has a single frame, and flow needs two", 0),
        "unreadable": ("unreadable", "no frame could be decoded", 0),
    }


def test_the_shard_says_how_it_was_made(tmp_path: Path) -> None:
    with run({"a": Clip(moving(1, 0, 2))}, tmp_path) as shard:
        assert shard.attrs["settings"] == FARNEBACK
        assert shard.attrs["device"] == "cpu"
        assert shard.attrs["versions"]["braid.flow"] == REGISTRY["farneback"].version


def test_a_shard_that_cannot_be_read_leaves_no_flow_shard(tmp_path: Path) -> None:
    decoded = write_decoded(tmp_path / "decoded.zarr.zip", {"a": Clip(moving(1, 0, 30))})
    content = bytearray(decoded.read_bytes())
    content[len(content) // 2] ^= 255
    decoded.write_bytes(content)
    with pytest.raises(StoreError, match=r"decoded\.zarr\.zip"):
        compute_flow(decoded, tmp_path / "flow.zarr.zip", FARNEBACK, 2, "cpu")
    assert not (tmp_path / "flow.zarr.zip").exists()


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    decoded = write_decoded(tmp_path / "decoded.zarr.zip", {"a": Clip(moving(1, 1, 30))})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with pytest.raises(StoreError, match=r"flow\.zarr\.zip cannot be written"):
            compute_flow(decoded, tmp_path / "flow.zarr.zip", FARNEBACK, 2, "cpu")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == [decoded]


CLIPS = {
    "a": Clip(moving(1, 0, 21)),
    "b": Clip(moving(0, 1, 2)),
    "tall": Clip(moving(1, 1, 11).transpose(0, 2, 1, 3)),
    "c": Clip(moving(2, 0, 18)),
    "d": Clip(moving(0, 2, 5)),
}


N_PAIRS = sum(len(clip.pictures) - 1 for clip in CLIPS.values())


def flows(shard: FlowShard) -> dict[str, np.ndarray]:
    with shard:
        return {name: shard[name].pairs(slice(None)) for name in shard.clips}


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_clips_that_share_a_pass_get_the_flow_they_get_alone(tmp_path: Path, threads: int) -> None:
    together = flows(run(CLIPS, tmp_path, threads))
    assert list(together) == sorted(CLIPS)
    for name, clip in CLIPS.items():
        (tmp_path / name).mkdir()
        np.testing.assert_array_equal(together[name], flows(run({name: clip}, tmp_path / name))[name])


def test_clips_of_one_size_share_passes_wherever_they_stand_with_all_threads_of_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[tuple[int, int]] = []
    match = Farneback.match

    def noting(self: Farneback, firsts: Any, seconds: Any) -> Any:
        passes.append((len(firsts), torch.get_num_threads()))
        return match(self, firsts, seconds)

    monkeypatch.setattr(Farneback, "match", noting)
    wide = Clip(moving(1, 0, 4))
    tall = Clip(wide.pictures.transpose(0, 2, 1, 3))
    before = torch.get_num_threads()
    try:
        run({"a": wide, "b": tall, "c": wide, "d": tall}, tmp_path, threads=3)
    finally:
        torch.set_num_threads(before)
    assert passes == [(6, 3), (6, 3)]


class Memory(Farneback):
    """A method that finds out how much it can take, on a device that is full with more than `room` frames."""

    room = 1000
    passes: ClassVar[list[int]] = []
    encoded: ClassVar[list[int]] = []

    def __init__(self, settings: Any, threads: int, device: str, batch_size: int) -> None:
        super().__init__(settings, threads, device, batch_size)
        self.pairs = batch_size

    def encode(self, frames: np.ndarray) -> list[np.ndarray]:
        if len(frames) > 2 * self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.encoded.append(len(frames))
        return super().encode(frames)

    def match(self, firsts: Any, seconds: Any) -> torch.Tensor:
        if len(firsts) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.passes.append(len(firsts))
        return super().match(firsts, seconds)


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> type[Memory]:
    monkeypatch.setattr("braid.flow.farneback.Farneback", Memory)
    monkeypatch.setattr(Memory, "passes", [])
    monkeypatch.setattr(Memory, "encoded", [])
    return Memory


@pytest.mark.parametrize("room", [1, 2, 5])
def test_what_does_not_fit_into_memory_is_halved_and_no_pair_is_lost_or_computed_twice(
    tmp_path: Path, memory: type[Memory], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], room: int
) -> None:
    expected = flows(run(CLIPS, tmp_path / "roomy", batch_size=16))
    monkeypatch.setattr(memory, "room", room)
    memory.passes.clear()
    found = flows(run(CLIPS, tmp_path / "full", batch_size=16))
    for name, flow in expected.items():
        np.testing.assert_array_equal(found[name], flow)
    assert max(memory.passes) <= room
    assert sum(memory.passes) == sum(len(clip.pictures) - 1 for clip in CLIPS.values())
    assert "farneback: 16 frames did not fit into memory, from here on at most 8 do" in capsys.readouterr().out


def test_passes_grow_by_themselves_while_that_is_faster(
    tmp_path: Path, memory: type[Memory], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A method for which a pass takes as long whatever is in it, where as many frames may share one as on a GPU."""
    clock = iter(range(10**6))
    monkeypatch.setattr("braid.flow.passes.time.perf_counter", lambda: float(next(clock)))
    monkeypatch.setitem(sizing.MOST, "cpu", 16)
    run({"a": Clip(moving(1, 0, 60))}, tmp_path, batch_size=AUTO)
    full = [n for n in memory.passes[1:] if n & (n - 1) == 0]  # the first pass has no frame before it, the last is cut
    assert full[:3] == [8, 8, 8] and max(full) == 16
    assert (sum(memory.encoded), sum(memory.passes)) == (60, 59), "each frame once, though it is in two pairs"


def test_reading_computing_and_writing_overlap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first pass ends when the second block is being read, the first write when the second pass has begun."""
    reading, computing = threading.Event(), threading.Event()
    reads, passes = iter(range(1000)), iter(range(1000))
    read, match, store = DecodedClip.frames, Farneback.match, flow_store.quantise

    def frames(clip: DecodedClip, indices: slice) -> np.ndarray:
        if next(reads) == 1:
            reading.set()
        return read(clip, indices)

    def matching(self: Farneback, firsts: Any, seconds: Any) -> torch.Tensor:
        if next(passes) == 1:
            computing.set()
        assert reading.wait(30)
        return match(self, firsts, seconds)

    def quantise(*arguments: Any) -> np.ndarray:
        assert computing.wait(30)
        return store(*arguments)

    monkeypatch.setattr(DecodedClip, "frames", frames)
    monkeypatch.setattr(Farneback, "match", matching)
    monkeypatch.setattr(flow_store, "quantise", quantise)
    with run({"a": CLIPS["a"], "b": CLIPS["a"]}, tmp_path, threads=1) as shard:
        assert [shard[name].n_pairs for name in shard.clips] == [20, 20]


def test_a_pair_that_does_not_fit_is_named(
    tmp_path: Path, memory: type[Memory], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "room", 0)
    with pytest.raises(FeatureError, match=r"farneback, clip a: a single pair of 64×96 does not fit.*short_side"):
        run({"a": CLIPS["d"]}, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["decoded.zarr.zip"]


def test_flow_that_is_not_finite_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Farneback, "pair", lambda *_: np.full((HEIGHT, WIDTH, 2), np.nan, np.float32))
    with pytest.raises(FeatureError, match=r"farneback, clip a: the flow is not finite"):
        run({"a": CLIPS["d"]}, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["decoded.zarr.zip"]


class Lost(Exception):
    """The job is killed."""


@pytest.mark.parametrize(
    "lost", [Lost(), RuntimeError("CUDA error: unspecified launch failure")], ids=["killed", "GPU lost"]
)
def test_a_job_that_is_run_again_computes_what_was_not_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: Exception
) -> None:
    decoded = write_decoded(tmp_path / "decoded.zarr.zip", CLIPS)
    whole = tmp_path / "whole.zarr.zip"
    compute_flow(decoded, whole, FARNEBACK, 1, "cpu")
    out = tmp_path / "flow.zarr.zip"
    pairs: list[int] = []
    match = Farneback.match

    def counting(self: Farneback, firsts: Any, seconds: Any) -> Any:
        pairs.append(len(firsts))
        if len(pairs) == 5:
            raise lost
        return match(self, firsts, seconds)

    monkeypatch.setattr(Farneback, "match", counting)
    with pytest.raises(type(lost)):
        compute_flow(decoded, out, FARNEBACK, 1, "cpu")
    assert not out.exists()
    pairs[:] = [0] * 5  # it fails no more
    compute_flow(decoded, out, FARNEBACK, 1, "cpu")
    assert sum(pairs) == N_PAIRS - 29, "four passes of 8 frames had found all pairs of a and b and 8 of c"
    resumed, uninterrupted = flows(FlowShard(out)), flows(FlowShard(whole))  # the bytes of a zip file hold times
    assert list(resumed) == list(uninterrupted)
    for name, flow in resumed.items():
        np.testing.assert_array_equal(flow, uninterrupted[name])
    assert sorted(path.name for path in tmp_path.iterdir()) == [path.name for path in (decoded, out, whole)]


def compute_until(decoded: Path, out: Path, log: Path, step: str, n: int) -> None:
    """Compute flow, with the pairs of each pass in `log`; the process is killed in the n-th `step`, never if n is 0."""
    targets: dict[str, tuple[Any, str]] = {
        "match": (Farneback, "match"),
        "keep": (passes_store, "quantise"),
        "write": (flow_store, "quantise"),
    }
    owner, name = targets[step]
    match, calls = Farneback.match, iter(range(1, 1000))

    def logging(self: Farneback, firsts: Any, seconds: Any) -> torch.Tensor:
        with log.open("a") as file:
            file.write(f"{len(firsts)}\n")
        return match(self, firsts, seconds)

    Farneback.match = logging
    function = getattr(owner, name)

    def killing(*arguments: Any) -> Any:
        found = function(*arguments)
        if next(calls) == n:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    setattr(owner, name, killing)
    compute_flow(decoded, out, FARNEBACK, 1, "cpu")


def test_a_killed_process_repeats_the_pass_under_way_and_no_more(tmp_path: Path) -> None:
    """One job is killed again and again: in a pass, while a pass is kept, while a clip is written."""
    decoded = write_decoded(tmp_path / "decoded.zarr.zip", CLIPS)
    out, log, whole = tmp_path / "flow.zarr.zip", tmp_path / "log", tmp_path / "whole.zarr.zip"
    compute_flow(decoded, whole, FARNEBACK, 1, "cpu")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["braid.flow.compute", "braid.flow.farneback"])
    kills = [("match", 1), ("match", 3), ("keep", 1), ("write", 1), ("match", 2)]
    for step, n in [*kills, ("match", 0)]:
        process = context.Process(target=compute_until, args=(decoded, out, log, step, n))
        process.start()
        process.join()
        assert process.exitcode == (-signal.SIGKILL if n else 0)
        assert out.exists() == (n == 0)
    computed = [int(line) for line in log.read_text().split()]
    assert max(computed) <= PAIRS_A_THREAD
    assert 0 < sum(computed) - N_PAIRS <= PAIRS_A_THREAD * len(kills)
    expected, found = flows(FlowShard(whole)), flows(FlowShard(out))
    assert list(found) == list(expected)
    for name, flow in found.items():
        np.testing.assert_array_equal(flow, expected[name])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in (decoded, out, whole, log))


@pytest.mark.parametrize("encoding", ["uint8", "float16"])
def test_kept_passes_come_back_as_they_were_up_to_one_that_is_damaged(tmp_path: Path, encoding: str) -> None:
    flow = np.random.default_rng(0).uniform(-25, 25, (6, 2, 4, 5)).astype(np.float32)
    kept = passes_store.KeptPasses(tmp_path, encoding, 20)
    for found in ([("a", flow[:3]), ("b", flow[3:4])], [("b", flow[4:5])], [("b", flow[5:])]):
        kept.keep(found)
    again = passes_store.KeptPasses(tmp_path, encoding, 20)
    assert [again.count(name) for name in "abc"] == [3, 3, 0]
    codes = flow_store.quantise(np.concatenate(list(again.blocks("b"))), encoding, 20)
    np.testing.assert_array_equal(codes, flow_store.quantise(flow[3:], encoding, 20))
    second = sorted(tmp_path.iterdir())[1]
    second.write_bytes(second.read_bytes()[:-30])
    cut = passes_store.KeptPasses(tmp_path, encoding, 20)
    assert [cut.count(name) for name in "ab"] == [3, 1]
    assert len(list(tmp_path.iterdir())) == 1
    cut.drop({"a"})
    assert len(cut) == 1
    cut.drop({"a", "b"})
    assert list(tmp_path.iterdir()) == []


def test_clips_finished_with_other_settings_or_other_frames_are_not_used(tmp_path: Path) -> None:
    decoded = write_decoded(tmp_path / "decoded.zarr.zip", {"a": Clip(moving(1, 0, 3))})
    out = tmp_path / "flow.zarr.zip"
    for settings, source in ((FARNEBACK | {"levels": 1}, decoded.stat()), (FARNEBACK, tmp_path.stat())):
        attrs = {"settings": settings}
        with pytest.raises(Lost), FlowWriter(out, "float16", 20, attrs, source.st_mtime_ns) as writer:
            writer.write("a", np.arange(2) / 25, "ok", "", [np.zeros((1, 2, HEIGHT, WIDTH), np.float32)])
            raise Lost
        compute_flow(decoded, out, FARNEBACK, 1, "cpu")
        assert flows(FlowShard(out))["a"].shape[0] == 2


def test_a_disk_that_fills_up_between_clips_leaves_whole_clips_and_the_next_job_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = write_decoded(tmp_path / "decoded.zarr.zip", CLIPS)
    whole, out = tmp_path / "whole.zarr.zip", tmp_path / "flow.zarr.zip"
    compute_flow(decoded, whole, FARNEBACK, 1, "cpu")
    sync, left = os.fsync, iter(range(1000))

    def full(descriptor: int) -> None:
        if next(left) >= 4:  # two for each file, one of its folder
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StoreError, match=r"cannot be written: No space left on device\. Free space"):
            compute_flow(decoded, out, FARNEBACK, 1, "cpu")
    assert not out.exists()
    parts = sorted(path.name for path in tmp_path.rglob("flow*/*/*"))
    assert parts == ["a.zarr.zip", "b.zarr.zip"], "none half-written"
    for path in tmp_path.rglob("flow*/*/*.zip"):
        assert ZipFile(path).testzip() is None
    compute_flow(decoded, out, FARNEBACK, 1, "cpu")
    expected = flows(FlowShard(whole))
    for name, flow in flows(FlowShard(out)).items():
        np.testing.assert_array_equal(flow, expected[name])
    assert sorted(path.name for path in tmp_path.iterdir()) == [path.name for path in (decoded, out, whole)]


@pytest.mark.parametrize("kind", REGISTRY)
def test_every_method(kind: str, tmp_path: Path) -> None:
    properties = config.types("flow")[kind]["properties"]
    rules = {name: config.resolve(rule, "flow") for name, rule in properties.items()}
    settings = {"type": kind, **{name: rule["default"] for name, rule in rules.items() if "default" in rule}}
    if REGISTRY[kind].official:
        settings["weights"] = "random"
    decoded = write_decoded(tmp_path / "decoded.zarr.zip", {"a": CLIPS["b"], "b": CLIPS["d"], "c": CLIPS["tall"]})
    compute_flow(decoded, tmp_path / "flow.zarr.zip", settings, 1, "cpu", batch_size=4)
    found = flows(FlowShard(tmp_path / "flow.zarr.zip"))
    shapes = [(1, 2, HEIGHT, WIDTH), (4, 2, HEIGHT, WIDTH), (10, 2, WIDTH, HEIGHT)]
    assert [flow.shape for flow in found.values()] == shapes
    assert all(np.isfinite(flow).all() and flow.any() for flow in found.values())


def test_schemas_and_registry_name_the_same() -> None:
    assert set(REGISTRY) == set(config.types("flow"))

"""The flow shard: what is written comes back, and a broken file is named."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from braid.errors import StoreError
from braid.flow.quantise import step
from braid.store.decoded import DecodedWriter
from braid.store.flow import CHUNK_PAIRS, FlowShard, FlowWriter

BOUND = 20.0
TIMES = np.arange(2 * CHUNK_PAIRS + 4) / 25 + 0.1
FLOW = np.random.default_rng(0).uniform(-BOUND, BOUND, (len(TIMES) - 1, 2, 6, 9)).astype(np.float32)


def write(path: Path, encoding: str = "uint8") -> Path:
    with FlowWriter(path, encoding, BOUND, {"version": 1}) as writer:
        writer.write("b", TIMES, "damaged", "ends early", (FLOW[:CHUNK_PAIRS], FLOW[CHUNK_PAIRS:]))
        writer.write("a", np.empty(0), "missing", "the clip has no video", ())
    return path


@pytest.mark.parametrize(("encoding", "error"), [("uint8", step(BOUND) / 2), ("float16", 2.0**-7)])
def test_round_trip(tmp_path: Path, encoding: str, error: float) -> None:
    with FlowShard(write(tmp_path / "s.zarr.zip", encoding)) as shard:
        assert shard.clips == ("a", "b")
        assert (shard.attrs["encoding"], shard.attrs["bound"], shard.attrs["version"]) == (encoding, BOUND, 1)
        clip = shard["b"]
        flow = clip.pairs(slice(None))
        assert flow.dtype == np.float32
        assert np.abs(flow - FLOW).max() <= error + 1e-5
        assert np.array_equal(clip.times, TIMES)
        assert (clip.n_pairs, clip.status, clip.reason) == (len(FLOW), "damaged", "ends early")


@pytest.mark.parametrize("wanted", [slice(3, 12), slice(0, None, 5), np.array([17, 0, 9, 9]), np.array([], int)])
def test_any_pairs_can_be_read(tmp_path: Path, wanted: np.ndarray | slice) -> None:
    with FlowShard(write(tmp_path / "s.zarr.zip")) as shard:
        clip = shard["b"]
        assert np.array_equal(clip.pairs(wanted), clip.pairs(slice(None))[wanted])


@pytest.mark.parametrize("encoding", ["uint8", "float16"])
def test_flow_of_a_picture_that_stands_still_is_read(tmp_path: Path, encoding: str) -> None:
    """Half floats of it are zeros, and chunks of zeros are not in the file."""
    with FlowWriter(tmp_path / "s.zarr.zip", encoding, BOUND, {}) as writer:
        writer.write("a", TIMES, "ok", "", [np.zeros_like(FLOW)])
    with FlowShard(tmp_path / "s.zarr.zip") as shard:
        assert not shard["a"].pairs(np.arange(len(FLOW))).any()


def test_a_clip_without_flow_says_why(tmp_path: Path) -> None:
    with FlowShard(write(tmp_path / "s.zarr.zip")) as shard:
        clip = shard["a"]
        assert (clip.n_pairs, clip.status, len(clip.times)) == (0, "missing", 0)
        with pytest.raises(StoreError, match="clip a: the clip has no video"):
            clip.pairs(slice(None))


def test_an_absent_clip_is_named(tmp_path: Path) -> None:
    with FlowShard(write(tmp_path / "s.zarr.zip")) as shard, pytest.raises(StoreError, match=r"s\.zarr\.zip .*clip c"):
        shard["c"]


@pytest.mark.parametrize("part", [0.0, 0.5, 0.99])
def test_a_truncated_file_is_named_with_its_cure(tmp_path: Path, part: float) -> None:
    path = write(tmp_path / "s.zarr.zip")
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(StoreError, match=r"s\.zarr\.zip .*delete it"):
        FlowShard(path)


def test_a_damaged_chunk_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "s.zarr.zip")
    content = bytearray(path.read_bytes())
    chunk = content.index(b"b/flow/c/0/0/0/0") + 200
    content[chunk : chunk + 8] = bytes(byte ^ 255 for byte in content[chunk : chunk + 8])
    path.write_bytes(content)
    with FlowShard(path) as shard, pytest.raises(StoreError, match=r"s\.zarr\.zip"):
        shard["b"].pairs(slice(None))


def test_a_shard_of_another_kind_is_named(tmp_path: Path) -> None:
    path = tmp_path / "other.zarr.zip"
    with DecodedWriter(path, {"settings": {}}):
        pass
    with pytest.raises(StoreError, match=r"other\.zarr\.zip .* braid flow shard .*its format is 'braid decoded shard'"):
        FlowShard(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"none\.zarr\.zip"):
        FlowShard(tmp_path / "none.zarr.zip")


def test_a_failure_leaves_what_was_finished_to_the_next_writer(tmp_path: Path) -> None:
    path = tmp_path / "s.zarr.zip"
    with pytest.raises(RuntimeError, match="lost"), FlowWriter(path, "uint8", BOUND, {}) as writer:
        writer.write("b", TIMES[:2], "ok", "", (FLOW[:1],))
        raise RuntimeError("lost")
    assert not path.exists()
    with FlowWriter(path, "uint8", BOUND, {}) as writer:
        assert writer.finished == {"b"}
        writer.write("a", TIMES[:3], "ok", "", (FLOW[:2],))
    with FlowShard(path) as shard:
        assert [shard[name].n_pairs for name in shard.clips] == [2, 1]
    assert list(tmp_path.iterdir()) == [path]


def test_a_writer_that_is_killed_within_a_clip_leaves_the_clips_before(tmp_path: Path) -> None:
    path = tmp_path / "s.zarr.zip"
    code = f"""
import os, signal
import numpy as np
from pathlib import Path
from braid.store.flow import FlowWriter
def blocks():
    yield np.ones((9, 2, 6, 9), np.float32)
    os.kill(os.getpid(), signal.SIGKILL)
with FlowWriter(Path({str(path)!r}), "uint8", {BOUND}, {{}}) as writer:
    writer.write("a", np.arange(3.0), "ok", "", [np.ones((2, 2, 6, 9), np.float32)])
    writer.write("b", np.arange(20.0), "ok", "", blocks())
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
    assert not path.exists()
    assert len([file for file in tmp_path.rglob("*.zarr.zip") if file.is_file()]) == 2  # one of them half-written
    with FlowWriter(path, "uint8", BOUND, {}) as writer:
        assert writer.finished == {"a"}
        writer.write("b", TIMES[:2], "ok", "", (FLOW[:1],))
    with FlowShard(path) as shard:
        assert [shard[name].n_pairs for name in shard.clips] == [2, 1]
    assert list(tmp_path.iterdir()) == [path]


def test_a_writer_of_other_content_that_is_still_alive_leaves_no_clip_in_the_shard(tmp_path: Path) -> None:
    path = tmp_path / "s.zarr.zip"
    old, new = FlowWriter(path, "uint8", 1, {}), FlowWriter(path, "uint8", BOUND, {})
    with new:
        with pytest.raises(RuntimeError, match="killed"), old:
            new.write("a", TIMES[:2], "ok", "", (FLOW[:1],))
            old.write("a", TIMES[:3], "ok", "", (FLOW[:2],))
            old.write("b", TIMES[:3], "ok", "", (FLOW[:2],))
            raise RuntimeError("killed")
        new.write("a", TIMES[:2], "ok", "", (FLOW[:1],))
    with FlowShard(path) as shard:
        assert [(name, shard[name].n_pairs) for name in shard.clips] == [("a", 1)]
        assert np.abs(shard["a"].pairs(slice(None)) - FLOW[:1]).max() <= step(BOUND) / 2 + 1e-5
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_before_the_first_clip_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="lost"), FlowWriter(tmp_path / "s.zarr.zip", "uint8", BOUND, {}):
        raise RuntimeError("lost")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("sizes", [[1] * 19, [19], [8, 8, 3], [5, 11, 3], [17, 1, 1]])
def test_blocks_of_any_size_make_whole_chunks(tmp_path: Path, sizes: list[int]) -> None:
    ends = np.cumsum(sizes)
    blocks = [FLOW[end - size : end] for end, size in zip(ends, sizes, strict=True)]
    with FlowWriter(tmp_path / "s.zarr.zip", "float16", BOUND, {}) as writer:
        writer.write("a", TIMES, "ok", "", blocks)
    with FlowShard(tmp_path / "s.zarr.zip") as shard:
        assert np.abs(shard["a"].pairs(slice(None)) - FLOW).max() < 2.0**-6


def test_the_page_shows_what_was_measured() -> None:
    """The table of what a choice costs is that of benchmarks/results/flow.json, and raw sizes follow from the grid."""
    root = Path(__file__).parents[2]
    measured = json.loads((root / "benchmarks" / "results" / "flow.json").read_text(encoding="utf-8"))
    page = (root / "docs" / "flow.md").read_text(encoding="utf-8")
    row = r"^\| ([\d.]+) \| (\d+)×(\d+) \| `(\w+)` \| ([\d.]+) GB \| ([\d.]+) GB \| (?:below )?([\d.]+) px \|$"
    rows = re.findall(row, page, re.MULTILINE)
    assert {f"{encoding} {scale}" for scale, *_, encoding, _, _, _ in rows} == set(measured["storage"]["hmdb51"])
    for scale, height, width, encoding, raw, stored, error in rows:
        found = measured["storage"]["hmdb51"][f"{encoding} {scale}"]
        n_bytes = 2 if encoding == "float16" else 1
        assert (int(height), int(width)) == (round(256 * float(scale)), round(340 * float(scale)))
        assert float(raw) == pytest.approx(634_258 * 2 * int(height) * int(width) * n_bytes / 1e9, abs=0.05)
        assert float(stored) == pytest.approx(found["gigabytes"], abs=0.051)
        assert float(error) == pytest.approx(found["error_pixels"], abs=0.0009)

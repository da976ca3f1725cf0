"""Compare the decoding of a shard with bare decoders on the same cores: frames a second, and CPU seconds.

A bare decoder reads the same files in order and drops what it reads. `BARE` has the ways:

- `decord_threads`: decord, one clip after another with as many threads as there are cores, frames at their own size;
- `decord_full`: decord in as many processes with one thread each, frames at their own size;
- `decord`: as that, frames at the size that the shard stores;
- `decord_sound`: as that, then the sound by decord, mono at the rate that the shard stores;
- `pyav_sound`: the same by PyAV: RGB frames at the stored size, then the sound.

Processes of bare decoders are started, and their libraries imported, before the clock runs. The shard's seconds include
the start of its workers; it has frames stored as JPEG, and the sound, synced to disk. The shard of the smallest clips,
where the start weighs most, has as many as `braid index` puts in one by itself; the bare decoders read the same files.
The load average is that of the last minute when a row begins: other work, where it is above 0, or the row before.

    python benchmarks/decode.py [--media FOLDER] [--cores 2] [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import av
import cv2
import decord
import numpy as np
import polars as pl
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from braid.datasets.command import SHARD_SIZE
from braid.media.decode import decode_shard
from braid.media.frames import upright_size

GENERATED = {(340, 256): (500, SHARD_SIZE), (640, 480): (900, 16), (1280, 720): (1500, 8)}
"""(W, H) → kilobits of video a second, near the medians of online videos of such sizes, and number of clips."""
SECONDS, RATE = 10, 30
SETTINGS = {
    "short_side": 256,
    "codec": "jpeg",
    "jpeg_quality": 90,
    "sample_rate": 32000,
    "decoder": "auto",
    "timeout_seconds": 60,
}
RESULT = Path(__file__).parent / "results" / "decode.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--media", type=Path, help="folder of mp4 files to decode instead of generated ones")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, range(arguments.cores))
    with tempfile.TemporaryDirectory() as folder:
        if arguments.media:
            sources = {str(arguments.media.name): sorted(arguments.media.glob("*.mp4"))}
        else:
            sources = {
                f"{width}x{height}": [make(Path(folder) / f"{width}.mp4", width, height, kilobits)] * clips
                for (width, height), (kilobits, clips) in GENERATED.items()
            }
        rows = [
            {"media": name, **measure(paths, Path(folder), arguments.cores, arguments.rounds)}
            for name, paths in sources.items()
        ]
    result = {
        "machine": f"{arguments.cores} cores, {platform.machine()}",
        "settings": SETTINGS,
        "rounds": arguments.rounds,
        "rows": rows,
    }
    path = RESULT.with_stem(f"decode_{arguments.media.name}") if arguments.media else RESULT
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(rows, indent=2))


def make(path: Path, width: int, height: int, kilobits: int) -> Path:
    """Write a clip of moving texture, an object before it and grain, with sound, at the bit rate of an online video.

    The texture has the spectrum of natural pictures (amplitude ~ 1 / frequency) and weaker, smoother colours.
    """
    rng = np.random.default_rng(0)
    texture = np.zeros((height * 2, width * 2, 3), np.float32)
    for octave in range(8):
        size = (max(width >> (7 - octave), 2) * 2, max(height >> (7 - octave), 2) * 2)
        grey = rng.standard_normal((size[1], size[0], 1), np.float32)
        colour = rng.standard_normal((size[1], size[0], 3), np.float32) * (0.3 if octave < 5 else 0)
        texture += cv2.resize(grey + colour, (width * 2, height * 2), interpolation=cv2.INTER_CUBIC) / 2**octave
    texture = np.clip(128 + 40 * texture, 0, 255).astype(np.uint8)
    grain = rng.integers(0, 6, (7, height, width, 1), np.uint8).repeat(3, 3)
    with av.open(str(path), "w") as out:
        options = {"b": f"{kilobits}k", "profile": "high"}
        video = out.add_stream("libx264", rate=RATE, options=options)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        audio = out.add_stream("aac", rate=44100, layout="stereo")
        for i in range(SECONDS * RATE):
            x, y = round(width / 2 * (1 + np.sin(i / 40))), round(height / 2 * (1 + np.cos(i / 55)))
            frame = cv2.add(texture[y : y + height, x : x + width], grain[i % len(grain)])
            left, top = round(width * (0.35 + 0.3 * np.sin(i / 12))), round(height * (0.35 + 0.2 * np.cos(i / 9)))
            frame[top : top + height // 3, left : left + width // 3] = texture[: height // 3, : width // 3]
            out.mux(video.encode(av.VideoFrame.from_ndarray(np.asarray(frame, np.uint8), format="rgb24")))
        out.mux(video.encode())
        for begin in range(0, SECONDS * 44100, 1024):
            noise = av.AudioFrame.from_ndarray(rng.integers(-9999, 9999, (1, 2048), np.int16), "s16", "stereo")
            noise.sample_rate, noise.pts = 44100, begin
            out.mux(audio.encode(noise))
        out.mux(audio.encode())
    return path


def measure(paths: list[Path], folder: Path, cores: int, rounds: int) -> dict[str, Any]:
    """Return the best of `rounds` of each way, taken in turns, and what the shard costs relative to the others."""
    clips = pl.DataFrame(
        {"clip": [f"{i:016x}" for i in range(len(paths))], "video": [str(path) for path in paths]},
    ).with_columns(
        pl.col("video").alias("audio"),
        pl.lit(None, pl.Int64).alias("bytes"),
        pl.lit(None, pl.String).alias("sha256"),
    )
    best: dict[str, Any] = {}
    load, frames = round(os.getloadavg()[0], 2), 0
    context = multiprocessing.get_context("spawn")
    for _ in range(rounds):
        for name, (read, threads) in BARE.items():
            processes = 1 if threads > 1 else cores
            with ProcessPoolExecutor(processes, context) as pool:
                list(pool.map(time.sleep, [0.5] * processes))  # processes are up, libraries imported
                begin = time.perf_counter()
                done = list(pool.map(timed, [read] * len(paths), paths, [min(threads, cores)] * len(paths)))
                seconds = time.perf_counter() - begin
            frames = sum(n_frames for n_frames, _ in done)
            keep(best, name, frames, seconds, sum(cpu for _, cpu in done))
        (shard := folder / "shard.zarr.zip").unlink(missing_ok=True)
        before = cpu_seconds()
        begin = time.perf_counter()
        decode_shard(clips, shard, SETTINGS, cores)
        seconds = time.perf_counter() - begin
        keep(best, "shard", frames, seconds, cpu_seconds() - before)
    ours = best["shard"]
    for name in BARE:
        ours[f"seconds_to_{name}"] = round(ours["seconds"] / best[name]["seconds"], 2)
        ours[f"cpu_to_{name}"] = round(ours["cpu_seconds"] / best[name]["cpu_seconds"], 2)
    kilobits = sum(path.stat().st_size for path in paths) * 8e-3 / (frames / RATE)
    size = {"clips": len(paths), "frames": frames, "kilobits_in_30_frames": round(kilobits)}
    return {**size, "load_average_before": load, **best}


def keep(best: dict[str, Any], name: str, frames: int, seconds: float, cpu: float) -> None:
    """Keep the least wall-clock and CPU seconds of a way."""
    old = best.get(name, {"seconds": np.inf, "cpu_seconds": np.inf})
    seconds, cpu = min(seconds, old["seconds"]), min(cpu, old["cpu_seconds"])
    best[name] = {
        "seconds": round(seconds, 2),
        "frames_a_second": round(frames / seconds),
        "cpu_seconds": round(cpu, 2),
    }


def timed(read: Callable[[Path, int], int], path: Path, threads: int) -> tuple[int, float]:
    """Return what `read` returns, and the CPU seconds that it takes."""
    begin = time.process_time()
    return read(path, threads), time.process_time() - begin


def read_full(path: Path, threads: int) -> int:
    """Return how many frames decord reads in order at their own size."""
    reader = decord.VideoReader(str(path), num_threads=threads)
    for _ in range(len(reader)):
        reader.next()
    return len(reader)


def read_decord(path: Path, threads: int) -> int:
    """Return how many frames decord reads in order at the stored size."""
    with av.open(str(path)) as container:
        width, height = stored_size(container.streams.video[0])
    reader = decord.VideoReader(str(path), num_threads=threads, width=width, height=height)
    for _ in range(len(reader)):
        reader.next()
    return len(reader)


def read_decord_sound(path: Path, threads: int) -> int:
    """Return how many frames decord reads as `read_decord` does, and read the sound."""
    count = read_decord(path, threads)
    decord.AudioReader(str(path), sample_rate=SETTINGS["sample_rate"], mono=True)
    return count


def read_pyav_sound(path: Path, threads: int) -> int:
    """Return how many frames PyAV reads in order, RGB at the stored size, and read the sound."""
    count = 0
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = threads
        (width, height), reformatter = stored_size(stream), VideoReformatter()
        for frame in container.decode(stream):
            reformatter.reformat(frame, width, height, "rgb24", interpolation="BILINEAR", threads=1)
            count += 1
    with av.open(str(path)) as container:
        resampler = av.AudioResampler("flt", "mono", SETTINGS["sample_rate"])
        for frame in container.decode(container.streams.audio[0]):
            resampler.resample(frame)
    return count


def stored_size(stream: VideoStream) -> tuple[int, int]:
    return upright_size(stream.width, stream.height, SETTINGS["short_side"])


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and its children that have ended."""
    parts = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in parts)


BARE = {
    "decord_threads": (read_full, os.cpu_count() or 1),
    "decord_full": (read_full, 1),
    "decord": (read_decord, 1),
    "decord_sound": (read_decord_sound, 1),
    "pyav_sound": (read_pyav_sound, 1),
}
"""Name → (reader, threads); with one thread there is a process a core, else one process."""


if __name__ == "__main__":
    main()

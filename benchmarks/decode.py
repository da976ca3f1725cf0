"""Compare the decoding of a shard with the bare decoder on the same cores: frames a second, and CPU seconds.

The bare decoder is decord reading the same files in order, each frame dropped: `bare_threads` one clip after another
with as many threads as there are cores, which is how it is used without braid; `bare` in as many processes with one
thread each; `bare_scaled` like `bare`, scaled as the shard's frames are. The shard has frames stored as JPEG, and the
sound; its seconds include the start of its workers.

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
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import av
import cv2
import decord
import numpy as np
import polars as pl

from braid.media.decode import decode_shard
from braid.media.frames import upright_size

SIZES = ((340, 256), (640, 480), (1280, 720))
SECONDS, RATE, COPIES = 10, 30, 32
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
                f"{width}x{height}": [make(Path(folder) / f"{width}.mp4", width, height)] * COPIES
                for width, height in SIZES
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


def make(path: Path, width: int, height: int) -> Path:
    """Write a clip of moving texture and grain with sound, of about the bit rate of an online video."""
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(rng.integers(0, 255, (height * 2, width * 2, 3), np.uint8), (0, 0), 5)
    texture = cv2.normalize(texture, texture, 0, 255, cv2.NORM_MINMAX)
    grain = rng.integers(0, 12, (7, height, width, 3), np.uint8)
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=RATE, options={"crf": "20"})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        audio = out.add_stream("aac", rate=44100, layout="stereo")
        for i in range(SECONDS * RATE):
            x, y = round(width / 2 * (1 + np.sin(i / 40))), round(height / 2 * (1 + np.cos(i / 55)))
            frame = cv2.add(texture[y : y + height, x : x + width], grain[i % len(grain)])
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
    frames = 0
    context = multiprocessing.get_context("spawn")
    for _ in range(rounds):
        begin, cpu_before = time.perf_counter(), time.process_time()
        frames = sum(read(path, 0, threads=cores)[0] for path in paths)
        keep(best, "bare_threads", frames, time.perf_counter() - begin, time.process_time() - cpu_before)
        for name, short_side in (("bare", 0), ("bare_scaled", SETTINGS["short_side"])):
            with ProcessPoolExecutor(cores, context) as pool:
                list(pool.map(time.sleep, [0.5] * cores))  # processes are up, libraries imported
                begin = time.perf_counter()
                done = list(pool.map(read, paths, [short_side] * len(paths)))
                seconds = time.perf_counter() - begin
            keep(best, name, frames, seconds, sum(cpu for _, cpu in done))
        before = cpu_seconds()
        begin = time.perf_counter()
        decode_shard(clips, folder / "shard.zarr.zip", SETTINGS, cores)
        seconds = time.perf_counter() - begin
        keep(best, "shard", frames, seconds, cpu_seconds() - before)
    shard = best["shard"]
    for name in ("bare_threads", "bare", "bare_scaled"):
        shard[f"seconds_to_{name}"] = round(shard["seconds"] / best[name]["seconds"], 2)
        shard[f"cpu_to_{name}"] = round(shard["cpu_seconds"] / best[name]["cpu_seconds"], 2)
    return {"clips": len(paths), "frames": frames, **best}


def keep(best: dict[str, Any], name: str, frames: int, seconds: float, cpu: float) -> None:
    """Keep the least wall-clock and CPU seconds of a way."""
    old = best.get(name, {"seconds": np.inf, "cpu_seconds": np.inf})
    seconds, cpu = min(seconds, old["seconds"]), min(cpu, old["cpu_seconds"])
    best[name] = {
        "seconds": round(seconds, 2),
        "frames_a_second": round(frames / seconds),
        "cpu_seconds": round(cpu, 2),
    }


def read(path: Path, short_side: int, threads: int = 1) -> tuple[int, float]:
    """Return how many frames decord reads in order, and the CPU seconds that it takes."""
    begin = time.process_time()
    size = {}
    if short_side:
        height, width, _ = decord.VideoReader(str(path), num_threads=1)[0].shape
        size = dict(zip(("width", "height"), upright_size(width, height, short_side), strict=True))
        size = {} if size == {"width": width, "height": height} else size
    reader = decord.VideoReader(str(path), num_threads=threads, **size)
    for _ in range(len(reader)):
        reader.next()
    return len(reader), time.process_time() - begin


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and its children that have ended."""
    parts = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in parts)


if __name__ == "__main__":
    main()

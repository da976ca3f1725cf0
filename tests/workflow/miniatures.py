"""Small data sets that are laid out as their publishers do it, of clips whose class is made of a pattern and a tone.

A class is a pair: which pattern is seen, and which tone is heard (or which way the pattern drifts, where clips are
silent), so that one modality alone cannot tell all classes apart and both together can.
"""

from __future__ import annotations

import csv
import wave
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

RATE, FPS, HEIGHT, WIDTH = 16000, 8, 48, 64
SCENES = (
    "airport", "bus", "metro", "metro_station", "park", "public_square", "shopping_mall", "street_pedestrian",
    "street_traffic", "tram",
)  # fmt: skip
ACTIONS = ("brush_hair", "cartwheel", "pour", "wave")
N_CATEGORIES = 15
CITIES = ("barcelona", "helsinki", "lisbon", "lyon")


def pictures(pattern: int, seed: int, seconds: float, drift: tuple[int, int] = (0, 1)) -> Iterable[np.ndarray]:
    """Yield frames [H, W, 3] uint8: random squares in the size and colours of the pattern, drifting, in a little noise.

    `drift` is in pixels a frame, down and right; what leaves a frame comes in on its other side.
    """
    random = np.random.default_rng(seed)
    side = (4, 8)[pattern % 2]
    squares = np.kron(random.integers(0, 2, (HEIGHT // side, WIDTH // side)), np.ones((side, side)))
    colour = np.array([(220, 60, 40), (40, 200, 60), (50, 80, 230), (220, 210, 50), (200, 60, 210)][pattern])
    picture = np.where(squares[..., None] > 0, colour, colour // 3)
    for number in range(round(seconds * FPS)):
        moved = np.roll(picture, (drift[0] * number, drift[1] * number), axis=(0, 1))
        yield np.clip(moved + random.normal(0, 8, moved.shape), 0, 255).astype(np.uint8)


def tone(number: int, seed: int, seconds: float) -> np.ndarray:
    """Return float32 samples [n] of a tone (an octave and a half from the next) in noise."""
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    heard = 0.4 * np.sin(2 * np.pi * 250 * 2 ** (1.5 * number) * random.uniform(0.97, 1.03) * time)
    return (heard + random.normal(0, 0.02, len(time))).astype(np.float32)


def write_clip(path: Path, frames: Iterable[np.ndarray] | None, sound: np.ndarray | None) -> None:
    """Write mp4 (H.264, AAC) or avi (MPEG-4), with the streams that are given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        streams: list[tuple[Any, int, Iterable[Any]]] = []
        if frames is not None:
            video = container.add_stream("mpeg4" if path.suffix == ".avi" else "libx264", rate=FPS)
            video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            streams.append((video, FPS, (av.VideoFrame.from_ndarray(picture, format="rgb24") for picture in frames)))
        if sound is not None:
            samples = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
            samples.sample_rate = RATE
            streams.append((container.add_stream("aac", rate=RATE, layout="mono"), RATE, [samples]))
        for stream, rate, pieces in streams:
            for number, piece in enumerate(pieces):
                piece.pts, piece.time_base = number, Fraction(1, rate)
                container.mux(stream.encode(piece))
            container.mux(stream.encode(None))


def cmu11775(root: Path, a_class: int = 10, seconds: float = 1.5) -> None:
    """Fifteen categories of five patterns and three tones; one more video of each is to be predicted."""
    known, unknown = [], []
    for number in range(N_CATEGORIES * (a_class + 1)):
        category, name = number % N_CATEGORIES, f"{number:05d}"
        clip = root / "videos" / f"{name}.mp4"
        write_clip(clip, pictures(category // 3, number, seconds), tone(category % 3, number, seconds))
        (known if number < N_CATEGORIES * a_class else unknown).append((name, category))
    _table(root / "labels" / "train_val.csv", [("Id", "Category"), *known])
    _table(root / "labels" / "test_for_students.csv", [("Id", "Category"), *((name, 0) for name, _ in unknown)])


def hmdb51(root: Path, a_class: int = 12) -> None:
    """Four silent actions of two patterns and two ways to drift, each clip of a video of its own, in three splits."""
    lists = root / "testTrainMulti_7030_splits"
    lists.mkdir(parents=True)
    for number, action in enumerate(ACTIONS):
        names = [f"Film{k}_{action}_f_cm_np1_fr_med_{k}.avi" for k in range(a_class)]
        for k, name in enumerate(names):
            frames = pictures(number // 2, 100 * number + k, 2, ((0, 3), (3, 0))[number % 2])
            write_clip(root / "hmdb51_org" / action / name, frames, None)
        for split in range(3):
            codes = [2 if k % 4 == split else 1 for k in range(a_class)]
            lines = [f"{name} {code} \n" for name, code in zip(names, codes, strict=True)]
            (lists / f"{action}_test_split{split + 1}.txt").write_text("".join(lines), encoding="utf-8")


def tau2021(root: Path, train: int = 3, test: int = 2) -> None:
    """Ten scenes of five patterns and two tones; recordings of 10 s, each of its own place, sound in wav files."""
    base = root / "TAU-urban-audio-visual-scenes-2021-development"
    columns = ("filename_audio", "filename_video", "scene_label")
    lists: dict[str, list[Sequence[object]]] = {"fold1_train.csv": [columns], "fold1_evaluate.csv": [columns]}
    (base / "audio").mkdir(parents=True)
    for number, scene in enumerate(SCENES):
        for k in range(train + test):
            name, seed = f"{scene}-{CITIES[k % len(CITIES)]}-{10 * number + k}-{100 * number + k}", 100 * number + k
            write_clip(base / "video" / f"{name}.mp4", pictures(number // 2, seed, 10), None)
            samples = (tone(number % 2, seed, 10) * 32767).astype("<i2")
            with wave.open(str(base / "audio" / f"{name}.wav"), "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(RATE)
                file.writeframes(samples.tobytes())
            rows = lists["fold1_train.csv" if k < train else "fold1_evaluate.csv"]
            rows.append((f"audio/{name}.wav", f"video/{name}.mp4", scene))
    for name, rows in lists.items():
        _table(base / "evaluation_setup" / name, rows, "\t")


def _table(path: Path, rows: Iterable[Sequence[object]], delimiter: str = ",") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=delimiter, lineterminator="\n").writerows(rows)

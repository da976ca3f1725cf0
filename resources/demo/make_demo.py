"""Write the demo: short clips in which copies of a handwritten digit drift up or down while a tone sounds.

    python resources/demo/make_demo.py [FOLDER]

The eight classes are 2 digits × 2 directions × 2 sounds. Each handwriting gives two clips: its frames played forwards
with one sound and backwards with the other. So every frame belongs to both directions and both sounds, and no set of
frames without its order can tell them apart; README.md beside this file draws the ceilings from that.
"""

from __future__ import annotations

import csv
import hashlib
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import av
import numpy as np
from scipy import ndimage
from sklearn.datasets import load_digits

SEED = 2
DIGITS = {"zero": 0, "one": 1}
DIRECTIONS = ("down", "up")
SOUNDS = {"low": (210, 270), "high": (1050, 1350)}  # range of the fundamental in Hz
HANDWRITINGS = {"train": 32, "val": 8, "test": 12, "predict": 2}  # of each digit; two clips of each
WITHOUT_SOUND = {"train": 2, "val": 1, "test": 1, "predict": 1}
N_SHARDS = 4

HEIGHT, WIDTH, ROWS, COLUMNS = 96, 128, 2, 4
FPS, N_FRAMES = 15, 23
SAMPLE_RATE = 32000
N_SAMPLES = SAMPLE_RATE * N_FRAMES // FPS
QUANTISER = 38  # of H.264, the same for every frame
AUDIO_BIT_RATE = 24000
FILE_BYTES = 27500  # of every file but the broken one
BROKEN_BYTES = 12000

FIELDS = (
    "item", "video", "audio", "start_seconds", "end_seconds", "label", "split", "group", "shard", "bytes", "sha256",
)  # fmt: skip


@dataclass(frozen=True)
class Clip:
    """What one clip holds and where it belongs; `handwriting` is the number of a sample of `load_digits`."""

    digit: str
    direction: str
    sound: str
    handwriting: int
    split: str
    has_sound: bool = True
    is_broken: bool = False

    @property
    def label(self) -> str:
        return f"{self.digit}-{self.direction}-{self.sound}"


def plan() -> list[Clip]:
    """Return all clips in the shuffled order in which they are numbered from 1."""
    rng = np.random.default_rng(SEED)
    clips: list[Clip] = []
    for digit, number in DIGITS.items():
        samples = iter(rng.permutation(_typical(number, sum(HANDWRITINGS.values()))))
        for split, count in HANDWRITINGS.items():
            for i in range(count):
                handwriting = int(next(samples))
                sounds = list(SOUNDS) if i % 2 else list(reversed(SOUNDS))
                clips += [Clip(digit, *pair, handwriting, split) for pair in zip(DIRECTIONS, sounds, strict=True)]
    clips = [clips[i] for i in rng.permutation(len(clips))]

    for split, count in WITHOUT_SOUND.items():
        for i in [i for i, clip in enumerate(clips) if clip.split == split][:count]:
            clips[i] = replace(clips[i], has_sound=False)
    broken = max(i for i, clip in enumerate(clips) if clip.split == "train")
    clips[broken] = replace(clips[broken], is_broken=True)
    return clips


def frames(clip: Clip) -> np.ndarray:
    """Return the frames of a clip, uint8 [T, H, W, 3] in RGB.

    The digits move on a torus from a uniformly random start, so that their place in a frame says nothing. `up` is
    `down` with time reversed.
    """
    rng = np.random.default_rng([SEED, 0, clip.handwriting])
    ink = _ink(clip.handwriting, height=rng.uniform(36, 40), turn=rng.uniform(-5, 5))
    start = rng.uniform(0, HEIGHT), rng.uniform(0, WIDTH)
    velocity = rng.uniform(24, 34) / FPS, rng.uniform(-4, 4) / FPS  # pixels a frame, down and right
    background = _texture(rng, level=rng.uniform(0.18, 0.22), contrast=rng.uniform(0.01, 0.025))
    colour = rng.uniform(0.92, 1, 3)
    pictures = []
    for t in range(N_FRAMES):
        place = start[0] + velocity[0] * t, start[1] + velocity[1] * t
        mask = ndimage.shift(ink, place, order=1, mode="grid-wrap")[..., None]
        picture = background * (1 - mask) + colour * mask + rng.normal(0, 0.01, (HEIGHT, WIDTH, 1))
        pictures.append(np.round(255 * picture.clip(0, 1)).astype(np.uint8))
    return np.stack(pictures if clip.direction == "down" else pictures[::-1])


def waveform(clip: Clip) -> np.ndarray:
    """Return the sound of a clip, float32 [n] in [-1, 1], 32 kHz: a trembling tone with overtones in noise."""
    rng = np.random.default_rng([SEED, 1, clip.handwriting, DIRECTIONS.index(clip.direction)])
    seconds = np.arange(N_SAMPLES) / SAMPLE_RATE
    pitch = np.exp(rng.uniform(*np.log(SOUNDS[clip.sound])))
    partials = [
        rng.uniform(0.7, 1) / k * np.sin(2 * np.pi * (k * pitch * seconds + rng.uniform())) for k in range(1, 5)
    ]
    tremor = 1 + rng.uniform(0.1, 0.3) * np.sin(2 * np.pi * (rng.uniform(3, 7) * seconds + rng.uniform()))
    tone = tremor * np.sum(partials, axis=0)
    noise = rng.normal(0, rng.uniform(0.01, 0.02), N_SAMPLES)
    return (rng.uniform(0.35, 0.6) * tone / np.abs(tone).max() + noise).clip(-1, 1).astype(np.float32)


def encode(path: Path, pictures: np.ndarray, sound: np.ndarray | None) -> None:
    """Write an mp4 file with H.264 and, where there is `sound`, AAC.

    Every frame is a key frame with the same quantiser, so that its decoded pixels depend on nothing but
    itself, not on what came before it. The `moov` box comes last, so that a file that is cut short cannot be opened.
    """
    with av.open(str(path), "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        options = {"qp": str(QUANTISER), "preset": "veryslow", "tune": "psnr", "x264-params": "keyint=1:threads=1"}
        video = container.add_stream(
            "libx264", rate=FPS, width=WIDTH, height=HEIGHT, pix_fmt="yuv420p", options=options
        )
        audio = None
        if sound is not None:
            audio = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono", bit_rate=AUDIO_BIT_RATE)
        for picture in pictures:
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode())
        if audio is not None and sound is not None:
            samples = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
            samples.sample_rate, samples.pts = SAMPLE_RATE, 0
            container.mux(audio.encode(samples))
            container.mux(audio.encode())


def pad(path: Path, n_bytes: int) -> None:
    """Append a `free` box, which readers of mp4 skip, so that the file has `n_bytes` and its size says nothing."""
    missing = n_bytes - path.stat().st_size
    if missing < 8:
        raise ValueError(f"{path} must have at most {n_bytes - 8} bytes, got {path.stat().st_size}; raise QUANTISER")
    with path.open("ab") as file:
        file.write(missing.to_bytes(4, "big") + b"free" + bytes(missing - 8))


def write(path: Path, clip: Clip) -> None:
    """Write the file of `clip`."""
    encode(path, frames(clip), waveform(clip) if clip.has_sound else None)
    pad(path, FILE_BYTES)
    if clip.is_broken:
        path.write_bytes(path.read_bytes()[:BROKEN_BYTES])


def main(folder: Path) -> None:
    """Write `folder`/clips/*.mp4 and the manifest `folder`/clips.tsv."""
    clips = plan()
    (folder / "clips").mkdir(parents=True, exist_ok=True)
    with (folder / "clips.tsv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.DictWriter(file, FIELDS, restval="", delimiter="\t", lineterminator="\n")
        rows.writeheader()
        for i, clip in enumerate(clips):
            path = folder / "clips" / f"clip_{i + 1:04d}.mp4"
            write(path, clip)
            rows.writerow(
                {
                    "item": path.stem,
                    "video": f"clips/{path.name}",
                    "audio": f"clips/{path.name}",
                    "label": "" if clip.split == "predict" else clip.label,
                    "split": clip.split,
                    "group": f"handwriting_{clip.handwriting}",
                    "shard": f"{i * N_SHARDS // len(clips) + 1:03d}",
                    "bytes": path.stat().st_size,
                    "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                }
            )


def _typical(number: int, count: int) -> np.ndarray:
    """Return the `count` handwritings of the digit `number` that are nearest to their mean, int64 [count]."""
    images, target = map(np.asarray, load_digits(return_X_y=True))
    samples = np.flatnonzero(target == number)
    distances = np.linalg.norm(images[samples] - images[samples].mean(0), axis=1)
    return samples[np.argsort(distances, kind="stable")[:count]]


def _ink(handwriting: int, height: float, turn: float) -> np.ndarray:
    """Return rows and columns of a handwriting, float [H, W] in [0, 1]; `height` in pixels, `turn` in degrees."""
    image = np.asarray(load_digits(return_X_y=True)[0])[handwriting].reshape(8, 8) / 16
    digit = ndimage.zoom(np.pad(image, 4), height / 8, order=1)
    digit = ndimage.gaussian_filter(ndimage.rotate(digit, turn, reshape=False, order=1), 1.3)
    cell = HEIGHT // ROWS, WIDTH // COLUMNS
    top, left = ((have - want) // 2 for have, want in zip(digit.shape, cell, strict=True))
    cut = digit[top : top + cell[0], left : left + cell[1]]
    return np.tile(((cut - 0.3) / 0.3).clip(0, 1), (ROWS, COLUMNS))


def _texture(rng: np.random.Generator, level: float, contrast: float) -> np.ndarray:
    """Return a background that stands still, float [H, W, 3]: smooth coloured noise."""
    noise = ndimage.gaussian_filter(rng.normal(size=(HEIGHT, WIDTH, 3)), (6, 6, 0), mode="wrap")
    return level + contrast * noise / noise.std() + rng.uniform(-0.02, 0.02, 3)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)

"""Which clips the page shows for the cells of the confusion matrices, what is said of them, and their pictures."""

from __future__ import annotations

import base64
import json
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from report_results import Experiment

from braid.errors import StoreError
from braid.media import codec
from braid.report.clip_pictures import FRAME_HEIGHT, MOST_BYTES, N_FRAMES, N_MELS, SOUND_WIDTH, draw, jpeg, spectrogram
from braid.report.clips import IN_ALL, PER_CELL, Answers, choose, draw_clips, proposed
from braid.schemes.results import Predictions, read_predictions, write_predictions
from braid.store.decoded import DecodedShard, DecodedWriter

RATE = 16_000


def write_shard(path: Path, clips: dict[str, tuple[np.ndarray, np.ndarray]], sound_start: float = 0.0) -> Path:
    """Write a decoded shard of pictures, uint8 [T, H, W, 3], ten a second, and sound, float32 [n]; none where empty."""
    settings = {"codec": "lossless", "sample_rate": RATE}
    encode = codec.encoder(settings)
    with DecodedWriter(path, {"settings": settings}) as writer:
        for clip, (pictures, sound) in clips.items():
            encoded = [encode(picture) for picture in pictures]
            offsets, times = np.cumsum([0, *map(len, encoded)]), np.arange(len(encoded)) / 10
            parts = {"frames": b"".join(encoded), "offsets": offsets.tobytes(), "times": times.tobytes()}
            parts["waveform"] = sound.astype(np.float32).tobytes()
            starts = np.cumsum([0, *map(len, parts.values())]).tolist()
            lengths = [int(offsets[-1]), len(offsets), len(times), len(sound)]
            info = {"n_frames": len(encoded), "height": pictures.shape[1], "width": pictures.shape[2]}
            missing = {"status": "missing", "reason": "the file has none", "info": {}}
            heard = {"status": "ok", "reason": "", "info": {"n_samples": len(sound)}}
            record = {
                "video": {"status": "ok", "reason": "", "info": info} if encoded else missing,
                "audio": heard if len(sound) else missing,
                "audio_start_seconds": sound_start,
                "arrays": {name: (at, n) for name, at, n in zip(parts, starts, lengths, strict=False)},
            }
            writer.append(clip, record, BytesIO(b"".join(parts.values())))
    return path


def picture(url: Any) -> np.ndarray:
    """Return the picture of a data URL, uint8 [H, W, 3], RGB."""
    head, content = url.split(",")
    assert head == "data:image/jpeg;base64"
    decoded: Any = cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_COLOR)
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)


def answers(labels: list[int], predicted: list[int], sure: list[float], n_classes: int = 3) -> Answers:
    """Return the answers of one run: `sure` is the probability of the class that is named."""
    votes = np.eye(n_classes, dtype=np.int64)[predicted]
    return Answers(np.array(labels), votes, (votes * np.array(sure)[:, None]).astype(np.float32))


def test_errors_are_put_forward_before_right_answers_and_the_surest_first() -> None:
    found = proposed(answers([0, 0, 0, 1, 1], [0, 1, 1, 2, 1], [0.99, 0.6, 0.7, 0.5, 0.9]))
    assert found == [2, 3, 1, 0, 4]  # the surest of each wrong cell, the second ones, then what is right


def test_no_more_of_a_cell_are_put_forward_than_asked_for() -> None:
    n = 3 * PER_CELL
    sure = np.linspace(0.4, 0.9, n).tolist()
    assert proposed(answers([0] * n, [1] * n, sure)) == [n - 1 - i for i in range(PER_CELL)]


def test_an_item_that_runs_disagree_on_is_in_several_cells() -> None:
    votes = np.array([[1, 2, 0]])
    assert proposed(Answers(np.array([0]), votes, np.array([[0.3, 0.6, 0.1]], np.float32))) == [0, 0]


def test_schemes_propose_in_turn_and_no_item_twice() -> None:
    assert choose([[5, 6, 7], [5, 8], []]) == [5, 8, 6, 7]
    many = choose([list(range(1000)), list(range(1000, 2000))])
    assert len(many) == len(set(many)) == IN_ALL
    assert many[:4] == [0, 1000, 1, 1001]


def test_answers_are_counted_over_folds_and_seeds(tmp_path: Path) -> None:
    experiment = Experiment(n_folds=2, seeds=(0, 1))
    results = experiment.write(tmp_path)
    found = json.loads((results / "clips" / "clips.json").read_text(encoding="utf-8"))
    assert found["schemes"] == list(experiment.accuracies)
    assert found["n_items"] == 30
    assert len({clip["item"] for clip in found["clips"]}) == len(found["clips"]) == 30  # fewer than may be shown
    runs = [read_predictions(path) for path in results.glob("schemes/late/*/*/predictions.h5")]
    for clip in found["clips"]:
        given = np.array([run.probabilities[run.items.index(clip["item"])] for run in runs])
        told = clip["answers"][found["schemes"].index("late")]
        counts = np.bincount(given.argmax(axis=1), minlength=3)
        assert told["votes"] == [[c, n] for c, n in enumerate(counts.tolist()) if n]
        assert [c for c, _ in told["probabilities"]] == np.argsort(-given.mean(axis=0)).tolist()
        for c, thousandths in told["probabilities"]:
            assert thousandths / 1000 == pytest.approx(given.mean(axis=0)[c], abs=6e-4)
        assert runs[0].labels[runs[0].items.index(clip["item"])] == clip["label"]


def test_predictions_of_other_items_are_refused(tmp_path: Path) -> None:
    results = Experiment(seeds=(0,), n_items=48).write(tmp_path)
    path = results / "schemes" / "late" / "fold1" / "seed0" / "predictions.h5"
    old = read_predictions(path)
    write_predictions(path, Predictions(**{**vars(old), "items": [f"other {name}" for name in old.items]}))
    with pytest.raises(StoreError, match="train again") as error:
        draw_clips(results, ["sound", "late"], ["1"], [0], {}, results / "clips" / "clips.json")
    assert str(path) in str(error.value)


def test_clips_of_deleted_shards_come_without_pictures_and_say_why(tmp_path: Path) -> None:
    results = Experiment(seeds=(0,)).write(tmp_path)
    clips = json.loads((results / "clips" / "clips.json").read_text(encoding="utf-8"))["clips"]
    assert all(clip["frames"] is None and clip["sound"] is None for clip in clips)
    assert {clip["why"] for clip in clips} == {"its decoded shard was deleted before it could be drawn"}


def test_clips_come_with_their_own_pictures(tmp_path: Path) -> None:
    experiment = Experiment(seeds=(0,), n_items=24, n_predict=0)
    results = experiment.write(tmp_path)
    items = {row["item"]: row for row in experiment.items(tmp_path).iter_rows(named=True)}
    grey = {row["clip"]: 10 * int(row["item"].split()[1]) for row in items.values()}
    shots = {clip: (np.full((3, 32, 48, 3), level, np.uint8), np.zeros(0)) for clip, level in grey.items()}
    shard = write_shard(tmp_path / "s0.zarr.zip", shots)
    draw_clips(results, ["late"], ["1"], [0], {"s0": shard}, results / "clips" / "clips.json")
    clips = json.loads((results / "clips" / "clips.json").read_text(encoding="utf-8"))["clips"]
    assert len(clips) == 6
    for clip in clips:
        assert abs(np.median(picture(clip["frames"])) - grey[items[clip["item"]]["clip"]]) < 2
        assert clip["why"] == "no sound: the file has none"


@pytest.fixture
def shard(tmp_path: Path) -> DecodedShard:
    rng = np.random.default_rng(0)
    steps = np.repeat(np.arange(30, dtype=np.uint8) * 8, 60 * 80 * 3).reshape(30, 60, 80, 3)
    tone = np.sin(2 * np.pi * 1000 * np.arange(3 * RATE) / RATE) * (np.arange(3 * RATE) < RATE)
    noise = rng.integers(0, 256, (12, 96, 170, 3), dtype=np.uint8)
    return DecodedShard(
        write_shard(
            tmp_path / "a.zarr.zip",
            {"both": (steps, tone), "noise": (noise, rng.normal(size=RATE)), "mute": (steps, np.zeros(0))},
        )
    )


def test_frames_are_those_in_the_middle_of_equal_parts(shard: DecodedShard) -> None:
    with shard:
        strip = picture(draw(shard["both"], None, None)["frames"])
        part = picture(draw(shard["both"], 1.0, 1.6)["frames"])
    assert strip.shape == (FRAME_HEIGHT, 80 * N_FRAMES, 3)
    shades = np.median(strip.reshape(FRAME_HEIGHT, N_FRAMES, 80, 3), axis=(0, 2, 3))
    assert shades == pytest.approx([8 * i for i in (2, 7, 12, 17, 22, 27)], abs=2)
    shades = np.median(part.reshape(FRAME_HEIGHT, N_FRAMES, 80, 3), axis=(0, 2, 3))
    assert shades == pytest.approx([8 * i for i in range(10, 16)], abs=2)


def test_a_tone_is_a_line_at_its_height_for_as_long_as_it_sounds(shard: DecodedShard) -> None:
    with shard:
        drawn = spectrogram(shard["both"], 0.0, 3.0).astype(int)
    assert drawn.shape == (N_MELS, SOUND_WIDTH, 3)
    bright = drawn.sum(axis=2)
    mel = 2595 * np.log10(1 + np.array([1000, RATE / 2]) / 700)
    row = N_MELS - 1 - int(mel[0] / mel[1] * (N_MELS + 1) - 0.5)
    assert abs(int(bright[:, : SOUND_WIDTH // 4].mean(axis=1).argmax()) - row) <= 1
    assert bright[row, 5 : SOUND_WIDTH // 3 - 5].min() > 2 * bright[:, SOUND_WIDTH // 3 + 5 :].max()


def test_silence_and_what_lies_outside_of_the_sound_are_dark() -> None:
    class Sound:
        sample_rate, audio_start_seconds, n_samples = RATE, 1.0, RATE

        def waveform(self, start: int, stop: int) -> np.ndarray:
            return np.random.default_rng(0).normal(size=RATE).astype(np.float32)[start:stop]

    bright = spectrogram(Sound(), 0.0, 4.0).astype(int).sum(axis=(0, 2))
    quarter = SOUND_WIDTH // 4
    assert bright[quarter + 5 : 2 * quarter - 5].min() > bright[: quarter - 5].max() == bright[2 * quarter + 5 :].max()
    silent = SimpleNamespace(**vars(Sound) | {"waveform": lambda start, stop: np.zeros(stop - start, np.float32)})
    assert len(np.unique(spectrogram(silent, 1.0, 2.0).reshape(-1, 3), axis=0)) == 1


def test_what_is_missing_is_said(shard: DecodedShard) -> None:
    with shard:
        mute = draw(shard["mute"], None, None)
        outside = draw(shard["both"], 10.0, 12.0)
    assert mute["frames"] and mute["sound"] is None and mute["why"] == "no sound: the file has none"
    assert outside["frames"] is None and outside["sound"] is None
    assert "no frames" in str(outside["why"]) and "no sound" in str(outside["why"])


def test_pictures_of_noise_are_small_files_too(shard: DecodedShard) -> None:
    with shard:
        drawn = draw(shard["noise"], None, None)
    noise = np.random.default_rng(0).integers(0, 256, (400, 900, 3), dtype=np.uint8)
    for url in (drawn["frames"], drawn["sound"], jpeg(noise)):
        assert 0 < len(base64.b64decode(str(url).split(",")[1])) <= MOST_BYTES

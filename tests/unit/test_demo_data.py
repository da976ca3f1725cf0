"""The demo's clips are what their manifest says, come from the script beside them, and leak nothing of their class."""

import csv
import hashlib
import importlib.util
import sys
from collections import Counter, defaultdict
from pathlib import Path

import av
import numpy as np
import pytest
from av.error import InvalidDataError
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

FOLDER = Path(__file__).parents[2] / "resources" / "demo"
MAX_BYTES = 6_000_000
BY_CHANCE = 0.01
"""A guess that is right this often or oftener, by luck alone, counts as luck."""

_spec = importlib.util.spec_from_file_location("make_demo", FOLDER / "make_demo.py")
assert _spec is not None and _spec.loader is not None
make_demo = sys.modules["make_demo"] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(make_demo)


def read_frames(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def read_sound(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    with (FOLDER / "clips.tsv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


@pytest.fixture(scope="module")
def clips() -> dict:
    """Every clip that can be decoded, by its path, in the order of the manifest."""
    paths = [FOLDER / "clips" / f"clip_{i + 1:04d}.mp4" for i in range(len(make_demo.plan()))]
    return {path: clip for path, clip in zip(paths, make_demo.plan(), strict=True) if not clip.is_broken}


@pytest.fixture(scope="module")
def pictures(clips) -> dict[Path, np.ndarray]:
    """The decoded frames of every clip, uint8 [T, H, W, 3]."""
    return {path: read_frames(path) for path in clips}


def guess(features: list[np.ndarray], answers: list[str], groups: list[int]) -> float:
    """Return how likely luck does as well as a linear classifier does on groups that it was not trained on."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    guesses = cross_val_predict(model, np.stack(features), answers, groups=groups, cv=GroupKFold(6))
    n_right = int(np.sum(guesses == np.array(answers)))
    return float(binomtest(n_right, len(answers), 1 / len(set(answers)), alternative="greater").pvalue)


def thumbnail(picture: np.ndarray) -> np.ndarray:
    """Return the grey levels of a frame in 8×8 fields and their mean and spread in colour."""
    grey = picture.mean(-1)
    fields = grey.reshape(8, grey.shape[0] // 8, 8, grey.shape[1] // 8).mean((1, 3))
    return np.concatenate([fields.ravel(), picture.mean((0, 1)), picture.std((0, 1))])


def spectrum(sound: np.ndarray) -> np.ndarray:
    """Return the log power of a sound in 24 bands of equal width up to 4 kHz."""
    power = np.abs(np.fft.rfft(sound)) ** 2
    top = len(sound) * 4000 // make_demo.SAMPLE_RATE
    return np.log([band.mean() + 1e-9 for band in np.array_split(power[:top], 24)])


def test_manifest_names_exactly_the_files_there_are(rows):
    files = {f"clips/{path.name}" for path in (FOLDER / "clips").iterdir()}
    assert {row["video"] for row in rows} == files == {row["audio"] for row in rows}
    assert len(rows) == len(files) == len({row["item"] for row in rows})
    for row in rows:
        content = (FOLDER / row["video"]).read_bytes()
        assert (int(row["bytes"]), row["sha256"]) == (len(content), hashlib.sha256(content).hexdigest()), row["item"]


def test_files_are_small_enough_to_commit():
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.suffix != ".pyc") <= MAX_BYTES


def test_manifest_follows_the_plan(rows):
    for row, clip in zip(rows, make_demo.plan(), strict=True):
        label = "" if clip.split == "predict" else clip.label
        assert (row["label"], row["split"], row["group"]) == (label, clip.split, f"handwriting_{clip.handwriting}")


def test_classes_are_balanced_in_every_split():
    counts = Counter((clip.split, clip.label) for clip in make_demo.plan())
    for split in make_demo.HANDWRITINGS:
        of_split = [n for (where, _), n in counts.items() if where == split]
        assert len(of_split) == 8 and len(set(of_split)) == 1, split


def test_groups_do_not_straddle_splits(rows):
    splits = defaultdict(set)
    for row in rows:
        splits[row["group"]].add(row["split"])
    assert all(len(of_group) == 1 for of_group in splits.values())


def test_shards_hold_every_class_and_labelled_split(rows):
    for shard in {row["shard"] for row in rows}:
        of_shard = [row for row in rows if row["shard"] == shard]
        assert len({row["label"] for row in of_shard} - {""}) == 8
        assert {row["split"] for row in of_shard} >= {"train", "val", "test"}


def test_some_clips_of_every_split_have_no_sound(clips):
    without = Counter()
    for path, clip in clips.items():
        with av.open(str(path)) as container:
            assert bool(container.streams.audio) == clip.has_sound, path.name
        without[clip.split] += not clip.has_sound
    assert without == make_demo.WITHOUT_SOUND


def test_the_broken_file_cannot_be_opened(rows):
    broken = [row for row, clip in zip(rows, make_demo.plan(), strict=True) if clip.is_broken]
    assert [row["split"] for row in broken] == ["train"]
    with pytest.raises(InvalidDataError):
        av.open(str(FOLDER / broken[0]["video"]))


def test_containers_are_all_alike(clips):
    assert {path.stat().st_size for path in clips} == {make_demo.FILE_BYTES}
    videos, sounds = set(), set()
    for path in clips:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            n_key_frames = sum(packet.is_keyframe for packet in container.demux(video=0))
            settings = stream.codec_context.extradata
            videos.add((stream.frames, n_key_frames, stream.start_time, stream.duration, settings))
            sounds |= {(s.start_time, s.duration, s.codec_context.extradata) for s in container.streams.audio}
    assert len(videos) == 1 and len(sounds) == 1
    assert {video[:2] for video in videos} == {(make_demo.N_FRAMES, make_demo.N_FRAMES)}


def test_script_makes_the_committed_clips(clips, tmp_path):
    chosen = [*list(clips)[:3], next(path for path, clip in clips.items() if not clip.has_sound)]
    for path in chosen:
        again = tmp_path / path.name
        make_demo.write(again, clips[path])
        difference = read_frames(again).astype(int) - read_frames(path)
        assert np.abs(difference).mean() < 0.1
        if clips[path].has_sound:
            assert np.abs(read_sound(again) - read_sound(path)).max() < 1e-3


def test_both_directions_show_the_same_frames_in_opposite_order(clips, pictures):
    pairs = defaultdict(dict)
    for path, clip in clips.items():
        pairs[clip.handwriting][clip.direction] = path
    whole = [pair for pair in pairs.values() if len(pair) == 2]
    assert len(whole) == len(pairs) - 1  # the broken clip's partner stands alone
    for pair in whole:
        np.testing.assert_array_equal(pictures[pair["down"]], pictures[pair["up"]][::-1])
        assert clips[pair["down"]].sound != clips[pair["up"]].sound


@pytest.mark.parametrize("index", [0, make_demo.N_FRAMES // 2, make_demo.N_FRAMES - 1])
def test_one_frame_tells_neither_direction_nor_sound(clips, pictures, index):
    features = [thumbnail(of_clip[index]) for of_clip in pictures.values()]
    groups = [clip.handwriting for clip in clips.values()]
    assert guess(features, [clip.direction for clip in clips.values()], groups) > BY_CHANCE
    assert guess(features, [clip.sound for clip in clips.values()], groups) > BY_CHANCE


def test_a_frame_tells_the_digit_and_a_pair_of_frames_the_direction(clips, pictures):
    """What the tests of leaks look for, they would find."""
    groups = [clip.handwriting for clip in clips.values()]
    power = [np.log(np.abs(np.fft.rfft2(p[0].mean(-1)))[:12:2, :16:4] + 1).ravel() for p in pictures.values()]
    assert guess(power, [clip.digit for clip in clips.values()], groups) < 1e-6
    shifts = []
    for of_clip in pictures.values():
        rows = [row - row.mean() for row in of_clip[:, :, :, 1].mean(2)[[0, 2]]]
        shifts.append(np.array([rows[1] @ np.roll(rows[0], shift) for shift in range(-8, 9)]))
    assert guess(shifts, [clip.direction for clip in clips.values()], groups) < 1e-6


def test_sound_tells_pitch_and_nothing_else(clips):
    heard = {path: clip for path, clip in clips.items() if clip.has_sound}
    features = [spectrum(read_sound(path)) for path in heard]
    groups = [clip.handwriting for clip in heard.values()]
    assert guess(features, [clip.sound for clip in heard.values()], groups) < 1e-6
    assert guess(features, [clip.digit for clip in heard.values()], groups) > BY_CHANCE
    assert guess(features, [clip.direction for clip in heard.values()], groups) > BY_CHANCE

import json

import polars as pl
import pytest

from braid.errors import TooManyProblems
from braid.media import problems
from braid.media.problems import Problem
from braid.store.decoded import DecodedWriter

SETTINGS = {"codec": "jpeg", "sample_rate": 8000}


def stream(status, reason=""):
    return {"status": status, "reason": reason, "info": {}}


CLIPS = {
    "a": (stream("ok"), stream("ok")),
    "b": (stream("ok"), stream("missing", "the file has no sound stream")),
    "c": (stream("unreadable", "it is\tbroken\nbadly"), stream("unreadable", "it is broken")),
    "d": (stream("unreadable", 'no "frame"'), stream("missing", "the manifest names no audio file")),
    "e": (stream("damaged", "two packets"), stream("short", "ends early")),
    "gone": (stream("unreadable", "left the manifest"), stream("unreadable", "left the manifest")),
}


@pytest.fixture
def items():
    names = ["a", "b", "c", "d", "e", "e"]
    videos = ["a.mp4", 'b "quoted".mp4', "c\nnew\tline.mp4", "d.mp4", "e.mp4", "e.mp4"]
    audios = ["" if name == "d" else video for name, video in zip(names, videos, strict=True)]
    return pl.DataFrame({"clip": names, "video": videos, "audio": audios, "shard": ["s"] * 6})


@pytest.fixture
def found(tmp_path, items):
    path = tmp_path / "s.zarr.zip"
    with DecodedWriter(path, {"settings": SETTINGS}) as writer:
        for clip, (video, audio) in CLIPS.items():
            writer.append(clip, {"video": video, "audio": audio, "audio_start_seconds": 0.0}, None)
    return problems.collect([path], items)


def test_what_is_listed(found):
    assert [(one.clip, one.stream, one.status) for one in found] == [
        ("b", "audio", "missing"),
        ("c", "audio", "unreadable"),
        ("c", "video", "unreadable"),
        ("d", "video", "unreadable"),
        ("e", "audio", "short"),
        ("e", "video", "damaged"),
    ]
    assert {one.shard for one in found} == {"s"}


def test_the_table_gives_back_any_name(tmp_path, found):
    path = tmp_path / "problems.tsv"
    problems.write(found, path)
    assert problems.read(path) == found
    table = pl.read_csv(path, separator="\t", infer_schema=False, empty_string_is_null=False)
    assert table.columns == problems.COLUMNS
    assert [Problem(**row) for row in table.to_dicts()] == found


def test_no_problems_are_a_header(tmp_path):
    problems.write([], tmp_path / "problems.tsv")
    assert (tmp_path / "problems.tsv").read_text() == "\t".join(problems.COLUMNS) + "\n"


def test_clips_without_any_usable_stream_are_bad(tmp_path, found, items):
    table, out = tmp_path / "problems.tsv", tmp_path / "counts.json"
    problems.write(found, table)
    problems.check(table, items, 0.4, out)  # c and d of five
    counts = json.loads(out.read_text())
    assert (counts["clips"], counts["bad"]) == (5, 2)
    assert counts["statuses"]["video"] == {"damaged": 1, "unreadable": 2}
    out.unlink()
    with pytest.raises(TooManyProblems, match=r"(?s)2 of 5 clips.*max_bad_fraction 0\.39.*problems\.tsv.*d\.mp4"):
        problems.check(table, items, 0.39, out)
    assert not out.exists()

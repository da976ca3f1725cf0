"""`braid index`: from folders and tables to manifests, once and again."""

import hashlib
import os
from collections import Counter
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from braid import index, manifest
from braid.cli import main
from braid.datasets import splits
from braid.errors import ManifestError

TRICKY = ["a b.mp4", "it's.mp4", 'say "b".mp4', "x;y#z&.mp4", "-dash.mp4", "é雪.MP4", "two\nlines.mp4", "tab\t.mkv"]


def put(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def run(*arguments):
    assert main([str(argument) for argument in arguments]) == 0


def refused(capsys, *arguments):
    assert main([str(argument) for argument in arguments]) == 2
    return capsys.readouterr().err


@pytest.fixture
def output(tmp_path):
    return tmp_path / "resources" / "new" / "clips.tsv"


def test_a_folder_a_class(tmp_path, output, capsys):
    put(
        tmp_path,
        *(f"data/dog/{name}" for name in TRICKY),
        "data/cat/deep/er/c.wav",
        "data/loose.avi",
        "data/dog/note.txt",
    )
    run("index", "folder", tmp_path / "data", "-o", output)
    items = {row["item"]: row for row in manifest.read(output).iter_rows(named=True)}
    assert set(items) == {*(f"dog/{name}" for name in TRICKY), "cat/deep/er/c.wav", "loose.avi"}
    for name in TRICKY:
        row = items[f"dog/{name}"]
        assert row["video"] == row["audio"] == f"../../data/dog/{name}"
        assert (row["label"], row["bytes"]) == ("dog", len(f"data/dog/{name}".encode()))
    sound = items["cat/deep/er/c.wav"]
    assert (sound["video"], sound["audio"], sound["label"]) == ("", "../../data/cat/deep/er/c.wav", "cat")
    assert (items["loose.avi"]["label"], items["loose.avi"]["split_1"]) == (None, "predict")
    assert "Left out, since they are no media files: 1 .txt." in capsys.readouterr().out
    clips = index.update(output, tmp_path / "index").clips("s0000")
    assert all(Path(path).is_file() for path in clips["audio"])


def test_split_folders(tmp_path, output):
    put(tmp_path / "data", "train/dog/1.mp4", "val/dog/2.mp4", "test/cat/3.mp4", "predict/4.mp4", "predict/x/5.mp4")
    run("index", "folder", tmp_path / "data", "-o", output)
    rows = manifest.read(output).select("item", "split_1", "label").rows()
    assert rows == [
        ("predict/4.mp4", "predict", None),
        ("predict/x/5.mp4", "predict", None),
        ("test/cat/3.mp4", "test", "cat"),
        ("train/dog/1.mp4", "train", "dog"),
        ("val/dog/2.mp4", "val", "dog"),
    ]


def test_a_split_folder_needs_labels(tmp_path, output, capsys):
    put(tmp_path / "data", "train/1.mp4")
    assert "is in train but in no folder of a label" in refused(
        capsys, "index", "folder", tmp_path / "data", "-o", output
    )


def test_a_class_may_be_named_like_a_split(tmp_path, output):
    put(tmp_path / "data", "train/1.mp4", "bus/2.mp4")
    run("index", "folder", tmp_path / "data", "-o", output)
    assert manifest.read(output)["label"].to_list() == ["bus", "train"]


def test_separate_sound_files(tmp_path, output, capsys):
    put(tmp_path / "data", "dog/1.mp4", "dog/2.mp4")
    put(tmp_path / "sound", "dog/1.wav")
    run("index", "folder", tmp_path / "data", "--audio-root", tmp_path / "sound", "-o", output)
    items = manifest.read(output)
    assert items["audio"].to_list() == ["../../sound/dog/1.wav", ""]
    assert items["bytes"].to_list() == [len("dog/1.mp4") + len("dog/1.wav"), len("dog/2.mp4")]
    assert "1 of 2 files have no sound file" in capsys.readouterr().out


def test_groups_from_paths(tmp_path, output, capsys):
    put(tmp_path / "data", *(f"dog/v_g{group:02}_c{i}.mp4" for group in range(20) for i in range(3)))
    run("index", "folder", tmp_path / "data", "-o", output, "--group-pattern", r"_(g\d+)_")
    items = manifest.read(output)
    assert items["group"].unique().sort().to_list() == [f"g{group:02}" for group in range(20)]
    assert items.group_by("group").agg(pl.col("split_1").n_unique())["split_1"].max() == 1
    assert "matches nothing" in refused(capsys, "index", "folder", tmp_path, "-o", output, "--group-pattern", "_h")
    assert "no regular" in refused(capsys, "index", "folder", tmp_path, "-o", output, "--group-pattern", "(")


def test_links_are_followed_once(tmp_path, output):
    put(tmp_path, "data/dog/1.mp4", "elsewhere/2.mp4", "data/.hidden/3.mp4", "data/dog/._1.mp4")
    (tmp_path / "data" / "cat").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "dog" / "up").symlink_to(tmp_path / "data")
    run("index", "folder", tmp_path / "data", "-o", output)
    assert manifest.read(output)["item"].to_list() == ["cat/2.mp4", "dog/1.mp4"]


def test_a_name_that_is_not_utf8(tmp_path, output, capsys):
    put(tmp_path / "data", "dog/1.mp4")
    os.close(os.open(os.fsencode(tmp_path / "data" / "dog") + b"/\xff.mp4", os.O_CREAT | os.O_WRONLY))
    message = refused(capsys, "index", "folder", tmp_path / "data", "-o", output)
    assert r"the name b'dog/\xff.mp4' is not UTF-8" in message


@pytest.mark.parametrize("root", ["empty", "absent"])
def test_a_folder_without_media(tmp_path, output, capsys, root):
    (tmp_path / "empty").mkdir()
    message = refused(capsys, "index", "folder", tmp_path / root, "-o", output)
    assert message.startswith("braid: ")
    assert root in message


def test_indexing_again(tmp_path, output, capsys):
    put(tmp_path / "data", *(f"dog/{i}.mp4" for i in range(5)), *(f"cat/{i}.mp4" for i in range(5)))
    command = ["index", "folder", tmp_path / "data", "-o", output, "--shard-size"]
    run(*command, 4)
    first = output.read_bytes(), output.stat().st_mtime_ns
    before = manifest.read(output)
    assert before["shard"].to_list() == ["s0000"] * 4 + ["s0001"] * 4 + ["s0002"] * 2
    run(*command, 3)
    assert (output.read_bytes(), output.stat().st_mtime_ns) == first

    put(tmp_path / "data", "ant/1.mp4", "dog/9.mp4")
    (tmp_path / "data" / "cat" / "1.mp4").write_bytes(b"longer than it was")
    (tmp_path / "data" / "dog" / "4.mp4").unlink()
    capsys.readouterr()
    run(*command, 1)
    printed = capsys.readouterr().out
    assert "New: '../../data/ant/1.mp4', '../../data/dog/9.mp4'." in printed
    assert "Changed: '../../data/cat/1.mp4'." in printed
    assert "Gone: '../../data/dog/4.mp4'." in printed
    after = manifest.read(output)
    both = before.join(after, on="item", suffix=" after")
    assert both.height == 9
    assert both["shard"].equals(both["shard after"], check_names=False)
    assert both["split_1"].equals(both["split_1 after"], check_names=False)
    assert both.filter(pl.col("bytes") != pl.col("bytes after"))["item"].to_list() == ["cat/1.mp4"]
    assert after.join(before, on="item", how="anti").select("item", "shard").rows() == [
        ("ant/1.mp4", "s0003"),
        ("dog/9.mp4", "s0004"),
    ]


def test_splits_and_groups_edited_by_hand_stay(tmp_path, output):
    put(tmp_path / "data", *(f"dog/{i}.mp4" for i in range(6)))
    run("index", "folder", tmp_path / "data", "-o", output)
    edited = manifest.read(output).with_columns(
        split_1=pl.Series(["val", "val", None, "test", "train", "test"]),
        group=pl.Series(["g", "g", "h", "i", "j", "k"]),
    )
    manifest.write(edited, output)
    run("index", "folder", tmp_path / "data", "-o", output)
    assert manifest.read(output).equals(edited)


def test_checksums(tmp_path, output):
    put(tmp_path / "data", "dog/1.mp4", "dog/2.mp4")
    command = ["index", "folder", tmp_path / "data", "-o", output]
    run(*command)
    assert manifest.read(output)["sha256"].to_list() == [None, None]
    run(*command, "--sha256")
    first = manifest.read(output)["sha256"].to_list()
    assert first == [hashlib.sha256(name).hexdigest() for name in (b"dog/1.mp4", b"dog/2.mp4")]
    (tmp_path / "data" / "dog" / "1.mp4").write_bytes(b"DOG/1.mp4")
    run(*command)
    assert manifest.read(output)["sha256"].to_list() == first
    put(tmp_path / "data", "dog/3.mp4")
    run(*command, "--sha256")
    second = manifest.read(output)["sha256"].to_list()
    assert second[0] != first[0]
    assert second[1] == first[1]
    put(tmp_path / "data", "dog/4.mp4")
    run(*command)
    assert manifest.read(output)["sha256"].null_count() == 0


TABLE = 'path\tlabel\tnote\na/-1.mp4\tdog\t\na/2.mp4\tcat\tbetter\na/3.mp3\t\tits only "video" is a picture\n'


def test_a_table(tmp_path, output, capsys):
    put(tmp_path / "data", "a/-1.mp4", "a/2.mp4", "a/3.mp3")
    (tmp_path / "data" / "clips.tsv").write_text(TABLE)
    run("index", "csv", tmp_path / "data" / "clips.tsv", "-o", output)
    assert manifest.read(output).select("item", "video", "audio", "label", "split_1").rows() == [
        ("a/-1.mp4", "../../data/a/-1.mp4", "../../data/a/-1.mp4", "dog", "train"),
        ("a/2.mp4", "../../data/a/2.mp4", "../../data/a/2.mp4", "cat", "train"),
        ("a/3.mp3", "", "../../data/a/3.mp3", None, "predict"),
    ]
    assert "video is 'path', label is 'label'; not used: 'note'." in capsys.readouterr().out


def test_a_table_with_everything(tmp_path, output):
    put(tmp_path / "media", "1.mp4", "1.wav", "2.mp4")
    (tmp_path / "t.csv").write_text(
        'File Name,Sound,Class,Subset,group,start,end\n1,1.wav,"a, b",Training,g,0,1\n'
        '1,1.wav,"a, b",training,g,1,2.5\n2,,c,Validation,,,\n2,,,,,3,\n'.replace("\n1,", "\n1.mp4,").replace(
            "\n2,", "\n2.mp4,"
        )
    )
    options = ["--root", tmp_path / "media", "--video-column", "File Name"]
    run("index", "csv", tmp_path / "t.csv", "-o", output, *options)
    columns = ["item", "audio", "label", "split_1", "start_seconds", "end_seconds"]
    assert manifest.read(output).select(columns).rows() == [
        ("1.mp4@0-1", "../../media/1.wav", "a, b", "train", 0.0, 1.0),
        ("1.mp4@1-2.5", "../../media/1.wav", "a, b", "train", 1.0, 2.5),
        ("2.mp4", "", "c", "val", None, None),
        ("2.mp4@3-", "", None, None, 3.0, None),
    ]


def test_folds_of_a_table(tmp_path, output):
    put(tmp_path, "1.mp4", "2.mp4")
    (tmp_path / "t.csv").write_text("id,file,label,split_1,split_2\nx,1.mp4,dog,train,test\ny,2.mp4,dog,test,train\n")
    run("index", "csv", tmp_path / "t.csv", "-o", output, "--item-column", "id")
    columns = ["item", "split_1", "split_2"]
    assert manifest.read(output).select(columns).rows() == [("x", "train", "test"), ("y", "test", "train")]


def test_a_column_can_be_left_out(tmp_path, output):
    put(tmp_path, "1.mp4")
    (tmp_path / "t.csv").write_text("file,label\n1.mp4,dog\n")
    run("index", "csv", tmp_path / "t.csv", "-o", output, "--label-column", "")
    assert manifest.read(output)["split_1"].to_list() == ["predict"]


REFUSED_TABLES = {
    "no files": ("name,label\n1.mp4,dog\n", [], "no column of files among name, label; name it with --video-column"),
    "no such column": ("file\n1.mp4\n", ["--label-column", "x"], "no column 'x'; choose from file"),
    "split": ("file,label,split\n1.mp4,dog,7\n", [], "row 2, split: '7' is none of train, val, test, predict"),
    "seconds": ("file,start\n1.mp4,0:10\n", [], "row 2, start_seconds: '0:10' is not a number of seconds"),
    "fields": ("file,label\n1.mp4,dog,x\n", [], "row 2: 3 fields where the first line names 2 columns"),
    "missing file": ("file,label\n2.mp4,dog\n", [], "'../../2.mp4' of item '2.mp4'"),
    "label missing": ("file,label,split\n1.mp4,,test\n", [], "it is empty in a test row"),
}


@pytest.mark.parametrize(("text", "options", "sentence"), REFUSED_TABLES.values(), ids=REFUSED_TABLES)
def test_refused_tables(tmp_path, output, capsys, text, options, sentence):
    put(tmp_path, "1.mp4")
    (tmp_path / "t.csv").write_text(text)
    assert sentence in refused(capsys, "index", "csv", tmp_path / "t.csv", "-o", output, *options)
    assert not output.exists()


SHARES = {"train": 0.7, "val": 0.15, "test": 0.15}


@given(sizes=st.lists(st.integers(1, 60), min_size=1, max_size=8), seed=st.integers(0, 5))
def test_drawn_splits_keep_the_share_of_each_label(sizes, seed):
    labels = [str(label) for label, n in enumerate(sizes) for _ in range(n)]
    groups = [str(i) for i in range(len(labels))]
    drawn = splits.draw(labels, groups, [None] * len(labels), SHARES, seed)
    counts = Counter(zip(labels, drawn, strict=True))
    for label, n in Counter(labels).items():
        assert counts[label, "train"] >= 1
        for split, share in SHARES.items():
            assert abs(counts[label, split] - n * share) < 2
    order = sorted(range(len(labels)), key=lambda i: (i * 7919) % 104729)
    again = splits.draw([labels[i] for i in order], [groups[i] for i in order], [None] * len(order), SHARES, seed)
    assert again == [drawn[i] for i in order]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9)), min_size=1, max_size=60), st.integers(0, 5))
def test_drawn_splits_never_part_a_group(members, seed):
    labels, groups = [label for label, _ in members], [str(group) for _, group in members]
    given_splits = ["test" if group == "0" else None for group in groups]
    drawn = splits.draw(labels, groups, given_splits, SHARES, seed)
    assert all(split == "test" for split, group in zip(drawn, groups, strict=True) if group == "0")
    ordered = sorted(zip(groups, drawn, strict=True))
    assert all(one[1] == other[1] for one, other in pairwise(ordered) if one[0] == other[0])


def test_seeds_draw_other_splits():
    labels, groups = ["dog"] * 40, [str(i) for i in range(40)]
    drawn = [splits.draw(labels, groups, [None] * 40, SHARES, seed) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert Counter(drawn[0]) == {"train": 28, "val": 6, "test": 6}


def test_folds_cannot_be_drawn(tmp_path, output):
    put(tmp_path / "data", "dog/1.mp4")
    run("index", "folder", tmp_path / "data", "-o", output)
    manifest.write(manifest.read(output).with_columns(split_2="split_1"), output)
    from braid.datasets import folder, source

    with pytest.raises(ManifestError, match="several folds"):
        source.write_manifest(folder.find(tmp_path / "data", None, None).items, output, 64, SHARES, 0, False)

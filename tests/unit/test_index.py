"""The index: what jobs read of a manifest, and digests that change exactly when something must rerun."""

import hashlib
import json
import os
import shutil
import struct
import tempfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from braid import files, index, manifest
from braid.errors import ManifestError

COLUMNS = ["item", "video", "audio", "start_seconds", "end_seconds", "label", "split", "group", "shard", "bytes"]


def row(name, shard="a", split="train", **fields):
    label = "" if split in ("predict", "") else "dog"
    file = f"{name}.mp4"
    return {
        "item": name,
        "video": file,
        "audio": file,
        "label": label,
        "split": split,
        "shard": shard,
        "bytes": 5,
    } | fields


def write(folder, rows, with_files=True):
    if with_files:
        for entry in rows:
            (folder / entry["video"]).touch()
    text = ["\t".join(COLUMNS), *("\t".join(str(entry.get(column, "")) for column in COLUMNS) for entry in rows)]
    (folder / "clips.tsv").write_text("\n".join(text) + "\n")
    return folder / "clips.tsv"


def update(folder, rows, with_files=True):
    return index.update(write(folder, rows, with_files), folder / "index")


def field(value):
    """Return one field of a canonical row as docs/manifest.md defines it."""
    if value is None or value == "":
        return "-,"
    if isinstance(value, float):
        value = struct.unpack("<Q", struct.pack("<d", value))[0]
    return f"{len(str(value).encode())}:{value},"


def plain(rows):
    text = "".join(sorted("".join(map(field, entry)) for entry in rows))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def clip_key(entry):
    return hashlib.blake2b(f"{entry['video']}\0{entry['audio']}".encode(), digest_size=8).hexdigest()


def clips_of(rows, shard):
    return {(clip_key(entry), entry["bytes"], None) for entry in rows if entry["shard"] == shard}


def items_of(rows, shard):
    return {
        (entry["item"], clip_key(entry), entry.get("start_seconds"), entry.get("end_seconds"))
        for entry in rows
        if entry["shard"] == shard
    }


def test_digests_are_those_of_the_rows_written_out(tmp_path):
    rows = [
        row("é 1"),
        row("2", bytes="", group="one place"),
        row("3", "b", start_seconds=0.5, end_seconds=1.25),
        row("4", "b", "predict"),
    ]
    made = update(tmp_path, rows)
    for shard in ("a", "b"):
        assert made.clips_digest(shard) == plain(clips_of(rows, shard))
        assert made.items_digest(shard) == plain(items_of(rows, shard))
    ordered = sorted(rows, key=lambda entry: (entry["shard"], entry["item"]))
    text = "".join(
        "".join(map(field, (entry["item"], entry["label"], entry.get("group") or clip_key(entry), entry["split"])))
        for entry in ordered
    )
    hashed = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    assert made.fold_digest("1") == files.digest([["dog"], hashed])


def test_what_a_job_reads(tmp_path):
    rows = [row("2", "b"), row("1"), row("3", "b", "predict"), row("window", video="2.mp4", audio="2.mp4", shard="b")]
    update(tmp_path, rows)
    (tmp_path / "clips.tsv").unlink()
    loaded = index.load(tmp_path / "index")
    assert (loaded.shards, loaded.folds, loaded.classes) == (["a", "b"], ["1"], ["dog"])
    assert loaded.root == tmp_path
    assert loaded.items("b")["item"].to_list() == ["2", "3", "window"]
    assert loaded.items()["item"].to_list() == ["1", "2", "3", "window"]
    assert loaded.clips("b")["video"].sort().to_list() == [str(tmp_path / "2.mp4"), str(tmp_path / "3.mp4")]
    assert loaded.clips("b").columns == ["clip", "video", "audio", "bytes", "sha256"]


def test_items_are_those_of_the_manifest(tmp_path):
    path = write(tmp_path, [row(str(i), f"s{i % 7}", start_seconds=i, end_seconds=i + 0.5) for i in range(100)])
    made = index.update(path, tmp_path / "index")
    expected = manifest.read(path).sort("shard", "item")
    assert made.items().equals(expected)
    assert pl.concat(made.items(shard) for shard in made.shards).equals(expected)


def test_a_clip_without_sound_has_no_path_for_it(tmp_path):
    assert update(tmp_path, [row("1", audio="")]).clips("a")["audio"].to_list() == [""]


def test_classes_are_those_that_a_fold_uses(tmp_path):
    rows = [row("1"), row("2", label="cat"), row("3", split="", label="unused")]
    assert update(tmp_path, rows).classes == ["cat", "dog"]


def test_the_order_of_rows_changes_nothing(tmp_path):
    rows = [row(str(i), "ab"[i % 2]) for i in range(6)]
    one, other = update(tmp_path, rows), update(tmp_path, rows[::-1])
    assert one.fold_digest("1") == other.fold_digest("1")
    assert one.items().equals(other.items())
    assert [one.items_digest(shard) for shard in "ab"] == [other.items_digest(shard) for shard in "ab"]


@pytest.mark.parametrize("change", [{"label": "cat"}, {"split": "val"}, {"split": "", "label": ""}, {"group": "g"}])
def test_fold_digests_follow_labels_groups_and_splits(tmp_path, change):
    before = update(tmp_path, [row("1"), row("2")])
    after = update(tmp_path, [row("1"), row("2", **change)])
    assert before.fold_digest("1") != after.fold_digest("1")
    assert before.clips_digest("a") == after.clips_digest("a")
    assert before.items_digest("a") == after.items_digest("a")


@pytest.mark.parametrize(
    ("change", "same"),
    [({"label": "cat"}, True), ({"split": "val"}, False), ({"split": "", "label": ""}, False), ({"shard": "b"}, False)],
)
def test_train_digests_follow_who_is_in_train(tmp_path, change, same):
    other = row("3", split="test")
    before = update(tmp_path, [row("1"), row("2"), other])
    after = update(tmp_path, [row("1"), {**row("2"), **change}, {**other, "split": "val"}])
    assert (before.train_digest("1") == after.train_digest("1")) == same


def settle(path):
    """Make `path` old enough that its modification time is trusted."""
    os.utime(path, ns=(0, path.stat().st_mtime_ns - 10**10))


def test_an_unchanged_manifest_is_not_read(tmp_path, monkeypatch):
    path = write(tmp_path, [row("1")])
    settle(path)
    made = index.update(path, tmp_path / "index")
    monkeypatch.setattr(manifest, "parse", None)
    monkeypatch.setattr(Path, "read_bytes", None)
    assert index.update(path, tmp_path / "index").clips_digest("a") == made.clips_digest("a")


def test_a_touched_manifest_is_not_parsed(tmp_path, monkeypatch):
    path = write(tmp_path, [row("1")])
    index.update(path, tmp_path / "index")
    state = json.loads((tmp_path / "index" / "index.json").read_text())
    settle(path)
    monkeypatch.setattr(manifest, "parse", None)
    index.update(path, tmp_path / "index")
    after = json.loads((tmp_path / "index" / "index.json").read_text())
    assert after.pop("manifest")["mtime_ns"] == path.stat().st_mtime_ns
    assert state.pop("manifest")["mtime_ns"] is None
    assert after == state


def test_an_edit_within_one_tick_of_the_clock_is_seen(tmp_path):
    path = write(tmp_path, [row("1", label="dog")])
    status = path.stat()
    index.update(path, tmp_path / "index")
    write(tmp_path, [row("1", label="cat")])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert index.update(path, tmp_path / "index").classes == ["cat"]


def test_a_moved_project_keeps_its_index(tmp_path, monkeypatch):
    (tmp_path / "old").mkdir()
    path = write(tmp_path / "old", [row("1")])
    settle(path)
    index.update(path, tmp_path / "old" / "results" / "index")
    shutil.move(tmp_path / "old", tmp_path / "new")
    loaded = index.load(tmp_path / "new" / "results" / "index")
    assert loaded.clips("a")["video"].to_list() == [str(tmp_path / "new" / "1.mp4")]
    monkeypatch.chdir(tmp_path / "new")
    assert index.load("results/index").root == tmp_path / "new"


def test_files_are_looked_for_when_they_are_new(tmp_path):
    rows = [row("1"), row("2")]
    update(tmp_path, rows)
    (tmp_path / "1.mp4").unlink()
    update(tmp_path, [row("1", label="cat"), row("2")], with_files=False)
    with pytest.raises(ManifestError, match=r"names 1 files that do not exist.*\n  'gone.mp4' of item 'gone'"):
        update(tmp_path, [*rows, row("gone")], with_files=False)
    with pytest.raises(ManifestError, match=r"'1.mp4' of item '1'"):
        update(tmp_path, [row("1", bytes=6), row("2")], with_files=False)


def test_a_folder_is_no_file(tmp_path):
    (tmp_path / "1.mp4").mkdir()
    with pytest.raises(ManifestError, match=r"'1.mp4' of item '1'"):
        update(tmp_path, [row("1")], with_files=False)


def test_jobs_under_way_can_read_the_index_before(tmp_path):
    before = update(tmp_path, [row("1")])
    update(tmp_path, [row("1"), row("2")])
    assert before.items("a").height == 1
    update(tmp_path, [row("1"), row("2"), row("3")])
    assert len(list((tmp_path / "index").glob("items-*"))) == 2


def test_a_refused_manifest_leaves_the_index_alone(tmp_path):
    before = update(tmp_path, [row("1")])
    with pytest.raises(ManifestError):
        update(tmp_path, [row("1"), row("1")])
    assert index.load(tmp_path / "index").items().equals(before.items())


def test_no_index(tmp_path):
    with pytest.raises(ManifestError, match="There is no index in"):
        index.load(tmp_path)


def test_index_of_another_format(tmp_path):
    update(tmp_path, [row("1")])
    path = tmp_path / "index" / "index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 0}))
    with pytest.raises(ManifestError, match="has format 0, not 1; delete the folder"):
        index.load(tmp_path / "index")


def test_a_shard_that_went_and_came_back_whole_is_computed_again(tmp_path):
    """Its file may have been computed after the first clip went, so that the digest of both must not return."""
    other = row("other", "b")
    digests = [update(tmp_path, rows).clips_digest("a") for rows in ([row("1"), row("2"), other], [row("2"), other])]
    update(tmp_path, [other])
    digests.append(update(tmp_path, [row("1"), row("2"), other]).clips_digest("a"))
    assert digests[0] == digests[1] != digests[2]


def test_a_shard_that_went_and_came_back_as_it_was_keeps_its_digest(tmp_path):
    both = [row("1"), row("2", "b")]
    before = update(tmp_path, both)
    update(tmp_path, both[:1])
    assert update(tmp_path, both).clips_digest("b") == before.clips_digest("b")


class Edits(RuleBasedStateMachine):
    """Edits of a manifest, one index following all of them.

    A shard's file may be computed at any time from the rows of that time, under the digest of that time. So a digest
    that appears again must find its rows among those of every time that it appeared before.
    """

    numbers = st.integers(0, 4)

    @initialize()
    def start(self):
        self.folder = Path(tempfile.mkdtemp())
        for i in range(5):
            (self.folder / f"{i}.mp4").touch()
        self.rows: dict[str, dict] = {"0": row("0"), "1": row("1", "b")}
        self.seen: dict[tuple, list[set]] = {}
        self.past: list[list[dict]] = []
        self.digests: dict[tuple, str] = {}

    def teardown(self):
        shutil.rmtree(self.folder)

    @rule(i=numbers, shard=st.sampled_from("ab"), size=st.integers(1, 2))
    def put_clip(self, i, shard, size):
        self.remove_clip_rows(i)
        self.rows[str(i)] = row(str(i), shard, bytes=size)

    @rule(i=numbers, window=st.sampled_from([(0.0, 1.0), (1.0, 2.5)]))
    def put_window(self, i, window):
        if str(i) in self.rows:
            whole = self.rows[str(i)]
            name = f"{i} window"
            self.rows[name] = whole | {"item": name, "start_seconds": window[0], "end_seconds": window[1]}

    @precondition(lambda self: len(self.rows) > 2)
    @rule(i=numbers)
    def remove_clip(self, i):
        if len({entry["video"] for entry in self.rows.values()} - {f"{i}.mp4"}) > 0:
            self.remove_clip_rows(i)

    @rule(i=numbers)
    def remove_window(self, i):
        self.rows.pop(f"{i} window", None)

    @rule(i=numbers, label=st.sampled_from(["cat", "dog"]), split=st.sampled_from(["train", "test"]))
    def relabel(self, i, label, split):
        for entry in self.rows.values():
            if entry["video"] == f"{i}.mp4":
                entry |= {"label": label, "split": split}

    @rule(shard=st.sampled_from("ab"))
    def remove_shard(self, shard):
        kept = {name: entry for name, entry in self.rows.items() if entry["shard"] != shard}
        self.rows = kept or self.rows

    @rule(steps=st.integers(1, 6))
    def go_back(self, steps):
        self.rows = {entry["item"]: dict(entry) for entry in self.past[-steps:][0]}

    def remove_clip_rows(self, i):
        self.rows = {name: entry for name, entry in self.rows.items() if entry["video"] != f"{i}.mp4"}

    @invariant()
    def digests_hold(self):
        rows = [dict(entry) for entry in self.rows.values()]
        made = update(self.folder, rows, with_files=False)
        digests = {}
        for kind, rows_of in (("clips", clips_of), ("items", items_of)):
            for shard in made.shards:
                now = rows_of(rows, shard)
                digest = made.clips_digest(shard) if kind == "clips" else made.items_digest(shard)
                digests[kind, shard] = digest
                for then in self.seen.setdefault((kind, shard, digest), []):
                    assert now <= then, "the cached file may lack rows"
                self.seen[kind, shard, digest].append(now)
                earlier = rows_of(self.past[-1], shard) if self.past else set()
                if earlier and now <= earlier:
                    assert digest == self.digests[kind, shard], "removing rows must rerun nothing"
        self.past.append(rows)
        self.digests = digests


TestEdits = Edits.TestCase
TestEdits.settings = settings(max_examples=25, stateful_step_count=15, deadline=None)

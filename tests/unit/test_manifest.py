"""The manifest: what is read, what is refused and with which words."""

import csv
import hashlib
import io
import re
from pathlib import Path

import jsonschema
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from braid import checks, manifest, table
from braid.errors import ManifestError

DOCS = Path(__file__).parents[2] / "docs" / "manifest.md"
COLUMNS = [
    "item",
    "video",
    "audio",
    "start_seconds",
    "end_seconds",
    "label",
    "split",
    "group",
    "shard",
    "bytes",
    "sha256",
]
GOOD = {"item": "a", "video": "v.mp4", "audio": "v.mp4", "label": "dog", "split": "train", "shard": "s1"}


def lines(*rows, columns=COLUMNS):
    return "\n".join(["\t".join(columns), *("\t".join(row.get(column, "") for column in columns) for row in rows)])


def parse(*rows, columns=COLUMNS):
    return manifest.parse(lines(*rows, columns=columns).encode(), "clips.tsv")


def test_columns_and_types():
    items = parse(GOOD | {"start_seconds": "1.5", "end_seconds": "2", "bytes": "7"}, GOOD | {"item": "b", "video": ""})
    assert items.schema == {
        **dict.fromkeys(["item", "clip", "video", "audio"], pl.String),
        **dict.fromkeys(["start_seconds", "end_seconds"], pl.Float64),
        **dict.fromkeys(["label", "split_1", "group", "shard"], pl.String),
        "bytes": pl.Int64,
        "sha256": pl.String,
    }
    key = hashlib.blake2b(b"v.mp4\0v.mp4", digest_size=8).hexdigest()
    assert items.row(0) == ("a", key, "v.mp4", "v.mp4", 1.5, 2.0, "dog", "train", key, "s1", 7, None)
    assert items["clip"][1] == hashlib.blake2b(b"\0v.mp4", digest_size=8).hexdigest()


def test_columns_that_may_be_left_out():
    needed = [*manifest.schema()["required"], "split"]
    assert parse(GOOD, columns=needed).equals(parse(GOOD))


def test_folds():
    columns = ["split_2" if column == "split" else column for column in COLUMNS] + ["split_1"]
    items = parse(GOOD | {"split_1": "train", "split_2": "test"}, columns=columns)
    assert manifest.folds(items) == ["1", "2"]
    assert items.select("split_1", "split_2").row(0) == ("train", "test")


REFUSED = {
    "duplicate item": ([GOOD, GOOD | {"video": "w"}], r"row 3, column item: 'a' is also the item of row 2"),
    "unknown split": ([GOOD | {"split": "tran"}], r"row 2, column split: 'tran' is none of train, val, test, predict"),
    "end before start": (
        [GOOD | {"start_seconds": "3", "end_seconds": "2"}],
        r"column end_seconds: the item ends at 2.0",
    ),
    "end at zero": ([GOOD | {"end_seconds": "0"}], r"column end_seconds: the item ends at 0.0"),
    "negative start": ([GOOD | {"start_seconds": "-1"}], r"column start_seconds: '-1' is less than 0"),
    "infinite end": ([GOOD | {"end_seconds": "inf"}], r"column end_seconds: 'inf' is not finite"),
    "end that is no number": ([GOOD | {"end_seconds": "NaN"}], r"column end_seconds: 'NaN' is not finite"),
    "start in words": ([GOOD | {"start_seconds": "one"}], r"column start_seconds: 'one' is not a number"),
    "bytes": ([GOOD | {"bytes": "1.5"}], r"column bytes: '1.5' is not a whole number"),
    "sha256": ([GOOD | {"sha256": "abc"}], r"column sha256: 'abc' does not match"),
    "label in predict": ([GOOD | {"split": "predict"}], r"column label: 'dog' is the label of a predict row"),
    "no label in train": ([GOOD | {"label": ""}], r"column label: it is empty in a train row"),
    "empty item": ([GOOD | {"item": ""}], r"column item: '' is empty"),
    "no file": ([GOOD | {"video": "", "audio": ""}], r"column video: item 'a' has neither video nor audio"),
    "shard": ([GOOD | {"shard": "../s"}], r"column shard: '../s' does not match"),
    "empty shard": ([GOOD | {"shard": ""}], r"column shard: '' does not match"),
    "clip in two shards": (
        [GOOD, GOOD | {"item": "b", "shard": "s2"}],
        r"row 3, column shard: 's2', but row 2 of the same clip says 's1'",
    ),
    "clip of two sizes": (
        [GOOD, GOOD | {"item": "b", "bytes": "2"}],
        r"row 3, column bytes: 2, but row 2 of the same clip says None",
    ),
    "clip in two splits": (
        [GOOD, GOOD | {"item": "b", "split": "test"}],
        r"row 3, column split: the clip 'v.mp4' is in train \(row 2\) and test \(row 3\)",
    ),
    "group in two splits": (
        [GOOD | {"group": "g"}, GOOD | {"item": "b", "video": "w", "group": "g", "split": "val"}],
        r"row 3, column split: the group 'g' is in train \(row 2\) and val \(row 3\)",
    ),
}


@pytest.mark.parametrize(("rows", "sentence"), REFUSED.values(), ids=REFUSED)
def test_refused_rows(rows, sentence):
    with pytest.raises(ManifestError, match=r"^clips\.tsv, " + ".*" + sentence):
        parse(*rows)


def test_a_group_may_be_in_train_and_predict():
    asked = {"item": "b", "video": "w", "label": "", "split": "predict"}
    assert parse(GOOD | {"group": "g"}, GOOD | asked | {"group": "g"}).height == 2


def test_several_problems_at_once_in_the_order_of_the_file():
    rows = [
        GOOD | {"item": f"i{i}", "video": f"{i}", "split": "tran" if i % 2 else "train", "bytes": "x"}
        for i in range(20)
    ]
    with pytest.raises(ManifestError) as caught:
        parse(*rows)
    first, *sentences, rest = str(caught.value).splitlines()
    assert first == "clips.tsv has 30 problems:"
    assert rest == "  and 20 more."
    numbers = [int(sentence.split()[1].rstrip(",")) for sentence in sentences]
    assert len(numbers) == checks.REPORTED
    assert numbers == sorted(numbers)
    assert numbers[0] == 2


HEADER = "\t".join(COLUMNS)
REFUSED_FILES = {
    "empty": (b"", "row 1: the column item is missing"),
    "header alone": (HEADER.encode(), "names no items"),
    "commas": (HEADER.replace("\t", ",").encode(), "separates its columns by commas, a manifest by tabs"),
    "semicolons": (HEADER.replace("\t", ";").encode(), "separates its columns by semicolons"),
    "UTF-16": (HEADER.encode("utf-16"), "row 1: the byte 0xff is not UTF-8"),
    "Latin-1": (lines(GOOD, GOOD | {"item": "é"}).encode("latin-1"), "row 3: the byte 0xe9 is not UTF-8"),
    "misspelt": (HEADER.replace("label", "lable").encode(), "no column 'lable' in a manifest; did you mean label?"),
    "unknown": (HEADER.replace("label", "xyz").encode(), "no column 'xyz' in a manifest; choose from item, video"),
    "twice": (HEADER.replace("label", "item").encode(), "the column item is there 2 times"),
    "missing": (HEADER.replace("\tshard", "").encode(), "row 1: the column shard is missing"),
    "no split": (HEADER.replace("\tsplit", "").encode(), "either one column split or the columns split_1"),
    "both splits": (f"{HEADER}\tsplit_1".encode(), "either one column split or the columns split_1"),
    "hole": (HEADER.replace("split", "split_1\tsplit_3").encode(), "2 split columns, but no split_2"),
    "narrow row": (f"{lines(GOOD)}\nb\tc".encode(), "row 3: 2 fields where the first line names 11 columns"),
    "wide row": (f"{lines(GOOD)}\t\n".encode(), "row 2: 12 fields where"),
    "blank line": (f"{HEADER}\n\n{lines(GOOD)}".encode(), "row 2: 1 fields where"),
    "open quote": (
        lines(GOOD, GOOD | {"item": '"b'}).encode(),
        "row 3: a field begins with a double quote and does not",
    ),
}


@pytest.mark.parametrize(("data", "sentence"), REFUSED_FILES.values(), ids=REFUSED_FILES)
def test_refused_files(data, sentence):
    with pytest.raises(ManifestError) as caught:
        manifest.parse(data, "clips.tsv")
    assert str(caught.value).startswith("clips.tsv")
    assert sentence in str(caught.value)


def test_no_file_at_all(tmp_path):
    with pytest.raises(ManifestError, match=r"There is no manifest .*clips\.tsv; write one with `braid index`"):
        manifest.read(tmp_path / "clips.tsv")


def test_rows_are_counted_as_an_editor_does():
    rows = [GOOD | {"item": '"two\nlines"'}, GOOD | {"item": "b", "video": "w", "split": "tran"}]
    with pytest.raises(ManifestError, match="row 4, column split"):
        parse(*rows)


def test_byte_order_mark_and_carriage_returns():
    data = b"\xef\xbb\xbf" + lines(GOOD, GOOD | {"item": "b"}).replace("\n", "\r\n").encode() + b"\r\n"
    assert manifest.parse(data, "clips.tsv").equals(parse(GOOD, GOOD | {"item": "b"}))


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8)
NAMES = st.sampled_from(["a b", "'", '"', ';#"', "-x", "é", "雪", "two\nlines", "tab\t", "\r", " ", ".."]) | TEXT


@settings(max_examples=40, deadline=None)
@given(names=st.lists(NAMES, min_size=1, max_size=5, unique=True), label=NAMES)
def test_write_then_read_gives_the_same(tmp_path_factory, names, label):
    path = tmp_path_factory.mktemp("manifest") / "clips.tsv"
    items = pl.concat(parse(GOOD) for _ in names).with_columns(
        pl.Series("item", names), pl.Series("video", names), pl.Series("audio", names[::-1]), label=pl.lit(label)
    )
    items = items.with_columns(manifest.clip_keys(items)).with_columns(group="clip")
    manifest.write(items, path)
    assert manifest.read(path).equals(items)


def test_write_refuses_what_read_would(tmp_path):
    items = pl.concat([parse(GOOD), parse(GOOD)])
    with pytest.raises(ManifestError, match=r"\(not written\), row 3, column item"):
        manifest.write(items, tmp_path / "clips.tsv")
    assert not (tmp_path / "clips.tsv").exists()


@given(rows=st.lists(st.lists(st.text(st.sampled_from('ab"\n ,é'), max_size=4), min_size=3, max_size=3), max_size=4))
def test_a_table_is_what_the_csv_module_reads(rows):
    file = io.StringIO()
    csv.writer(file, delimiter="\t", lineterminator="\n").writerows([["x", "y", "z"], *rows])
    # A last row of three empty fields is still a row, so that only line ends are cut off at the end.
    assert table.parse(file.getvalue().encode(), "\t", "t").fields.rows() == [tuple(row) for row in rows]


@given(field=st.sampled_from(["start_seconds", "bytes", "shard", "sha256", "split", "item"]), data=st.data())
def test_fields_are_judged_as_the_json_schema_does(field, data):
    text = data.draw(st.sampled_from(["", "0", "3", "-2", "0.5", "a" * 64, "a/b", "train", "test", "x y"]))
    row = dict.fromkeys(COLUMNS) | GOOD | {field: text if text or field in ("item", "shard") else None}
    if field in ("start_seconds", "bytes") and re.fullmatch(r"-?\d+(\.\d+)?", text):
        row[field] = float(text) if "." in text else int(text)
    valid = jsonschema.Draft202012Validator(manifest.schema()).is_valid(row)
    try:
        parse(GOOD | {field: text})
    except ManifestError:
        assert not valid
    else:
        assert valid


def test_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(manifest.schema())


def test_docs_list_the_columns_of_the_schema():
    schema = manifest.schema()
    rows = ["| column | type | values | meaning |", "|---|---|---|---|"]
    for name, field in [*schema["properties"].items(), ("split_1 … split_K", *schema["patternProperties"].values())]:
        types = [field["type"]] if isinstance(field["type"], str) else field["type"]
        values = [f"`{value}`" for value in field.get("enum", []) if value]
        values += [f"`{field['pattern']}`"] if "pattern" in field else []
        values += [f"at least {field['minimum']}"] if "minimum" in field else []
        values += ["or empty"] if "null" in types or name in ("video", "audio") else []
        star = "" if name in schema["required"] else " (may be left out)"
        star = "" if name.startswith("split") else star
        name = "split_1` … `split_K" if name.startswith("split_") else name
        rows.append(f"| `{name}`{star} | {types[0]} | {', '.join(values)} | {field['description']} |")
    assert "\n".join(rows) in DOCS.read_text(encoding="utf-8"), "\n".join(["The table should be:", *rows])


@pytest.mark.parametrize("file", ["/etc/passwd", "../a.mp4", "x/../../a.mp4", "x/.."])
def test_a_path_that_leads_out_of_the_folder_is_refused_where_that_is_forbidden(file):
    items = parse(GOOD, GOOD | {"item": "b", "video": file, "audio": ""})
    with pytest.raises(ManifestError, match=r"names 1 files outside its folder.*\n.* of item 'b'"):
        manifest.check_inside(items, "clips.tsv")


def test_paths_within_the_folder_are_allowed():
    manifest.check_inside(parse(GOOD, GOOD | {"item": "b", "video": "..x/a..mp4", "audio": ""}), "clips.tsv")


@pytest.mark.parametrize(("link", "target"), [("a.mp4", "../secret"), ("x", ".."), ("x", "/etc")])
def test_a_link_that_leads_out_of_the_folder_is_refused_where_that_is_forbidden(tmp_path, link, target):
    folder = tmp_path / "media"
    folder.mkdir()
    (folder / "inside.mp4").touch()
    (folder / "here.mp4").symlink_to("inside.mp4")
    (folder / link).symlink_to(target)
    file = "a.mp4" if link == "a.mp4" else "x/passwd"
    manifest.check_inside(parse(GOOD, GOOD | {"item": "b", "video": "here.mp4", "audio": ""}), folder / "clips.tsv")
    items = parse(GOOD, GOOD | {"item": "b", "video": file, "audio": ""})
    with pytest.raises(ManifestError, match=r"names 1 files outside its folder.*\n.* of item 'b'"):
        manifest.check_inside(items, folder / "clips.tsv")

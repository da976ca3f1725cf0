"""`braid index` on the layouts and lists that data sets are published in."""

from collections import Counter

import official_layouts
import polars as pl
import pytest

from braid import manifest
from braid.cli import main


def indexed(tmp_path, kind, *options):
    """Return the manifest of the data set in `tmp_path / "set"`."""
    output = tmp_path / "clips.tsv"
    assert main(["index", kind, str(tmp_path / "set"), "-o", str(output), *options]) == 0
    return manifest.read(output)


def refused(capsys, tmp_path, kind, *options):
    """Return what is said where the data set is not as published."""
    capsys.readouterr()
    assert main(["index", kind, str(tmp_path / "set"), "-o", str(tmp_path / "clips.tsv"), *options]) == 2
    return capsys.readouterr().err


@pytest.fixture(scope="module")
def hmdb51(tmp_path_factory):
    root = tmp_path_factory.mktemp("hmdb51")
    official_layouts.hmdb51(root / "set")
    return root


def test_hmdb51_has_its_published_counts(hmdb51):
    items = indexed(hmdb51, "hmdb51", "--val", "0")
    assert (items.height, items["label"].n_unique()) == (6766, 51)
    for k in (1, 2, 3):
        assert Counter(items[f"split_{k}"]) == {"train": 3570, "test": 1530, None: 1666}
        counts = items.group_by("label", f"split_{k}").len()
        assert set(counts.filter(pl.col(f"split_{k}") == "train")["len"]) == {70}
        assert set(counts.filter(pl.col(f"split_{k}") == "test")["len"]) == {30}


def test_the_first_line_of_each_list_of_hmdb51_counts(hmdb51):
    """Read as a table with column names, 153 lists lose their first clip: 3,060 + 509 of 3,570 training clips."""
    items = set(indexed(hmdb51, "hmdb51")["item"])
    for path in (hmdb51 / "set" / "testTrainMulti_7030_splits").iterdir():
        action = path.name.split("_test_split")[0]
        assert f"{action}/{path.read_text(encoding='utf-8').splitlines()[0].split()[0]}" in items


def test_val_of_hmdb51_is_a_share_of_train_and_shares_no_source_video_of_an_action_with_it(hmdb51):
    items = indexed(hmdb51, "hmdb51", "--val", "0.15", "--seed", "3")
    for k in (1, 2, 3):
        counts = Counter(items[f"split_{k}"])
        assert counts["train"] + counts["val"] == 3570
        assert counts["val"] == pytest.approx(0.15 * 3570, rel=0.1)
        by_class = items.filter(pl.col(f"split_{k}") == "val")["label"].value_counts()["count"]
        assert len(by_class) == 51
        parts = items.drop_nulls(f"split_{k}").group_by("group").agg(pl.col(f"split_{k}").n_unique())
        assert parts[f"split_{k}"].max() == 1


def test_the_archives_of_hmdb51_are_explained(tmp_path, capsys):
    official_layouts.touch(tmp_path / "set" / "hmdb51_org.rar", tmp_path / "set" / "test_train_splits.rar")
    said = refused(capsys, tmp_path, "hmdb51")
    assert "must hold the split files in a folder testTrainMulti_7030_splits" in said
    assert "unrar x 'hmdb51_org.rar'" in said


def test_a_line_that_is_no_clip_of_hmdb51_is_named(tmp_path, capsys):
    official_layouts.hmdb51(tmp_path / "set")
    path = tmp_path / "set" / "testTrainMulti_7030_splits" / "wave_test_split2.txt"
    path.write_text(path.read_text(encoding="utf-8") + "strange.avi 7\n", encoding="utf-8")
    assert f"{path}, line 105, must be the name of a clip and 0, 1 or 2, got 'strange.avi 7'" in refused(
        capsys, tmp_path, "hmdb51"
    )


def test_a_missing_clip_of_hmdb51_is_named(tmp_path, capsys):
    official_layouts.hmdb51(tmp_path / "set")
    gone = next((tmp_path / "set" / "hmdb51_org" / "wave").iterdir())
    gone.unlink()
    assert gone.name in refused(capsys, tmp_path, "hmdb51")


def test_ucf101_has_its_published_counts(tmp_path):
    official_layouts.ucf101(tmp_path / "set")
    items = indexed(tmp_path, "ucf101", "--val", "0")
    assert (items.height, items["label"].n_unique(), items["group"].n_unique()) == (13320, 101, 101 * 25)
    published = {1: (9537, 3783), 2: (9586, 3734), 3: (9624, 3696)}
    for k, (train, test) in published.items():
        assert Counter(items[f"split_{k}"]) == {"train": train, "test": test}


def test_a_number_of_ucf101_that_is_not_its_class_is_named(tmp_path, capsys):
    official_layouts.ucf101(tmp_path / "set")
    path = tmp_path / "set" / "ucfTrainTestlist" / "trainlist01.txt"
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\r\n".join([lines[0].replace(" 1", " 0"), *lines[1:]]), encoding="utf-8")
    assert "trainlist01.txt, line 1, must be a clip of a class of classInd.txt" in refused(capsys, tmp_path, "ucf101")


def test_tau2021_has_its_published_counts(tmp_path):
    official_layouts.tau2021(tmp_path / "set")
    items = indexed(tmp_path, "tau2021")
    counts = Counter(items["split_1"])
    assert (counts["train"] + counts["val"], counts["test"]) == (8646, 3645)
    assert counts["val"] == pytest.approx(864.6, rel=0.15)
    assert items["label"].n_unique() == 10
    assert all(
        video.endswith(".mp4") and audio.endswith(".wav") for video, audio in items.select("video", "audio").rows()
    )
    assert items["group"][0].count("-") == 2


def test_the_seconds_of_a_recording_of_tau2021_are_items_of_one_shard(tmp_path):
    official_layouts.tau2021(tmp_path / "set", share=0.02)
    items = indexed(tmp_path, "tau2021", "--item-seconds", "1", "--shard-size", "7")
    recordings = items.group_by("clip").agg(
        pl.len(), pl.col("shard", "split_1", "label", "group").n_unique(), pl.col("start_seconds").sort()
    )
    assert set(recordings["len"]) == {10}
    assert all(set(recordings[column]) == {1} for column in ("shard", "split_1", "label", "group"))
    assert recordings["start_seconds"][0].to_list() == list(range(10))
    assert (items["end_seconds"] - items["start_seconds"]).unique().to_list() == [1.0]


def test_tau2021_without_its_videos_is_explained(tmp_path, capsys):
    official_layouts.tau2021(tmp_path / "set", share=0.01)
    base = tmp_path / "set" / "TAU-urban-audio-visual-scenes-2021-development"
    (base / "video").rename(base / "elsewhere")
    assert "must hold the video files in a folder video; there is 'audio', 'elsewhere'" in refused(
        capsys, tmp_path, "tau2021"
    )


def test_cmu11775_has_7500_labelled_videos_and_749_to_predict(tmp_path):
    official_layouts.cmu11775(tmp_path / "set")
    items = indexed(tmp_path, "cmu11775", "--split", "train=0.8", "val=0.2")
    counts = Counter(items["split_1"])
    assert counts["predict"] == 749
    assert counts["train"] + counts["val"] == 7500
    assert counts["val"] == pytest.approx(1500, abs=15)
    assert items.filter(pl.col("split_1") == "predict")["label"].null_count() == 749


def kinetics(root):
    """Write lists of six clips, of which two were not downloaded."""
    (root / "annotations").mkdir(parents=True)
    lists = {
        "train": "label,youtube_id,time_start,time_end,split\nair drumming,-0abcdefghi,3,13,train\n"
        '"dancing, ballet",1aaaaaaaaaa,10,20,train\ndancing charleston,2aaaaaaaaaa,0,10,train\n',
        "validate": "label,youtube_id,time_start,time_end,split\nair drumming,3aaaaaaaaaa,7,17,val\n",
        "test": "youtube_id,time_start,time_end,split\n4aaaaaaaaaa,1,11,test\n5aaaaaaaaaa,1,11,test\n",
    }
    for name, text in lists.items():
        (root / "annotations" / f"{name}.csv").write_text(text, encoding="utf-8")
    present = ["train/air drumming/-0abcdefghi_000003_000013", "train/1aaaaaaaaaa_000010_000020"]
    present += ["val/3aaaaaaaaaa_000007_000017", "test/4aaaaaaaaaa_000001_000011", "test/unknown"]
    official_layouts.touch(*(root / f"{name}.mp4" for name in present))


def test_what_of_kinetics_was_not_downloaded_is_counted(tmp_path, capsys):
    kinetics(tmp_path / "set")
    items = indexed(tmp_path, "kinetics")
    assert "2 of 6 clips were not downloaded: 1 of test, 1 of train." in capsys.readouterr().out
    found = {row["item"]: (row["label"], row["split_1"], row["group"]) for row in items.iter_rows(named=True)}
    assert found == {
        "-0abcdefghi_000003_000013": ("air drumming", "train", "-0abcdefghi"),
        "1aaaaaaaaaa_000010_000020": ("dancing, ballet", "train", "1aaaaaaaaaa"),
        "3aaaaaaaaaa_000007_000017": ("air drumming", "val", "3aaaaaaaaaa"),
        "4aaaaaaaaaa_000001_000011": (None, "predict", "4aaaaaaaaaa"),
    }


def test_the_val_of_kinetics_can_be_what_is_tested_on(tmp_path):
    kinetics(tmp_path / "set")
    items = indexed(tmp_path, "kinetics", "--val", "0.5")
    assert dict(items.select("item", "split_1").rows())["3aaaaaaaaaa_000007_000017"] == "test"
    assert dict(items.select("item", "split_1").rows())["4aaaaaaaaaa_000001_000011"] is None


def test_kinetics_without_a_clip_of_the_lists_is_refused(tmp_path, capsys):
    kinetics(tmp_path / "set")
    for path in (tmp_path / "set").rglob("*_0*.mp4"):
        path.unlink()
    said = refused(capsys, tmp_path, "kinetics")
    assert "is none of the 6 clips of the lists, such as '-0abcdefghi_000003_000013', but 1 others" in said


def test_labels_of_vggsound_may_hold_commas(tmp_path, capsys):
    root = tmp_path / "set"
    official_layouts.touch(root / "video/---g-f_I2yQ_000001.mp4", root / "video/bbbbbbbbbbb_000030.mp4")
    (root / "vggsound.csv").write_text(
        '---g-f_I2yQ,1,"people eating, noisily",train\nbbbbbbbbbbb,30,tap dancing,test\n'
        "ccccccccccc,4,waterfall,train\n",
        encoding="utf-8",
    )
    items = indexed(tmp_path, "vggsound", "--val", "0")
    assert sorted(items.select("item", "label", "split_1").rows()) == [
        ("---g-f_I2yQ_000001", "people eating, noisily", "train"),
        ("bbbbbbbbbbb_000030", "tap dancing", "test"),
    ]
    assert "1 of 3 clips were not downloaded: 1 of train." in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["hmdb51", "ucf101", "kinetics", "tau2021", "cmu11775", "vggsound"])
def test_a_wrong_folder_is_told_what_was_expected_and_what_is_there(tmp_path, capsys, kind):
    official_layouts.touch(tmp_path / "set" / "holiday.mp4")
    said = refused(capsys, tmp_path, kind)
    assert f"{tmp_path / 'set'} must hold " in said
    assert "there is 'holiday.mp4'." in said
    (tmp_path / "set" / "holiday.mp4").unlink()
    assert "the folder is empty" in refused(capsys, tmp_path, kind)
    (tmp_path / "set").rmdir()
    assert "there is no folder" in refused(capsys, tmp_path, kind)

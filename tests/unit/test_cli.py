"""The command line: its commands, its errors and `braid check`."""

import subprocess
import sys
from pathlib import Path

import pytest

from braid import __version__
from braid.cli import main

ROWS = """item\tvideo\taudio\tlabel\tsplit\tshard\tbytes
a\t1.mp4\t1.mp4\tdog\ttrain\ts1\t3
b\t2.mp4\t2.mp4\tcat\ttest\ts1\t3
c\t3.mp4\t\t\tpredict\ts2\t
"""


@pytest.fixture
def clips(tmp_path):
    for name in ("1.mp4", "2.mp4", "3.mp4"):
        (tmp_path / name).write_bytes(b"abc")
    path = tmp_path / "clips.tsv"
    path.write_text(ROWS)
    return path


def test_check_counts(clips, capsys):
    assert main(["check", str(clips)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{clips}: 3 items of 3 clips in 2 shards, 2 labels; 1 train, 1 test, 1 predict.",
        "Fold 1 has no item in 'val', without which no scheme can be trained.",
        "fold 1\ttrain\ttest\tpredict",
        "cat\t0\t1\t0",
        "dog\t1\t0\t0",
        "(no label)\t0\t0\t1",
    ]


def test_check_finds_other_sizes(clips, capsys):
    (clips.parent / "2.mp4").write_bytes(b"abcd")
    assert main(["check", str(clips)]) == 2
    assert "The files of 1 clips, '2.mp4' first, have other sizes" in capsys.readouterr().err


def test_check_finds_missing_files(clips, capsys):
    (clips.parent / "3.mp4").unlink()
    assert main(["check", str(clips)]) == 2
    assert "'3.mp4' of item 'c'" in capsys.readouterr().err


def test_errors_are_a_sentence_and_no_traceback(tmp_path):
    program = Path(sys.executable).with_name("braid")
    done = subprocess.run([program, "check", tmp_path / "absent.tsv"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("braid: There is no manifest")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [["index", "folder"], ["index", "csv"], ["check"], ["weights"]])
def test_help(command, capsys):
    with pytest.raises(SystemExit) as caught:
        main([*command, "--help"])
    assert caught.value.code == 0
    assert "usage: braid " + " ".join(command) in capsys.readouterr().out


def test_version(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"braid {__version__}\n"


@pytest.mark.parametrize("options", [["--split", "train"], ["--split", "dev=1"], ["--shard-size", "0"]])
def test_options_that_make_no_sense(options, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["index", "folder", ".", "-o", "clips.tsv", *options])
    assert caught.value.code == 2
    assert options[0] in capsys.readouterr().err


def test_shares_that_do_not_add_up(tmp_path, capsys):
    assert main(["index", "folder", str(tmp_path), "-o", "clips.tsv", "--split", "train=0.5", "val=0.1"]) == 2
    assert "add up to 0.6; make them add up to 1" in capsys.readouterr().err

"""Files appear whole or not at all; digests are stable; a job's output goes to its log."""

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from braid.errors import StoreError
from braid.files import STALE_SECONDS, digest, whole, write_text
from braid.store.features import ITEMS_AT_ONCE, FeatureWriter


def test_a_file_appears_only_when_it_is_whole(tmp_path):
    path = tmp_path / "new" / "file.txt"
    with whole(path) as beside:
        beside.write_text("half")
        assert beside.suffix == path.suffix
        assert not path.exists()
    assert path.read_text() == "half"


def test_a_failure_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "file.txt"
    write_text(path, "before")
    with pytest.raises(RuntimeError), whole(path) as beside:
        beside.write_text("half")
        raise RuntimeError
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_a_sentence_that_names_the_file(tmp_path):
    with (
        pytest.raises(StoreError, match=r"file\.txt cannot be written: No space left on device"),
        whole(tmp_path / "file.txt"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert not list(tmp_path.iterdir())


def write_features(path):
    with FeatureWriter(path, {}) as writer:
        for i in range(ITEMS_AT_ONCE):
            writer.append(f"{i}", np.ones(64, np.float32))


def write_network(path):
    with whole(path) as beside:
        save_file({"weight": np.ones(5000, np.float32)}, beside)


@pytest.mark.parametrize("write", [write_features, write_network])
def test_what_libraries_say_of_a_full_disk_is_a_sentence_too(tmp_path, write):
    """They write by their own code: HDF5 and safetensors tell the system's error in text alone."""
    code = f"""
import resource
from pathlib import Path
from test_files import {write.__name__}
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    {write.__name__}(Path("file"))
except Exception as error:
    print(type(error).__name__, error, flush=True)
"""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout.startswith("StoreError file cannot be written: File too large."), done.stdout + done.stderr
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path):
    write_text(tmp_path / "file", "")
    with pytest.raises(StoreError, match=r"a\.txt cannot be written: (Not a directory|File exists)"):
        write_text(tmp_path / "file" / "a.txt", "")


def test_a_disk_that_became_read_only_is_a_sentence(tmp_path, monkeypatch):
    """It refuses to remove what was begun, too."""

    def refuse(*arguments, **options):
        raise OSError(errno.EROFS, "Read-only file system")

    with pytest.raises(StoreError, match=r"file\.txt cannot be written: Read-only"), whole(tmp_path / "file.txt"):
        monkeypatch.setattr(Path, "unlink", refuse)
        refuse()


def test_a_clock_that_jumps_removes_no_file_of_a_living_writer(tmp_path, monkeypatch):
    """Back by a year, nothing is old enough; what one writer has under way outlives another's start and end."""
    with whole(tmp_path / "a.txt") as beside:
        beside.write_text("first")
        long_ago = time.time() - 365 * 24 * 3600
        monkeypatch.setattr(time, "time", lambda: long_ago)
        write_text(tmp_path / "a.txt", "second")
        assert beside.exists()
    assert (tmp_path / "a.txt").read_text() == "first"


def test_what_killed_writers_left_is_removed_once_it_is_old(tmp_path):
    old, young, other = (tmp_path / name for name in (".01234567.a[1].h5", ".abcdef01.a[1].h5", ".01234567.b.h5"))
    for path in (old, young, other):
        path.touch()
    long_ago = young.stat().st_mtime - STALE_SECONDS - 60
    for path in (old, other):
        os.utime(path, (long_ago, long_ago))
    write_text(tmp_path / "a[1].h5", "")
    assert {path.name for path in tmp_path.iterdir()} == {young.name, other.name, "a[1].h5"}


def test_a_digest_follows_content_not_order():
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert digest([1, 2]) != digest([2, 1])
    assert digest({"a": 1}) != digest({"a": "1"})


@pytest.mark.parametrize(
    ("statement", "status", "logged"),
    [
        ("os.system('echo from a child')", 0, "from a child"),
        ("raise BraidError('Mend it.')", 1, "braid: Mend it."),
        ("1 / 0", 1, "Traceback"),
    ],
)
def test_what_a_job_prints_is_in_its_log(tmp_path, statement, status, logged):
    code = f"""
import os
from braid.errors import BraidError
from braid.logs import job_log
with job_log("job.log"):
    {statement}
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    log = (tmp_path / "job.log").read_text()
    assert (done.returncode, done.stdout + done.stderr) == (status, "")
    assert logged in log
    assert ("Traceback" in log) == (logged == "Traceback")

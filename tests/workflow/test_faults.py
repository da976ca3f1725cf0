"""What happens when things break: a killed run, bad clips, a bad config, a bad manifest."""

import csv
import os
import re
import signal
import subprocess
import time
from zipfile import ZipFile

import h5py
import numpy as np
import pytest

from .conftest import AWKWARD, ROOT, make_clip
from .test_reruns import EVERYTHING, edit, edit_rows


def run_until(project, pattern: str) -> set[str]:
    """Run Snakemake until it prints a line that matches, kill all of it, and return the jobs that had finished."""
    messages, finished = {}, set()
    process = subprocess.Popen(
        project.command(), cwd=project.folder, env=project.environment, text=True, bufsize=1,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    assert process.stdout
    try:
        for line in process.stdout:
            if started := re.match(r"Job (\d+): (.+)", line):
                messages[started[1]] = started[2]
            if ended := re.match(r"Finished jobid: (\d+)", line):
                finished.add(messages[ended[1]])
            if re.match(pattern, line):
                break
        # A moment later: in the middle of the jobs that have just been started, not between jobs.
        time.sleep(1)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
    rest = process.communicate()[0]
    finished |= {messages[number] for number in re.findall(r"Finished jobid: (\d+)", rest) if number in messages}
    return finished


def predictions(project) -> dict[str, np.ndarray]:
    found = {}
    for path in sorted(project.results.glob("schemes/**/predictions.h5")):
        with h5py.File(path) as file:
            found[str(path.relative_to(project.results))] = np.asarray(file["probabilities"])
    return found


def test_a_killed_run_continues_with_the_same_results(fresh, finished, tmp_path):
    project = fresh.copy(tmp_path / "project")
    done: set[str] = set()
    for pattern in (
        r"Job \d+: Decoding",
        r"Finished jobid: \d+ \(Rule: decode_shard",
        r"Job \d+: Extracting",
        r"Job \d+: Training",
    ):
        done |= run_until(project, pattern)
        project.snakemake("--unlock")
        assert project.planned() == EVERYTHING - done
    project.snakemake()
    assert project.planned() == set()
    expected, got = predictions(finished), predictions(project)
    assert expected.keys() == got.keys()
    for name in expected:
        np.testing.assert_array_equal(got[name], expected[name], err_msg=name)


def test_a_killed_flow_job_resumes_within_its_shard(fresh, tmp_path):
    """Slow flow of eight clips, killed with -9 when three are finished, and run again."""
    project = fresh.copy(tmp_path / "project")
    flow, log = project.results / "flow" / "farneback", project.results / "logs" / "compute_flow" / "farneback"
    shard = flow / "a.zarr.zip"
    edit(project, "flow.farneback", {"type": "farneback", "iterations": 50, "window": 45})
    sizes = []
    for n in range(8):
        path = project.folder / "media" / AWKWARD.get(n, f"clip {n}.mp4")
        make_clip(path, n % 2, n, frames=40)
        sizes.append(path.stat().st_size)
    edit_rows(
        project, lambda rows: [re.sub(r"\d+$", str(n), row) for row, n in zip(rows, sizes, strict=False)] + rows[8:]
    )
    target = str(shard.relative_to(project.folder))
    project.snakemake(target.replace("flow/farneback", "decoded"))

    def clips() -> dict[str, list[tuple]]:
        """The clips that are finished: what the file of each holds, and when it was put there."""
        parts = [part for part in flow.glob("*.parts/*/*.zip") if not part.name.startswith(".")]
        return {part.name.split(".")[0]: entries(part) for part in parts}

    process = subprocess.Popen(
        project.command(target), cwd=project.folder, env=project.environment, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        while len(list(flow.glob("*.parts/*/[!.]*.zip"))) < 3:
            assert process.poll() is None, (log / "a.log").read_text(encoding="utf-8")
            time.sleep(0.005)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    before = clips()
    assert 3 <= len(before) < 8
    assert not shard.exists()
    assert len(list(flow.glob("*.parts/*/.*.zip"))) <= 1, "at most one clip is half-written"

    time.sleep(2)  # the clock of a zip file ticks every two seconds
    project.snakemake("--unlock")
    project.snakemake(target)
    assert f"{len(before)} of 8 clips were finished before" in (log / "a.log").read_text(encoding="utf-8")
    resumed = entries(shard)
    for clip, expected in before.items():
        assert [entry for entry in resumed if entry[0].startswith(clip)] == [
            e for e in expected if e[0].startswith(clip)
        ]
    assert [path.name for path in flow.iterdir()] == [shard.name]
    shard.unlink()
    project.snakemake(target)
    assert "finished before" not in (log / "a.log").read_text(encoding="utf-8")
    assert [(name, crc) for name, crc, _ in entries(shard)] == [(name, crc) for name, crc, _ in resumed]


def entries(path) -> list[tuple]:
    """Return name, checksum and time of all that a zip file holds."""
    with ZipFile(path) as file:
        return sorted((entry.filename, entry.CRC, entry.date_time) for entry in file.infolist())


def test_a_bad_clip_is_recorded_and_the_run_goes_on(fresh, tmp_path):
    project = fresh.copy(tmp_path / "project")
    broken = project.folder / "media" / "clip 1.mp4"
    broken.write_bytes(broken.read_bytes()[:300])
    edit_rows(project, lambda rows: [re.sub(r"\d+$", "300", row) if row.startswith("1\t") else row for row in rows])
    edit(project, "max_bad_fraction", 0.1)
    project.snakemake()
    with (project.results / "decoded" / "problems.tsv").open(encoding="utf-8") as file:
        problems = list(csv.DictReader(file, delimiter="\t"))
    assert {row["video"] for row in problems} == {"clip 1.mp4"}
    assert {row["status"] for row in problems} == {"unreadable"}
    assert "clip 1.mp4" in (project.results / "report.html").read_text(encoding="utf-8")
    for name, probabilities in predictions(project).items():
        assert len(probabilities) == 12, name


def test_too_many_bad_clips_stop_the_run(project):
    for number in (1, 3, 5):
        broken = project.folder / "media" / f"clip {number}.mp4"
        broken.write_bytes(b"not a video")
    edit_rows(
        project, lambda rows: [re.sub(r"\d+$", "11", row) if row[:2] in ("1\t", "3\t", "5\t") else row for row in rows]
    )
    edit(project, "max_bad_fraction", 0.1)
    printed = project.snakemake(fails=True)
    assert "max_bad_fraction" in printed
    assert (project.results / "decoded" / "problems.tsv").exists()
    assert "Training" not in printed


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("extractors.sound.wieghts", "random", "did you mean 'weights'?"),
        ("schemes.early.features", ["sound", "picture"], "names 'picture', which is not under extractors"),
        ("decode.codec", "gif", "config key decode.codec must be one of jpeg, lossless, got 'gif'."),
    ],
)
def test_a_bad_config_stops_before_the_first_job(project, key, value, sentence):
    edit(project, key, value)
    printed = project.snakemake(fails=True)
    assert sentence in printed
    assert "Traceback" not in printed


def test_a_bad_manifest_stops_before_the_first_job(project):
    edit_rows(project, lambda rows: [*rows, rows[0]])
    printed = project.snakemake(fails=True)
    assert "item" in printed
    assert "row 14" in printed
    assert "Traceback" not in printed


def test_a_truncated_shard_is_named_with_its_cure(project):
    shard = next(project.results.glob("features/sound/a.h5"))
    shard.write_bytes(shard.read_bytes()[:1000])
    printed = project.snakemake("--forcerun", "train_scheme", fails=True)
    assert "features/sound/a.h5" in printed


def test_a_config_without_a_manifest_is_not_completed_by_the_demo(project):
    config = project.config
    del config["manifest"]
    project.config = config
    assert "the config lacks 'manifest'" in project.snakemake("--dry-run", fails=True)


def test_the_page_names_tests_that_exist():
    named = re.findall(r"`(tests/\S+\.py)::(test_\w+)`", (ROOT / "docs" / "faults.md").read_text(encoding="utf-8"))
    assert len(named) > 30
    absent = {
        f"{file}::{test}" for file, test in named if f"def {test}(" not in (ROOT / file).read_text(encoding="utf-8")
    }
    assert absent == set()


def test_every_test_of_faults_is_on_the_page():
    page = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
    here = re.findall(r"^def (test_\w+)", (ROOT / "tests/workflow/faults.py").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(here) == 3
    assert [name for name in here if name not in page] == []


def test_no_rule_has_a_shell_command():
    """Names of clips, and whatever else others wrote, never reach a shell."""
    rules = "".join(
        path.read_text(encoding="utf-8") for path in [ROOT / "Snakefile", *ROOT.glob("workflow/rules/*.smk")]
    )
    assert "script:" in rules
    assert not re.search(r"^\s*shell:|\bshell\(", rules, re.MULTILINE)
    library = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    assert not re.search(r"shell=True|os\.system|os\.popen", library)

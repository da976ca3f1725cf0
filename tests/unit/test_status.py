"""How far a run is: events of Snakemake's logger, the lines that are said, and what `braid status` makes of them."""

import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from braid.cli import main
from braid.errors import StoreError
from braid.runs import progress, record, status

PLANNED = [
    ("decode_shard", {"shard": "a"}),
    ("decode_shard", {"shard": "b"}),
    ("extract_features", {"extractor": "sound", "shard": "a"}),
    ("train_scheme", {"scheme": "early", "fold": "1"}),
]
CLIPS = {"a": 30, "b": 10}
DRY = """Building DAG of jobs...

[Thu Nov 26 22:00:26 2026]
Job 4: Decoding shard b
Reason: Missing output files: results/mine/decoded/b.zarr.zip
[Thu Nov 26 22:00:26 2026]
Job 5: Decoding shard c
Reason: Missing output files: results/mine/decoded/c.zarr.zip
[Thu Nov 26 22:00:26 2026]
Job 7: Training early, fold 1
Reason: Input files updated by another job: x.h5; Params have changed since last execution: before: 0.5 now: 0.4
[Thu Nov 26 22:00:26 2026]
Job 8: Writing the report
Reason: Input files updated by another job: results/mine/schemes/early/fold1/seed0/metrics.json
"""


class Run:
    """A run whose clock is set by hand, in a folder of its own."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(folder)
        monkeypatch.setattr("braid.runs.progress.time.time", lambda: self.now)
        self.now, self.lines, self.results = 1000.0, [], Path("results/mine")
        self.progress = progress.Progress(self.results, PLANNED, CLIPS, lambda path: len(path), self.lines.append)

    def tell(self, event: str, seconds: float = 0, **told: object) -> None:
        """Send an event so many seconds after the last one."""
        self.now += seconds
        made = {"name": "snakemake.logging", "event": event, "output": ["out"], "log": [], "wildcards": {}} | told
        self.progress.handle(logging.makeLogRecord(made))

    def start(self, number: int, seconds: float = 0, output: str = "out") -> None:
        rule, wildcards = PLANNED[number]
        log = [f"{self.results}/logs/{rule}-{number}.log"]
        self.tell("job_info", seconds, jobid=number, rule_name=rule, wildcards=wildcards, log=log, output=[output])

    def fail(self, number: int, said: str) -> None:
        log = Path(f"{self.results}/logs/{PLANNED[number][0]}-{number}.log")
        log.parent.mkdir(exist_ok=True)
        log.write_text(said)
        self.tell("job_error", 1, jobid=number)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    return Run(tmp_path, monkeypatch)


def test_pace_and_time_left_follow_from_jobs_that_have_finished(run: Run) -> None:
    """30 clips of 40 in 60 s: 0.5 clips/s, and one of two jobs is left, which is taken to last as long."""
    run.start(0, output="abc")
    run.tell("job_finished", 60, job_id=0)
    assert run.lines == ["decode_shard: 1 of 2\u00a0jobs, 0.5 clips/s, 1 min 0 s left; 3\u00a0problems in clips"]
    run.start(1)
    run.tell("job_finished", 20, job_id=1)
    assert run.lines[1].startswith("decode_shard: 2 of 2\u00a0jobs, 0.5 clips/s, done in 1 min 20 s; 6")
    history = progress.load(run.results)
    assert history == run.progress.history
    assert history.stages["decode_shard"].clips == 40 and history.problems == 6
    assert list(history.stages) == ["decode_shard", "extract_features sound", "train_scheme early"]


def test_files_that_go_to_a_storage_are_read_from_their_place(run: Run) -> None:
    """As with the storage plugin `fs`, which copies them there from a scratch disk."""
    run.start(0, output="abc (send to storage)")
    run.tell("job_finished", 60, job_id=0)
    assert run.lines[0].endswith("; 3\u00a0problems in clips")
    sound = {"rule_name": "extract_features", "wildcards": {"extractor": "sound", "shard": "a"}}
    run.tell("job_info", jobid=2, log=["results/mine/logs/x.log (send to storage)"], **sound)
    run.tell("job_error", 1, jobid=2)
    assert run.lines[1].endswith("(log: results/mine/logs/x.log)")


def test_a_stage_is_silent_for_a_while_but_for_its_last_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("test_status.PLANNED", [("decode_shard", {"shard": "a"})] * 5)
    run = Run(tmp_path, monkeypatch)
    for number in range(5):
        run.start(number)
        run.tell("job_finished", progress.QUIET_SECONDS / 2 - 1, job_id=number)
    assert [line.split()[1] for line in run.lines] == ["1", "4", "5"]


def test_a_failure_is_told_with_its_reason_and_log_and_again_at_the_end(run: Run) -> None:
    run.start(2)
    run.fail(2, "Traceback\n  more\nValueError: no sound in it\n\n")
    log = "results/mine/logs/extract_features-2.log"
    assert run.lines == [f"FAILED extract_features sound shard a: ValueError: no sound in it (log: {log})"]
    run.start(3)
    run.fail(3, "")
    run.progress.end()
    assert run.lines[2] == "2\u00a0jobs failed, and what reads them was not run:"
    assert run.lines[3:5] == ["  ValueError: no sound in it", f"    extract_features sound shard a (log: {log})"]
    assert "may have been killed" in run.lines[5]
    run.start(2)
    run.tell("job_finished", 1, job_id=2)
    assert list(progress.load(run.results).failed) == [3], "another attempt has succeeded"


def test_a_rule_without_a_log_has_spoken_on_the_terminal(run: Run) -> None:
    run.tell("job_info", jobid=7, rule_name="fetch_weights", wildcards={"section": "extractors", "entry": "sound"})
    run.tell("job_error", 1, jobid=7)
    assert run.lines == [f"FAILED fetch_weights sound: {progress.why('')} (log: –)"]
    assert "among what the run has printed" in run.lines[0]


def test_an_error_in_following_stops_no_run(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.progress.problems = lambda path: 1 // 0
    run.start(0)
    run.tell("job_finished", 1, job_id=0)
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_rules_without_output_and_other_records_are_no_jobs(run: Run) -> None:
    run.tell("job_info", jobid=9, rule_name="all", output=[])
    run.tell("progress", done=1, total=2)
    run.tell("job_finished", job_id=9)
    run.progress.handle(logging.makeLogRecord({"msg": "plain"}))
    assert run.lines == [] and not run.progress.history.running


def test_events_that_are_damaged_are_a_sentence_and_one_half_written_is_not(run: Run) -> None:
    path = run.results / progress.NAME
    whole = path.read_text()
    path.write_text(whole + '{"event": "sta')
    assert progress.load(run.results).stages
    path.write_text(whole + "no event\n")
    with pytest.raises(StoreError, match=r"jobs\.jsonl does not hold what braid writes"):
        progress.load(run.results)


def test_a_dry_run_in_words() -> None:
    assert list(status.told(DRY)) == [
        "1\u00a0job: its settings, its rows of the manifest or its version are others than when it last ran",
        "  Training early, fold 1",
        "2\u00a0jobs: not there yet",
        "  Decoding shard b, c",
        "1\u00a0job: what it reads is made again",
        "  Writing the report",
    ]
    assert list(status.told("Nothing to be done.")) == ["Nothing: all is there and up to date."]


def test_the_page_of_a_run_that_was_killed(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    record.start(run.results, "", ["--cores", "1"])
    text = (run.results / record.NAME).read_text()
    (run.results / record.NAME).write_text(re.sub(r'"process": \d+', '"process": 99999999', text))
    benchmark = run.results / "benchmarks" / "decode_shard" / "a.tsv"
    benchmark.parent.mkdir(parents=True)
    benchmark.write_text("s\tcpu_time\n61\t9\n")
    (run.results / "decoded").mkdir()
    (run.results / "decoded" / "a.zarr.zip").write_bytes(bytes(2_500_000))
    run.start(0, output="abc")
    run.tell("job_finished", 60, job_id=0)
    run.start(1)
    run.start(2)
    run.fail(2, "braid: the weights are not there\n")
    page = "\n".join(status.page(run.results, whole=False))
    assert "was stopped before its end. `braid resume results/mine` goes on." in page
    assert "extract_features sound  0 of 1\u00a0job, 1 failed" in page
    assert "train_scheme early      0 of 1\u00a0job, not begun" in page
    stopped = page[page.index("Stopped before they were done") : page.index("Failed")]
    assert re.search(r"decode_shard shard b, since \d\d:\d\d:\d\d \(log: results/mine", stopped)
    assert "the weights are not there\n  extract_features sound shard a (log: results/mine/logs/" in page
    assert "3\u00a0streams not as they should be in the shards that this run has decoded" in page
    costs = [line.split() for line in status._costs(run.results)]
    assert costs[0] == ["decode_shard", "1", "job", "1", "min", "1", "s"] and ["decoded/", "2.5", "MB"] in costs
    assert status.is_over(run.results)
    assert main(["status", "results/other"]) == 2
    assert "No run of results/other was written down" in capsys.readouterr().err


def test_words_of_a_dry_run_that_fails_are_passed_on(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    record.start(run.results, "", ["--cores", "1"])
    assert main(["status", "results/mine"]) == 2
    assert "A dry run of `snakemake --cores 1` says" in capsys.readouterr().err


def test_status_needs_no_torch() -> None:
    code = (
        "import sys, braid.runs.status; print([m for m in ('torch', 'scipy', 'zarr', 'snakemake') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True)
    assert done.stdout.strip() == "[]"

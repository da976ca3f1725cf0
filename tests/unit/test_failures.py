"""What a run says at its end of the jobs that failed."""

from pathlib import Path

from braid.failures import failures

LOG = """Building DAG of jobs...
[Thu Nov 26 18:15:31 2026]
Error in rule decode_shard:
    message: None
    jobid: 4
    output: results/a b/decoded/001.zarr.zip
    log: results/a b/logs/decode.log (check log file(s) for error details)
Logfile results/a b/logs/decode.log:
====
[Thu Nov 26 18:15:32 2026]
Error in rule train_scheme:
    message: None
    jobid: 45
    log: results/a b/logs/early.log (check log file(s) for error details)
RuleException:
Error in rule train_scheme:
    message: None
    jobid: 46
    log: results/a b/logs/late.log (check log file(s) for error details)
Error in rule fetch_weights:
    message: None
    jobid: 2
Trying to restart job 4.
Error in rule decode_shard:
    message: None
    jobid: 4
    log: results/a b/logs/decode.log (check log file(s) for error details)
"""


def test_each_failed_job_is_named_once_with_its_reason_and_its_log(tmp_path: Path) -> None:
    logs = tmp_path / "results" / "a b" / "logs"
    logs.mkdir(parents=True)
    (logs / "decode.log").write_text("12 clips\nbraid: the disk is full. Free space.\n", encoding="utf-8")
    (logs / "early.log").write_text('Traceback\n  File "x"\nValueError: shapes differ\n\n', encoding="utf-8")
    (tmp_path / "run.log").write_text(LOG, encoding="utf-8")
    assert list(failures(tmp_path / "run.log", tmp_path)) == [
        "decode_shard: the disk is full. Free space.\n  results/a b/logs/decode.log",
        "train_scheme: ValueError: shapes differ\n  results/a b/logs/early.log",
        "train_scheme: it was killed before it said anything, for instance since memory was short.\n"
        "  results/a b/logs/late.log",
        "fetch_weights: it has no log; what it said is above.",
    ]

"""The workflow on a real SLURM, undisturbed and disturbed. `make cluster` runs this file, as root on Debian."""

import os
import re
import shutil
import signal
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml
from workflow.conftest import ROOT
from workflow.known import bound, shares

from .conftest import Submitted

FAULT = """
import pathlib as _pathlib, time as _time
_mark = _pathlib.Path("faults", "_".join((snakemake.rule, *map(str, snakemake.wildcards))))
if _mark.exists():
    _kind = _mark.read_text()
    _mark.unlink()
    if _kind == "memory":
        _block = b"." * 3_000_000_000
    _time.sleep(600)
"""
"""At the head of each script: the first attempt at a job that is marked goes on for ten minutes, some with 3 GB."""


def with_faults(project, **kinds: str):
    """Let jobs fail: rule and wildcards → `slow`, or `memory` for one that takes more than it asked for."""
    marks = project.folder / "faults"
    marks.mkdir()
    for name, kind in kinds.items():
        (marks / name).write_text(kind)
    for script in (project.folder / "workflow" / "scripts").glob("*.py"):
        text = script.read_text(encoding="utf-8")
        script.write_text(re.sub(r"\A(\"\"\".*?\"\"\")", lambda found: found[1] + FAULT, text, flags=re.DOTALL))
    return marks


def adapt(project, **resources) -> None:
    """Change what jobs that extract features ask for in the profile of a project, as docs/slurm.md says."""
    path = project.folder / "profiles" / "slurm" / "config.yaml"
    profile = yaml.safe_load(path.read_text(encoding="utf-8"))
    profile["set-resources"]["extract_features"] = profile["set-resources"]["extract_features"] | resources
    path.write_text(yaml.safe_dump(profile), encoding="utf-8")


def asked(cluster, since: int) -> list[str]:
    """Return how jobs that extract features called sbatch, after the first `since` calls."""
    lines = [f"{line} " for line in cluster.submitted()[since:] if "rule_extract_features" in line]
    assert lines and all(" --nodes=1 " in line and " -p gpu " in line for line in lines)
    assert not any("--ntasks" in line for line in lines if "--gpus" in line or "--gres" in line)
    return lines


def predictions(project) -> dict[str, np.ndarray]:
    found = {}
    for path in sorted(project.results.glob("schemes/**/predictions.h5")):
        with h5py.File(path) as file:
            found[str(path.relative_to(project.results))] = np.asarray(file["probabilities"])
    return found


def assert_same_results(project, finished) -> None:
    expected, got = predictions(finished), predictions(project)
    assert got.keys() == expected.keys()
    for name in expected:
        np.testing.assert_array_equal(got[name], expected[name], err_msg=name)
    assert (project.results / "report.html").exists()


@pytest.fixture
def project(fresh, tmp_path):
    """A project in which nothing has run."""
    return fresh.copy(tmp_path / "project")


def test_faults_of_jobs_and_nodes_cost_attempts_and_nothing_else(project, finished, cluster):
    marks = with_faults(
        project, decode_shard_a="slow", extract_features_sound_a="slow", extract_features_flow3d_b="memory",
        compute_flow_farneback_b="slow",
    )  # fmt: skip
    adapt(project, gpu_model="a100", runtime="attempt", mem_mb="2000 * attempt")
    calls = len(cluster.submitted())
    run = Submitted(project, cluster, "--configfile", "config.yaml")
    process = run.start()
    try:
        cancelled = cluster.running("decode_shard_wildcards_a")
        cluster.wait_until(lambda: not (marks / "decode_shard_a").exists())
        cluster.ask("scancel", cancelled)

        stranded = cluster.running("compute_flow_wildcards_farneback_b")
        cluster.wait_until(lambda: not (marks / "compute_flow_farneback_b").exists())
        node = cluster.show(stranded)["NodeList"]
        running = cluster.jobs("RUNNING").items()
        lost = {text.removeprefix("rule_") for job, text in running if cluster.show(job).get("NodeList") == node}
        cluster.kill_node(node)
        cluster.wait_until(lambda: "down" in cluster.ask("sinfo", "-hN", "-n", node, "-o", "%T"))
        cluster.start_node(node)

        cluster.wait_until(lambda: (project.results / "flow/farneback/b.zarr.zip").exists(), 180)
        drained = next(other for other in cluster.nodes if other != node)
        cluster.ask("scontrol", "update", f"nodename={drained}", "state=drain", "reason=test")
        assert process.wait(timeout=400) == 0, run.printed.read_text()
    finally:
        process.kill()
        cluster.ask("scontrol", "update", f"nodename={','.join(cluster.nodes)}", "state=resume", fails=True)
    assert_same_results(project, finished)
    assert not list(marks.iterdir())
    assert all(" --gpus=a100:1 " in line for line in asked(cluster, calls))
    attempts = run.attempts()
    again = {name for name, count in attempts.items() if count > 1}
    disturbed = {
        "decode_shard_wildcards_a": "cancelled",
        "extract_features_wildcards_sound_a": "ran over its time",
        "extract_features_wildcards_flow3d_b": "took more than its memory",
        "compute_flow_wildcards_farneback_b": "lost its node",
    }
    faults = dict.fromkeys(lost, "lost its node") | disturbed
    print(f"\n{'job':50} attempts  fault")
    for name, count in sorted(attempts.items()):
        print(f"{name.replace('_wildcards', ''):50} {count:>8}  {faults.get(name, '')}".rstrip())
    assert disturbed.keys() <= again <= disturbed.keys() | lost
    printed = run.printed.read_text()
    for status in ("CANCELLED", "TIMEOUT", "NODE_FAIL"):
        assert f"SLURM status is: '{status}'" in printed


def test_a_killed_submitter_is_resumed(project, finished, cluster):
    marks = with_faults(project, extract_features_sound_b="slow")
    run = Submitted(project, cluster, "--configfile", "config.yaml")
    before, calls = set(cluster.jobs("all")), len(cluster.submitted())
    process = run.start()
    cluster.wait_until(lambda: not (marks / "extract_features_sound_b").exists())
    cluster.wait_until(lambda: (project.results / "features/sound/a.h5").exists())
    time.sleep(8)  # the submitter sees that it is there
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    orphan = cluster.running("extract_features_wildcards_sound_b")
    done = {path: path.stat().st_mtime_ns for path in project.results.glob("decoded/*.zip")}
    assert done

    assert all(" --gpus=1 " in line for line in asked(cluster, calls))
    adapt(project, gpu=0)
    calls = len(cluster.submitted())
    unlocked = run.call(*run.command("--unlock"))
    assert unlocked.returncode == 0, unlocked.stderr
    refused = run.call(*run.command())
    assert refused.returncode != 0
    assert orphan in refused.stdout + refused.stderr
    assert "braid resume results/tiny" in refused.stdout + refused.stderr

    resumed = run.call(str(Path(sys.executable).with_name("braid")), "resume", "results/tiny")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert orphan in resumed.stdout
    assert cluster.show(orphan)["JobState"] == "CANCELLED"
    assert {path: path.stat().st_mtime_ns for path in done} == done
    assert_same_results(project, finished)
    assert not any("--gpus" in line or "--gres" in line for line in asked(cluster, calls))
    ran = cluster.jobs("all").keys() - before
    print(
        f"\nsubmitter killed: job {orphan} went on, was refused a second run beside it, and cancelled by braid resume;"
    )
    print(f"{len(done)} decoded shards kept, {len(ran)} jobs in all")
    assert len(ran) > 1
    assert "Nothing to be done" in run.call(*run.command()).stderr


def test_the_demo_runs_through_sbatch(project, cluster):
    """The clips of the demo, heard by PaSST: all that `make demo` computes would take longer than the faults here."""
    shutil.copytree(ROOT / "resources" / "demo", project.folder / "resources" / "demo")
    config = yaml.safe_load((ROOT / "config" / "config.yaml").read_text(encoding="utf-8"))
    for section, kept in (("flow", []), ("extractors", ["sound"]), ("schemes", ["sound"])):
        config[section] = {name: config[section][name] for name in kept}
    project.config = config
    run = Submitted(project, cluster, "--configfile", "config.yaml")
    adapt(project, gres="gpu:a100:1", gpu=0, constraint="fast", slurm_extra="'--nice=5'")
    before = len(cluster.submitted())
    assert run.start().wait(timeout=400) == 0, run.printed.read_text()
    assert shares(project.folder / "results" / "demo", "sound")["label"] <= bound(0.25)

    lines = cluster.submitted()[before:]
    assert len(lines) == 4 + 4 + 1 + 4  # decode, hear, train; the list of problems and its check, pictures, report
    heard = asked(cluster, before)
    for option in ("--gres=gpu:a100:1", "-C fast", "--nice=5", "--cpus-per-task=2", "--mem 8000", "-t 240"):
        assert all(f" {option} " in line for line in heard), option
    assert not any("--gpus" in line for line in lines)
    assert sum("--gres" in line for line in lines) == len(heard)

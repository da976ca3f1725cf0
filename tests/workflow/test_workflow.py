"""The workflow as such: rules are documented, scripts thin, and Snakemake's own report is written."""

import re

import polars as pl
import pytest

from .conftest import CONFIG, ROOT, announced
from .test_reruns import edit

RULE = r"^rule (\w+):"


def source(pattern: str) -> str:
    """Return the text of all files of the project that match."""
    return "".join(path.read_text(encoding="utf-8") for path in sorted(ROOT.glob(pattern)))


def test_every_rule_says_what_it_does(fresh):
    listed = set(re.findall(r"^(\w+) \(.+\)$", fresh.snakemake("--list"), re.MULTILINE))
    assert listed == set(re.findall(RULE, source("Snakefile") + source("workflow/rules/*.smk"), re.MULTILINE))


def test_each_script_has_the_name_of_its_rule():
    rules = source("workflow/rules/*.smk")
    scripts = {path.stem for path in ROOT.glob("workflow/scripts/*.py")}
    assert scripts == set(re.findall(r"scripts/(\w+)\.py", rules))
    assert scripts <= set(re.findall(RULE, rules, re.MULTILINE))


def test_the_snakefile_is_short():
    assert len(source("Snakefile").splitlines()) <= 50


def words(printed: str) -> list[str]:
    """Return what was printed without times of day, in an order that does not follow the hash seed."""
    return sorted(word for word in re.split(r"[\s,;]+", printed) if not re.fullmatch(r"\d\d:\d\d:\d\d", word))


def test_a_plan_is_that_of_the_command_line(fresh):
    by_hand = fresh.snakemake("--dry-run", "--quiet", "host")
    assert words(by_hand) == words(fresh.plan("--quiet", "host"))
    assert announced(by_hand) == fresh.planned() != set()


def test_a_plan_fails_where_the_command_line_does(fresh, tmp_path):
    project = fresh.copy(tmp_path / "project")
    project.config = project.config | {"seeds": []}
    assert words(project.snakemake("--dry-run", fails=True)) == words(project.plan(fails=True))


@pytest.mark.parametrize(("clips_a_shard", "jobs_at_once"), [(2, "2"), (4, "1")])
def test_enough_shards_are_decoded_side_by_side_fewer_with_all_cores(fresh, tmp_path, clips_a_shard, jobs_at_once):
    project = fresh.copy(tmp_path / "project")
    table = pl.read_csv(project.manifest, separator="\t", infer_schema=False)
    shards = pl.Series("shard", [f"s{number // clips_a_shard}" for number in range(len(table))])
    table.with_columns(shards).write_csv(project.manifest, separator="\t")
    printed = project.snakemake("--until", "decode_shard")
    assert max(re.findall(r"^Execute (\d+) jobs", printed, re.MULTILINE)) == jobs_at_once


def test_snakemake_report(project):
    project.snakemake("--report", "snakemake.html")
    page = (project.folder / "snakemake.html").read_text(encoding="utf-8")
    assert "report.html" in page


def test_a_name_that_a_library_does_not_have_stops_before_the_first_job(fresh, tmp_path):
    """Whatever is asked for."""
    project = fresh.copy(tmp_path / "project")
    edit(project, "extractors.frame", {"type": "timm", "weights": "random", "architecture": "resnet19"})
    said = project.snakemake("decode", fails=True)
    assert "config key extractors.frame: timm has no network 'resnet19'; near it are" in said
    assert "Traceback" not in said
    assert not project.results.exists()


def test_so_does_one_that_comes_to_an_extractor_with_features(project):
    edit(project, "extractors.sound", {"type": "timm", "weights": "random", "architecture": "resnet19"})
    assert "config key extractors.sound: timm has no network 'resnet19'" in project.snakemake(fails=True)
    edit(project, "extractors.sound", CONFIG["extractors"]["sound"])
    assert project.planned() == set()

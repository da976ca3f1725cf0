"""The workflow as such: rules are documented, scripts thin, and Snakemake's own report is written."""

import re

from .conftest import ROOT

RULE = r"^rule (\w+):"


def source(pattern: str) -> str:
    """Return the text of all files of the project that match."""
    return "".join(path.read_text(encoding="utf-8") for path in sorted(ROOT.glob(pattern)))


def test_every_rule_says_what_it_does(finished):
    listed = set(re.findall(r"^(\w+) \(.+\)$", finished.snakemake("--list"), re.MULTILINE))
    assert listed == set(re.findall(RULE, source("Snakefile") + source("workflow/rules/*.smk"), re.MULTILINE))


def test_each_script_has_the_name_of_its_rule():
    rules = source("workflow/rules/*.smk")
    scripts = {path.stem for path in ROOT.glob("workflow/scripts/*.py")}
    assert scripts == set(re.findall(r"scripts/(\w+)\.py", rules))
    assert scripts <= set(re.findall(RULE, rules, re.MULTILINE))


def test_the_snakefile_is_short():
    assert len(source("Snakefile").splitlines()) <= 50


def test_snakemake_report(project):
    project.snakemake("--report", "snakemake.html")
    page = (project.folder / "snakemake.html").read_text(encoding="utf-8")
    assert "report.html" in page


def test_a_name_that_a_library_does_not_have_stops_before_the_first_job(fresh, tmp_path):
    project = fresh.copy(tmp_path / "project")
    config = project.config
    config["extractors"]["frame"] = {"type": "timm", "weights": "random", "architecture": "resnet19"}
    project.config = config
    said = project.snakemake(fails=True)
    assert "config key extractors.frame: timm has no network 'resnet19'; near it are" in said
    assert "Traceback" not in said
    assert not project.results.exists()

"""The workflow as such: rules are documented, scripts thin, and Snakemake's own report is written."""

import re

from .conftest import ROOT


def test_every_rule_says_what_it_does(finished):
    printed = finished.snakemake("--list")
    names = re.findall(r"^rule (\w+):", "".join(p.read_text() for p in [ROOT / "Snakefile", *ROOT.glob("workflow/rules/*.smk")]), re.M)
    assert names
    for name in names:
        assert re.search(rf"^{name}\n +\w.+", printed, re.MULTILINE), f"rule {name} has no docstring"


def test_each_script_has_the_name_of_its_rule():
    rules = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("workflow/rules/*.smk"))
    scripts = {path.stem for path in ROOT.glob("workflow/scripts/*.py")}
    assert scripts == set(re.findall(r"scripts/(\w+)\.py", rules))
    assert scripts <= set(re.findall(r"^rule (\w+):", rules, re.MULTILINE))


def test_the_snakefile_is_short():
    assert len((ROOT / "Snakefile").read_text(encoding="utf-8").splitlines()) <= 50


def test_snakemake_report(project):
    project.snakemake("--report", "snakemake.html")
    page = (project.folder / "snakemake.html").read_text(encoding="utf-8")
    assert "report.html" in page

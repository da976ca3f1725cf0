"""The house: the lock agrees with the project, nothing names a host, imports that each job repeats stay light."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import braid

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCKS = ("requirements.txt", "bootstrap.txt", "requirements-parity.txt")
HEAVY = {"torch", "torchvision", "torchaudio", "cv2", "av", "decord", "sklearn", "scipy", "matplotlib", "timm"}
FACTORS = ("digit", "direction", "sound")
LIGHT = (
    "braid.config",
    "braid.index",
    "braid.manifest",
    "braid.media",
    "braid.metrics",
    "braid.backbones.registry",
    "braid.extractors.registry",
    "braid.flow.registry",
    "braid.schemes.registry",
    "braid.report.examples",
    "braid.weights",
)

WITHOUT_A_NETWORK = (
    "braid.media.decode",
    "braid.media.problems",
    "braid.words.describe",
    "braid.words.fit",
    "braid.words.count",
    "braid.report.build",
)
"""What jobs run that compute no tensor: most of them take less time than an import of torch."""


def tracked() -> list[Path]:
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    return [path for name in names.split("\0") if name and (path := ROOT / name).is_file()]


def locked(name: str) -> dict[str, tuple[str, frozenset[str]]]:
    """Return version and hashes of each package that a lock file pins."""
    text = (ROOT / "envs" / name).read_text(encoding="utf-8")
    pins = re.findall(r"^([\w.-]+)==(\S+)((?:.*\\\n.*--hash=\S+)+)", text, re.MULTILINE)
    return {package: (version, frozenset(re.findall(r"--hash=(\S+)", hashes))) for package, version, hashes in pins}


def required(lock: str = "requirements.txt") -> list[Requirement]:
    """Return what the project asks for directly of a lock."""
    names = ("bootstrap", "dev") if lock == "requirements.txt" else ("parity",)
    groups = [line for name in names for line in PROJECT["dependency-groups"][name] if isinstance(line, str)]
    return [Requirement(line) for line in PROJECT["project"]["dependencies"] + groups]


@pytest.mark.parametrize("lock", ["requirements.txt", "requirements-parity.txt"])
def test_the_lock_holds_what_the_project_asks_for(lock):
    for requirement in required(lock):
        version, hashes = locked(lock)[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), requirement
        assert hashes


@pytest.mark.parametrize(
    "requirement",
    {line.name: line for lock in ("requirements.txt", "requirements-parity.txt") for line in required(lock)}.values(),
    ids=lambda requirement: requirement.name,
)
def test_the_licence_of_each_dependency_is_named(requirement):
    assert re.search(rf"\b{requirement.name}\b", (ROOT / "docs" / "licences.md").read_text(encoding="utf-8"))


def test_both_locks_pin_the_same_versions_and_files():
    assert locked("bootstrap.txt").items() <= locked("requirements.txt").items()
    assert locked("bootstrap.txt").keys() == {"setuptools", "uv"}


def test_references_run_beside_the_versions_of_the_product():
    ours, theirs = locked("requirements.txt"), locked("requirements-parity.txt")
    assert {name: theirs[name] for name in ours.keys() & theirs.keys() if theirs[name] != ours[name]} == {}
    assert {"pytorchvideo", "torchopenl3", "ptlflow", "keras"} & ours.keys() == set()


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_holds_pins_and_hashes_only(name):
    for line in (ROOT / "envs" / name).read_text(encoding="utf-8").splitlines():
        assert re.fullmatch(r"[\w.-]+==\S+( ; .*)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?", line), line


def test_no_file_names_a_package_registry():
    hosts = re.compile(rb"pypi[.](org|io)|pythonhosted[.]org|npmjs[.](org|com)|deb[.]debian[.]org|anaconda[.](org|com)")
    assert [path for path in tracked() if hosts.search(path.read_bytes())] == []


def test_files_are_small():
    assert {str(path): size for path in tracked() if (size := path.stat().st_size) > 2**21} == {}


def test_one_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest is not None
    assert {PROJECT["project"]["version"], citation["version"], newest[1]} == {braid.__version__}


def imported(*modules: str) -> set[str]:
    """Return what Python has imported after it has imported these."""
    code = f"import sys, {', '.join(modules)}; print(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout.split())


@pytest.mark.parametrize("module", LIGHT)
def test_what_each_job_imports_is_light(module):
    assert HEAVY & imported(module) == set()


def test_jobs_without_a_network_do_not_wait_for_torch():
    assert {"torch", "torchaudio", "torchvision"} & imported(*WITHOUT_A_NETWORK) == set()


@pytest.mark.parametrize("script", sorted(ROOT.glob("workflow/scripts/*.py")), ids=lambda path: path.stem)
def test_scripts_are_thin(script):
    assert len(script.read_text(encoding="utf-8").splitlines()) <= 40


def test_the_readme_shows_the_graph_of_the_rules():
    """`make dag` writes it."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.search(r"^<!-- rule graph -->\n```mermaid\n(.*?)```\n<!-- end of rule graph -->$", readme, re.M | re.S)
    assert shown is not None, "README.md has no `<!-- rule graph -->` … `<!-- end of rule graph -->`"
    command = [sys.executable, "-m", "snakemake", "--rulegraph", "mermaid-js"]
    graph = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    assert sorted(shown[1].splitlines()) == sorted(graph.splitlines())


def test_the_page_of_backbones_shows_what_was_learnt():
    """Its tables are those of benchmarks/results/learn.json, which `make learn` writes."""
    learnt = json.loads((ROOT / "benchmarks" / "results" / "learn.json").read_text(encoding="utf-8"))["rows"]
    lines = (ROOT / "docs" / "backbones.md").read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    rows = {match[1]: row[1:] for row in cells if (match := re.match(r"`(\w+)`: ", row[0]))}
    assert list(rows) == list(learnt)
    for name, (millions, label, _, *factors) in rows.items():
        found = learnt[name]
        assert [float(share) for share in (label, *factors)] == [found[key] for key in ("label", *FACTORS)]
        assert millions == (f"{found['multiply_adds'] / 1e6:.0f}" if "multiply_adds" in found else "")
    orders = {row[0]: row[1:] for row in cells if row[0] in ("ordered", "reversed", "shuffled", "repeated")}
    assert len(orders) == 4
    for order, shares in orders.items():
        names = ("flow", "rgb", "small")
        assert [float(share) for share in shares] == [learnt[name][f"{order}_label"] for name in names]

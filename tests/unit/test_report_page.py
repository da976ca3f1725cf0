"""The page in a browser: its script runs, its tables sort, labels are text and nothing else."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from report_results import Experiment

from braid import SCHEMAS
from braid.report.build import build_report

TEMPLATE = SCHEMAS.parent / "report" / "report.html.j2"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SCRIPT = "<script>alert(1)</script>"
IMAGE = '"><img src=x onerror="document.title=\'executed\'">'
MATHS = r"${{ 7 * 7 }}$ \alpha"
CLASSES = ("clap", SCRIPT, IMAGE, MATHS)

PROBE = """
const shown = (table) => [...document.querySelectorAll(`${table} tbody tr`)].map((row) => row.cells[0].textContent);
const heading = (n) => document.querySelectorAll("#schemes th button")[n];
const seen = { title: document.title, images: document.images.length, scripts: document.scripts.length };
seen.byVal = shown("#schemes table");
heading(0).click();
seen.byName = shown("#schemes table");
seen.sorted = heading(0).closest("th").getAttribute("aria-sort");
heading(0).click();
seen.byNameReversed = shown("#schemes table");
const matrix = () => [...document.querySelectorAll("#confusion tbody tr")].map(
  (row) => [...row.cells].slice(1).map((cell) => cell.textContent));
seen.classes = shown("#confusion");
seen.best = matrix();
const select = (id, value) => {
  document.getElementById(id).value = value;
  document.getElementById(id).dispatchEvent(new Event("change"));
};
select("scheme", "sound");
seen.sound = matrix();
seen.caption = document.querySelector("#confusion caption").textContent;
seen.perClass = shown("#per-class");
select("cells", "percent");
seen.percent = matrix();
seen.tooWide = document.documentElement.scrollWidth > document.documentElement.clientWidth;
const result = document.createElement("pre");
result.id = "probe";
result.textContent = JSON.stringify(seen);
document.body.append(result);
"""


def browser() -> str:
    for name in BROWSERS:
        if path := shutil.which(name):
            return path
    pytest.fail(
        f"No browser: none of {', '.join(BROWSERS)} is on the PATH. Install one, e.g. `apt-get install chromium`."
    )


def visit(page: Path, profile: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [browser(), "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", *options]
    command += [f"--user-data-dir={profile}", "--virtual-time-budget=5000", page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)


class Element(HTMLParser):
    """Collects the text of the element with the id `probe`."""

    text = ""
    inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inside = ("id", "probe") in attrs

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.text += data


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    experiment = Experiment(classes=CLASSES, n_items=160)
    results = experiment.write(tmp_path_factory.mktemp("page"))
    build_report(results, experiment.config(), TEMPLATE)
    return results


@pytest.fixture(scope="module")
def page(results: Path) -> str:
    return (results / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def visited(page: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    """What a script that clicks through the page saw, and what the browser logged."""
    folder = tmp_path_factory.mktemp("browser")
    probed = folder / "probed.html"
    probed.write_text(page.replace("</body>", f"<script>{PROBE}</script></body>"), encoding="utf-8")
    done = visit(probed, folder / "profile", "--dump-dom", "--window-size=820,1000")
    element = Element()
    element.feed(done.stdout)
    return json.loads(element.text), done.stderr


def test_no_error_in_the_console(visited: tuple[dict[str, Any], str]) -> None:
    assert "CONSOLE" not in visited[1]


def test_labels_are_text_and_never_run(page: str, visited: tuple[dict[str, Any], str]) -> None:
    seen, _ = visited
    assert SCRIPT not in page
    assert IMAGE not in page
    assert seen["title"] == "toy: Which modalities, which scheme"
    assert seen["images"] == 0
    assert seen["scripts"] == 3  # the numbers, the script of the page, the one of this test
    assert seen["classes"] == seen["perClass"] == sorted(CLASSES)


def test_a_heading_sorts_the_table(visited: tuple[dict[str, Any], str]) -> None:
    seen, _ = visited
    names = [row.removesuffix(" · best on val") for row in seen["byName"]]
    assert sorted(seen["byVal"]) == sorted(seen["byName"]) != seen["byVal"]
    assert names == sorted(names)
    assert seen["sorted"] == "ascending"
    assert seen["byNameReversed"] == seen["byName"][::-1]


def test_the_matrix_shows_the_counts_of_the_chosen_scheme(results: Path, visited: tuple[dict[str, Any], str]) -> None:
    seen, _ = visited
    runs = [json.loads(path.read_text()) for path in results.glob("schemes/sound/*/*/metrics.json")]
    counts = [
        [sum(cells) for cells in zip(*rows, strict=True)]
        for rows in zip(*(run["test"]["confusion"] for run in runs), strict=True)
    ]
    assert [[0 if cell == "·" else int(cell) for cell in row] for row in seen["sound"]] == counts
    assert seen["sound"] != seen["best"]
    assert seen["caption"].startswith("sound:")
    for shown, row in zip(seen["percent"], counts, strict=True):
        assert [0 if cell == "·" else int(cell) for cell in shown] == pytest.approx(
            [100 * count / sum(row) for count in row], abs=0.5
        )


def test_the_page_is_no_wider_than_the_window(visited: tuple[dict[str, Any], str]) -> None:
    assert not visited[0]["tooWide"]


def test_the_page_asks_for_nothing_else(page: str) -> None:
    asked = re.findall(r"(?:src|href)=\"([^\"]*)\"|url\(([^)]*)\)|@import", page)
    assert asked
    assert all(one.startswith(("#", "data:")) for pair in asked for one in pair if one)


def test_figures_have_no_id_in_common(page: str) -> None:
    ids = re.findall(r"\sid=\"([^\"]+)\"", page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r"(?:xlink:href=\"#|url\(#)([^\")]+)", page)) <= set(ids)


def test_tables_have_captions_and_every_heading_a_scope(page: str) -> None:
    assert page.count("<table") == page.count("<caption>")
    assert not re.findall(r"<th(?![^>]*scope=)[\s>]", page)


@pytest.mark.parametrize("width", [390, 1440])
def test_the_page_can_be_photographed(results: Path, tmp_path: Path, width: int) -> None:
    picture = tmp_path / "page.png"
    visit(results / "report.html", tmp_path / "profile", f"--screenshot={picture}", f"--window-size={width},3000")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 50_000  # a blank page has a few thousand bytes

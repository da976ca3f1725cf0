"""The page in a browser: its script runs, its tables sort, labels are text and nothing else."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from report_results import Experiment
from test_report_clips import write_shard

from braid import SCHEMAS
from braid.report.build import build_report
from braid.report.clips import draw_clips
from braid.schemes.results import read_predictions

TEMPLATE = SCHEMAS.parent / "report" / "report.html.j2"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SCRIPT = "<script>alert(1)</script>"
IMAGE = '"><img src=x onerror="document.title=\'executed\'">'
MATHS = r"${{ 7 * 7 }}$ \alpha"
CLASSES = ("clap", SCRIPT, IMAGE, MATHS)

PROBE = """
const byId = (id) => document.getElementById(id);
const visible = (table) => [...document.querySelectorAll(`${table} tbody tr`)].filter((row) => !row.hidden);
const shown = (table) => visible(table).map((row) => row.cells[0].textContent);
const heading = (n) => document.querySelectorAll("#schemes th button")[n];
const seen = { title: document.title, scripts: document.scripts.length };
seen.images = [...document.images].map((image) => image.src.slice(0, 23));
seen.byVal = shown("#schemes table");
heading(0).click();
seen.byName = shown("#schemes table");
seen.sorted = heading(0).closest("th").getAttribute("aria-sort");
heading(0).click();
seen.byNameReversed = shown("#schemes table");
const search = (table, text) => {
  const field = document.querySelector(`[data-filters="${table}"]`);
  field.value = text;
  field.dispatchEvent(new Event("input"));
  return [shown(`#${table}`), document.querySelector(`[data-counts="${table}"]`).textContent];
};
seen.single = search("scheme-table", "SINGLE clip");
seen.nothing = search("scheme-table", "no such scheme");
seen.all = search("scheme-table", "");
const matrix = () => [...document.querySelectorAll("#confusion tbody tr")].map(
  (row) => [...row.cells].slice(1).map((cell) => cell.textContent));
seen.classes = shown("#confusion");
seen.best = matrix();
const select = (id, value) => {
  byId(id).value = value;
  byId(id).dispatchEvent(new Event("change"));
};
select("scheme", "sound");
seen.sound = matrix();
seen.caption = document.querySelector("#confusion caption").textContent;
seen.perClass = shown("#per-class");
seen.alone = byId("modalities").hidden;
const panel = () => ({
  heading: byId("clips-heading").textContent,
  hint: byId("clips-hint").textContent,
  names: [...document.querySelectorAll("#clips-shown h4")].map((h4) => h4.firstChild.textContent),
  notes: [...document.querySelectorAll("#clips-shown h4 .note")].map((note) => note.textContent),
  given: [...document.querySelectorAll("#clips-shown article:first-child tbody tr")].map(
    (row) => [...row.cells].map((cell) => cell.textContent)),
  pictures: [...document.querySelectorAll("#clips-shown img")].map((image) => image.src.slice(0, 23)),
  why: document.querySelector("#clips-shown .hint").textContent,
  chosen: [...document.querySelectorAll("#confusion [aria-selected]")].map(
    (cell) => [cell.parentElement.sectionRowIndex, cell.cellIndex - 1]),
  stops: document.querySelectorAll('#confusion [tabindex="0"]').length,
});
const cell = (i, j) => document.querySelector("#confusion tbody").rows[i].cells[j + 1];
cell(1, 1).click();
seen.clicked = panel();
const press = (key) => document.activeElement.dispatchEvent(
  new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
["ArrowDown", "ArrowRight", "ArrowRight", "ArrowRight", "ArrowUp", "Home", "ArrowLeft", "ArrowRight"].forEach(press);
seen.walked = [document.activeElement.parentElement.sectionRowIndex, document.activeElement.cellIndex - 1];
seen.untouched = panel().heading === seen.clicked.heading;
press("Enter");
seen.entered = panel();
document.querySelector("#confused button").click();
seen.confused = panel();
seen.focused = document.activeElement.id;
seen.listed = document.querySelector("#confused li").textContent;
select("cells", "percent");
seen.percent = matrix();
select("scheme", "late");
seen.late = panel();
seen.agreement = [...byId("agreement").tBodies[0].rows].map((row) => [...row.cells].map((c) => c.dataset.value));
seen.gains = [...byId("per-class").tBodies[0].rows].map((row) => [...row.cells].map((c) => c.dataset.value));
seen.worth = byId("worth").textContent;
seen.downloads = Object.fromEntries(
  [...document.querySelectorAll("a[download]")].map((a) => [a.download, atob(a.href.split(",")[1])]));
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
    folder = tmp_path_factory.mktemp("page")
    results = experiment.write(folder)
    grey = np.full((2, 24, 32, 3), 99, np.uint8)
    clips = {clip: (grey, np.ones(8000)) for clip in experiment.items(folder)["clip"]}
    decoded = {"s0": write_shard(folder / "s0.zarr.zip", clips)}
    out = results / "clips" / "clips.json"
    draw_clips(results, list(experiment.accuracies), ["1"], experiment.seeds, decoded, out)
    drawn = json.loads(out.read_text(encoding="utf-8"))
    for clip in drawn["clips"]:
        clip["why"] = f"</script>{IMAGE}"
    out.write_text(json.dumps(drawn), encoding="utf-8")
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
    assert set(seen["images"]) == {"data:image/jpeg;base64,"}
    assert seen["scripts"] == 3  # the numbers, the script of the page, the one of this test
    assert seen["classes"] == seen["perClass"] == sorted(CLASSES)
    assert seen["clicked"]["why"] == f"</script>{IMAGE}"


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


def test_a_search_leaves_the_rows_that_have_all_of_its_words(visited: tuple[dict[str, Any], str]) -> None:
    seen, _ = visited
    assert seen["single"] == [["videosingle"], "1 of 4"]
    assert seen["nothing"] == [[], "0 of 4"]
    assert seen["all"] == [seen["byNameReversed"], ""]


def cell_of(results: Path, scheme: str, true: int, named: int) -> tuple[dict[str, int], dict[str, list[float]]]:
    """Return the items of a cell with the number of runs that name its class, and their mean probabilities."""
    runs = [read_predictions(path) for path in sorted(results.glob(f"schemes/{scheme}/*/*/predictions.h5"))]
    judged = [i for i, split in enumerate(runs[0].splits) if split == "test" and runs[0].labels[i] == true]
    votes = {runs[0].items[i]: sum(int(run.probabilities[i].argmax() == named) for run in runs) for i in judged}
    means = {runs[0].items[i]: np.mean([run.probabilities[i] for run in runs], axis=0).tolist() for i in judged}
    return {item: n for item, n in votes.items() if n}, means


def test_a_click_on_a_cell_shows_its_clips_the_surest_first(results: Path, visited: tuple[dict[str, Any], str]) -> None:
    seen = visited[0]["clicked"]
    votes, means = cell_of(results, "sound", 1, 1)
    name = sorted(CLASSES)[1]
    assert seen["heading"].startswith(f"{name}, found: {sum(votes.values())} answer")
    assert seen["heading"].endswith(" of 30 by sound")
    assert seen["hint"].startswith(f"{len(votes)} clips, all of them, the surest first.")
    assert seen["chosen"] == [[1, 1]]
    assert seen["stops"] == 1
    expected = sorted(votes, key=lambda item: -round(1000 * means[item][1]))[:8]
    shown = [round(1000 * means[item][1]) for item in seen["names"]]
    assert sorted(seen["names"]) == sorted(expected)
    assert shown == sorted(shown, reverse=True)
    for item, note in zip(seen["names"], seen["notes"], strict=True):
        assert note == f"{int(item.split()[1])}.mp4 · named by {votes[item]} of 3 runs"
    assert seen["pictures"] == ["data:image/jpeg;base64,"] * (2 * len(expected))
    assert seen["given"][0][0] == "sound"
    assert float(seen["given"][0][1]) == pytest.approx(means[seen["names"][0]][1], abs=6e-3)


def test_arrows_walk_through_the_matrix_and_enter_chooses(results: Path, visited: tuple[dict[str, Any], str]) -> None:
    seen, _ = visited
    assert seen["walked"] == [
        1,
        1,
    ]  # by 2, 1 · 2, 2 · 2, 3 · the edge · 1, 3 · 1, 0 · the edge
    assert seen["untouched"]
    assert seen["entered"]["chosen"] == [[1, 1]]
    assert seen["entered"]["stops"] == 1


def test_the_list_of_confused_pairs_leads_to_their_clips(results: Path, visited: tuple[dict[str, Any], str]) -> None:
    seen, _ = visited
    counts = [[0 if cell == "·" else int(cell) for cell in row] for row in seen["sound"]]
    most, i, j = max((n, i, j) for i, row in enumerate(counts) for j, n in enumerate(row) if i != j)
    [[i, j]] = seen["confused"]["chosen"]
    names = sorted(CLASSES)
    assert i != j and counts[i][j] == most
    assert seen["listed"].startswith(f"{names[i]} taken for {names[j]}{most} of {sum(counts[i])}")
    assert seen["confused"]["heading"].startswith(f"{names[i]} taken for {names[j]}: {most} answers")
    assert seen["focused"] == "clips-heading"
    votes, means = cell_of(results, "sound", i, j)
    assert set(seen["confused"]["names"]) <= set(votes)
    item = seen["confused"]["names"][0]
    assert [float(text) for text in seen["confused"]["given"][0][1:3]] == pytest.approx(
        [means[item][i], means[item][j]], abs=6e-3
    )


def test_a_clip_is_shown_with_what_each_modality_says_of_it(visited: tuple[dict[str, Any], str]) -> None:
    assert [row[0] for row in visited[0]["late"]["given"]] == ["late", "sound", "video"]


def test_agreement_counts_each_item_once(results: Path, visited: tuple[dict[str, Any], str]) -> None:
    seen, _ = visited
    assert seen["alone"]  # a single modality has nothing to agree with
    right = {}
    for scheme in ("sound", "video", "late"):
        runs = [read_predictions(path) for path in sorted(results.glob(f"schemes/{scheme}/*/*/predictions.h5"))]
        at = np.array(runs[0].splits) == "test"
        right[scheme] = np.mean([run.probabilities for run in runs], axis=0).argmax(axis=1)[at] == runs[0].labels[at]
    sound, video = right["sound"], right["video"]
    cells = {"sound + video": sound & video, "only sound": sound & ~video, "only video": video & ~sound}
    cells["none"] = ~sound & ~video
    expected = {name: [int(cell.sum()), int(right["late"][cell].sum())] for name, cell in cells.items() if cell.any()}
    assert {row[0]: [int(row[1]), int(row[3])] for row in seen["agreement"]} == expected


def test_gains_are_against_the_best_single_modality_of_a_class(
    results: Path, visited: tuple[dict[str, Any], str]
) -> None:
    seen, _ = visited
    f1 = {(row["scheme"], row["class"]): row["f1"] for row in pl.read_csv(results / "tables/per_class.csv").to_dicts()}
    assert len(seen["gains"]) == len(CLASSES)
    for name, _, _, _, _, single, its_f1, gain in seen["gains"]:
        best = max(("sound", "video"), key=lambda scheme: f1[scheme, name])
        assert single == best
        assert float(its_f1) == pytest.approx(f1[best, name], abs=1e-4)
        assert float(gain) == pytest.approx(f1["late", name] - f1[best, name], abs=1e-4)
    assert seen["worth"].startswith("Against the modality that is best in each class, late has a higher F1 in ")


def test_the_numbers_of_tables_and_plots_can_be_saved(results: Path, visited: tuple[dict[str, Any], str]) -> None:
    downloads = visited[0]["downloads"]
    assert {"schemes.csv", "pairs.csv", "reliability.csv", "curves.csv", "confusions.csv", "costs.csv"} <= set(
        downloads
    )
    for name, content in downloads.items():
        assert content.encode("latin-1") == (results / "tables" / name).read_bytes()


def test_the_page_is_no_wider_than_the_window(visited: tuple[dict[str, Any], str]) -> None:
    assert not visited[0]["tooWide"]


@pytest.mark.parametrize(("width", "label"), [(500, "Accuracy, test"), (1280, "none")])
def test_all_columns_of_the_schemes_are_seen(page: str, tmp_path: Path, width: int, label: str) -> None:
    """On a phone each row is a card whose lines are labelled (500 is the narrowest window that Chromium opens)."""
    probe = """
    const table = document.getElementById("scheme-table"), hidden = (e) => e.scrollWidth - e.clientWidth;
    const seen = [hidden(table.parentElement), hidden(document.documentElement)];
    seen.push(getComputedStyle(table.tBodies[0].rows[0].cells[3], "::before").content);
    document.body.insertAdjacentHTML("beforeend", '<pre id="probe"></pre>');
    document.getElementById("probe").textContent = JSON.stringify(seen);
    """
    probed = tmp_path / "probed.html"
    probed.write_text(page.replace("</body>", f"<script>{probe}</script></body>"), encoding="utf-8")
    element = Element()
    element.feed(visit(probed, tmp_path / "profile", "--dump-dom", f"--window-size={width},1000").stdout)
    beyond, page_beyond, content = json.loads(element.text)
    assert (beyond, page_beyond) == (0, 0)
    assert content.strip('"') == label


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

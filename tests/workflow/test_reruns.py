"""What reruns: each line of the table in docs/reruns.md is a test of the exact set of jobs of a dry run."""

import os
import re
import shutil
from pathlib import Path

import pytest

from .conftest import ROOT, Project, make_clip

REPORT = "Writing the report"
JUDGED = {"Drawing clips for the report", REPORT}
SCHEMES = {
    "sound": "Training sound, fold 1",
    "motion": "Training motion, fold 1",
    "early": "Training early, fold 1",
}
TRAINING = {*SCHEMES.values(), *JUDGED}
COUNTING = "Counting clips that could not be read"
PROBLEMS = {"Listing clips that could not be read", COUNTING}


def decoding(*shards: str) -> set[str]:
    return {f"Decoding shard {shard}" for shard in shards} | {
        f"Computing farneback flow of shard {shard}" for shard in shards
    }


def extracting(extractor: str, *shards: str) -> set[str]:
    return {f"Extracting {extractor} from shard {shard}" for shard in shards}


DRAWING = {"Drawing farneback flow of example clips"}  # all of shard a
EVERYTHING = (
    decoding("a", "b") | extracting("sound", "a", "b") | extracting("flow3d", "a", "b") | DRAWING | PROBLEMS | TRAINING
)


def edit(project: Project, key: str, value) -> None:
    """Set the dotted `key` of the config."""
    config = node = project.config
    *parents, last = key.split(".")
    for parent in parents:
        node = node.setdefault(parent, {})
    node[last] = value
    project.config = config


def edit_rows(project: Project, change) -> None:
    head, *rows = project.manifest.read_text(encoding="utf-8").splitlines()
    project.manifest.write_text("\n".join([head, *change(rows)]) + "\n", encoding="utf-8")


def raise_version(project: Project, package: str, name: str) -> None:
    path = project.folder / "src" / "braid" / package / "registry.py"
    text, count = re.subn(
        rf'("{name}": \w+\([^)]*?[ =])(\d+)\b',
        lambda found: f"{found[1]}{int(found[2]) + 1}",
        path.read_text(encoding="utf-8"),
    )
    assert count == 1, f"{name} has no version in {path}"
    path.write_text(text, encoding="utf-8")


def test_a_fresh_project_plans_everything(fresh, tmp_path):
    assert fresh.copy(tmp_path / "project").planned() == EVERYTHING


def test_nothing_changed(project):
    assert project.planned() == set()
    assert "Nothing to be done" in project.snakemake()


def test_touch(project):
    for path in [
        *project.folder.glob("media/*"),
        *project.folder.glob("workflow/scripts/*.py"),
        project.folder / "config.yaml",
    ]:
        os.utime(path)
    assert project.planned() == set()


def test_edit_of_the_library_or_a_script(project):
    for path in [*project.folder.glob("src/braid/**/*.py"), *project.folder.glob("workflow/scripts/*.py")]:
        with path.open("a", encoding="utf-8") as file:
            file.write("\nEDITED = True\n")
    assert project.planned() == set()


def test_defaults_written_out_and_keys_in_another_order(project):
    edit(project, "decode", {"codec": "jpeg"} | dict(reversed(project.config["decode"].items())))
    edit(project, "schemes.early", {"features": ["sound", "flow3d"], "dropout": 0.5, "type": "early"})
    assert project.planned() == set()


def test_dry_run_after_an_edit_that_is_taken_back(project):
    before = project.manifest.read_text(encoding="utf-8")
    edit_rows(project, lambda rows: rows[1:])
    assert project.planned() == PROBLEMS | TRAINING | DRAWING
    project.manifest.write_text(before, encoding="utf-8")
    assert project.planned() == set()


def test_parameter_of_a_scheme(project):
    edit(project, "schemes.sound.learning_rate", 0.005)
    assert project.planned() == {SCHEMES["sound"], *JUDGED}
    project.snakemake()
    assert project.planned() == set()


def test_parameter_of_a_scheme_that_others_read(project):
    edit(project, "schemes.both", {"type": "ensemble", "schemes": ["sound", "motion"]})
    edit(project, "schemes.sure", {"type": "calibrated", "schemes": ["both"]})
    over = {"Training both, fold 1", "Training sure, fold 1"}
    assert project.planned() == over | JUDGED
    project.snakemake()
    assert project.planned() == set()
    edit(project, "schemes.sound.learning_rate", 0.005)
    assert project.planned() == {SCHEMES["sound"], *JUDGED} | over
    project.snakemake()
    edit(project, "schemes.both.combine", "mean")
    assert project.planned() == over | JUDGED


def test_decoded_shards_deleted(project):
    """Training and the report go on without them; clips that were not drawn before are shown without pictures."""
    assert '"frames":"data:' in (project.results / "clips" / "clips.json").read_text(encoding="utf-8")
    for path in project.results.glob("decoded/*.zarr.zip"):
        path.unlink()
    assert project.planned() == set()
    edit(project, "schemes.sound.learning_rate", 0.005)
    assert project.planned() == {SCHEMES["sound"], *JUDGED}
    project.snakemake()
    assert '"frames":"data:' not in (project.results / "clips" / "clips.json").read_text(encoding="utf-8")
    assert project.planned() == set()


def test_sweep(project):
    """A longer sweep trains what is new, and its scheme once more."""
    edit(project, "schemes.sound.sweep", {"parameters": {"momentum": [0.9]}})
    sweeping = "Sweeping sound, fold 1"
    assert project.planned() == {sweeping, SCHEMES["sound"], *JUDGED}
    project.snakemake()
    assert project.planned() == set()
    edit(project, "schemes.sound.sweep", {"budget": None, "parameters": {"momentum": [0.9]}})
    assert project.planned() == set()
    edit(project, "schemes.sound.sweep.parameters.momentum", [0.9, 0.5])
    assert project.planned() == {sweeping, SCHEMES["sound"], *JUDGED}
    project.snakemake()
    log = project.results / "logs" / "sweep_scheme" / "sound" / "fold1.log"
    assert "1 trainings, 1 are finished" in log.read_text(encoding="utf-8")
    assert project.planned() == set()
    edit(project, "seeds", [0, 1])
    assert project.planned() == {sweeping, *TRAINING}


def test_new_scheme(project):
    edit(project, "schemes.late", {"type": "late", "features": ["sound", "flow3d"]})
    assert project.planned() == {"Training late, fold 1", *JUDGED}


def test_new_seed(project):
    edit(project, "seeds", [0, 1])
    assert project.planned() == TRAINING


@pytest.mark.parametrize(
    ("row", "change", "drawn"),
    [
        (0, ("\tright\t", "\tdown\t"), True),
        (10, ("\tright\t", "\tdown\t"), False),
        (0, ("\ttrain\t", "\tval\t"), False),
    ],
    ids=["label of a clip that is shown", "label", "split"],
)
def test_label_or_split(project, row, change, drawn):
    edit_rows(project, lambda rows: [*rows[:row], rows[row].replace(*change), *rows[row + 1 :]])
    assert project.planned() == TRAINING | (DRAWING if drawn else set())


def test_group(project):
    head, *rows = project.manifest.read_text(encoding="utf-8").splitlines()
    groups = ["one place", "one place", *[""] * (len(rows) - 2)]
    lines = [f"{row}\t{group}" for row, group in zip([head, *rows], ["group", *groups], strict=True)]
    project.manifest.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert project.planned() == TRAINING


def test_parameter_of_an_extractor(project):
    edit(project, "extractors.flow3d.bound", 5)
    assert project.planned() == extracting("flow3d", "a", "b") | {SCHEMES["motion"], SCHEMES["early"], *JUDGED}


def test_batch_size_of_an_extractor(project):
    for size in (2, "auto"):
        edit(project, "extractors.flow3d.batch_size", size)
        assert project.planned() == {REPORT}


def test_version_of_an_extractor(project):
    raise_version(project, "extractors", "passt")
    assert project.planned() == extracting("sound", "a", "b") | {SCHEMES["sound"], SCHEMES["early"], *JUDGED}


@pytest.mark.parametrize("raised", [False, True], ids=["parameter", "version"])
def test_flow_method(project, raised):
    if raised:
        raise_version(project, "flow", "farneback")
    else:
        edit(project, "flow.farneback.window", 9)
    flow = {f"Computing farneback flow of shard {shard}" for shard in ("a", "b")}
    read = extracting("flow3d", "a", "b") | {SCHEMES["motion"], SCHEMES["early"], *JUDGED}
    assert project.planned() == flow | DRAWING | read


def test_version_of_a_scheme(project):
    raise_version(project, "schemes", "early")
    assert project.planned() == {SCHEMES["early"], *JUDGED}


def test_worth_of_modalities(project):
    weighing = "Weighing the modalities of early, fold 1"
    edit(project, "schemes.early.worth", True)
    assert project.planned() == {weighing, REPORT}
    project.snakemake()
    assert project.planned() == set()
    assert "What each modality is worth" in (project.results / "report.html").read_text(encoding="utf-8")
    edit(project, "schemes.early.dropout", 0.4)
    assert project.planned() == {SCHEMES["early"], weighing, *JUDGED}
    edit(project, "schemes.early.dropout", 0.5)
    registry = project.folder / "src" / "braid" / "schemes" / "registry.py"
    text = registry.read_text(encoding="utf-8")
    registry.write_text(re.sub(r"(?m)^(WORTH_VERSION = .*)$", r"\1 + 1", text), encoding="utf-8")
    assert project.planned() == {weighing, REPORT}
    edit(project, "schemes.early.worth", False)
    assert project.planned() == {REPORT}


def test_weights_of_an_extractor(project):
    weights = project.folder / "weights.pth"
    weights.write_bytes(b"first")
    edit(project, "extractors.sound.weights", "weights.pth")
    assert project.planned() == extracting("sound", "a", "b") | {SCHEMES["sound"], SCHEMES["early"], *JUDGED}


def test_other_bytes_in_the_same_weights_file_are_other_weights(project):
    from braid import weights

    path = project.folder / "weights.pth"
    identities = []
    for content in (b"first", b"other"):
        path.write_bytes(content)
        identities.append(weights.identity({"type": "passt", "weights": str(path)}))
    assert identities[0] != identities[1]


def test_new_extractor(project):
    edit(project, "extractors.video", {"type": "torchvision_video", "weights": "random"})
    assert project.planned() == extracting("video", "a", "b") | {REPORT}
    edit(project, "schemes.video", {"type": "single", "features": ["video"]})
    assert project.planned() == extracting("video", "a", "b") | {"Training video, fold 1", *JUDGED}


def test_clips_appended(project):
    make_clip(project.folder / "media" / "new.mp4", 0, seed=99)
    size = (project.folder / "media" / "new.mp4").stat().st_size
    edit_rows(project, lambda rows: [*rows, f"new\tnew.mp4\tnew.mp4\tright\ttrain\tc\t{size}"])
    new = decoding("c") | extracting("sound", "c") | extracting("flow3d", "c")
    assert project.planned() == new | PROBLEMS | TRAINING
    project.snakemake()
    assert project.planned() == set()


@pytest.fixture(scope="module")
def removed(finished, tmp_path_factory) -> Project:
    """The finished project without its first clip, run again."""
    project = finished.copy(tmp_path_factory.mktemp("removed") / "project")
    edit_rows(project, lambda rows: rows[1:])
    project.snakemake()
    return project


def test_clips_removed(project, removed):
    edit_rows(project, lambda rows: rows[1:])
    assert project.planned() == PROBLEMS | TRAINING | DRAWING
    assert removed.planned() == set()


def test_a_removed_clip_that_comes_back_is_decoded_again(project, removed, tmp_path):
    again = removed.copy(tmp_path / "again")
    again.manifest.write_text(project.manifest.read_text(encoding="utf-8"), encoding="utf-8")
    assert decoding("a") <= again.planned()


def test_changed_file(project):
    path = project.folder / "media" / "clip 0.mp4"
    make_clip(path, 0, seed=77)
    edit_rows(project, lambda rows: [re.sub(r"\d+$", str(path.stat().st_size + 1), rows[0]), *rows[1:]])
    one_shard = decoding("a") | extracting("sound", "a") | extracting("flow3d", "a")
    assert project.planned() == one_shard | DRAWING | PROBLEMS | TRAINING


def test_decode_parameter(project):
    edit(project, "decode.short_side", 48)
    assert project.planned() == EVERYTHING


def test_max_bad_fraction(project):
    edit(project, "max_bad_fraction", 0.5)
    assert project.planned() == {COUNTING} | TRAINING


def test_report_setting(project):
    edit(project, "report.title", "Another title")
    assert project.planned() == {REPORT}


def test_lost_index_reruns_nothing(project):
    shutil.rmtree(project.results / "index")
    assert project.planned() == set()


def test_the_table_in_the_docs_names_every_test():
    page = (ROOT / "docs" / "reruns.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+)`", page))
    here = set(re.findall(r"^def (test_\w+)\(project", Path(__file__).read_text(encoding="utf-8"), re.MULTILINE))
    assert named == here

"""`braid verify`: what is cut or has a flipped bit is found and named, with the command that mends it."""

import json
import zipfile

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from braid.cli import main
from braid.runs import record
from braid.schemes.results import Predictions, read_predictions, write_predictions
from braid.store.features import FeatureWriter
from braid.verify.check import check, files

EVERY = {
    "decoded/a.zarr.zip",
    "features/sound/a.h5",
    "schemes/early/fold1/seed0/predictions.h5",
    "schemes/early/fold1/seed0/model.safetensors",
    "schemes/early/fold1/seed0/metrics.json",
    "schemes/early/fold1/seed0/history.csv",
    "words/sift/fold1.npz",
}


@pytest.fixture
def results(tmp_path, monkeypatch):
    """A file of each kind."""
    monkeypatch.chdir(tmp_path)
    results, rng = tmp_path / "results" / "mine", np.random.default_rng(0)
    scheme = results / "schemes" / "early" / "fold1" / "seed0"
    for folder in (results / "decoded", results / "words" / "sift", scheme, results / "index", results / "benchmarks"):
        folder.mkdir(parents=True)
    with zipfile.ZipFile(results / "decoded" / "a.zarr.zip", "w") as file:
        file.writestr("0/frames/c/0", rng.bytes(5000))
    with FeatureWriter(results / "features" / "sound" / "a.h5", {}) as shard:
        for number in range(20):
            shard.append(f"item {number}", rng.random(64, dtype=np.float32))
    names = [f"item {number}" for number in range(20)]
    probabilities = rng.random((20, 3), dtype=np.float32)
    write_predictions(
        scheme / "predictions.h5",
        Predictions(
            names, ["test"] * 20, np.zeros(20, int), np.ones((20, 1), bool), probabilities, ["x", "y", "z"], ["s"]
        ),
    )
    save_file({"weight": torch.ones(30, 30)}, scheme / "model.safetensors")
    (scheme / "metrics.json").write_text('{"accuracy": 0.5, "classes": ["x", "y", "z"]}')
    (scheme / "history.csv").write_text("epoch,loss\n1,0.5\n2,0.25\n")
    np.savez(results / "words" / "sift" / "fold1.npz", words=rng.random((128, 128)))
    (results / "index" / "index.json").write_text("{")
    (results / "decoded" / ".12345678.b.zarr.zip").write_text("half a file")
    return results


def damaged(results):
    return {str(damage.path.relative_to(results)): damage.reason for damage in check(files(results))}


def test_whole_files_are_whole(results, capsys):
    assert {str(path.relative_to(results)) for path in files(results)} == EVERY
    assert damaged(results) == {}
    assert main(["verify", str(results)]) == 0
    assert f"{len(EVERY)} files" in capsys.readouterr().out


@pytest.mark.parametrize("name", sorted(EVERY))
@pytest.mark.parametrize("left", [0.0, 0.5, 0.99])
def test_a_file_that_was_cut_is_found(results, name, left):
    path = results / name
    path.write_bytes(path.read_bytes()[: int(left * path.stat().st_size)])
    assert set(damaged(results)) == {name}


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("decoded/a.zarr.zip", None),
        ("features/sound/a.h5", "embedding"),
        ("schemes/early/fold1/seed0/predictions.h5", "probabilities"),
        ("words/sift/fold1.npz", None),
    ],
)
def test_a_flipped_bit_is_found(results, name, numbers):
    path = results / name
    data = bytearray(path.read_bytes())
    place = len(data) // 2
    if numbers:
        with h5py.File(path) as file:
            place = data.index(np.asarray(file[numbers])[3].tobytes())
    data[place] ^= 16
    path.write_bytes(data)
    assert set(damaged(results)) == {name}


def test_predictions_are_read_as_they_were_written(results):
    found = read_predictions(results / "schemes/early/fold1/seed0/predictions.h5")
    assert found.probabilities.shape == (20, 3) and found.present.all() and (found.labels == 0).all()


def test_no_predictions_can_be_written(tmp_path):
    empty = Predictions([], [], np.zeros(0, int), np.zeros((0, 1), bool), np.zeros((0, 3), np.float32), ["x"], ["s"])
    write_predictions(tmp_path / "predictions.h5", empty)
    assert read_predictions(tmp_path / "predictions.h5").items == []


def test_the_cure_is_the_last_command_with_the_files_forced(results, capsys):
    record.start(results, "", ["--configfile", "my config.yaml", "--cores", "8"])
    (results / "features/sound/a.h5").write_bytes(b"")
    (results / "schemes/early/fold1/seed0/metrics.json").write_text(json.dumps({})[:1])
    assert main(["verify", str(results)]) == 2
    said = capsys.readouterr()
    assert "2 damaged" in said.out
    assert (
        "snakemake --configfile 'my config.yaml' --cores 8 --forcerun results/mine/features/sound/a.h5 "
        "results/mine/schemes/early/fold1/seed0/metrics.json"
    ) in said.err


def test_a_folder_without_results_is_refused(tmp_path, capsys):
    assert main(["verify", str(tmp_path)]) == 2
    assert "holds no results" in capsys.readouterr().err

"""Weights: identified without a network, fetched whole and checked, refused by name."""

import argparse
import hashlib
import subprocess
import sys

import pytest
import torch
from torch import nn

from braid import weights
from braid.errors import WeightsError

CONTENT = b"not really a network" * 1000
PUBLISHED = hashlib.sha256(CONTENT).hexdigest()
PRETRAINED = {"type": "torchvision_video", "architecture": "r2plus1d_18", "weights": "pretrained"}


@pytest.fixture
def offer(monkeypatch, tmp_path):
    """Offer a file as the official weights of r2plus1d, at a URL of this machine."""
    (tmp_path / "publisher").mkdir()
    monkeypatch.setenv("BRAID_WEIGHTS", str(tmp_path / "cache"))
    monkeypatch.delenv("BRAID_OFFLINE", raising=False)

    def offer(content=CONTENT, sha256=PUBLISHED[:8]):
        file = tmp_path / "publisher" / "net.pth"
        file.write_bytes(content)
        official = weights.Weights("net.pth", file.as_uri(), sha256, "MIT", "Nobody, 2026")
        monkeypatch.setitem(weights.OFFICIAL, "r2plus1d_18", official)
        return official

    return offer


def test_official_files_are_told_apart_and_lead_somewhere():
    files = [official.file for official in weights.OFFICIAL.values()]
    assert len(set(files)) == len(files)
    for official in weights.OFFICIAL.values():
        assert official.url.startswith("https://") and official.licence and official.citation
        assert set(official.sha256) <= set("0123456789abcdef") and len(official.sha256) in (0, 8, 64)


def test_identity(tmp_path, offer):
    offer()
    assert weights.identity({"type": "passt", "weights": "random"}) == "random:0"
    before = weights.identity(PRETRAINED)
    weights.find(PRETRAINED)
    assert weights.identity(PRETRAINED) == before == f"net.pth:{PUBLISHED[:8]}"
    mine = tmp_path / "mine.pt"
    mine.write_bytes(b"one")
    first = weights.identity({"type": "passt", "weights": str(mine)})
    mine.write_bytes(b"two and more")
    assert weights.identity({"type": "passt", "weights": str(mine)}) != first == hashlib.sha256(b"one").hexdigest()


def test_identity_needs_no_network_library():
    code = "import sys, braid.weights, braid.extractors; assert not {'torch', 'h5py', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_fetch_checks_and_pins(offer, capsys):
    official = offer(sha256="")
    path = weights.fetch(official)
    assert path.read_bytes() == CONTENT
    assert "MIT" in capsys.readouterr().out
    assert path.with_name("net.pth.sha256").read_text() == f"{PUBLISHED}  net.pth\n"
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(WeightsError, match="pinned"):
        weights.fetch(official)


def test_another_file_than_the_published_one_is_refused_and_not_kept(offer, tmp_path):
    with pytest.raises(WeightsError, match=r"net\.pth.*instead of 0{8}"):
        weights.fetch(offer(sha256="00000000"))
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_wrong_file_put_by_hand_is_refused(offer, tmp_path):
    official = offer()
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "net.pth").write_bytes(b"truncated")
    with pytest.raises(WeightsError, match=rf"published one is {PUBLISHED[:8]}"):
        weights.fetch(official)


def test_offline_says_file_place_and_source(offer, monkeypatch, tmp_path):
    official = offer()
    monkeypatch.setenv("BRAID_OFFLINE", "1")
    with pytest.raises(WeightsError) as raised:
        weights.find(PRETRAINED)
    for part in ("BRAID_OFFLINE", "put net.pth into", str(tmp_path / "cache"), official.url):
        assert part in str(raised.value)


def test_unreachable_publisher_says_the_same(offer, tmp_path):
    official = offer()
    (tmp_path / "publisher" / "net.pth").unlink()
    with pytest.raises(WeightsError, match=r"put net\.pth into"):
        weights.fetch(official)


def test_unregistered_architecture_and_missing_file():
    with pytest.raises(WeightsError, match=r"'ViT-B-32':.*ViT-B-32-quickgelu"):
        weights.find({"type": "clip", "architecture": "ViT-B-32", "weights": "pretrained"})
    with pytest.raises(WeightsError, match=r"nowhere\.pt does not exist"):
        weights.identity({"type": "passt", "weights": "nowhere.pt"})


@pytest.mark.parametrize("wrap", [lambda state: state, lambda state: {"state_dict": state, "epoch": 3}])
def test_load_and_fill(tmp_path, wrap):
    given, network = nn.Linear(3, 2), nn.Linear(3, 2)
    torch.save(wrap(given.state_dict()), tmp_path / "a.pt")
    weights.fill(network, weights.load(tmp_path / "a.pt"), tmp_path / "a.pt")
    torch.testing.assert_close(network.state_dict(), given.state_dict(), rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore:`torch.jit")  # OpenAI's files are TorchScript, deprecated or not
def test_load_reads_torchscript(tmp_path):
    network = nn.Linear(3, 2)
    torch.jit.script(network).save(tmp_path / "archive.pt")
    torch.testing.assert_close(weights.load(tmp_path / "archive.pt"), dict(network.state_dict()), rtol=0, atol=0)


def test_load_refuses_code_and_rubbish(tmp_path):
    torch.save({"code": subprocess.run}, tmp_path / "code.pt")
    (tmp_path / "rubbish.pt").write_bytes(b"rubbish")
    (tmp_path / "cut.safetensors").write_bytes(b"\x10")
    for name in ("code.pt", "rubbish.pt", "cut.safetensors"):
        with pytest.raises(WeightsError, match=name):
            weights.load(tmp_path / name)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda state: state.pop("bias"), "lacks bias"),
        (lambda state: state.update(extra=torch.zeros(1)), "has extra, which the network does not"),
        (lambda state: state.update(weight=torch.zeros(2, 4)), r"has weight of shape \(2, 4\) instead of \(2, 3\)"),
    ],
)
def test_fill_is_strict(tmp_path, change, sentence):
    state = dict(nn.Linear(3, 2).state_dict())
    change(state)
    with pytest.raises(WeightsError, match=rf"a\.pt does not fit Linear in 1 .*{sentence}"):
        weights.fill(nn.Linear(3, 2), state, tmp_path / "a.pt")


def test_command_line(offer, capsys):
    offer()
    parser = argparse.ArgumentParser()
    weights.add_parser(parser.add_subparsers())

    def braid(*words):
        arguments = parser.parse_args(["weights", *words])
        arguments.run(arguments)
        return capsys.readouterr().out

    listed = braid("list")
    assert all(name in listed and official.licence in listed for name, official in weights.OFFICIAL.items())
    assert "not here" in braid("verify", "r2plus1d_18")
    assert PUBLISHED in braid("fetch", "r2plus1d_18")
    assert PUBLISHED in braid("verify", "r2plus1d_18")
    with pytest.raises(WeightsError, match="nonesuch"):
        braid("list", "nonesuch")

"""Weights: identified without a network, fetched whole and checked, refused by name."""

import hashlib
import json
import shutil
import subprocess
import sys

import pytest
import torch
from torch import nn

from braid import weights
from braid.errors import WeightsError
from braid.weights import passt

CONTENT = b"not really a network" * 1000
PUBLISHED = hashlib.sha256(CONTENT).hexdigest()
PRETRAINED = {"type": "passt", "weights": "pretrained", "architecture": "passt_s_p16_s16_128_ap468"}


@pytest.fixture
def offer(monkeypatch, tmp_path):
    """Offer a file as the official weights of passt, at a URL of this machine."""
    (tmp_path / "publisher").mkdir()
    monkeypatch.setenv("BRAID_WEIGHTS", str(tmp_path / "cache"))
    monkeypatch.delenv("BRAID_OFFLINE", raising=False)

    def offer(content=CONTENT, sha256=PUBLISHED[:8], **more):
        file = tmp_path / "publisher" / "net.pth"
        file.write_bytes(content)
        official = weights.Weights("net.pth", file.as_uri(), sha256, "MIT", "Nobody, 2026", **more)
        monkeypatch.setattr(passt, "official", lambda settings: official)
        return official

    return offer


def test_identity(tmp_path):
    assert weights.identity({"type": "passt", "weights": "random"}) == "random:0"
    assert weights.identity({"type": "sift"}) == "none"
    assert weights.identity(PRETRAINED) == "pretrained"
    mine = tmp_path / "mine.pt"
    mine.write_bytes(b"one")
    first = weights.identity({"type": "passt", "weights": str(mine)})
    mine.write_bytes(b"two and more")
    assert weights.identity({"type": "passt", "weights": str(mine)}) != first == hashlib.sha256(b"one").hexdigest()
    with pytest.raises(WeightsError, match=r"nowhere\.pt does not exist"):
        weights.identity({"type": "passt", "weights": "nowhere.pt"})


@pytest.mark.parametrize("chosen", ["mine/model.safetensors", "random"])
def test_a_model_of_ones_own_is_known_by_its_configs_too(chosen, tmp_path, monkeypatch):
    """`num_labels`, the resize or the crop may change there, with the same weights."""
    monkeypatch.chdir(tmp_path)
    settings = {"type": "transformers_video", "weights": chosen, "architecture": "mine"}
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in ("model.safetensors", "config.json", "preprocessor_config.json", "trainer_state.json"):
        (folder / name).write_text(name)
    seen = [weights.identity(settings)]
    for name in ("config.json", "preprocessor_config.json"):
        (folder / name).write_text("another one")
        seen.append(weights.identity(settings))
    assert len(set(seen)) == 3
    (folder / "trainer_state.json").write_text("another one")
    assert weights.identity(settings) == seen[-1]
    if chosen != "random":  # without the folder, what lies beside the file
        assert weights.identity(settings | {"architecture": "somebody/model"}) == seen[-1]


def test_digest(offer, tmp_path):
    offer()
    assert weights.digest(PRETRAINED) == PUBLISHED
    assert weights.digest({"type": "passt", "weights": "random"}) == "random:0"


def test_weights_need_no_network_library():
    code = (
        "import sys, braid.weights.command, braid.weights.clip, braid.weights.timm, braid.weights.torchvision;"
        "assert not {'torch', 'torchvision', 'timm', 'open_clip', 'h5py', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_fetch_checks_and_pins(offer, capsys):
    official = offer(sha256="")
    path = weights.fetch(official)
    assert path.read_bytes() == CONTENT
    assert path.with_name("net.pth.sha256").read_text() == f"{PUBLISHED}  net.pth\n"
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(WeightsError, match="pinned"):
        weights.fetch(official)


def test_the_licence_is_shown_before_the_download(offer, tmp_path, capsys):
    offer(non_commercial=True, size_bytes=1_000_000)
    (tmp_path / "publisher" / "net.pth").unlink()
    with pytest.raises(WeightsError):
        weights.find(PRETRAINED)
    assert "(licence: MIT; NOT FOR COMMERCIAL USE, 1 MB)" in capsys.readouterr().out


def test_a_wrong_file_put_by_hand_is_refused(offer, tmp_path):
    official = offer()
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "net.pth").write_bytes(b"truncated")
    with pytest.raises(WeightsError, match=rf"net\.pth has .* published one is {PUBLISHED[:8]}"):
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


def test_equal_files_have_equal_receipts(offer, tmp_path):
    offer(non_commercial=True)
    out = tmp_path / "a" / "passt.json"
    weights.receipt(PRETRAINED, out)
    first = out.read_bytes()
    told = json.loads(first)
    assert told["sha256"] == PUBLISHED and told["size_bytes"] == len(CONTENT)
    assert (told["licence"], told["non_commercial"], told["citation"]) == ("MIT", True, "Nobody, 2026")
    (tmp_path / "cache" / "net.pth").unlink()
    weights.receipt(PRETRAINED, out)
    assert out.read_bytes() == first


def test_weights_that_changed_after_the_receipt_are_refused(offer, tmp_path):
    offer(sha256="")
    out = tmp_path / "passt.json"
    weights.receipt(PRETRAINED, out)
    weights.check_receipt(PRETRAINED, out)
    shutil.rmtree(tmp_path / "cache")
    offer(b"another one", sha256="")
    with pytest.raises(WeightsError, match=r"passt\.json says .* run again"):
        weights.check_receipt(PRETRAINED, out)


def test_a_config_that_changed_after_the_receipt_is_refused(offer, tmp_path):
    """It comes with the weights, and other numbers come of it."""
    config = tmp_path / "config.json"
    config.write_text("{}")
    companion = weights.Weights("net/config.json", config.as_uri(), "", "MIT", "Nobody, 2026")
    offer(companions=(companion,))
    out = tmp_path / "net.json"
    weights.receipt(PRETRAINED, out)
    weights.check_receipt(PRETRAINED, out)
    config.write_text("[]")
    shutil.rmtree(tmp_path / "cache" / "net")
    with pytest.raises(WeightsError, match=r"net/config\.json has the SHA-256 .*net\.json says"):
        weights.check_receipt(PRETRAINED, out)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": state},
        lambda state: {"model_state": state, "cfg": "TRAIN:\n  ENABLE: true", "epoch": 300},
    ],
)
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
    torch.save({"epoch": 3}, tmp_path / "empty.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    (tmp_path / "rubbish.pt").write_bytes(b"rubbish")
    (tmp_path / "cut.safetensors").write_bytes(b"\x10")
    for name in ("code.pt", "empty.pt", "list.pt", "rubbish.pt", "cut.safetensors"):
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


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "it is empty"),
        (b"\n<!DOCTYPE html><html>", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "it is a pointer of git-lfs"),
        (b"just some text that nobody trained", "holds more than tensors and plain values"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_called_what_it_is(tmp_path, content, says):
    path = tmp_path / "mine.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=f"mine.pth cannot be read: .*{says}") as raised:
        weights.load(path)
    assert "weights_only" not in str(raised.value)


def test_a_whole_network_is_refused_without_advice_to_run_its_code(tmp_path):
    path = tmp_path / "network.pth"
    torch.save(nn.Linear(2, 2), path)
    with pytest.raises(WeightsError, match=r"save `network\.state_dict\(\)` alone") as raised:
        weights.load(path)
    assert "weights_only" not in str(raised.value)

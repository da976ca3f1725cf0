"""X3D: the layout of the official files, and a head that gives logits."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from reference_weights import save

from braid.errors import ConfigError
from braid.networks.x3d import ARCHITECTURES, X3D

KEYS = json.loads((Path(__file__).parent / "data" / "x3d_keys.json").read_text(encoding="utf-8"))
"""Written by tests/parity/keys.py from PyTorchVideo."""


def shapes(network) -> dict[str, str]:
    return {name: "x".join(map(str, value.shape)) for name, value in network.state_dict().items()}


def n_parameters(network) -> int:
    return sum(value.numel() for value in network.parameters())


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def xs(tmp_path_factory):
    """X3D-XS with every parameter drawn, so that no branch is zero."""
    network = X3D("xs", n_classes=7).eval()
    save(network, tmp_path_factory.mktemp("weights") / "X3D_XS.pyth")
    return network.requires_grad_(False)


@pytest.mark.parametrize("size", ["xs", "s", "m"])
def test_layout(size):
    network = X3D(size)
    assert shapes(network) == KEYS["xs"]
    assert n_parameters(network) == 3_794_274
    assert n_parameters(X3D(size, n_classes=51)) == 3_079_173


def test_layout_of_l():
    layout = shapes(X3D("l"))
    text = "\n".join(f"{name} {shape}" for name, shape in sorted(layout.items()))
    assert len(layout) == KEYS["l"]["n"]
    assert hashlib.sha256(text.encode()).hexdigest() == KEYS["l"]["sha256"]


def test_logits_are_linear_in_the_features(xs):
    """Without a softmax anywhere: the features do not sum to 1, and shifting the classifier shifts the logits."""
    clips = noise(2, 3, 4, 129, 129)
    features, logits = xs(clips)
    assert features.shape == (2, 2048) and logits.shape == (2, 7)
    torch.testing.assert_close(logits, features @ xs.blocks[5].proj.weight.T + xs.blocks[5].proj.bias)
    assert features.min() == 0 and features.std() > 1e-3
    assert (logits.sum(dim=1) - 1).abs().min() > 1e-3


def test_clips_of_a_batch_do_not_mix(xs):
    clips = noise(2, 3, 4, 129, 129)
    torch.testing.assert_close(xs(clips)[0][1:], xs(clips[1:])[0])


def test_features_are_the_mean_over_positions(xs):
    """One frame and 32 pixels more than the pool needs: 2×1×2 positions of its 4×5×5 window."""
    clips = noise(1, 3, 5, 129, 161)
    seen = xs.blocks[:5](clips)
    positions = xs.blocks[5].pool(seen)
    assert seen.shape[2:] == (5, 5, 6) and positions.shape == (1, 2048, 2, 1, 2)
    torch.testing.assert_close(xs(clips)[0], positions.mean(dim=(2, 3, 4)))
    torch.testing.assert_close(positions[:, :, 1:, :, 1:], xs.blocks[5].pool(seen[:, :, 1:, :, 1:]))


def test_two_channels():
    network = X3D("xs", n_classes=5, n_channels=2).eval()
    assert shapes(network)["blocks.0.conv.conv_t.weight"] == "24x2x1x3x3"
    assert network(torch.zeros(1, 2, 4, 129, 129))[1].shape == (1, 5)


@pytest.mark.parametrize(("size", "frames", "side"), [("xs", 4, 129), ("s", 13, 129), ("m", 16, 193), ("l", 16, 289)])
def test_the_smallest_clip(size, frames, side):
    architecture = ARCHITECTURES[size]
    assert (architecture.clip_length, architecture.least_crop) == (frames, side)
    network = X3D(size)
    for shape in [(frames - 1, side, side), (frames, side - 1, side), (frames, side, side - 1)]:
        with pytest.raises(ConfigError, match=f"X3D-{size.upper()} needs .* {frames} frames of {side}×{side} pixels"):
            network(torch.zeros(1, 3, *shape))


def test_the_smallest_clip_of_xs_passes(xs):
    xs(torch.zeros(1, 3, 4, 129, 129))


def test_unknown_size():
    with pytest.raises(ConfigError, match=r"'xl'.*xs, s, m, l"):
        X3D("xl")


def test_every_parameter_learns():
    network = X3D("xs", n_classes=3)
    network(noise(2, 3, 4, 129, 129))[1].square().sum().backward()
    assert [name for name, value in network.named_parameters() if value.grad is None] == []


def test_residual_blocks_begin_as_identities():
    state = X3D("xs").state_dict()
    last = [value.abs().max() for name, value in state.items() if name.endswith("norm_c.weight")]
    assert len(last) == 3 + 5 + 11 + 7 and max(last) == 0

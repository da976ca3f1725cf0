"""Networks for flow: RAFT against torchvision, GMFlow in closed forms, and what surrounds both."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from reference_weights import save
from torch.nn import functional
from torchvision.models import get_model

from braid import config
from braid.flow.gmflow import GMFlowMethod
from braid.flow.raft import Raft
from braid.networks import gmflow, gmflow_attention
from braid.networks.gmflow import GMFlow

RNG = np.random.default_rng(0)
FRAMES = RNG.integers(0, 256, (3, 9, 12, 3), dtype=np.uint8).repeat(14, axis=1).repeat(13, axis=2)  # [3, 126, 156, 3]


def settings(kind: str, **changes: Any) -> dict[str, Any]:
    properties = config.types("flow")[kind]["properties"]
    rules = {name: config.resolve(rule, "flow") for name, rule in properties.items()}
    defaults = {name: rule["default"] for name, rule in rules.items() if "default" in rule}
    return {"type": kind, **defaults, "weights": "random", **changes}


@pytest.mark.parametrize("architecture", ["raft_large", "raft_small"])
def test_raft_agrees_with_torchvision(architecture: str, tmp_path: Path) -> None:
    """The file of torchvision, the frames padded as RAFT's authors do, its plain forward pass."""
    reference = get_model(architecture)
    file = save(reference, tmp_path / "raft.pth")
    reference.load_state_dict(torch.load(file, weights_only=True))
    method = Raft(settings("raft", architecture=architecture, updates=3, weights=str(file)), 1, "cpu", 4)
    encoded = method.encode(FRAMES)
    flow = method.match(encoded[:2], encoded[1:])
    pictures = torch.from_numpy(FRAMES).permute(0, 3, 1, 2) / 127.5 - 1
    padded = functional.pad(pictures, (2, 2, 1, 1), mode="replicate")  # to 160 × 128
    with torch.inference_mode():
        expected = reference.eval()(padded[:2], padded[1:], num_flow_updates=3)[-1][..., 1:-1, 2:-2]
    assert flow.shape == (2, 2, 126, 156)
    assert (flow - expected).abs().max() <= 1e-4 * max(1, float(expected.abs().max()))


def test_small_frames_are_padded_to_what_raft_can_take() -> None:
    method = Raft(settings("raft", architecture="raft_small", updates=1), 1, "cpu", 4)
    encoded = method.encode(FRAMES[:2, :20, :30])
    assert encoded[0].features[0].shape[-2:] == (16, 16)
    assert method.match(encoded[:1], encoded[1:]).shape == (1, 2, 20, 30)


@pytest.mark.parametrize(("architecture", "millions"), [("gmflow", 4.680288), ("gmflow_refine", 4.716720)])
def test_parameters_of_gmflow(architecture: str, millions: float) -> None:
    assert sum(p.numel() for p in GMFlow(architecture).parameters()) == round(millions * 1e6)


@pytest.mark.parametrize("architecture", gmflow.ARCHITECTURES)
def test_a_pair_has_the_same_flow_in_any_company(architecture: str) -> None:
    method = GMFlowMethod(settings("gmflow", architecture=architecture), 1, "cpu", 4)
    encoded = method.encode(FRAMES)
    together = method.match(encoded[:2], encoded[1:])
    alone = torch.cat([method.match(method.encode(FRAMES[i : i + 1]), encoded[i + 1 : i + 2]) for i in (0, 1)])
    assert together.shape == (2, 2, 126, 156)
    assert (together - alone).abs().max() < 1e-3


def test_matching_finds_a_shift_of_whole_cells() -> None:
    """Features that are nearly orthogonal between cells: each matches the cell where it has gone."""
    first = functional.normalize(torch.randn(1, 128, 8, 12, generator=torch.Generator().manual_seed(0)), dim=1) * 30
    second = first.roll((1, 3), dims=(2, 3))
    for radius in (None, 4):
        flow = gmflow._match(first, second, radius)[..., :-1, :-3]
        np.testing.assert_allclose(flow[0, 0], 3, atol=1e-3)
        np.testing.assert_allclose(flow[0, 1], 1, atol=1e-3)


def test_warping_takes_features_from_where_the_flow_points() -> None:
    features = torch.rand(1, 2, 6, 7)
    flow = torch.tensor([2.0, -1.0])[:, None, None].expand(1, 2, 6, 7)
    warped = gmflow._warp(features, flow)
    torch.testing.assert_close(warped[..., 1:, :-2], features[..., :-1, 2:], rtol=1e-4, atol=1e-5)
    assert warped[..., 0, :].abs().max() < 1e-5 and warped[..., -2:].abs().max() < 1e-5


def test_windows_are_cut_and_joined() -> None:
    x = torch.arange(2 * 8 * 12 * 3.0).view(2, 8, 12, 3)
    windows = gmflow_attention.to_windows(x, 2)
    assert torch.equal(windows[1].view(4, 6, 3), x[0, :4, 6:])
    assert torch.equal(gmflow_attention.from_windows(windows, x.shape, 2), x)


def test_cells_that_a_shift_made_neighbours_do_not_see_each_other() -> None:
    """With a shift of half a window, the last window along a side holds cells of both ends of the picture."""
    mask = gmflow_attention.shift_mask(8, 8, 2, (2, 2), torch.device("cpu")).view(4, 4, 4, 4, 4)
    assert (mask[0] == 0).all()
    sees = mask[3, 0, 0] == 0  # the first cell of the last window
    assert sees.tolist() == [[True, True, False, False]] * 2 + [[False] * 4] * 2


def test_half_precision_keeps_matching_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.dtype] = []
    match = gmflow._match

    def watched(first: torch.Tensor, second: torch.Tensor, radius: int | None) -> torch.Tensor:
        found = match(first, second, radius)
        seen.extend([first.dtype, found.dtype])
        return found

    monkeypatch.setattr(gmflow, "_match", watched)
    method = GMFlowMethod(settings("gmflow", dtype="bfloat16"), 1, "cpu", 4)
    encoded = method.encode(FRAMES[:2, :64, :64])
    assert encoded[0].features[0].dtype == torch.bfloat16
    assert method.match(encoded[:1], encoded[1:]).dtype == torch.float32
    assert seen == [torch.float32, torch.float32]


@pytest.mark.parametrize("nesting", ["model", "state_dict"])
def test_files_of_every_release_are_read(nesting: str, tmp_path: Path) -> None:
    """unimatch and GMFlow keep the parameters under `model`, ptlflow under `state_dict`."""
    network = GMFlow("gmflow")
    torch.save({nesting: torch.load(save(network, tmp_path / "plain.pth"), weights_only=True)}, tmp_path / "file.pth")
    method = GMFlowMethod(settings("gmflow", weights=str(tmp_path / "file.pth")), 1, "cpu", 4)
    for name, value in method.network.state_dict().items():
        assert torch.equal(value, network.state_dict()[name])

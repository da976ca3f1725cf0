"""Networks for flow: RAFT against torchvision, GMFlow in closed forms, and what surrounds both."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from reference_weights import save
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torchvision.models import get_model
from torchvision.models.optical_flow.raft import CorrBlock

from braid import config
from braid.errors import ConfigError
from braid.flow.gmflow import GMFlowMethod
from braid.flow.network import NetworkMethod
from braid.flow.raft import Raft
from braid.networks import gmflow, gmflow_attention
from braid.networks.gmflow import GMFlow

RNG = np.random.default_rng(0)
FRAMES = RNG.integers(0, 256, (3, 9, 12, 3), dtype=np.uint8).repeat(14, axis=1).repeat(13, axis=2)  # [3, 126, 156, 3]

TORCH_WARNS = pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
"""The compiler of torch uses parts of torch that torch warns about."""


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


class Precisions(TorchFunctionMode):
    """Notes the precision of what every softmax, and attention whose values are flow, is given."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, torch.dtype]] = []

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        attends = function is functional.scaled_dot_product_attention and args[2].shape[-1] == 2
        if attends or function in (torch.Tensor.softmax, torch.softmax, functional.softmax):
            self.seen.append((function.__name__, args[0].dtype))
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize(("architecture", "n_softmax"), [("gmflow", 2), ("gmflow_refine", 4)])
def test_half_precision_keeps_matching_in_float32(architecture: str, n_softmax: int, dtype: str) -> None:
    """Every softmax but those between features: of the matching, of the smoothing of flow and of the upsampling."""
    method = GMFlowMethod(settings("gmflow", architecture=architecture, dtype=dtype), 1, "cpu", 4)
    encoded = method.encode(FRAMES[:2, :64, :64])
    assert encoded[0].features[0].dtype == getattr(torch, dtype)
    with Precisions() as precisions:
        assert method.match(encoded[:1], encoded[1:]).dtype == torch.float32
    assert [found for name, found in precisions.seen if name == "softmax"] == [torch.float32] * n_softmax
    assert {found for name, found in precisions.seen} == {torch.float32}
    assert "scaled_dot_product_attention" in dict(precisions.seen)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_keeps_the_correlations_of_raft_in_float32(monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    seen: list[torch.dtype] = []
    correlations = CorrBlock._compute_corr_volume

    def watched(self: CorrBlock, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        volume = correlations(self, first, second)
        seen.extend([first.dtype, second.dtype, volume.dtype])
        return volume

    monkeypatch.setattr(CorrBlock, "_compute_corr_volume", watched)
    method = Raft(settings("raft", architecture="raft_small", updates=1, dtype=dtype), 1, "cpu", 4)
    encoded = method.encode(FRAMES[:2])
    assert encoded[0].features[0].dtype == getattr(torch, dtype)
    assert method.match(encoded[:1], encoded[1:]).dtype == torch.float32
    assert seen == [torch.float32] * 3


class Small(NetworkMethod):
    """Two layers, which compile in seconds; docs/flow.md has the networks themselves."""

    def __init__(self, compiles: bool) -> None:
        chosen = {"dtype": "float32", "compile": compiles}
        super().__init__(chosen, "cpu", 4, torch.nn.Conv2d(3, 2, 3, padding=1), multiple=8, least=8)
        self.network.weight.data = torch.linspace(-1, 1, 54).view(2, 3, 3, 3)

    def features(self, frames: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (self.network(frames / 255),)

    def flow(self, firsts: tuple[torch.Tensor, ...], seconds: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return (firsts[0] - seconds[0]).sin() * 10


@TORCH_WARNS
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on a CPU")
@pytest.mark.skipif(" " in torch.__file__, reason="PyTorch calls the compiler with paths as they are")
def test_a_compiled_network_gives_the_same_flow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    frames = FRAMES[:, :20, :30]
    flows = []
    for method in (Small(compiles=False), Small(compiles=True)):
        encoded = method.encode(frames)
        flows.append(method.match(encoded[:2], encoded[1:]))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 2, "features and flow"
    assert flows[0].std() > 1
    assert (flows[0] - flows[1]).abs().max() < 1e-4


@TORCH_WARNS
def test_a_network_that_cannot_be_compiled_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", ("no-such-compiler",))
    torch._dynamo.reset()
    with pytest.raises(ConfigError, match=r"`compile: true` does not work on this machine .*`compile: false`"):
        Small(compiles=True).encode(FRAMES[:1, :20, :30])


@pytest.mark.parametrize("nesting", ["model", "state_dict"])
def test_files_of_every_release_are_read(nesting: str, tmp_path: Path) -> None:
    """unimatch and GMFlow keep the parameters under `model`, ptlflow under `state_dict`."""
    network = GMFlow("gmflow")
    torch.save({nesting: torch.load(save(network, tmp_path / "plain.pth"), weights_only=True)}, tmp_path / "file.pth")
    method = GMFlowMethod(settings("gmflow", weights=str(tmp_path / "file.pth")), 1, "cpu", 4)
    for name, value in method.network.state_dict().items():
        assert torch.equal(value, network.state_dict()[name])

"""Flow as a vector field, and its quantisation: closed forms and round trips."""

import numpy as np
import pytest
import torch

from braid.flow.quantise import dequantise, quantise, step
from braid.flow.transform import mirror, resize

BOUND = 20.0


def pixels() -> np.ndarray:
    """Values over the whole range, with both ends, zero and every boundary between codes."""
    boundaries = (np.arange(256) - 127.5) * step(BOUND)
    values = np.concatenate([np.linspace(-BOUND, BOUND, 4001), boundaries, [0.0]])
    return np.clip(values, -BOUND, BOUND).astype(np.float32)


def test_uint8_is_off_by_half_a_step_at_most() -> None:
    back = dequantise(quantise(pixels(), "uint8", BOUND), "uint8", BOUND)
    assert step(BOUND) == pytest.approx(0.157, abs=5e-4)
    assert np.abs(back - pixels()).max() <= step(BOUND) / 2 + 1e-5


@pytest.mark.parametrize(("flow", "code"), [(0.0, 128), (20.0, 255), (-20.0, 1), (1e6, 255), (-1e6, 1), (0.1, 129)])
def test_uint8_codes(flow: float, code: int) -> None:
    assert quantise(np.array([flow]), "uint8", BOUND).tolist() == [code]


@pytest.mark.parametrize("encoding", ["uint8", "float16"])
def test_opposite_flow_comes_back_as_the_opposite(encoding: str) -> None:
    there, back = (dequantise(quantise(sign * pixels(), encoding, BOUND), encoding, BOUND) for sign in (1, -1))
    assert np.array_equal(there, -back)


@pytest.mark.parametrize("encoding", ["uint8", "float16"])
def test_zero_comes_back_as_zero(encoding: str) -> None:
    zero = np.zeros((2, 2, 3, 4), np.float32)
    back = dequantise(quantise(zero, encoding, 7.3), encoding, 7.3)
    assert back.dtype == np.float32
    assert np.array_equal(back, zero)


def test_every_code_comes_back_as_itself() -> None:
    codes = np.arange(1, 256, dtype=np.uint8)
    assert np.array_equal(quantise(dequantise(codes, "uint8", BOUND), "uint8", BOUND), codes)


def test_float16_is_off_by_half_a_unit_of_the_last_place() -> None:
    back = dequantise(quantise(pixels(), "float16", BOUND), "float16", BOUND)
    assert np.abs(back - pixels()).max() <= 2.0**-7  # half floats are 1/64 apart between 16 and 32
    assert quantise(np.array([1e6]), "float16", BOUND) == BOUND


@pytest.mark.parametrize("size", [(12, 20), (48, 80), (7, 33), (1, 1)])
def test_resized_constant_flow_is_the_constant_in_new_pixels(size: tuple[int, int]) -> None:
    flow = torch.tensor([3.0, -2.0])[:, None, None].expand(5, 2, 24, 40)
    small = resize(flow, size)
    assert small.shape == (5, 2, *size)
    assert torch.allclose(small[:, 0], torch.full((), 3.0 * size[1] / 40))
    assert torch.allclose(small[:, 1], torch.full((), -2.0 * size[0] / 24))


def test_resized_linear_flow_stays_linear_inside() -> None:
    columns = torch.arange(32) + 0.5
    flow = torch.stack([columns.expand(16, 32), torch.zeros(16, 32)])
    inside = resize(flow, (8, 16))[0, :, 2:-2]
    assert torch.allclose(inside, ((torch.arange(16) + 0.5)[2:-2]).expand(8, -1), atol=1e-5)


def test_resize_to_the_same_size_changes_nothing() -> None:
    flow = torch.randn(3, 2, 5, 7, generator=torch.Generator().manual_seed(0))
    assert torch.equal(resize(flow, (5, 7)), flow)


def test_mirror_turns_u_round_and_is_its_own_inverse() -> None:
    flow = torch.randn(3, 2, 5, 7, generator=torch.Generator().manual_seed(0))
    assert torch.equal(mirror(flow)[:, 0], -flow[:, 0].flip(-1))
    assert torch.equal(mirror(flow)[:, 1], flow[:, 1].flip(-1))
    assert torch.equal(mirror(mirror(flow)), flow)

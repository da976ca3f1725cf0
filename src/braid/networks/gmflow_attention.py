"""The attention of GMFlow: cells of two frames attend to their own frame and to the other one, within windows.

The windows and their shift are those of Swin (Liu et al., ICCV 2021).

Letters: N frames, B pairs of them, C channels, H, W size of a feature map, K windows along a side.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

CHANNELS = 128
N_BLOCKS = 6


class Transformer(nn.Module):
    """Blocks in which the cells of both frames attend to their own frame and then to the other one."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Block() for _ in range(N_BLOCKS))

    def forward(self, first: Tensor, second: Tensor, windows: int) -> tuple[Tensor, Tensor]:
        """Return both maps, [B, C, H, W], after all blocks; every second one has its windows shifted by half of one."""
        b, _, h, w = first.shape
        x = torch.cat([first, second]).permute(0, 2, 3, 1)  # [2B, H, W, C]
        shift = (h // windows // 2, w // windows // 2) if windows > 1 else (0, 0)
        mask = shift_mask(h, w, windows, shift, x.device) if windows > 1 else None
        for i, layer in enumerate(self.layers):
            other = x.roll(b, dims=0)
            x = layer(x, other, windows, *((shift, mask) if i % 2 else ((0, 0), None)))
        first, second = x.permute(0, 3, 1, 2).split(b)
        return first, second


class Block(nn.Module):
    """Attention to the own frame, attention to the other one, and a perceptron."""

    def __init__(self) -> None:
        super().__init__()
        self.self_attn = Attention(perceptron=False)
        self.cross_attn_ffn = Attention(perceptron=True)

    def forward(self, x: Tensor, other: Tensor, windows: int, shift: tuple[int, int], mask: Tensor | None) -> Tensor:
        x = self.self_attn(x, x, windows, shift, mask)
        return self.cross_attn_ffn(x, other, windows, shift, mask)


class Attention(nn.Module):
    """Attention with one head within windows, added to what asks."""

    def __init__(self, perceptron: bool) -> None:
        super().__init__()
        self.q_proj = nn.Linear(CHANNELS, CHANNELS, bias=False)
        self.k_proj = nn.Linear(CHANNELS, CHANNELS, bias=False)
        self.v_proj = nn.Linear(CHANNELS, CHANNELS, bias=False)
        self.merge = nn.Linear(CHANNELS, CHANNELS, bias=False)
        self.norm1 = nn.LayerNorm(CHANNELS)
        if perceptron:
            self.mlp = nn.Sequential(
                nn.Linear(2 * CHANNELS, 8 * CHANNELS, bias=False),
                nn.GELU(),
                nn.Linear(8 * CHANNELS, CHANNELS, bias=False),
            )
            self.norm2 = nn.LayerNorm(CHANNELS)
        self.perceptron = perceptron

    def forward(self, x: Tensor, other: Tensor, windows: int, shift: tuple[int, int], mask: Tensor | None) -> Tensor:
        """Return `x`, [N, H, W, C], with what it takes from `other`."""
        shape = x.shape
        q, k, v = (
            to_windows(projected.roll((-shift[0], -shift[1]), dims=(1, 2)), windows)
            for projected in (self.q_proj(x), self.k_proj(other), self.v_proj(other))
        )
        if mask is not None:
            mask = mask.to(q.dtype).repeat(shape[0], 1, 1)
        taken = functional.scaled_dot_product_attention(q, k, v, mask)
        message = self.norm1(self.merge(from_windows(taken, shape, windows).roll(shift, dims=(1, 2))))
        if self.perceptron:
            message = self.norm2(self.mlp(torch.cat([x, message], dim=-1)))
        return x + message


def to_windows(x: Tensor, windows: int) -> Tensor:
    """Return [N, H, W, C] as [N K K, cells of a window, C]."""
    n, h, w, c = x.shape
    x = x.view(n, windows, h // windows, windows, w // windows, c)
    return x.transpose(2, 3).reshape(n * windows**2, -1, c)


def from_windows(x: Tensor, shape: torch.Size, windows: int) -> Tensor:
    n, h, w, c = shape
    x = x.view(n, windows, windows, h // windows, w // windows, c)
    return x.transpose(2, 3).reshape(n, h, w, c)


def shift_mask(h: int, w: int, windows: int, shift: tuple[int, int], device: torch.device) -> Tensor:
    """Return what to add to scores, [K K, cells, cells]: cells that the shift made neighbours do not see each other."""
    height, width = h // windows, w // windows
    rows = torch.arange(h, device=device)
    columns = torch.arange(w, device=device)
    row_part = (rows >= h - height).long() + (rows >= h - shift[0])
    column_part = (columns >= w - width).long() + (columns >= w - shift[1])
    parts = 3 * row_part[:, None] + column_part
    cells = to_windows(parts[None, :, :, None], windows)  # [K K, cells, 1]
    return torch.where(cells == cells.transpose(1, 2), 0.0, -100.0)

"""GMFlow: optical flow as global matching (Xu et al., CVPR 2022).

The parameters have the names of the official release (github.com/haofeixu/gmflow, Apache-2.0), and so those of unimatch
and ptlflow. Frames and pairs are two steps, so that a frame in two pairs is encoded once.

Letters: B pairs, N frames, C channels, H, W size of a feature map, K windows along a side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from braid.networks.gmflow_attention import CHANNELS, Transformer

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NOWHERE = -1e9
"""Score of a match outside the picture."""


@dataclass(frozen=True)
class Scale:
    """How flow is found at one size of the feature maps.

    Attributes
    ----------
    windows : int
        Attention is within windows, so many along each side.
    match_radius, smooth_radius : int or None
        Cells around a cell that are compared with it, and from which it takes flow; None is the whole map.
    """

    windows: int
    match_radius: int | None = None
    smooth_radius: int | None = None


ARCHITECTURES: dict[str, tuple[Scale, ...]] = {
    "gmflow": (Scale(2),),
    "gmflow_refine": (Scale(2), Scale(8, 4, 1)),
}
"""Scales from coarse to fine; the coarsest has cells of 8 pixels, each further one half of that."""


class GMFlow(nn.Module):
    """Flow of pairs of frames.

    Parameters
    ----------
    architecture : a name in `ARCHITECTURES`

    Attributes
    ----------
    multiple : int
        Height and width of the frames must be multiples of this.
    """

    def __init__(self, architecture: str) -> None:
        super().__init__()
        self.scales = ARCHITECTURES[architecture]
        n = len(self.scales)
        self.cell = 8 // 2 ** (n - 1)
        self.multiple = max(8 // 2**i * scale.windows for i, scale in enumerate(self.scales))
        self.backbone = Encoder(n)
        self.transformer = Transformer()
        self.feature_flow_attn = Smoother()
        self.upsampler = nn.Sequential(
            nn.Conv2d(2 + CHANNELS, 256, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(256, self.cell**2 * 9, 1)
        )

    def encode(self, frames: Tensor) -> tuple[Tensor, ...]:
        """Return the features of frames, [N, C, H, W] from coarse to fine.

        Parameters
        ----------
        frames : float [N, 3, H, W], RGB in [0, 255], H and W multiples of `multiple`
        """
        mean, std = (torch.tensor(x, device=frames.device)[:, None, None] for x in (MEAN, STD))
        return self.backbone((frames / 255 - mean) / std)

    def match(self, firsts: tuple[Tensor, ...], seconds: tuple[Tensor, ...]) -> Tensor:
        """Return the flow, float32 [B, 2, H, W] in pixels of the frames, from `firsts` to `seconds`, as encoded."""
        flow = None
        features = firsts[-1]
        for scale, first, second in zip(self.scales, firsts, seconds, strict=True):
            if flow is not None:
                flow = 2 * functional.interpolate(flow, scale_factor=2, mode="bilinear", align_corners=True)
                second = _warp(second, flow)
            position = _positions(first, scale.windows)
            features, second = self.transformer(first + position, second + position, scale.windows)
            with torch.autocast(features.device.type, enabled=False):  # places are means: they want every bit
                found = _match(features.float(), second.float(), scale.match_radius)
            flow = self.feature_flow_attn(features, found if flow is None else flow + found, scale.smooth_radius)
        assert flow is not None
        return self._upsample(flow, features)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the flow of pairs of frames as `encode` takes them."""
        n = len(first)
        encoded = self.encode(torch.cat([first, second]))
        return self.match(tuple(x[:n] for x in encoded), tuple(x[n:] for x in encoded))

    def _upsample(self, flow: Tensor, features: Tensor) -> Tensor:
        """Return the flow of pixels: means of the flow of 3×3 cells, with learned weights."""
        b, _, h, w = flow.shape
        f = self.cell
        weights = self.upsampler(torch.cat([flow.to(features.dtype), features], dim=1)).float()
        weights = weights.view(b, 1, 9, f, f, h, w).softmax(dim=2)
        cells = functional.unfold(f * flow, 3, padding=1).view(b, 2, 9, 1, 1, h, w)
        return (weights * cells).sum(dim=2).permute(0, 1, 4, 2, 5, 3).reshape(b, 2, f * h, f * w)


class Encoder(nn.Module):
    """Residual convolutions; maps with cells of 8 pixels, and of 4 where two scales are wanted."""

    def __init__(self, n_scales: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.norm1 = nn.InstanceNorm2d(64)
        self.layer1 = nn.Sequential(Residual(64, 64, 1), Residual(64, 64, 1))
        self.layer2 = nn.Sequential(Residual(64, 96, 2), Residual(96, 96, 1))
        self.layer3 = nn.Sequential(Residual(96, CHANNELS, 2 if n_scales == 1 else 1), Residual(CHANNELS, CHANNELS, 1))
        self.conv2 = nn.Conv2d(CHANNELS, CHANNELS, 1)
        self.trident_conv = Trident() if n_scales > 1 else None

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x = functional.relu(self.norm1(self.conv1(x)))
        x = self.conv2(self.layer3(self.layer2(self.layer1(x))))
        return (x,) if self.trident_conv is None else self.trident_conv(x)


class Trident(nn.Module):
    """One convolution with two strides: the maps with cells of 8 and of 4 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(CHANNELS, CHANNELS, 3, 3))
        nn.init.kaiming_uniform_(self.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(functional.conv2d(x, self.weight, stride=stride, padding=1) for stride in (2, 1))


class Residual(nn.Module):
    """Two convolutions beside a short cut."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride=stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.norm1 = nn.InstanceNorm2d(n_out)
        self.norm2 = nn.InstanceNorm2d(n_out)
        self.downsample = None
        if stride != 1 or n_in != n_out:
            self.downsample = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride=stride), nn.InstanceNorm2d(n_out))

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.norm1(self.conv1(x)))
        y = functional.relu(self.norm2(self.conv2(y)))
        return functional.relu(y + (x if self.downsample is None else self.downsample(x)))


class Smoother(nn.Module):
    """Flow of each cell as a mean of that of similar cells of the first frame."""

    def __init__(self) -> None:
        super().__init__()
        self.q_proj = nn.Linear(CHANNELS, CHANNELS)
        self.k_proj = nn.Linear(CHANNELS, CHANNELS)

    def forward(self, features: Tensor, flow: Tensor, radius: int | None) -> Tensor:
        """Return the flow, float32 [B, 2, H, W] as it came, smoothed among cells at most `radius` away."""
        b, c, h, w = features.shape
        cells = features.flatten(2).transpose(1, 2)  # [B, HW, C]
        query = self.q_proj(cells)
        # Over the whole map the key is made from the query, not from the features: so it was trained.
        key = self.k_proj(query if radius is None else cells)
        with torch.autocast(features.device.type, enabled=False):
            query, key = query.float(), key.float()
            if radius is None:
                taken = functional.scaled_dot_product_attention(query, key, flow.flatten(2).transpose(1, 2))
                return taken.transpose(1, 2).reshape(b, 2, h, w)
            size = 2 * radius + 1
            keys = functional.unfold(key.transpose(1, 2).reshape(b, c, h, w), size, padding=radius)
            flows = functional.unfold(flow, size, padding=radius).view(b, 2, size**2, h * w)
            scores = torch.einsum("bpc,bcnp->bnp", query, keys.view(b, c, size**2, h * w)) / math.sqrt(c)
            return torch.einsum("bnp,bdnp->bdp", scores.softmax(dim=1), flows).view(b, 2, h, w)


def _match(first: Tensor, second: Tensor, radius: int | None) -> Tensor:
    """Return the flow, float32 [B, 2, H, W] in cells, to the mean place of the cells that look alike."""
    b, c, h, w = first.shape
    places = _grid(h, w, first.device)  # [2, H, W]
    if radius is None:
        scores = first.flatten(2).transpose(1, 2) @ second.flatten(2) / math.sqrt(c)
        found = scores.softmax(dim=-1) @ places.flatten(1).T
        return found.transpose(1, 2).reshape(b, 2, h, w) - places
    around = torch.arange(-radius, radius + 1, device=first.device)
    offsets = torch.stack(torch.meshgrid(around, around, indexing="xy")).flatten(1).to(first.dtype)  # [2, n]
    size = 2 * radius + 1
    candidates = functional.unfold(second, size, padding=radius).view(b, c, size**2, h, w)
    scores = torch.einsum("bchw,bcnhw->bnhw", first, candidates) / math.sqrt(c)
    there = places[:, None] + offsets[:, :, None, None]  # [2, n, H, W]
    inside = (there[0] >= 0) & (there[0] < w) & (there[1] >= 0) & (there[1] < h)
    scores = scores.masked_fill(~inside, NOWHERE).softmax(dim=1)
    return torch.einsum("bnhw,dn->bdhw", scores, offsets)


def _warp(features: Tensor, flow: Tensor) -> Tensor:
    """Return `features`, [B, C, H, W], taken from where the flow, in cells, points; zero outside."""
    h, w = features.shape[-2:]
    there = _grid(h, w, flow.device) + flow
    size = torch.tensor([w - 1, h - 1], device=flow.device)[:, None, None]
    grid = (2 * there / size - 1).permute(0, 2, 3, 1).to(features.dtype)
    return functional.grid_sample(features, grid, mode="bilinear", padding_mode="zeros", align_corners=True)


def _grid(h: int, w: int, device: torch.device) -> Tensor:
    """Return x and y of each cell, float32 [2, H, W]."""
    y, x = torch.meshgrid(torch.arange(h, device=device), torch.arange(w, device=device), indexing="ij")
    return torch.stack([x, y]).float()


def _positions(features: Tensor, windows: int) -> Tensor:
    """Return sines and cosines of the place within a window, [C, H, W], as DETR has them (Carion et al., ECCV 2020)."""
    h, w = features.shape[-2] // windows, features.shape[-1] // windows
    half = CHANNELS // 2
    wavelength = 10_000 ** (2 * (torch.arange(half, device=features.device) // 2) / half)

    def along(n: int) -> Tensor:
        phase = 2 * math.pi * torch.arange(1, n + 1, device=features.device) / (n + 1e-6)
        angle = phase[:, None] / wavelength  # [n, C / 2]
        return torch.stack([angle[:, 0::2].sin(), angle[:, 1::2].cos()], dim=2).flatten(1)

    y = along(h)[:, None].expand(h, w, half)
    x = along(w)[None].expand(h, w, half)
    return torch.cat([y, x], dim=2).permute(2, 0, 1).repeat(1, windows, windows).to(features.dtype)

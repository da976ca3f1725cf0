"""X3D (Feichtenhofer, CVPR 2020, arXiv:2004.04730), with the parameter names of the official `X3D_*.pyth` files.

`tiny` is not official: X3D's own grammar at its first depth and half its widths, for where no more than 0.1 GFLOP may
be spent, counting a multiply-add as two.

The official head ends in a softmax, which it also applies in training; here it ends in logits. At crops larger than
those of training the official scores are the mean of probabilities over the positions of the pooling window; here
the logits are averaged, which is what a linear classifier of the mean features gives.

Letters: B clips, C channels, T frames, H×W pixels, K classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from braid.errors import ConfigError

FRAME_RATE = 30
"""Frames a second that `Architecture.stride` counts, as Kinetics was decoded for the official weights."""
MEAN, STD = 0.45, 0.225
"""Of all three channels, RGB in [0, 1], under the official weights: not the statistics of ImageNet."""
REDUCTION = 32
"""Pixels of the input on a side for one of the last feature map."""
WIDTHS = (24, 48, 96, 192)
N_FEATURES = 2048
"""Of the last layer before the classifier; like `WIDTHS` for `Architecture.width` 1."""
DEPTHS = (1, 2, 5, 3)
EXPANSION = 2.25
SQUEEZE = 1 / 16


@dataclass(frozen=True)
class Architecture:
    """One size of X3D, and the clips that it is trained and tested on; for official weights these are theirs.

    Attributes
    ----------
    depth : factor on the number of blocks of each stage
    clip_length : frames of a clip
    stride : from one frame of a clip to the next, counted at `FRAME_RATE`
    train_crop : pixels on a side in training; the head averages over as many positions as this gives
    test_side : pixels that the shorter side is resized to for testing
    test_crop : pixels on a side that are then cut out
    width : factor on the channels of each layer
    """

    depth: float
    clip_length: int
    stride: int
    train_crop: int
    test_side: int
    test_crop: int
    width: float = 1.0

    @property
    def pool_side(self) -> int:
        """Positions on a side that the head averages over."""
        return math.ceil(self.train_crop / REDUCTION)

    @property
    def least_crop(self) -> int:
        """Pixels on a side of the smallest clip that the head can pool."""
        return REDUCTION * (self.pool_side - 1) + 1


ARCHITECTURES = {
    "xs": Architecture(depth=2.2, clip_length=4, stride=12, train_crop=160, test_side=182, test_crop=182),
    "s": Architecture(depth=2.2, clip_length=13, stride=6, train_crop=160, test_side=182, test_crop=182),
    "m": Architecture(depth=2.2, clip_length=16, stride=5, train_crop=224, test_side=256, test_crop=256),
    "l": Architecture(depth=5.0, clip_length=16, stride=5, train_crop=312, test_side=356, test_crop=356),
    "tiny": Architecture(1.0, clip_length=8, stride=6, train_crop=80, test_side=96, test_crop=80, width=0.5),
}


class X3D(nn.Module):
    """X3D with features and logits.

    Parameters
    ----------
    architecture : `xs`, `s`, `m`, `l` or `tiny`
    n_classes : K
    n_channels : C, 3 for RGB, 2 for optical flow
    dropout : share of the features that are dropped in training before the classifier
    clip_length, train_crop : frames and pixels on a side that the head averages over as a whole (None: those of the
        architecture); longer or larger clips are averaged window by window
    """

    def __init__(
        self,
        architecture: str,
        n_classes: int = 400,
        n_channels: int = 3,
        dropout: float = 0.5,
        clip_length: int | None = None,
        train_crop: int | None = None,
    ) -> None:
        super().__init__()
        if architecture not in ARCHITECTURES:
            raise ConfigError(f"X3D has no size {architecture!r}; choose from {', '.join(ARCHITECTURES)}")
        usual = ARCHITECTURES[architecture]
        self.name = f"X3D-{architecture.upper()}"
        self.architecture = replace(
            usual, clip_length=clip_length or usual.clip_length, train_crop=train_crop or usual.train_crop
        )
        widths = [round(width * usual.width) for width in (WIDTHS[0], *WIDTHS)]
        depths = [math.ceil(depth * usual.depth) for depth in DEPTHS]
        self.blocks = nn.Sequential(
            Stem(n_channels, widths[0]),
            *(Stage(*sizes) for sizes in zip(widths[:-1], widths[1:], depths, strict=True)),
            Head(widths[-1], n_classes, self.architecture, dropout),
        )
        self.apply(_initialise)

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features [B, D] and the logits [B, K] of clips [B, C, T, H, W]; D is 2048, but 1024 of `tiny`.

        Raises
        ------
        ConfigError
            As for `features`.
        """
        features, _ = self.features(clips)
        head: Any = self.blocks[-1]
        return features, head.proj(head.dropout(features))

    def features(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features [B, D] of clips, and the means over space [B, T, E] of the map that is pooled for them.

        E is 432, but 216 of `tiny`.

        Raises
        ------
        ConfigError
            The clips have fewer frames or pixels than the head averages over.
        """
        frames, *sides = clips.shape[-3:]
        least = self.architecture
        if frames < least.clip_length or min(sides) < least.least_crop:
            raise ConfigError(
                f"{self.name} needs clips of at least {least.clip_length} frames of {least.least_crop}×"
                f"{least.least_crop} pixels, got {frames} of {sides[0]}×{sides[1]}: give it longer clips or a larger "
                "crop, or choose a smaller size"
            )
        return self.blocks(clips.contiguous(memory_format=torch.channels_last_3d))


class Stem(nn.Module):
    """A convolution in space, then one in time."""

    def __init__(self, n_channels: int, width: int) -> None:
        super().__init__()
        # In the official files `conv_t` is the one in space and `conv_xy` the one in time.
        self.conv = nn.Sequential()
        self.conv.conv_t = nn.Conv3d(n_channels, width, (1, 3, 3), (1, 2, 2), (0, 1, 1), bias=False)
        self.conv.conv_xy = Timewise(width, 5)
        self.norm = nn.BatchNorm3d(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)).relu_()


class Stage(nn.Module):
    """Residual blocks; the first one halves the sides, every other one has a squeeze-and-excitation."""

    def __init__(self, width_in: int, width: int, depth: int) -> None:
        super().__init__()
        self.res_blocks = nn.Sequential(
            ResBlock(width_in, width, stride=2, squeeze=True),
            *(ResBlock(width, width, stride=1, squeeze=i % 2 == 0) for i in range(1, depth)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.res_blocks(x)


class ResBlock(nn.Module):
    """A bottleneck beside a shortcut, which is a convolution where the shape changes."""

    def __init__(self, width_in: int, width: int, stride: int, squeeze: bool) -> None:
        super().__init__()
        self.branch1_conv = self.branch1_norm = None
        if stride > 1:
            self.branch1_conv = Pointwise(width_in, width, stride)
        if width_in != width:
            self.branch1_norm = nn.BatchNorm3d(width)
        self.branch2 = Bottleneck(width_in, width, stride, squeeze)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.branch1_conv is None else self.branch1_conv(x)
        if self.branch1_norm is not None:
            shortcut = self.branch1_norm(shortcut)
        return self.branch2(x).add_(shortcut).relu_()


class Bottleneck(nn.Module):
    """1×1×1 to a larger width, 3×3×3 a channel, 1×1×1 to the width of the stage."""

    def __init__(self, width_in: int, width: int, stride: int, squeeze: bool) -> None:
        super().__init__()
        inner = int(EXPANSION * width)
        self.conv_a = Pointwise(width_in, inner)
        self.norm_a = nn.BatchNorm3d(inner)
        self.conv_b = nn.Conv3d(inner, inner, 3, (1, stride, stride), padding=1, groups=inner, bias=False)
        self.norm_b = nn.Sequential(nn.BatchNorm3d(inner), SqueezeExcitation(inner) if squeeze else nn.Identity())
        self.conv_c = Pointwise(inner, width)
        self.norm_c = nn.BatchNorm3d(width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm_a(self.conv_a(x)).relu_()
        x = nn.functional.silu(self.norm_b(self.conv_b(x)), inplace=True)
        return self.norm_c(self.conv_c(x))


class Pointwise(nn.Conv3d):
    """A 1×1×1 convolution, computed as the matrix product that it is: torch's own takes twice as long on a CPU."""

    def __init__(self, width_in: int, width: int, stride: int = 1, bias: bool = False) -> None:
        super().__init__(width_in, width, 1, (1, stride, stride), bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        _, down, across = self.stride
        rows = input[..., ::down, ::across].permute(0, 2, 3, 4, 1)  # no copy where channels are last
        return nn.functional.linear(rows, self.weight.flatten(1), self.bias).permute(0, 4, 1, 2, 3)


class Timewise(nn.Conv3d):
    """A t×1×1 convolution of each channel, computed on pictures of T×(HW): torch's own takes far longer on a CPU."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__(width, width, (kernel, 1, 1), padding=(kernel // 2, 0, 0), groups=width, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        x = nn.functional.conv2d(
            input.flatten(3), self.weight.flatten(3), padding=(self.kernel_size[0] // 2, 0), groups=self.groups
        )
        return x.unflatten(3, input.shape[3:])


class SqueezeExcitation(nn.Module):
    """Channels weighed by a small network of their means (Hu et al., CVPR 2018)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        reduced = _multiple_of_8(width * SQUEEZE)
        self.block = nn.Sequential(
            Pointwise(width, reduced, bias=True),
            nn.ReLU(inplace=True),
            Pointwise(reduced, width, bias=True),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.block(x.mean(dim=(2, 3, 4), keepdim=True))


class Head(nn.Module):
    """Projected average pooling, then a linear classifier of the mean over the positions that are left."""

    def __init__(self, width: int, n_classes: int, architecture: Architecture, dropout: float) -> None:
        super().__init__()
        self.pool = ProjectedPool(width, int(EXPANSION * width), architecture)
        self.dropout = nn.Dropout(dropout)
        self.proj = nn.Linear(self.pool.post_conv.out_channels, n_classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        seen = self.pool.expand(x)
        return self.pool.project(seen).mean(dim=(2, 3, 4)), seen.mean(dim=(3, 4)).transpose(1, 2)


class ProjectedPool(nn.Module):
    """Average pooling between two 1×1×1 convolutions."""

    def __init__(self, width: int, inner: int, architecture: Architecture) -> None:
        super().__init__()
        side = architecture.pool_side
        self.pre_conv = Pointwise(width, inner)
        self.pre_norm = nn.BatchNorm3d(inner)
        self.pool = nn.AvgPool3d((architecture.clip_length, side, side), stride=1)
        self.post_conv = Pointwise(inner, round(N_FEATURES * architecture.width))

    def forward(self, x: Tensor) -> Tensor:
        return self.project(self.expand(x))

    def expand(self, x: Tensor) -> Tensor:
        """Return the map that is averaged."""
        return self.pre_norm(self.pre_conv(x)).relu_()

    def project(self, x: Tensor) -> Tensor:
        """Return the features of each window of such a map."""
        return self.post_conv(self.pool(x)).relu_()


def _multiple_of_8(width: float) -> int:
    """Return the multiple of 8 nearest to `width`, at least 8 and not more than a tenth below it."""
    nearest = max(8, int(width + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * width else nearest


def _initialise(module: nn.Module) -> None:
    """Begin as the official training does: He's normal distribution, and residual blocks that add nothing."""
    if isinstance(module, nn.Conv3d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.01)
        nn.init.zeros_(module.bias)
    elif isinstance(module, Bottleneck):
        nn.init.zeros_(module.norm_c.weight)

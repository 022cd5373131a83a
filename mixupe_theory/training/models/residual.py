"""What residual networks with pre-activation are made of (He et al. 2016, Identity Mappings)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

Unit = Callable[[int, int, int], nn.Module]  # channels, channels of the output, stride -> a residual unit


def conv3x3(channels: int, out: int, stride: int = 1, *, bias: bool = False) -> nn.Conv2d:
    """A 3 x 3 convolution that keeps height and width when its stride is 1."""
    return nn.Conv2d(channels, out, 3, stride, padding=1, bias=bias)


class PreActivation(nn.Module):
    """A residual unit: a = relu(norm(x)) -> branch(a) + x, or branch(a) + projection(a) where the shape changes.

    Args:
        channels: Of the input.
        out: Channels of the output.
        stride: Of the branch.
        branch: What a goes through.

    Example:
        >>> unit = PreActivation(4, 4, 1, conv3x3(4, 4))
        >>> unit.projection is None, unit(torch.ones(2, 4, 8, 8)).shape
        (True, torch.Size([2, 4, 8, 8]))
    """

    def __init__(self, channels: int, out: int, stride: int, branch: nn.Module):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.branch = branch
        unchanged = stride == 1 and channels == out
        self.projection = None if unchanged else nn.Conv2d(channels, out, 1, stride, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The unit's output."""
        active = functional.relu(self.norm(x))
        return self.branch(active) + (x if self.projection is None else self.projection(active))


def basic(channels: int, out: int, stride: int) -> PreActivation:
    """A unit of two 3 x 3 convolutions, the first with the stride."""
    branch = nn.Sequential(conv3x3(channels, out, stride), nn.BatchNorm2d(out), nn.ReLU(), conv3x3(out, out))
    return PreActivation(channels, out, stride, branch)


def bottleneck(channels: int, out: int, stride: int) -> PreActivation:
    """A unit of convolutions 1 x 1, 3 x 3 (with the stride) and 1 x 1, the inner two of out / 4 channels."""
    inner = out // 4
    branch = nn.Sequential(
        nn.Conv2d(channels, inner, 1, bias=False),
        nn.BatchNorm2d(inner),
        nn.ReLU(),
        conv3x3(inner, inner, stride),
        nn.BatchNorm2d(inner),
        nn.ReLU(),
        nn.Conv2d(inner, out, 1, bias=False),
    )
    return PreActivation(channels, out, stride, branch)


def group(unit: Unit, channels: int, out: int, stride: int, units: int) -> nn.Sequential:
    """Units in a row, the first of which changes the shape."""
    return nn.Sequential(unit(channels, out, stride), *(unit(out, out, 1) for _ in range(units - 1)))


def classifier(channels: int, classes: int) -> nn.Sequential:
    """Average over height and width, then a linear layer."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


def initialize(network: nn.Module, mode: str) -> None:
    """He's normal law for convolutions, of variance 2 over "fan_in" or "fan_out"; zero biases in linear layers."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode=mode, nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)

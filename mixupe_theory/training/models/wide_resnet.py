"""Wide residual networks (Zagoruyko & Komodakis 2016), WRN-28-10 unless asked for smaller ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from mixupe_theory import _validation as check
from mixupe_theory.training.models import arguments
from mixupe_theory.training.models.residual import basic, classifier, conv3x3, group, initialize
from mixupe_theory.training.models.staged import Staged


class OfficialUnit(nn.Module):
    """The official code's unit: biased convolutions, the stride in the second, a shortcut from x before BatchNorm.

    Args:
        channels: Of the input.
        out: Channels of the output.
        stride: Of the unit.
    """

    def __init__(self, channels: int, out: int, stride: int):
        super().__init__()
        self.branch = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            conv3x3(channels, out, bias=True),
            nn.BatchNorm2d(out),
            nn.ReLU(),
            conv3x3(out, out, stride, bias=True),
        )
        unchanged = stride == 1 and channels == out
        self.shortcut = nn.Identity() if unchanged else nn.Conv2d(channels, out, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The unit's output."""
        return self.branch(x) + self.shortcut(x)


def wide_resnet(
    shape: Sequence[int], classes: int, *, depth: int = 28, widen_factor: int = 10, official: bool = False
) -> Staged:
    """A wide residual network: stem of 16 channels, three groups, BatchNorm, ReLU, average pooling, linear layer.

    Manifold mixup mixes the input or what leaves one of the first two groups, as in the official code. No dropout.

    Standard, by default: the authors' form, szagoruyko/wide-residual-networks, models/wide-resnet.lua: no biases in
    convolutions, the stride in a unit's first convolution, projections after BatchNorm and ReLU, convolutions from
    N(0, 2 / fan_in), a zero last bias. Official, as in oneHuster/MixupE, models/wide_resnet.py: ``OfficialUnit``, a
    biased stem, the last BatchNorm's momentum 0.9 (its running statistics are nearly the last batch's), PyTorch's
    default initialization (the file defines another and never calls it). Its average pool of 8 equals
    the global one on 32 x 32 images.

    Args:
        shape: (channels, height, width) of one input.
        classes: Number of classes.
        depth: 6 n + 4 for groups of n units; 10, 16, 22, 28, ...
        widen_factor: The groups have 16, 32 and 64 times as many channels.
        official: Whether to build the official code's form.

    Example:
        >>> sum(p.numel() for p in wide_resnet((3, 32, 32), 10, depth=16, widen_factor=1).parameters())
        175066
    """
    channels, _, _ = arguments.image_shape(shape)
    units, rest = divmod(check.integer("depth", depth, least=10) - 4, 6)
    if rest:
        raise ValueError(f"depth must be 10, 16, 22, 28, ... (6 n + 4), got {depth}")
    wide = 16 * check.integer("widen_factor", widen_factor, least=1)
    unit = OfficialUnit if arguments.flag("official", official) else basic
    stages = [
        nn.Sequential(conv3x3(channels, 16, bias=official), group(unit, 16, wide, 1, units)),
        group(unit, wide, 2 * wide, 2, units),
        group(unit, 2 * wide, 4 * wide, 2, units),
        nn.Sequential(
            nn.BatchNorm2d(4 * wide, momentum=0.9 if official else 0.1), nn.ReLU(), *classifier(4 * wide, classes)
        ),
    ]
    network = Staged(stages, manifold_places=(0, 1, 2))
    if not official:
        initialize(network, "fan_in")
    return network

"""PreActResNet-18, -50 and -101 for small images."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from torch import nn

from mixupe_theory.training.models import arguments
from mixupe_theory.training.models.residual import Unit, basic, bottleneck, classifier, conv3x3, group, initialize
from mixupe_theory.training.models.staged import Staged


class Layout(NamedTuple):
    """The units of a network: their kind, their output channels over the stem's in the first group, their number."""

    unit: Unit
    expansion: int
    units: tuple[int, ...]


RESNET18 = Layout(basic, 1, (2, 2, 2, 2))
RESNET50 = Layout(bottleneck, 4, (3, 4, 6, 3))
RESNET101 = Layout(bottleneck, 4, (3, 4, 23, 3))


def preact_resnet(
    layout: Layout, shape: Sequence[int], classes: int, *, width: float = 1.0, official: bool = False
) -> Staged:
    """A residual network with pre-activation (He et al. 2016): stem, four groups, classifier.

    The form for 32 x 32 images: a 3 x 3 stem of 64 channels, groups with strides 1, 2, 2, 2 (in bottlenecks at the
    3 x 3 convolution), no biases but the last layer's, as in kuangliu/pytorch-cifar, models/preact_resnet.py. Manifold
    mixup mixes the input or what leaves one of the first two groups, as in the official code.

    Standard, by default: BatchNorm and ReLU before the average pooling; convolutions from N(0, 2 / fan_out) and a zero
    last bias, as in He's KaimingHe/resnet-1k-layers, resnet-pre-act.lua. Official, as in oneHuster/MixupE,
    models/preresnet_im.py (and in kuangliu's and manifold_mixup's repositories): neither BatchNorm nor ReLU after the
    last group; PyTorch's default initialization. Its average pool of 4 equals the global one on 32 x 32 images.

    Args:
        layout: ``RESNET18``, ``RESNET50`` or ``RESNET101``.
        shape: (channels, height, width) of one input.
        classes: Number of classes.
        width: Factor of all channels.
        official: Whether to build the official code's form.

    Example:
        >>> sum(p.numel() for p in preact_resnet(RESNET18, (3, 32, 32), 10, official=True).parameters())
        11171146
    """
    channels, _, _ = arguments.image_shape(shape)
    stem = arguments.scaled(64, width)
    widths = [layout.expansion * stem * 2**k for k in range(4)]
    last = [] if arguments.flag("official", official) else [nn.BatchNorm2d(widths[-1]), nn.ReLU()]
    groups = [
        group(layout.unit, before, out, stride, units)
        for (before, out), stride, units in zip(pairwise((stem, *widths)), (1, 2, 2, 2), layout.units, strict=True)
    ]
    groups[0] = nn.Sequential(conv3x3(channels, stem), groups[0])
    network = Staged([*groups, nn.Sequential(*last, *classifier(widths[-1], classes))], manifold_places=(0, 1, 2))
    if not official:
        initialize(network, "fan_out")
    return network

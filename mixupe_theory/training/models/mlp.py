"""The multilayer perceptron: our proxy for the deck's network on tabular data, which is unknown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from mixupe_theory.training.models import arguments
from mixupe_theory.training.models.staged import Staged


def mlp(shape: Sequence[int], classes: int, *, hidden: Sequence[int] = (128, 128)) -> Staged:
    """A ReLU network of linear layers on the flattened input, with PyTorch's default initialization.

    Each layer is a stage. Manifold mixup mixes the input or one of the first two hidden layers, as in the official
    code's MLP (oneHuster/MixupE, models/lenet_im.py).

    Args:
        shape: Shape of one input, any number of axes.
        classes: Number of classes.
        hidden: Widths of the hidden layers; () makes it linear.

    Example:
        >>> sum(p.numel() for p in mlp((4,), 3, hidden=(8,)).parameters())  # 4 * 8 + 8 + 8 * 3 + 3
        67
    """
    inputs = math.prod(arguments.sizes("shape", shape, "the shape of one input"))
    widths = (inputs, *arguments.sizes("hidden", hidden, "a sequence of widths"))
    layers = [nn.Sequential(nn.Linear(a, b), nn.ReLU()) for a, b in pairwise(widths)]
    first, *others = [*layers, nn.Linear(widths[-1], classes)]
    stages = [nn.Sequential(nn.Flatten(), first), *others]
    return Staged(stages, manifold_places=tuple(range(len(stages)))[:3])

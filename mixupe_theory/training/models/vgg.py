"""VGG-11 and VGG-13 with BatchNorm, as mixup's speech experiments have them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from mixupe_theory.training.models import arguments
from mixupe_theory.training.models.staged import Staged

VGG11 = ((64,), (128,), (256, 256), (512, 512), (512, 512))
VGG13 = ((64, 64), (128, 128), (256, 256), (512, 512), (512, 512))


def vgg(blocks: Sequence[Sequence[int]], shape: Sequence[int], classes: int, *, width: float = 1.0) -> Staged:
    """Blocks of 3 x 3 convolution, BatchNorm and ReLU, each block max-pooled by 2, and two linear layers.

    The form of adiyoss/GCommandsPytorch, model.py: biased convolutions, a linear layer of 512 followed by the last one
    with neither ReLU nor dropout between them, PyTorch's default initialization. A 1 x 161 x 101 spectrogram leaves
    512 x 5 x 3 = 7680 features. Manifold mixup mixes the input or what leaves one of the first two blocks, a choice of
    ours after the official code's other networks.

    Args:
        blocks: Channels of the convolutions of each block: ``VGG11``, ``VGG13``.
        shape: (channels, height, width) of one input, at least 2 to the number of blocks, 32, high and wide.
        classes: Number of classes.
        width: Factor of all channels and of the linear layer of 512.

    Example:
        >>> vgg(VGG11, (1, 161, 101), 30, width=0.25).stages[-1]
        Sequential(
          (0): Flatten(start_dim=1, end_dim=-1)
          (1): Linear(in_features=1920, out_features=128, bias=True)
          (2): Linear(in_features=128, out_features=30, bias=True)
        )
    """
    shrink = 2 ** len(blocks)
    channels, rows, columns = arguments.image_shape(shape, least=shrink)
    stages = []
    for block in blocks:
        layers: list[nn.Module] = []
        for units in block:
            out = arguments.scaled(units, width)
            layers += [nn.Conv2d(channels, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU()]
            channels = out
        stages.append(nn.Sequential(*layers, nn.MaxPool2d(2)))
    features, hidden = channels * (rows // shrink) * (columns // shrink), arguments.scaled(512, width)
    head = nn.Sequential(nn.Flatten(), nn.Linear(features, hidden), nn.Linear(hidden, classes))
    return Staged([*stages, head], manifold_places=(0, 1, 2))

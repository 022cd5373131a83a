"""LeNet as mixup's speech experiments have it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from mixupe_theory.training.models import arguments
from mixupe_theory.training.models.staged import Staged


def lenet(shape: Sequence[int], classes: int, *, width: float = 1.0) -> Staged:
    """Two 5 x 5 convolutions of 20 channels, each max-pooled by 2, a hidden layer of 1000, the last layer.

    Dropout 0.5 after the second convolution (whole channels) and after the hidden layer, PyTorch's default
    initialization: as in adiyoss/GCommandsPytorch, model.py, where a 1 x 161 x 101 spectrogram leaves 16280 features.
    Manifold mixup mixes the input or what leaves one of the convolutions, as in the official code's LeNet.

    Args:
        shape: (channels, height, width) of one input, at least 16 high and wide.
        classes: Number of classes.
        width: Factor of the convolutions' channels and of the hidden layer.

    Example:
        >>> lenet((1, 161, 101), 30).stages[2][1]
        Linear(in_features=16280, out_features=1000, bias=True)
    """
    channels, *sides = arguments.image_shape(shape, least=16)
    maps, hidden = arguments.scaled(20, width), arguments.scaled(1000, width)
    rows, columns = (((side - 4) // 2 - 4) // 2 for side in sides)
    return Staged(
        [
            nn.Sequential(nn.Conv2d(channels, maps, 5), nn.MaxPool2d(2), nn.ReLU()),
            nn.Sequential(nn.Conv2d(maps, maps, 5), nn.Dropout2d(), nn.MaxPool2d(2), nn.ReLU()),
            nn.Sequential(nn.Flatten(), nn.Linear(maps * rows * columns, hidden), nn.ReLU(), nn.Dropout()),
            nn.Linear(hidden, classes),
        ],
        manifold_places=(0, 1, 2),
    )

"""Random changes of training images, on whole batches of raw pixels: what is drawn, and what is done with it.

Numbers are drawn on the host; applying them waits for no device, so that it can be part of a CUDA graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from mixupe_theory import _validation as check

PADDING = 2


class Augmentation(NamedTuple):
    """One kind of change.

    Attributes:
        numbers: How many numbers an image takes.
        draw: From n and a generator, whole numbers for n images, (numbers, n).
        apply: The changed images, (n, c, h, w), from the images and those numbers.
    """

    numbers: int
    draw: Callable[[int, np.random.Generator], np.ndarray]
    apply: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def draw_flips(n: int, generator: np.random.Generator) -> np.ndarray:
    """1 with probability 1/2, else 0, for each of n images, (1, n)."""
    return (generator.random((1, n)) < 0.5).astype(np.int64)


def flip(x: torch.Tensor, mirrored: torch.Tensor) -> torch.Tensor:
    """Images of (n, c, h, w) mirrored left to right where ``mirrored``, (1, n), is not 0."""
    return torch.where(mirrored.reshape(-1, 1, 1, 1) != 0, x.flip(-1), x)


def draw_corners(n: int, generator: np.random.Generator, padding: int = PADDING) -> np.ndarray:
    """Top and left of a window in each of n padded images, evenly distributed, (2, n)."""
    return np.stack([generator.integers(0, 2 * padding + 1, n) for _ in range(2)])


def crop(x: torch.Tensor, corners: torch.Tensor, padding: int = PADDING) -> torch.Tensor:
    """A window of each image's own size, at its corner of the image padded by zeros (raw black)."""
    n, _, height, width = x.shape
    padded = functional.pad(x, (padding,) * 4)
    top, left = corners
    rows = top[:, None] + torch.arange(height, device=x.device)
    columns = left[:, None] + torch.arange(width, device=x.device)
    sample = torch.arange(n, device=x.device)[:, None, None]
    # indexed dimensions come first where a slice stands between them
    return padded[sample, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()


AUGMENTATIONS = {"flip": Augmentation(1, draw_flips, flip), "crop": Augmentation(2, draw_corners, crop)}


def drawn(names: Iterable[str], n: int, generator: np.random.Generator) -> torch.Tensor:
    """The numbers of each named augmentation, in order, for n images: int64, (all numbers for an image, n)."""
    numbers = [AUGMENTATIONS[check.choice("augmentation", name, AUGMENTATIONS)].draw(n, generator) for name in names]
    return torch.from_numpy(np.concatenate([np.empty((0, n), np.int64), *numbers]))


def augmented(x: torch.Tensor, names: Iterable[str], numbers: torch.Tensor) -> torch.Tensor:
    """The images after each named augmentation, in order; (n, c, h, w) of any dtype.

    Args:
        x: The images.
        names: Keys of ``AUGMENTATIONS``.
        numbers: What :func:`drawn` gave for these names, on the images' device.

    Example:
        >>> x = torch.arange(2 * 3 * 4 * 4, dtype=torch.uint8).reshape(2, 3, 4, 4)
        >>> names = ("flip", "crop")
        >>> augmented(x, names, drawn(names, 2, np.random.default_rng(0))).shape
        torch.Size([2, 3, 4, 4])
    """
    for name in names:
        how = AUGMENTATIONS[name]
        x, numbers = how.apply(x, numbers[: how.numbers]), numbers[how.numbers :]
    return x

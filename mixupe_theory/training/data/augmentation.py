"""Random changes of training images, on whole batches of raw pixels."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from mixupe_theory import _validation as check

PADDING = 2


def flip(x: torch.Tensor, generator: np.random.Generator) -> torch.Tensor:
    """Each image of (n, c, h, w) mirrored left to right with probability 1/2."""
    mirrored = torch.from_numpy(generator.random(len(x)) < 0.5).to(x.device)
    return torch.where(mirrored[:, None, None, None], x.flip(-1), x)


def crop(x: torch.Tensor, generator: np.random.Generator, padding: int = PADDING) -> torch.Tensor:
    """A window of each image's own size, at a random place of the image padded by zeros (raw black)."""
    n, _, height, width = x.shape
    padded = functional.pad(x, (padding,) * 4)
    top, left = (torch.from_numpy(generator.integers(0, 2 * padding + 1, n)).to(x.device) for _ in range(2))
    rows = top[:, None] + torch.arange(height, device=x.device)
    columns = left[:, None] + torch.arange(width, device=x.device)
    sample = torch.arange(n, device=x.device)[:, None, None]
    # indexed dimensions come first where a slice stands between them
    return padded[sample, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()


AUGMENTATIONS = {"flip": flip, "crop": crop}


def augmented(x: torch.Tensor, names: tuple[str, ...], generator: np.random.Generator) -> torch.Tensor:
    """The images after each named augmentation, in order; (n, c, h, w) of any dtype.

    Example:
        >>> x = torch.arange(2 * 3 * 4 * 4, dtype=torch.uint8).reshape(2, 3, 4, 4)
        >>> augmented(x, ("flip", "crop"), np.random.default_rng(0)).shape
        torch.Size([2, 3, 4, 4])
    """
    for name in names:
        x = AUGMENTATIONS[check.choice("augmentation", name, AUGMENTATIONS)](x, generator)
    return x

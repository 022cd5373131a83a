"""Novel deformations of test images, as the deck's robustness table has them (slide "Robustness").

Each output pixel takes the value of the nearest input pixel, or 0 where there is none: with p = (row, column), a pivot
c and a matrix A, out[p] = x[floor(A (p - c) + c + 1/2)], in float64, so that ties are defined. They come after
normalization, so that 0 is the mean colour.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import torch

from mixupe_theory import _validation as check

PIVOTS = {"official": 0.5, "centre": -0.5}
"""What is added to half of the height and width: the official code turns images of 32 x 32 pixels about (16.5, 16.5),
their centre is (15.5, 15.5)."""


def rotations(degrees: np.ndarray) -> np.ndarray:
    """[[cos t, -sin t], [sin t, cos t]] of angles in degrees, (n,) -> (n, 2, 2)."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)


def shears(degrees: np.ndarray) -> np.ndarray:
    """[[1, -sin s], [0, cos s]] of angles in degrees, (n,) -> (n, 2, 2)."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.stack([np.stack([np.ones_like(sin), -sin], -1), np.stack([np.zeros_like(cos), cos], -1)], -2)


def zooms(factors: np.ndarray) -> np.ndarray:
    """[[z, 0], [0, z]] of factors, (n,) -> (n, 2, 2)."""
    return np.asarray(factors, dtype=float)[:, None, None] * np.eye(2)


class Deformation(NamedTuple):
    """A row of the deck's table.

    Attributes:
        matrices: From a number for each image to its matrix, which maps places in the result to places in the image.
        low: Numbers are drawn evenly from [low, high].
        high: See ``low``.
    """

    matrices: Callable[[np.ndarray], np.ndarray]
    low: float
    high: float

    def draw(self, n: int, generator: np.random.Generator) -> np.ndarray:
        """Matrices for n images, (n, 2, 2)."""
        return self.matrices(generator.uniform(self.low, self.high, n))


_SHEAR = tuple(np.degrees((0.5, 1.0)).tolist())  # 28.6 and 57.3 degrees, as the deck rounds them

DEFORMATIONS: Mapping[str, Deformation] = MappingProxyType(
    {
        "Rotation U(-20, 20)": Deformation(rotations, -20.0, 20.0),
        "Rotation U(-40, 40)": Deformation(rotations, -40.0, 40.0),
        "Shearing U(-28.6, 28.6)": Deformation(shears, -_SHEAR[0], _SHEAR[0]),
        "Shearing U(-57.3, 57.3)": Deformation(shears, -_SHEAR[1], _SHEAR[1]),
        "Zoom In (60% rescale)": Deformation(zooms, 0.6, 0.6),
        "Zoom In (80% rescale)": Deformation(zooms, 0.8, 0.8),
        "Zoom Out (120% rescale)": Deformation(zooms, 1.2, 1.2),
        "Zoom Out (140% rescale)": Deformation(zooms, 1.4, 1.4),
    }
)
"""By the deck's rows, in its order."""


def deform(x: torch.Tensor, matrices: np.ndarray, pivot: str = "official") -> torch.Tensor:
    """Deformed images (slide "Robustness", as the official code does it).

    Args:
        x: Normalized images, (n, c, h, w), of any dtype.
        matrices: One for each, (n, 2, 2), from places in the result to places in the image, (row, column).
        pivot: A key of ``PIVOTS``.

    Raises:
        TypeError: If matrices are no numbers.
        ValueError: If shapes do not fit or there is no such pivot.

    Example:
        >>> x = torch.arange(16.0).reshape(1, 1, 4, 4)
        >>> deform(x, rotations(np.array([90.0])), "centre")[0, 0].int()
        tensor([[12,  8,  4,  0],
                [13,  9,  5,  1],
                [14, 10,  6,  2],
                [15, 11,  7,  3]], dtype=torch.int32)
    """
    matrices = check.real_array("matrices", matrices)
    shift = PIVOTS[check.choice("pivot", pivot, PIVOTS)]
    if x.ndim != 4 or matrices.shape != (len(x), 2, 2):
        raise ValueError(
            f"x must be (n, c, h, w) and matrices (n, 2, 2), got {tuple(x.shape)} and {tuple(matrices.shape)}"
        )
    n, channels, height, width = x.shape
    about = torch.tensor([height / 2 + shift, width / 2 + shift], dtype=torch.float64, device=x.device)
    places = torch.cartesian_prod(torch.arange(height, device=x.device), torch.arange(width, device=x.device))
    turned = (places - about) @ torch.from_numpy(matrices).to(x.device).mT + about
    row, column = (turned + 0.5).floor().long().unbind(-1)  # (n, h w)
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    source = torch.where(inside, row * width + column, 0)
    taken = x.flatten(2).gather(2, source[:, None].expand(n, channels, -1))
    return torch.where(inside[:, None], taken, 0).view_as(x)

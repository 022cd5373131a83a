"""Drawing of the novel deformations on a made-up image (slide "Robustness – Generalize to Novel Deformations")."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.figure import Figure

from mixupe_theory.figures.base import FigureSpec
from mixupe_theory.plotting import new_figure

_SIZE = 32


def deformations_data() -> dict[str, np.ndarray]:
    """An image as it is, and deformed in each way at the far end of its law.

    Returns:
        ``rows``: names, of which the first is "none"; ``images``: (rows, 32, 32), 0 where there is no image.
    """
    from mixupe_theory.training.deformations import DEFORMATIONS, deform

    image = torch.from_numpy(_letter())[None, None]
    images = [deform(image, how.matrices(np.array([how.high])))[0, 0].numpy() for how in DEFORMATIONS.values()]
    return {"rows": np.array(["none", *DEFORMATIONS]), "images": np.stack([image[0, 0].numpy(), *images])}


def _letter() -> np.ndarray:
    """A chequered ground of 0.4 and 0.6 with an F of 1 on it, which no symmetry maps to itself."""
    row, column = np.indices((_SIZE, _SIZE)) // 4
    image = np.where((row + column) % 2, 0.4, 0.6)
    image[8:24, 11:14] = image[8:11, 11:22] = image[15:18, 11:19] = 1.0
    return image


def draw_deformations(data: dict[str, np.ndarray]) -> Figure:
    """Draw :func:`deformations_data`."""
    figure, axes = new_figure("page", 3.4, nrows=2, ncols=5)
    for axis, name, image in zip(axes.flat, data["rows"], data["images"], strict=False):
        axis.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axis.plot(_SIZE / 2 + 0.5, _SIZE / 2 + 0.5, "+", color="#D55E00", ms=5)
        axis.set_title(name.replace(" U", "\nU").replace(" (", "\n("))
        axis.axis("off")
    for axis in axes.flat[len(data["rows"]) :]:
        axis.axis("off")
    return figure


FIGURES = (
    FigureSpec(
        "training_deformations",
        "The deck's novel deformations of a made-up image, at the far ends of their laws, about the official pivot.",
        deformations_data,
        draw_deformations,
    ),
)

"""What a figure is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure


@dataclass(frozen=True)
class FigureSpec:
    """A figure: what it shows, and how.

    Attributes:
        name: "topic_name", the stem of its files.
        caption: One sentence.
        arrays: Computes everything that is drawn.
        draw: Draws it.
        rtol: Relative tolerance within which recomputed arrays are the same.
        atol: Absolute tolerance.
    """

    name: str
    caption: str
    arrays: Callable[[], dict[str, np.ndarray]]
    draw: Callable[[dict[str, np.ndarray]], Figure]
    rtol: float = 1e-6
    atol: float = 1e-12

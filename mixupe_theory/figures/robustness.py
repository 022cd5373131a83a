"""Drawing of the robustness table trained again: differences of accuracy on deformed images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from mixupe_theory.figures.base import FigureSpec
from mixupe_theory.figures.replication import draw_intervals, interval_data

if TYPE_CHECKING:
    from mixupe_theory.training.replication import Replication  # which needs the extra "train"

LOST = " †"
"""Marks rows in which the deck's own MixupE has not the highest accuracy."""


def robustness_data(found: Replication) -> dict[str, np.ndarray]:
    """:func:`mixupe_theory.figures.replication.interval_data` of accuracies, rows that the deck loses marked."""
    data = interval_data(found)
    lost = (data["deck"] < 0).any(axis=1)
    return data | {
        "rows": np.array([f"{row}{LOST}" if of else row for row, of in zip(data["rows"], lost, strict=True)])
    }


def draw_robustness(data: dict[str, np.ndarray]) -> Figure:
    """Draw :func:`robustness_data`; right of the line MixupE's accuracy is the higher one."""
    figure = draw_intervals(data)
    for axis in figure.axes:
        axis.set(xlabel="accuracy, points\nright: MixupE better")
    return figure


def _robustness() -> dict[str, np.ndarray]:
    from mixupe_theory.training.robustness import robustness
    from mixupe_theory.training.studies import STUDIES, recorded

    return robustness_data(robustness(recorded(STUDIES["images-small"]), "cifar10", "preact_resnet18"))


FIGURES = (
    FigureSpec(
        "training_robustness",
        "MixupE's accuracy on deformed images of CIFAR-10 minus mixup's and manifold mixup's, with 95 % intervals.",
        _robustness,
        draw_robustness,
    ),
)

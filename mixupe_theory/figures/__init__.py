"""The figures: one module per topic, each figure an arrays function and a draw function."""

from __future__ import annotations

from mixupe_theory.figures import (
    bench,
    calibration,
    deformations,
    implicit_bias,
    implicit_bias_ends,
    learning_curves,
    losses,
    mixup_loss,
    objective,
    replication,
    robustness,
    selections,
    tables,
    theorem1,
    theorem1_radius,
    theorem2,
    theorem2_bounds,
    training,
)
from mixupe_theory.figures.base import FigureSpec
from mixupe_theory.plotting import SavedFigure, save_figure

_MODULES = (
    mixup_loss,
    theorem1,
    theorem1_radius,
    objective,
    implicit_bias,
    implicit_bias_ends,
    theorem2,
    theorem2_bounds,
    tables,
    bench,
    training,
    replication,
    selections,
    learning_curves,
    losses,
    calibration,
    deformations,
    robustness,
)
FIGURES: dict[str, FigureSpec] = {spec.name: spec for module in _MODULES for spec in module.FIGURES}

__all__ = ["FIGURES", "FigureSpec", "regenerate"]


def regenerate(name: str, *, redraw: bool = False) -> SavedFigure:
    """Compute a figure's arrays and rewrite its files if they, or the drawing, changed.

    Args:
        name: A key of ``FIGURES``.
        redraw: Rewrite in any case.

    Raises:
        ValueError: If there is no such figure; the message lists those there are.
    """
    if name not in FIGURES:
        raise ValueError(f"name must be one of {', '.join(FIGURES)}, got {name!r}")
    spec = FIGURES[name]
    return save_figure(name, spec.arrays(), spec.draw, rtol=spec.rtol, atol=spec.atol, redraw=redraw)

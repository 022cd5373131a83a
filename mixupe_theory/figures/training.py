"""Figures of training, from the committed records of runs."""

from __future__ import annotations

import numpy as np

from mixupe_theory import paths
from mixupe_theory.figures.base import FigureSpec
from mixupe_theory.plotting import new_figure

CURVES = {"objective": "training loss, as minimized", "test_loss": "test loss"}


def _precision() -> dict[str, np.ndarray]:
    from mixupe_theory.training import records  # which needs the extra "train"
    from mixupe_theory.training.curves import compare

    found = records.read(paths.FIGURE_DATA / "runs" / "precision.jsonl")
    ways = [[entry for entry in found if entry["run"]["precision"] == name] for name in ("float32", "bfloat16")]
    data = {}
    for name in CURVES:
        comparison = compare(*ways, name=name)
        for part in ("first", "second", "difference", "half_width", "spread", "p"):
            data[f"{name}_{part}"] = getattr(comparison, part)
    return data


def _draw_precision(data):
    figure, axes = new_figure("page", 3.9, nrows=2, ncols=2, sharex=True, height_ratios=(2, 1))
    for column, (name, label) in enumerate(CURVES.items()):
        epochs = 1 + np.arange(data[f"{name}_first"].shape[1])
        for way, color, style, title in (
            ("first", "#0072B2", "-", "float32, plain"),
            ("second", "#D55E00", "--", "bfloat16, fast"),
        ):
            lines = axes[0, column].plot(epochs, data[f"{name}_{way}"].T, color=color, ls=style, lw=0.8)
            lines[0].set_label(title)
        axis = axes[1, column]
        spread = data[f"{name}_spread"]
        axis.fill_between(epochs, -spread, spread, color="0.85", lw=0, label="one standard deviation over seeds")
        how = {"fmt": "o", "ms": 3, "lw": 1, "color": "k", "label": "difference, 95 % interval"}
        axis.errorbar(epochs, data[f"{name}_difference"], data[f"{name}_half_width"], **how)
        axes[0, column].set(title=label)
        axis.set(xlabel="epoch")
    axes[0, 0].set(ylabel="loss")
    axes[1, 0].set(ylabel="bfloat16 $-$ float32")
    handles, labels = (a + b for a, b in zip(*(axis.get_legend_handles_labels() for axis in axes[:, 0]), strict=True))
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


FIGURES = (
    FigureSpec(
        "training_precision",
        "Loss curves of five seeds, plain in float32 and fast in bfloat16, and their paired differences.",
        _precision,
        _draw_precision,
    ),
)

"""Drawing of test errors by epoch, one panel for each row of a table trained again."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from mixupe_theory.figures.base import FigureSpec
from mixupe_theory.plotting import new_figure

if TYPE_CHECKING:
    from mixupe_theory.training.replication import Cell, Replication  # which needs the extra "train"

COLORS = {"ERM": "#000000", "mixup": "#56B4E9", "MixupE deck": "#D55E00"}
_COLUMNS = 3


def curves_data(found: Replication, records: Iterable[dict], quantity: str = "test_error") -> dict[str, np.ndarray]:
    """What was measured after each epoch, by the final runs behind a table; errors in percent.

    Args:
        found: The table.
        records: Of its runs.
        quantity: Its name in the records.

    Returns:
        ``rows``, ``titles``: names; ``mean``, over seeds or folds, (rows, titles, epochs), NaN after a row's last
        epoch.
    """
    lines = {entry["id"]: entry for entry in records}
    rows = [row for row, cells in found.ours.items() if cells]
    titles = list(COLORS)
    curves = [[_curve(found.ours[row][title], lines, quantity) for title in titles] for row in rows]
    longest = max(len(curve) for of_row in curves for curve in of_row)
    mean = np.full((len(rows), len(titles), longest), np.nan)
    for r, of_row in enumerate(curves):
        for k, curve in enumerate(of_row):
            mean[r, k, : len(curve)] = curve
    return {"rows": np.array(rows), "titles": np.array(titles), "mean": mean}


def _curve(cell: Cell, lines: dict[str, dict], quantity: str) -> np.ndarray:
    """Mean over runs, (epochs,); a cell's inner runs, if any, come after the final ones."""
    finals = [lines[id]["epochs"] for id in cell.ids[: cell.n]]
    unit = 100 if quantity.endswith("error") else 1
    return unit * np.mean([[epoch[quantity] for epoch in epochs] for epochs in finals], axis=0)


def draw_curves(data: dict[str, np.ndarray]) -> Figure:
    """Draw :func:`curves_data`."""
    count = len(data["rows"])
    lines = -(-count // _COLUMNS)
    figure, axes = new_figure("page", 0.6 + 1.2 * lines, nrows=lines, ncols=min(count, _COLUMNS), squeeze=False)
    for axis, row, mean in zip(axes.flat, data["rows"], data["mean"], strict=False):
        epochs = 1 + np.arange(np.isfinite(mean[0]).sum())
        for (title, color), curve in zip(COLORS.items(), mean, strict=True):
            axis.plot(epochs, curve[: len(epochs)], "-", color=color, lw=0.7, label=title)
        axis.set(title=row)
        axis.xaxis.get_major_locator().set_params(integer=True)
    for axis in axes.flat[count:]:
        axis.axis("off")
    for axis in axes[-1]:
        axis.set(xlabel="epoch")
    for axis in axes[:, 0]:
        axis.set(ylabel="test error, %")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(COLORS))
    return figure


def _study(name: str) -> dict[str, np.ndarray]:
    from mixupe_theory.training.studies import STUDIES, recorded, replication

    entries = recorded(STUDIES[name])
    return curves_data(replication(STUDIES[name], entries), entries)


FIGURES = tuple(
    FigureSpec(
        f"training_{name}_curves",
        f"Test errors on {what} by epoch, means over {over}.",
        partial(_study, name),
        draw_curves,
    )
    for name, what, over in (("graphs", "graphs (Table 6)", "ten folds"), ("speech", "speech (Table 5)", "five seeds"))
)

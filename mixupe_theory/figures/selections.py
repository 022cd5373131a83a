"""Drawing of what the choice of the epoch does to a table's errors, beside the deck's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from mixupe_theory.figures.base import FigureSpec
from mixupe_theory.plotting import new_figure

if TYPE_CHECKING:
    from mixupe_theory.training.replication import Replication  # which needs the extra "train"

_LOOK = {"nested": ("o", "#0072B2", "full"), "optimistic": ("s", "#D55E00", "none")}
_WORDS = {"nested": "nested: on the training part", "optimistic": "optimistic: on the test parts"}


def selection_data(found: Mapping[str, Replication]) -> dict[str, np.ndarray]:
    """Mean errors of a table in percent under several selections of the epoch.

    Args:
        found: selection -> the table under it.

    Returns:
        ``selections``, ``rows``, ``titles``: names; ``mean`` and ``half``, the mean and half of its 95 % interval,
        (selections, rows, titles); ``deck``: the deck's means, (rows, titles).
    """
    first = next(iter(found.values()))
    rows = [row for row, cells in first.ours.items() if cells]
    cells = [[[table.ours[row][title] for title in first.ranked] for row in rows] for table in found.values()]
    columns = dict(zip(first.ranked, first.table.methods, strict=True))
    return {
        "selections": np.array(list(found)),
        "rows": np.array(rows),
        "titles": np.array(first.ranked),
        "mean": np.array([[[cell.mean for cell in row] for row in table] for table in cells]),
        "half": np.array([[[cell.spread for cell in row] for row in table] for table in cells]),
        "deck": np.array([[first.deck[row][columns[title]].mean for title in first.ranked] for row in rows]),
    }


def draw_selections(data: dict[str, np.ndarray]) -> Figure:
    """Draw :func:`selection_data` as differences to the deck's: one panel for each method."""
    rows = len(data["rows"])
    figure, axes = new_figure("page", 1.2 + 0.28 * rows, ncols=len(data["titles"]), sharex=True, sharey=True)
    for k, (axis, title) in enumerate(zip(axes, data["titles"], strict=True)):
        for row in range(1, rows, 2):
            axis.axhspan(row - 0.5, row + 0.5, color="0.95", lw=0, zorder=0)
        for selection, mean, half, gap in zip(data["selections"], data["mean"], data["half"], (-0.2, 0.2), strict=True):
            marker, color, fill = _LOOK[str(selection)]
            axis.errorbar(
                mean[:, k] - data["deck"][:, k], np.arange(rows) + gap, xerr=half[:, k], label=_WORDS[str(selection)],
                fmt=marker, color=color, fillstyle=fill, ms=4, lw=1.2,
            )  # fmt: skip
        axis.axvline(0, color="0.3", lw=0.8, ls="-")
        axis.set(title=title, xlabel="our error − the deck's, points")
        axis.tick_params(axis="y", length=0)
    axes[0].set_ylim(rows - 0.5, -0.5)
    axes[0].set_yticks(range(rows), data["rows"])
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def _graphs() -> dict[str, Replication]:
    from mixupe_theory.training.studies import STUDIES, recorded, replication

    study = STUDIES["graphs"]
    entries = recorded(study)
    return {selection: replication(study, entries, selection) for selection in study.selections}


FIGURES = (
    FigureSpec(
        "training_graphs_selection",
        "Our errors on graphs (Table 6) minus the deck's, by how the epoch is chosen, with 95 % intervals.",
        lambda: selection_data(_graphs()),
        draw_selections,
    ),
)

"""Drawings of the deck's tables trained again: differences with intervals, and average ranks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from mixupe_theory.figures.base import FigureSpec
from mixupe_theory.plotting import new_figure

if TYPE_CHECKING:
    from mixupe_theory.training.replication import Replication  # which needs the extra "train"


_SHORT = {"mixup + clean forward": "control"}  # so that it fits above a panel


def interval_data(replication: Replication) -> dict[str, np.ndarray]:
    """Differences of MixupE's variants to the baselines, in percentage points.

    Returns:
        ``rows``, ``baselines``, ``titles``: names; ``at``: middle, low and high end of each 95 % interval, NaN where
        there is none, (3, rows, baselines, titles); ``sure``: whether it is significant after Holm, (rows, baselines,
        titles); ``deck``: the differences of the deck's means, (rows, baselines).
    """
    found = {(c.row, c.baseline, c.title): c for c in replication.comparisons}
    rows, baselines, titles = (list(dict.fromkeys(key[part] for key in found)) for part in range(3))
    titles.sort(key=replication.titles.index)
    shape = (len(rows), len(baselines), len(titles))
    at, sure, deck = np.full((3, *shape), np.nan), np.zeros(shape, dtype=bool), np.full(shape[:2], np.nan)
    for (row, baseline, title), c in found.items():
        place = (rows.index(row), baselines.index(baseline), titles.index(title))
        at[:, *place] = c.test.difference, c.test.low, c.test.high
        sure[place], deck[place[:2]] = c.significant, c.deck
    names = {"rows": np.array(rows), "baselines": np.array(baselines), "titles": np.array(titles)}
    return names | {"at": at, "sure": sure, "deck": deck}


def draw_intervals(data: dict[str, np.ndarray]) -> Figure:
    """Draw :func:`interval_data`: one panel for each baseline. Left of the line MixupE's error is the lower one."""
    rows, titles, printed = len(data["rows"]), data["titles"], np.isfinite(data["deck"]).any()
    height = 1.5 + 0.1 * rows * max(2, len(titles))
    figure, axes = new_figure("page", height, ncols=len(data["baselines"]), sharex=True, sharey=True)
    markers, colors = "os^v", ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
    gaps = min(0.3, 0.8 / len(titles)) * (np.arange(len(titles)) - (len(titles) - 1) / 2)
    for k, (axis, baseline) in enumerate(zip(axes, data["baselines"], strict=True)):
        for row in range(rows):
            if row % 2:
                axis.axhspan(row - 0.5, row + 0.5, color="0.95", lw=0, zorder=0)
            for j, gap in enumerate(gaps):
                middle, low, high = data["at"][:, row, k, j]
                axis.plot([low, high], [row + gap] * 2, "-", color=colors[j], lw=1.2)
                face = colors[j] if data["sure"][row, k, j] else "white"
                axis.plot(middle, row + gap, markers[j], color=colors[j], mfc=face, ms=4)
        axis.plot(data["deck"][:, k], range(rows), "D", color="k", mfc="none", ms=4.5, mew=0.9, ls="")
        axis.axvline(0, color="0.3", lw=0.8, ls="-")
        axis.set(title=f"MixupE − {_SHORT.get(baseline, baseline)}", xlabel="test error, points\nleft: MixupE better")
        axis.set_xscale("symlog", linthresh=1)  # linear up to 1: differences of 0.1 and intervals of 10 in one table
        axis.tick_params(axis="y", length=0)
    reach = 1.3 * np.nanmax(np.abs([1.2, *data["at"].flat, *data["deck"].flat]))
    sizes = (1, 3, 10, 30) if len(axes) > 2 else (0.5, 1, 3, 10, 30)  # three panels have no room for the 0.5
    ticks = [sign * size for sign in (-1, 1) for size in sizes if size < reach]
    axes[0].set(xlim=(-reach, reach), ylim=(rows - 0.5, -0.5))
    axes[0].set_yticks(range(rows), data["rows"])
    axes[0].set_xticks([0, *ticks], ["0", *(f"{tick:g}".replace("-", "−") for tick in ticks)])
    axes[0].minorticks_off()
    handles = [
        axes[0].plot([], [], marker=markers[j], ls="-", lw=1.2, ms=4, color=colors[j])[0] for j in range(len(titles))
    ]
    handles += [axes[0].plot([], [], "o", ls="", color="0.4", mfc=face, ms=4)[0] for face in ("0.4", "white")]
    labels = [*titles, "significant after Holm", "not significant"]
    if printed:
        handles += axes[0].plot([], [], "D", color="k", mfc="none", ms=4.5, mew=0.9, ls="")
        labels.append("deck's difference")
    columns = len(labels) if len(labels) < 6 else 4
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, handlelength=1.5, columnspacing=1.2)
    return figure


def ranks_data(replication: Replication) -> dict[str, np.ndarray]:
    """Average ranks of ERM, mixup and MixupE's variants, best first.

    Returns:
        ``titles``: names; ``average``: their average ranks over the table's rows, ascending; ``rows``: number of rows;
        ``p``: Friedman's; ``critical_difference``: Nemenyi's.

    Raises:
        ValueError: If fewer than two rows have all methods, or there are fewer than three methods.
    """
    found = replication.ranks()
    order = np.argsort(found.average, kind="stable")
    return {
        "titles": np.array(found.titles)[order],
        "average": found.average[order],
        "rows": np.array(found.rows),
        "p": np.array(found.p),
        "critical_difference": np.array(found.critical_difference),
    }


def indistinguishable(average: np.ndarray, critical_difference: float) -> list[tuple[int, int]]:
    """Ends of each largest group of methods that Nemenyi's test does not distinguish: places among ascending ranks.

    Example:
        >>> indistinguishable(np.array([1.0, 1.5, 2.2, 3.4]), 1.0)
        [(0, 1), (1, 2)]
    """
    groups: list[tuple[int, int]] = []
    for first, rank in enumerate(average):
        last = int(np.flatnonzero(average - rank < critical_difference)[-1])
        if last > first and (not groups or last > groups[-1][1]):
            groups.append((first, last))
    return groups


def draw_ranks(data: dict[str, np.ndarray]) -> Figure:
    """Draw :func:`ranks_data` as Demšar's (2006) diagram; bars join methods that cannot be distinguished."""
    average, width = data["average"], float(data["critical_difference"])
    count = len(average)
    groups = indistinguishable(average, width)
    left = (count + 1) // 2  # labelled on the left: the better half
    labels_from = 0.35 + 0.22 * len(groups)
    depth = labels_from + 0.5 * (max(left, count - left) - 1) + 0.3
    figure, axis = new_figure("column", 0.75 + 0.45 * (depth + 1))
    axis.set(xlim=(1 - 0.55 * (count - 1), count + 0.55 * (count - 1)), ylim=(depth, -1.35))
    axis.axis("off")
    axis.plot([1, count], [0, 0], "-", color="k", lw=1)
    for tick in range(1, count + 1):
        axis.plot([tick, tick], [0, -0.12], "-", color="k", lw=1)
        axis.text(tick, -0.2, str(tick), ha="center", va="bottom")
    axis.plot([1, 1 + width], [-0.95, -0.95], "|-", color="#D55E00", lw=1.2, ms=6)
    axis.text(1 + width + 0.08, -0.95, f"critical difference {width:.2f}", color="#D55E00", va="center", fontsize=8)
    for k, (title, rank) in enumerate(zip(data["titles"], average, strict=True)):
        on_left = k < left
        height = labels_from + 0.5 * (k if on_left else count - 1 - k)
        edge = 0.92 if on_left else count + 0.08
        axis.plot([rank, rank, edge], [0, height, height], "-", color="0.35", lw=0.8)
        name = title.replace(" official_", " ")  # so that it fits a column
        label = f"{name}  {rank:.2f}" if on_left else f"{rank:.2f}  {name}"
        axis.text(edge + (-0.05 if on_left else 0.05), height, label, ha="right" if on_left else "left", va="center")
    for level, (first, last) in enumerate(groups):
        place = 0.2 + 0.22 * level
        axis.plot([average[first] - 0.04, average[last] + 0.04], [place] * 2, "-", color="k", lw=3)
    axis.set_title(f"average rank over {data['rows']} rows; Friedman p = {data['p']:.2g}")
    return figure


def _replication(name: str) -> Replication:
    from mixupe_theory.training.studies import STUDIES, recorded, replication

    return replication(STUDIES[name], recorded(STUDIES[name]))


def _intervals(name: str, what: str) -> FigureSpec:
    return FigureSpec(
        f"training_{name.replace('-', '_')}",
        f"MixupE's test error minus the other methods' on {what}, trained again, with 95 % intervals.",
        lambda: interval_data(_replication(name)),
        draw_intervals,
    )


def _ranks(name: str, what: str) -> FigureSpec:
    return FigureSpec(
        f"training_{name}_ranks",
        f"Average ranks of the methods on {what}, trained again, and Nemenyi's critical difference.",
        lambda: ranks_data(_replication(name)),
        draw_ranks,
    )


_TABLES = {
    "tabular": "tabular data (Table 4)",
    "graphs": "graphs (Table 6)",
    "speech": "speech (Table 5)",
    "images-small": "a part of CIFAR, small networks",
}
_RANKED = ("tabular", "graphs")  # three rows are too few to rank by

FIGURES = (
    *(_intervals(name, what) for name, what in _TABLES.items()),
    *(_ranks(name, _TABLES[name]) for name in _RANKED),
)

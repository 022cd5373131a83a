"""Drawing of reliability diagrams and of expected calibration errors, from the records of runs on images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from mixupe_theory.figures.base import FigureSpec
from mixupe_theory.plotting import new_figure

if TYPE_CHECKING:
    from mixupe_theory.training.replication import Row  # which needs the extra "train"

_MEASURES = {"ece": "expected calibration error", "overconfidence": "confidence − accuracy"}


def reliability_data(records: Iterable[dict], data: str, model: str) -> dict[str, np.ndarray]:
    """Accuracy by confidence, the predictions of all seeds together.

    Args:
        records: With examinations; those of other data and networks are left out.
        data: Name of the data set.
        model: Of the network.

    Returns:
        ``titles``: names; ``confidence``, ``accuracy``: means in each bin, NaN where it is empty, ``share`` of the
        predictions, each (titles, bins).
    """
    from mixupe_theory.training.calibration import Calibration
    from mixupe_theory.training.replication import COLUMNS
    from mixupe_theory.training.runs import Run

    parts: dict[str, list[Calibration]] = {}
    for entry in records:
        run = Run.from_dict(entry["run"])
        if (run.data, run.model) == (data, model):
            parts.setdefault(run.title, []).append(Calibration.recorded(entry))
    titles = [title for title in COLUMNS if title in parts]
    found = [Calibration.sum(parts[title]) for title in titles]
    count = np.array([each.count for each in found])
    filled = np.where(count > 0, count, np.nan)
    return {
        "titles": np.array(titles),
        "confidence": np.array([each.confidence for each in found]) / filled,
        "accuracy": np.array([each.correct for each in found]) / filled,
        "share": count / count.sum(1, keepdims=True),
    }


def draw_reliability(data: dict[str, np.ndarray]) -> Figure:
    """Draw :func:`reliability_data`: a panel for each method; on the diagonal confidence is accuracy."""
    count, columns = len(data["titles"]), 4
    lines = -(-count // columns)
    figure, axes = new_figure(
        "page", 0.5 + 1.75 * lines, nrows=lines, ncols=columns, squeeze=False, sharex=True, sharey=True
    )
    bins = data["share"].shape[1]
    edges = np.linspace(0, 1, bins + 1)
    for k, (axis, title) in enumerate(zip(axes.flat, data["titles"], strict=False)):
        axis.bar(edges[:-1], data["share"][k], 1 / bins, align="edge", color="0.85")
        axis.plot([0, 1], [0, 1], "-", color="0.3", lw=0.8)
        axis.plot(data["confidence"][k], data["accuracy"][k], "o-", color="#0072B2", ms=3, lw=1)
        axis.set(title=title, xlim=(0, 1), ylim=(0, 1))
    for axis in axes.flat[count:]:
        axis.axis("off")
    for axis in axes[-1]:
        axis.set(xlabel="confidence")
    for axis in axes[:, 0]:
        axis.set(ylabel="accuracy")
    return figure


def calibration_data(records: Iterable[dict], rows: Mapping[str, Row]) -> dict[str, np.ndarray]:
    """Expected calibration errors and overconfidence in percent, by method.

    Args:
        records: With examinations.
        rows: What was run for each row that is drawn.

    Returns:
        ``rows``, ``titles``: names; ``mean`` over seeds and ``half`` of its 95 % interval, (measures, rows, titles), of
        the expected calibration error and of the mean confidence minus the accuracy.
    """
    from mixupe_theory.training.measures import measure

    records = list(records)
    found = [measure(records, rows, name) for name in _MEASURES]
    titles = [title for title in found[0].titles if all(title in cells for cells in found[0].ours.values())]
    at = [[[(cells[t].mean, cells[t].spread) for t in titles] for cells in of.ours.values()] for of in found]
    names = {"rows": np.array(list(rows)), "titles": np.array(titles)}
    return names | {"mean": np.array(at)[..., 0], "half": np.array(at)[..., 1]}


def draw_calibration(data: dict[str, np.ndarray]) -> Figure:
    """Draw :func:`calibration_data`: a panel for each measure."""
    titles, rows = data["titles"], data["rows"]
    figure, axes = new_figure("page", 1.1 + 0.24 * len(titles), ncols=2, sharey=True)
    gaps = 0.22 * (np.arange(len(rows)) - (len(rows) - 1) / 2)
    for axis, mean, half, words in zip(axes, data["mean"], data["half"], _MEASURES.values(), strict=True):
        for k in range(1, len(titles), 2):
            axis.axhspan(k - 0.5, k + 0.5, color="0.95", lw=0, zorder=0)
        looks = zip("os^v", ("#0072B2", "#D55E00", "#009E73", "#CC79A7"), strict=True)
        for r, (marker, color) in zip(range(len(rows)), looks, strict=False):
            place = np.arange(len(titles)) + gaps[r]
            axis.errorbar(mean[r], place, xerr=half[r], fmt=marker, color=color, ms=4, lw=1.2, label=rows[r])
        axis.axvline(0, color="0.3", lw=0.8, ls="-")
        axis.set(xlabel=f"{words}, %")
        axis.tick_params(axis="y", length=0)
    axes[0].set(ylim=(len(titles) - 0.5, -0.5))
    axes[0].set_yticks(range(len(titles)), titles)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(rows))
    return figure


def _recorded() -> tuple:
    from mixupe_theory.training.studies import STUDIES, recorded

    study = STUDIES["images-small"]
    return recorded(study), study.rows


FIGURES = (
    FigureSpec(
        "training_reliability",
        "Accuracy by confidence of a narrow PreActResNet-18 on CIFAR-10, five seeds together, for each method.",
        lambda: reliability_data(_recorded()[0], "cifar10", "preact_resnet18"),
        draw_reliability,
    ),
    FigureSpec(
        "training_calibration",
        "Expected calibration errors and overconfidence on images, means over five seeds with 95 % intervals.",
        lambda: calibration_data(*_recorded()),
        draw_calibration,
    ),
)

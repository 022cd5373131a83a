"""Figures of notebook 06: the printed tables as intervals, against the number of runs, and as places."""

from __future__ import annotations

import numpy as np

from mixupe_theory.figures.base import FigureSpec
from mixupe_theory.plotting import new_figure
from mixupe_theory.tables import TABLES, cell, compare, fold_sizes, least_fold_spread, significant
from mixupe_theory.tables_data import GRAPH_CLASSES

LEVEL = 0.05
ASSUMED_RUNS = 5  # of the image table
BASELINES = ("ERM", "Mixup")
_LABELS = {"ERM": "MixupE − ERM", "Mixup": "MixupE − mixup"}
_MARKERS = {"ERM": "o", "Mixup": "s"}


def _intervals(table: str, quantity: str = "difference", **options) -> dict[str, np.ndarray]:
    """Middle, ends and significance, (rows, baselines), and the rows' names."""
    found = compare(table, **options)
    names = {"difference": ("difference", "low", "high"), "g": ("g", "g_low", "g_high")}[quantity]
    shape = (len(TABLES[table].rows), len(BASELINES))
    arrays = [np.array([getattr(c, name) for c in found]).reshape(shape) for name in names]
    sure = np.array([c.p_holm <= LEVEL for c in found]).reshape(shape)
    return {"rows": np.array(list(TABLES[table].rows)), "at": np.stack(arrays), "sure": sure}


def _prefixed(prefix: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {f"{prefix}_{key}": value for key, value in arrays.items()}


def _draw_intervals(axis, at, sure, gap: float = 0.18) -> None:
    """Rows from top to bottom; a filled marker is significant. Left of the line MixupE's error is lower."""
    for k, (baseline, color) in enumerate(zip(BASELINES, ("C0", "C1"), strict=True)):
        for row in range(at.shape[1]):
            middle, low, high = at[:, row, k]
            place = row + gap * (2 * k - 1)
            axis.plot([low, high], [place, place], "-", color=color, lw=1.2)
            face = color if sure[row, k] else "white"
            axis.plot(middle, place, _MARKERS[baseline], color=color, mfc=face, ms=4.5)
    axis.axvline(0, color="0.3", lw=0.8, ls="-")
    axis.set_ylim(at.shape[1] - 0.5, -0.5)
    axis.tick_params(axis="y", length=0)


def _legend(figure) -> None:
    """One legend below: colours, and what a hollow marker means."""
    axis = figure.axes[0]
    colours = [_handle(axis, baseline) for baseline in BASELINES]
    faces = [axis.plot([], [], "o", ls="", color="0.4", mfc=face, ms=4.5)[0] for face in ("0.4", "white")]
    labels = [f"{_LABELS[baseline]}, 95 % interval" for baseline in BASELINES]
    labels += ["significant after Holm", "not"]
    figure.legend(colours + faces, labels, loc="outside lower center", ncols=4, handlelength=1.6, columnspacing=1.2)


def _handle(axis, baseline: str):
    color = f"C{BASELINES.index(baseline)}"
    return axis.plot([], [], marker=_MARKERS[baseline], ls="-", lw=1.2, ms=4.5, color=color)[0]


def _images() -> dict[str, np.ndarray]:
    return _prefixed("images", _intervals("images", runs=ASSUMED_RUNS)) | _prefixed("speech", _intervals("speech"))


def _draw_images(data):
    figure, axes = new_figure("page", 2.5, ncols=4)
    networks, sets = zip(*(name.split(", ") for name in data["images_rows"]), strict=True)
    for axis, name in zip(axes, dict.fromkeys(sets), strict=False):
        chosen = [k for k, other in enumerate(sets) if other == name]
        _draw_intervals(axis, data["images_at"][:, chosen], data["images_sure"][chosen])
        axis.set(title=name)
        axis.set_yticks(range(len(chosen)), [])
    axes[0].set_yticks(range(3), [name.replace("PreActResNet", "PreAct\nResNet") for name in dict.fromkeys(networks)])
    _draw_intervals(axes[3], data["speech_at"], data["speech_sure"])
    axes[3].set(title="Speech Commands")
    axes[3].set_yticks(range(3), data["speech_rows"])
    for axis in axes:
        axis.set_xlim(right=0.12 * -axis.get_xlim()[0])
        axis.set_ylim(top=-0.8)
        axis.set_xlabel("difference (points)")
        axis.text(
            0.03, -0.62, "← MixupE better", transform=axis.get_yaxis_transform(), fontsize=8, color="0.3", va="center"
        )
    _legend(figure)
    return figure


def _tabular() -> dict[str, np.ndarray]:
    arrays = _intervals("tabular", "g")
    order = np.argsort(arrays["at"][0, :, BASELINES.index("Mixup")])
    return {"rows": arrays["rows"][order], "at": arrays["at"][:, order], "sure": arrays["sure"][order]}


def _draw_tabular(data):
    figure, axes = new_figure("page", 3.3, ncols=2, sharey=True, sharex=True)
    rows = len(data["rows"])
    for k, (axis, color) in enumerate(zip(axes, ("C0", "C1"), strict=True)):
        for row in range(rows):
            middle, low, high = data["at"][:, row, k]
            axis.plot([low, high], [row, row], "-", color=color, lw=1.2)
            face = color if data["sure"][row, k] else "white"
            axis.plot(middle, row, _MARKERS[BASELINES[k]], color=color, mfc=face, ms=4.5)
        worse = int((data["at"][0, :, k] > 0).sum())
        axis.axvline(0, color="0.3", lw=0.8, ls="-")
        axis.axvspan(0, 4, color="0.94", lw=0, zorder=0)
        axis.set(title=f"{_LABELS[BASELINES[k]]}: lower mean in {rows - worse}, higher in {worse}", xlim=(-4.3, 3.2))
        axis.tick_params(axis="y", length=0)
        for x, side, words in ((-4.2, "left", "← MixupE better"), (3.1, "right", "MixupE worse →")):
            axis.text(x, -0.75, words, ha=side, va="center", fontsize=8, color="0.3")
    axes[0].set_ylim(rows - 0.5, -1.3)
    axes[0].set_yticks(range(rows), data["rows"])
    figure.supxlabel(
        "Hedges' $g$ (difference in standard deviations) with its 95 % interval; hollow: not significant after Holm"
    )
    return figure


def _graphs() -> dict[str, np.ndarray]:
    pairs = [(row, method) for row in GRAPH_CLASSES for method in TABLES["graphs"].methods]
    shape = (len(GRAPH_CLASSES), -1)
    means, spreads = np.array([cell("graphs", *pair) for pair in pairs]).T
    least = [
        min(least_fold_spread(mean, fold_sizes(GRAPH_CLASSES[row], by_class=by_class)) for by_class in (False, True))
        for (row, _), mean in zip(pairs, means, strict=True)
    ]
    folds = np.array([sum(GRAPH_CLASSES[row]) / 10 for row, _ in pairs])
    return _intervals("graphs") | {
        "spread": spreads.reshape(shape),
        "least": np.reshape(least, shape),
        "binomial": np.sqrt(means * (100 - means) / folds).reshape(shape),
    }


_READINGS = {"± as percent": ("x", "k", 4.5), "± as fraction": ("o", "C2", 3), "counting errors": ("|", "0.2", 7)}


def _draw_graphs(data):
    figure, axes = new_figure("page", 3.1, ncols=2, sharey=True)
    _draw_intervals(axes[0], data["at"], data["sure"])
    axes[0].set_yticks(range(len(data["rows"])), data["rows"])
    axes[0].set(title="± as fraction: 95 % intervals hold 0", xlabel="difference (points)", xticks=range(-10, 9, 5))
    axes[0].set_ylim(top=-0.9)
    axes[0].text(-11.5, -0.65, "← MixupE better", fontsize=8, color="0.3", va="center")
    left = 0.007
    for k in range(data["spread"].shape[1]):
        places = np.arange(len(data["rows"])) + 0.25 * (k - 1)
        axes[1].barh(places, data["least"][:, k] - left, 0.25, left=left, color="0.85", lw=0)
        marks = [
            axes[1].plot(values, places, marker, ls="", color=color, ms=size, mew=1.2)[0]
            for values, (marker, color, size) in zip(
                (data["spread"][:, k], 100 * data["spread"][:, k], data["binomial"][:, k]),
                _READINGS.values(),
                strict=True,
            )
        ]
    axes[1].set(
        xscale="log", xlim=(0.007, 20), title="± as percent is impossible", xlabel="spread of ten folds (points)"
    )
    axes[1].set_xticks([0.01, 0.1, 1, 10], ["0.01", "0.1", "1", "10"])
    axes[1].tick_params(axis="y", length=0)
    handles = [_handle(axes[0], baseline) for baseline in BASELINES]
    handles += [axes[1].barh([0], [0], color="0.85", lw=0), *marks]
    labels = [*(_LABELS[baseline] for baseline in BASELINES), "impossible", *_READINGS]
    figure.legend(handles, labels, loc="outside lower center", ncols=6, handlelength=1.3, columnspacing=1)
    return figure


RUNS = np.arange(2, 31)
_SENSITIVITY = {  # label and its place
    "speech": ("speech", 30, 107),
    "images": ("images: number not printed", 27, 85),
    "tabular": ("tabular (Table 4)", 30, 35),
    "graphs": ("graphs (Table 6)", 30, 6),
}


def _runs() -> dict[str, np.ndarray]:
    arrays = {"runs": RUNS}
    for table in _SENSITIVITY:
        found = [significant(table, runs=int(n), level=LEVEL) for n in RUNS]
        arrays[table] = np.array([[c.better / c.of, c.worse / c.of] for c in found]).T
        arrays[f"{table}_printed"] = np.array(TABLES[table].runs or np.nan)
    return arrays


def _draw_runs(data):
    figure, axis = new_figure("column", 2.6)
    for k, (table, (label, x, y)) in enumerate(_SENSITIVITY.items()):
        share = 100 * data[table][0]
        axis.plot(data["runs"], share, color=f"C{k}")
        axis.text(x, y, label, color=f"C{k}", ha="right", va="center", fontsize=8)
        printed = data["runs"] == data[f"{table}_printed"]
        axis.plot(data["runs"][printed], share[printed], "o", color=f"C{k}", ms=6)
    axis.set(xlabel="assumed runs behind each ±", ylabel="significantly better (%)", ylim=(-4, 112), xlim=(1, 30.5))
    axis.set_xticks([2, 5, 10, 20, 30])
    axis.set_title("dots: the printed number of runs")
    return figure


_SHOWN = {"MixupE": ("D", "C2"), "Manifold Mixup": ("o", "C3"), "Mixup": ("s", "C1")}


def _robustness() -> dict[str, np.ndarray]:
    rows = list(TABLES["robustness"].rows)
    accuracy = np.array([[cell("robustness", row, method)[0] for method in _SHOWN] for row in rows])
    lead = accuracy[:, 0] - accuracy[:, 1:].max(1)
    order = np.argsort(-lead)
    return {"rows": np.array(rows)[order], "accuracy": accuracy[order], "lead": lead[order]}


def _draw_robustness(data):
    figure, axis = new_figure("page", 2.7)
    places = np.arange(len(data["rows"]))
    axis.hlines(places, data["accuracy"].min(1), data["accuracy"].max(1), color="0.8", lw=1.2)
    for k, (method, (marker, color)) in reversed(list(enumerate(_SHOWN.items()))):
        face = color if method == "MixupE" else "white"
        axis.plot(data["accuracy"][:, k], places, marker, color=color, mfc=face, ms=6, label=method.replace(" M", " m"))
    for place, lead in zip(places, data["lead"], strict=True):
        axis.text(
            74,
            place,
            f"{lead:+.1f}".replace("-", "−"),
            ha="right",
            va="center",
            color="C2" if lead > 0 else "C1",
            weight="bold",
        )
    axis.set(
        xlim=(8, 75),
        xlabel="test accuracy on deformed CIFAR-100 (%)",
        title="MixupE's lead over the better of the others at the right; no ± is printed",
    )
    axis.set_yticks(places, data["rows"])
    axis.invert_yaxis()
    axis.tick_params(axis="y", length=0)
    axis.legend(loc="lower left", bbox_to_anchor=(0.02, 0.02))
    return figure


FIGURES = (
    FigureSpec(
        "tables_images",
        "Images (five runs assumed) and speech: MixupE's error minus each baseline's, with 95 % intervals.",
        _images,
        _draw_images,
    ),
    FigureSpec(
        "tables_tabular",
        "Table 4: effect sizes over 15 data sets with their intervals; none of the 30 differences is significant.",
        _tabular,
        _draw_tabular,
    ),
    FigureSpec(
        "tables_graphs",
        "Table 6: differences with ± as fractions; and why ± cannot be percents: no ten folds are so alike.",
        _graphs,
        _draw_graphs,
    ),
    FigureSpec(
        "tables_runs",
        "The share of comparisons that are significantly better, against the assumed number of runs.",
        _runs,
        _draw_runs,
    ),
    FigureSpec(
        "tables_robustness",
        "Accuracy on deformed images: MixupE leads in five of eight deformations and is last under zoom out.",
        _robustness,
        _draw_robustness,
    ),
)

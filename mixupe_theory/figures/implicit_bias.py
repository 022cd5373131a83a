"""Figures of notebook 04: the toy example, the twins of the deck's two figures, the phase map."""

from __future__ import annotations

import numpy as np

from mixupe_theory.asymptotics import separable_limit
from mixupe_theory.claims.implicit_bias_measurements import (
    DRAWS,
    flow,
    minimizer,
    predicted_exit,
    soudry,
)
from mixupe_theory.figures.base import FigureSpec
from mixupe_theory.implicit_bias import (
    descend,
    max_margin,
)
from mixupe_theory.plotting import new_figure

RUNS = {
    "erm": ("erm", None),
    "full_01": ("full", 0.1),
    "full_1": ("full", 1.0),
    "label_absorbed": ("label_absorbed", 1.0),
}
NAMES = {
    "erm": "ERM",
    "full_01": r"mixup, $\alpha=0.1$",
    "full_1": r"mixup, $\alpha=1$",
    "label_absorbed": r"labels absorbed, $\alpha=1$",
}
STYLES = {"erm": "-", "full_01": "--", "full_1": "-.", "label_absorbed": ":"}
QUANTITIES = ("norm", "normalized_norm", "loss", "angle_gap", "margin_gap")
LABELS = {"norm": r"$\|w(t)\|$", "loss": "training loss", "angle_gap": "angle gap (rad)", "margin_gap": "margin gap"}


# --- Soudry's figure --------------------------------------------------------------------------------------------


def quantiles(values) -> np.ndarray:
    """5 %, median and 95 % over draws, (3, T)."""
    return np.quantile(values, (0.05, 0.5, 0.95), axis=0)


def _soudry() -> dict[str, np.ndarray]:
    (x, y), draws = soudry(0), range(DRAWS)
    runs = {
        "erm": [flow(soudry, seed) for seed in draws],
        "mixup": [flow(soudry, seed, "full", 1.0) for seed in draws],
        "momentum": [descend(*soudry(seed), steps=10**5, method="momentum") for seed in draws],
    }
    arrays = {"x": x, "y": y, "max_margin": max_margin(x, y), "mixup_w": minimizer(soudry, 0, 1.0).w}
    for name, of_draws in runs.items():
        arrays[f"{name}_t"] = of_draws[0].step[1:].astype(float)
        for key in LABELS:
            arrays[f"{name}_{key}"] = quantiles([getattr(run, key)[1:] for run in of_draws])
    t = arrays["erm_t"]
    missed = [
        np.linalg.norm(run.w[1:] - separable_limit(*soudry(seed))(t), axis=1) for seed, run in enumerate(runs["erm"])
    ]
    return arrays | {"missed": quantiles(missed)}


def separator(axis, w, reach, **style):
    """Draw {x: w^T x = 0} within ``reach`` of the origin."""
    along = np.array([-w[1], w[0]]) / np.linalg.norm(w)
    axis.plot(*np.outer(along, [-reach, reach]), **style)


def _draw_soudry(data):
    figure, axes = new_figure("page", 4.4, nrows=2, ncols=3)
    axes = axes.ravel()
    for label, marker in ((1, "o"), (0, "x")):
        axes[0].plot(*data["x"][data["y"] == label].T, marker, color="0.3", ms=4)
    separator(axes[0], data["max_margin"], 4, label="max margin", ls="-")
    separator(axes[0], data["mixup_w"], 4, label="mixup", ls="--")
    axes[0].set(title="(a) data and separators", aspect="equal", xlim=(-5, 5), ylim=(-3.5, 6.5))
    axes[0].legend(loc="upper left", ncols=2, handlelength=1.4, columnspacing=1)
    names = {"erm": "ERM, flow", "mixup": r"mixup, $\alpha=1$", "momentum": "ERM, momentum"}
    for axis, key, letter in zip(axes[1:5], LABELS, "bcde", strict=True):
        for (name, label), line in zip(names.items(), ("-", "--", ":"), strict=True):
            band(axis, data[f"{name}_t"], data[f"{name}_{key}"], line, label)
        axis.set(
            title=f"({letter}) {LABELS[key]}", xlabel="$t$", xscale="log", yscale="linear" if key == "norm" else "log"
        )
    axes[1].set_ylim(top=34)
    axes[1].legend(loc="upper left")
    t = data["erm_t"]
    band(axes[5], t, data["missed"], "-", r"$|w(t)-\hat w\log t-\tilde w|$")
    axes[5].plot(t, data["missed"][1, -1] * (t / t[-1]) ** -0.2, "k:", label="$t^{-1/5}$")
    axes[5].set(xscale="log", yscale="log")
    axes[5].set(title="(f) ERM's distance to its limit", xlabel="$t$")
    axes[5].set_ylim(bottom=1e-5)
    axes[5].legend(loc="lower left")
    return figure


# --- the deck's two figures -------------------------------------------------------------------------------------


def band(axis, t, quantiles, line: str, label: str):
    """Draw the median of (3, T) quantiles as a line, the outer two as a band."""
    low, middle, high = quantiles
    (curve,) = axis.plot(t, middle, line, label=label)
    axis.fill_between(t, low, high, color=curve.get_color(), alpha=0.15, lw=0)


def _spread(key: str) -> dict[str, np.ndarray]:
    """Median and 5 to 95 % range over 30 draws of a quantity along the flow, one array (3, T) for each run."""
    arrays = {"t": flow(soudry, 0).step[1:]}
    for name, run in RUNS.items():
        values = [getattr(flow(soudry, seed, *run), key)[1:] for seed in range(DRAWS)]
        arrays[f"{name}_{key}"] = quantiles(values)
    return arrays


def _draw_spread(axis, data, key: str):
    for name in RUNS:
        band(axis, data["t"], data[f"{name}_{key}"], STYLES[name], NAMES[name])
    axis.set(xscale="log", xlabel="$t$")


def _training() -> dict[str, np.ndarray]:
    return _spread("normalized_norm") | _spread("norm") | _spread("loss")


def _draw_training(data):
    figure, axes = new_figure("page", 2.5, ncols=3)
    titles = {
        "normalized_norm": r"normalized $\|w(t)\|$ (last = 1)",
        "norm": r"$\|w(t)\|$",
        "loss": "training loss",
    }
    for axis, (key, title) in zip(axes, titles.items(), strict=True):
        _draw_spread(axis, data, key)
        axis.set_title(title)
    axes[2].set_yscale("log")
    axes[1].set_ylim(top=37)
    axes[1].legend(loc="upper left")
    return figure


def _gaps() -> dict[str, np.ndarray]:
    return _spread("angle_gap") | _spread("margin_gap")


def _draw_gaps(data):
    figure, axes = new_figure("page", 2.5, ncols=2)
    for axis, key in zip(axes, ("angle_gap", "margin_gap"), strict=True):
        _draw_spread(axis, data, key)
        axis.set(title=LABELS[key], yscale="log")
    axes[0].legend()
    return figure


# --- the phase map ----------------------------------------------------------------------------------------------

MAP_ALPHAS = np.geomspace(1e-6, 10, 12)
MAP_READINGS = {
    "full": "mixup (the deck's)",
    "hard_label": "hard labels",
    "same_class": "within a class",
    "label_absorbed": "labels absorbed",
}
MAP_DRAWS = 3


def _phase() -> dict[str, np.ndarray]:
    """Medians over draws of ||w(t)|| / ERM's and the margin gap, (alphas, T) each; the predicted window's end."""
    erm = [flow(soudry, seed) for seed in range(MAP_DRAWS)]
    arrays = {"t": erm[0].step[1:], "alpha": MAP_ALPHAS}
    for reading in MAP_READINGS:
        runs = [[flow(soudry, seed, reading, alpha) for seed in range(MAP_DRAWS)] for alpha in MAP_ALPHAS]
        shares = [[run.norm[1:] / of_erm.norm[1:] for run, of_erm in zip(row, erm, strict=True)] for row in runs]
        gaps = [[run.margin_gap[1:] for run in row] for row in runs]
        arrays[f"{reading}_norm"], arrays[f"{reading}_gap"] = np.median(shares, axis=1), np.median(gaps, axis=1)
    arrays["window"] = np.array([predicted_exit(*soudry(0), alpha) for alpha in MAP_ALPHAS])
    return arrays


def _draw_phase(data):
    figure, axes = new_figure("page", 3.6, nrows=2, ncols=len(MAP_READINGS), sharex=True, sharey=True)
    for column, (reading, name) in enumerate(MAP_READINGS.items()):
        norm, gap = data[f"{reading}_norm"], np.log10(data[f"{reading}_gap"])
        scales = ({"vmin": 0, "vmax": 1, "cmap": "cividis"}, {"vmin": -4, "vmax": -1, "cmap": "cividis_r"})
        meshes = [
            axis.pcolormesh(data["t"], data["alpha"], values, rasterized=True, **scale)
            for axis, values, scale in zip(axes[:, column], (norm, gap), scales, strict=True)
        ]
        axes[0, column].set(xscale="log", yscale="log", title=name)
        axes[1, column].set(xlabel="$t$", xticks=[1, 1e5, 1e10, 1e15])
    inside = data["window"] > 3
    for row, label in enumerate((r"$\|w(t)\|$ / ERM's", r"$\log_{10}$ margin gap")):
        axes[row, 0].plot(data["window"][inside], data["alpha"][inside], "w--", lw=1)
        axes[row, 0].set_ylabel(r"$\alpha$")
        figure.colorbar(meshes[row], ax=axes[row], label=label, pad=0.01)
    return figure


FIGURES = (
    FigureSpec(
        "implicit_bias_soudry",
        "The toy example: data of one draw; norm, loss, gaps, ERM's distance to its limit on 30 (median, 5-95 %).",
        _soudry,
        _draw_soudry,
        rtol=1e-4,
        atol=1e-9,
    ),
    FigureSpec(
        "implicit_bias_training",
        "Twin of the deck's first toy figure: normalized w(t), norm and training loss, 30 draws (median, 5 to 95 %).",
        _training,
        _draw_training,
        rtol=1e-4,
        atol=1e-9,
    ),
    FigureSpec(
        "implicit_bias_gaps",
        "Twin of the deck's second toy figure: angle gap and margin gap, 30 draws (median, 5 to 95 %).",
        _gaps,
        _draw_gaps,
        rtol=1e-3,
        atol=1e-7,
    ),
    FigureSpec(
        "implicit_bias_phase",
        "Where the norm follows ERM's and the margin gap shrinks: reading, alpha and t, median of 3 draws; "
        "dashed, the window's predicted end.",
        _phase,
        _draw_phase,
        rtol=1e-3,
        atol=1e-7,
    ),
)

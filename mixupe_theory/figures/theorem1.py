"""Figures of notebook 02: the remainder's order, the share of each order, divergence."""

from __future__ import annotations

import numpy as np

from mixupe_theory.claims.measurements import (
    FRACTIONS,
    RELU_A,
    SHARE_CASES,
    misses,
    radii,
    relu_misses,
    series_errors,
    shares,
)
from mixupe_theory.figures.base import FigureSpec
from mixupe_theory.mixing import BetaLaw
from mixupe_theory.networks import balanced, digits, load
from mixupe_theory.plotting import new_figure
from mixupe_theory.theorem1 import expand

NETWORK = "digits-tanh-erm"
ROUNDING = 1e-13  # below it a difference of losses is rounding


def _remainder() -> dict[str, np.ndarray]:
    smooth = misses(NETWORK, 12, 6, [fraction * radii(NETWORK, 12) for fraction in FRACTIONS])
    return {
        "fraction": FRACTIONS,
        "tanh": np.where(smooth > ROUNDING, smooth, np.nan),
        "a": RELU_A,
        "relu": relu_misses("digits-relu-mixup-1"),
    }


def _draw_remainder(data):
    figure, axes = new_figure("page", 2.9, ncols=2)
    panels = ((axes[0], data["fraction"], data["tanh"]), (axes[1], data["a"], data["relu"]))
    for axis, t, values in panels:
        for k in range(1, values.shape[1] + 1):
            axis.loglog(t, values[:, k - 1], marker=".", label=f"$K={k}$")
        axis.set_xticks(t, [f"1/{round(1 / value)}" for value in t])
        axis.minorticks_off()
    for k in range(1, 7):  # what slope K + 1 looks like, and the curve's name at its left end
        column = data["tanh"][:, k - 1]
        window = data["fraction"][1:4]
        axes[0].loglog(window, 1.6 * column[1] * (window / window[0]) ** (k + 1), "k:", lw=0.8)
        last = np.flatnonzero(np.isfinite(column))[-1]
        place = {"xytext": (-4, 0), "textcoords": "offset points", "ha": "right", "va": "center"}
        axes[0].annotate(f"$K={k}$", (data["fraction"][last], column[last]), **place)
    axes[0].set_xlim(left=data["fraction"][-1] / 1.9)
    axes[0].set(title="tanh: slopes $K+1$ (dotted)", xlabel="$a$ / radius of convergence", ylabel="mean |remainder|")
    axes[1].loglog(data["a"], 0.5 * data["relu"][0, 1] * (data["a"] / data["a"][0]) ** 2, "k:", lw=0.8)
    axes[1].set(title="ReLU: slope 2 for every $K$ (dotted)", xlabel="$a$")
    axes[1].legend()
    return figure


def _shares() -> dict[str, np.ndarray]:
    return {
        "case": np.array([f"{name}, α={alpha:g}" for name, alpha in SHARE_CASES]),
        "share": np.array([shares(name, alpha) for name, alpha in SHARE_CASES]),
    }


def _draw_shares(data):
    def text(share):
        if abs(share) < 0.995:
            return f"{100 * share:.2g} %"
        return f"{share:.2g} R" if abs(share) < 99 else f"{share:.0f} R"

    figure, axis = new_figure("page", 3.4)
    shade = np.sign(data["share"]) * np.log10(1 + np.abs(data["share"]))
    axis.imshow(shade, cmap="RdBu_r", vmin=-4, vmax=4, aspect="auto")
    for (row, column), share in np.ndenumerate(data["share"]):
        axis.text(column, row, text(share).replace("-", "\N{MINUS SIGN}"), ha="center", va="center")
    names = [
        str(case).replace("-tanh-", ", ").replace("erm", "ERM").replace("mixup-", "mixup ") for case in data["case"]
    ]
    axis.set_xticks(range(data["share"].shape[1]), [f"order {k}" for k in range(1, data["share"].shape[1] + 1)])
    axis.set_yticks(range(len(names)), names)
    axis.set_title(
        r"share of each order in $R=L_n^{\mathrm{mix}}-L_n^{\mathrm{std}}$ (in multiples of $R$ beyond 100 %)"
    )
    return figure


def _divergence() -> dict[str, np.ndarray]:
    order = 24
    fractions = np.array([0.5, 0.7, 1.0, 1.4])
    x, y = balanced(*digits(), 30)
    expansion = expand(load(NETWORK), x, y, BetaLaw(1.0), 8, rtol=1e-6)
    total = (expansion.mixup - expansion.standard).item()
    return {
        "fraction": fractions,
        "error": np.stack([series_errors(NETWORK, 12, order, fraction) for fraction in fractions]),
        "collected": np.abs(np.cumsum(expansion.collected.numpy()) - total) / abs(total),
        "nested": np.abs(expansion.nested.numpy() - total) / abs(total),
    }


def _draw_divergence(data):
    figure, axes = new_figure("page", 2.7, ncols=2)
    orders = np.arange(1, data["error"].shape[1] + 1)
    for fraction, error in zip(data["fraction"], data["error"], strict=True):
        axes[0].semilogy(orders, error, label=f"$a={fraction:g}\\,$radius")
    axes[0].set(title="one $a$ for each pair", xlabel="order $K$", ylabel="median |error of the series|")
    for key in ("collected", "nested"):
        axes[1].semilogy(range(1, 9), data[key], marker=".", label=key)
    axes[1].axhline(1, color="0.5", lw=0.8, ls="-")
    axes[1].set(title=r"$a\sim D_\lambda$, $\alpha=1$", xlabel="order $K$", ylabel="|error| / $R$", xticks=range(1, 9))
    axes[0].legend()
    axes[1].legend()
    return figure


FIGURES = (
    FigureSpec(
        "theorem1_remainder",
        "What order K misses along real pairs of digits: slope K + 1 for tanh, 2 for ReLU whatever K.",
        _remainder,
        _draw_remainder,
        rtol=0.02,
    ),
    FigureSpec(
        "theorem1_shares",
        "Share of each order in R on trained networks; a share beyond 100 % is cancelled by others.",
        _shares,
        _draw_shares,
        rtol=1e-2,
        atol=1e-4,
    ),
    FigureSpec(
        "theorem1_divergence",
        "Inside the radius more orders help, outside they hurt; under the law of training they hurt.",
        _divergence,
        _draw_divergence,
        rtol=0.1,  # a radius that differs by 0.3 % is 7 % in its 24th power
        atol=1e-12,
    ),
)

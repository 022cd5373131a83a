"""Figures of notebook 05: the bounds that hold: how often, how tightly, and when they say something."""

from __future__ import annotations

import numpy as np

from mixupe_theory.claims.theorem2 import probability_of_failure
from mixupe_theory.claims.theorem2_corrected import SIZES, faster
from mixupe_theory.claims.theorem2_measurements import (
    CONSTANTS,
    DELTA,
    DRAWS,
    LAW,
    POPULATIONS,
    REAL,
    THETA,
    in_unit_ball,
    minimizer_in_ball,
    two_points,
)
from mixupe_theory.figures.base import FigureSpec
from mixupe_theory.generalization import mixed_second_moment, second_moment_bound
from mixupe_theory.plotting import new_figure
from mixupe_theory.theorem2 import (
    Corrected,
    DataDependent,
    Printed,
    corrected_bound,
    corrected_gap,
    coverage,
    data_dependent_bound,
    data_dependent_gap,
)

KINDS = {"corrected": Corrected, "dependent": DataDependent, "planted": faster(Corrected)}
RADII = np.geomspace(0.1, 3, 13)
SIZES_TO_COME = np.geomspace(100, 1e5, 61)


# --- coverage ---------------------------------------------------------------------------------------------------


def _coverage() -> dict[str, np.ndarray]:
    arrays = {}
    for kind, bound in KINDS.items():
        for k, (population, ns) in enumerate(POPULATIONS.values()):
            if kind == "planted" and k > 0:
                continue
            found = [
                coverage(bound(LAW, **SIZES), population(), n, DRAWS, DELTA, np.random.default_rng([n, 0])) for n in ns
            ]
            arrays[f"{kind}_{k}"] = np.array([[n, *one.most_used, one.share] for n, one in zip(ns, found, strict=True)])
    two, ns = two_points(), 2 * np.geomspace(10, 4e6, 41).astype(int)
    for bound_B in CONSTANTS:
        printed = Printed(LAW, [[THETA]], two.eta, two.gamma, 1.0, bound_B)
        arrays[f"fails_{bound_B}"] = np.array([probability_of_failure(printed, two, int(n)) for n in ns])
    return arrays | {"n": ns.astype(float)}


def _draw_coverage(data):
    figure, axes = new_figure("page", 3.1, ncols=3)
    for b in CONSTANTS:
        axes[0].semilogx(data["n"], 100 * data[f"fails_{b}"], label=f"$B={b}$")
    axes[0].axhline(100 * DELTA, color="0.2", lw=0.8)
    axes[0].set(xlabel="$n$", ylabel="samples for which it fails (%)", title="as printed,\non two points")
    axes[0].set_xlim(0.2, 1e7)
    axes[0].legend(loc="center left", handlelength=1.5, borderaxespad=0)
    for axis, kind, title in ((axes[1], "corrected", "corrected:"), (axes[2], "dependent", "data-dependent:")):
        shares = []
        for k, (name, line) in enumerate(zip(POPULATIONS, ("o-", "s--", "^-.", "D:"), strict=True)):
            n, low, high, share = data[f"{kind}_{k}"].T
            (drawn,) = axis.semilogx(n, low, line, ms=4, label=name)
            axis.vlines(n, low, high, color=drawn.get_color(), lw=0.8)
            shares.extend(100 * share)
        n, low, _, _ = data["planted_0"].T
        axis.semilogx(n, low, "x-", color="0.5", lw=0.8, label="coin, $1/n$ for $1/\\sqrt{n}$: fails")
        axis.axhline(1, color="0.2", lw=0.8)
        axis.set(xlim=(1.5, 2e5), ylim=(0, 1.15), xlabel="$n$", ylabel="largest part of the gap used")
        axis.set_title(f"{title}\nheld for {min(shares):.4g} % of samples")
    figure.legend(*axes[1].get_legend_handles_labels(), loc="outside lower right", ncols=5, columnspacing=1)
    return figure


# --- real data --------------------------------------------------------------------------------------------------


def _bounds() -> dict[str, np.ndarray]:
    """Totals against s; and against n as if L_n^mix and the inputs' moments stayed as they are, at the best s."""
    arrays = {"s": RADII, "n": SIZES_TO_COME}
    for key, name in enumerate(REAL):
        x, y = in_unit_ball(name)
        square, mean = float((x**2).sum(1).mean()), float((x.mean(0) ** 2).sum())
        rows, later = [], {"corrected": [], "dependent": []}
        for s in RADII:
            sizes = {"theta_bound": float(s), "input_bound": 1.0, "failure_prob": DELTA}
            theta = minimizer_in_ball(name, float(s))
            first, second = (bound(theta, x, y, LAW, **sizes) for bound in (corrected_bound, data_dependent_bound))
            rows.append([first.mixup, first.total, second.total])
            for n in SIZES_TO_COME.astype(int):
                estimate = mixed_second_moment(n, square, mean, LAW)
                moment = second_moment_bound(n, estimate, input_bound=1.0, failure_prob=DELTA)
                later["corrected"].append(first.mixup + sum(corrected_gap(int(n), **sizes)))
                later["dependent"].append(first.mixup + sum(data_dependent_gap(int(n), moment, LAW, **sizes)))
        arrays[f"totals_{key}"] = np.array(rows)
        for kind, values in later.items():
            arrays[f"{kind}_{key}"] = np.reshape(values, (len(RADII), -1)).min(0)
        arrays[f"size_{key}"] = np.array(len(x))
    return arrays


def _draw_bounds(data):
    figure, axes = new_figure("page", 2.7, ncols=3, sharey=True)
    for key, name in enumerate(REAL):
        mixup, corrected, dependent = data[f"totals_{key}"].T
        axes[key].semilogx(data["s"], corrected, "C0-", label="corrected")
        axes[key].semilogx(data["s"], dependent, "C1--", label="data-dependent")
        axes[key].semilogx(data["s"], mixup, "C2:", label="$L_n^{mix}$")
        axes[key].set(xlabel=r"$s\geq\|\theta\|$", title=f"{name} ($n={data[f'size_{key}']}$)")
        shown = {"markevery": 10, "ms": 4, "mfc": "w", "marker": ("", "o")[key]}
        axes[2].semilogx(data["n"], data[f"corrected_{key}"], "C0-", **shown)
        axes[2].semilogx(data["n"], data[f"dependent_{key}"], "C1--", **shown)
        axes[2].plot([], [], color="0.3", label=name, **shown)
    for axis in axes:
        axis.axhline(np.log(2), color="0.2", lw=0.8, label=r"$\log2$, $\theta=0$" if axis is axes[0] else None)
    axes[0].set(ylim=(0.3, 1.1), ylabel="nats")
    axes[0].legend(loc="upper left")
    axes[2].set(xlabel="$n$", title="best $s$, if the loss stayed")
    axes[2].legend(loc="upper right")
    return figure


FIGURES = (
    FigureSpec(
        "theorem2_coverage",
        "How often the printed bound fails on two points; how much of the bounds that hold 2,000 samples use at most.",
        _coverage,
        _draw_coverage,
        rtol=1e-5,
        atol=1e-6,
    ),
    FigureSpec(
        "theorem2_bounds",
        "Both bounds on real data against the radius of Theta, and, at the best radius, against the number of points.",
        _bounds,
        _draw_bounds,
        rtol=1e-4,
        atol=1e-6,
    ),
)

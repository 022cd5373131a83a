"""Figures of notebook 05: the printed bound, where it fails, and what its parts bound."""

from __future__ import annotations

import numpy as np

from mixupe_theory.claims.theorem2_measurements import CONSTANTS, DELTA, THETA, two_points
from mixupe_theory.coverage import printed_complexity, scaling
from mixupe_theory.figures.base import FigureSpec
from mixupe_theory.plotting import new_figure
from mixupe_theory.rademacher import axes_ratio, rademacher_limit
from mixupe_theory.theorem2 import LOGISTIC, Counterexample, counterexample

ETAS, BS = np.geomspace(1e-3, 10, 41), np.geomspace(0.1, 100, 31)
LEVELS = range(1, 13)  # powers of ten of n
THETAS, ALPHAS = np.linspace(0.1, 6, 60), (0.1, 1.0, 10.0)
DIMENSIONS = (1, 2, 10)


# --- terms ------------------------------------------------------------------------------------------------------


def terms(two: Counterexample, n: np.ndarray) -> dict[str, np.ndarray]:
    """Both sides at the sample that is best for the bound: half its points of each kind, L_n^mix = L*."""
    eta_hat = scaling(two.limit_lhs, two.regularizer, two.eta)
    return {
        "n": n,
        "left": two.limit_lhs - (two.opposite - two.same) / (2 * n),
        "scaled": np.full_like(n, two.limit_rhs),
        "middle": np.array([printed_complexity(k, eta_hat, two.eta, two.gamma, 1.0, LOGISTIC) for k in n]),
        "unit": np.sqrt(np.log(1 / DELTA) / (2 * n)),
    }


def _terms() -> dict[str, np.ndarray]:
    two = two_points()
    starts = np.array([two.fails_from(b, DELTA) for b in CONSTANTS], dtype=float)
    return terms(two, np.geomspace(10, 1e7, 121)) | {"B": np.array(CONSTANTS, dtype=float), "fails_from": starts}


def _draw_terms(data):
    figure, axes = new_figure("page", 2.7, ncols=2)
    n = data["n"]
    axes[0].semilogx(n, data["left"], "-", color="0.2", lw=2, label=r"left side, $\mathbb{E}_S\mathcal{L}$")
    total = data["scaled"] + data["middle"] + data["unit"]
    for values, line, label in (
        (total, "C1-", "right side, $B=1$, of these:"),
        (data["scaled"], "C0--", r"$\hat\eta L_n^{mix}$"),
        (data["middle"], "C2-.", r"$2\hat\eta\eta L_A\gamma X/(\sqrt{n}(1+L_A))$"),
        (data["unit"], "C3:", r"$B\sqrt{\log(1/\delta)/(2n)}$"),
    ):
        axes[0].semilogx(n, values, line, label=label)
    axes[0].plot(data["fails_from"][0], data["left"][-1], "o", color="C1", mfc="w", ms=6)
    axes[0].set(xlabel="$n$", ylabel="nats", ylim=(0, 1), title="the terms: one does not suffice")
    axes[0].legend(loc="upper right")
    for k, (b, start) in enumerate(zip(data["B"], data["fails_from"], strict=True)):
        gap = data["scaled"] + data["middle"] + b * data["unit"] - data["left"]
        (line,) = axes[1].semilogx(n, gap)
        axes[1].plot(start, 0, "o", color=line.get_color(), mfc="w", ms=6, zorder=3)
        label = f"$B={b:g}$: {start:,.0f}".replace(",", " ")
        axes[1].text(start, -0.12 - 0.08 * (k % 2), label, color=line.get_color(), ha="center", va="center")
    axes[1].axhspan(-0.4, 0, color="0.92", zorder=0)
    axes[1].text(10**4.2, -0.32, "from these $n$ on it fails, for every sample", ha="center", va="center")
    axes[1].set(xlabel="$n$", ylabel="right side $-$ left side", xlim=(8, 3e7), ylim=(-0.4, 1))
    axes[1].set_title("no constant $B$ helps")
    return figure


# --- failure map ------------------------------------------------------------------------------------------------


def _map() -> dict[str, np.ndarray]:
    found = [two_points(eta) for eta in ETAS]
    grid = [[two.fails_from(b, DELTA) for two in found] for b in BS]
    curves = [[counterexample(alpha, 1.0, theta).fails_from(1.0, DELTA) for theta in THETAS] for alpha in ALPHAS]
    return {
        "eta": ETAS,
        "B": BS,
        "n": np.array(grid, dtype=float),
        "theta": THETAS,
        "alpha": np.array(ALPHAS),
        "curves": np.array(curves, dtype=float),
    }


def _draw_map(data):
    figure, axes = new_figure("page", 2.8, ncols=2, width_ratios=[1.3, 1])
    powers = np.log10(data["n"])
    shades = axes[0].contourf(data["eta"], data["B"], powers, levels=LEVELS)
    axes[0].contour(data["eta"], data["B"], powers, levels=LEVELS, colors="w", linewidths=0.5)
    bar = figure.colorbar(shades, ax=axes[0], ticks=range(1, 13, 2))
    bar.ax.set_yticklabels([f"$10^{{{p}}}$" for p in range(1, 13, 2)])
    axes[0].set(xscale="log", yscale="log", xlabel=r"$\eta$", ylabel="$B$")
    axes[0].set_title(r"the $n$ from which it fails, $e^\theta=3$")
    for alpha, curve in zip(data["alpha"], data["curves"], strict=True):
        axes[1].semilogy(data["theta"], curve, label=rf"$\alpha={alpha:g}$")
    axes[1].axvline(THETA, color="0.5", lw=0.8, ls=":")
    axes[1].set(xlabel=r"$\theta$", ylabel="$n$ from which it fails", title=r"$B=\eta=1$")
    axes[1].legend(loc="upper center")
    return figure


# --- parts ------------------------------------------------------------------------------------------------------


def _parts() -> dict[str, np.ndarray]:
    u = np.linspace(-4, 4, 161)
    arrays = {"u": u, "right": np.abs(LOGISTIC.q_hat(u, 1.0)), "wrong": np.abs(LOGISTIC.q_hat(u, 0.0))}
    for d in DIMENSIONS:
        n = d * np.unique(np.geomspace(1, 200 / d if d > 1 else 200, 24).astype(int))
        arrays |= {f"n_{d}": n.astype(float), f"ratio_{d}": np.array([axes_ratio(int(k), d) for k in n])}
    return arrays | {"limit": np.array([rademacher_limit(d) for d in DIMENSIONS])}


def _draw_parts(data):
    figure, axes = new_figure("page", 2.7, ncols=2)
    u = data["u"]
    needed = 2 * np.abs(u)
    axes[0].fill_between(u, needed, 5, where=needed <= 5, color="0.9", lw=0)
    axes[0].text(0, 3.9, "the step needs\n" r"$|\hat q|\geq2|u|$", ha="center", va="center")
    axes[0].plot(u, data["right"], "C0-", label=r"$|\hat q|$, $y=1$")
    axes[0].plot(u, data["wrong"], "C1--", label=r"$|\hat q|$, $y=0$")
    axes[0].plot(u, np.abs(u) / 2, ":", color="0.3", label=r"$|u|/2$")
    axes[0].set(
        xlabel=r"$u=\theta^\top x$", ylim=(0, 6), title=r"from $|\hat q|\leq\gamma$ to $|u|\leq\gamma/2$: not so"
    )
    axes[0].legend(loc="upper center", ncols=3, columnspacing=1, handlelength=2)
    for d, limit, line in zip(DIMENSIONS, data["limit"], ("C0o-", "C1s-", "C2^-"), strict=True):
        axes[1].semilogx(data[f"n_{d}"], data[f"ratio_{d}"], line, ms=3, lw=0.8, label=f"$d={d}$")
        axes[1].axhline(limit, color=line[:2], lw=0.8, ls=":")
        axes[1].text(230, limit, f"{limit:.3f}", va="center", clip_on=False)
    axes[1].set(
        xlabel="$n$", xlim=(1, 220), ylim=(0.65, 1.02), title=r"$\mathcal{R}\,/\,\sqrt{\xi X/n}$, inputs on $d$ axes"
    )
    axes[1].legend(loc="lower right")
    return figure


FIGURES = (
    FigureSpec(
        "theorem2_terms",
        "Theorem 2 on two points: its terms for B = 1, and what is left of it for four constants, against n.",
        _terms,
        _draw_terms,
    ),
    FigureSpec(
        "theorem2_map",
        "The n from which Theorem 2 fails for every sample: over eta and B, and over theta and alpha.",
        _map,
        _draw_map,
        rtol=1e-3,  # n is a whole number
        atol=1.0,
    ),
    FigureSpec(
        "theorem2_parts",
        "What a bound on q_hat says of theta^T x, and the Rademacher complexity over its bound.",
        _parts,
        _draw_parts,
    ),
)

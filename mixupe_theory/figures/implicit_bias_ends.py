"""Figures of notebook 04: where mixup ends: directions, counterexamples, stochastic steps."""

from __future__ import annotations

import numpy as np

from mixupe_theory.asymptotics import stationary_covariance
from mixupe_theory.claims.implicit_bias_measurements import (
    DIMENSIONS,
    DRAWS,
    THREE_POINTS,
    TWO_POINTS,
    angles,
    general,
    minimizer,
    small_alpha_direction,
    soudry,
)
from mixupe_theory.figures.base import FigureSpec
from mixupe_theory.figures.implicit_bias import band, quantiles, separator
from mixupe_theory.implicit_bias import (
    angle,
    default_learning_rate,
    descend,
    descend_stochastic,
    max_margin,
    mixup_minimizer,
)
from mixupe_theory.mixing import BetaLaw
from mixupe_theory.plotting import new_figure

PATH_ALPHAS = np.geomspace(1e-8, 10, 10)
PATH_DRAWS = 6


def _direction() -> dict[str, np.ndarray]:
    paths, limits = [], []
    for seed in range(PATH_DRAWS):
        x, y = general(seed, 10)
        w_hat = max_margin(x, y)
        paths.append([angle(mixup_minimizer(x, y, BetaLaw(alpha)).w, w_hat) for alpha in PATH_ALPHAS])
        limits.append(angle(small_alpha_direction(x, y), w_hat))
    arrays = {"alpha": PATH_ALPHAS, "path": np.degrees(paths), "limit": np.degrees(limits)}
    for d in DIMENSIONS:
        mixup, erm = angles(lambda seed, d=d: general(seed, d))
        arrays |= {f"mixup_{d}": np.sort(np.degrees(mixup)), f"erm_{d}": np.sort(np.degrees(erm))}
    return arrays


def _draw_direction(data):
    figure, axes = new_figure("page", 2.7, ncols=2)
    for path, limit in zip(data["path"], data["limit"], strict=True):
        (line,) = axes[0].semilogx(data["alpha"], path, "-")
        axes[0].plot(data["alpha"][0] / 4, limit, "<", color=line.get_color(), ms=5, clip_on=False)
    axes[0].set(xlabel=r"$\alpha$", ylabel="angle to the hard margin (°)", ylim=(0, None))
    axes[0].set_title(r"$d=10$, six draws; ◂ predicted for $\alpha\to0$")
    for place, d in enumerate(DIMENSIONS):
        for shift, key, marker in ((-0.15, "mixup", "o"), (0.15, "erm", "x")):
            values = data[f"{key}_{d}"]
            spot = place + shift + np.linspace(-0.1, 0.1, len(values))
            axes[1].plot(spot, values, marker, ms=3, color={"mixup": "C1", "erm": "C0"}[key])
    axes[1].plot([], [], "o", ms=3, color="C1", label=r"mixup, $\alpha=1$, for ever")
    axes[1].plot([], [], "x", ms=3, color="C0", label="ERM, $t=10^{15}$")
    axes[1].set_xticks(range(len(DIMENSIONS)), [f"$d={d}$" for d in DIMENSIONS])
    axes[1].set(title="30 draws of 20 points, sorted", ylim=(-1, 38))
    axes[1].legend(loc="upper left")
    return figure


# --- counterexamples --------------------------------------------------------------------------------------------


def _counterexample() -> dict[str, np.ndarray]:
    arrays = {}
    for name, (x, y) in {"two": TWO_POINTS, "three": THREE_POINTS}.items():
        w = mixup_minimizer(x, y, BetaLaw(1.0)).w
        arrays |= {f"{name}_x": x, f"{name}_y": y, f"{name}_mixup": w, f"{name}_margin": max_margin(x, y)}
    return arrays


def _draw_counterexample(data):
    figure, axes = new_figure("page", 2.7, ncols=2, width_ratios=[1.6, 1])
    limits = {"two": ((-8.5, 3.5), (-3, 4.5)), "three": ((-2.6, 2.6), (-2.6, 2.6))}
    for axis, (name, (across, up)) in zip(axes, limits.items(), strict=True):
        x, y = data[f"{name}_x"], data[f"{name}_y"]
        for label, marker in ((1, "o"), (0, "x")):
            axis.plot(*x[y == label].T, marker, color="0.2", ms=6, label=f"label {label}")
        separator(axis, data[f"{name}_margin"], 12, label="max margin", ls="-", color="C0")
        separator(axis, data[f"{name}_mixup"], 12, label=r"mixup, $\alpha=1$", ls="--", color="C1")
        axis.set(aspect="equal", xlim=across, ylim=up)
    axes[0].set_title("two points: the directions are 80.5° apart")
    axes[1].set_title("three: (1, 1) is misclassified")
    axes[0].legend(loc="upper left", ncols=2)
    return figure


# --- stochastic mixup -------------------------------------------------------------------------------------------


def _stochastic() -> dict[str, np.ndarray]:
    """Norms on 30 draws of the data, and a cloud of w(t) around the minimizer on the first."""
    (x, y), found, law = soudry(0), minimizer(soudry, 0, 1.0), BetaLaw(1.0)
    norms = {"erm": [], "exact": [], "per_step": [], "per_sample": []}
    for seed in range(DRAWS):
        runs = {"erm": descend(*soudry(seed), steps=10**4), "exact": descend(*soudry(seed), law, "full", steps=10**4)}
        for lambdas in ("per_step", "per_sample"):
            rng = np.random.default_rng(seed)
            runs[lambdas] = descend_stochastic(*soudry(seed), law, steps=10**4, generator=rng, lambdas=lambdas)
        for name, run in runs.items():
            norms[name].append(run.norm[1:])
    at, rng = np.arange(2000, 10**5, 200), np.random.default_rng(0)
    cloud = descend_stochastic(x, y, law, steps=10**5, generator=rng, at=at)
    rate = default_learning_rate(x)
    covariance = stationary_covariance(x, y, law, found.w, found.hessian, lambdas="per_step", learning_rate=rate)
    arrays = {name: quantiles(values) for name, values in norms.items()}
    return arrays | {"t": run.step[1:].astype(float), "cloud": cloud.w - found.w, "covariance": covariance}


def _draw_stochastic(data):
    figure, axes = new_figure("page", 2.6, ncols=2, width_ratios=[1.7, 1])
    names = {"erm": "ERM", "exact": "exact mixup", "per_step": "one λ a step", "per_sample": "one λ a sample"}
    for key, line in zip(names, ("-", "-.", ":", "--"), strict=True):
        band(axes[0], data["t"], data[key], line, names[key])
    axes[0].set(xscale="log", xlabel="$t$", ylabel=r"$\|w(t)\|$", title=r"$\alpha=1$, Soudry's data, 30 draws")
    axes[0].legend()
    axes[1].plot(*data["cloud"].T, ".", ms=2, color="0.5")
    turn = np.linspace(0, 2 * np.pi, 200)
    root = np.linalg.cholesky(data["covariance"])
    axes[1].plot(*(root @ np.stack([np.cos(turn), np.sin(turn)]) * np.sqrt(-2 * np.log(0.05))), "C1-")
    axes[1].set(title="$w(t)-w^*$, predicted 95 %", aspect="equal")
    return figure


FIGURES = (
    FigureSpec(
        "implicit_bias_direction",
        "Angle between mixup's minimizer and the hard margin: against alpha with its limit, and over draws.",
        _direction,
        _draw_direction,
        rtol=1e-3,
        atol=1e-5,
    ),
    FigureSpec(
        "implicit_bias_counterexample",
        "Two points whose directions are 80.5 degrees apart, and three of which mixup misclassifies one.",
        _counterexample,
        _draw_counterexample,
    ),
    FigureSpec(
        "implicit_bias_stochastic",
        "Stochastic mixup: norms on 30 draws (median, 5 to 95 %), and w(t) around the minimizer on one, as predicted.",
        _stochastic,
        _draw_stochastic,
        rtol=1e-4,
        atol=1e-7,
    ),
)

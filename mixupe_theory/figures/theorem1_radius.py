"""Figures of notebook 02 on the radius of convergence: its distribution and its map over real pairs."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from matplotlib.colors import LogNorm

from mixupe_theory.figures.base import FigureSpec
from mixupe_theory.networks import DATA, RECIPES, balanced, load
from mixupe_theory.plotting import new_figure
from mixupe_theory.taylor import taylor_coefficients
from mixupe_theory.theorem1 import convergence_radius, path_radius

NETWORKS = ("digits-tanh-erm", "digits-tanh-mixup-1", "moons-tanh-erm", "moons-tanh-mixup-1")
POINTS = 200  # 40,000 ordered pairs of each data set
MAPPED = 8  # of each class of digits
ANCHORS, DIRECTIONS = 8, 240
EXTENT, CENTRE = 2.0, 0.45  # of the piece of the plane that is shown


@cache
def _radii(name: str) -> tuple[np.ndarray, np.ndarray]:
    """(n, n) radii and labels; sorted by label."""
    recipe = RECIPES[name]
    x, y = balanced(*DATA[recipe.data](), POINTS)
    order = torch.argsort(y, stable=True)
    return convergence_radius(load(name), x[order], head=recipe.head).numpy(), y[order].numpy()


def _distribution() -> dict[str, np.ndarray]:
    levels = np.linspace(0, 1, 202)[1:-1]
    off = ~np.eye(POINTS, dtype=bool)
    return {name.replace("-", "_"): np.quantile(_radii(name)[0][off], levels) for name in NETWORKS}


def _draw_distribution(data):
    figure, axes = new_figure("page", 2.5, ncols=2, sharey=True)
    bins = np.geomspace(0.01, 10, 46)
    for axis, dataset in zip(axes, ("digits", "moons"), strict=True):
        for key, label in ((f"{dataset}_tanh_erm", "ERM"), (f"{dataset}_tanh_mixup_1", r"mixup, $\alpha=1$")):
            weight = np.full(data[key].shape, 100 / data[key].size)
            axis.hist(data[key], bins, weights=weight, histtype="stepfilled", alpha=0.45, label=label)
        axis.axvline(1, color="k", lw=1, ls="--")
        axis.set(
            xscale="log",
            title={"digits": "digits", "moons": "two-moons"}[dataset],
            xlabel="radius of convergence in $a$",
        )
        axis.legend(loc="upper left")
    axes[1].text(1.1, 0.97, "$a=1$", transform=axes[1].get_xaxis_transform(), va="top")
    axes[0].set_ylabel("pairs (%)")
    return figure


def _map() -> dict[str, np.ndarray]:
    arrays = {}
    for name in NETWORKS[:2]:
        radius, label = _radii(name)
        keep = np.concatenate([np.flatnonzero(label == c)[:MAPPED] for c in range(10)])
        shown = radius[np.ix_(keep, keep)].astype(np.float32)
        arrays[name.replace("-", "_")] = np.where(np.isfinite(shown), shown, np.nan)  # on the diagonal
    f = load("moons-tanh-erm")
    x, y = balanced(*DATA["moons"](), POINTS)
    angle = torch.linspace(0, 2 * torch.pi, DIRECTIONS + 1, dtype=x.dtype)
    direction = torch.stack([angle.cos(), angle.sin()], 1)
    anchors = x[:: POINTS // ANCHORS]
    coefficients = taylor_coefficients(
        f, anchors.repeat_interleave(len(angle), 0), direction.repeat(len(anchors), 1), order=40
    )
    radius = path_radius(coefficients, "sigmoid").reshape(len(anchors), -1)
    grid = torch.linspace(-EXTENT, EXTENT, 81, dtype=x.dtype)
    plane = torch.cartesian_prod(grid + CENTRE, grid)
    return arrays | {
        "x": x.numpy(),
        "y": y.numpy(),
        "anchors": anchors.numpy(),
        "angle": angle.numpy(),
        "reach": radius.numpy(),
        "grid": grid.numpy(),
        "probability": f(plane).sigmoid().reshape(len(grid), -1).T.numpy(),
    }


def _draw_map(data):
    figure, axes = new_figure("page", 2.5, ncols=3, width_ratios=(1, 1, 1.25))
    scale = LogNorm(0.1, 10)
    for axis, name, title in zip(axes, NETWORKS, ("digits, ERM", r"digits, mixup, $\alpha=1$"), strict=False):
        image = axis.imshow(data[name.replace("-", "_")], cmap="RdBu_r", norm=scale, interpolation="nearest")
        middle = MAPPED * (np.arange(10) + 0.5) - 0.5
        axis.set_xticks(middle, range(10))
        axis.set_yticks(middle, range(10))
        axis.tick_params(length=0)
        axis.set(title=title, xlabel=r"class of $\mathbf{x}'$")
    axes[0].set_ylabel(r"class of $\mathbf{x}_i$")
    bar = figure.colorbar(image, ax=axes[:2], fraction=0.05, pad=0.01, aspect=25, shrink=0.8)
    bar.set_label("radius in $a$")
    bar.set_ticks([0.1, 0.3, 1, 3, 10], labels=["0.1", "0.3", "1", "3", "10"])
    bar.minorticks_off()
    axis = axes[2]
    axis.contour(data["grid"] + CENTRE, data["grid"], data["probability"], [0.5], colors="k", linewidths=1)
    for label, color in ((0, "C0"), (1, "C1")):
        axis.scatter(*data["x"][data["y"] == label].T, s=3, color=color, alpha=0.4, lw=0)
    direction = np.stack([np.cos(data["angle"]), np.sin(data["angle"])])
    for anchor, reach in zip(data["anchors"], data["reach"], strict=True):
        axis.plot(*(anchor[:, None] + reach * direction), lw=0.9, color="C2", ls="-")
        axis.plot(*anchor, "k.", ms=4)
    axis.set(title="two-moons, ERM", xlim=(-1.6, 2.4), ylim=(-1.5, 1.9), xlabel="$x_1$", ylabel="$x_2$", aspect="equal")
    return figure


FIGURES = (
    FigureSpec(
        "theorem1_radius",
        "Radius of convergence along 39,800 real pairs of each network: most series diverge before the other point.",
        _distribution,
        _draw_distribution,
        rtol=0.05,
    ),
    FigureSpec(
        "theorem1_radius_map",
        "Who converges to whom: blue pairs diverge before the other point; right, how far from a point (black dots) "
        "the series converges in every direction, and the decision boundary.",
        _map,
        _draw_map,
        rtol=0.3,  # a single pair's estimate is right to 15 % at worst
        atol=1e-6,
    ),
)

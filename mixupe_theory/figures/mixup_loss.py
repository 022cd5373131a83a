"""Figures of notebook 01: mixing, the decision boundary, the latent space, alpha -> 0."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from mixupe_theory.claims.references import path_losses
from mixupe_theory.figures.base import FigureSpec
from mixupe_theory.losses import mixup_loss, standard_loss
from mixupe_theory.mixing import BetaLaw
from mixupe_theory.networks import balanced, digits, load, moons
from mixupe_theory.plotting import new_figure

SHOWN = (1.0, 0.75, 0.5, 0.25, 0.0)


def _mixing() -> dict[str, np.ndarray]:
    x, y = digits("test")
    first, second = x[y == 4][0], x[y == 9][1]
    lam = torch.linspace(0, 1, 101, dtype=torch.float64)
    path = torch.lerp(second, first, lam[:, None])
    shown = torch.tensor(SHOWN, dtype=torch.float64)
    response = {name: load(f"digits-tanh-{name}")(path).softmax(1)[:, 4].numpy() for name in ("erm", "mixup-1")}
    return {
        "images": torch.lerp(second, first, shown[:, None]).reshape(-1, 8, 8).numpy(),
        "lam": lam.numpy(),
        "erm": response["erm"],
        "mixup": response["mixup-1"],
    }


def _draw_mixing(data):
    figure, axes = new_figure("page", 1.75, ncols=6, width_ratios=[1, 1, 1, 1, 1, 2.6])
    for axis, image, lam in zip(axes, data["images"], SHOWN, strict=False):
        axis.imshow(image, cmap="gray_r", vmin=0, vmax=1)
        axis.set(xticks=[], yticks=[], title=rf"$\lambda={lam:g}$")
        label = {1.0: "“4”", 0.0: "“9”"}.get(lam, f"{lam:g} “4”\n+ {1 - lam:g} “9”")
        axis.set_xlabel(label)
    axis = axes[-1]
    axis.plot(data["lam"], data["lam"], label=r"label $\tilde{y}$", color="0.5", linestyle=":")
    axis.plot(data["lam"], data["erm"], label="ERM")
    axis.plot(data["lam"], data["mixup"], label="mixup")
    axis.set(xlabel=r"$\lambda$", ylabel="p(“4”)", ylim=(-0.03, 1.03), xlim=(0, 1))
    axis.legend(handlelength=1.6, loc="upper left", borderaxespad=0.2)
    return figure


def _boundary() -> dict[str, np.ndarray]:
    x, y = moons()
    grid_x, grid_y = np.linspace(-1.8, 2.8, 139), np.linspace(-1.3, 1.8, 94)
    grid = torch.from_numpy(np.stack(np.meshgrid(grid_x, grid_y), -1))
    probability = {
        name: load(f"moons-tanh-{name}")(grid.flatten(0, 1)).sigmoid().reshape(grid.shape[:2]).numpy()
        for name in ("erm", "mixup-1")
    }
    return {
        "grid_x": grid_x,
        "grid_y": grid_y,
        "erm": probability["erm"],
        "mixup": probability["mixup-1"],
        "points": x.numpy(),
        "labels": y.numpy(),
    }


def _draw_boundary(data):
    figure, axes = new_figure("page", 2.7, ncols=2, sharey=True)
    extent = (*data["grid_x"][[0, -1]], *data["grid_y"][[0, -1]])
    for axis, key, title in zip(axes, ("erm", "mixup"), ("ERM", r"mixup, $\alpha=1$"), strict=True):
        shading = axis.imshow(data[key], cmap="Blues", vmin=0, vmax=1, origin="lower", extent=extent, aspect="auto")
        axis.contour(data["grid_x"], data["grid_y"], data[key], levels=[0.5], colors="k", linewidths=1.2)
        for label, colour, marker in ((0, "#009E73", "o"), (1, "#E69F00", "s")):
            points = data["points"][data["labels"] == label]
            axis.plot(*points.T, marker, color=colour, markersize=3, markeredgecolor="k", markeredgewidth=0.3)
        axis.set(title=title, xlabel="$x_1$")
    axes[0].set_ylabel("$x_2$")
    figure.colorbar(shading, ax=axes, label="p(y = 1 | x)", pad=0.01)
    return figure


def _latent() -> dict[str, np.ndarray]:
    """Last hidden layer of the ERM network on digits, its first two principal components, before and after mixing."""
    x, y = balanced(*digits(), 400)
    features = load("digits-tanh-erm")[:-1](x).numpy()
    centred = features - features.mean(0)
    axes = np.linalg.svd(centred, full_matrices=False)[2][:2]
    axes *= np.sign(axes.sum(1, keepdims=True))  # a singular vector's sign is arbitrary
    rng = np.random.default_rng(0)
    lam, partner = rng.uniform(0.5, 1, (len(x), 1)), rng.permutation(len(x))
    mixed = lam * centred + (1 - lam) * centred[partner]  # lambda >= 1/2: the colour is the label of more weight
    return {"original": centred @ axes.T, "mixed": mixed @ axes.T, "labels": y.numpy()}


def _draw_latent(data):
    figure, axes = new_figure("page", 2.9, ncols=2, sharex=True, sharey=True)
    titles = ("original latent distribution", "mixup by random interpolation")
    for axis, key, title in zip(axes, ("original", "mixed"), titles, strict=True):
        points = axis.scatter(*data[key].T, c=data["labels"], cmap="tab10", vmin=-0.5, vmax=9.5, s=9, linewidths=0)
        axis.set(title=title, xlabel="first component")
    axes[0].set_ylabel("second component")
    figure.colorbar(points, ax=axes, label="digit", ticks=range(10), pad=0.01)
    return figure


def _alpha() -> dict[str, np.ndarray]:
    x, y = balanced(*digits(), 16)
    targets = nn.functional.one_hot(y, 10).double()
    alpha = np.geomspace(0.01, 100, 17)
    nodes, weights = np.polynomial.legendre.leggauss(80)
    data = {"alpha": alpha}
    for name in ("erm", "mixup-1"):
        f = load(f"digits-tanh-{name}")
        with torch.no_grad():
            standard = standard_loss(f, x, y)
            gap = [(mixup_loss(f, x, y, BetaLaw(a), rtol=1e-5) - standard).item() for a in alpha]
            a = torch.from_numpy((1 + nodes) / 2)
            rise = path_losses(f, x, targets, "softmax", a).mean((1, 2)) - standard
        key = name.removesuffix("-1")
        data[key] = np.array(gap)
        data[f"{key}_constant"] = np.array((rise / a).numpy() @ weights / 2)
    return data


def _draw_alpha(data):
    figure, axis = new_figure("column", 2.5)
    for key, label in (("erm", "ERM network"), ("mixup", "mixup network")):
        (line,) = axis.loglog(data["alpha"], data[key], label=label)
        small = data["alpha"] <= 0.5
        axis.loglog(
            data["alpha"][small],
            data["alpha"][small] * data[f"{key}_constant"],
            ":",
            color=line.get_color(),
            label=r"$\alpha C$, closed form",
        )
    axis.set(xlabel=r"$\alpha$", ylabel=r"$L_n^{\mathrm{mix}}-L_n^{\mathrm{std}}$")
    axis.legend()
    return figure


FIGURES = (
    FigureSpec(
        "mixup_loss_mixing",
        "Mixing a 4 and a 9 of scikit-learn's digits: inputs, labels, and what two networks answer on the way.",
        _mixing,
        _draw_mixing,
    ),
    FigureSpec(
        "mixup_loss_boundary",
        "Two-moons: probability and decision boundary after ERM and after mixup, same initialization.",
        _boundary,
        _draw_boundary,
    ),
    FigureSpec(
        "mixup_loss_latent",
        "Digits in the last hidden layer of the ERM network, before and after random interpolation (two components).",
        _latent,
        _draw_latent,
    ),
    FigureSpec(
        "mixup_loss_alpha",
        "The mixup loss exceeds the standard loss by alpha C as alpha goes to 0, with C in closed form.",
        _alpha,
        _draw_alpha,
        rtol=1e-4,
    ),
)

"""Panels for the notebooks' sliders; nothing is saved."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import torch
from IPython.display import Image
from scipy.stats import beta

from mixupe_theory.claims.theorem2_measurements import DELTA
from mixupe_theory.figures.theorem2 import terms
from mixupe_theory.implicit_bias import gradient_flow, soudry_data
from mixupe_theory.losses import pointwise_loss
from mixupe_theory.mixing import BetaLaw
from mixupe_theory.networks import digits, load
from mixupe_theory.plotting import new_figure, style
from mixupe_theory.taylor import taylor_coefficients
from mixupe_theory.theorem1 import loss_coefficients
from mixupe_theory.theorem2 import counterexample


def mixing_panel(alpha: float, lam: float) -> Image:
    """The law of lambda, D_lambda, and a mixed image of a 4 and a 9."""
    x, y = digits("test")
    first, second = x[y == 4][0], x[y == 9][1]
    with style():
        figure, axes = new_figure("page", 2.2, ncols=2, width_ratios=[2.5, 1])
        grid = np.linspace(0.005, 0.995, 200)
        axes[0].plot(grid, beta.pdf(grid, alpha, alpha), label=r"$\mathrm{Beta}(\alpha,\alpha)$")
        axes[0].plot(grid, beta.pdf(grid, alpha + 1, alpha), label=r"$D_\lambda$")
        axes[0].axvline(lam, color="0.5", lw=0.8)
        axes[0].set(xlabel=r"$\lambda$", ylabel="density", ylim=(0, 5))
        axes[0].legend()
        axes[1].imshow(torch.lerp(second, first, lam).reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
        axes[1].set(xticks=[], yticks=[], title=rf"$\lambda={lam:.2f}$")
        return _image(figure)


def series_panel(order: int, alpha: float) -> Image:
    """The loss from one digit to another, its Taylor polynomial, and the density of a under D_lambda."""
    f = load("digits-tanh-mixup-1")
    x, y = digits()
    start, end, target = x[y == 4][:1], x[y == 9][:1], torch.eye(10, dtype=x.dtype)[4:5]
    a = torch.linspace(0, 1, 201, dtype=x.dtype)[:, None]
    loss = pointwise_loss(f(start + a * (end - start)), target)
    series = loss_coefficients(taylor_coefficients(f, start, end - start, order), target)[:, 0]
    with style():
        figure, axis = new_figure("page", 2.6)
        axis.plot(a, loss, label=r"$\ell(\mathbf{x}_i+a(\mathbf{x}_j-\mathbf{x}_i),\mathbf{y}_i)$")
        axis.plot(a, (series * a ** torch.arange(order + 1)).sum(1), label=f"Taylor polynomial of order {order}")
        mean = BetaLaw(alpha).tilted().a_moment(1)
        axis.axvline(mean, color="0.5", lw=0.8, label=rf"$\mathbb{{E}}[a]$ at $\alpha={alpha:g}$")
        axis.set(xlabel="$a$", ylabel="loss", ylim=(-1, 1.3 * loss.max().item()))
        axis.legend()
        return _image(figure)


def bias_panel(alpha: float, log_t: float) -> Image:
    """Soudry's data: the separators of ERM and of mixup at t = 10^log_t, and their norms up to there and beyond."""
    x, y = soudry_data(np.random.default_rng(1))
    runs = {"ERM": gradient_flow(x, y), f"mixup, α={alpha:.2g}": gradient_flow(x, y, BetaLaw(alpha), "full")}
    with style():
        figure, axes = new_figure("page", 2.6, ncols=2)
        for label, marker in ((1, "o"), (0, "x")):
            axes[0].plot(*x[y == label].T, marker, color="0.3")
        for (name, run), line in zip(runs.items(), ("-", "--"), strict=True):
            k = int(np.abs(run.step - 10**log_t).argmin())
            w = run.w[k] / run.norm[k]
            axes[0].axline((0, 0), (-w[1], w[0]), ls=line, color="C0" if name == "ERM" else "C1")
            axes[1].semilogx(run.step[1:], run.norm[1:], line, color="C0" if name == "ERM" else "C1", label=name)
            axes[1].plot(run.step[k], run.norm[k], "o", color="C0" if name == "ERM" else "C1")
        axes[0].set(aspect="equal", xlim=(-6, 6), ylim=(-4, 4), title=f"separators at $t=10^{{{log_t:g}}}$")
        axes[1].set(xlabel="$t$", title=r"$\|w(t)\|$")
        axes[1].legend(loc="upper left")
        return _image(figure)


def bound_panel(log_eta: float = 0.0, log_B: float = 0.0, theta: float = 1.1) -> Image:
    """Theorem 2 on two points, alpha = 1: left side, right side and what it tends to, and the n from which it fails."""
    two, bound_B = counterexample(1.0, 10**log_eta, theta), 10**log_B
    data = terms(two, np.geomspace(10, 1e12, 200))
    with style():
        figure, axis = new_figure("page", 2.6)
        axis.semilogx(data["n"], data["left"], label=r"left side, $\mathbb{E}_S\mathcal{L}$")
        axis.semilogx(data["n"], data["scaled"] + data["middle"] + bound_B * data["unit"], label="right side")
        axis.semilogx(data["n"], data["scaled"], label=r"$\hat\eta L_n^{mix}$")
        axis.set(xlabel="$n$", ylim=(0, 2 * two.limit_lhs))
        axis.set_title(f"fails for every sample from $n={two.fails_from(bound_B, DELTA):,}$".replace(",", r"\,"))
        axis.legend()
        return _image(figure)


def _image(figure) -> Image:
    """A picture that any front end shows, without pyplot's global state."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    return Image(buffer.getvalue())

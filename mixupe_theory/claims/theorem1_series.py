"""Claims about Theorem 1 as a series: the order of its remainder, what its first order is worth, where it converges."""

from __future__ import annotations

import numpy as np
import torch

from mixupe_theory.claims.ledger import Claim, Evidence
from mixupe_theory.claims.measurements import (
    FRACTIONS,
    RELU_A,
    SHARE_CASES,
    misses,
    pairs,
    radii,
    relu_misses,
    series_errors,
    shares,
)
from mixupe_theory.claims.references import slope
from mixupe_theory.mixing import BetaLaw
from mixupe_theory.networks import DATA, balanced, load
from mixupe_theory.theorem1 import convergence_radius, expand

WHOLE = "orders are whole numbers, so a slope within 1/4 of one decides"


# --- the order of the remainder ---------------------------------------------------------------------------------


def _remainder_slopes(y_sign: float = 1.0) -> tuple[dict[str, float], np.ndarray]:
    """Fitted orders for K = 1..6 in both forms on two trained networks, as a = fraction of the radius shrinks."""
    window = FRACTIONS[:3]
    slopes = {}
    for name in ("digits-tanh-erm", "digits-tanh-mixup-1"):
        a_of = [fraction * radii(name, 12) for fraction in window]
        for form in ("nested", "collected"):
            values = misses(name, 12, 6, a_of, form, y_sign)
            slopes |= {f"{name}, {form}, K={k}": slope(window, values[:, k - 1]) for k in range(1, 7)}
    return slopes, np.tile(np.arange(1, 7), 4)


def _remainder_order(y_sign: float = 1.0) -> Evidence:
    slopes, orders = _remainder_slopes(y_sign)
    off = np.abs(np.array(list(slopes.values())) - (orders + 1))
    return Evidence(bool(off.max() < 0.25), {"largest |slope - (K + 1)|": float(off.max()), "slopes": len(off)}, WHOLE)


def _printed_order(y_sign: float = 1.0) -> Evidence:
    """Neither reading of "order O(K)" is what is measured: not a^K, and not a size linear in K."""
    slopes, orders = _remainder_slopes(y_sign)
    beyond = np.array(list(slopes.values())) - orders
    sizes = misses("digits-tanh-erm", 12, 8, [1.0], "collected", y_sign)[0]  # real pairs, a = 1
    return Evidence(
        bool((np.abs(beyond - 1) < 0.25).all() and sizes[-1] > 8 * sizes[0]),
        {"slope - K": f"{beyond.min():.2f} to {beyond.max():.2f}", "size at K=8 / at K=1, a=1": sizes[-1] / sizes[0]},
        WHOLE + "; linear growth in K would give a ratio of at most 8",
    )


# --- the first order, and all others ----------------------------------------------------------------------------


def _dominates(first_shares: dict[str, float]) -> Evidence:
    """Does the first order make up at least half of R anywhere? Passed means: nowhere."""
    largest = max(abs(share) for share in first_shares.values())
    return Evidence(
        largest < 0.5,
        {
            "largest share of order 1": largest,
            "smallest": min(first_shares.values()),
            "networks and laws": len(first_shares),
        },
        "a term that dominates is at least half of the whole",
    )


def _check_dominates() -> Evidence:
    return _dominates({f"{name}, {alpha}": shares(name, alpha)[0] for name, alpha in SHARE_CASES})


def _control_dominates() -> Evidence:
    """A nearly linear loss, where the first order does dominate: inputs shrunk 100 times about their mean."""
    f = load("digits-tanh-mixup-1")
    x, y = balanced(*DATA["digits"](), 60)
    x = x.mean(0) + (x - x.mean(0)) / 100
    expansion = expand(f, x, y, BetaLaw(1.0), 2)
    return _dominates({"shrunk": (expansion.collected[0] / (expansion.mixup - expansion.standard)).item()})


def _every_order(moments=lambda law: law.tilted().a_moment) -> Evidence:
    """E[a^2]/E[a] = 1/2 for every alpha, E[a^k]/E[a] -> 1/k as alpha -> 0.

    For a ~ Beta(alpha, alpha + 1) the ratio is prod_{r=1}^{k-1} (alpha + r)/(2 alpha + 1 + r), so |log(k ratio)| is
    at most alpha sum_r max(1/r, 2/(1 + r)).
    """
    half, limit = 0.0, 0.0
    for alpha in (0.01, 0.2, 1, 2, 32, 1000):
        moment = moments(BetaLaw(alpha))
        half = max(half, abs(moment(2) / moment(1) - 0.5))
    for alpha in (1e-2, 1e-4, 1e-6):
        moment = moments(BetaLaw(alpha))
        for k in range(2, 9):
            bound = alpha * sum(max(1 / r, 2 / (1 + r)) for r in range(1, k))
            limit = max(limit, abs(np.log(k * moment(k) / moment(1))) / bound)
    return Evidence(
        half <= 1e-15 and limit <= 1,
        {"|E[a^2]/E[a] - 1/2|": half, "|log(k E[a^k]/E[a])| / bound": float(limit)},
        "rounding; and the bound of the docstring, linear in alpha",
    )


# --- convergence ------------------------------------------------------------------------------------------------


def _convergence(scale: float = 1.0) -> Evidence:
    """Inside the radius more orders help, outside they hurt; and real pairs have a = 1 outside it."""
    name, n, order = "digits-tanh-erm", 12, 32
    inside, outside = (series_errors(name, n, order, scale * fraction) for fraction in (0.7, 1.4))
    radius = radii(name, n)
    lam, weights = BetaLaw(1.0).tilted().quadrature(64)
    reached = ((1 - torch.from_numpy(lam)) > radius[:, None]).double() @ torch.from_numpy(weights)
    return Evidence(
        bool(inside[-1] < inside[7] / 10 and outside[-1] > 10 * outside[7] and (radius < 1).double().mean() > 0.5),
        {
            "error at 0.7 radius, K=32 / K=8": float(inside[-1] / inside[7]),
            "at 1.4 radius": float(outside[-1] / outside[7]),
            "median radius": radius.median().item(),
            "pairs with radius < 1": (radius < 1).double().mean().item(),
            "P(a > radius), alpha = 1": reached.mean().item(),
        },
        "24 further orders change the error by 0.7^24 = 2e-4 or 1.4^24 = 3e3; a factor 10 leaves room for the "
        "coefficients' algebraic growth",
    )


def _linear_radius(singularity: float = np.pi) -> Evidence:
    """The library's radius against sqrt(u^2 + pi^2)/|delta u| for logistic models of digits, 3 against 8."""
    x, y = DATA["digits"]()
    keep = (y == 3) | (y == 8)
    x, y = x[keep], y[keep]
    design = torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], 1)
    weights = torch.linalg.lstsq(design, torch.where(y == 8, 4.0, -4.0).double()[:, None], driver="gelsd").solution
    f = lambda x: x @ weights[:-1] + weights[-1]  # noqa: E731
    x = x[:20]
    radius = convergence_radius(f, x, head="sigmoid")
    u = f(x)[:, 0]
    exact = (u**2 + singularity**2).sqrt()[:, None] / (u[None] - u[:, None]).abs()
    off = ~torch.eye(len(x), dtype=torch.bool)
    error = (radius / exact - 1).abs()[off].max().item()
    return Evidence(error <= 1e-6, {"largest relative error": error}, "the accuracy stated by convergence_radius")


# --- smoothness -------------------------------------------------------------------------------------------------


def _once_differentiable(exponent: float = 1.5) -> Evidence:
    """K = 1 for f(x) = sign(x)|x|^(3/2) at x_i = 0, x' = 1: C^1, not twice differentiable, and yet psi -> 0."""
    a = 2.0 ** -np.arange(6, 20)
    psi = [(np.logaddexp(0, t**exponent) - np.log(2) - t**exponent) / t for t in a]  # first order is 0, y = 1
    order = slope(a, np.array(psi))
    return Evidence(
        order > 0.25,
        {"order of psi": order, "psi at the smallest a": float(abs(psi[-1]))},
        "psi -> 0 means a positive order; 3/2 - 1 = 1/2 is expected",
    )


def _relu(name: str = "digits-relu-mixup-1") -> Evidence:
    """psi is exactly 0 near x_i for almost every pair; averaged over pairs the remainder is O(a^2) whatever K."""
    values = relu_misses(name)
    slopes = [np.polyfit(np.log(RELU_A), np.log(values[:, k]), 1)[0] for k in range(4)]
    f, _, x, v, _, c = pairs(name, 400, 4)
    exact = [
        ((f(x + t * v) - c[0] - t * c[1]).abs().amax(1) <= 1e-12).double().mean().item() for t in (1e-2, 1e-4, 1e-6)
    ]
    return Evidence(
        all(abs(s - 2) < 0.25 for s in slopes) and exact[-1] > 0.999,
        {
            "slopes, K = 1..4": ", ".join(f"{s:.2f}" for s in slopes),
            "pairs with psi = 0 at a = 0.01, 1e-4, 1e-6": ", ".join(f"{share:.4f}" for share in exact),
        },
        WHOLE + "; psi = 0 up to 1e-12, rounding of the logits",
    )


_REMAINDER = Claim(
    id="theorem1.remainder-order",
    title="Remainder of order a^(K+1)",
    slide="Implication of Theorem 1",
    statement=r"Corrected: $a^K\hat\psi=O(a^{K+1})$ for $f\in C^{K+1}$, and $\hat\psi,\psi\to0$ as $a\to0$",
    verdict="holds",
    finding="Slopes $K+1$ for $K=1..6$, nested and collected form, networks trained on digits.",
    check=_remainder_order,
    control=lambda: _remainder_order(y_sign=-1.0),
)
_EVERY_ORDER = Claim(
    id="theorem1.every-order-counts",
    title="All orders are alike in α",
    slide="Limitation",
    statement=r"Corrected: all orders of $R$ are of the same order in $\alpha$: "
    r"$\mathbb{E}[a^2]/\mathbb{E}[a]=\frac12$ for every symmetric $\alpha$, $\mathbb{E}[a^k]/\mathbb{E}[a]\to\frac1k$",
    verdict="holds",
    finding="Exact in the moments of $D_\\lambda$: a small $\\alpha$ does not make $a$ small.",
    check=_every_order,
    control=lambda: _every_order(lambda law: law.moment),
)
_SMOOTH = Claim(
    id="theorem1.relu",
    title="Smoothness along segments; ReLU",
    slide="Implication of Theorem 1",
    statement=r"Corrected: $f\in C^K$ along the segments suffices; for ReLU $\psi=0$ near almost every $\mathbf{x}_i$, "
    r"yet averaged over pairs the remainder is $O(a^2)$ for every $K$",
    verdict="holds",
    finding="On a ReLU network trained on digits the slope stays at 2 for $K=1..4$; adding orders stops helping.",
    check=_relu,
    control=lambda: _relu("digits-tanh-mixup-1"),
)

CLAIMS = (
    Claim(
        id="theorem1.remainder-printed",
        title="Remainder “of order O(K)”",
        slide="Implication of Theorem 1",
        statement=r"$\hat\psi,\psi$ are the remainder terms of order $\mathcal{O}(K)$",
        verdict="fails as printed",
        finding="$a^K\\hat\\psi$ is of order $a^{K+1}$; in $K$ it is not linear but grows geometrically at $a=1$.",
        check=_printed_order,
        control=lambda: _printed_order(y_sign=-1.0),
        corrected=_REMAINDER,
    ),
    _REMAINDER,
    Claim(
        id="theorem1.first-order-dominates",
        title="The first order dominates",
        slide="Limitation",
        statement="The first-order approximation dominates",
        verdict="fails as printed",
        finding="On twelve trained networks and laws order 1 is at most a tenth of $R$, once of the wrong sign.",
        check=_check_dominates,
        control=_control_dominates,
        corrected=_EVERY_ORDER,
    ),
    _EVERY_ORDER,
    Claim(
        id="theorem1.convergence",
        title="R mainly depends on the derivatives",
        slide="Implication of Theorem 1",
        statement="$R$ mainly depends on the directional derivatives, since the remainders vanish as $a_\\lambda\\to0$",
        verdict="holds if $a_\\lambda$ stays inside the radius of convergence",
        finding="Between real digits the median radius is 0.4; at $\\alpha=1$ a third of all $a$ exceed it, and "
        "there more orders make it worse.",
        check=_convergence,
        control=lambda: _convergence(scale=2.0),
    ),
    Claim(
        id="theorem1.radius-linear",
        title="Radius of convergence, linear model",
        slide="Implication of Theorem 1",
        statement=r"Addition: a linear logistic model's radius is $\sqrt{u_i^2+\pi^2}/\lvert u_j-u_i\rvert$",
        verdict="holds",
        finding="To 1e-6, on digits 3 against 8.",
        check=_linear_radius,
        control=lambda: _linear_radius(singularity=np.pi / 2),
    ),
    Claim(
        id="theorem1.smoothness",
        title="f must be twice differentiable",
        slide="Implication of Theorem 1",
        statement=r"$f_\theta$ should be at least twice continuously differentiable",
        verdict="fails as printed",
        finding="Not necessary: for $K=1$ one derivative is enough; nor met by the ReLU of the later slides.",
        check=_once_differentiable,
        control=lambda: _once_differentiable(exponent=0.9),
        corrected=_SMOOTH,
    ),
    _SMOOTH,
)

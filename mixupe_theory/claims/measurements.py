"""What the claims about Theorem 1 as a series measure, and its figures draw: misses, shares, radii."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import nn

from mixupe_theory.losses import mixup_loss, pointwise_loss, standard_loss
from mixupe_theory.mixing import BetaLaw
from mixupe_theory.networks import DATA, RECIPES, balanced, load
from mixupe_theory.taylor import pairwise_jet
from mixupe_theory.theorem1 import convergence_radius, loss_coefficients, nested_polynomials

FRACTIONS = 2.0 ** -np.arange(2, 7)  # of each pair's radius of convergence
SHARE_CASES = tuple(
    (f"{data}-tanh-{method}", alpha)
    for data in ("digits", "moons")
    for method, alphas in (("erm", (0.2, 1, 2)), ("mixup-0.2", (0.2,)), ("mixup-1", (1,)), ("mixup-2", (2,)))
    for alpha in alphas
)
RELU_A = 2.0 ** -np.arange(6, 11)


@cache
def pairs(name: str, n: int, order: int):
    """A trained network, its head, and for all ordered pairs of n inputs: x_i, x_j - x_i, y_i, jets."""
    recipe, f = RECIPES[name], load(name)
    x, y = balanced(*DATA[recipe.data](), n)
    targets = nn.functional.one_hot(y, 10).double() if recipe.head == "softmax" else y.double()[:, None]
    chunks = list(pairwise_jet(f, x, order))
    i, j = torch.cat([c[0] for c in chunks]), torch.cat([c[1] for c in chunks])
    coefficients = torch.cat([c[2] for c in chunks], 1)
    keep = i != j
    i, j = i[keep], j[keep]
    return f, recipe.head, x[i], x[j] - x[i], targets[i], coefficients[:, keep]


@cache
def radii(name: str, n: int) -> torch.Tensor:
    """Radii of convergence of the ordered pairs, in the order of :func:`pairs`."""
    recipe = RECIPES[name]
    x, _ = balanced(*DATA[recipe.data](), n)
    radius = convergence_radius(load(name), x, head=recipe.head)
    return radius[~torch.eye(n, dtype=torch.bool)]


def misses(name: str, n: int, order: int, a_of, form: str = "nested", y_sign: float = 1.0) -> np.ndarray:
    """Mean over pairs of |ell(x_i + a v) - ell(x_i) - expansion to order k|, for each a in ``a_of`` and k = 1..order.

    ``a_of`` is a list of tensors (pairs,) or numbers; ``form`` is "nested" or "collected"; ``y_sign`` -1 plants an
    error in the y term.
    """
    f, head, x, v, targets, c = pairs(name, n, order)
    if form == "nested":
        terms = nested_polynomials(c, y_sign * targets, head)
    else:
        collected = loss_coefficients(c, targets, head) + (1 - y_sign) * (c * targets).sum(-1)
        terms = torch.tril(torch.ones(order, order + 1, dtype=c.dtype), 1)[:, None] * collected.T
        terms[..., 0] = 0
    start = pointwise_loss(c[0], targets, head)
    powers = torch.arange(terms.shape[-1])
    rows = []
    for a in a_of:
        a = torch.as_tensor(a, dtype=c.dtype).expand(len(x))[:, None]
        gained = pointwise_loss(f(x + a * v), targets, head) - start
        rows.append((gained - (terms * a**powers).sum(-1)).abs().mean(-1).numpy())
    return np.array(rows)


@cache
def shares(name: str, alpha: float, order: int = 6) -> np.ndarray:
    """Each order's share of R = L_mix - L_std on training inputs of a trained network (100 digits, all 200 moons)."""
    f, x, targets, head, terms = _mean_coefficients(name, order)
    law = BetaLaw(alpha)
    moments = torch.tensor([law.tilted().a_moment(k) for k in range(order + 1)], dtype=x.dtype)
    total = mixup_loss(f, x, targets, law, head, rtol=1e-4) - standard_loss(f, x, targets, head)
    return (terms * moments / total).numpy()[1:]


@cache
def _mean_coefficients(name: str, order: int) -> tuple:
    """(f, x, targets, head, each order's coefficient of the loss, averaged over all ordered pairs)."""
    recipe, f = RECIPES[name], load(name)
    x, y = balanced(*DATA[recipe.data](), 200 if recipe.data == "moons" else 100)
    targets = nn.functional.one_hot(y, 10).double() if recipe.head == "softmax" else y.double()[:, None]
    terms = sum(loss_coefficients(c, targets[i], recipe.head).sum(1) for i, _, c in pairwise_jet(f, x, order))
    return f, x, targets, recipe.head, terms / len(x) ** 2


def series_errors(name: str, n: int, order: int, fraction: float) -> np.ndarray:
    """Median over pairs of |ell - Taylor polynomial of degree k| at a = fraction * radius, for k = 1..order."""
    f, head, x, v, targets, c = pairs(name, n, order)
    a = (fraction * radii(name, n))[:, None]
    exact = pointwise_loss(f(x + a * v), targets, head)
    terms = loss_coefficients(c, targets, head) * a.T ** torch.arange(order + 1)[:, None]
    return (exact - terms.cumsum(0)).abs().median(1).values[1:].numpy()


@cache
def relu_misses(name: str, n: int = 400) -> np.ndarray:
    """Mean absolute remainder of the collected form over all pairs, (len(RELU_A), 4), for K = 1..4."""
    return misses(name, n, 4, list(RELU_A), "collected")

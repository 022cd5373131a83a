"""Slow, obvious computations that the claims compare the library with; they share none of its algorithms.

Derivatives are nested ``torch.func.jvp``, laws are SciPy's Gauss-Jacobi rules of the densities themselves, sums over
pairs are complete and plain.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from scipy.special import roots_jacobi, roots_legendre
from scipy.stats import t as student

from mixupe_theory.claims.ledger import Evidence
from mixupe_theory.losses import log_partition, pointwise_loss
from mixupe_theory.mixing import BetaLaw


def beta_rule(alpha: float, beta: float, m: int) -> tuple[torch.Tensor, torch.Tensor]:
    """SciPy's m-node rule of the density lambda^(alpha-1) (1-lambda)^(beta-1), normalized."""
    nodes, weights = roots_jacobi(m, beta - 1, alpha - 1)
    return torch.from_numpy((1 + nodes) / 2), torch.from_numpy(weights / weights.sum())


def tilted_rule(law: BetaLaw, m: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rule of D_lambda from its defining density, lambda p(lambda) + lambda p(1 - lambda), p that of Beta(alpha, beta).

    Mixing labels weighs the loss at label y_i by lambda; exchanging i and j turns the other half, weighed by
    1 - lambda, into the same with lambda and 1 - lambda exchanged.
    """
    nodes, weights = beta_rule(law.alpha, law.beta, m)
    return torch.cat([nodes, 1 - nodes]), torch.cat([weights * nodes, weights * (1 - nodes)])


def path_losses(f, x: torch.Tensor, targets: torch.Tensor, head: str, a: torch.Tensor) -> torch.Tensor:
    """ell(x_i + a (x_j - x_i), y_i) for all ordered pairs, (len(a), n, n)."""
    displacement = x[None, :] - x[:, None]
    labels = targets[:, None].expand(-1, len(x), -1)
    rows = [f((x[:, None] + t * displacement).flatten(0, 1)).unflatten(0, (len(x), len(x))) for t in a]
    return torch.stack([pointwise_loss(out, labels, head) for out in rows])


def jacobians(net: Callable, x: torch.Tensor) -> torch.Tensor:
    """The whole Jacobian of each sample by reverse mode, (n, c, *input)."""
    return torch.func.vmap(torch.func.jacrev(lambda sample: net(sample[None])[0]))(x)


def nested_derivative(g: Callable, order: int) -> torch.Tensor:
    """g^(order)(0) of a function of a scalar, by forward mode nested in itself."""
    return nested_derivatives(g, order)[-1]


def nested_derivatives(g: Callable, order: int) -> tuple[torch.Tensor, ...]:
    """g^(k)(0) of a function of a scalar for k = 0..order, by forward mode nested in itself."""
    one = torch.ones((), dtype=torch.float64)

    def with_next(inner):
        def derivatives(t):
            values, slopes = torch.func.jvp(inner, (t,), (one,))
            return (*values, slopes[-1])

        return derivatives

    nest = lambda t: (g(t),)  # noqa: E731
    for _ in range(order):
        nest = with_next(nest)
    return nest(torch.zeros((), dtype=torch.float64))


def remainders_of_theorem1(f, x, targets, head, law: BetaLaw, order: int, rules=(9, 7)) -> list[torch.Tensor]:
    """What the printed formula leaves to psi and psi_hat for K = 1..order, from Taylor's integral remainders.

    With F(a) = f(x_i + a v), P_K its Taylor polynomial less F(0), and r_f = F - F(0) - P_K, the remainder is

        E[ h(F) - h(F - r_f) + int_0^1 (1-s)^K/K! d^{K+1}/ds^{K+1} h(F(0) + s P_K) ds - y^T r_f ],
        r_f = a^{K+1} int_0^1 (1-s)^K/K! F^{(K+1)}(s a) ds,

    averaged over ordered pairs and a ~ D_lambda. Every derivative is nested forward mode. Returns one tensor (order,)
    for each number of quadrature nodes in ``rules``, so that their difference shows the quadrature's error.
    """
    i, j = (t.flatten() for t in torch.meshgrid(torch.arange(len(x)), torch.arange(len(x)), indexing="ij"))
    i, j = i[i != j], j[i != j]
    v, y = x[j] - x[i], targets[i][:, None]
    grids, sizes = [], [2 * m * m for m in rules]  # of (a, s), one after the other, so that all rules share each call
    for m in rules:
        s = torch.from_numpy((1 + roots_legendre(m)[0]) / 2)
        grids.append(torch.cartesian_prod(1 - tilted_rule(law, m)[0], s))
    a, s = torch.cat(grids).T

    def path(a):  # f(x_i + a v), (pairs, len(a), c)
        return f((x[i][:, None] + a[:, None] * v[:, None]).flatten(0, 1)).unflatten(0, (len(i), len(a)))

    def h(out):
        return log_partition(out, head)

    results, polynomial = [[] for _ in rules], torch.zeros((), dtype=x.dtype)
    at_zero_and_along = torch.cat([torch.zeros(1, dtype=x.dtype), a * s])
    derivatives = nested_derivatives(lambda t: path(at_zero_and_along + t), order + 1)
    start = derivatives[0][:, :1]
    for k in range(1, order + 1):
        polynomial = polynomial + a[:, None] ** k / math.factorial(k) * derivatives[k][:, :1]
        along_h = nested_derivative(lambda t, p=polynomial: h(start + (s[:, None] + t) * p), k + 1)
        parts = (derivatives[k + 1][:, 1:].split(sizes, 1), along_h.split(sizes, 1))
        for result, m, of_f, of_h in zip(results, rules, *parts, strict=True):
            lam, law_weights = tilted_rule(law, m)
            nodes, weights = (torch.from_numpy(t) for t in roots_legendre(m))
            kernel = weights / 2 * ((1 - nodes) / 2) ** k / math.factorial(k)
            r_f = (1 - lam)[:, None] ** (k + 1) * torch.einsum("pasc,s->pac", of_f.unflatten(1, (2 * m, m)), kernel)
            end = path(1 - lam)
            remainder = h(end) - h(end - r_f) + of_h.unflatten(1, (2 * m, m)) @ kernel - (y * r_f).sum(-1)
            result.append((remainder @ law_weights).sum() / len(x) ** 2)
    return [torch.stack(result) for result in results]


def slope(t: np.ndarray, values: np.ndarray) -> float:
    """Order of values as t -> 0 from four halvings: local slopes, extrapolated once towards t = 0."""
    local = np.diff(np.log(np.abs(values))) / np.diff(np.log(t))
    return float(2 * local[-1] - local[-2])


def mean_above_zero(values: np.ndarray, what: str) -> Evidence:
    """Is the mean of independent values above 0? Lower end of a one-sided 99 % Student interval."""
    low = values.mean() - student.ppf(0.99, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    return Evidence(
        bool(low > 0),
        {f"mean {what}": float(values.mean()), "99 % lower bound": float(low), "samples": len(values)},
        "one-sided 99 % Student interval over independent samples",
    )


PLANTED_ERRORS = (
    "a^k for a^(k-1) in Delta",
    "no 1/k! in Delta",
    "a^(k-1) for a^k outside",
    "no 1/k! outside",
    "plus y",
    "J_h = -g",
)


def printed_formula(
    derivatives: list[torch.Tensor], targets: torch.Tensor, head: str, a: torch.Tensor, error: str | None = None
) -> torch.Tensor:
    """The deck's R without remainders at given a, (p,), literally as printed or with one planted error.

    ``derivatives`` are J^k f(x_i) v^k, k = 0..K, each (p, c) and *not* divided by k!; ``a`` has shape (p, 1).
    """
    order = len(derivatives) - 1
    factorial = [math.factorial(k) for k in range(order + 1)]
    shift = 0 if error == "a^k for a^(k-1) in Delta" else 1
    divide = error != "no 1/k! in Delta"
    delta = sum(a ** (k - shift) / (factorial[k] if divide else 1) * derivatives[k] for k in range(1, order + 1))
    total = 0.0
    for k in range(1, order + 1):
        j_h = nested_derivative(lambda s: log_partition(derivatives[0] + s * delta, head), k)
        power = k - 1 if error == "a^(k-1) for a^k outside" else k
        scale = 1 if error == "no 1/k! outside" else factorial[k]
        total = total + (-1 if error == "J_h = -g" else 1) * a[:, 0] ** power / scale * j_h
    sign = 1 if error == "plus y" else -1
    return total + sign * a[:, 0] * (targets * delta).sum(-1)

"""Rademacher complexity of linear functions (deck, last line of "Generalization Guarantee"), exactly.

For fixed inputs sup over ||theta||^2 <= xi of 1/n sum_i eps_i theta^T x_i is sqrt(xi)/n ||sum_i eps_i x_i||, so

    R = sqrt(xi)/n E_eps ||sum_i eps_i x_i|| <= sqrt(xi)/n sqrt(sum_i ||x_i||^2) <= sqrt(xi X/n)   if ||x_i||^2 <= X.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import gammaln
from scipy.stats import binom

from mixupe_theory import _validation as check

_SIGNS = 20  # 2^20 sign vectors at most


def rademacher(x, xi: float) -> float:
    """E_eps sup over ||theta||^2 <= xi of 1/n sum_i eps_i theta^T x_i, over all 2^n sign vectors, n <= 20.

    Args:
        x: Inputs, (n, d).
        xi: The deck's xi >= 0.

    Raises:
        ValueError: If n > 20, or a value is not allowed.

    Example:
        >>> rademacher(np.eye(4), 1.0)  # orthogonal: the bound sqrt(xi X/n) is reached
        0.5
    """
    x = check.real_array("x", x)
    if x.ndim != 2 or x.size == 0 or len(x) > _SIGNS:
        raise ValueError(f"x must have shape (n, d) with 1 <= n <= {_SIGNS}, d >= 1, got {x.shape}")
    xi = check.nonnegative("xi", xi)
    n = len(x)
    signs = 1 - 2 * ((np.arange(2 ** (n - 1))[:, None] >> np.arange(n)) & 1)  # eps and -eps give the same norm
    return math.sqrt(xi) / n * float(np.linalg.norm(signs @ x, axis=1).mean())


def axes_ratio(n: int, d: int) -> float:
    """R/sqrt(xi X/n) for n inputs sqrt(X) e_1, ..., sqrt(X) e_d, n/d copies of each, exactly.

    sum_i eps_i x_i has independent coordinates, sums of n/d signs: the law of the sum of their squares is a d-fold
    convolution.

    Args:
        n: Number of inputs, a multiple of d.
        d: Dimension.

    Raises:
        ValueError: If n is not a positive multiple of d.

    Example:
        >>> axes_ratio(4, 4), round(axes_ratio(2, 1) ** 2, 12)
        (1.0, 0.5)
    """
    n, d = check.integer("n", n, least=1), check.integer("d", d, least=1)
    if n % d:
        raise ValueError(f"n must be a multiple of d = {d}, got {n}")
    copies = n // d
    k = np.arange(copies + 1)
    one = np.zeros(copies**2 + 1)
    np.add.at(one, (2 * k - copies) ** 2, binom.pmf(k, copies, 0.5))
    law = np.ones(1)
    for _ in range(d):
        law = np.convolve(law, one)
    return float(law @ np.sqrt(np.arange(len(law)))) / math.sqrt(n)


def rademacher_limit(d: int) -> float:
    """lim of :func:`axes_ratio` as n grows: E ||g||/sqrt(d) = sqrt(2/d) Gamma((d+1)/2)/Gamma(d/2), g ~ N(0, I_d).

    Example:
        >>> round(rademacher_limit(1), 4), round(rademacher_limit(2), 4), round(rademacher_limit(10), 4)
        (0.7979, 0.8862, 0.9754)
    """
    d = check.integer("d", d, least=1)
    return math.sqrt(2 / d) * math.exp(gammaln((d + 1) / 2) - gammaln(d / 2))

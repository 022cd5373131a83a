"""The exact mixup loss of a generalized linear model, on a sample and in expectation over samples.

With u_i = theta^T x_i the loss at a mixed point is A(lambda u_i + (1 - lambda) u_j) - y_ij u_ij. The second part is a
polynomial in lambda: with c = E[lambda (1 - lambda)]

    1/n^2 sum_ij E[y_ij u_ij] = (1 - 2c) mean(y u) + 2c mean(y) mean(u).

The first needs a quadrature rule, one for all pairs: the longest segment on [-U, U] is the hardest.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from mixupe_theory import _validation as check
from mixupe_theory.glm import GLM
from mixupe_theory.mixing import BetaLaw, symmetrized_quadrature

ACCURACY, FIRST_RULE, MAX_NODES = 1e-11, 8, 1024
_BLOCK = 2**21  # entries of an array of pairs


def spread_moment(law: BetaLaw) -> float:
    """c = E[lambda (1 - lambda)] = alpha beta/((alpha + beta)(alpha + beta + 1)).

    Example:
        >>> round(spread_moment(BetaLaw(1.0)), 12)  # 1/6
        0.166666666667
    """
    return law.moment(1) - law.moment(2)


@lru_cache(maxsize=64)
def lambda_rule(law: BetaLaw, glm: GLM, bound_u: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of lambda or 1 - lambda, good to 1e-11 of A's size for A between any two points of [-U, U].

    Raises:
        ValueError: If 1024 nodes do not suffice.
    """
    u = np.linspace(-bound_u, bound_u, 21)
    m, fine = FIRST_RULE, _average(law, glm, u, u, FIRST_RULE)
    while 2 * m <= MAX_NODES:
        coarse, fine = fine, _average(law, glm, u, u, 2 * m)
        if np.abs(fine - coarse).max() <= ACCURACY * max(float(np.abs(fine).max()), 1.0):
            return symmetrized_quadrature(law, 2 * m)
        m *= 2
    raise ValueError(
        f"glm {glm.name!r}: for abs(u) <= {bound_u:g} the integral of A over lambda needs more than {m} nodes: A has a "
        "kink, or abs(u) is too large"
    )


def _average(law: BetaLaw, glm: GLM, u: np.ndarray, v: np.ndarray, m: int) -> np.ndarray:
    return average_log_partition(symmetrized_quadrature(law, m), glm, u, v)


def average_log_partition(rule, glm: GLM, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """E A(lambda u + (1 - lambda) v) for u of shape (..., k) and v (..., l), giving (..., k, l)."""
    total = 0.0
    for lam, weight in zip(*rule, strict=True):
        total = total + weight * glm.log_partition(lam * u[..., :, None] + (1 - lam) * v[..., None, :])
    return total


def glm_mixup_loss(u: np.ndarray, y: np.ndarray, law: BetaLaw, glm: GLM) -> float:
    """L_n^mix of a sample from u_i = theta^T x_i and y_i, both (n,): all n^2 pairs, lambda to 1e-11.

    Example:
        >>> from mixupe_theory.glm import LOGISTIC
        >>> round(glm_mixup_loss(np.array([3.0, 0.0]), np.array([1.0, 0.0]), BetaLaw(1.0), LOGISTIC), 4)
        0.5643
    """
    rule, c, rows = lambda_rule(law, glm, float(np.abs(u).max())), spread_moment(law), max(1, _BLOCK // len(u))
    total = sum(average_log_partition(rule, glm, u[k : k + rows], u).sum() for k in range(0, len(u), rows))
    return float(total / len(u) ** 2 - (1 - 2 * c) * (y * u).mean() - 2 * c * y.mean() * u.mean())


def pair_losses(u: np.ndarray, y: np.ndarray, law: BetaLaw, glm: GLM) -> np.ndarray:
    """phi(a, b), the expected loss at a mixture of points a and b: u (..., k) and y (k,) give (..., k, k)."""
    rule, c = lambda_rule(law, glm, float(np.abs(u).max())), spread_moment(law)
    own, other = (y * u)[..., :, None], y[:, None] * u[..., None, :]  # y_a u_a, y_a u_b
    linear = (0.5 - c) * (own + own.swapaxes(-1, -2)) + c * (other + other.swapaxes(-1, -2))
    return average_log_partition(rule, glm, u, u) - linear


def sample(x, y, theta) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x (n, d), y (n,) in [0, 1] and theta (d,) as float64 arrays, n >= 2.

    Raises:
        TypeError: If an argument does not hold real numbers.
        ValueError: If a shape or value is not allowed.
    """
    x, y = inputs_and_labels(x, y)
    if len(x) < 2:
        raise ValueError(f"x must have n >= 2 rows, got n = {len(x)}: a bound over pairs needs two points")
    return x, y, check.vector("theta", theta, x.shape[1])


def inputs_and_labels(x, y) -> tuple[np.ndarray, np.ndarray]:
    """x (n, d) and y (n,) in [0, 1] as float64 arrays."""
    x, y = check.real_array("x", x), check.real_array("y", y)
    if x.ndim != 2 or x.shape[1] == 0:
        raise ValueError(f"x must have shape (n, d) with d >= 1, got {x.shape}")
    if len(x) == 0:
        raise ValueError("x must have n >= 1 rows, got n = 0")
    if y.shape != x.shape[:1]:
        raise ValueError(f"y must have shape ({len(x)},), one label for each row of x, got {y.shape}")
    if y.min() < 0 or y.max() > 1:
        raise ValueError(f"y must lie in [0, 1], got [{y.min():g}, {y.max():g}]")
    return x, y

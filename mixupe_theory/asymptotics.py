"""What theory predicts of training on a linear model; the claims compare measured trajectories with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_discrete_lyapunov
from scipy.optimize import root
from scipy.special import expit, xlogy

from mixupe_theory import _validation as check
from mixupe_theory.descent import LAMBDAS
from mixupe_theory.mixing import BetaLaw, check_law
from mixupe_theory.separable import default_learning_rate, max_margin, signed_inputs


@dataclass(frozen=True)
class SeparableLimit:
    """Where training on the standard loss goes: w(t) = w_hat log t + offset + O(t^-exponent).

    Attributes:
        w_hat: The hard-margin vector, (d,).
        offset: Soudry et al.'s w tilde, (d,).
        loss: lim t L(w(t)) = ||w_hat||^2 / r.
        exponent: Of the slowest term left out, up to logarithms.
    """

    w_hat: np.ndarray
    offset: np.ndarray
    loss: float
    exponent: float

    def __call__(self, t) -> np.ndarray:
        """w_hat log t + offset for t of shape (...), giving (..., d)."""
        return np.multiply.outer(np.log(t), self.w_hat) + self.offset


def separable_limit(x, y, learning_rate: float | None = None) -> SeparableLimit:
    """The asymptotics of gradient descent (or flow) on the standard loss (Soudry et al. 2018, Theorem 4).

    Where only support vectors matter, dw/dt = r/n sum_i exp(-w^T z_i) z_i over them; w = w_hat log t + offset solves it
    when r/n sum_i exp(-z_i^T offset) z_i = w_hat. Deviations fall like t^-e: transverse ones with e the least
    eigenvalue of sum_i (r/n) exp(-z_i^T offset) z_i z_i^T, those that other points cause with e their margin less 1.

    Args:
        x: Inputs, (n, d), separable; the support vectors must span R^d, or the offset depends on the path.
        y: Labels in {0, 1}, (n,).
        learning_rate: r; n/sigma_max(X)^2 by default, as in ``descend``.

    Raises:
        ValueError: If the support vectors do not span R^d, or an argument is not allowed.
        ArithmeticError: If the equation for the offset is not solved.

    Example:
        >>> limit = separable_limit([[1.0, 1.0], [1.0, -0.5], [-3.0, 0.0]], [1, 1, 0], learning_rate=3.0)
        >>> limit.offset.round(6), round(limit.exponent, 6)  # exp(-z_i^T offset) = (1/3, 2/3)
        (array([0.636514, 0.462098]), 0.5)
    """
    z, w_hat = signed_inputs(x, y), max_margin(x, y)
    n, d = z.shape
    rate = default_learning_rate(z) if learning_rate is None else check.positive("learning_rate", learning_rate)
    support = np.abs(z @ w_hat - 1) < 1e-6
    if np.linalg.matrix_rank(z[support]) < d:
        raise ValueError(f"x: its {int(support.sum())} support vectors must span all {d} dimensions")

    def missing(offset):
        return rate / n * np.exp(-z[support] @ offset) @ z[support] - w_hat

    def derivative(offset):
        return -rate / n * (z[support].T * np.exp(-z[support] @ offset)) @ z[support]

    start = w_hat * np.log(rate / n * support.sum() / (w_hat @ w_hat)) / (w_hat @ w_hat)
    solution = root(missing, start, jac=derivative, method="lm", options={"xtol": 1e-14, "ftol": 1e-14})
    if np.linalg.norm(missing(solution.x)) > 1e-9 * np.linalg.norm(w_hat):
        raise ArithmeticError(f"the equation for the offset is not solved: {solution.message}")
    slowest = np.linalg.eigvalsh(-derivative(solution.x))[0]
    others = z[~support] @ w_hat - 1
    exponent = min(slowest, others.min()) if len(others) else slowest
    return SeparableLimit(w_hat, solution.x, float(w_hat @ w_hat / rate), float(exponent))


def small_alpha_cost(x, y, w) -> float:
    """What mixing costs far out, per unit of alpha: lim_{s -> oo} lim_{alpha -> 0} (L_mix - L_std)(s w)/(alpha s).

    As alpha = beta -> 0 the law D_lambda puts alpha da/a on a = 1 - lambda in (0, 1), and at a large s w the loss along
    a pair is the positive part of minus its margin. Pairs of one class cost nothing; with M = m_i + m_j and H the
    entropy (in nats), the two orders of an opposite pair cost together

        M (1 - H(m_i / M)),

    so C(w) = 1/n^2 sum over opposite pairs of that, convex and homogeneous of degree 1. Mixup's minimizer therefore has
    norm of order log(1/alpha), and its direction tends to that of argmin C(w) subject to w^T z_i >= 1: the hard-margin
    problem with C in place of ||w||. (Derived to leading order: the limits are exchanged.)

    Args:
        x: Inputs, (n, d).
        y: Labels in {0, 1}, (n,).
        w: A vector that separates them, w^T z_i > 0, (d,).

    Raises:
        ValueError: If w does not separate the data.

    Example:
        >>> cost = small_alpha_cost([[1.0, 0.0], [0.0, 1.0]], [1, 0], [1.0, -1.0])
        >>> bool(abs(cost - 2 * (1 - np.log(2)) / 4) < 1e-15)
        True
    """
    z = signed_inputs(x, y)
    margins = z @ check.vector("w", w, z.shape[1])
    if not (margins > 0).all():
        raise ValueError(f"w must separate the data, got a margin of {margins.min():.3g}")
    first, second = (margins[np.asarray(y) == label] for label in (1, 0))
    m, k = first[:, None], second[None, :]
    return float((m + k - xlogy(m + k, m + k) + xlogy(m, m) + xlogy(k, k)).sum() / len(margins) ** 2)


def stationary_covariance(
    x, y, law: BetaLaw, w, hessian, *, lambdas: str, learning_rate: float, nodes: int = 64
) -> np.ndarray:
    """Covariance of stochastic mixup's w(t) around the minimizer, to first order in the learning rate.

    Near the minimizer the step is w - r (H (w - w*) + noise), so Cov = (I - r H) Cov (I - r H) + r^2 C. The noise's
    covariance C at w* is exact: over random permutations by Hoeffding's formula for sum_i g_{i, pi(i)} (the variance of
    the doubly centred matrix, over n - 1), over lambda by quadrature.

    Args:
        x: Inputs, (n, d).
        y: Labels in {0, 1}, (n,).
        law: The law of lambda.
        w: The minimizer w*, (d,).
        hessian: The Hessian H at w*, (d, d).
        lambdas: "per_step" or "per_sample".
        learning_rate: r.
        nodes: Nodes of the rule for lambda.

    Returns:
        The covariance, (d, d).

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If a value is not allowed, n = 1 too, or the learning rate is not below 2/lambda_max(H) or H is
            singular: there is no stationary law then.
    """
    check_law(law)
    check.choice("lambdas", lambdas, LAMBDAS)
    z, y = signed_inputs(x, y), check.real_array("y", y)
    n, d = z.shape
    x, w = (2 * y - 1)[:, None] * z, check.vector("w", w, d)
    learning_rate = check.positive("learning_rate", learning_rate)
    if n == 1:
        raise ValueError("x must hold at least two inputs to be mixed, got 1")
    hessian = check.real_array("hessian", hessian)
    if hessian.shape != (d, d):
        raise ValueError(f"hessian must have shape ({d}, {d}), got {hessian.shape}")
    step = np.eye(d) - learning_rate * hessian
    if np.linalg.eigvals(hessian).real.min() <= 0:
        raise ValueError("hessian must be positive definite: otherwise w(t) has no stationary law")
    if np.abs(np.linalg.eigvals(step)).max() >= 1:
        raise ValueError(f"learning_rate must be below 2/lambda_max(H), got {learning_rate:g}")
    lam, weights = law.quadrature(nodes)
    own = lam[:, None, None]
    labels = own * y[:, None] + (1 - own) * y[None, :]
    mixed = own[..., None] * x[:, None] + (1 - own)[..., None] * x[None, :]
    gradients = (expit(mixed @ w) - labels)[..., None] * mixed  # (m, n, n, d): of pair (i, j) at each node

    def permutations(g):
        """Covariance of 1/n sum_i g_{i, pi(i)} over uniformly random permutations, g of shape (n, n, d)."""
        centred = g - g.mean(0) - g.mean(1)[:, None] + g.mean((0, 1))
        flat = centred.reshape(-1, d)
        return flat.T @ flat / ((n - 1) * n**2)

    mean = np.tensordot(weights, gradients, 1)
    if lambdas == "per_step":
        means = gradients.mean((1, 2))
        noise = sum(p * permutations(g) for p, g in zip(weights, gradients, strict=True))
        noise = noise + (means.T * weights) @ means - np.outer(mean.mean((0, 1)), mean.mean((0, 1)))
    else:
        spread = np.einsum("m,mijd,mije->de", weights, gradients - mean, gradients - mean)
        noise = permutations(mean) + spread / n**3  # lambda_i are independent: 1/n^2 sum_i of the mean over partners
    return solve_discrete_lyapunov(step, learning_rate**2 * noise)

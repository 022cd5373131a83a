"""What the claims about Theorem 2 measure, and its figures draw: distributions, real data, minimizers in a ball."""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.decomposition import PCA

from mixupe_theory.implicit_bias import linear_loss
from mixupe_theory.mixing import BetaLaw
from mixupe_theory.theorem2 import Counterexample, FiniteDistribution, SampledDistribution, counterexample

LAW = BetaLaw(1.0)
DELTA = 0.05
THETA = float(np.log(3))  # of the counterexample: sigma(-theta) = 1/4
CONSTANTS = (1, 2, 10, 100)  # B
THETA_BOUND = 2.0  # of the coverage experiments; their inputs lie in the unit ball
DRAWS = 2000
REAL = ("digits 3, 8", "breast cancer")
RADII = (0.25, 0.5, 1.0)  # s, on real data


def two_points(eta: float = 1.0) -> Counterexample:
    """The counterexample that is small enough for a pencil: alpha = 1, e^theta = 3."""
    return counterexample(alpha=1.0, eta=eta, theta=THETA)


@cache
def coin() -> FiniteDistribution:
    """Labels by a fair coin, at x = 1 and x = -1: nothing can be learned, and fitting the sample misleads most."""
    return FiniteDistribution([[1.0], [1.0], [-1.0], [-1.0]], [0, 1, 0, 1], [0.25] * 4)


@cache
def circle() -> FiniteDistribution:
    """Twelve points of the unit circle, labels with P(y = 1) = sigma(3 x_1)."""
    turn = 2 * np.pi * np.arange(12) / 12
    x = np.column_stack([np.cos(turn), np.sin(turn)])
    p = expit(3 * x[:, 0])
    return FiniteDistribution(np.vstack([x, x]), np.repeat([1, 0], 12), np.concatenate([p, 1 - p]) / 12)


@cache
def uniform() -> SampledDistribution:
    """x uniform on [-1, 1], labels with P(y = 1) = sigma(4 x)."""

    def draw(size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        x = rng.uniform(-1, 1, (size, 1))
        return x, (rng.random(size) < expit(4 * x[:, 0])).astype(float)

    return SampledDistribution(draw, input_bound=1.0)


@cache
def digits_plane(k: int = 60) -> FiniteDistribution:
    """The first k images of digits 3 and 8 as a population, in their two principal directions, in the unit disk."""
    x, y = real_data("digits 3, 8")
    x = PCA(2, svd_solver="full").fit_transform(x)
    return FiniteDistribution(x[:k] / np.linalg.norm(x, axis=1).max(), y[:k], np.full(k, 1 / k))


POPULATIONS = {
    "coin": (coin, (2, 10, 100, 1000, 10**4, 10**5)),
    "circle": (circle, (2, 10, 100, 1000, 10**4, 10**5)),
    "uniform": (uniform, (10, 100, 1000)),
    "digits in a plane": (digits_plane, (10, 100, 1000, 10**4, 10**5)),
}


@cache
def real_data(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Raw inputs and labels in {0, 1}: digits 3 against 8 (label 1), or breast cancer (benign 1)."""
    if name == "breast cancer":
        x, y = load_breast_cancer(return_X_y=True)
        return x, y.astype(float)
    x, y = load_digits(return_X_y=True)
    chosen = (y == 3) | (y == 8)
    return x[chosen] / 16, (y[chosen] == 8).astype(float)


@cache
def in_unit_ball(name: str, quantile: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """Nine tenths of a real data set, mapped into the unit ball by a map that the other tenth determines.

    The tenth gives mean (breast cancer: standard deviation too) and radius, the ``quantile`` of its norms; longer
    inputs are shortened to it. So ||x|| <= 1 is true before the sample is seen, as the bounds need it.
    """
    x, y = real_data(name)
    order = np.random.default_rng(0).permutation(len(x))
    first, rest = order[: len(x) // 10], order[len(x) // 10 :]
    x = x - x[first].mean(0)
    if name == "breast cancer":
        x = x / x[first].std(0)
    x = x / np.quantile(np.linalg.norm(x[first], axis=1), quantile)
    x = x / np.maximum(np.linalg.norm(x, axis=1), 1)[:, None]
    return x[rest], y[rest]


@cache
def minimizer_in_ball(name: str, theta_bound: float, quantile: float = 0.5) -> np.ndarray:
    """argmin of L_n^mix over ||theta|| <= theta_bound on real data in the unit ball (SciPy's SLSQP).

    Certified to 1e-6: a convex loss's minimum is at least L(theta) - max over the ball of grad^T (theta - theta').
    """
    x, y = in_unit_ball(name, quantile)
    loss = linear_loss(x, y, LAW, "full", 4)  # in lambda exact to 2e-9 for s <= 1, 3e-6 for s = 3
    ball = {"type": "ineq", "fun": lambda w: theta_bound**2 - w @ w, "jac": lambda w: -2 * w}
    start, options = np.zeros(x.shape[1]), {"ftol": 1e-10, "maxiter": 200}
    theta = minimize(loss, start, jac=loss.gradient, constraints=[ball], method="SLSQP", options=options).x
    theta = theta * min(1.0, theta_bound / np.linalg.norm(theta))
    gradient = loss.gradient(theta)
    missed = gradient @ theta + theta_bound * np.linalg.norm(gradient)
    if missed > 1e-6:
        raise ArithmeticError(f"the minimizer on {name!r} in the ball of radius {theta_bound:g} misses {missed:.1e}")
    return theta

"""What the claims about implicit bias measure, and its figures draw: data sets, trajectories, limits."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from scipy.optimize import brentq, minimize

from mixupe_theory.asymptotics import small_alpha_cost
from mixupe_theory.implicit_bias import (
    Minimizer,
    Trajectory,
    angle,
    default_learning_rate,
    gradient_flow,
    max_margin,
    mixup_minimizer,
    separable_data,
    signed_inputs,
    soudry_data,
)
from mixupe_theory.mixing import BetaLaw

DRAWS = 30
DIMENSIONS = (2, 10, 100)
POINTS = 20  # of general data, in every dimension
END = 1e15  # the flow's last time
TWO_POINTS = np.array([[1.0, 0.0], [-7.0, -1.0]]), np.array([1, 0])
THREE_POINTS = np.array([[1.0, 1.0], [-1.0, -2.0], [-2.0, 2.0]]), np.array([1, 1, 0])


@cache
def soudry(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Soudry's data, draw number ``seed``."""
    return soudry_data(np.random.default_rng(seed))


@cache
def general(seed: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    """20 standard normal points in d dimensions at least 0.2 from a random separator."""
    return separable_data(np.random.default_rng([d, seed]), n=POINTS, d=d)


@cache
def uneven(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two unlike support vectors (1, a), (1, -b), turned by a random angle, and 12 points of margin 2 or more.

    Before turning w_hat = (1, 0), with multipliers b/(a+b) and a/(a+b); the offset's part across it is
    log(a/b)/(a+b), and what the asymptotics leave out falls like t^(-ab).
    """
    rng = np.random.default_rng(seed)
    a, b, turn = rng.uniform(0.8, 1.0), rng.uniform(0.4, 0.55), rng.uniform(0, 2 * np.pi)
    z = np.vstack([[[1.0, a], [1.0, -b]], np.column_stack([2 + rng.random(12), rng.normal(size=12)])])
    z = z @ [[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]
    y = np.arange(len(z)) % 2
    return (2 * y - 1)[:, None] * z, y


@cache
def mirrored(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Soudry's data with each point's mirror image in the line of w_hat."""
    x, y = soudry(seed)
    return np.vstack([x, x[:, ::-1]]), np.concatenate([y, y])


@cache
def independent(seed: int, ones: int = POINTS // 2) -> tuple[np.ndarray, np.ndarray]:
    """20 points in 100 dimensions, hence linearly independent, ``ones`` of them with label 1."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(POINTS, 100)), (np.arange(POINTS) < ones).astype(int)


@cache
def flow(
    data: Callable, seed: int, reading: str = "erm", alpha: float | None = None, per_decade: int = 4
) -> Trajectory:
    """The gradient flow to t = 10^15 on one draw."""
    law = None if alpha is None else BetaLaw(alpha)
    return gradient_flow(*data(seed), law, reading, end=END, per_decade=per_decade)


@cache
def minimizer(data: Callable, seed: int, alpha: float, *arguments) -> Minimizer:
    """Mixup's minimizer on one draw."""
    return mixup_minimizer(*data(seed, *arguments), BetaLaw(alpha))


def spread(values: np.ndarray) -> str:
    """Least and largest of some values, as text."""
    return f"{values.min():.3g} to {values.max():.3g}"


def angles(draw: Callable) -> tuple[np.ndarray, np.ndarray]:
    """Angles to the hard margin in radians, 30 draws: of mixup's minimizer (alpha = 1), of ERM's flow at its end."""
    data = [draw(seed) for seed in range(DRAWS)]
    mixup = [angle(mixup_minimizer(x, y, BetaLaw(1.0)).w, max_margin(x, y)) for x, y in data]
    return np.array(mixup), np.array([gradient_flow(x, y, per_decade=1).angle_gap[-1] for x, y in data])


def small_alpha_direction(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """w_C = argmin C(w) subject to w^T z_i >= 1, C the cost of mixing as alpha -> 0 (SciPy's SLSQP)."""
    z, ones = signed_inputs(x, y), np.asarray(y) == 1

    def gradient(w):
        m, k = (z[ones] @ w)[:, None], (z[~ones] @ w)[None, :]
        in_margins = np.empty(len(z))
        in_margins[ones], in_margins[~ones] = (1 + np.log(m / (m + k))).sum(1), (1 + np.log(k / (m + k))).sum(0)
        return in_margins @ z / len(z) ** 2

    def cost(w):
        return small_alpha_cost(x, y, w) if (z @ w > 0).all() else np.inf

    margins = {"type": "ineq", "fun": lambda w: z @ w - 1, "jac": lambda w: z}
    options = {"ftol": 1e-14, "maxiter": 500}
    found = minimize(
        cost, 1.01 * max_margin(x, y), jac=gradient, method="SLSQP", constraints=[margins], options=options
    )
    if not found.success:
        raise ArithmeticError(f"the programme for alpha -> 0 was not solved: {found.message}")
    return found.x


def exit_time(data: Callable, seed: int, alpha: float, lag: float = 0.1) -> float:
    """When mixup's flow has fallen behind ERM's by ``lag`` times w_hat; ERM moves by w_hat as t grows e-fold."""
    erm, mixup = (flow(data, seed, *reading, per_decade=16) for reading in ((), ("full", alpha)))
    behind = (erm.w - mixup.w) @ erm.w_hat / (erm.w_hat @ erm.w_hat)
    k = int(np.argmax(behind > lag))
    around = slice(k - 1, k + 1)  # the lag grows almost like t
    return float(np.exp(np.interp(np.log(lag), np.log(behind[around]), np.log(erm.step[around]))))


def predicted_exit(x: np.ndarray, y: np.ndarray, alpha: float, lag: float = 0.1) -> float:
    """The same to leading order in alpha, by an equation for the component along w_hat.

    Far out ERM moves as d(u)/ds = e^(s - u) in s = log t and units of w_hat, and mixing adds -kappa e^s with
    kappa = alpha r C(w_hat)/||w_hat||^2. So y = e^-lag obeys d(t y)/dt = 1 - kappa t y: y = (1 - e^-x)/x, x = kappa t.
    """
    w_hat = max_margin(x, y)
    kappa = alpha * default_learning_rate(x) * small_alpha_cost(x, y, w_hat) / (w_hat @ w_hat)
    return float(brentq(lambda v: -np.expm1(-v) / v - np.exp(-lag), 1e-9, 10) / kappa)

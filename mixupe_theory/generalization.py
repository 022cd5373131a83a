"""Generalization bounds that hold, for generalized linear models trained with mixup (proof: notebook 05).

Let ||theta|| <= s, ||x|| <= r, U = s r, y in [0, 1]; let the loss take values in a range of length M and be L-Lipschitz
in u for abs(u) <= U. With probability at least 1 - delta over samples of n >= 2 points, for all such theta at once,

    E L_n^mix(theta, S) <= L_n^mix(theta, S)
        + 2 L s r [(1 - 1/n)/sqrt(floor(n/2)) + n^(-3/2)] + 2 M sqrt(log(1/delta)/(2n)).

Where the loss is not negative L(theta, S) = L_n^mix(theta, S) in value, and this is also a bound on the expected MixupE
loss, with no eta in it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mixupe_theory import _validation as check
from mixupe_theory.distributions import within_bound
from mixupe_theory.glm import GLM, LOGISTIC, require_glm
from mixupe_theory.linear_mixup import average_log_partition, glm_mixup_loss, lambda_rule, sample, spread_moment
from mixupe_theory.mixing import BetaLaw, check_law

MOMENT_SHARE = 0.1  # of delta, spent on estimating second moments
_REPLACEMENTS = 201  # grid points per variable
_LARGEST = 1e300  # of theta_bound * input_bound


@dataclass(frozen=True)
class Bound:
    """A bound on the expected mixup loss at one theta.

    Attributes:
        mixup: L_n^mix(theta, S).
        complexity: The price of "for all theta".
        confidence: The price of "with probability 1 - delta".
    """

    mixup: float
    complexity: float
    confidence: float

    @property
    def total(self) -> float:
        """The bound: the sum of the three."""
        return self.mixup + self.complexity + self.confidence


def corrected_bound(
    theta,
    x,
    y,
    law: BetaLaw,
    *,
    theta_bound: float,
    input_bound: float,
    failure_prob: float,
    glm: GLM = LOGISTIC,
) -> Bound:
    """The bound above: Theorem 2 corrected.

    Args:
        theta: Parameters, (d,), of norm at most theta_bound.
        x: Inputs, (n, d), n >= 2, of norm at most input_bound.
        y: Labels in [0, 1], (n,).
        law: The law of lambda; the bound is the same for all.
        theta_bound: s >= 0, chosen before seeing the sample.
        input_bound: r >= 0, likewise.
        failure_prob: delta, in (0, 1).
        glm: A and A'; L and M are theirs on abs(u) <= s r.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If a value is not allowed, or theta or an input is longer than its bound.

    Example:
        >>> theta, x, y = [np.log(3)], [[1.0], [-1.0]] * 500, [1, 0] * 500
        >>> b = corrected_bound(theta, x, y, BetaLaw(1.0), theta_bound=2.0, input_bound=1.0, failure_prob=0.05)
        >>> round(b.mixup, 4), round(b.complexity, 4), round(b.confidence, 4)
        (0.4233, 0.1575, 0.1548)
    """
    x, y, theta = _problem(theta, x, y, law, theta_bound, input_bound, glm)
    gap = corrected_gap(len(x), theta_bound=theta_bound, input_bound=input_bound, failure_prob=failure_prob, glm=glm)
    return Bound(glm_mixup_loss(x @ theta, y, law, glm), *gap)


def corrected_gap(
    n: int, *, theta_bound: float, input_bound: float, failure_prob: float, glm: GLM = LOGISTIC
) -> tuple[float, float]:
    """``(complexity, confidence)`` of :func:`corrected_bound`, which depend on the sample through n alone."""
    n, bound_u = check.integer("n", n, least=2), _range(theta_bound, input_bound, glm)
    failure_prob = check.probability("failure_prob", failure_prob)
    low, high = glm.loss_range(bound_u)
    complexity = 2 * glm.slope(bound_u) * bound_u * ((1 - 1 / n) / math.sqrt(n // 2) + n**-1.5)
    return complexity, 2 * (high - low) * math.sqrt(math.log(1 / failure_prob) / (2 * n))


def data_dependent_bound(
    theta,
    x,
    y,
    law: BetaLaw,
    *,
    theta_bound: float,
    input_bound: float,
    failure_prob: float,
    glm: GLM = LOGISTIC,
) -> Bound:
    """A tighter bound, which looks at the inputs and at the law of lambda.

    Three savings, with a_0 and rho the centre and half span of A' on abs(u) <= U, tau = max(abs(a_0), abs(1 - a_0)):
    the affine part of the loss needs no symmetrization; r becomes the root of T = E ||lambda x + (1 - lambda) x'||^2,
    estimated from the sample; and replacing one point moves a pair's loss by kappa M only, see
    :func:`replacement_share`. With probability at least 1 - delta, delta = delta_1 + delta_2,

        complexity = s (tau + 2 rho) [(1 - 1/n) sqrt(T_hat/floor(n/2)) + r n^(-3/2)],
        T_hat = min(r^2, U-statistic + r^2 sqrt(log(1/delta_2)/(2 floor(n/2)))),
        confidence = M (2 kappa (1 - 1/n) + 1/n) sqrt(log(1/delta_1)/(2n)).

    Arguments, errors and result are those of :func:`corrected_bound`; delta_2 = delta/10.

    Example:
        >>> theta, x, y = [np.log(3)], [[1.0], [-1.0]] * 500, [1, 0] * 500
        >>> b = data_dependent_bound(theta, x, y, BetaLaw(1.0), theta_bound=2.0, input_bound=1.0, failure_prob=0.05)
        >>> round(b.mixup, 4), round(b.complexity, 4), round(b.confidence, 4)
        (0.4233, 0.097, 0.1019)
    """
    x, y, theta = _problem(theta, x, y, law, theta_bound, input_bound, glm)
    failure_prob = check.probability("failure_prob", failure_prob)
    estimate = mixed_second_moment(len(x), (x**2).sum(1).mean(), (x.mean(0) ** 2).sum(), law)
    moment = second_moment_bound(len(x), estimate, input_bound=input_bound, failure_prob=failure_prob)
    sizes = {"theta_bound": theta_bound, "input_bound": input_bound, "failure_prob": failure_prob}
    complexity, confidence = data_dependent_gap(len(x), moment, law, **sizes, glm=glm)
    return Bound(glm_mixup_loss(x @ theta, y, law, glm), float(complexity), confidence)


def mixed_second_moment(n: int, mean_square, square_mean, law: BetaLaw):
    """The U-statistic of ||lambda x_i + (1 - lambda) x_j||^2, i != j, from mean(||x||^2) and ||mean(x)||^2."""
    c = spread_moment(law)
    return (1 - 2 * c) * mean_square + 2 * c * (n * square_mean - mean_square) / (n - 1)


def second_moment_bound(n: int, estimate, *, input_bound: float, failure_prob: float):
    """T_hat of :func:`data_dependent_bound` from U-statistics of any shape, delta_2 = delta/10 (Hoeffding, 1963)."""
    slack = math.sqrt(math.log(1 / (MOMENT_SHARE * failure_prob)) / (2 * (n // 2)))
    return np.minimum(estimate + input_bound**2 * slack, input_bound**2)


def data_dependent_gap(
    n: int,
    second_moment,
    law: BetaLaw,
    *,
    theta_bound: float,
    input_bound: float,
    failure_prob: float,
    glm: GLM = LOGISTIC,
):
    """``(complexity, confidence)`` of :func:`data_dependent_bound` for second moments T_hat of any shape."""
    n, bound_u = check.integer("n", n, least=2), _range(theta_bound, input_bound, glm)
    delta = check.probability("failure_prob", failure_prob)
    check_law(law)
    second_moment = check.real_array("second_moment", second_moment)
    if second_moment.size and second_moment.min() < 0:
        raise ValueError(f"second_moment must be >= 0, got {second_moment.min():g}")
    (a_0, rho), (low, high) = glm.centre(bound_u), glm.loss_range(bound_u)
    share = 2 * replacement_share(law, bound_u, glm) * (1 - 1 / n) + 1 / n
    slope = max(abs(a_0), abs(1 - a_0)) + 2 * rho
    root = np.sqrt(second_moment)
    complexity = theta_bound * slope * ((1 - 1 / n) * root / math.sqrt(n // 2) + input_bound * n**-1.5)
    return complexity, share * (high - low) * math.sqrt(math.log(1 / ((1 - MOMENT_SHARE) * delta)) / (2 * n))


@lru_cache(maxsize=64)
def replacement_share(law: BetaLaw, bound_u: float, glm: GLM = LOGISTIC) -> float:
    """kappa: the most that E_lambda ell(mixture of z and z') can change when z does, over M; at most 1, from above.

    lambda or 1 - lambda with equal probability, any u = theta^T x in [-U, U] and y in [0, 1] on both sides. The loss is
    affine in each label and convex in u: labels 0 and 1 suffice, and u = +-U for the largest value. Over the rest, u'
    and the least value, a grid is searched, and what it can miss is added: half a step times 3/2 L (largest and least
    value change with u' by L/2 at most, the least value also with u).

    Example:
        >>> round(replacement_share(BetaLaw(1e-6), 1.0), 1), replacement_share(BetaLaw(1.0), 1.0) < 0.6  # ERM has 1/2
        (0.5, True)
    """
    check_law(law)
    require_glm(glm)
    bound_u = check.nonnegative("bound_u", bound_u)
    _examined(glm, bound_u)
    low, high = glm.loss_range(bound_u)
    if high == low:
        return 1.0
    c, u = spread_moment(law), np.linspace(-bound_u, bound_u, _REPLACEMENTS)
    mixed = average_log_partition(lambda_rule(law, glm, bound_u), glm, u, u)  # of (u', u), symmetric
    largest = 0.0
    for y_other in (0.0, 1.0):
        values = [
            mixed - (0.5 - c) * (y * u[None, :] + y_other * u[:, None]) - c * (y * u[:, None] + y_other * u[None, :])
            for y in (0.0, 1.0)
        ]
        most = np.max([value[:, [0, -1]].max(1) for value in values], axis=0)
        least = np.min([value.min(1) for value in values], axis=0)
        largest = max(largest, float((most - least).max()))
    half_step = bound_u / (_REPLACEMENTS - 1)
    missed = glm.slope(bound_u) * half_step * (1 + 0.5)
    return min((largest + missed) / (high - low), 1.0)


def _problem(theta, x, y, law, theta_bound, input_bound, glm):
    x, y, theta = sample(x, y, theta)
    check_law(law)
    _range(theta_bound, input_bound, glm)
    within_bound(x, input_bound)
    norm = float(np.linalg.norm(theta))
    if norm > theta_bound * (1 + 1e-12):
        raise ValueError(f"theta_bound must be at least ||theta||, got {theta_bound:g} but ||theta|| = {norm:.6g}")
    return x, y, theta


def _range(theta_bound, input_bound, glm) -> float:
    """U = s r, after checking both and A on abs(u) <= U; s < 0 would leave Theta empty."""
    require_glm(glm)
    bound_u = check.nonnegative("theta_bound", theta_bound) * check.nonnegative("input_bound", input_bound)
    if bound_u > _LARGEST:
        raise ValueError(f"theta_bound * input_bound must be <= {_LARGEST:g}, got {theta_bound:g} * {input_bound:g}")
    _examined(glm, bound_u)
    return bound_u


@lru_cache(maxsize=256)
def _examined(glm: GLM, bound_u: float) -> None:
    glm.require(bound_u)

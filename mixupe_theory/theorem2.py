"""Theorem 2 (deck, "Generalization Guarantee"): the printed bound, term by term, and where it fails.

    L~(theta) <= eta_hat L_n^mix(theta, S) + 2 eta_hat eta L_A gamma X/(sqrt(n) (1 + L_A)) + B sqrt(log(1/delta)/(2n)),

L~(theta) = E_S L(theta, S), for all theta with sup_x abs(q_hat(x)) <= gamma, with probability at least 1 - delta,
B some constant. The bounds that replace it are in ``generalization``; ``coverage`` counts how often a bound holds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from mixupe_theory import _validation as check
from mixupe_theory.coverage import (
    INPUT_READINGS,
    Corrected,
    Coverage,
    DataDependent,
    Printed,
    coverage,
    in_theta,
    printed_complexity,
    scaling,
)
from mixupe_theory.distributions import FiniteDistribution, SampledDistribution, within_bound
from mixupe_theory.generalization import (
    Bound,
    corrected_bound,
    corrected_gap,
    data_dependent_bound,
    data_dependent_gap,
    replacement_share,
)
from mixupe_theory.glm import GLM, LOGISTIC, require_glm
from mixupe_theory.linear_mixup import glm_mixup_loss, pair_losses, sample
from mixupe_theory.mixing import BetaLaw, check_law
from mixupe_theory.rademacher import rademacher, rademacher_limit

__all__ = [
    "GLM",
    "LOGISTIC",
    "Bound",
    "Corrected",
    "Counterexample",
    "Coverage",
    "DataDependent",
    "FiniteDistribution",
    "Printed",
    "PrintedBound",
    "SampledDistribution",
    "corrected_bound",
    "corrected_gap",
    "counterexample",
    "coverage",
    "data_dependent_bound",
    "data_dependent_gap",
    "printed_bound",
    "rademacher",
    "rademacher_limit",
    "replacement_share",
]


@dataclass(frozen=True)
class PrintedBound:
    """The right side of Theorem 2 as printed, term by term.

    Attributes:
        mixup: L_n^mix(theta, S).
        regularizer: R(theta, S) = E[a]/n sum abs(q_hat(x_i)); it enters through eta_hat alone.
        eta_hat: eta_hat.
        scaled_mixup: eta_hat L_n^mix(theta, S).
        complexity: 2 eta_hat eta L_A gamma X/(sqrt(n) (1 + L_A)).
        confidence: B sqrt(log(1/delta)/(2n)).
        total: The sum of the last three.
        in_theta: Whether abs(q_hat(x_i)) <= gamma at every point, without which the theorem says nothing of theta.
    """

    mixup: float
    regularizer: float
    eta_hat: float
    scaled_mixup: float
    complexity: float
    confidence: float
    total: float
    in_theta: bool


def printed_bound(
    theta,
    x,
    y,
    law: BetaLaw,
    *,
    eta: float,
    gamma: float,
    input_bound: float,
    bound_B: float,
    failure_prob: float,
    glm: GLM = LOGISTIC,
    eta_hat: float | None = None,
    input_reading: str = "norm",
) -> PrintedBound:
    """The right side of Theorem 2 at one theta, literally as printed.

    Args:
        theta: Parameters, (d,).
        x: Inputs, (n, d), n >= 2.
        y: Labels in [0, 1], (n,).
        law: The law of lambda.
        eta: The weight eta of R, >= 0.
        gamma: The deck's gamma >= 0.
        input_bound: The deck's X, put into the formula as it is.
        bound_B: The deck's B >= 0.
        failure_prob: delta, in (0, 1).
        glm: A, A' and L_A.
        eta_hat: None for the sample's own, abs(L_mix)/abs(L_mix + eta R) (the slide "Proposed MixupE"); or a number,
            for the reading in which it is frozen.
        input_reading: What X bounds, which the deck leaves open: "norm" for ||x|| <= X, "squared" for ||x||^2 <= X.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If a value is not allowed: gamma < 0 (Theta is then empty), inputs outside the stated bound, an A
            that is not convex or not L_A-Lipschitz on the range of theta^T x, ...

    Example:
        >>> theta, x, y = [np.log(3)], [[1.0], [-1.0]], [1, 0]
        >>> b = printed_bound(
        ...     theta, x, y, BetaLaw(1.0), eta=1.0, gamma=0.3, input_bound=1.0, bound_B=1.0, failure_prob=0.05
        ... )
        >>> round(b.mixup, 4), round(b.regularizer, 4), round(b.eta_hat, 4), b.in_theta
        (0.4233, 0.0916, 0.8222, True)
    """
    x, y, theta = sample(x, y, theta)
    check_law(law)
    require_glm(glm)
    eta, gamma, bound_B = (
        check.nonnegative(name, v) for name, v in (("eta", eta), ("gamma", gamma), ("bound_B", bound_B))
    )
    input_bound, failure_prob = (
        check.nonnegative("input_bound", input_bound),
        check.probability("failure_prob", failure_prob),
    )
    check.choice("input_reading", input_reading, INPUT_READINGS)
    within_bound(x, input_bound, squared=input_reading == "squared")
    u, n = x @ theta, len(x)
    glm.require(float(np.abs(u).max()))
    regularizer = law.tilted().a_moment(1) * float(np.abs(glm.q_hat(u, y)).mean())
    mixup = glm_mixup_loss(u, y, law, glm)
    eta_hat = scaling(mixup, regularizer, eta) if eta_hat is None else check.nonnegative("eta_hat", eta_hat)
    complexity = printed_complexity(n, eta_hat, eta, gamma, input_bound, glm)
    confidence = bound_B * math.sqrt(math.log(1 / failure_prob) / (2 * n))
    return PrintedBound(
        mixup=mixup,
        regularizer=regularizer,
        eta_hat=float(eta_hat),
        scaled_mixup=float(eta_hat * mixup),
        complexity=float(complexity),
        confidence=confidence,
        total=float(eta_hat * mixup + complexity + confidence),
        in_theta=in_theta(u, y, gamma, glm),
    )


@dataclass(frozen=True)
class Counterexample(FiniteDistribution):
    """The two-point distribution x = +-1 with probability 1/2 each, y = 1 or 0, the logistic model, at one theta > 0.

    abs(q_hat) = theta/(1 + e^theta) at both points, so R is the same for every sample, and gamma is that number, the
    least for which theta is in Theta. X = 1 in both readings. As L(theta, S) = L_n^mix(theta, S) in value, the left
    side tends to L* = lim E L_n^mix; the right side to eta_hat L* = L*^2/(L* + eta R).

    Attributes:
        law: The law of lambda.
        eta: The weight of R.
        theta: The parameter.
        gamma: abs(q_hat).
        regularizer: R.
        same: The loss of a pair of equal points, softplus(-theta).
        opposite: The expected loss of a pair of unlike points, at least ``same``.
        limit_lhs: L* = (same + opposite)/2.
        limit_rhs: L*^2/(L* + eta R).
        gap: limit_lhs - limit_rhs = L* eta R/(L* + eta R).
    """

    law: BetaLaw
    eta: float
    theta: float
    gamma: float
    regularizer: float
    same: float
    opposite: float
    limit_lhs: float
    limit_rhs: float
    gap: float

    def fails_from(self, bound_B: float, failure_prob: float) -> int:
        """The n from which on the printed bound fails for every sample whatever.

        L_n^mix(theta, S) = same + 2 k/n (1 - k/n)(opposite - same) for k points of the first kind: at most L*, which
        k = n/2 reaches. The right side grows with it; the left side is L* - (opposite - same)/(2n). So the bound fails
        for all samples if, and for an even n only if,

            gap > (opposite - same)/(2n) + (eta_hat eta gamma + B sqrt(log(1/delta)/2))/sqrt(n),

        a quadratic inequality in 1/sqrt(n). (A tie counts as holding.)

        Raises:
            ValueError: If an argument is not allowed, or n is beyond 2^53, where float64 no longer tells it.

        Example:
            >>> counterexample(alpha=1.0, eta=1.0, theta=np.log(3)).fails_from(bound_B=1.0, failure_prob=0.05)
            375
        """
        bound_B, failure_prob = check.nonnegative("bound_B", bound_B), check.probability("failure_prob", failure_prob)
        eta_hat = scaling(self.limit_lhs, self.regularizer, self.eta)
        b = eta_hat * self.eta * self.gamma + bound_B * math.sqrt(math.log(1 / failure_prob) / 2)
        a = (self.opposite - self.same) / 2
        inverse = (b + math.hypot(b, 2 * math.sqrt(a * self.gap))) / (2 * self.gap)  # 1/t, a t^2 + b t = gap
        if inverse > 2**26.5:
            raise ValueError(f"bound_B must leave n below 2^53, got {bound_B:g}: the bound fails at some n beyond")
        return math.floor(inverse**2) + 1


def counterexample(alpha: float, eta: float, theta: float) -> Counterexample:
    """Two points on which Theorem 2 fails as printed for every constant B.

    Args:
        alpha: lambda ~ Beta(alpha, alpha).
        eta: The weight of R, > 0.
        theta: The parameter, > 0, so that both points are classified rightly.

    Raises:
        TypeError: If an argument is no number.
        ValueError: If an argument is not finite and positive, or theta too large for the integral over lambda.

    Example:
        >>> two = counterexample(alpha=1.0, eta=1.0, theta=np.log(3))
        >>> round(two.limit_lhs, 4), round(two.limit_rhs, 4), round(two.gap, 4)
        (0.4233, 0.348, 0.0753)
    """
    law = BetaLaw(alpha)
    eta, theta = check.positive("eta", eta), check.positive("theta", theta)
    x, y = np.array([[1.0], [-1.0]]), np.array([1.0, 0.0])
    u = x[:, 0] * theta
    (same, opposite), _ = pair_losses(u, y, law, LOGISTIC)
    gamma = theta * float(expit(-theta))  # 1 - sigma(theta) would cancel
    regularizer = law.tilted().a_moment(1) * gamma
    limit = float(same + opposite) / 2
    limit_rhs = float(scaling(limit, regularizer, eta)) * limit
    gap = limit * (eta * regularizer / (limit + eta * regularizer))
    p = np.array([0.5, 0.5])
    return Counterexample(
        x, y, p, law, eta, theta, gamma, regularizer, float(same), float(opposite), limit, limit_rhs, gap
    )

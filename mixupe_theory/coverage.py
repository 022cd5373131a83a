"""How often a generalization bound holds, counted over independent samples.

A bound speaks of all theta in Theta at once, so that each sample asks for a supremum. It is certified: the gap
E L_mix - L_mix is Lipschitz in theta, a grid that covers the ball misses at most (covering radius) x (Lipschitz
constant), and a finer grid follows where that decides nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest
from tqdm import tqdm

from mixupe_theory import _validation as check
from mixupe_theory.distributions import FiniteDistribution
from mixupe_theory.generalization import corrected_gap, data_dependent_gap
from mixupe_theory.glm import GLM, LOGISTIC
from mixupe_theory.mixing import BetaLaw
from mixupe_theory.samples import many_samples

GRIDS = (8, 32, 128)  # points along the radius, coarse to fine
CONFIDENCE = 0.99  # of the interval for the share
LEFT_SIDES = ("loss", "mixup", "test")


@dataclass(frozen=True)
class Coverage:
    """The share of samples for which a bound held.

    Attributes:
        share: Of ``draws``; a sample counts only if the bound is certain to hold.
        low: Lower end of the exact (Clopper-Pearson) 99 % interval for the probability.
        high: Upper end.
        draws: Number of independent samples.
        undecided: Samples that the finest grid left open; they count as failures.
        largest_use: The largest part of the allowed gap that a sample was seen to use, sup (E L_mix - L_mix)/gap;
            NaN for a bound that states no gap.
    """

    share: float
    low: float
    high: float
    draws: int
    undecided: int
    largest_use: float


def coverage(bound, distribution, n: int, draws: int, failure_prob: float, generator: np.random.Generator) -> Coverage:
    """Count how often ``bound`` holds for all theta in its Theta.

    Args:
        bound: :class:`Corrected`, :class:`DataDependent` or :class:`Printed`; or an object of yours with a method
            ``margins(samples, failure_prob, points)`` that returns what is left to the bound, the least over Theta: a
            certified lower and upper end, (draws,) each, for a grid of covering radius (radius of Theta)/points; and
            with an attribute ``law``.
        distribution: A FiniteDistribution (any n), or a SampledDistribution in one dimension.
        n: Sample size, at least 2.
        draws: Number of independent samples.
        failure_prob: delta, in (0, 1).
        generator: Source of randomness.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If a value is not allowed, or an input is longer than the bound's input_bound.

    Example:
        >>> coin = FiniteDistribution([[1.0], [-1.0]], [1, 0], [0.5, 0.5])
        >>> bound = Corrected(BetaLaw(1.0), theta_bound=2.0, input_bound=1.0)
        >>> held = coverage(bound, coin, 100, 500, 0.05, np.random.default_rng(0))
        >>> held.share, held.low > 0.95, held.largest_use < 0.5
        (1.0, True, True)
    """
    failure_prob = check.probability("failure_prob", failure_prob)
    samples = many_samples(distribution, n, draws, bound.law, check.generator(generator))
    for points in GRIDS:
        low, high = bound.margins(samples, failure_prob, points)
        undecided = int(((low < 0) & (high >= 0)).sum())
        if not undecided:
            break
    held = int((low >= 0).sum())
    interval = binomtest(held, draws).proportion_ci(CONFIDENCE, method="exact")
    allowed = bound.allowed(samples, failure_prob) if hasattr(bound, "allowed") else None
    use = math.nan if allowed is None else float((1 - high / allowed).max())
    return Coverage(held / draws, float(interval.low), float(interval.high), draws, undecided, use)


@dataclass(frozen=True)
class Corrected:
    """The corrected bound for all ||theta|| <= theta_bound (see ``generalization.corrected_bound``)."""

    law: BetaLaw
    theta_bound: float
    input_bound: float
    glm: GLM = LOGISTIC

    def allowed(self, samples, failure_prob: float):
        """The gap that the bound allows, a number or (draws,)."""
        return sum(corrected_gap(samples.n, failure_prob=failure_prob, **self._constants))

    def margins(self, samples, failure_prob: float, points: int) -> tuple[np.ndarray, np.ndarray]:
        """allowed - sup_theta (E L_mix - L_mix), certified: lower and upper end."""
        if samples.distribution.input_bound > self.input_bound * (1 + 1e-12):
            raise ValueError(
                f"input_bound must be at least the distribution's, {samples.distribution.input_bound:g}, got "
                f"{self.input_bound:g}"
            )
        largest, error = -np.inf, 0.0
        grid = ball_grid(self.theta_bound, getattr(samples.distribution, "dimension", 1), points)
        for theta in tqdm(grid, "theta", leave=False, delay=3):
            gaps, uncertainty = samples.gaps(theta, self.glm)
            largest, error = np.maximum(largest, gaps), max(error, uncertainty)
        steep = self.glm.slope(self.theta_bound * self.input_bound) * self.input_bound * samples.variation
        allowed = self.allowed(samples, failure_prob)
        return allowed - largest - steep * self.theta_bound / points - error, allowed - largest + error

    @property
    def _constants(self) -> dict:
        return {"theta_bound": self.theta_bound, "input_bound": self.input_bound, "glm": self.glm}


class DataDependent(Corrected):
    """The tighter bound for all ||theta|| <= theta_bound (see ``generalization.data_dependent_bound``)."""

    def allowed(self, samples, failure_prob: float):
        """The gap that the bound allows each sample, (draws,)."""
        moments = samples.second_moments()
        return sum(data_dependent_gap(samples.n, moments, self.law, failure_prob=failure_prob, **self._constants))


@dataclass(frozen=True)
class Printed:
    """Theorem 2 as printed, for the theta of a finite list that lie in Theta; every supremum is then exact.

    Args:
        law: The law of lambda.
        thetas: Candidates, (m, d); those with abs(q_hat) > gamma somewhere on the support are not in Theta.
        eta: The weight of R.
        gamma: The deck's gamma.
        input_bound: The deck's X.
        bound_B: The deck's B.
        left: What the left side means: "loss" for E_S L(theta, S), "mixup" for E_S L_n^mix, "test" for the test risk.
        eta_hat: None where eta_hat is each sample's own; or a number, frozen.
        restored: Add eta_hat eta R(theta, S), the term that the print drops.
        glm: A, A' and L_A.
    """

    law: BetaLaw
    thetas: np.ndarray
    eta: float
    gamma: float
    input_bound: float
    bound_B: float
    left: str = "loss"
    eta_hat: float | None = None
    restored: bool = False
    glm: GLM = LOGISTIC

    def margins(self, samples, failure_prob: float, points: int) -> tuple[np.ndarray, np.ndarray]:
        """Right side - left side, the least over the listed theta in Theta; both ends are the same."""
        del points  # nothing is approximated
        check.choice("left", self.left, LEFT_SIDES)
        check.nonnegative("gamma", self.gamma)
        n, law = samples.n, samples.distribution
        if not isinstance(law, FiniteDistribution):
            raise TypeError(f"distribution must be a FiniteDistribution for a printed bound, got {type(law).__name__}")
        confidence = self.bound_B * math.sqrt(math.log(1 / failure_prob) / (2 * n))
        least = np.full(len(samples.counts), np.inf)
        for theta in np.atleast_2d(self.thetas):
            if np.abs(self.glm.q_hat(law.x @ theta, law.y)).max() > self.gamma * (1 + 1e-12):
                continue
            mixup, regularizer = samples.mixup_losses(theta, self.glm), samples.regularizers(theta, self.glm)
            eta_hat = scaling(mixup, regularizer, self.eta) if self.eta_hat is None else self.eta_hat
            right = eta_hat * mixup + confidence
            right = right + printed_complexity(n, eta_hat, self.eta, self.gamma, self.input_bound, self.glm)
            if self.restored:
                right = right + eta_hat * self.eta * regularizer
            least = np.minimum(least, right - self._left(samples, theta))
        if not np.isfinite(least).all():
            raise ValueError(
                f"Theta is empty: no theta of the list has abs(q_hat) <= gamma = {self.gamma:g} everywhere"
            )
        return least, least

    def _left(self, samples, theta) -> float:
        law = samples.distribution
        if self.left == "test":
            return law.risk(theta, self.glm)
        mixup = law.expected_mixup_loss(theta, self.law, samples.n, self.glm)
        if self.left == "mixup" or self.eta_hat is None:  # with its own eta_hat, L(theta, S) = L_n^mix(theta, S)
            return mixup
        q_hat = np.abs(self.glm.q_hat(law.x @ theta, law.y))
        return self.eta_hat * (mixup + self.eta * self.law.tilted().a_moment(1) * float(law.p @ q_hat))


def scaling(mixup, regularizer, eta: float):
    """eta_hat = abs(L_mix)/abs(L_mix + eta R) (slide "Proposed MixupE"), of numbers or arrays; 0 where both vanish."""
    total = np.abs(mixup + eta * regularizer)
    return np.abs(mixup) / np.where(total == 0, 1.0, total)


def printed_complexity(n: int, eta_hat, eta: float, gamma: float, input_bound: float, glm: GLM):
    """The middle term of Theorem 2, 2 eta_hat eta L_A gamma X/(sqrt(n) (1 + L_A))."""
    return 2 * eta_hat * eta * glm.lipschitz_A * gamma * input_bound / (math.sqrt(n) * (1 + glm.lipschitz_A))


def ball_grid(radius: float, d: int, points: int) -> np.ndarray:
    """Points (m, d) of the ball such that each of its points is within radius/points of one.

    Raises:
        ValueError: If d is neither 1 nor 2: a grid would be too large.

    Example:
        >>> ball_grid(1.0, 1, 2).ravel()
        array([-0.5,  0.5])
    """
    if d == 1:
        return radius * ((2 * np.arange(points) + 1) / points - 1)[:, None]
    if d != 2:
        raise ValueError(f"the supremum over Theta is certified for d = 1 and 2, got d = {d}")
    side = np.arange(-points, points + 1) / points  # squares whose half diagonal is 1/(sqrt(2) points)
    grid = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    grid = grid[np.linalg.norm(grid, axis=1) <= 1 + 1 / points]
    return radius * grid / np.maximum(np.linalg.norm(grid, axis=1), 1)[:, None]

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
from mixupe_theory.generalization import corrected_gap, data_dependent_gap, second_moment_bound
from mixupe_theory.glm import GLM, LOGISTIC, require_glm
from mixupe_theory.mixing import BetaLaw, check_law
from mixupe_theory.samples import many_samples

GRIDS = {1: (64, 256), 2: (8, 32, 128)}  # points along the radius, by dimension, coarse to fine
CONFIDENCE = 0.99  # of the interval for the share
LEFT_SIDES = ("loss", "mixup", "test")
INPUT_READINGS = ("norm", "squared")


@dataclass(frozen=True)
class Coverage:
    """The share of samples for which a bound held.

    Attributes:
        share: Of ``draws``; a sample counts only if the bound is certain to hold.
        low: Lower end of the exact (Clopper-Pearson) 99 % interval for the probability.
        high: Upper end.
        draws: Number of independent samples.
        undecided: Samples that the finest grid left open; they count as failures.
        most_used: The largest part of the allowed gap that a sample used, sup (E L_mix - L_mix)/gap, as a certified
            interval: as wide as the grid is coarse. NaN for a bound that states no gap.
    """

    share: float
    low: float
    high: float
    draws: int
    undecided: int
    most_used: tuple[float, float]


def coverage(
    bound,
    distribution,
    n: int,
    draws: int,
    failure_prob: float,
    generator: np.random.Generator,
) -> Coverage:
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
        >>> held.share, held.low > 0.95, held.most_used[1] < 0.5
        (1.0, True, True)
    """
    if not (callable(getattr(bound, "margins", None)) and hasattr(bound, "law")):
        raise TypeError(f"bound must have a method margins and an attribute law, got {type(bound).__name__}")
    failure_prob = check.probability("failure_prob", failure_prob)
    samples = many_samples(distribution, n, draws, bound.law, check.generator(generator))
    for points in GRIDS[min(_dimension(distribution), 2)]:
        low, high = bound.margins(samples, failure_prob, points)
        undecided = int(((low < 0) & (high >= 0)).sum())
        if not undecided:
            break
    held = int((low >= 0).sum())
    interval = binomtest(held, draws).proportion_ci(CONFIDENCE, method="exact")
    most_used = (math.nan, math.nan)
    if hasattr(bound, "allowed"):
        allowed = bound.allowed(samples, failure_prob)
        unit = np.where(allowed > 0, allowed, 1.0)  # no gap: none used
        most_used = tuple(float(((allowed - margin) / unit).max()) for margin in (high, low))
    return Coverage(held / draws, float(interval.low), float(interval.high), draws, undecided, most_used)


@dataclass(frozen=True)
class Corrected:
    """The corrected bound for all ||theta|| <= theta_bound (see ``generalization.corrected_bound``)."""

    law: BetaLaw
    theta_bound: float
    input_bound: float
    glm: GLM = LOGISTIC

    def __post_init__(self):
        check_law(self.law)
        require_glm(self.glm)
        check.nonnegative("theta_bound", self.theta_bound)
        check.nonnegative("input_bound", self.input_bound)

    def allowed(self, samples, failure_prob: float):
        """The gap that the bound allows, a number or (draws,)."""
        return sum(corrected_gap(samples.n, failure_prob=failure_prob, **self._constants))

    def margins(self, samples, failure_prob: float, points: int) -> tuple[np.ndarray, np.ndarray]:
        """allowed - sup_theta (E L_mix - L_mix), certified: lower and upper end."""
        _covers(self.input_bound, samples.distribution.input_bound)
        largest, error = -np.inf, 0.0
        grid = ball_grid(self.theta_bound, _dimension(samples.distribution), points)
        for theta in tqdm(grid, "theta", leave=False, delay=3, disable=None):  # in terminals alone, not in notebooks
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
        n, estimates = samples.n, samples.second_moments()
        moments = second_moment_bound(n, estimates, input_bound=self.input_bound, failure_prob=failure_prob)
        return sum(data_dependent_gap(n, moments, self.law, failure_prob=failure_prob, **self._constants))


@dataclass(frozen=True)
class Printed:
    """Theorem 2 as printed, for the theta of a finite list that lie in Theta; every supremum is then exact.

    Args:
        law: The law of lambda.
        thetas: Candidates, (m, d); those with abs(q_hat) > gamma somewhere on the support are not in Theta.
        eta: The weight of R.
        gamma: The deck's gamma, >= 0.
        input_bound: The deck's X, >= 0.
        bound_B: The deck's B, >= 0.
        left: What the left side means: "loss" for E_S L(theta, S), "mixup" for E_S L_n^mix, "test" for the test risk.
        eta_hat: None where eta_hat is each sample's own; or a number, frozen.
        restored: Add eta_hat eta R(theta, S), the term that the print drops.
        glm: A, A' and L_A.
        input_reading: What X bounds, "norm" or "squared" norm.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If a value is not allowed; from ``margins``, if Theta is empty, an input outside the bound, or the
            loss may be negative where left is "loss": in value L(theta, S) is then not L_n^mix.
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
    input_reading: str = "norm"

    def __post_init__(self):
        check_law(self.law)
        require_glm(self.glm)
        for name in ("eta", "gamma", "input_bound", "bound_B"):
            check.nonnegative(name, getattr(self, name))
        if self.eta_hat is not None:
            check.nonnegative("eta_hat", self.eta_hat)
        check.choice("left", self.left, LEFT_SIDES)
        check.choice("input_reading", self.input_reading, INPUT_READINGS)

    def margins(self, samples, failure_prob: float, points: int) -> tuple[np.ndarray, np.ndarray]:
        """Right side - left side, the least over the listed theta in Theta; both ends are the same."""
        del points  # nothing is approximated
        n, law = samples.n, samples.distribution
        if not isinstance(law, FiniteDistribution):
            raise TypeError(f"distribution must be a FiniteDistribution for a printed bound, got {type(law).__name__}")
        _covers(self.input_bound, law.input_bound ** (2 if self.input_reading == "squared" else 1))
        confidence = self.bound_B * math.sqrt(math.log(1 / failure_prob) / (2 * n))
        least = np.full(len(samples.counts), np.inf)
        for theta in np.atleast_2d(self.thetas):
            if not in_theta(law.x @ theta, law.y, self.gamma, self.glm):
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
        u = law.x @ theta
        if self.left == "loss" and self.eta_hat is None and self.glm.loss_range(float(np.abs(u).max()))[0] < 0:
            raise ValueError(f"left must not be 'loss' for glm {self.glm.name!r}, whose loss may be negative")
        mixup = law.expected_mixup_loss(theta, self.law, samples.n, self.glm)
        if self.left == "mixup" or self.eta_hat is None:  # with its own eta_hat, L(theta, S) = L_n^mix(theta, S)
            return mixup
        q_hat = np.abs(self.glm.q_hat(u, law.y))
        return self.eta_hat * (mixup + self.eta * self.law.tilted().a_moment(1) * float(law.p @ q_hat))


def _dimension(distribution) -> int:
    return distribution.dimension if isinstance(distribution, FiniteDistribution) else 1


def _covers(input_bound: float, largest: float) -> None:
    if largest > input_bound * (1 + 1e-12):  # rounding
        raise ValueError(f"input_bound must be at least the distribution's, {largest:g}, got {input_bound:g}")


def in_theta(u: np.ndarray, y: np.ndarray, gamma: float, glm: GLM) -> bool:
    """Whether abs(q_hat) <= gamma at all points u = theta^T x, up to the rounding of y - A', 1e-12 at most."""
    return bool(np.abs(glm.q_hat(u, y)).max() <= gamma + 1e-12 * np.abs(u).max())


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
        ValueError: If d is neither 1 nor 2: a grid would be too large; or points is less than 1.

    Example:
        >>> ball_grid(1.0, 1, 2).ravel()
        array([-0.5,  0.5])
    """
    points = check.integer("points", points, least=1)
    if d == 1:
        return radius * ((2 * np.arange(points) + 1) / points - 1)[:, None]
    if d != 2:
        raise ValueError(f"the supremum over Theta is certified for d = 1 and 2, got d = {d}")
    side = np.arange(-points, points + 1) / points  # squares whose half diagonal is 1/(sqrt(2) points)
    grid = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    grid = grid[np.linalg.norm(grid, axis=1) <= 1 + 1 / points]
    return radius * grid / np.maximum(np.linalg.norm(grid, axis=1), 1)[:, None]

"""Many samples of one size at once, as the counting of a bound's failures needs them.

A sample from k points is its counts N: every V-statistic is a quadratic form in N/n, so n may be as large as one likes.
A sample from a law in one dimension is its first moments: A is a polynomial to rounding on a short range, and the mean
over pairs of (lambda x_i + (1 - lambda) x_j)^k is a sum of products of two moments.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.polynomial import Chebyshev, Polynomial
from scipy.special import betaln, binom

from mixupe_theory import _validation as check
from mixupe_theory.distributions import FiniteDistribution, SampledDistribution
from mixupe_theory.generalization import mixed_second_moment
from mixupe_theory.glm import GLM
from mixupe_theory.linear_mixup import ACCURACY, pair_losses, spread_moment
from mixupe_theory.mixing import BetaLaw

DEGREE, POLYNOMIAL_ERROR = 30, 1e-9  # of the polynomial that stands for A
POPULATION, SIGMAS = 50_000, 5.0  # Monte-Carlo draws for the population side, half width of its interval


def many_samples(distribution, n: int, draws: int, law: BetaLaw, generator: np.random.Generator):
    """``draws`` independent samples of n points.

    Raises:
        TypeError: If distribution is neither a FiniteDistribution nor a SampledDistribution.
        ValueError: If a sampled one has more than one dimension.
    """
    n, draws = check.integer("n", n, least=2), check.integer("draws", draws, least=1)
    if isinstance(distribution, FiniteDistribution):
        return CountedSamples(distribution, n, law, distribution.counts(n, draws, generator))
    if not isinstance(distribution, SampledDistribution):
        raise TypeError(f"distribution must be a Finite- or SampledDistribution, got {type(distribution).__name__}")
    x, y = distribution.sample(n * draws, generator)
    if x.shape[1] != 1:
        raise ValueError(f"a distribution that is only sampled must have d = 1 here, got d = {x.shape[1]}")
    pairs = (*distribution.sample(POPULATION, generator), *distribution.sample(POPULATION, generator))
    lam = law.sample(POPULATION, generator)
    return MomentSamples(distribution, n, law, x.reshape(draws, n), y.reshape(draws, n), (*pairs, lam))


@dataclass(frozen=True)
class CountedSamples:
    """Samples of n from a finite distribution, by their counts (draws, k)."""

    distribution: FiniteDistribution
    n: int
    law: BetaLaw
    counts: np.ndarray

    def mixup_losses(self, theta: np.ndarray, glm: GLM) -> np.ndarray:
        """L_n^mix(theta, S) of each sample, (draws,)."""
        phi = pair_losses(self.distribution.x @ theta, self.distribution.y, self.law, glm)
        return ((self.counts @ phi) * self.counts).sum(1) / self.n**2

    def regularizers(self, theta: np.ndarray, glm: GLM) -> np.ndarray:
        """R(theta, S) of each sample, (draws,)."""
        q_hat = np.abs(glm.q_hat(self.distribution.x @ theta, self.distribution.y))
        return self.law.tilted().a_moment(1) * (self.counts @ q_hat) / self.n

    def gaps(self, theta: np.ndarray, glm: GLM) -> tuple[np.ndarray, float]:
        """E L_n^mix(theta, S) - L_n^mix(theta, S), (draws,), and its error, that of the integral over lambda."""
        expected = self.distribution.expected_mixup_loss(theta, self.law, self.n, glm)
        largest = float(np.abs(glm.log_partition(self.distribution.x @ theta)).max())
        return expected - self.mixup_losses(theta, glm), 2 * ACCURACY * max(largest, 1.0)

    def second_moments(self) -> np.ndarray:
        """U-statistics of ||lambda x_i + (1 - lambda) x_j||^2, (draws,)."""
        x, shares = self.distribution.x, self.counts / self.n
        return mixed_second_moment(self.n, shares @ (x**2).sum(1), ((shares @ x) ** 2).sum(1), self.law)

    @cached_property
    def variation(self) -> np.ndarray:
        """Sum over pairs of abs(expected - observed share), (draws,): L r times it bounds the gap's gradient."""
        expected, shares = self.distribution.pair_weights(self.n), self.counts / self.n
        return np.array([np.abs(expected - np.outer(row, row)).sum() for row in shares])


@dataclass(frozen=True)
class MomentSamples:
    """Samples of n from a law on [-r, r], (draws, n), and draws of (z, z', lambda) for the population side."""

    distribution: SampledDistribution
    n: int
    law: BetaLaw
    x: np.ndarray
    y: np.ndarray
    population: tuple[np.ndarray, ...]

    def mixup_losses(self, theta: np.ndarray, glm: GLM) -> np.ndarray:
        """L_n^mix(theta, S) of each sample, to 1e-9, (draws,).

        Raises:
            ValueError: If A is no polynomial of degree 30 to 1e-9 on the range of theta x.
        """
        reach = float(abs(theta[0])) * self.distribution.input_bound
        grid = np.linspace(-1, 1, 501)
        series = Chebyshev.interpolate(lambda t: glm.log_partition(reach * t), DEGREE).convert(kind=Polynomial)
        error = np.abs(series(grid) - glm.log_partition(reach * grid)).max()
        if error > POLYNOMIAL_ERROR:
            raise ValueError(f"glm {glm.name!r}: no polynomial of degree {DEGREE} for abs(u) <= {reach:g}: {error:.1e}")
        signs = np.sign(theta[0]) ** np.arange(DEGREE + 1)
        c, u = spread_moment(self.law), theta[0] * self.x
        linear = (1 - 2 * c) * (self.y * u).mean(1) + 2 * c * self.y.mean(1) * u.mean(1)
        return self._mixed_moments @ (signs * series.coef) - linear

    def gaps(self, theta: np.ndarray, glm: GLM) -> tuple[np.ndarray, float]:
        """E L_n^mix(theta, S) - L_n^mix(theta, S), (draws,), and the half width of the expectation's interval."""
        x, y, other_x, other_y, lam = self.population
        u, v = x @ theta, other_x @ theta
        mixed = glm.loss(lam * u + (1 - lam) * v, lam * y + (1 - lam) * other_y)
        values = (1 - 1 / self.n) * mixed + glm.loss(u, y) / self.n
        error = SIGMAS * values.std() / len(values) ** 0.5 + POLYNOMIAL_ERROR
        return values.mean() - self.mixup_losses(theta, glm), float(error)

    def second_moments(self) -> np.ndarray:
        """U-statistics of ||lambda x_i + (1 - lambda) x_j||^2, (draws,)."""
        return mixed_second_moment(self.n, (self.x**2).mean(1), self.x.mean(1) ** 2, self.law)

    @property
    def variation(self) -> float:
        """L r times this bounds the gap's gradient: each of the two expectations has one of at most L r."""
        return 2.0

    @cached_property
    def _mixed_moments(self) -> np.ndarray:
        """Mean over pairs of E (lambda t_i + (1 - lambda) t_j)^k, t = x/r, k = 0..DEGREE, (draws, DEGREE + 1)."""
        t = self.x / self.distribution.input_bound
        power, means, columns = np.ones_like(t), [np.ones(len(t))], []
        for _ in range(DEGREE):
            power = power * t
            means.append(power.mean(1))
        means, (alpha, beta) = np.stack(means, 1), (self.law.alpha, self.law.beta)
        for k in range(DEGREE + 1):
            j = np.arange(k + 1)
            weights = binom(k, j) * np.exp(betaln(alpha + j, beta + k - j) - betaln(alpha, beta))
            columns.append((means[:, j] * means[:, k - j]) @ weights)
        return np.stack(columns, 1)

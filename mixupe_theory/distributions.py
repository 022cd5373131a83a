"""Laws of (x, y) whose expected losses are known: exactly where the support is finite, else by Monte Carlo.

Over samples of n independent points the expected mixup loss is

    E L_n^mix(theta, S) = (1 - 1/n) E phi_theta(z, z') + 1/n E ell(theta, z),

phi_theta(z, z') the expected loss at a mixture of two independent points: the n diagonal pairs are not mixed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mixupe_theory import _validation as check
from mixupe_theory.glm import GLM, LOGISTIC
from mixupe_theory.linear_mixup import inputs_and_labels, pair_losses
from mixupe_theory.mixing import BetaLaw


@dataclass(frozen=True)
class FiniteDistribution:
    """A law on finitely many points, where every expectation is a finite sum.

    Args:
        x: Inputs, (k, d).
        y: Labels in [0, 1], (k,).
        p: Probabilities, (k,), positive, summing to 1.

    Raises:
        TypeError: If an argument does not hold real numbers.
        ValueError: If a shape or value is not allowed.

    Example:
        >>> coin = FiniteDistribution([[1.0], [-1.0]], [1, 0], [0.5, 0.5])
        >>> round(coin.risk(np.log(3.0)), 6)  # log(4/3)
        0.287682
    """

    x: np.ndarray
    y: np.ndarray
    p: np.ndarray

    def __post_init__(self):
        x, y = inputs_and_labels(self.x, self.y)
        p = check.vector("p", self.p, len(x))
        if p.min() <= 0 or abs(p.sum() - 1) > 1e-9:
            raise ValueError(f"p must be positive and sum to 1, got a least entry {p.min():g} and a sum of {p.sum():g}")
        for name, value in (("x", x), ("y", y), ("p", p / p.sum())):
            object.__setattr__(self, name, value)

    @property
    def dimension(self) -> int:
        """d."""
        return self.x.shape[1]

    @property
    def input_bound(self) -> float:
        """The largest norm of an input."""
        return float(np.linalg.norm(self.x, axis=1).max())

    def counts(self, n: int, draws: int, generator: np.random.Generator) -> np.ndarray:
        """How often each point occurs in ``draws`` independent samples of n, integers (draws, k)."""
        n, draws = check.integer("n", n, least=2), check.integer("draws", draws, least=1)
        return check.generator(generator).multinomial(n, self.p, size=draws)

    def sample(self, n: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """``(x, y)`` of n independent points, (n, d) and (n,)."""
        rows = check.generator(generator).choice(len(self.p), size=check.integer("n", n, least=1), p=self.p)
        return self.x[rows], self.y[rows]

    def risk(self, theta, glm: GLM = LOGISTIC) -> float:
        """The test risk E ell(theta, (x, y)), nothing mixed."""
        return float(self.p @ glm.loss(self.x @ np.atleast_1d(theta), self.y))

    def expected_mixup_loss(self, theta, law: BetaLaw, n: int, glm: GLM = LOGISTIC) -> float:
        """E L_n^mix(theta, S) over samples of n points."""
        theta = check.vector("theta", np.atleast_1d(theta), self.dimension)
        phi = pair_losses(self.x @ theta, self.y, law, glm)
        return float((self.pair_weights(check.integer("n", n, least=1)) * phi).sum())

    def pair_weights(self, n: int) -> np.ndarray:
        """Expected shares of the ordered pairs of points in a sample of n, (k, k)."""
        return (1 - 1 / n) * np.outer(self.p, self.p) + np.diag(self.p) / n


@dataclass(frozen=True)
class SampledDistribution:
    """A law that one can only draw from; expectations are Monte-Carlo estimates with standard errors.

    Args:
        draw: Called with a size and a ``numpy.random.Generator``; returns ``(x, y)`` of independent points, (size, d)
            and (size,).
        input_bound: A positive number that no ||x|| exceeds.

    Raises:
        TypeError: If draw is no function, or input_bound no number.
        ValueError: If input_bound is not positive; from ``sample``, if draw returns what is not allowed.

    Example:
        >>> def draw(size, rng):
        ...     x = rng.uniform(-1, 1, (size, 1))
        ...     return x, (rng.random(size) < 1 / (1 + np.exp(-4 * x[:, 0]))).astype(float)
        >>> law = SampledDistribution(draw, input_bound=1.0)
        >>> estimate, error = law.expected_mixup_loss(
        ...     [2.0], BetaLaw(1.0), 100, samples=10_000, generator=np.random.default_rng(0)
        ... )
        >>> 0.5 < estimate < 0.7, error < 0.01
        (True, True)
    """

    draw: Callable
    input_bound: float

    def __post_init__(self):
        if not callable(self.draw):
            raise TypeError(f"draw must be a function of (size, generator), got {type(self.draw).__name__}")
        object.__setattr__(self, "input_bound", check.positive("input_bound", self.input_bound))

    def sample(self, n: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """``(x, y)`` of n independent points, checked, (n, d) and (n,)."""
        n = check.integer("n", n, least=1)
        x, y = inputs_and_labels(*self.draw(n, check.generator(generator)))
        if len(x) != n:
            raise ValueError(f"draw must return as many points as it is asked for, {n}, got {len(x)}")
        within_bound(x, self.input_bound)
        return x, y

    def expected_mixup_loss(
        self, theta, law: BetaLaw, n: int, glm: GLM = LOGISTIC, *, samples: int, generator: np.random.Generator
    ) -> tuple[float, float]:
        """Estimate of E L_n^mix(theta, S) and its standard error, from independent pairs of points and lambdas.

        A pair (z, z', lambda) contributes (1 - 1/n) ell(mixture) + 1/n ell(z), which is unbiased.
        """
        n, samples = check.integer("n", n, least=1), check.integer("samples", samples, least=2)
        (x, y), (other_x, other_y) = (self.sample(samples, generator) for _ in range(2))
        theta = check.vector("theta", theta, x.shape[1])
        u, v, lam = x @ theta, other_x @ theta, law.sample(samples, generator)
        mixed = glm.loss(lam * u + (1 - lam) * v, lam * y + (1 - lam) * other_y)
        values = (1 - 1 / n) * mixed + glm.loss(u, y) / n
        return float(values.mean()), float(values.std(ddof=1) / samples**0.5)


def within_bound(x: np.ndarray, input_bound: float, *, squared: bool = False) -> None:
    """Raise a ValueError if a row of x is longer than input_bound (``squared``: if its square is larger)."""
    size, sizes = ("||x_{}||^2", (x**2).sum(1)) if squared else ("||x_{}||", np.linalg.norm(x, axis=1))
    if sizes.max() > input_bound * (1 + 1e-12):  # rounding
        at = sizes.argmax()
        raise ValueError(
            f"input_bound must be at least every {size.format('i')}, got {input_bound:g} but {size.format(at)} = "
            f"{sizes[at]:.6g}"
        )

"""Laws of the mixing coefficient lambda: Beta(alpha, beta) and the deck's D_lambda.

Both laws offer exact moments, Gauss quadrature in lambda and sampling. D_lambda, which the deck uses in Theorem 1
without defining it, is the law under which mixing inputs alone (keeping the label ``y_i``) gives the same expected
loss as mixing inputs and labels under Beta(alpha, beta): the size-biased mixture

    D_lambda = alpha/(alpha+beta) Beta(alpha+1, beta) + beta/(alpha+beta) Beta(beta+1, alpha).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.linalg import eigh_tridiagonal

from mixupe_theory import _validation as check


@dataclass(frozen=True)
class BetaLaw:
    """The law of the mixing coefficient, lambda ~ Beta(alpha, beta) (deck, "Mixup formulation").

    Args:
        alpha: First shape parameter, finite and > 0.
        beta: Second shape parameter, finite and > 0; ``None`` means ``beta = alpha``.

    Raises:
        TypeError: If a parameter is not a real number.
        ValueError: If a parameter is not finite and positive.

    Example:
        >>> law = BetaLaw(2.0)
        >>> law.moment(1), law.tilted().a_moment(1)
        (0.5, 0.4)
    """

    alpha: float
    beta: float | None = None

    def __post_init__(self):
        beta = self.alpha if self.beta is None else self.beta
        object.__setattr__(self, "alpha", check.positive("alpha", self.alpha))
        object.__setattr__(self, "beta", check.positive("beta", beta))

    def moment(self, k: int) -> float:
        """E[lambda^k] = prod_{r<k} (alpha + r)/(alpha + beta + r), for an integer k >= 0."""
        k = check.integer("k", k, least=0)
        return math.prod((self.alpha + r) / (self.alpha + self.beta + r) for r in range(k))

    def reflected(self) -> BetaLaw:
        """The law of a = 1 - lambda, Beta(beta, alpha)."""
        return BetaLaw(self.beta, self.alpha)

    def tilted(self) -> TiltedLaw:
        """D_lambda, the law of Theorem 1 (see :class:`TiltedLaw`)."""
        return TiltedLaw(self)

    def quadrature(self, m: int) -> tuple[np.ndarray, np.ndarray]:
        """Gauss-Jacobi rule of m nodes for lambda, exact for polynomials of degree up to 2m - 1.

        Nodes and weights are accurate from alpha = 0.01, where the classical formulas cancel next to the ends, to
        alpha = 1000, where their normalization overflows: each half of [0, 1] is computed from its own end.

        Args:
            m: Number of nodes, at least 1.

        Returns:
            ``(nodes, weights)``, float64 arrays of shape (m,): increasing nodes in [0, 1], positive weights that
            sum to 1.

        Example:
            >>> nodes, weights = BetaLaw(0.5).quadrature(2)
            >>> bool(abs(weights @ nodes**3 - BetaLaw(0.5).moment(3)) < 1e-15)
            True
        """
        m = check.integer("m", m, least=1)
        low, low_weights = _gauss_from_zero(self.alpha, self.beta, m)
        high, high_weights = _gauss_from_zero(self.beta, self.alpha, m)
        near_zero = low < 0.5
        nodes = np.where(near_zero, low, 1 - high[::-1])
        weights = np.where(near_zero, low_weights, high_weights[::-1])
        return nodes, weights / weights.sum()

    def sample(self, size, generator: np.random.Generator) -> np.ndarray:
        """Independent draws of lambda, float64, of the given shape.

        Below alpha of about 0.2 much of the law lies within 2^-53 of 1, where float64 cannot follow it (those
        draws are 1.0); the small one of lambda and 1 - lambda is right down to that size.
        """
        return check.generator(generator).beta(self.alpha, self.beta, size)


@dataclass(frozen=True)
class TiltedLaw:
    """D_lambda: the mixture alpha/(alpha+beta) Beta(alpha+1, beta) + beta/(alpha+beta) Beta(beta+1, alpha).

    For beta = alpha it is Beta(alpha + 1, alpha), with E[1 - lambda] = alpha/(2 alpha + 1).

    Example:
        >>> BetaLaw(1.0).tilted().a_moment(2) / BetaLaw(1.0).tilted().a_moment(1)
        0.5
    """

    base: BetaLaw

    @property
    def components(self) -> tuple[tuple[float, BetaLaw], ...]:
        """The mixture as (probability, Beta law) pairs."""
        alpha, beta = self.base.alpha, self.base.beta
        return (
            (alpha / (alpha + beta), BetaLaw(alpha + 1, beta)),
            (beta / (alpha + beta), BetaLaw(beta + 1, alpha)),
        )

    def a_moment(self, k: int) -> float:
        """E[a^k] of a = 1 - lambda, for an integer k >= 0."""
        return math.fsum(p * law.reflected().moment(k) for p, law in self.components)

    def quadrature(self, m: int) -> tuple[np.ndarray, np.ndarray]:
        """The Gauss rules of m nodes of each component: 2m nodes, exact to degree 2m - 1, weights summing to 1."""
        rules = [(p, *law.quadrature(m)) for p, law in self.components]
        return np.concatenate([x for _, x, _ in rules]), np.concatenate([p * w for p, _, w in rules])

    def sample(self, size, generator: np.random.Generator) -> np.ndarray:
        """Independent draws of lambda ~ D_lambda, float64, of the given shape."""
        (p, first), (_, second) = self.components
        pick = check.generator(generator).random(size) < p
        return np.where(pick, first.sample(size, generator), second.sample(size, generator))


def check_law(law) -> None:
    """Raise a TypeError unless ``law`` is a BetaLaw."""
    if not isinstance(law, BetaLaw):
        raise TypeError(f"law must be a BetaLaw, got {type(law).__name__}")


def _gauss_from_zero(alpha: float, beta: float, m: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss rule of Beta(alpha, beta) with full relative accuracy next to 0.

    The law's Jacobi matrix factors as L L^T with L bidiagonal and positive (Stieltjes' continued fraction), so the
    nodes are squared singular values of L; without vectors LAPACK finds those by the dqds algorithm, which is
    relatively accurate for each. The weights are Christoffel numbers 1/sum_k p_k(node)^2, p_k orthonormal.
    """
    total = alpha + beta
    k = np.arange(1, m)
    q = np.concatenate([[alpha / total], (alpha + k) * (total + k - 1) / ((total + 2 * k - 1) * (total + 2 * k))])
    e = k * (beta + k - 1) / ((total + 2 * k - 2) * (total + 2 * k - 1))
    bidiagonal = np.diag(np.sqrt(q)) + np.diag(np.sqrt(e), 1)
    nodes = np.linalg.svd(bidiagonal, compute_uv=False)[::-1] ** 2
    diagonal = q + np.concatenate([[0.0], e])
    off = np.sqrt(q[:-1] * e)
    previous, current, squares = np.zeros(m), np.ones(m), np.ones(m)
    for r in range(m - 1):
        back = off[r - 1] * previous if r else 0.0
        previous, current = current, ((nodes - diagonal[r]) * current - back) / off[r]
        squares += current**2
        # a weight below 1e-250 is as good as 0; going on would overflow
        current[squares > 1e250] = previous[squares > 1e250] = 0.0
    return nodes, 1 / squares


def symmetrized_quadrature(law: BetaLaw, m: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss rule of m nodes of the law of lambda or 1 - lambda, each with probability 1/2.

    Over all ordered pairs (i, j) lambda and 1 - lambda are interchangeable, so this law replaces Beta(alpha, beta)
    in the mixup loss and every unordered pair needs visiting once. For beta = alpha it is the Gauss-Jacobi rule;
    otherwise it comes from the mixture's two m-node rules by Lanczos orthogonalization, exact to degree 2m - 1.
    """
    nodes, weights = _symmetrized_quadrature(law, m)
    return nodes.copy(), weights.copy()


@lru_cache(maxsize=256)
def _symmetrized_quadrature(law: BetaLaw, m: int) -> tuple[np.ndarray, np.ndarray]:
    if law.alpha == law.beta:
        return law.quadrature(m)
    rules = (law.quadrature(m), law.reflected().quadrature(m))
    nodes, weights = (np.concatenate(parts) for parts in zip(*rules, strict=True))
    # Lanczos with full reorthogonalization on the discrete measure of 2m points gives the mixture's Jacobi matrix
    basis = np.zeros((m, 2 * m))
    basis[0] = np.sqrt(weights / 2)
    diagonal, off = np.zeros(m), np.zeros(m - 1)
    for k in range(m):
        v = nodes * basis[k]
        diagonal[k] = basis[k] @ v
        if k < m - 1:
            for _ in range(2):
                v -= basis[: k + 1].T @ (basis[: k + 1] @ v)
            off[k] = np.linalg.norm(v)
            basis[k + 1] = v / off[k]
    values, vectors = eigh_tridiagonal(diagonal, off)
    weights = vectors[0] ** 2
    return np.clip(values, 0.0, 1.0), weights / weights.sum()

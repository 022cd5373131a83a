"""Models, laws, random samples and slow references that the tests of Theorem 2 share.

The references mix inputs and labels pair by pair, as the definition says, with A written out once more; the expectation
over lambda is a 60-node rule on each half of (0, 1) (``halves``), or mpmath's quadrature.
"""

import itertools
import math
from functools import cache

import mpmath
import numpy as np
from hypothesis import strategies as st
from implicit_bias_cases import halves
from scipy.special import expit

from mixupe_theory import BetaLaw
from mixupe_theory.distributions import FiniteDistribution
from mixupe_theory.glm import GLM, LOGISTIC

NAN, INF = math.nan, math.inf
SEEDS = st.integers(0, 2**32 - 1)
LAWS = [BetaLaw(1.0), BetaLaw(0.3), BetaLaw(3.0, 0.5), BetaLaw(0.4, 2.5)]
LAW_IDS = [f"Beta({law.alpha:g}, {law.beta:g})" for law in LAWS]
RANGE = 2.0  # U on which all models below are what they claim to be
LOG_COSH = GLM("log cosh", lambda u: np.logaddexp(u, -u), np.tanh, lipschitz_A=1.0)
STEEP = GLM("softplus(3u)", lambda u: np.logaddexp(0, 3 * u), lambda u: 3 * expit(3 * u), lipschitz_A=3.0)
GAUSSIAN = GLM("gaussian", lambda u: u**2 / 2, lambda u: u, lipschitz_A=RANGE)
POISSON = GLM("poisson", np.exp, np.exp, lipschitz_A=math.exp(RANGE))
GLMS = [LOGISTIC, LOG_COSH, STEEP, GAUSSIAN, POISSON]
GLM_IDS = [glm.name for glm in GLMS]
CURVATURE = 8.0  # no A'' above is larger on abs(u) <= 2: 1/4, 1, 9/4, 1, e^2 = 7.4
A = {  # once more, for mpmath's numbers
    "logistic": lambda u: mpmath.log(1 + mpmath.exp(u)),
    "log cosh": lambda u: mpmath.log(mpmath.exp(u) + mpmath.exp(-u)),
    "softplus(3u)": lambda u: mpmath.log(1 + mpmath.exp(3 * u)),
    "gaussian": lambda u: u * u / 2,
    "poisson": mpmath.exp,
}
NUMPY_A = {  # and for arrays
    "logistic": lambda u: np.log(1 + np.exp(u)),
    "log cosh": lambda u: np.log(2 * np.cosh(u)),
    "softplus(3u)": lambda u: np.log(1 + np.exp(3 * u)),
    "gaussian": lambda u: u * u / 2,
    "poisson": np.exp,
}


def expectation(f, law):
    """E f(lambda) by mpmath. Each half is integrated over t = s^p, s the smaller of lambda and 1 - lambda, which takes
    the density's singularity away."""
    alpha, beta = mpmath.mpf(law.alpha), mpmath.mpf(law.beta)

    def half(g, own, other):
        p = min(own, mpmath.mpf(1))
        inside = lambda s: g(s) * s ** (own - p) * (1 - s) ** (other - 1)
        return mpmath.quad(lambda t: inside(t ** (1 / p)), [0, mpmath.mpf(0.5) ** p]) / p

    return (half(f, alpha, beta) + half(lambda s: f(1 - s), beta, alpha)) / mpmath.beta(alpha, beta)


@cache
def rule(law, m=60):
    """Nodes and weights of lambda, arrays."""
    return tuple(np.array(column) for column in list(zip(*halves(law, m), strict=True))[:2])


def mixture_loss(u, y, v, z, law, name):
    """E over lambda of the loss at the mixture of a point (u, y), which lambda goes with, and (v, z)."""
    lam, p = rule(law)
    point, label = lam * u + (1 - lam) * v, lam * y + (1 - lam) * z
    return float(p @ (NUMPY_A[name](point) - label * point))


def slow_mixup_loss(u, y, law, name="logistic"):
    """L_n^mix: the mean over all n^2 ordered pairs, one by one."""
    pairs = itertools.product(range(len(u)), repeat=2)
    return math.fsum(mixture_loss(u[i], y[i], u[j], y[j], law, name) for i, j in pairs) / len(u) ** 2


def pair_table(population, theta, law, name="logistic"):
    """The expected loss of every ordered pair of a finite law's points, (k, k)."""
    u, y = [float(np.dot(row, theta)) for row in population.x], population.y
    return np.array([[mixture_loss(u[a], y[a], u[b], y[b], law, name) for b in range(len(u))] for a in range(len(u))])


def all_samples(population, n):
    """[(rows, probability), ...] of all k^n ordered samples."""
    every = itertools.product(range(len(population.p)), repeat=n)
    return [(rows, math.prod(population.p[a] for a in rows)) for rows in every]


def table_loss(phi, rows):
    """L_n^mix of the sample with these rows, from a table of pairs."""
    return math.fsum(phi[a, b] for a in rows for b in rows) / len(rows) ** 2


def slow_expected_mixup_loss(population, theta, law, n, name="logistic"):
    """E L_n^mix over all k^n ordered samples."""
    phi = pair_table(population, theta, law, name)
    return math.fsum(p * table_loss(phi, rows) for rows, p in all_samples(population, n))


def points(seed, n, d=1, reach=1.0):
    """(x, y): inputs of norm at most ``reach``, one of that norm, and soft labels, 0 and 1 among them."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    x *= reach / np.linalg.norm(x, axis=1).max()
    y = rng.random(n)
    y[rng.random(n) < 0.5] = rng.integers(2)
    return x, y


def finite_law(seed, k=3, d=1, reach=1.0):
    x, y = points(seed, k, d, reach)
    p = np.random.default_rng([seed, 1]).uniform(0.2, 1, k)
    return FiniteDistribution(x, y, p / p.sum())


def in_ball(seed, d, radius):
    """A vector of norm at most ``radius``."""
    rng = np.random.default_rng([seed, 2])
    v = rng.normal(size=d)
    return v / np.linalg.norm(v) * radius * rng.random()


def mean_a(law):
    """E[1 - lambda] of D_lambda: with probability alpha/s, s = alpha + beta, beta/(s + 1), else alpha/(s + 1)."""
    total = law.alpha + law.beta
    return 2 * law.alpha * law.beta / (total * (total + 1))


def explicit_moment(x, law):
    """The mean over i != j of E ||lambda x_i + (1 - lambda) x_j||^2, Beta moments by hand."""
    a, b, total = law.alpha, law.beta, 0.0
    for i, j in itertools.permutations(range(len(x)), 2):
        own, other, cross = sum(x[i] ** 2), sum(x[j] ** 2), sum(x[i] * x[j])
        total += (a * (a + 1) * own + b * (b + 1) * other + 2 * a * b * cross) / ((a + b) * (a + b + 1))
    return total / (len(x) * (len(x) - 1))


def every_count(population, n):
    rows = sorted({tuple(np.bincount(rows, minlength=len(population.p))) for rows, _ in all_samples(population, n)})
    return np.array(rows)


def brute_suprema(population, law, n, counts, thetas):
    """sup over the thetas of E L_mix - L_mix, per row of counts, from tables of pairs."""
    largest, weights = np.full(len(counts), -np.inf), np.zeros((len(population.p),) * 2)
    for rows, p in all_samples(population, n):
        for a in rows:
            for b in rows:
                weights[a, b] += p / n**2
    for theta in thetas:
        phi = pair_table(population, theta, law)
        own = np.array([sum(r[a] * r[b] * phi[a, b] for a in range(len(r)) for b in range(len(r))) for r in counts])
        largest = np.maximum(largest, (weights * phi).sum() - own / n**2)
    return largest


def printed_by_hand(population, law, thetas, n, counts, left, frozen, restored, delta=0.1, eta=0.7, gamma=0.5, B=0.3):
    """Right side less left side, the least over the thetas in Theta; X = 1, L_A = 1."""
    least = np.full(len(counts), np.inf)
    for theta in thetas:
        u = population.x @ theta
        q_hat = np.abs((population.y - 1 / (1 + np.exp(-u))) * u)
        if max(q_hat) > gamma:
            continue
        phi = pair_table(population, theta, law)
        loss = lambda rows, phi=phi: table_loss(phi, rows)
        penalty = lambda rows, q_hat=q_hat: mean_a(law) * sum(q_hat[a] for a in rows) / len(rows)
        scale = lambda rows, loss=loss, penalty=penalty: (
            loss(rows) / (loss(rows) + eta * penalty(rows)) if frozen is None else frozen
        )
        if left == "test":
            value = sum(p * (math.log1p(math.exp(t)) - y * t) for p, t, y in zip(population.p, u, population.y, strict=True))  # fmt: skip  # noqa: E501
        elif left == "mixup":
            value = slow_expected_mixup_loss(population, theta, law, n)
        else:  # the objective itself, sample by sample
            value = sum(p * scale(r) * (loss(r) + eta * penalty(r)) for r, p in all_samples(population, n))
        for k, row in enumerate(counts):
            rows = np.repeat(np.arange(len(row)), row)
            right = scale(rows) * (loss(rows) + (eta * penalty(rows) if restored else 0.0))
            right += 2 * scale(rows) * eta * gamma / (2 * math.sqrt(n)) + B * math.sqrt(math.log(1 / delta) / (2 * n))
            least[k] = min(least[k], right - value)
    return least

"""Predictions against what they predict: long flows, the limits that define the cost, enumeration and simulation."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from implicit_bias_cases import (
    BAD_IDS,
    BAD_ROWS,
    LAWS,
    NOT_SEPARABLE,
    PLUS_MINUS,
    SEEDS,
    close,
    cloud,
    halves,
    rotation,
    separable,
)
from scipy.integrate import quad
from scipy.optimize import minimize

from mixupe_theory import BetaLaw
from mixupe_theory.asymptotics import separable_limit, small_alpha_cost, stationary_covariance
from mixupe_theory.descent import descend, gradient_flow
from mixupe_theory.implicit_bias import mixup_minimizer
from mixupe_theory.separable import NotSeparable, soudry_data

# --- ERM's limit


def spanning(seed, others):
    """Two support vectors of w_hat = (1, 0) and other points of margin 1.5 and more, rotated; both labels."""
    rng = np.random.default_rng(seed)
    across = np.concatenate([[rng.uniform(0.5, 2), -rng.uniform(0.5, 2)], rng.normal(size=others)])
    along = np.concatenate([[1, 1], 1.5 + rng.random(others)])
    y, q = rng.integers(2, size=len(along)), rotation(seed, 2)
    return (2 * y - 1)[:, None] * np.stack([along, across], 1) @ q.T, y, q[:, 0]


@given(SEEDS, st.integers(0, 4), st.floats(0.1, 3))
def test_offset_solves_its_equations(seed, others, rate):
    """By hand: with z_1 = (1, a), z_2 = (1, -b), exp(-z_i^T offset) are n/r (b, a)/(a + b)."""
    x, y, w_hat = spanning(seed, others)
    limit = separable_limit(x, y, rate)
    z, n = (2 * y - 1)[:, None] * x, len(x)
    a, b = np.abs(z[:2] @ [-w_hat[1], w_hat[0]])
    wanted = np.linalg.solve(z[:2], -np.log(n / rate * np.array([b, a]) / (a + b)))
    close(limit.w_hat, w_hat, 1e-9)
    close(limit.offset, wanted, 1e-7)
    assert limit.loss == pytest.approx(1 / rate, rel=1e-9)
    transverse = a * b  # eigenvalues of sum exp(-z^T offset) z z^T r/n: 1 along w_hat, (b a^2 + a b^2)/(a + b) across
    slowest = min([1, transverse, *(z[2:] @ w_hat - 1)])
    assert limit.exponent == pytest.approx(slowest, rel=1e-6)
    close(limit([1.0, 7.0]), [limit.offset, limit.offset + np.log(7) * w_hat], 1e-7)


@pytest.mark.parametrize(
    ("across", "beyond", "exponent"),
    [((1.0, -0.5), None, 0.5), ((1.2, -1.0), 1.3, 0.3), ((0.6, -0.4), 2.0, 0.24)],
    ids=["support vectors alone", "another point decides", "support vectors decide"],
)
def test_flow_and_its_loss_tend_to_the_limit_at_the_predicted_rate(across, beyond, exponent):
    """The deviation's slope over t = 1e6, ..., 1e10 is -exponent; 0.03 leaves room for the next terms."""
    x = np.array([[1.0, across[0]], [-1.0, -across[1]], *([] if beyond is None else [[beyond, 0.3]])])
    limit, flow = separable_limit(x, [1, 0, 1][: len(x)]), gradient_flow(x, [1, 0, 1][: len(x)], end=1e14)
    t, deviation = flow.step[1:], np.linalg.norm(flow.w[1:] - limit(flow.step[1:]), axis=1)
    assert limit.exponent == pytest.approx(exponent, abs=1e-9)
    window = (t >= 1e6) & (t <= 1e10)
    assert abs(np.polyfit(np.log(t[window]), np.log(deviation[window]), 1)[0] + exponent) <= 0.03
    assert t[-1] * flow.loss[-1] == pytest.approx(limit.loss, rel=10 * 1e14**-exponent)


def test_discrete_descent_tends_to_the_limit():
    """Soudry's data: exponent 1/4 at most there, so 1e5^-0.2 = 0.1 with some constant below 3."""
    x, y = soudry_data(np.random.default_rng(0))
    limit, run = separable_limit(x, y), descend(x, y, steps=10**5)
    gap = np.linalg.norm(run.w[1:] - limit(run.step[1:]), axis=1)
    assert gap[-1] < 3 * 1e5**-limit.exponent
    assert gap[-1] < 0.5 * gap[run.step[1:] <= 100][-1]


@pytest.mark.parametrize(
    ("x", "y"), [([[1.0, 0.0], [3.0, 1.0]], [1, 1]), ([[1.0, 1.0], [-2.0, -2.0]], [1, 0])], ids=["one", "rank one"]
)
def test_support_vectors_must_span(x, y):
    with pytest.raises(ValueError, match="support vectors must span all 2 dimensions"):
        separable_limit(x, y)


@pytest.mark.parametrize(("x", "y", "error", "words"), BAD_ROWS, ids=BAD_IDS)
def test_bad_data(x, y, error, words):
    with pytest.raises(error, match=words):
        separable_limit(x, y)
    with pytest.raises(error, match=words):
        small_alpha_cost(x, y, [1.0, 1.0])


@pytest.mark.parametrize(("x", "y", "error", "words"), BAD_ROWS, ids=BAD_IDS)
def test_spread_of_bad_data(x, y, error, words):
    with pytest.raises(error, match=words):
        stationary_covariance(x, y, BetaLaw(1.0), [0.0, 0.0], np.eye(2), lambdas="per_step", learning_rate=0.1)


@pytest.mark.parametrize(("x", "y"), NOT_SEPARABLE.values(), ids=NOT_SEPARABLE)
def test_limit_of_data_that_are_not_separable(x, y):
    with pytest.raises(NotSeparable):
        separable_limit(x, y)


@pytest.mark.parametrize("rate", [0, -1.0, np.nan])
def test_limit_of_a_bad_learning_rate(rate):
    with pytest.raises(ValueError, match="learning_rate must be a finite number > 0"):
        separable_limit(*PLUS_MINUS, learning_rate=rate)


# --- the cost of mixing for alpha -> 0


@given(SEEDS, st.integers(2, 5))
def test_cost_is_the_limit_that_defines_it(seed, n):
    """The inner limit is the integral of (ell at (x_ij, y_i) - ell at (x_i, y_i)) da/a; along a pair's segment the
    logistic loss exceeds the positive part by pi^2/6 in all (per unit of margin), so at r it is off by O(1/r).

    Two values of r remove that 1/r; what is left is of order 1/r^2 and the quadrature's 1e-9.
    """
    rng = np.random.default_rng(seed)
    margins, s, q = rng.uniform(0.1, 2, size=n), rng.choice([-1, 1], size=n), rotation(seed, 2)
    x, y, w = s[:, None] * np.stack([margins, rng.normal(size=n)], 1) @ q.T, (s + 1) // 2, q[:, 0]

    def cost(r):
        total = 0.0
        for i, j in itertools.product(range(n), repeat=2):
            first, second = x[i] @ w * r, x[j] @ w * r
            ell = lambda a, i=i, first=first, second=second: np.logaddexp(0, -s[i] * ((1 - a) * first + a * second))
            kink = first / (first - second) if y[i] != y[j] else 0.5
            total += quad(lambda a, ell=ell: (ell(a) - ell(0)) / a, 0, 1, points=[kink], limit=500, epsabs=1e-9)[0]
        return total / n**2 / r

    close(small_alpha_cost(x, y, w), 2 * cost(400.0) - cost(200.0), 2e-4)


@given(SEEDS)
def test_cost_is_homogeneous_convex_and_symmetric(seed):
    x, y = separable(seed, 5, 2)
    z = (2 * y - 1)[:, None] * x
    rng = np.random.default_rng(seed)
    feasible = [v for v in rng.normal(size=(400, 2)) if (z @ v > 0).all()]
    for v, w in itertools.pairwise(feasible[:6]):
        at = lambda w, x=x, y=y: small_alpha_cost(x, y, w)
        assert at(3 * v) == pytest.approx(3 * at(v), rel=1e-12)
        assert at((v + w) / 2) <= (at(v) + at(w)) / 2 * (1 + 1e-12)
        assert at(v, np.repeat(x, 2, axis=0), np.repeat(y, 2)) == pytest.approx(at(v), rel=1e-12)
        assert at(-v, x, 1 - y) == pytest.approx(at(v), rel=1e-12)
        assert at(v) > 0


def test_minimizers_follow_the_cost_as_alpha_falls():
    """By its KKT conditions at large r the direction is that of argmin C, w^T z >= 1, up to O(1/log(1/alpha))."""
    x, y = separable(2, 6, 2)
    z = (2 * y - 1)[:, None] * x
    constraint = {"type": "ineq", "fun": lambda w: z @ w - 1.0}
    target = minimize(
        lambda w: small_alpha_cost(x, y, w), 3 * np.linalg.lstsq(z, np.ones(6), rcond=None)[0], constraints=constraint
    ).x
    off, norm = [], []
    for alpha in (1e-2, 1e-4, 1e-8):
        w = mixup_minimizer(x, y, BetaLaw(alpha)).w
        off.append(np.linalg.norm(w / np.linalg.norm(w) - target / np.linalg.norm(target)) * np.log(1 / alpha))
        norm.append(np.linalg.norm(w) / np.log(1 / alpha))
    assert max(off) < 2
    assert norm[2] == pytest.approx(np.linalg.norm(target), rel=0.3)


@pytest.mark.parametrize(
    ("w", "words"),
    [
        ([1.0, 1.0], "w must separate the data, got a margin of -1"),
        ([0.0, 0.0], "w must separate the data"),
        ([np.nan, 1.0], r"\bw must"),
        ([1.0], r"\bw must"),
        ("ab", r"\bw must"),
    ],
    ids=str,
)
def test_cost_of_a_bad_w(w, words):
    with pytest.raises((TypeError, ValueError), match=words):
        small_alpha_cost(*PLUS_MINUS, w)


# --- stochastic mixup's spread


def gradient_noise(x, y, law, w, lambdas):
    """Covariance of the step's gradient, every permutation and every lambda (each sample's own, per_sample)."""
    n, (lam, p) = len(x), (np.array(column) for column in list(zip(*halves(law, 6), strict=True))[:2])
    own = [lam[:, None]] * n if lambdas == "per_step" else [t[..., None] for t in np.meshgrid(*[lam] * n)]
    weights = p if lambdas == "per_step" else np.prod(np.meshgrid(*[p] * n), axis=0)
    mean, square, count = 0.0, 0.0, 0
    for partner in itertools.permutations(range(n)):
        total = 0.0
        for i, j in enumerate(partner):
            point, label = own[i] * x[i] + (1 - own[i]) * x[j], own[i][..., 0] * y[i] + (1 - own[i][..., 0]) * y[j]
            total = total + (1 / (1 + np.exp(-point @ w)) - label)[..., None] * point / n
        total, flat = total.reshape(-1, len(w)), weights.ravel()
        mean, square, count = mean + flat @ total, square + (flat * total.T) @ total, count + 1
    return square / count - np.outer(mean, mean) / count**2


@pytest.mark.parametrize("lambdas", ["per_step", "per_sample"])
@given(SEEDS, st.sampled_from(LAWS))
def test_noise_equals_enumeration(lambdas, seed, law):
    """With H = I and rate 1 the next w forgets the last, and the covariance is the noise's. At any w, not only at w*.

    1e-6: twelve nodes for each lambda, and margins of about 3.
    """
    x, y = cloud(seed, n=3)
    w = np.random.default_rng(seed).normal(size=2)
    noise = stationary_covariance(x, y, law, w, np.eye(2), lambdas=lambdas, learning_rate=1.0)
    close(noise, gradient_noise(x, y, law, w, lambdas), 1e-6)


@pytest.mark.parametrize("lambdas", ["per_step", "per_sample"])
def test_spread_of_simulated_chains(lambdas):
    """4000 independent chains from w*: variances to 5 standard errors, 5 sqrt(2/4000) = 0.11, and O(rate) = 0.05."""
    x, y = cloud(0, n=4)
    law, rate, rng = BetaLaw(0.5), 0.05, np.random.default_rng(1)
    found = mixup_minimizer(x, y, law)
    steps = int(4 / (rate * found.least_eigenvalue))  # 1 - e^-8 of the variance
    w = np.tile(found.w, (4000, 1))
    for _ in range(steps):
        partner = rng.permuted(np.tile(np.arange(4), (4000, 1)), axis=1)
        lam = rng.beta(0.5, 0.5, size=(4000, 4 if lambdas == "per_sample" else 1))
        point = lam[..., None] * x + (1 - lam[..., None]) * x[partner]
        error = 1 / (1 + np.exp(-np.einsum("cid,cd->ci", point, w))) - lam * y - (1 - lam) * y[partner]
        w = w - rate * np.einsum("ci,cid->cd", error, point) / 4
    expected = stationary_covariance(x, y, law, found.w, found.hessian, lambdas=lambdas, learning_rate=rate)
    root = np.linalg.inv(np.linalg.cholesky(expected))
    assert np.abs(root @ np.cov(w.T) @ root.T - np.eye(2)).max() < 0.16


BAD_SPREADS = {
    "law": ({"law": None}, TypeError, "law must be a BetaLaw"),
    "lambdas": ({"lambdas": "per_stp"}, ValueError, "lambdas must be one of.*did you mean 'per_step'"),
    "w NaN": ({"w": [np.nan, 0.0]}, ValueError, "w must be finite"),
    "nodes": ({"nodes": 0}, ValueError, "must be an integer >= 1"),
    "w short": ({"w": [0.0]}, ValueError, r"\bw must"),
    "hessian shape": ({"hessian": np.eye(3)}, ValueError, "hessian must"),
    "rate negative": ({"learning_rate": -1.0}, ValueError, "learning_rate must"),
    "rate unstable": ({"learning_rate": 5.0}, ValueError, "learning_rate"),
    "hessian singular": ({"hessian": np.diag([1.0, 0.0])}, ValueError, "hessian"),
    "one row": ({"x": [[1.0, 0.0]], "y": [1]}, ValueError, r"\bx must"),
}


@pytest.mark.parametrize(("more", "error", "words"), BAD_SPREADS.values(), ids=BAD_SPREADS)
def test_bad_spread(more, error, words):
    x, y = PLUS_MINUS
    good = {"x": x, "y": y, "law": LAWS[0], "w": [1.0, -1.0], "hessian": np.eye(2), "learning_rate": 0.1}
    with pytest.raises(error, match=words):
        stationary_covariance(**{**good, "lambdas": "per_step", **more})

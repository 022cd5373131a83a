"""Laws of lambda against closed forms and integrals at 40 digits (mpmath), and samples against their law.

Nothing here shares code with the library: its moments are products and its quadrature a singular value
problem; the references are beta functions and integrals of the density.
"""

import math

import mpmath as mp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.special import betainc

from mixupe_theory.mixing import BetaLaw, symmetrized_quadrature

EPS = np.finfo(float).eps
ALPHAS = st.floats(-2, 3).map(lambda e: min(max(10.0**e, 0.01), 1000.0))  # log-uniform on [0.01, 1000]
LAWS = st.builds(BetaLaw, ALPHAS, ALPHAS)
CORNERS = [BetaLaw(a, b) for a in (0.01, 1000.0) for b in (0.01, 1000.0)]


@pytest.fixture(autouse=True)
def _forty_digits():
    with mp.workdps(40):
        yield


def beta_moment(law, j, k=0):
    """E[lambda^j (1 - lambda)^k] = B(alpha + j, beta + k)/B(alpha, beta)."""
    a, b = mp.mpf(law.alpha), mp.mpf(law.beta)
    return mp.beta(a + j, b + k) / mp.beta(a, b)


def symmetrized_moment(law, k):
    return (beta_moment(law, k) + beta_moment(law, 0, k)) / 2


def tilted_moment(law, k):
    """E_D[lambda^k] = E_Beta[lambda g(lambda) + (1 - lambda) g(1 - lambda)] for g(t) = t^k."""
    return beta_moment(law, k + 1) + beta_moment(law, 0, k + 1)


def beta_density(alpha, beta):
    return lambda t: t ** (alpha - 1) * (1 - t) ** (beta - 1) / mp.beta(alpha, beta)


def tilted_density(law):
    a, b = mp.mpf(law.alpha), mp.mpf(law.beta)
    first, second = beta_density(a + 1, b), beta_density(b + 1, a)
    return lambda t: (a * first(t) + b * second(t)) / (a + b)


def relative_error(value, reference):
    return float(abs(mp.mpf(float(value)) / reference - 1))


def rule_moment(nodes, weights, k):
    """Sum of w x^k without rounding, so that only the rule's own error is seen."""
    return mp.fsum(mp.mpf(w) * mp.mpf(x) ** k for x, w in zip(nodes.tolist(), weights.tolist(), strict=True))


def with_corners(test):
    for law in CORNERS:
        test = example(law=law, m=7)(test)
    return test


# --- moments


@given(law=LAWS, k=st.integers(0, 60))
@example(law=BetaLaw(0.01, 1000.0), k=60)
@example(law=BetaLaw(1000.0, 0.01), k=60)
def test_moments_match_beta_functions(law, k):
    """Rounding: each of k factors is three rounded sums and a quotient, one more product: below 3 k eps."""
    assert relative_error(law.moment(k), beta_moment(law, k)) <= 3 * k * EPS
    assert relative_error(law.reflected().moment(k), beta_moment(law, 0, k)) <= 3 * k * EPS


def test_beta_is_alpha_when_left_out():
    assert BetaLaw(0.3) == BetaLaw(0.3, 0.3) != BetaLaw(0.3, 0.4)


@given(law=LAWS, k=st.integers(0, 60))
@example(law=BetaLaw(0.01, 1000.0), k=60)
@example(law=BetaLaw(1000.0, 0.01), k=60)
def test_tilted_law_is_what_swapping_i_and_j_makes_of_beta(law, k):
    """D_lambda's defining identity for phi(a) = a^k (a basis, so for every polynomial phi):

    E_Beta[lambda phi(1 - lambda) + (1 - lambda) phi(lambda)] = E_D[phi(a)].
    """
    swapped = beta_moment(law, 1, k) + beta_moment(law, k, 1)
    assert relative_error(law.tilted().a_moment(k), swapped) <= (3 * k + 8) * EPS


@settings(max_examples=6)
@given(
    law=st.builds(BetaLaw, st.floats(0.05, 30), st.floats(0.05, 30)),
    k=st.integers(1, 12),
)
def test_tilted_moments_match_the_integral_of_the_density(law, k):
    """Tolerance: rounding, plus mpmath's own error estimate (the density has power singularities)."""
    density = tilted_density(law)
    integral, error = mp.quad(lambda t: (1 - t) ** k * density(t), [0, 0.5, 1], error=True)
    assert error <= 1e-13 * integral
    assert relative_error(law.tilted().a_moment(k), integral) <= (3 * k + 8) * EPS + 10 * error / integral


@pytest.mark.parametrize("wrong", ["beta", "first component", "shifted"])
def test_other_readings_of_the_tilted_law_are_told_apart(wrong):
    """Negative control of the identity above, at alpha = 0.5, beta = 2."""
    law = BetaLaw(0.5, 2.0)
    moment = {
        "beta": law.reflected().moment(2),
        "first component": law.tilted().components[0][1].reflected().moment(2),
        "shifted": law.tilted().a_moment(3),
    }[wrong]
    assert relative_error(moment, beta_moment(law, 1, 2) + beta_moment(law, 2, 1)) > 0.05


# --- quadrature

RULES = {  # name: (the rule of a law with m, the law's k-th moment, number of nodes per m)
    "beta": (lambda law, m: law.quadrature(m), beta_moment, 1),
    "symmetrized": (symmetrized_quadrature, symmetrized_moment, 1),
    "tilted": (lambda law, m: law.tilted().quadrature(m), tilted_moment, 2),
}


@pytest.mark.parametrize("name", RULES)
@given(law=LAWS, m=st.integers(1, 24))
@with_corners
def test_rule_is_exact_to_degree_2m_minus_1(name, law, m):
    """Tolerance: a backward stable decomposition of order m perturbs the rule by some m eps."""
    rule, moment, per_m = RULES[name]
    nodes, weights = rule(law, m)
    assert nodes.shape == weights.shape == (per_m * m,)
    assert nodes.dtype == weights.dtype == np.float64
    assert (weights > 0).all()
    assert abs(weights.sum() - 1) <= m * EPS
    assert nodes.min() >= 0
    assert nodes.max() <= 1
    assert per_m == 2 or (np.diff(nodes) > 0).all()
    for k in range(2 * m):
        assert relative_error(rule_moment(nodes, weights, k), moment(law, k)) <= 16 * m * EPS, k


@given(law=st.builds(BetaLaw, st.floats(0.3, 10), st.floats(0.3, 10)), m=st.integers(1, 6))
def test_rule_misses_degree_2m_by_the_norm_of_the_orthogonal_polynomial(law, m):
    """Gauss's error at lambda^{2m} is E[p_m^2] of the monic orthogonal p_m (Jacobi's norm).

    Tolerance: the rounding of the previous test, against an error as small as 16^-m.
    """
    a, b = mp.mpf(law.alpha), mp.mpf(law.beta)
    s = a + b
    norm = mp.factorial(m) * mp.rf(a, m) * mp.rf(b, m) * mp.rf(s, m - 1) / (mp.rf(s, 2 * m) * mp.rf(s, 2 * m - 1))
    missed = beta_moment(law, 2 * m) - rule_moment(*law.quadrature(m), 2 * m)
    assert abs(missed - norm) <= 16 * m * EPS
    assert norm > 100 * 16 * m * EPS  # so that the line above can fail


@pytest.mark.parametrize("name", ["beta", "symmetrized"])
@pytest.mark.parametrize("law", [*CORNERS, BetaLaw(1.0), BetaLaw(0.3, 20.0)], ids=str)
def test_large_rules_hold_the_first_and_the_last_moments(name, law):
    """m = 256, where the classical formulas overflow; tolerance as above, with 1e-240 counted as zero."""
    m = 256
    rule, moment, _ = RULES[name]
    nodes, weights = rule(law, m)
    assert (np.diff(nodes) > 0).all()
    assert (weights >= 0).all()
    for k in (1, 2, m, 2 * m - 1):
        error = abs(rule_moment(nodes, weights, k) - moment(law, k))
        assert error <= 16 * m * EPS * moment(law, k) + 1e-240, k


def test_tilted_rule_integrates_a_smooth_function_against_the_density():
    """cos is entire: 20 nodes leave less than 3^40/40! = 1e-29, so only rounding remains."""
    law = BetaLaw(0.4, 3.0)
    density = tilted_density(law)
    integral = mp.quad(lambda t: mp.cos(3 * t) * density(t), mp.linspace(0, 1, 5))
    nodes, weights = law.tilted().quadrature(20)
    assert abs(weights @ np.cos(3 * nodes) - integral) <= 50 * EPS


# --- sampling

DRAWS, SIZE = 20_000, 1e-3
RESOLUTION = 2.0**-50  # below this 1 - lambda, a multiple of 2^-53, is too coarse to compare


def rejected(draws, cdf, resolution=0.0):
    """Kolmogorov-Smirnov test of size SIZE (critical value: Massart's bound 2 exp(-2 n d^2), for every n).

    Only thresholds of at least ``resolution`` are compared, which can but lower the statistic.
    """
    draws, n = np.sort(draws), len(draws)
    seen = draws >= resolution
    expected, rank = cdf(draws[seen]), np.arange(n)[seen]
    distance = max(((rank + 1) / n - expected).max(), (expected - rank / n).max())
    return bool(distance > math.sqrt(math.log(2 / SIZE) / (2 * n)))


def components(law, tilted):
    """(probability, alpha, beta) of each component of the law, written out."""
    a, b = law.alpha, law.beta
    return [(a / (a + b), a + 1, b), (b / (a + b), b + 1, a)] if tilted else [(1.0, a, b)]


def cdf(law, tilted):
    return lambda t: sum(p * betainc(a, b, t) for p, a, b in components(law, tilted))


def cdf_of_smaller(law, tilted):
    """P(min(lambda, 1 - lambda) <= t) for t < 1/2."""
    return lambda t: sum(p * (betainc(a, b, t) + betainc(b, a, t)) for p, a, b in components(law, tilted))


SAMPLED = [
    pytest.param(law, tilted, id=f"{'tilted' if tilted else 'beta'}({law.alpha:g},{law.beta:g})")
    for tilted in (False, True)
    for law in (
        *(BetaLaw(a) for a in (0.01, 0.05, 0.1, 0.2, 0.5, 1.0, 4.0, 1000.0)),
        *(BetaLaw(a, b) for a, b in ((0.05, 0.5), (0.01, 1000.0), (0.2, 3.0), (30.0, 2.0))),
    )
]


@pytest.mark.parametrize(("law", "tilted"), SAMPLED)
def test_draws_follow_the_law_and_not_one_with_other_parameters(law, tilted):
    """Fixed seed; the wrong law (both parameters a fifth larger, for 1000 the first) must be rejected."""
    draws = (law.tilted() if tilted else law).sample(DRAWS, np.random.default_rng(7))
    wrong = BetaLaw(1.2 * law.alpha, law.beta if law.alpha >= 1000 else 1.2 * law.beta)
    if min(law.alpha, law.beta) >= 0.2:
        assert not rejected(draws, cdf(law, tilted))
        assert rejected(draws, cdf(wrong, tilted))
    smaller = np.minimum(draws, 1 - draws)
    assert not rejected(smaller, cdf_of_smaller(law, tilted), RESOLUTION)
    if law.alpha < 1000:  # at 1000 a shift of the mean hides in min(lambda, 1 - lambda)
        assert rejected(smaller, cdf_of_smaller(wrong, tilted), RESOLUTION)


@pytest.mark.parametrize("reading", ["beta", "first component", "reflected"])
def test_tilted_draws_are_told_from_other_readings(reading):
    law = BetaLaw(0.5, 2.0)
    draws = law.tilted().sample(DRAWS, np.random.default_rng(7))
    wrong = {
        "beta": cdf(law, tilted=False),
        "first component": lambda t: betainc(1.5, 2.0, t),
        "reflected": lambda t: 1 - cdf(law, tilted=True)(1 - t),
    }[reading]
    assert rejected(draws, wrong)


@pytest.mark.parametrize("law", [BetaLaw(0.7, 2.0), BetaLaw(0.7, 2.0).tilted()], ids=["beta", "tilted"])
def test_draws_are_reproducible_and_have_the_shape_asked_for(law):
    first, again, other = (law.sample((50, 3), np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.shape == (50, 3)
    assert first.dtype == np.float64
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()

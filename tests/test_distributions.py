"""Expected losses against the enumeration of all samples; Monte-Carlo estimates against exact values; refusals."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from theorem2_cases import (
    GLM_IDS,
    GLMS,
    INF,
    LAW_IDS,
    LAWS,
    NAN,
    RANGE,
    SEEDS,
    A,
    finite_law,
    in_ball,
    slow_expected_mixup_loss,
)

from mixupe_theory.distributions import FiniteDistribution, SampledDistribution, within_bound
from mixupe_theory.glm import LOGISTIC

every_glm = pytest.mark.parametrize("glm", GLMS, ids=GLM_IDS)


@every_glm
@settings(max_examples=6)
@given(SEEDS, st.sampled_from(LAWS), st.integers(2, 3), st.integers(1, 4), st.integers(1, 2))
def test_expected_loss_by_all_samples(glm, seed, law, k, n, d):
    """1e-10: A is averaged over lambda to 1e-11 of its size, at most 7.4."""
    population, theta = finite_law(seed, k, d), in_ball(seed, d, RANGE)
    expected = slow_expected_mixup_loss(population, theta, law, n, glm.name)
    assert abs(population.expected_mixup_loss(theta, law, n, glm) - expected) <= 1e-10


@given(SEEDS, st.integers(1, 4), st.integers(1, 5))
def test_pair_weights_by_all_samples(seed, k, n):
    """The expected share of index pairs (i, j) that show points (a, b)."""
    population, shares = finite_law(seed, k), np.zeros((k, k))
    for rows in itertools.product(range(k), repeat=n):
        probability = math.prod(population.p[a] for a in rows)
        for a, b in itertools.product(rows, repeat=2):
            shares[a, b] += probability / n**2
    np.testing.assert_allclose(population.pair_weights(n), shares, rtol=0, atol=1e-14)


@every_glm
@given(SEEDS, st.integers(1, 3))
def test_risk_is_a_mean_of_plain_losses(glm, seed, d):
    """Which the expected mixup loss of a sample of one point is too, whatever the law of lambda."""
    population, theta = finite_law(seed, 3, d), in_ball(seed, d, RANGE)
    slow = sum(
        float(p) * (float(A[glm.name](float(x @ theta))) - y * float(x @ theta))
        for x, y, p in zip(population.x, population.y, population.p, strict=True)
    )
    assert population.risk(theta, glm) == pytest.approx(slow, abs=1e-13)
    assert population.expected_mixup_loss(theta, LAWS[2], 1, glm) == pytest.approx(slow, abs=1e-10)


@given(SEEDS, st.integers(1, 3))
def test_sizes(seed, d):
    population = finite_law(seed, 4, d, reach=1.5)
    assert population.dimension == d
    assert population.input_bound == pytest.approx(max(math.hypot(*row) for row in population.x), rel=1e-14)


def test_probabilities_are_normalized_to_rounding():
    third = FiniteDistribution([[1.0], [2.0], [3.0]], [0, 1, 0], [0.3333333333, 0.3333333333, 0.3333333334 - 5e-10])
    assert math.fsum(third.p) == pytest.approx(1, abs=1e-15)


def test_samples_have_the_stated_law():
    """20 000 draws: shares within 5 standard errors; the counts of 400 samples likewise, and never anything but n."""
    population, rng = FiniteDistribution([[1.0], [2.0], [3.0]], [0.0, 0.5, 1.0], [0.2, 0.3, 0.5]), np.random.default_rng
    x, y = population.sample(20_000, rng(0))
    error = np.sqrt(population.p * (1 - population.p) / 20_000)
    assert (x[:, 0] == 1 + 2 * y).all()
    assert (np.abs([(y == label).mean() for label in population.y] - population.p) <= 5 * error).all()
    counts = population.counts(50, 400, rng(1))
    assert counts.shape == (400, 3)
    assert (counts.sum(1) == 50).all()
    assert (np.abs(counts.mean(0) / 50 - population.p) <= 5 * error).all()
    covariance = (
        np.cov(counts.T) / 50
    )  # of multinomial counts: diag(p) - p p^T, each entry to 5 sqrt(2/400) of its size
    np.testing.assert_allclose(
        covariance, np.diag(population.p) - np.outer(population.p, population.p), atol=0.35 * 0.25
    )


# --- sampled laws


def drawn_from(population):
    return SampledDistribution(population.sample, population.input_bound)


@pytest.mark.parametrize("law", LAWS, ids=LAW_IDS)
@pytest.mark.parametrize("n", [1, 2, 30])
def test_estimate_within_its_standard_errors(law, n):
    """5 of them from the exact value; the error itself is that of 40 independent estimates, to 5/sqrt(80) of it."""
    population, theta = finite_law(5, 3, 2), np.array([1.0, -1.5])
    exact = population.expected_mixup_loss(theta, law, n)
    runs = [
        drawn_from(population).expected_mixup_loss(theta, law, n, samples=4000, generator=np.random.default_rng([n, i]))
        for i in range(40)
    ]
    estimates, errors = np.array(runs).T
    assert (np.abs(estimates - exact) <= 5 * errors).all()
    assert abs(estimates.mean() - exact) <= 5 * errors.mean() / 40**0.5
    assert estimates.std(ddof=1) == pytest.approx(errors.mean(), rel=5 / 80**0.5)


def test_the_same_seed_gives_the_same_numbers():
    law = drawn_from(finite_law(1))
    first, again, other = (
        law.expected_mixup_loss([1.0], LAWS[0], 9, samples=50, generator=np.random.default_rng(seed))
        for seed in (0, 0, 1)
    )
    assert first == again != other


# --- refusals

GOOD = {"x": [[1.0], [2.0]], "y": [0, 1], "p": [0.5, 0.5]}
BAD = {
    "p sums to 0.9": ({"p": [0.5, 0.4]}, ValueError, "p must be positive and sum to 1, .* a sum of 0.9"),
    "p sums to 1.1": ({"p": [0.5, 0.6]}, ValueError, "p must be positive and sum to 1"),
    "p zero": ({"p": [1.0, 0.0]}, ValueError, "p must be positive and sum to 1, got a least entry 0"),
    "p negative": ({"p": [1.5, -0.5]}, ValueError, "p must be positive"),
    "p short": ({"p": [1.0]}, ValueError, r"p must have shape \(2,\)"),
    "p NaN": ({"p": [NAN, 0.5]}, ValueError, "p must be finite"),
    "p text": ({"p": ["a", "b"]}, TypeError, "p must be an array of real numbers"),
    "x a vector": ({"x": [1.0, 2.0]}, ValueError, r"x must have shape \(n, d\)"),
    "x infinite": ({"x": [[1.0], [INF]]}, ValueError, "x must be finite"),
    "y above 1": ({"y": [0, 2]}, ValueError, r"y must lie in \[0, 1\]"),
    "y short": ({"y": [0]}, ValueError, r"y must have shape \(2,\)"),
}


@pytest.mark.parametrize(("more", "error", "words"), BAD.values(), ids=BAD)
def test_bad_finite_laws(more, error, words):
    with pytest.raises(error, match=words):
        FiniteDistribution(**GOOD | more)


RNG = np.random.default_rng(0)
LAW = FiniteDistribution(**GOOD)
CALLS = {
    "n zero": (lambda law: law.sample(0, RNG), ValueError, "n must be an integer >= 1, got 0"),
    "n a float": (lambda law: law.sample(2.0, RNG), TypeError, "n must be an integer"),
    "no generator": (lambda law: law.sample(2, None), TypeError, "generator must be a numpy.random.Generator"),
    "a seed": (lambda law: law.sample(2, 0), TypeError, "generator must be a numpy.random.Generator, got int"),
    "counts of one": (lambda law: LAW.counts(1, 3, RNG), ValueError, "n must be an integer >= 2"),
    "no draws": (lambda law: LAW.counts(2, 0, RNG), ValueError, "draws must be an integer >= 1"),
    "theta long": (
        lambda law: LAW.expected_mixup_loss([1.0, 2.0], LAWS[0], 3),
        ValueError,
        r"theta must have shape \(1,\)",
    ),
    "n of an expectation": (lambda law: LAW.expected_mixup_loss([1.0], LAWS[0], 0), ValueError, "n must be"),
    "one sample": (
        lambda law: law.expected_mixup_loss([1.0], LAWS[0], 3, samples=1, generator=RNG),
        ValueError,
        "samples must be an integer >= 2",
    ),
    "sampled theta": (
        lambda law: law.expected_mixup_loss([1.0, 2.0], LAWS[0], 3, LOGISTIC, samples=9, generator=RNG),
        ValueError,
        r"theta must have shape \(1,\)",
    ),
}


@pytest.mark.parametrize(("call", "error", "words"), CALLS.values(), ids=CALLS)
def test_bad_calls(call, error, words):
    with pytest.raises(error, match=words):
        call(drawn_from(LAW))


DRAWS = {
    "labels": (lambda n, rng: (np.ones((n, 1)), np.full(n, 2.0)), r"y must lie in \[0, 1\]"),
    "one dimension": (lambda n, rng: (np.ones(n), np.ones(n)), r"x must have shape \(n, d\)"),
    "NaN": (lambda n, rng: (np.full((n, 1), NAN), np.ones(n)), "x must be finite"),
    "too long": (
        lambda n, rng: (np.arange(n)[:, None] * 1.0, np.ones(n)),
        r"input_bound must be at least every \|\|x_i\|\|, got 1 but \|\|x_4\|\| = 4",
    ),
    "too few": (lambda n, rng: (np.ones((n - 1, 1)), np.ones(n - 1)), "as many points as it is asked for, 5, got 4"),
}


@pytest.mark.parametrize(("draw", "words"), DRAWS.values(), ids=DRAWS)
def test_what_is_drawn_is_checked(draw, words):
    with pytest.raises(ValueError, match=words):
        SampledDistribution(draw, 1.0).sample(5, RNG)


@pytest.mark.parametrize(
    ("draw", "input_bound"), [(None, 1.0), (LAW.sample, 0.0), (LAW.sample, NAN), (LAW.sample, "1")]
)
def test_bad_sampled_laws(draw, input_bound):
    with pytest.raises(
        (TypeError, ValueError), match=r"draw must be a function|input_bound must be a finite number > 0"
    ):
        SampledDistribution(draw, input_bound)


def test_bound_up_to_rounding():
    x = np.array([[0.6, 0.8], [0.1, 0.1]])
    within_bound(x, 1 - 1e-13)
    with pytest.raises(ValueError, match=r"input_bound must be at least every \|\|x_i\|\|, .*\|\|x_0\|\| = 1"):
        within_bound(x, 1 - 1e-9)
    with pytest.raises(ValueError, match=r"every \|\|x_i\|\|\^2, got 0\.25 but \|\|x_0\|\|\^2 = 1"):
        within_bound(x, 0.25, squared=True)

"""Many samples at once against each sample on its own, written out as arrays."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from theorem2_cases import (
    GLM_IDS,
    GLMS,
    LAW_IDS,
    LAWS,
    RANGE,
    SEEDS,
    all_samples,
    explicit_moment,
    finite_law,
    in_ball,
    mean_a,
    pair_table,
    points,
    slow_expected_mixup_loss,
    slow_mixup_loss,
    table_loss,
)

from mixupe_theory.distributions import FiniteDistribution, SampledDistribution
from mixupe_theory.generalization import corrected_gap, data_dependent_gap, mixed_second_moment
from mixupe_theory.glm import GLM, LOGISTIC
from mixupe_theory.samples import CountedSamples, MomentSamples, many_samples

every_glm = pytest.mark.parametrize("glm", GLMS, ids=GLM_IDS)
every_law = pytest.mark.parametrize("law", LAWS, ids=LAW_IDS)


def counted(seed, n=5, k=3, d=1, law=LAWS[0], draws=4):
    population = finite_law(seed, k, d)
    return CountedSamples(population, n, law, population.counts(n, draws, np.random.default_rng(seed)))


def written_out(many):
    """(x, y) of each sample."""
    law = many.distribution
    return [(np.repeat(law.x, row, axis=0), np.repeat(law.y, row)) for row in many.counts]


def moments_of(seed, n=5, law=LAWS[0], draws=4, reach=1.0):
    """Samples of their own inputs on [-reach, reach]; the population side is not looked at."""
    x, y = points(seed, n * draws, 1, reach)
    return MomentSamples(
        SampledDistribution(points, reach), n, law, x.reshape(draws, n), y.reshape(draws, n), population=()
    )


# --- counts


@every_glm
@settings(max_examples=6)
@given(SEEDS, st.sampled_from(LAWS), st.integers(2, 5), st.integers(1, 3))
def test_counted_losses_and_regularizers(glm, seed, law, n, d):
    """1e-10: A is averaged over lambda to 1e-11 of its size, 7.4 at most."""
    many, theta = counted(seed, n, d=d, law=law), in_ball(seed, d, RANGE)
    for (x, y), loss, regularizer in zip(
        written_out(many), many.mixup_losses(theta, glm), many.regularizers(theta, glm), strict=True
    ):
        u = x @ theta
        assert abs(loss - slow_mixup_loss(u, y, law, glm.name)) <= 1e-10
        # |q_hat| = |u dloss/du|, the derivative by central differences: errors of 1e-6^2 and 1e-16/1e-6
        step = (glm.loss(u + 1e-6, y) - glm.loss(u - 1e-6, y)) / 2e-6
        assert regularizer == pytest.approx(mean_a(law) * np.abs(u * step).mean(), abs=2e-9)


@every_law
def test_counted_gaps(law):
    """The expected loss by all 3^3 samples less each sample's own; the stated error is rounding."""
    many, theta = counted(3, 3, d=2, law=law), np.array([1.1, -0.7])
    gaps, error = many.gaps(theta, LOGISTIC)
    expected = slow_expected_mixup_loss(many.distribution, theta, law, 3)
    own = [slow_mixup_loss(x @ theta, y, law) for x, y in written_out(many)]
    np.testing.assert_allclose(gaps, expected - np.array(own), rtol=0, atol=1e-10)
    assert error <= 1e-10


@given(SEEDS, st.sampled_from(LAWS), st.integers(2, 5), st.integers(1, 3))
def test_counted_second_moments(seed, law, n, d):
    many = counted(seed, n, d=d, law=law)
    slow = [explicit_moment(x, law) for x, _ in written_out(many)]
    np.testing.assert_allclose(many.second_moments(), slow, rtol=0, atol=1e-13)


@given(SEEDS, st.integers(2, 6), st.integers(1, 4))
def test_variation_counts_pairs(seed, n, k):
    """Index pairs of the sample against the expected share of the pair of points, in the two cases a = b and not."""
    many = counted(seed, n, k)
    for row, variation in zip(many.counts, many.variation, strict=True):
        p, total = many.distribution.p, 0.0
        rows = np.repeat(np.arange(k), row)
        for a, b in itertools.product(range(k), repeat=2):
            seen = sum(i == a and j == b for i in rows for j in rows) / n**2
            total += abs(p[a] * p[b] * (1 - 1 / n) + (p[a] / n if a == b else 0.0) - seen)
        assert variation == pytest.approx(total, abs=1e-13)


@every_glm
@settings(max_examples=15)
@given(SEEDS, st.sampled_from(LAWS), st.integers(2, 40), st.integers(1, 2))
def test_variation_bounds_the_gap_s_slope(glm, seed, law, n, d):
    """Secants of the gap between random theta in the ball of radius 2, r = 1: at most L r variation, and 2 L r."""
    many, (one, other) = counted(seed, n, d=d, law=law), (in_ball(seed + i, d, RANGE) for i in range(2))
    near = one + (other - one) * 1e-4
    for far in (other, near):
        secant = np.abs(many.gaps(far, glm)[0] - many.gaps(one, glm)[0]) / np.linalg.norm(far - one)
        assert (secant <= glm.slope(RANGE) * np.minimum(many.variation, 2.0) + 1e-9 / np.linalg.norm(far - one)).all()


# --- what the complexities bound


@pytest.mark.parametrize("glm", GLMS, ids=GLM_IDS)
@settings(max_examples=6)
@given(SEEDS, st.sampled_from(LAWS[:3]), st.integers(2, 4))
def test_expected_supremum_is_below_the_complexities(glm, seed, law, n):
    """Over all samples of three points, d = 1, theta on a grid; the second moment is known."""
    population, samples = finite_law(seed), all_samples(finite_law(seed), n)
    largest = np.full(len(samples), -np.inf)
    for theta in np.linspace(-RANGE, RANGE, 21):
        phi = pair_table(population, [theta], law, glm.name)
        losses = np.array([table_loss(phi, rows) for rows, _ in samples])
        largest = np.maximum(largest, sum(p * loss for (_, p), loss in zip(samples, losses, strict=True)) - losses)
    value = sum(p * sup for (_, p), sup in zip(samples, largest, strict=True))
    x, c = population.x[:, 0], law.alpha * law.beta / ((law.alpha + law.beta) * (law.alpha + law.beta + 1))
    moment = (1 - 2 * c) * float(population.p @ x**2) + 2 * c * float(population.p @ x) ** 2
    sizes = {"theta_bound": RANGE, "input_bound": 1.0, "failure_prob": 0.1, "glm": glm}
    assert 0 < value <= corrected_gap(n, **sizes)[0]
    assert value <= data_dependent_gap(n, moment, law, **sizes)[0]


# --- moments


@every_glm
@settings(max_examples=8)
@given(SEEDS, st.sampled_from(LAWS), st.floats(-RANGE, RANGE), st.sampled_from([1.0, 0.25]))
def test_losses_from_moments(glm, seed, law, theta, reach):
    """Stated: 1e-9. theta of both signs, zero, and a range of inputs that is not [-1, 1]."""
    many = moments_of(seed, law=law, reach=reach)
    for value in (theta, -theta, 0.0):
        slow = [slow_mixup_loss(value * x, y, law, glm.name) for x, y in zip(many.x, many.y, strict=True)]
        np.testing.assert_allclose(many.mixup_losses(np.array([value]), glm), slow, rtol=0, atol=1e-9)


@given(SEEDS, st.sampled_from(LAWS), st.integers(2, 6))
def test_second_moments_from_moments(seed, law, n):
    many = moments_of(seed, n, law, reach=2.0)
    slow = [explicit_moment(x[:, None], law) for x in many.x]
    np.testing.assert_allclose(many.second_moments(), slow, rtol=0, atol=1e-13)


@given(SEEDS, st.sampled_from(LAWS), st.integers(2, 6), st.integers(1, 3))
def test_second_moment_by_explicit_pairs(seed, law, n, d):
    x, _ = points(seed, n, d, 2.0)
    got = mixed_second_moment(n, (x**2).sum(1).mean(), (x.mean(0) ** 2).sum(), law)
    assert got == pytest.approx(explicit_moment(x, law), abs=1e-13)


@every_law
@pytest.mark.parametrize("n", [2, 25])
def test_gaps_of_a_sampled_law_within_their_error(law, n):
    """The law is a finite one that only draws: its expected losses are known exactly. The interval, 5 standard errors
    of 200 000 draws, is not much wider than it must be: the loss has a range of at most 2 U = 4."""
    population = finite_law(11, 4)
    many = many_samples(
        SampledDistribution(population.sample, population.input_bound), n, 6, law, np.random.default_rng(n)
    )
    assert many.x.shape == many.y.shape == (6, n)
    for theta in (np.array([2.0]), np.array([-1.0]), np.zeros(1)):
        gaps, error = many.gaps(theta, LOGISTIC)
        own = [slow_mixup_loss(theta * x, y, law) for x, y in zip(many.x, many.y, strict=True)]
        exact = population.expected_mixup_loss(theta, law, n) - np.array(own)
        assert (np.abs(gaps - exact) <= error).all()
        assert error <= 5 * 2 / math.sqrt(200_000) + 1e-8


def test_every_slope_of_a_sampled_law_s_gap():
    """Two expectations, each with a slope of at most L r: secants of the gap, the same draws on both sides. One label
    in ten is 1, and some samples of two have only such: their gap has a slope of 0.9 where L = 0.55."""
    population = FiniteDistribution([[1.0], [1.0]], [1, 0], [0.1, 0.9])
    many = many_samples(SampledDistribution(population.sample, 1.0), 2, 500, LAWS[2], np.random.default_rng(0))
    for one, other in itertools.pairwise(np.linspace(-0.2, 0.2, 5)):
        secant = np.abs(many.gaps(np.array([one]), LOGISTIC)[0] - many.gaps(np.array([other]), LOGISTIC)[0]) / 0.1
        assert (secant <= LOGISTIC.slope(0.2) * many.variation).all()
        assert secant.max() > 0.8


def test_too_wide_a_range_is_refused():
    """On abs(u) <= 12 no polynomial of degree 30 is softplus to 1e-9: its poles are at +- i pi."""
    with pytest.raises(ValueError, match=r"glm 'logistic': no polynomial of degree 30 for abs\(u\) <= 12"):
        moments_of(0).mixup_losses(np.array([-12.0]), LOGISTIC)
    with pytest.raises(ValueError, match="glm 'kink': no polynomial"):
        moments_of(0).mixup_losses(np.array([1.0]), GLM("kink", np.abs, np.sign, 1.0))


# --- drawing


def test_finite_laws_are_counted_and_sampled_ones_keep_their_numbers():
    population = finite_law(2, 3)
    first = many_samples(population, 7, 5, LAWS[1], np.random.default_rng(1))
    np.testing.assert_array_equal(first.counts, population.counts(7, 5, np.random.default_rng(1)))
    assert isinstance(first, CountedSamples)
    sampled = many_samples(SampledDistribution(population.sample, 1.0), 7, 5, LAWS[1], np.random.default_rng(1))
    assert isinstance(sampled, MomentSamples)
    assert set(sampled.x.ravel()) <= set(population.x.ravel())


LAW = finite_law(0)
PLANE = SampledDistribution(finite_law(0, d=2).sample, 1.0)
BAD = {
    "one point": (LAW, 1, 5, ValueError, "n must be an integer >= 2, got 1"),
    "no samples": (LAW, 2, 0, ValueError, "draws must be an integer >= 1, got 0"),
    "n a float": (LAW, 2.5, 5, TypeError, "n must be an integer"),
    "draws a bool": (LAW, 2, True, TypeError, "draws must be an integer"),
    "two dimensions": (PLANE, 2, 5, ValueError, "only sampled must have d = 1 here, got d = 2"),
    "no law": ("coin", 2, 5, TypeError, "distribution must be a Finite- or SampledDistribution, got str"),
    "arrays": (np.ones((3, 1)), 2, 5, TypeError, "distribution must be.*got ndarray"),
}


@pytest.mark.parametrize(("law", "n", "draws", "error", "words"), BAD.values(), ids=BAD)
def test_bad_input(law, n, draws, error, words):
    with pytest.raises(error, match=words):
        many_samples(law, n, draws, LAWS[0], np.random.default_rng(0))


@pytest.mark.parametrize("law", [LAW, SampledDistribution(LAW.sample, 1.0)], ids=["finite", "sampled"])
def test_a_seed_is_no_generator(law):
    with pytest.raises(TypeError, match=r"generator must be a .*Generator, got int"):
        many_samples(law, 2, 5, LAWS[0], 0)

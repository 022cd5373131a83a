"""Certified suprema and counts against brute force over fine grids, sample by sample; the printed bound likewise."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta
from theorem2_cases import (
    LAWS,
    SEEDS,
    brute_suprema,
    every_count,
    finite_law,
    in_ball,
    printed_by_hand,
)

from mixupe_theory import coverage as module
from mixupe_theory.coverage import Corrected, DataDependent, Printed, ball_grid, coverage, printed_complexity, scaling
from mixupe_theory.distributions import FiniteDistribution, SampledDistribution
from mixupe_theory.generalization import corrected_gap, data_dependent_gap
from mixupe_theory.glm import GLM, LOGISTIC
from mixupe_theory.samples import CountedSamples

COIN = FiniteDistribution([[1.0], [1.0], [-1.0], [-1.0]], [0, 1, 0, 1], [0.25] * 4)
KINDS = [Corrected, DataDependent]


def scaled(kind, factor):
    """The bound with ``factor`` of its gap: small enough to fail for some samples and not for others."""

    class Scaled(kind):
        def allowed(self, samples, failure_prob):
            return factor * super().allowed(samples, failure_prob)

    return Scaled


def by_hand(kind, many, delta, s):
    """The gap that the bound allows each sample, from the functions that have their own tests."""
    sizes = {"theta_bound": s, "input_bound": 1.0, "failure_prob": delta}
    if kind is Corrected:
        return np.full(len(many.counts), sum(corrected_gap(many.n, **sizes)))
    slack = math.sqrt(math.log(10 / delta) / (2 * (many.n // 2)))
    moments = [min(moment + slack, 1.0) for moment in many.second_moments()]
    return np.array([sum(data_dependent_gap(many.n, moment, many.law, **sizes)) for moment in moments])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("population", "n", "law"), [(COIN, 3, LAWS[0]), (finite_law(7), 3, LAWS[2])])
def test_margins_enclose_brute_force(kind, population, n, law):
    """All kinds of samples, 801 points of theta: that sup is too small by at most half a step times 2 L r = 0.007."""
    counts, s = every_count(population, n), 2.0
    many = CountedSamples(population, n, law, counts)
    suprema = brute_suprema(population, law, n, counts, np.linspace(-s, s, 801)[:, None])
    margin = by_hand(kind, many, 0.1, s) - suprema
    widths = []
    for points in (8, 32, 128):
        low, high = kind(law, s, 1.0).margins(many, 0.1, points)
        assert (low <= margin + 1e-9).all()
        assert (margin - 0.007 <= high).all()
        widths.append((high - low).max())
    assert widths[2] < widths[0] / 10  # as 1/points


@settings(max_examples=6)
@given(SEEDS, st.sampled_from(LAWS))
def test_margins_in_the_plane(seed, law):
    """Two dimensions: no theta of 200 random ones in the disk has more than the certified supremum."""
    population, s = finite_law(seed, 3, 2), 1.5
    many = CountedSamples(population, 3, law, every_count(population, 3))
    low, high = Corrected(law, s, 1.0).margins(many, 0.1, 8)
    thetas = [in_ball(seed + i, 2, s) for i in range(200)]
    suprema = np.max([many.gaps(theta, LOGISTIC)[0] for theta in thetas], axis=0)
    assert (low <= by_hand(Corrected, many, 0.1, s) - suprema + 1e-9).all()
    assert (low <= high).all()


@pytest.mark.parametrize(
    ("kind", "factor"), [(Corrected, 0.03), (Corrected, 0.08), (DataDependent, 0.045), (DataDependent, 0.12)]
)
def test_counts_are_brute_force_s(kind, factor):
    """The same 300 samples, each judged by 401 points of theta; no sup comes close enough to be judged otherwise."""
    population, law, n, draws = finite_law(3, 3), LAWS[1], 3, 300
    counts = population.counts(n, draws, np.random.default_rng(4))
    kinds, which = np.unique(counts, axis=0, return_inverse=True)
    suprema = brute_suprema(population, law, n, kinds, np.linspace(-2, 2, 401)[:, None])
    margin = factor * by_hand(kind, CountedSamples(population, n, law, counts), 0.1, 2.0) - suprema[which.reshape(-1)]
    assert np.abs(margin).min() > 0.01  # half a step times 2 L r
    held = int((margin >= 0).sum())
    assert 0.1 < held / draws < 1
    found = coverage(scaled(kind, factor)(law, 2.0, 1.0), population, n, draws, 0.1, np.random.default_rng(4))
    assert (found.share, found.draws, found.undecided) == (held / draws, draws, 0)
    low = beta.ppf(0.005, held, draws - held + 1) if held else 0.0
    high = beta.ppf(0.995, held + 1, draws - held) if held < draws else 1.0
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-9)  # Clopper and Pearson's, 99 %
    allowed = margin + suprema[which.reshape(-1)]
    use = (suprema[which.reshape(-1)] / allowed).max()
    assert found.most_used[0] <= use + 0.01 / allowed.min()
    assert use <= found.most_used[1] <= use + 0.3


@pytest.mark.parametrize("kind", KINDS)
def test_a_bound_that_allows_nothing_never_holds(kind):
    """At n = 3 the best theta for a sample is better on it than in expectation; the whole gap is enough for all."""
    for factor, share in ((1e-6, 0.0), (1.0, 1.0)):
        found = coverage(scaled(kind, factor)(LAWS[0], 2.0, 1.0), COIN, 3, 50, 0.1, np.random.default_rng(0))
        assert found.share == share
        assert (found.most_used[0] > 1) == (share == 0)


def test_a_sampled_law_is_judged_as_the_finite_one_it_is():
    """Up to chance, 5 standard errors of 200 + 200 samples, and to the samples that either grid left open."""
    population, law = finite_law(3, 3), LAWS[1]
    finite, sampled = (
        coverage(scaled(Corrected, 0.04)(law, 2.0, 1.0), other, 20, 200, 0.1, np.random.default_rng(1))
        for other in (population, SampledDistribution(population.sample, 1.0))
    )
    chance = 5 * math.sqrt(0.25 * 2 / 200)
    assert sampled.share <= finite.share + finite.undecided / 200 + chance
    assert finite.share <= sampled.share + sampled.undecided / 200 + chance
    assert 0.5 < sampled.share < 1


# --- the printed bound


@pytest.mark.parametrize("left", ["loss", "mixup", "test"])
@pytest.mark.parametrize("frozen", [None, 0.8])
@pytest.mark.parametrize("restored", [False, True])
def test_printed_bound_in_every_reading(left, frozen, restored):
    """Three theta in Theta and one outside, which would be the least; all kinds of samples of 3."""
    population, law, thetas = finite_law(9), LAWS[2], np.array([[0.3], [-0.4], [0.05], [6.0]])
    counts = every_count(population, 3)
    many = CountedSamples(population, 3, law, counts)
    for gamma in (0.5, 6.0):
        low, high = Printed(law, thetas, 0.7, gamma, 1.0, 0.3, left, frozen, restored).margins(many, 0.1, 8)
        slow = printed_by_hand(population, law, thetas, 3, counts, left, frozen, restored, gamma=gamma)
        np.testing.assert_allclose(low, slow, rtol=0, atol=1e-9)
        np.testing.assert_array_equal(low, high)
    without = printed_by_hand(population, law, thetas[:3], 3, counts, left, frozen, restored, gamma=6.0)
    assert (slow < without - 0.1).any()


def test_printed_shares_are_counted():
    """200 samples, some of which the bound fails for; no margin is within 0.05 of 0."""
    population, law, thetas, gamma = finite_law(9), LAWS[2], np.array([[0.3], [-2.0]]), 0.2385
    counts = population.counts(3, 200, np.random.default_rng(5))
    slow = printed_by_hand(population, law, thetas, 3, counts, "loss", None, False, eta=3.0, gamma=gamma, B=0.0)
    assert np.abs(slow).min() > 0.05
    found = coverage(Printed(law, thetas, 3.0, gamma, 1.0, 0.0), population, 3, 200, 0.1, np.random.default_rng(5))
    assert found.share == (slow >= 0).mean() < 1
    assert all(math.isnan(end) for end in found.most_used)


@given(st.floats(-5, 5), st.floats(0, 5), st.floats(0, 5))
def test_scaling_gives_the_loss_back(mixup, regularizer, eta):
    """eta_hat times abs(L + eta R) is abs(L), wherever the latter does not vanish."""
    total = mixup + eta * regularizer
    assert scaling(mixup, regularizer, eta) * abs(total) == pytest.approx(abs(mixup) if total else 0.0, rel=1e-14)
    assert printed_complexity(9, 0.5, eta, 3.0, 2.0, LOGISTIC) == pytest.approx(eta, rel=1e-14)


# --- grids, bounds of the user's own, refusals


@given(SEEDS, st.integers(1, 2), st.integers(1, 9), st.floats(0.1, 5))
def test_every_point_of_the_ball_is_near_the_grid(seed, d, points, radius):
    """Random points, and points of the sphere, which are the worst."""
    grid, rng = ball_grid(radius, d, points), np.random.default_rng(seed)
    assert (np.linalg.norm(grid, axis=1) <= radius * (1 + 1e-12)).all()
    some = rng.normal(size=(200, d))
    some *= radius * np.where(rng.random(200) < 0.5, 1.0, rng.random(200))[:, None] / np.linalg.norm(some, axis=1)[:, None]  # fmt: skip  # noqa: E501
    away = np.linalg.norm(some[:, None] - grid, axis=2).min(1)
    assert away.max() <= radius / points * (1 + 1e-12)


@pytest.mark.parametrize("d", [0, 3])
def test_no_grid_in_other_dimensions(d):
    with pytest.raises(ValueError, match=f"certified for d = 1 and 2, got d = {d}"):
        ball_grid(1.0, d, 4)


class Own:
    """A bound of the user's own: what is left to it is known to within 2/points; what it is asked is kept."""

    law = LAWS[0]

    def __init__(self, margin):
        self.margin, self.asked = margin, []

    def margins(self, samples, failure_prob, points):
        self.asked.append((samples.n, failure_prob, points))
        margin = self.margin(samples)
        return margin - 1 / points, margin + 1 / points


def test_a_bound_of_one_s_own():
    """It holds where the first point of the coin came up; finer grids are asked for only until nothing is open."""
    own = Own(lambda samples: np.where(samples.counts[:, 0] > 0, 0.01, -0.01))
    found = coverage(own, COIN, 4, 100, 0.2, np.random.default_rng(0))
    seen = COIN.counts(4, 100, np.random.default_rng(0))[:, 0] > 0
    assert (found.share, found.undecided) == (seen.mean(), 0)
    assert own.asked == [(4, 0.2, 64), (4, 0.2, 256)]
    open_ones = coverage(
        Own(lambda samples: np.zeros(len(samples.counts))), COIN, 4, 100, 0.2, np.random.default_rng(0)
    )
    assert (open_ones.share, open_ones.undecided) == (0.0, 100)


CORRECTED, RNG = Corrected(LAWS[0], 1.0, 1.0), np.random.default_rng(0)
PRINTED = Printed(LAWS[0], [[0.5]], 1.0, 1.0, 1.0, 1.0)
SPACE = FiniteDistribution(np.eye(3), [0, 1, 0], [0.25, 0.25, 0.5])
SAMPLED = SampledDistribution(COIN.sample, 1.0)
BAD = {
    "empty Theta": (replace(PRINTED, gamma=0.01), COIN, 5, 0.1, RNG, ValueError, "Theta is empty.*gamma = 0.01"),
    "printed, input_bound": (
        replace(PRINTED, input_bound=0.9),
        COIN,
        5,
        0.1,
        RNG,
        ValueError,
        "input_bound must be at",
    ),
    "printed, negative loss": (
        replace(PRINTED, glm=GLM("gaussian", lambda u: u**2 / 2, lambda u: u, 3.0)),
        COIN,
        5,
        0.1,
        RNG,
        ValueError,
        "left must not be 'loss' for glm 'gaussian'",
    ),
    "a number": (1.0, COIN, 5, 0.1, RNG, TypeError, "bound must have a method margins and an attribute law, got float"),
    "printed, sampled": (PRINTED, SAMPLED, 5, 0.1, RNG, TypeError, "distribution must be a FiniteDistribution"),
    "input_bound": (replace(CORRECTED, input_bound=0.9), COIN, 5, 0.1, RNG, ValueError, "input_bound must be at least"),
    "three dimensions": (CORRECTED, SPACE, 5, 0.1, RNG, ValueError, "certified for d = 1 and 2, got d = 3"),
    "one point": (CORRECTED, COIN, 1, 0.1, RNG, ValueError, "n must be an integer >= 2"),
    "delta": (CORRECTED, COIN, 5, 1.0, RNG, ValueError, "failure_prob must be"),
    "a seed": (CORRECTED, COIN, 5, 0.1, 0, TypeError, "generator must be"),
    "no law": (CORRECTED, None, 5, 0.1, RNG, TypeError, "distribution must be"),
}


@pytest.mark.parametrize(("bound", "law", "n", "delta", "rng", "error", "words"), BAD.values(), ids=BAD)
def test_bad_input(bound, law, n, delta, rng, error, words):
    with pytest.raises(error, match=words):
        coverage(bound, law, n, 10, delta, rng)


BAD_BOUNDS = {
    "gamma": (PRINTED, {"gamma": -1.0}, ValueError, "gamma must be a finite"),
    "eta": (PRINTED, {"eta": -1.0}, ValueError, "eta must be a finite"),
    "bound_B": (PRINTED, {"bound_B": math.nan}, ValueError, "bound_B must be a finite"),
    "eta_hat": (PRINTED, {"eta_hat": -1.0}, ValueError, "eta_hat must be a finite"),
    "left side": (PRINTED, {"left": "risk"}, ValueError, "left must be one of"),
    "reading": (PRINTED, {"input_reading": "cubed"}, ValueError, "input_reading must be one of"),
    "theta_bound": (CORRECTED, {"theta_bound": -1.0}, ValueError, "theta_bound must be"),
    "law": (CORRECTED, {"law": 1.0}, TypeError, "law must be a BetaLaw"),
    "glm": (CORRECTED, {"glm": "logistic"}, TypeError, "glm must be a GLM"),
}


@pytest.mark.parametrize(("bound", "change", "error", "words"), BAD_BOUNDS.values(), ids=BAD_BOUNDS)
def test_bad_bounds(bound, change, error, words):
    with pytest.raises(error, match=words):
        replace(bound, **change)


def test_a_squared_bound_on_the_inputs_is_another_reading():
    """Inputs of norm 1/2 are within X = 1/4 if X bounds the squared norm, and not if it bounds the norm."""
    half = FiniteDistribution([[0.5], [-0.5]], [1, 0], [0.5, 0.5])
    printed = replace(PRINTED, input_bound=0.25)
    with pytest.raises(ValueError, match="input_bound must be at least"):
        coverage(printed, half, 5, 10, 0.1, RNG)
    assert coverage(replace(printed, input_reading="squared"), half, 5, 10, 0.1, RNG).draws == 10


def test_no_theta_but_zero():
    """All losses are log 2, the bound is an equality, and no part of no gap is used."""
    found = coverage(Corrected(LAWS[0], 0.0, 1.0), COIN, 5, 10, 0.1, RNG)
    assert found.most_used[0] <= found.most_used[1] < 1e-9


@pytest.mark.parametrize("planted", [{}, {"disable": False}])
def test_no_bar_is_left_in_a_notebook(planted, monkeypatch, capsys):
    """However slow the machine: else a cell's stored output would depend on it."""
    bar = module.tqdm
    monkeypatch.setattr(module, "tqdm", lambda *given, **how: bar(*given, **how | {"delay": 0} | planted))
    coverage(CORRECTED, COIN, 5, 10, 0.1, RNG)
    assert ("theta" in capsys.readouterr().err) == bool(planted)

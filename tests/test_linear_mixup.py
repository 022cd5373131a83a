"""The mixup loss of a generalized linear model against mpmath, explicit pairs and the torch implementation."""

import itertools

import mpmath
import numpy as np
import pytest
import torch
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
    expectation,
    in_ball,
    mixture_loss,
    points,
    slow_mixup_loss,
)

from mixupe_theory import BetaLaw, linear_mixup, losses
from mixupe_theory.glm import GLM, LOGISTIC
from mixupe_theory.linear_mixup import glm_mixup_loss, inputs_and_labels, lambda_rule, pair_losses, spread_moment

every_glm = pytest.mark.parametrize("glm", GLMS, ids=GLM_IDS)
every_law = pytest.mark.parametrize("law", LAWS, ids=LAW_IDS)
OF_A = 1e-10  # stated: 1e-11 of A's size, which is 7.4 at most here; the slow rule is exact to rounding


@every_glm
@every_law
def test_loss_and_pairs_against_mpmath(glm, law):
    """20 digits, every ordered pair in turn; phi(a, b) is the mean of (a, b) and (b, a)."""
    u, y = np.array([1.7, -2.0, 0.4]), np.array([1.0, 0.0, 0.3])

    def at(lam, i, j):
        point, label = lam * u[i] + (1 - lam) * u[j], lam * y[i] + (1 - lam) * y[j]
        return A[glm.name](point) - label * point

    with mpmath.workdps(20):
        pairs = [(i, j) for i in range(3) for j in range(3)]
        loss = expectation(lambda lam: sum(at(lam, i, j) for i, j in pairs) / 9, law)
        phi = expectation(lambda lam: (at(lam, 0, 1) + at(lam, 1, 0)) / 2, law)
    assert abs(glm_mixup_loss(u, y, law, glm) - float(loss)) <= OF_A
    assert abs(pair_losses(u, y, law, glm)[0, 1] - float(phi)) <= OF_A


@every_glm
@given(SEEDS, st.sampled_from(LAWS), st.integers(1, 5))
def test_loss_against_explicit_pairs(glm, seed, law, n):
    (x, y), theta = points(seed, n, 2), in_ball(seed, 2, RANGE)
    assert abs(glm_mixup_loss(x @ theta, y, law, glm) - slow_mixup_loss(x @ theta, y, law, glm.name)) <= OF_A


@every_glm
@settings(max_examples=8)
@given(SEEDS, st.sampled_from(LAWS))
def test_pairs_against_explicit_mixtures(glm, seed, law):
    """For several theta at once: u of shape (2, 3, k)."""
    x, y = points(seed, 3, 2)
    thetas = np.array([[in_ball(seed + 3 * i + j, 2, RANGE) for j in range(3)] for i in range(2)])
    u = thetas @ x.T
    phi = pair_losses(u, y, law, glm)
    assert phi.shape == (2, 3, 3, 3)
    for where in itertools.product(range(2), range(3)):
        for a, b in itertools.product(range(3), repeat=2):
            v = u[where]
            both = mixture_loss(v[a], y[a], v[b], y[b], law, glm.name) + mixture_loss(
                v[b], y[b], v[a], y[a], law, glm.name
            )
            assert abs(phi[where][a, b] - both / 2) <= OF_A


@given(SEEDS, st.sampled_from(LAWS), st.integers(1, 6), st.integers(1, 3), st.floats(0.0, 20.0))
def test_loss_against_torch(seed, law, n, d, reach):
    """torch's is exact to 1e-10 of the loss, this one to 1e-11 of A's size."""
    (x, y), theta = points(seed, n, d), in_ball(seed, d, reach)
    theta_t = torch.from_numpy(theta)
    expected = losses.mixup_loss(
        lambda t: (t @ theta_t)[:, None], torch.from_numpy(x), torch.from_numpy(y), law, "sigmoid"
    )
    assert abs(glm_mixup_loss(x @ theta, y, law, LOGISTIC) - expected.item()) <= 2e-10 * max(1, reach)


@every_glm
@given(SEEDS, st.sampled_from(LAWS), st.integers(2, 5))
def test_one_point_repetition_order_and_the_other_law(glm, seed, law, n):
    """By hand: n = 1 is the plain loss; repeating or permuting a sample, and 1 - lambda for lambda, change nothing."""
    x, y = points(seed, n)
    u, order = RANGE * x[:, 0], np.random.default_rng(seed).permutation(n)
    loss = glm_mixup_loss(u, y, law, glm)
    assert glm_mixup_loss(u[:1], y[:1], law, glm) == pytest.approx(float(glm.loss(u[0], y[0])), abs=1e-12)
    for other in (
        glm_mixup_loss(np.tile(u, 3), np.tile(y, 3), law, glm),
        glm_mixup_loss(u[order], y[order], law, glm),
        glm_mixup_loss(u, y, law.reflected(), glm),
    ):
        assert abs(other - loss) <= OF_A


def test_blocks_of_pairs_change_nothing(monkeypatch):
    """Blocks of one row, of two rows and a last one that is shorter."""
    x, y = points(0, 7)
    whole = glm_mixup_loss(x[:, 0], y, LAWS[1], LOGISTIC)
    for entries in (1, 14):
        monkeypatch.setattr(linear_mixup, "_BLOCK", entries)
        assert glm_mixup_loss(x[:, 0], y, LAWS[1], LOGISTIC) == pytest.approx(whole, abs=1e-14)


@every_law
def test_spread_moment(law):
    assert spread_moment(law) == pytest.approx(float(expectation(lambda lam: lam * (1 - lam), law)), abs=1e-12)


# --- the rule for lambda


@pytest.mark.parametrize("bound_u", [0.0, 1e-3, 5.0, 60.0])
@pytest.mark.parametrize("law", [LAWS[0], LAWS[2]], ids=["Beta(1, 1)", "Beta(3, 0.5)"])
def test_rule_is_as_good_as_it_says(law, bound_u):
    """Between the ends and between points that no grid of 21 has; 1e-11 of A's size, by mpmath."""
    nodes, weights = lambda_rule(law, LOGISTIC, bound_u)
    assert weights.sum() == pytest.approx(1, abs=1e-13)
    with mpmath.workdps(20):
        for u, v in ((-1.0, 1.0), (0.987, -0.513)):
            u, v = u * bound_u, v * bound_u
            f = lambda lam, u=u, v=v: A["logistic"](lam * u + (1 - lam) * v)
            expected = float(expectation(lambda lam, f=f: (f(lam) + f(1 - lam)) / 2, law))
            got = weights @ LOGISTIC.log_partition(nodes * u + (1 - nodes) * v)
            assert abs(got - expected) <= 2e-11 * max(1, bound_u)


def test_not_smooth_is_refused():
    kink = GLM("kink", np.abs, np.sign, 1.0)
    with pytest.raises(ValueError, match=r"glm 'kink': for abs\(u\) <= 2 the integral .* more than 1024 nodes"):
        glm_mixup_loss(np.array([2.0, -1.0]), np.array([0.0, 1.0]), LAWS[0], kink)
    with pytest.raises(ValueError, match="A has a kink"):
        pair_losses(np.array([2.0, -1.0]), np.array([0.0, 1.0]), LAWS[0], kink)


@pytest.mark.parametrize("alpha", [1e-8, 1e-3, 1e3, 1e6])
def test_laws_near_their_limits(alpha):
    """By hand: lambda in {0, 1} gives the plain loss, up to 2c of a difference; lambda = 1/2 the midpoint's, up to
    A''/2 Var(lambda) (u - v)^2 and as much of the product y u."""
    u, y = np.array([2.0, -1.5]), np.array([1.0, 0.0])
    law = BetaLaw(alpha)
    got = pair_losses(u, y, law, LOGISTIC)[0, 1]
    ends, middle = LOGISTIC.loss(u, y).mean(), float(LOGISTIC.loss(u.mean(), y.mean()))
    if alpha < 1:
        assert 0 < got - ends <= 2 * spread_moment(law) * 4
    else:
        assert abs(got - middle) <= 2 * 3.5**2 / (8 * alpha)


# --- refusals

BAD_SAMPLES = {
    "one row": ([[1.0]], [1], [1.0], ValueError, "x must have n >= 2 rows, got n = 1"),
    "no row": (np.zeros((0, 1)), [], [1.0], ValueError, "x must have n >= 1 rows, got n = 0"),
    "no column": (np.zeros((2, 0)), [0, 1], [], ValueError, r"x must have shape \(n, d\) with d >= 1, got \(2, 0\)"),
    "x a vector": ([1.0, 2.0], [0, 1], [1.0], ValueError, r"x must have shape \(n, d\).*got \(2,\)"),
    "x NaN": ([[NAN], [1.0]], [0, 1], [1.0], ValueError, "x must be finite"),
    "x infinite": ([[INF], [1.0]], [0, 1], [1.0], ValueError, "x must be finite"),
    "x text": ([["a"], ["b"]], [0, 1], [1.0], TypeError, "x must be an array of real numbers"),
    "y short": ([[1.0], [2.0]], [0], [1.0], ValueError, r"y must have shape \(2,\), one label"),
    "y a column": ([[1.0], [2.0]], [[0], [1]], [1.0], ValueError, r"y must have shape \(2,\)"),
    "y above 1": ([[1.0], [2.0]], [0, 1.5], [1.0], ValueError, r"y must lie in \[0, 1\], got \[0, 1\.5\]"),
    "y signs": ([[1.0], [2.0]], [-1, 1], [1.0], ValueError, r"y must lie in \[0, 1\], got \[-1, 1\]"),
    "y NaN": ([[1.0], [2.0]], [0, NAN], [1.0], ValueError, "y must be finite"),
    "theta long": ([[1.0], [2.0]], [0, 1], [1.0, 2.0], ValueError, r"theta must have shape \(1,\), got \(2,\)"),
    "theta NaN": ([[1.0], [2.0]], [0, 1], [NAN], ValueError, "theta must be finite"),
    "theta None": ([[1.0], [2.0]], [0, 1], None, TypeError, "theta must be"),
}


@pytest.mark.parametrize(("x", "y", "theta", "error", "words"), BAD_SAMPLES.values(), ids=BAD_SAMPLES)
def test_bad_samples(x, y, theta, error, words):
    with pytest.raises(error, match=words):
        linear_mixup.sample(x, y, theta)


def test_good_samples_become_float64():
    x, y, theta = linear_mixup.sample([[1, 2], [3, 4]], [True, False], (1, 0))
    assert (x.dtype, y.dtype, theta.dtype) == (np.float64,) * 3
    assert (x.tolist(), y.tolist(), theta.tolist()) == ([[1, 2], [3, 4]], [1, 0], [1, 0])
    assert inputs_and_labels([[1.0]], [0.5])[0].shape == (1, 1)

"""The readings' losses against SciPy's quad over literal mixtures and torch's autograd; when they have no minimizer."""

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from implicit_bias_cases import (
    BAD_IDS,
    BAD_ROWS,
    LAWS,
    MIXING,
    PLUS_MINUS,
    SEEDS,
    close,
    cloud,
    index_pairs,
    linear_model,
    mixed,
    rotation,
    separable,
    tensors,
)
from scipy.integrate import quad_vec
from scipy.special import beta as beta_function
from scipy.special import expit

from mixupe_theory import BetaLaw, mixup_loss, standard_loss
from mixupe_theory.readings import READINGS, linear_loss, separating_direction

NODES = 64  # of a rule: with margins of at most about 10, its error is rounding
every_reading = pytest.mark.parametrize("reading", MIXING)


def at(w, point, label):
    """Loss, gradient and Hessian at one input, in one row."""
    f = point @ w
    loss, response = np.logaddexp(0, f) - label * f, expit(f)
    return np.concatenate(
        [[loss], (response - label) * point, (response * (1 - response) * np.outer(point, point)).ravel()]
    )


def by_quadrature(x, y, law, reading, w):
    """The same of a reading: loops over pairs, adaptive quadrature over each half of (0, 1).

    On (0, 1/2) the substitution t = lambda^p, p = min(alpha, 1), takes the singularity away; likewise at 1.
    """
    total, pairs = 0.0, index_pairs(y, reading)
    for i, j in pairs:
        for own, other, above in ((law.alpha, law.beta, False), (law.beta, law.alpha, True)):
            p = min(own, 1.0)

            def integrand(t, i=i, j=j, own=own, other=other, above=above, p=p):
                u = t ** (1 / p)
                density = u ** (own - p) * (1 - u) ** (other - 1) / p / beta_function(law.alpha, law.beta)
                return density * at(w, *mixed(x, y, reading, i, j, 1 - u if above else u, above))

            total = total + quad_vec(integrand, 0, 0.5**p, epsabs=1e-12, epsrel=1e-11)[0]
    return total / len(pairs)


def values(loss, w):
    return np.concatenate([[loss(w)], loss.gradient(w), loss.hessian(w).ravel()])


# --- value, gradient, Hessian


@every_reading
@settings(max_examples=6)
@given(SEEDS, st.sampled_from(LAWS), st.floats(0.1, 3))
def test_loss_and_derivatives_equal_adaptive_quadrature(reading, seed, law, size):
    """1e-9: quad_vec's own tolerance is 1e-11 for each pair and half."""
    x, y = cloud(seed, n=3)
    w = size * np.random.default_rng(seed).normal(size=2)
    close(values(linear_loss(x, y, law, reading, NODES), w), by_quadrature(x, y, law, reading, w), 1e-9)


def test_quadrature_tells_the_readings_apart():
    """Negative control: no reading's loss is near another's quadrature, nor near its own with alpha and beta apart."""
    x, y = cloud(3, n=4)
    w, law = np.array([1.0, -2.0]), BetaLaw(0.4)
    own = [linear_loss(x, y, law, reading, NODES)(w) for reading in MIXING]
    reference = [by_quadrature(x, y, law, reading, w)[0] for reading in MIXING]
    distance = np.abs(np.subtract.outer(own, reference))
    assert (distance[~np.eye(4, dtype=bool)] > 1e-3).all()
    assert (np.abs(own - np.array([by_quadrature(x, y, BetaLaw(0.4, 2.0), r, w)[0] for r in MIXING])) > 1e-3).all()


@given(SEEDS, st.sampled_from(LAWS), st.integers(2, 6), st.integers(1, 4))
def test_full_reading_is_the_mixup_loss_with_its_autograd_derivatives(seed, law, n, d):
    """1e-9 for mixup_loss's rtol of 1e-10."""
    x, y = cloud(seed, n, d)
    w = np.random.default_rng(seed).normal(size=d)
    value = lambda v: mixup_loss(lambda x: (x @ v)[:, None], *tensors(x, y), law, "sigmoid")
    at_w = torch.as_tensor(w)
    expected = [value(at_w)[None], *(t.flatten() for t in (
        torch.autograd.functional.jacobian(value, at_w), torch.autograd.functional.hessian(value, at_w)
    ))]  # fmt: skip
    close(values(linear_loss(x, y, law, "full", NODES), w), torch.cat(expected), 1e-9)


@given(SEEDS, st.integers(1, 4))
def test_erm_is_the_standard_loss(seed, d):
    x, y = cloud(seed, d=d)
    w = np.random.default_rng(seed).normal(size=d)
    model = linear_model(w)
    value = standard_loss(model, *tensors(x, y), "sigmoid")
    value.backward()
    loss = linear_loss(x, y, None, "erm", 1)
    close(loss(w), value.item(), 1e-14)
    close(loss.gradient(w), model.weight.grad.numpy()[0], 1e-14)
    close(values(loss, w), np.mean([at(w, *row) for row in zip(x, y, strict=True)], axis=0), 1e-14)


@pytest.mark.parametrize("reading", READINGS)
def test_many_weights_at_once(reading):
    x, y = cloud(0, d=3)
    loss = linear_loss(x, y, None if reading == "erm" else LAWS[2], reading, NODES)
    w = np.random.default_rng(0).normal(size=(2, 4, 3))
    assert loss(w).shape == loss.pull(w).shape == (2, 4)
    for index in np.ndindex(2, 4):
        close([loss(w)[index], loss.pull(w)[index]], [loss(w[index]), loss.pull(w[index])], 1e-14)
        close(loss.gradient(w)[index], loss.gradient(w[index]), 1e-14)


@every_reading
@pytest.mark.parametrize("reach", [1.0, 30.0, 300.0])
def test_small_losses_keep_their_digits(reading, reach):
    """One point (1,) of label 1: the loss is log(1 + exp(-w)), the pull 1/(1 + exp(w)), to some roundings of w."""
    loss, w = linear_loss([[1.0], [1.0]], [1, 1], LAWS[1], reading, NODES), np.array([reach])
    with mpmath.workdps(200):
        value, pull = mpmath.log1p(mpmath.exp(-reach)), 1 / (1 + mpmath.exp(reach))
    for got, expected in ((loss(w), value), (loss.pull(w), pull), (-loss.gradient(w)[0], pull)):
        assert abs(got - float(expected)) <= 1e-13 * float(expected)


@every_reading
@given(SEEDS, st.sampled_from(LAWS))
def test_pull_bounds_the_gradient(reading, seed, law):
    x, y = cloud(seed)
    w = 3 * np.random.default_rng(seed).normal(size=2)
    loss = linear_loss(x, y, law, reading, NODES)
    assert 0 < loss.pull(w) <= 1
    assert np.linalg.norm(loss.gradient(w)) <= np.linalg.norm(x, axis=1).max() * loss.pull(w) * (1 + 1e-12)


@every_reading
@pytest.mark.parametrize("law", [*LAWS, BetaLaw(0.01), BetaLaw(500.0), BetaLaw(1200.0)], ids=str)
def test_the_rule_is_a_law(reading, law):
    """And its mean is that of the law: E lambda under D_lambda, E max(lambda, 1 - lambda) by mpmath's incomplete beta;
    from beta = 1075 on 0.5^(beta - 1) underflows."""
    x, y = PLUS_MINUS
    loss = linear_loss(x, y, law, reading, NODES)
    a, b = law.alpha, law.beta
    mean = (a * (a + 1) + b * (b + 1)) / (a + b) / (a + b + 1)
    if reading == "hard_label":
        part = lambda p, q: mpmath.betainc(p + 1, q, 0.5, 1) / mpmath.beta(p, q)
        mean = float(part(a, b) + part(b, a))
    assert (loss.weights >= 0).all()
    assert ((loss.nodes >= (0.5 if reading == "hard_label" else 0)) & (loss.nodes <= 1)).all()
    assert abs(loss.weights.sum() - 1) <= 1e-14
    assert abs(loss.weights @ loss.nodes - mean) <= 1e-13


# --- symmetries


@pytest.mark.parametrize("reading", READINGS)
@given(SEEDS, SEEDS, st.sampled_from(LAWS))
def test_symmetries_of_the_loss(reading, seed, other, law):
    x, y = cloud(seed, d=3)
    law = None if reading == "erm" else law
    rng = np.random.default_rng(other)
    w, q, order, a = rng.normal(size=3), rotation(other, 3), rng.permutation(5), rng.normal(size=(3, 3))
    of = lambda x, y, w: linear_loss(x, y, law, reading, 16)(w)
    value = of(x, y, w)
    for same in (
        of(np.repeat(x, 2, axis=0), np.repeat(y, 2), w),
        of(x[order], y[order], w),
        of(x @ q.T, y, q @ w),
        of(4 * x, y, w / 4),
        of(x, 1 - y, -w),
        of(x @ a, y, w) - of(x, y, a @ w) + value,
    ):
        close(same, value, 1e-12)


# --- which readings have no finite minimizer


def ends_of_segments(x, y, reading):
    """Signed mixed points at quarters, both labels at 1/2: exact for whole inputs, and they decide the segments."""
    points = []
    for i, j in index_pairs(y, reading):
        for lam, above in ((0, False), (0.25, False), (0.5, False), (0.5, True), (0.75, True), (1, True)):
            point, label = mixed(x, y, reading, i, j, lam, above)
            points += [sign * point for sign, pulls in ((1, label > 0), (-1, label < 1)) if pulls]
    return np.array(points)


def planar_direction(points):
    """A w with w^T q >= 0, not always 0, or None; in the plane, if any exists one is along or orthogonal to some q."""
    for q in points:
        for w in (q, -q, q[::-1] * [1, -1], q[::-1] * [-1, 1]):
            if (points @ w >= 0).all() and (points @ w > 0).any():
                return w
    return None


@every_reading
@settings(max_examples=60)
@given(SEEDS, st.integers(1, 4))
def test_separating_direction_equals_a_search_in_the_plane(reading, seed, n):
    """Whole inputs between -2 and 2, so zero rows, duplicates, one class, collinear rows; 1e-6: the LP's tolerance."""
    rng = np.random.default_rng(seed)
    x, y = rng.integers(-2, 3, size=(n, 2)).astype(float), rng.integers(2, size=n)
    points, found = ends_of_segments(x, y, reading), separating_direction(x, y, reading)
    assert (found is None) == (planar_direction(points) is None)
    if found is not None:
        along = points @ found / np.linalg.norm(found)
        assert along.min() >= -1e-6
        assert along.max() > 1e-3


@pytest.mark.parametrize("reading", ["erm", "same_class", "label_absorbed"])
@given(SEEDS, st.integers(2, 8), st.integers(1, 5))
def test_separable_data_have_a_direction_and_full_mixup_none(reading, seed, n, d):
    x, y = separable(seed, n, d)
    w = separating_direction(x, y, reading)
    assert ((2 * y - 1) * (x @ w) >= -1e-6 * np.linalg.norm(w)).all()
    assert separating_direction(x, y, "full") is None


# --- bad input


@pytest.mark.parametrize(("x", "y", "error", "words"), BAD_ROWS, ids=BAD_IDS)
@pytest.mark.parametrize("reading", ["erm", "full"])
def test_bad_data(reading, x, y, error, words):
    with pytest.raises(error, match=words):
        linear_loss(x, y, None if reading == "erm" else BetaLaw(1.0), reading, 16)


BAD_SETTINGS = {
    "misspelt reading": (BetaLaw(1.0), "Full", 16, ValueError, "reading must be one of.*did you mean 'full'"),
    "no reading": (BetaLaw(1.0), None, 16, ValueError, "reading must be one of"),
    "a law for erm": (BetaLaw(1.0), "erm", 16, TypeError, "law must be None for reading 'erm'"),
    "no law": (None, "full", 16, TypeError, "law must be a BetaLaw, got NoneType"),
    "a number for a law": (1.0, "hard_label", 16, TypeError, "law must be a BetaLaw, got float"),
    "no nodes": (BetaLaw(1.0), "full", 0, ValueError, "nodes must be an integer >= 1"),
    "nodes of text": (BetaLaw(1.0), "full", "x", TypeError, "nodes must be an integer >= 1"),
    "nodes of text, erm": (None, "erm", "x", TypeError, "nodes must be an integer >= 1"),
}


@pytest.mark.parametrize(("law", "reading", "nodes", "error", "words"), BAD_SETTINGS.values(), ids=BAD_SETTINGS)
def test_bad_settings(law, reading, nodes, error, words):
    with pytest.raises(error, match=words):
        linear_loss(*PLUS_MINUS, law, reading, nodes)

"""The certified minimizer against SciPy's and mpmath's; when there is none; symmetries, rank deficiency, refusals."""

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from implicit_bias_cases import (
    BAD_IDS,
    BAD_ROWS,
    LAWS,
    MIXING,
    PLUS_MINUS,
    SEEDS,
    Reference,
    close,
    cloud,
    rotation,
    separable,
)
from scipy.optimize import minimize

from mixupe_theory import BetaLaw, implicit_bias
from mixupe_theory.implicit_bias import LinearLoss, NoFiniteMinimizer, descend, max_margin, mixup_minimizer

AROUND_0 = np.array([[1.0, 0.0], [-1.0, 1.0], [-1.0, -1.0]])  # in no half-plane
every_reading = pytest.mark.parametrize("reading", MIXING)


def searched(x, y, law, reading):
    """The reference's minimizer by SciPy's trust-region Newton method, on the span of the inputs."""
    reference, basis = Reference(x, y, law, reading), np.linalg.svd(x)[2][: np.linalg.matrix_rank(x)]
    found = minimize(
        lambda v: reference(v @ basis),
        np.zeros(len(basis)),
        jac=lambda v: basis @ reference.gradient(v @ basis),
        hess=lambda v: basis @ reference.hessian(v @ basis) @ basis.T,
        method="trust-exact",
        options={"gtol": 1e-10},
    )
    return found.x @ basis


def overlapping(seed, n, d, reading):
    """A cloud on which the reading has a minimizer: no w is on the right side of an input and of its shortened mirror
    image. Without that "full" always has one, and "hard_label" almost surely for n > d."""
    x, y = cloud(seed, n, d)
    short = np.random.default_rng(seed).uniform(-0.8, -0.3, size=(n, 1))
    return (x, y) if reading in ("full", "hard_label") else (np.vstack([x, short * x]), np.concatenate([y, y]))


# --- the minimizer


@every_reading
@settings(max_examples=8)
@given(SEEDS, st.sampled_from(LAWS), st.integers(4, 6), st.integers(1, 3))
def test_minimizer_equals_scipy_s(reading, seed, law, n, d):
    """SciPy stops at a gradient of about 1e-10 or where the loss no longer falls, a relative 1e-16: w is then off by
    the root of that over the least curvature, some 1e-7."""
    x, y = overlapping(seed, n, d, reading)
    close(mixup_minimizer(x, y, law, reading).w, searched(x, y, law, reading), 1e-6)


@every_reading
@settings(max_examples=8)
@given(SEEDS, st.sampled_from(LAWS), st.integers(4, 6), st.integers(1, 3))
def test_certificates_are_those_of_the_reference(reading, seed, law, n, d):
    """The gradient vanishes to rounding of its terms; loss and Hessian are the reference's at the same w."""
    x, y = overlapping(seed, n, d, reading)
    found, reference = mixup_minimizer(x, y, law, reading), Reference(x, y, law, reading)
    size = np.linalg.norm(x, axis=1).max()
    assert np.linalg.norm(reference.gradient(found.w)) <= 1e-10 * size
    assert found.gradient_norm <= 1e-10 * size
    close(found.loss, reference(found.w), 1e-11)
    close(found.hessian, reference.hessian(found.w), 1e-11 * size**2)
    least = np.linalg.eigvalsh(reference.hessian(found.w))[0]
    assert found.least_eigenvalue == pytest.approx(least, rel=1e-6)
    assert found.least_eigenvalue > 0
    assert found.accuracy <= 1e-8 * max(1, np.linalg.norm(found.w))
    assert found.unique


@pytest.mark.parametrize("alpha", [0.05, 1.0, 8.0])
@pytest.mark.parametrize("reading", ["full", "hard_label"])
def test_one_dimension_by_mpmath(reading, alpha):
    """Points 1 and -2 with labels 1 and 0, 20 digits: the root of the loss's slope, by hand.

    A quarter of the pairs is each point with itself, half are mixtures 3 lambda - 2 with label lambda, or 1 if
    lambda > 1/2. The quadrature is over t = u^p, u the smaller one of lambda and 1 - lambda, p = min(alpha, 1).
    """
    p = min(alpha, 1.0)
    respond = lambda f: 1 / (1 + mpmath.exp(-f))

    def at(w, lam):
        label = lam if reading == "full" else (lam > 0.5) + mpmath.mpf(lam == 0.5) / 2
        return (respond((3 * lam - 2) * w) - label) * (3 * lam - 2)

    def slope(w):
        both = lambda u: (at(w, 1 - u) + at(w, u)) * u ** (alpha - p) * (1 - u) ** (alpha - 1)
        mixtures = mpmath.quad(lambda t: both(t ** (1 / p)), [0, 0.5**p]) / p / mpmath.beta(alpha, alpha)
        return (respond(w) - 1 + 2 * (respond(2 * w) - 1)) / 4 + mixtures / 2

    with mpmath.workdps(20):
        expected = float(mpmath.findroot(slope, (1, 4), solver="anderson", tol=1e-14))
    found = mixup_minimizer([[1.0], [-2.0]], [1, 0], BetaLaw(alpha), reading)
    assert abs(found.w[0] - expected) <= 1e-8 * expected


@every_reading
@settings(max_examples=8)
@given(SEEDS, SEEDS, st.sampled_from(LAWS), st.integers(1, 3))
def test_symmetries_and_linear_equivariance(reading, seed, other, law, d):
    """w*(A X) = A^-T w*(X) for every invertible A, rotations and scalings among them; relabelling; repetition; order.

    1e-8: the accuracy that is accepted; A has a condition number of at most 4.
    """
    x, y = overlapping(seed, 6, d, reading)
    rng, of = np.random.default_rng(other), lambda x, y: mixup_minimizer(x, y, law, reading).w
    w, order = of(x, y), rng.permutation(len(x))
    a = rotation(seed, d) @ np.diag(rng.uniform(0.5, 2, size=d)) @ rotation(other, d)
    for got, expected in (
        (of(x @ a.T, y), np.linalg.solve(a.T, w)),
        (of(1e3 * x, y) * 1e3, w),
        (of(x, 1 - y), -w),
        (of(np.repeat(x, 2, axis=0), np.repeat(y, 2)), w),
        (of(x[order], y[order]), w),
    ):
        close(got, expected, 1e-8)


@pytest.mark.parametrize("spread", [1.0, 1e3])
@pytest.mark.parametrize("reading", ["full", "same_class"])
def test_columns_of_very_different_size(reading, spread):
    """Equivariance under diag(spread, 1/spread), which is exact but for rounding of the linear programme and Newton."""
    for seed in range(3):
        x, y = overlapping(seed, 8, 2, reading)
        w = mixup_minimizer(x, y, LAWS[0], reading).w
        close(mixup_minimizer(x * [spread, 1 / spread], y, LAWS[0], reading).w * [spread, 1 / spread], w, 1e-8)


@pytest.mark.parametrize("spread", [1e5, 1e6])
def test_existence_does_not_depend_on_the_columns_size(spread):
    """Whether a minimizer exists is invariant under A, also where columns differ by 1e12."""
    for seed in range(4):
        x, y = cloud(seed, 8)
        for reading in MIXING:
            exists = []
            for columns in ([1.0, 1.0], [spread, 1 / spread]):
                try:
                    mixup_minimizer(x * columns, y, LAWS[0], reading)
                    exists.append(True)
                except NoFiniteMinimizer:
                    exists.append(False)
            assert exists[0] == exists[1], (seed, reading)


@settings(max_examples=8)
@given(SEEDS, st.sampled_from(["full", "hard_label"]), st.integers(0, 2))
def test_deficient_rank_gives_the_shortest_minimizer(seed, reading, missing):
    """Points in a subspace of R^4: w lies in it, solves the problem in its coordinates, and is flagged."""
    x, y = cloud(seed, 6, 4 - missing)
    basis = rotation(seed, 4)[:, : 4 - missing]
    found, inside = (mixup_minimizer(t, y, LAWS[0], reading) for t in (x @ basis.T, x))
    assert found.unique == (missing == 0)
    close(found.w, basis @ inside.w, 1e-8)
    close(found.w, basis @ basis.T @ found.w, 1e-12)
    assert found.least_eigenvalue == pytest.approx(inside.least_eigenvalue, rel=1e-6)


@every_reading
def test_zero_rows_alone(reading):
    found = mixup_minimizer(np.zeros((3, 2)), [1, 0, 1], LAWS[0], reading)
    assert (found.loss, found.gradient_norm, found.unique, found.w.tolist()) == (np.log(2), 0.0, False, [0.0, 0.0])


def test_zero_and_repeated_rows_and_both_labels_of_one_input():
    """By hand: where every input occurs with both labels, w = 0; a zero row changes w, and stays allowed."""
    assert np.abs(mixup_minimizer([[1, 2], [1, 2], [3, 0], [3, 0]], [1, 0, 0, 1], LAWS[0]).w).max() <= 1e-12
    x, y = np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0], [0.0, 1.0]]), np.array([1, 0, 0, 0])
    close(mixup_minimizer(x, y, LAWS[0]).w, searched(x, y, LAWS[0], "full"), 1e-6)


@pytest.mark.parametrize("reading", ["full", "hard_label"])
def test_gradient_descent_converges_to_it(reading):
    """Linearly, with the rate 1 - r lambda_min: after 20000 steps nothing but the rules' 1e-8 is left."""
    x, y = separable(1, 6, 2)
    found = mixup_minimizer(x, y, LAWS[0], reading)
    close(descend(x, y, LAWS[0], reading, steps=20_000).w[-1], found.w, 1e-6)


def test_direction_is_not_the_max_margin():
    """Two points, (1, 0) and (-7, -1): equal margins at the minimizer, the smaller point's alone for max margin."""
    x, y = [[1.0, 0.0], [-7.0, -1.0]], [1, 0]
    w, hard = mixup_minimizer(x, y, BetaLaw(1.0)).w, max_margin(x, y)
    close(hard, [1, 0], 1e-12)
    assert abs(w @ x[0] + w @ x[1]) <= 1e-9
    close(w / np.linalg.norm(w), np.array([1, -6]) / 37**0.5, 1e-9)
    assert np.degrees(implicit_bias.angle(w, hard)) > 80


# --- no minimizer

NONE = {  # x, y, readings without a finite minimizer, words
    "one class in a half-plane": ([[1.0, 0.0], [0.0, 1.0]], [1, 1], MIXING, "y holds one class only, 1"),
    "one class on its edge": ([[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0]], [0, 0, 0], MIXING, "one class only, 0"),
    "separable": (
        [[1.0, 0.0], [-3.0, 1.0], [2.0, 0.0]],
        [1, 0, 1],
        ("same_class", "label_absorbed"),
        "one closed half-space",
    ),
    "separable with a zero row": ([[1.0, 0.0], [0, 0]], [1, 0], ("same_class", "label_absorbed"), "half-space"),
    "equal margins": (*PLUS_MINUS, ("same_class", "label_absorbed", "hard_label"), "half-space|the same margin"),
}


@pytest.mark.parametrize(("x", "y", "readings", "words"), NONE.values(), ids=NONE)
@every_reading
def test_readings_without_a_minimizer(reading, x, y, readings, words):
    """The direction is a unit vector, and from w = 0 the reference's loss falls along it for ever, to 1e-6."""
    if reading not in readings:
        assert np.isfinite(mixup_minimizer(x, y, LAWS[0], reading).w).all()
        return
    with pytest.raises(NoFiniteMinimizer, match=words) as caught:
        mixup_minimizer(x, y, LAWS[0], reading)
    direction, reference = caught.value.direction, Reference(x, y, LAWS[0], reading)
    assert isinstance(caught.value, ValueError)
    assert abs(np.linalg.norm(direction) - 1) <= 1e-14
    along = np.array([reference.gradient(t * direction) @ direction for t in (0, 1, 10, 30)])
    assert (along < 1e-6).all()
    assert along[0] < -1e-3


def test_a_minimizer_at_0_takes_no_longer(monkeypatch):
    """Inputs and their mirror images: a step relative to ||w|| would never be small enough."""
    calls, hessian = [], LinearLoss.hessian
    monkeypatch.setattr(LinearLoss, "hessian", lambda self, w: calls.append(w) or hessian(self, w))
    x = np.random.default_rng(0).normal(size=(4, 2))
    found = mixup_minimizer(np.vstack([x, -x]), [1, 0, 1, 0] * 2, LAWS[0], "same_class")
    assert np.abs(found.w).max() <= 1e-12
    assert len(calls) < 50


@every_reading
def test_one_class_around_0_has_a_minimizer(reading):
    y = np.ones(3)
    close(mixup_minimizer(AROUND_0, y, LAWS[0], reading).w, searched(AROUND_0, y, LAWS[0], reading), 1e-6)


# --- refusals and determinism


@pytest.mark.parametrize(("x", "y", "error", "words"), BAD_ROWS, ids=BAD_IDS)
def test_bad_data(x, y, error, words):
    with pytest.raises(error, match=words):
        mixup_minimizer(x, y, BetaLaw(1.0))


BAD_SETTINGS = {
    "erm": (BetaLaw(1.0), "erm", ValueError, r"reading must be one of \('full', 'same_class', .*got 'erm'"),
    "misspelt": (BetaLaw(1.0), "same class", ValueError, "did you mean 'same_class'"),
    "no law": (None, "full", TypeError, "law must be a BetaLaw, got NoneType"),
    "law of text": ("uniform", "full", TypeError, "law must be a BetaLaw, got str"),
}


@pytest.mark.parametrize(("law", "reading", "error", "words"), BAD_SETTINGS.values(), ids=BAD_SETTINGS)
def test_bad_settings(law, reading, error, words):
    with pytest.raises(error, match=words):
        mixup_minimizer(*PLUS_MINUS, law, reading)


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_inputs_whose_squares_leave_float64_are_refused(scale):
    x, y = separable(1, 6, 2)
    with pytest.raises(ValueError, match="x must have a largest entry between"):
        mixup_minimizer(scale * x, y, LAWS[0])


def test_same_numbers_every_time_and_everything_exported_exists():
    x, y = separable(1, 6, 2)
    first, again = (mixup_minimizer(x, y, LAWS[1]) for _ in range(2))
    np.testing.assert_array_equal(first.w, again.w)
    assert all(hasattr(implicit_bias, name) for name in implicit_bias.__all__)

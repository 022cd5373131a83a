"""The hard margin against enumerated support sets and SLSQP; its certificates; the data of the toy experiment."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from implicit_bias_cases import BAD_IDS, BAD_ROWS, INF, NOT_SEPARABLE, SEEDS, close, rotation, separable
from scipy.optimize import minimize

from mixupe_theory.separable import (
    SUPPORT_VECTORS,
    NotSeparable,
    kkt,
    max_margin,
    separable_data,
    signed_inputs,
    soudry_data,
)

LABELS = [1, 1, 0, 0]  # of SUPPORT_VECTORS
SIZES = st.integers(1, 7), st.integers(1, 4)


def enumerated(x, y):
    """The shortest feasible w among the least-norm solutions of z_i^T w = 1 over subsets; None if none is feasible.

    The hard margin is one of them: by Caratheodory it is a positive combination of independent support vectors.
    """
    z = (2 * np.asarray(y) - 1)[:, None] * np.asarray(x, dtype=float)
    best = None
    for k in range(1, min(z.shape) + 1):
        for subset in itertools.combinations(range(len(z)), k):
            w = np.linalg.pinv(z[list(subset)]) @ np.ones(k)
            if (z @ w).min() >= 1 - 1e-9 and (best is None or w @ w < best @ best):
                best = w
    return best


# --- signed inputs


def test_signed_inputs_are_copies_in_float64():
    """Whole numbers: exact."""
    x = np.array([[1, 2], [3, 4]], dtype=np.float32)
    z = signed_inputs(x, [True, False])
    np.testing.assert_array_equal(z, [[1, 2], [-3, -4]])
    assert z.dtype == np.float64
    z[:] = 0
    assert x.all()


# --- the hard margin


@given(SEEDS, *SIZES)
def test_hard_margin_equals_enumerated_support_sets(seed, n, d):
    """1e-9: the tolerance of the KKT residual that the library accepts; margins are at least 0.3 of about 3."""
    x, y = separable(seed, n, d)
    close(max_margin(x, y), enumerated(x, y), 1e-9)


@pytest.mark.parametrize(("n", "d"), [(6, 2), (20, 5), (12, 10)])
def test_hard_margin_equals_slsqp(n, d):
    """1e-6: SLSQP stops when ||w||^2 falls by less than 1e-14, so w may be off by its root, 1e-7."""
    x, y = separable(0, n, d)
    z = (2 * y - 1)[:, None] * x
    constraint = {"type": "ineq", "fun": lambda w: z @ w - 1, "jac": lambda w: z}
    found = minimize(
        lambda w: w @ w / 2,
        np.zeros(d),
        jac=lambda w: w,
        method="SLSQP",
        constraints=constraint,
        options={"ftol": 1e-14, "maxiter": 1000},
    )
    assert found.success
    close(max_margin(x, y), found.x, 1e-6)


@given(SEEDS, *SIZES)
def test_multipliers_certify_the_hard_margin(seed, n, d):
    """Weak duality, checked here: mu >= 0 and w = sum mu_i z_i prove ||w|| least, for every feasible v has
    v^T w = sum mu_i v^T z_i >= sum mu_i = ||w||^2. Rounding of a few operations on numbers up to ||w||^2."""
    x, y = separable(seed, n, d)
    z, w = (2 * y - 1)[:, None] * x, max_margin(x, y)
    mu, residual = kkt(x, y, w)
    scale = 1e-9 * max(1.0, w @ w)
    assert residual <= 1e-9
    assert (z @ w).min() >= 1 - 1e-9
    assert (mu >= 0).all()
    assert np.linalg.norm(mu @ z - w) <= scale
    assert abs(mu.sum() - w @ w) <= scale
    assert not mu[z @ w > 1 + 1e-5].any()


@given(SEEDS, SEEDS, *SIZES)
def test_symmetries_of_the_hard_margin(seed, other, n, d):
    """Twice the tolerance of each solution."""
    x, y = separable(seed, n, d)
    w, q, order = max_margin(x, y), rotation(other, d), np.random.default_rng(other).permutation(n)
    close(max_margin(np.repeat(x, 3, axis=0), np.repeat(y, 3)), w, 2e-9)
    close(max_margin(x[order], y[order]), w, 2e-9)
    close(max_margin(x @ q.T, y), q @ w, 2e-9)
    close(max_margin(8 * x, y), w / 8, 2e-9)
    close(max_margin(x, 1 - y), -w, 2e-9)
    close(max_margin(-x, 1 - y), w, 2e-9)


def test_hard_margin_is_not_equivariant_under_linear_maps():
    """By hand: w = (1, 0) has margin 1 at (1, 0) and (1, 1), and at their images (1, 0) and (2, 1) under a shear A it
    is still the shortest feasible vector; A^-T w = (1, -1) is feasible there, and longer."""
    x, y, a = np.array([[1.0, 0.0], [1.0, 1.0]]), [1, 1], np.array([[1.0, 1.0], [0.0, 1.0]])
    close(max_margin(x, y), [1, 0], 1e-15)
    close(max_margin(x @ a.T, y), [1, 0], 1e-15)
    close(np.linalg.solve(a.T, [1, 0]), [1, -1], 1e-15)


@pytest.mark.parametrize("scale", [1e-100, 1e-6, 1e6, 1e100])
def test_hard_margin_of_scaled_inputs(scale):
    close(max_margin(scale * SUPPORT_VECTORS, LABELS) * scale, [0.5, 0.5], 1e-12)


@pytest.mark.parametrize("ratio", [1e6, 1e9])
def test_rows_of_very_different_length(ratio):
    """Orthogonal rows: w = (1/ratio, 1), exactly."""
    close(max_margin([[ratio, 0.0], [0.0, 1.0]], [1, 1]), [1 / ratio, 1], 1e-9)


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_inputs_whose_squares_leave_float64_are_refused(scale):
    with pytest.raises(ValueError, match="x must have a largest entry between"):
        max_margin(scale * SUPPORT_VECTORS, LABELS)


def test_margins_at_the_limit_of_float64_are_not_called_non_separable():
    """(0, 1) separates with margin 1e-9."""
    try:
        w = max_margin([[1.0, 1e-9], [-1.0, 1e-9]], [1, 1])
    except ArithmeticError:
        return
    close(w * 1e-9, [0, 1], 1e-6)


def test_three_hundred_rows_of_different_length():
    """The issue asks for d = 100; lengths spread by e^(2 normal)."""
    rng = np.random.default_rng(0)
    for _ in range(3):
        x, y = separable_data(rng, n=300, d=100)
        x *= np.exp(2 * rng.normal(size=(300, 1)))
        assert kkt(x, y, max_margin(x, y))[1] <= 1e-9


# --- certificates


@pytest.mark.parametrize(("x", "y"), NOT_SEPARABLE.values(), ids=NOT_SEPARABLE)
def test_refusal_carries_gordan_certificate(x, y):
    with pytest.raises(NotSeparable, match=r"not linearly separable without an intercept.*z_\d") as caught:
        max_margin(x, y)
    check_certificate(x, y, caught.value.weights)


def check_certificate(x, y, weights):
    z = (2 * np.asarray(y) - 1)[:, None] * np.asarray(x, dtype=float)
    assert weights.shape == (len(z),)
    assert (weights >= 0).all()
    assert abs(weights.sum() - 1) <= 1e-14
    assert np.linalg.norm(weights @ z) <= 1e-12 * max(1.0, np.abs(z).max())


@given(SEEDS, st.integers(1, 6), st.integers(1, 3))
def test_exactly_one_of_separation_and_certificate_exists(seed, n, d):
    """Whole inputs between -2 and 2: zero rows, duplicates and opposite labels are frequent; nothing is nearly so."""
    rng = np.random.default_rng(seed)
    x, y = rng.integers(-2, 3, size=(n, d)).astype(float), rng.integers(2, size=n)
    expected = enumerated(x, y)
    if expected is None:
        with pytest.raises(NotSeparable) as caught:
            max_margin(x, y)
        check_certificate(x, y, caught.value.weights)
    else:
        close(max_margin(x, y), expected, 1e-9)


def test_kkt_tells_optimal_from_feasible_and_infeasible():
    """By hand: (3/4, 1/4) has margins 3/4 and 5/4; (1, 1) is feasible but on no margin; (0, 2) has margins 3 and 1,
    stationarity misses the part of (0, 2) orthogonal to (1.5, 0.5)."""
    for w, expected in (((0.5, 0.5), 0.0), ((0.75, 0.25), INF), ((1.0, 1.0), INF), ((0.0, 2.0), 0.9**0.5)):
        assert kkt(SUPPORT_VECTORS, LABELS, w)[1] == pytest.approx(expected, abs=1e-12)


def test_kkt_residual_shows_every_miss():
    """1 + 5e-7 times the optimum misses complementarity by 5e-7."""
    assert kkt(SUPPORT_VECTORS, LABELS, np.array([0.5, 0.5]) * (1 + 5e-7))[1] > 1e-8


@pytest.mark.parametrize("w", [[1.0], [1.0, 2.0, 3.0], [[1.0, 2.0]], ["a", "b"]], ids=["short", "long", "2-d", "text"])
def test_kkt_names_a_bad_w(w):
    with pytest.raises((TypeError, ValueError), match=r"\bw\b must"):
        kkt(SUPPORT_VECTORS, LABELS, w)


@pytest.mark.parametrize(("x", "y", "error", "words"), BAD_ROWS, ids=BAD_IDS)
@pytest.mark.parametrize("function", [signed_inputs, max_margin], ids=lambda f: f.__name__)
def test_bad_data(function, x, y, error, words):
    with pytest.raises(error, match=words):
        function(x, y)


# --- data


@given(SEEDS, st.integers(0, 9), st.floats(0, 3))
def test_soudry_data(seed, others, margin):
    x, y = soudry_data(np.random.default_rng(seed), others=others, margin=margin)
    z = (2 * y - 1)[:, None] * x
    np.testing.assert_array_equal(x[:4], SUPPORT_VECTORS)
    assert x.shape == (4 + others, 2)
    assert [y[:4].tolist(), int(y[4:].sum())] == [LABELS, (others + 1) // 2]
    assert (z[4:].sum(1) / 2 >= (1 + margin) * (1 - 1e-14)).all()
    close(max_margin(x, y), [0.5, 0.5], 1e-9)


@given(SEEDS, st.integers(2, 9), st.integers(1, 5), st.floats(0.01, 3))
def test_separable_data(seed, n, d, margin):
    x, y = separable_data(np.random.default_rng(seed), n=n, d=d, margin=margin)
    assert (x.shape, y.shape, y[:2].tolist()) == ((n, d), (n,), [1, 0])
    assert 1 / np.linalg.norm(max_margin(x, y)) >= margin * (1 - 1e-9)


@pytest.mark.parametrize("make", [soudry_data, lambda g: separable_data(g, n=5, d=3)], ids=["soudry", "separable"])
def test_data_follow_their_generator(make):
    first, again, other = (make(np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert (first[0] != other[0]).any()


BAD_DRAWS = [
    (soudry_data, {"others": -1}, ValueError, "others must be an integer >= 0, got -1"),
    (soudry_data, {"others": 2.0}, TypeError, "others must be an integer"),
    (soudry_data, {"margin": -0.1}, ValueError, "margin must be a finite number >= 0"),
    (separable_data, {"n": 1, "d": 2}, ValueError, "n must be an integer >= 2"),
    (separable_data, {"n": 3, "d": 0}, ValueError, "d must be an integer >= 1"),
    (separable_data, {"n": 3, "d": 2, "margin": np.nan}, ValueError, "margin must be a finite number >= 0"),
]


@pytest.mark.parametrize(("make", "settings", "error", "words"), BAD_DRAWS, ids=[str(c[1]) for c in BAD_DRAWS])
def test_bad_settings_of_data(make, settings, error, words):
    with pytest.raises(error, match=words):
        make(np.random.default_rng(0), **settings)
    with pytest.raises(TypeError, match="generator must be a numpy"):
        make(0, **{**settings, "margin": 0.1})

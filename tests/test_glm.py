"""Generalized linear models: ranges and slopes against dense grids of A itself, and what ``require`` refuses."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from theorem2_cases import CURVATURE, GLM_IDS, GLMS, INF, NAN, NUMPY_A, RANGE, A

from mixupe_theory.glm import GLM, LOGISTIC, require_glm

CELLS = 4000
every_glm = pytest.mark.parametrize("glm", GLMS, ids=GLM_IDS)
BOUNDS = st.one_of(st.floats(0.01, RANGE), st.sampled_from([RANGE, 1.0]))


def dense(bound_u):
    return np.linspace(-bound_u, bound_u, CELLS + 1)


def losses(glm, bound_u):
    """(labels, points) of the loss, A written out once more."""
    u = dense(bound_u)
    return NUMPY_A[glm.name](u) - np.linspace(0, 1, 11)[:, None] * u


def secants(values, bound_u):
    """Mean slopes of the cells; a slope at a point is off by at most A'' times a cell."""
    return np.diff(values) / (2 * bound_u / CELLS)


@every_glm
@given(BOUNDS)
def test_loss_range_is_the_dense_grid_s(glm, bound_u):
    """At an interior least loss the grid is too high by A''/2 (half a cell)^2; the rest is rounding."""
    values, (low, high) = losses(glm, bound_u), glm.loss_range(bound_u)
    assert -1e-14 <= values.min() - low <= CURVATURE / 2 * (bound_u / CELLS) ** 2 + 1e-14
    assert high == pytest.approx(values.max(), rel=1e-14, abs=1e-14)


@every_glm
@given(BOUNDS)
def test_slope_is_the_steepest_secant_s(glm, bound_u):
    steepest, cell = np.abs(secants(losses(glm, bound_u), bound_u)).max(), 2 * bound_u / CELLS
    assert -1e-10 <= glm.slope(bound_u) - steepest <= CURVATURE * cell + 1e-10  # rounding: 1e-16 over a cell


@every_glm
@given(BOUNDS)
def test_centre_halves_the_span_of_the_slopes(glm, bound_u):
    """A(u) - a_0 u has slopes from -rho to rho, and both ends are reached."""
    a_0, rho = glm.centre(bound_u)
    u, cell = dense(bound_u), 2 * bound_u / CELLS
    slopes = secants(NUMPY_A[glm.name](u) - a_0 * u, bound_u)
    for end in (slopes.max(), -slopes.min()):
        assert -1e-10 <= rho - end <= CURVATURE * cell + 1e-10


@every_glm
@given(st.floats(-RANGE, RANGE), st.floats(0, 1))
def test_loss_and_q_hat_against_mpmath(glm, u, y):
    """The loss by mpmath; q_hat = -u times its derivative in u, numerically at 30 digits."""
    with mpmath.workdps(30):
        loss = lambda t: A[glm.name](t) - mpmath.mpf(y) * t
        value, slope = float(loss(mpmath.mpf(u))), float(mpmath.diff(loss, mpmath.mpf(u)))
    assert glm.loss(np.array(u), y) == pytest.approx(value, rel=1e-13, abs=1e-15)
    assert glm.q_hat(np.array(u), y) == pytest.approx(-u * slope, rel=1e-12, abs=1e-14)


def test_far_out_nothing_overflows():
    """At abs(u) <= 800 the least loss e^-800 is 0 in float64, and the largest 800."""
    assert LOGISTIC.loss_range(800.0) == (0.0, 800.0)
    assert LOGISTIC.slope(800.0) == 1.0
    assert LOGISTIC.centre(800.0) == (0.5, 0.5)


@every_glm
def test_a_single_point(glm):
    """abs(u) <= 0: one loss, A(0), and one slope, A'(0)."""
    value, slope = float(A[glm.name](mpmath.mpf(0))), float(mpmath.diff(A[glm.name], 0))
    assert glm.loss_range(0.0) == pytest.approx((value, value), abs=1e-15)
    assert glm.slope(0.0) == pytest.approx(max(slope, 1 - slope), abs=1e-12)
    assert glm.centre(0.0) == pytest.approx((slope, 0.0), abs=1e-12)


# --- require


@every_glm
@given(st.one_of(st.just(0.0), st.floats(1e-6, RANGE)))
def test_right_models_pass(glm, bound_u):
    glm.require(bound_u)


def test_kinks_and_flat_parts_are_convex_too():
    GLM("kink", np.abs, np.sign, 1.0).require(3.0)
    GLM("flat", np.zeros_like, np.zeros_like, 0.0).require(3.0)
    GLM("affine", lambda u: 2 * u + 1, lambda u: np.full_like(u, 2.0), 2.0).require(3.0)


def silent(function):
    """Without numpy's warnings of overflow, which the tests would turn into errors."""

    def quiet(u):
        with np.errstate(all="ignore"):
            return function(u)

    return quiet


BAD = {
    "concave": (lambda u: -(u**2), lambda u: -2 * u, 9.0, 3.0, r"A must be convex.* u = -3"),
    "concave far out": (lambda u: -np.cos(u), np.sin, 9.0, 3.0, r"A must be convex.* u = (1\.5|-3)"),
    "dent": (
        lambda u: u**2 / 2 - 0.02 * np.sin(10 * u),
        lambda u: u - 0.2 * np.cos(10 * u),
        9.0,
        3.0,
        "A must be convex",
    ),
    "derivative's sign": (LOGISTIC.log_partition, lambda u: expit(u) - 1, 1.0, 3.0, "A' is not the derivative of A"),
    "derivative's factor": (LOGISTIC.log_partition, lambda u: expit(2 * u), 1.0, 3.0, "A' is not the derivative"),
    "derivative's size": (LOGISTIC.log_partition, lambda u: 1.01 * expit(u), 2.0, 3.0, "A' is not the derivative"),
    "derivative shifted": (LOGISTIC.log_partition, lambda u: expit(u + 0.1), 1.0, 3.0, "A' is not the derivative"),
    "derivative's size, narrow": (LOGISTIC.log_partition, lambda u: 1.01 * expit(u), 1.0, 1e-7, "A' is not the deriv"),
    "steep": (LOGISTIC.log_partition, expit, 0.9, 3.0, r"0\.9-Lipschitz.*A'\(3\) = 0\.9526"),
    "steep downwards": (lambda u: np.exp(-u), lambda u: -np.exp(-u), 5.0, 2.0, r"5-Lipschitz.*A'\(-2\) = -7\.389"),
    "steep further out": (lambda u: u**2 / 2, lambda u: u, 3.0, 3.01, "3-Lipschitz"),
    "overflow": (silent(np.exp), silent(np.exp), 1.0, 800.0, r"must be finite for abs\(u\) <= 800"),
    "not defined": (silent(np.log), silent(lambda u: 1 / u), 1.0, 1.0, "must be finite"),
    "infinite slope": (lambda u: u, lambda u: np.where(u == 0, INF, 1.0), 1.0, 1.0, "must be finite"),
    "A a number": (lambda u: 1.0, expit, 1.0, 1.0, r"must map an array to one of its shape \(2001,\)"),
    "A' a number": (LOGISTIC.log_partition, lambda u: 1.0, 1.0, 1.0, "must map an array to one of its shape"),
    "A a column": (lambda u: u[:, None], expit, 1.0, 1.0, "must map an array to one of its shape"),
}


@pytest.mark.parametrize(("function", "slope", "lipschitz", "bound_u", "words"), BAD.values(), ids=BAD)
def test_wrong_models_are_refused(function, slope, lipschitz, bound_u, words):
    with pytest.raises(ValueError, match=f"glm 'bad': .*{words}"):
        GLM("bad", function, slope, lipschitz).require(bound_u)


def test_a_bound_of_the_right_size_passes_where_a_smaller_one_does_not():
    """L_A is compared at the ends, where a convex A is steepest."""
    slope = float(expit(3.0))
    GLM("logistic", LOGISTIC.log_partition, expit, slope).require(3.0)
    with pytest.raises(ValueError, match="Lipschitz"):
        GLM("logistic", LOGISTIC.log_partition, expit, slope * (1 - 1e-6)).require(3.0)


BAD_PARTS = {
    "A": ({"log_partition": 1.0}, TypeError, "log_partition must be a function of an array, got float"),
    "A'": ({"mean_response": None}, TypeError, "mean_response must be a function of an array, got NoneType"),
    "L_A negative": ({"lipschitz_A": -1.0}, ValueError, "lipschitz_A must be a finite number >= 0, got -1"),
    "L_A NaN": ({"lipschitz_A": NAN}, ValueError, "lipschitz_A must be"),
    "L_A infinite": ({"lipschitz_A": INF}, ValueError, "lipschitz_A must be"),
    "L_A text": ({"lipschitz_A": "1"}, TypeError, "lipschitz_A must be"),
    "L_A a bool": ({"lipschitz_A": True}, TypeError, "lipschitz_A must be"),
}


@pytest.mark.parametrize(("more", "error", "words"), BAD_PARTS.values(), ids=BAD_PARTS)
def test_bad_parts(more, error, words):
    with pytest.raises(error, match=words):
        GLM(**{"name": "a", "log_partition": np.exp, "mean_response": np.exp, "lipschitz_A": 1.0} | more)


def test_what_is_no_glm():
    require_glm(LOGISTIC)
    for other in (None, "logistic", math.exp, GLM):
        with pytest.raises(TypeError, match="glm must be a GLM, got"):
            require_glm(other)

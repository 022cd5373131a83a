"""Descent and flow against plain loops, torch's autograd and another integrator; divergence; trajectories."""

import math
import re

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
    NOT_SEPARABLE,
    PLUS_MINUS,
    SEEDS,
    Reference,
    close,
    linear_model,
    rotation,
    separable,
    tensors,
)
from scipy.integrate import solve_ivp

from mixupe_theory import BetaLaw, MixupE, mixup_loss
from mixupe_theory.descent import (
    DRAWN_AT_ONCE,
    LAMBDAS,
    METHODS,
    descend,
    descend_stochastic,
    gradient_flow,
)
from mixupe_theory.separable import NotSeparable
from mixupe_theory.trajectory import Diverged, angle, log_spaced

STEPS, ALL = 200, ("erm", *MIXING)
WAYS = {
    "descend": lambda x, y, **more: descend(x, y, **{"steps": 10, **more}),
    "stochastic": lambda x, y, **more: descend_stochastic(
        x, y, **{"law": BetaLaw(1.0), "steps": 10, "generator": np.random.default_rng(0), **more}
    ),
    "flow": lambda x, y, **more: gradient_flow(x, y, **{"end": 10.0, **more}),
}
every_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
every_reading = pytest.mark.parametrize("reading", ALL)


def law_of(reading, law=LAWS[1]):
    return None if reading == "erm" else law


def default_rate(x):
    return len(x) / np.linalg.eigvalsh(x.T @ x)[-1]


def looped(gradient, x, steps, *, rate=None, method="gradient", start=None):
    """w(0), ..., w(steps) by the textbook's formulas."""
    rate = default_rate(x) if rate is None else rate
    path = [np.zeros(x.shape[1]) if start is None else np.array(start)]
    for t in range(steps):
        g = gradient(path[-1])
        step = rate / math.sqrt(t + 1) * g / np.linalg.norm(g) if method == "normalized" else rate * g
        heavy = 0.9 * (path[-1] - path[-2]) if method == "momentum" and t else 0.0
        path.append(path[-1] - step + heavy)
    return np.array(path)


# --- the exact loss


@every_reading
@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=4)
@given(SEEDS, st.sampled_from(LAWS), st.integers(2, 4), st.integers(1, 3))
def test_descent_equals_a_plain_loop(reading, method, seed, law, n, d):
    """1e-8: rules agree to 1e-10 of the gradients' terms, and on convex losses errors do not grow.

    Normalized steps do enlarge them next to a minimizer, as size/||grad L||; shorter steps stay away from it.
    """
    x, y = separable(seed, n, d)
    reference, start = Reference(x, y, law, reading), np.random.default_rng(seed).normal(size=d) / 2
    rate = default_rate(x) / 20 if method == "normalized" else None
    run = descend(x, y, law_of(reading, law), reading, steps=STEPS, method=method, start=start, learning_rate=rate)
    path = looped(reference.gradient, x, STEPS, method=method, start=start, rate=rate)
    close(run.w, path[run.step], 1e-8)
    close(run.loss, [reference(w) for w in path[run.step]], 1e-8)


@pytest.mark.parametrize("eta", [0.0, 0.5, 5.0])
def test_mixupe_descends_along_the_gradient_of_the_library_s_criterion(eta):
    """The deck's MixupE: MixupE.combine of the exact mixup loss and the criterion's penalty, by torch's autograd."""
    x, y = separable(5, 4, 2)
    law, start = BetaLaw(0.4, 2.5), [0.3, -0.7]
    criterion = MixupE(0.4, 2.5, eta=eta, head="sigmoid")

    def gradient(w):
        model, (inputs, labels) = linear_model(w), tensors(x, y)
        loss = criterion.combine(
            mixup_loss(model, inputs, labels, law, "sigmoid"), criterion.penalty(model, inputs, labels)
        )
        return torch.autograd.grad(loss, model.weight)[0].numpy()[0]

    run = descend(x, y, law, "full", steps=STEPS, eta=eta, start=start)
    close(run.w, looped(gradient, x, STEPS, start=start)[run.step], 1e-7)


@pytest.mark.parametrize(
    ("method", "reading", "eta"),
    [("gradient", "full", 0.0), ("momentum", "full", 1.0), ("normalized", "same_class", 0.0), ("momentum", "erm", 0.0)],
)
def test_descent_commutes_with_symmetries(method, reading, eta):
    """Rotation, repetition, order, relabelling; scaling by 4 (the default rate falls by 16, so w by 4)."""
    x, y = separable(2, 5, 3)
    q, order, more = rotation(2, 3), [3, 0, 4, 2, 1], {"steps": STEPS, "method": method, "eta": eta}
    of = lambda x, y, c=1: (
        descend(x, y, law_of(reading), reading, learning_rate=c * default_rate(x) if c > 1 else None, **more).w
    )
    w = of(x, y)
    close(of(x @ q.T, y), w @ q.T, 1e-9)
    close(of(x[order], y[order]), w, 1e-9)
    close(of(np.repeat(x, 2, axis=0), np.repeat(y, 2)), w, 1e-9)
    close(of(x, 1 - y), -w, 1e-9)
    close(of(4 * x, y, 4 if method == "normalized" else 1), w / 4, 1e-9)


@every_reading
def test_default_learning_rate_lowers_the_loss_at_every_step(reading):
    x, y = separable(4, 20, 3)
    run = descend(x, y, law_of(reading), reading, steps=10_000)
    assert (np.diff(run.loss) <= 1e-14).all()


@pytest.mark.parametrize("reading", MIXING)
def test_curvature_is_at_most_the_documented_bound(reading):
    """In "same_class" a point of the larger class weighs n_c/sum n_c^2 > 1/n, by up to (1 + sqrt 2)/2."""
    x, y = np.array([[1.0]] * 7 + [[-1e-3]] * 3), np.array([1] * 7 + [0] * 3)
    curvature = Reference(x, y, LAWS[0], reading).hessian(np.zeros(1))[0, 0]
    most = (1 + 2**0.5) / 2 if reading == "same_class" else 1.0
    assert curvature <= most * (x**2).sum() / (4 * len(x)) * (1 + 1e-12)


def test_tolerance_stops_where_the_gradient_first_meets_it():
    x, y = separable(1, 4, 2)
    reference = Reference(x, y, LAWS[0], "full")
    path = looped(reference.gradient, x, 2000)
    small = np.linalg.norm([reference.gradient(w) for w in path], axis=1) <= 1e-5
    run = descend(x, y, LAWS[0], "full", steps=2000, tolerance=1e-5)
    assert run.converged_at == np.argmax(small) > 10
    close(run.w, path[np.minimum(run.step, np.argmax(small))], 1e-7)
    assert descend(x, y, LAWS[0], "full", steps=10, tolerance=1e-5).converged_at is None


# --- stochastic mixup


@pytest.mark.parametrize("lambdas", LAMBDAS)
def test_stochastic_mixup_equals_a_plain_loop_on_the_same_draws(lambdas):
    """More steps than are drawn at once; rounding of thousands of contracting steps."""
    x, y = separable(3, 3, 2)
    steps, law, rate = DRAWN_AT_ONCE + 50, LAWS[3], default_rate(x)
    rng, w, path = np.random.default_rng(8), np.zeros(2), []
    for count in (DRAWN_AT_ONCE, 51):
        lam = rng.beta(law.alpha, law.beta, size=(count, 3 if lambdas == "per_sample" else 1)) * np.ones(3)
        for row, partner in zip(lam[..., None], rng.permuted([[0, 1, 2]] * count, axis=1), strict=True):
            path.append(w)
            point, label = row * x + (1 - row) * x[partner], row[:, 0] * y + (1 - row[:, 0]) * y[partner]
            w = w - rate * (1 / (1 + np.exp(-point @ w)) - label) @ point / 3
    of = lambda seed, **more: descend_stochastic(
        x, y, law, steps=steps, generator=np.random.default_rng(seed), lambdas=lambdas, **more
    )
    run, reference = of(8), Reference(x, y, law, "full")
    close(run.w, np.array(path)[run.step], 1e-9)
    close(run.loss, [reference(v) for v in run.w], 1e-7)
    np.testing.assert_array_equal(run.w, of(8).w)
    assert (run.w[1:] != of(9).w[1:]).all()
    chosen = of(8, at=[0, 5, DRAWN_AT_ONCE - 1, DRAWN_AT_ONCE, steps])
    close(chosen.w, np.array(path)[chosen.step], 1e-9)


# --- the gradient flow


@every_reading
@pytest.mark.parametrize("seed", range(3))
def test_flow_equals_another_integrator_in_plain_time(reading, seed):
    """DOP853 at 1e-12; the flow's own tolerance is 1e-10 a step, of some hundred steps."""
    x, y = separable(seed, 4, 2)
    reference, start = Reference(x, y, LAWS[1], reading), np.array([0.5, -0.5])
    flow = gradient_flow(x, y, law_of(reading), reading, end=100.0, per_decade=3, start=start)
    rate = default_rate(x)
    field = lambda t, w: -rate * reference.gradient(w)
    expected = solve_ivp(field, (0, 100.0), start, "DOP853", flow.step, rtol=1e-12, atol=1e-13)
    assert (flow.step[0], flow.step[1], len(flow.step)) == (0, 1, 8)
    close(flow.w, expected.y.T, 1e-7)


@pytest.mark.parametrize("reading", ["erm", "same_class", "label_absorbed"])
def test_flow_and_descent_meet(reading):
    """w grows like log t; each step t lags the flow by O(1/t) of a time unit, together by log t, which moves w by
    O(log t/t). The times differ by rounding to whole ones, O(1/t)."""
    x, y = separable(0, 6, 2)
    flow = gradient_flow(x, y, law_of(reading), reading, end=1e5)
    run = descend(x, y, law_of(reading), reading, steps=10**5)
    late = flow.step.round() >= 100
    same = np.searchsorted(run.step, flow.step[late].round())
    np.testing.assert_array_equal(run.step[same], flow.step[late].round())
    gap = np.linalg.norm(run.w[same] - flow.w[late], axis=1)
    assert (gap <= (1 + np.log(flow.step[late])) / flow.step[late]).all()


def test_flow_of_full_mixup_comes_to_rest():
    x, y = separable(0, 6, 2)
    reference = Reference(x, y, LAWS[0], "full")
    flow = gradient_flow(x, y, LAWS[0], "full", end=1e15)
    assert np.linalg.norm(reference.gradient(flow.w[-1])) < 1e-9
    close(flow.w[-1], flow.w[-30], 1e-9)


@pytest.mark.parametrize("end", [0.25, 1.0, 1.5])
def test_flow_ends_at_its_end(end):
    flow = gradient_flow(*PLUS_MINUS, end=end)
    assert (flow.step[0], flow.step[-1]) == (0, end)


# --- what is recorded


@given(st.integers(1, 10**7), st.integers(1, 20))
def test_log_spaced(steps, per_decade):
    at = log_spaced(steps, per_decade)
    assert at.dtype == np.int64
    assert (at[0], at[1], at[-1]) == (0, 1, steps)
    assert (np.diff(at) > 0).all()
    assert len(at) <= per_decade * math.log10(steps) + 4
    ratio = at[2:] / at[1:-1]  # rounding to whole numbers moves each by a half
    assert (ratio <= 10 ** (1 / per_decade) * (1 + 1 / at[1:-1]) + 1 / at[1:-1]).all()


@pytest.mark.parametrize("per_decade", [0, -1, 1.5, "8"], ids=repr)
def test_log_spaced_names_a_bad_density(per_decade):
    with pytest.raises((TypeError, ValueError), match="per_decade must be an integer >= 1"):
        log_spaced(100, per_decade)


def test_trajectory_is_what_the_deck_plots():
    x, y = separable(6, 5, 3)
    run = descend(x, y, steps=100)
    margin = lambda w: ((2 * y - 1) * (x @ w)).min() / math.hypot(*w)
    best = margin(run.w_hat)
    assert np.isnan([run.angle_gap[0], run.margin_gap[0]]).all()
    for w, norm, share, gap, missing in list(
        zip(run.w, run.norm, run.normalized_norm, run.angle_gap, run.margin_gap, strict=True)
    )[1:]:
        assert abs(norm - math.hypot(*w)) <= 1e-14 * norm
        assert abs(share - norm / math.hypot(*run.w[-1])) <= 1e-14
        assert abs(math.cos(gap) - w @ run.w_hat / math.hypot(*w) / math.hypot(*run.w_hat)) <= 1e-14
        assert abs(missing - (best - margin(w))) <= 1e-14


@given(st.floats(-16, 0.4), SEEDS)
def test_angle(exponent, seed):
    """Against mpmath's; four roundings of unit vectors (so absolute, not relative, accuracy at small angles)."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, 3))
    a, b = 5 * a, a + 10**exponent * b
    with mpmath.workdps(60):
        u, v = (mpmath.matrix(t.tolist()) for t in (a, b))
        expected = mpmath.acos(mpmath.fdot(u, v) / mpmath.norm(u) / mpmath.norm(v))
    assert abs(angle(a, b) - float(expected.real)) <= 1e-15
    assert abs(angle(a, -a) - math.pi) <= 1e-15


@every_way
def test_same_numbers_every_time(way):
    x, y = separable(0, 5, 2)
    np.testing.assert_array_equal(way(x, y).w, way(x, y).w)


# --- divergence

OVERSHOOTING = {
    "gradient": ({}, (1e3, 1e6, 1e308)),
    "momentum": ({"method": "momentum"}, (1e3, 1e200)),
    "normalized": ({"method": "normalized"}, (1e3, 1e308)),
    "mixupe": ({"eta": 1.0}, (1e3, 1e308)),
    "stochastic": (None, (1e3, 1e308)),
}
OVERSHOOTING = [
    pytest.param(more, rate, id=f"{k} {rate:g}") for k, (more, rates) in OVERSHOOTING.items() for rate in rates
]


@pytest.mark.parametrize(("more", "rate"), OVERSHOOTING)
def test_divergence_is_reported(more, rate):
    """Two orthogonal unit points: safe is up to 6 n/sigma_max^2 = 12; None: stochastic mixup. No warning, no NaN."""
    way, more = ("stochastic", {}) if more is None else ("descend", {"reading": "full", **more})
    with pytest.raises(Diverged, match=rf"at step \d+ .*learning_rate = {re.escape(f'{rate:g}')}.* safe up to 12") as e:
        WAYS[way](*PLUS_MINUS, law=BetaLaw(1.0), learning_rate=rate, steps=30, **more)
    assert isinstance(e.value, ArithmeticError)
    assert e.value.step in log_spaced(30)[1:4]


@pytest.mark.parametrize("rate", [1e6, 1e308])
@pytest.mark.parametrize("reading", ["erm", "same_class", "label_absorbed"])
def test_readings_without_minimizer_take_any_learning_rate(reading, rate):
    """The first step goes along the mean of the signed inputs, with a margin of rate/4: there every loss is 0."""
    run = descend(*PLUS_MINUS, law_of(reading), reading, steps=5, learning_rate=rate)
    assert run.loss[-1] == 0
    assert np.isfinite(run.w).all()


def test_large_eta_is_not_called_a_safe_learning_rate():
    """MixupE with eta = 20 oscillates at the default rate."""
    with pytest.raises(Diverged) as e:
        descend(*separable(5, 4, 2), BetaLaw(0.4, 2.5), "full", steps=STEPS, eta=20.0)
    assert "safe" not in str(e.value) or "eta" in str(e.value)


def test_far_start_is_refused_where_lambda_needs_too_many_nodes():
    with pytest.raises(ArithmeticError, match="did not reach a relative accuracy of 1e-10 with 1024 nodes"):
        descend(*PLUS_MINUS, BetaLaw(1.0), "full", steps=3, eta=1.0, start=[-900.0, 900.0])


# --- bad input


@every_way
@pytest.mark.parametrize(("x", "y", "error", "words"), BAD_ROWS, ids=BAD_IDS)
def test_bad_data(way, x, y, error, words):
    with pytest.raises(error, match=words):
        way(x, y)


@every_way
@pytest.mark.parametrize(("x", "y"), NOT_SEPARABLE.values(), ids=NOT_SEPARABLE)
def test_data_that_are_not_separable(way, x, y):
    with pytest.raises(NotSeparable) as caught:
        way(x, y)
    assert np.abs(caught.value.weights @ ((2 * np.array(y) - 1)[:, None] * np.array(x))).max() <= 1e-12


LAW, EITHER = BetaLaw(1.0), (TypeError, ValueError)
BAD_SETTINGS = [  # ways, settings, error, words
    ("descend stochastic flow", {"start": [1.0]}, ValueError, r"start must have shape \(2,\), got \(1,\)"),
    ("descend stochastic flow", {"start": [np.nan, 0.0]}, ValueError, "start must be finite"),
    ("descend stochastic flow", {"start": "ab"}, TypeError, "start must be an array of real numbers"),
    ("descend flow", {"law": LAW}, TypeError, "law must be None for reading 'erm'"),
    ("descend flow", {"reading": "full"}, TypeError, "law must be a BetaLaw, got NoneType"),
    ("descend flow", {"reading": "ful", "law": LAW}, ValueError, "reading must be one of.*did you mean 'full'"),
    ("stochastic", {"law": None}, TypeError, "law must be a BetaLaw, got NoneType"),
    ("stochastic", {"generator": None}, TypeError, "generator must be a numpy.random.Generator, got NoneType"),
    ("stochastic", {"lambdas": "per step"}, ValueError, "lambdas must be one of.*did you mean 'per_step'"),
    ("descend", {"method": "momentun"}, ValueError, "method must be one of.*did you mean 'momentum'"),
    *(("descend stochastic", {"steps": v}, ValueError, "steps must be an integer >= 1, got") for v in (0, -3)),
    *(("descend stochastic", {"steps": v}, TypeError, "steps must be an integer >= 1, got") for v in (5.0, True, "9")),
    *(("descend stochastic", {"learning_rate": v}, EITHER, "learning_rate must be") for v in (0, -1.0, np.inf, "1")),
    ("descend", {"eta": 1.0}, ValueError, "eta > 0 is MixupE, which needs reading 'full', got eta = 1 .*'erm'"),
    ("descend", {"eta": 1.0, "reading": "hard_label", "law": LAW}, ValueError, "needs reading 'full'.*'hard_label'"),
    ("descend", {"eta": 1.0, "reading": "full"}, TypeError, "law must be a BetaLaw"),
    ("descend", {"eta": -1.0}, ValueError, "eta must be a finite number >= 0"),
    ("descend", {"tolerance": np.nan}, ValueError, "tolerance must be a finite number >= 0"),
    *(("flow", {"end": v}, ValueError, "end must be a finite number > 0") for v in (0, -1.0, np.inf)),
    ("flow", {"per_decade": 0}, ValueError, "per_decade must be an integer >= 1"),
    *(("stochastic", {"at": v}, EITHER, r"\bat\b") for v in ([0, 100], [-1, 3], [5, 2], [], [1.5], [np.nan], "a")),
    ("stochastic", {"at": [0], "steps": 1.5}, TypeError, "steps must be an integer"),
]
BAD_SETTINGS = [pytest.param(WAYS[w], *case, id=f"{w} {case[0]}") for ways, *case in BAD_SETTINGS for w in ways.split()]


@pytest.mark.parametrize(("way", "more", "error", "words"), BAD_SETTINGS)
def test_bad_settings(way, more, error, words):
    with pytest.raises(error, match=words):
        way(*PLUS_MINUS, **more)

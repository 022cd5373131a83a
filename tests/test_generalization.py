"""Bounds that hold: every term from its formula with closed forms, kappa by search, the proof's two inequalities."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from theorem2_cases import (
    GAUSSIAN,
    GLM_IDS,
    GLMS,
    INF,
    LAW_IDS,
    LAWS,
    LOG_COSH,
    NAN,
    NUMPY_A,
    RANGE,
    SEEDS,
    explicit_moment,
    in_ball,
    points,
    rule,
    slow_mixup_loss,
)

from mixupe_theory import BetaLaw
from mixupe_theory.generalization import (
    corrected_bound,
    corrected_gap,
    data_dependent_bound,
    data_dependent_gap,
    replacement_share,
    second_moment_bound,
)
from mixupe_theory.glm import GLM, LOGISTIC

BOUNDS = (corrected_bound, data_dependent_bound)
every_bound = pytest.mark.parametrize("bound", BOUNDS, ids=["corrected", "data-dependent"])
every_glm = pytest.mark.parametrize("glm", GLMS, ids=GLM_IDS)
DELTAS = st.floats(1e-6, 0.99)
SIZES = st.floats(0.1, 1.4)  # products of two are in RANGE
CONSTANTS = {  # L, M, a_0, rho on abs(u) <= U, by hand
    "logistic": lambda u: (1 / (1 + math.exp(-u)), u, 0.5, math.tanh(u / 2) / 2),
    "log cosh": lambda u: (
        1 + math.tanh(u),
        math.log(2 * math.cosh(u)) + u - min(math.log(2), math.log(2 * math.cosh(u)) - u),
        0.0,
        math.tanh(u),
    ),
    "gaussian": lambda u: (1 + u, u * u / 2 + u - (-0.5 if u > 1 else u * u / 2 - u), 0.0, u),
}
three_glms = st.sampled_from([LOGISTIC, LOG_COSH, GAUSSIAN])


@given(SEEDS, three_glms, st.sampled_from(LAWS), st.integers(2, 7), st.integers(1, 3), st.floats(0.1, RANGE), DELTAS)
def test_corrected_bound_from_its_formula(seed, glm, law, n, d, s, delta):
    (x, y), theta = points(seed, n, d), in_ball(seed, d, s)
    L, M, _, _ = CONSTANTS[glm.name](s)
    found = corrected_bound(theta, x, y, law, theta_bound=s, input_bound=1.0, failure_prob=delta, glm=glm)
    assert found.mixup == pytest.approx(slow_mixup_loss(x @ theta, y, law, glm.name), abs=1e-10)
    pairs = (n - 1) / n / math.sqrt(n // 2)
    assert found.complexity == pytest.approx(2 * L * s * pairs + 2 * L * s / n / math.sqrt(n), rel=1e-12)
    assert found.confidence == pytest.approx(M * math.sqrt(2 * math.log(1 / delta) / n), rel=1e-9)
    assert found.total == found.mixup + found.complexity + found.confidence


@given(SEEDS, three_glms, st.sampled_from(LAWS), st.integers(2, 60), st.integers(1, 3), SIZES, SIZES, DELTAS)
def test_data_dependent_bound_from_its_formula(seed, glm, law, n, d, s, r, delta):
    (x, y), theta, blocks = points(seed, n, d, r), in_ball(seed, d, s), n // 2
    _, M, a_0, rho = CONSTANTS[glm.name](s * r)
    found = data_dependent_bound(theta, x, y, law, theta_bound=s, input_bound=r, failure_prob=delta, glm=glm)
    slack = r * r * math.sqrt(math.log(10 / delta) / (2 * blocks))
    root, kappa = math.sqrt(min(r * r, explicit_moment(x, law) + slack)), replacement_share(law, s * r, glm)
    complexity = s * (max(a_0, 1 - a_0) + 2 * rho) * ((1 - 1 / n) * root / math.sqrt(blocks) + r / n / math.sqrt(n))
    changes = (2 * (n - 1) * kappa + 1) * M / n**2  # of L_n^mix, per replaced point
    assert found.complexity == pytest.approx(complexity, rel=1e-10)
    assert found.confidence == pytest.approx(changes * math.sqrt(n * math.log(1 / (0.9 * delta)) / 2), rel=1e-9)
    assert (
        found.mixup
        == corrected_bound(theta, x, y, law, theta_bound=s, input_bound=r, failure_prob=delta, glm=glm).mixup
    )


# --- kappa and the proof's inequalities


def searched(law, bound_u, name, seed):
    """The largest change of E_lambda loss(mixture of z and z') when z moves; 200 strata of u and u', and their ends."""
    rng, (lam, p) = np.random.default_rng(seed), rule(law, 20)
    u, v = (bound_u * np.r_[-1, (2 * (np.arange(200) + rng.random(200)) / 200 - 1), 1] for _ in range(2))
    own, other, largest = u[:, None], v[None, :], 0.0
    for z in (0.0, 1.0, rng.random()):
        values = []
        for y in (0.0, 1.0, rng.random()):
            total = 0.0
            for weight, share in zip(np.r_[p, p] / 2, np.r_[lam, 1 - lam], strict=True):
                point = share * own + (1 - share) * other
                total = total + weight * (NUMPY_A[name](point) - (share * y + (1 - share) * z) * point)
            values.append(total)
        largest = max(largest, (np.max(values, (0, 1)) - np.min(values, (0, 1))).max())
    return largest


@every_glm
@pytest.mark.parametrize("law", [LAWS[0], LAWS[1], LAWS[2], BetaLaw(20.0)], ids=[*LAW_IDS[:3], "Beta(20, 20)"])
@pytest.mark.parametrize("bound_u", [0.05, RANGE])
def test_replacement_share_is_above_every_search_and_near_it(glm, law, bound_u):
    """Its allowance is 3/2 L times half a step of 2U/200; the search's strata are as wide, and a value lies within a
    whole one: it may miss twice that. Relative to M all of it is below 5 %."""
    low, high = glm.loss_range(bound_u)
    kappa, seen = replacement_share(law, bound_u, glm), searched(law, bound_u, glm.name, 0) / (high - low)
    allowance = 1.5 * glm.slope(bound_u) * bound_u / 200 / (high - low)
    assert seen <= kappa + 1e-9
    assert kappa <= min(1.0, seen + 3 * allowance)
    assert 3 * allowance < 0.05


def test_replacement_share_of_one_point():
    """abs(u) <= 0: the loss cannot move at all, and any share is true."""
    assert 0 <= replacement_share(LAWS[0], 0.0) <= 1


@every_glm
@settings(max_examples=10)
@given(SEEDS, st.sampled_from(LAWS[:3]), st.integers(2, 5))
def test_bounded_differences(glm, seed, law, n):
    """Replacing a point moves L_n^mix by at most (2 kappa (1 - 1/n) + 1/n) M/n; the bounds' confidence is McDiarmid's
    of that, at delta = 1/e (delta_1 = 0.9/e): change sqrt(n/2 log(1/delta))."""
    rng = np.random.default_rng(seed)
    u, y = rng.choice([-RANGE, RANGE, 0.3], n), rng.integers(0, 2, n).astype(float)
    before = slow_mixup_loss(u, y, law, glm.name)
    sizes = {"theta_bound": RANGE, "input_bound": 1.0, "glm": glm}
    corrected = corrected_gap(n, failure_prob=math.exp(-1), **sizes)[1] / math.sqrt(n / 2)
    tighter = data_dependent_gap(n, 1.0, law, failure_prob=math.exp(-1) / 0.9, **sizes)[1] / math.sqrt(n / 2)
    assert tighter <= corrected
    for new_u, new_y in itertools.product((-RANGE, RANGE, 0.0, rng.uniform(-RANGE, RANGE)), (0.0, 1.0)):
        after = slow_mixup_loss(np.r_[new_u, u[1:]], np.r_[new_y, y[1:]], law, glm.name)
        assert abs(after - before) <= tighter + 1e-9


# --- invariances and monotonicity


@every_bound
@given(SEEDS, st.sampled_from(LAWS), st.integers(1, 3), st.floats(0.01, 100))
def test_units_order_and_relabelling_change_nothing(bound, seed, law, d, c):
    """x -> c x with theta -> theta/c; the rows' order; and, as the logistic loss has it, x -> -x with y -> 1 - y."""
    (x, y), theta = points(seed, 5, d), in_ball(seed, d, 1.5)
    order = np.random.default_rng(seed).permutation(5)
    terms = lambda theta, x, y, c=1.0: [
        getattr(bound(theta, x, y, law, theta_bound=1.5 / c, input_bound=c, failure_prob=0.1), name)
        for name in ("mixup", "complexity", "confidence")
    ]
    first = terms(theta, x, y)
    for other in (terms(theta / c, c * x, y, c), terms(theta, x[order], y[order]), terms(theta, -x, 1 - y)):
        assert other == pytest.approx(first, rel=1e-9)


@every_bound
@given(SEEDS, st.floats(0.01, 0.4), st.integers(2, 8))
def test_larger_with_more_certainty_and_size_smaller_with_more_data(bound, seed, delta, n):
    """A sample taken k times over has the same L_n^mix: only the two prices fall (n to 4n, both floor(n/2) and n)."""
    (x, y), theta = points(seed, n), in_ball(seed, 1, 1.0)
    at = lambda k=1, s=1.0, r=1.0, delta=delta: bound(
        theta, np.tile(x, (k, 1)), np.tile(y, k), LAWS[1], theta_bound=s, input_bound=r, failure_prob=delta
    )
    first = at()
    assert at(delta=delta / 2).confidence > first.confidence
    assert at(delta=delta / 2).complexity >= first.complexity
    assert at(k=4).complexity < first.complexity
    assert at(k=4).confidence < first.confidence
    for larger in (at(s=2.0), at(r=2.0)):
        assert larger.complexity > first.complexity
        assert larger.confidence > first.confidence


@given(SEEDS, st.sampled_from(LAWS), st.floats(0.1, RANGE), st.integers(2, 50), DELTAS)
def test_without_its_savings_the_tighter_bound_is_the_corrected_one_s(seed, law, s, n, delta):
    """A second moment of r^2 costs nothing more: tau + 2 rho = sigma(U) 2 - 1/2 <= 2 L for the logistic model."""
    sizes = {"theta_bound": s, "input_bound": 1.0, "failure_prob": delta}
    corrected, tighter = corrected_gap(n, **sizes), data_dependent_gap(n, 1.0, law, **sizes)
    saved = (2 / (1 + math.exp(-s)) - 0.5) / (2 / (1 + math.exp(-s)))
    assert tighter[0] == pytest.approx(saved * corrected[0], rel=1e-12)
    moments = np.array([[0.0, 0.2], [0.5, 1.0]])
    assert (np.diff(data_dependent_gap(n, moments, law, **sizes)[0].ravel()) >= 0).all()


def test_second_moment_bound_by_hand():
    """Hoeffding's inequality for U-statistics at delta/10, on floor(n/2) pairs; never above r^2."""
    slack = 4 * math.sqrt(math.log(200) / (2 * 250))
    found = second_moment_bound(501, np.array([1.0, 3.9]), input_bound=2.0, failure_prob=0.05)
    assert found.tolist() == pytest.approx([1 + slack, 4.0], rel=1e-14)


# --- refusals and edges

GOOD = {
    "theta": [1.0],
    "x": [[1.0], [-0.5]],
    "y": [1, 0],
    "law": LAWS[0],
    "theta_bound": 2.0,
    "input_bound": 1.0,
    "failure_prob": 0.1,
}
CONCAVE = GLM("concave", lambda u: -(u**2), lambda u: -2 * u, 9.0)
FLATTER = GLM("logistic", LOGISTIC.log_partition, LOGISTIC.mean_response, 0.5)
BAD = {
    "label 2": ({"y": [1, 2]}, ValueError, r"y must lie in \[0, 1\]"),
    "input outside": ({"input_bound": 0.9}, ValueError, r"input_bound must be at least.*got 0\.9 but \|\|x_0\|\| = 1"),
    "theta outside": ({"theta_bound": 0.9}, ValueError, r"theta_bound must be at least \|\|theta\|\|, got 0\.9"),
    "theta_bound negative": ({"theta_bound": -1.0}, ValueError, "theta_bound must be a finite number >= 0"),
    "theta_bound huge": ({"theta_bound": 1e308}, ValueError, r"theta_bound \* input_bound must be <= 1e\+300"),
    "theta_bound infinite": ({"theta_bound": INF}, ValueError, "theta_bound must be"),
    "input_bound negative": ({"input_bound": -1.0}, ValueError, "input_bound must be"),
    "no rows": ({"x": np.zeros((0, 1)), "y": []}, ValueError, "x must have n >= 1 rows"),
    "one row": ({"x": [[1.0]], "y": [1]}, ValueError, "x must have n >= 2 rows, got n = 1"),
    "delta 0": ({"failure_prob": 0.0}, ValueError, "failure_prob must be a number strictly between 0 and 1"),
    "delta 1": ({"failure_prob": 1.0}, ValueError, "failure_prob must be"),
    "delta NaN": ({"failure_prob": NAN}, ValueError, "failure_prob must be"),
    "concave A": ({"glm": CONCAVE}, ValueError, "glm 'concave': A must be convex"),
    "not Lipschitz": ({"glm": FLATTER}, ValueError, r"glm 'logistic': A must be 0\.5-Lipschitz for abs\(u\) <= 2"),
    "no GLM": ({"glm": "logistic"}, TypeError, "glm must be a GLM, got str"),
    "no law": ({"law": 1.0}, TypeError, "law must be a BetaLaw, got float"),
}


@every_bound
@pytest.mark.parametrize(("more", "error", "words"), BAD.values(), ids=BAD)
def test_bad_input(bound, more, error, words):
    with pytest.raises(error, match=words):
        bound(**GOOD | more)


@pytest.mark.parametrize("n", [0, 1, 2.0, "2", True])
def test_gaps_of_a_bad_n(n):
    sizes = {"theta_bound": 1.0, "input_bound": 1.0, "failure_prob": 0.1}
    with pytest.raises((TypeError, ValueError), match="n must be an integer >= 2"):
        corrected_gap(n, **sizes)
    with pytest.raises((TypeError, ValueError), match="n must be an integer >= 2"):
        data_dependent_gap(n, 1.0, LAWS[0], **sizes)


@pytest.mark.parametrize("moment", [-1.0, NAN, "1"])
def test_gap_of_a_bad_moment(moment):
    with pytest.raises((TypeError, ValueError), match="second_moment must"):
        data_dependent_gap(5, moment, LAWS[0], theta_bound=1.0, input_bound=1.0, failure_prob=0.1)


@pytest.mark.parametrize(
    ("law", "glm", "words"), [(1.0, LOGISTIC, "law must"), (LAWS[0], None, "glm must"), (LAWS[0], CONCAVE, "convex")]
)
def test_share_of_what_is_no_model(law, glm, words):
    with pytest.raises((TypeError, ValueError), match=words):
        replacement_share(law, 1.0, glm)


@every_bound
@pytest.mark.parametrize("theta_bound", [0.0, 1e-12, 50.0])
def test_nothing_to_choose_and_little_and_much(bound, theta_bound):
    """With s = 0 the loss is A(0) = log 2 for every sample, and no price is due; else prices of the order of s."""
    found = bound(**GOOD | {"theta": [0.0], "theta_bound": theta_bound})
    assert found.mixup == pytest.approx(math.log(2), abs=1e-12)
    if theta_bound:
        assert 0.3 < found.complexity / theta_bound < 2
        assert 0.3 < found.confidence / theta_bound < 3
    else:
        assert found.total == found.mixup

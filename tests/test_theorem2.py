"""The printed bound term by term, and the counterexample: constants by mpmath, and from which n on it fails."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from theorem2_cases import (
    GLM_IDS,
    GLMS,
    INF,
    LAWS,
    NAN,
    RANGE,
    SEEDS,
    A,
    expectation,
    in_ball,
    mean_a,
    points,
    slow_mixup_loss,
)

from mixupe_theory import BetaLaw, theorem2
from mixupe_theory.glm import GLM, LOGISTIC
from mixupe_theory.theorem2 import counterexample, printed_bound

ARGUMENTS = {"eta": 0.7, "gamma": 0.5, "input_bound": 1.0, "bound_B": 2.0, "failure_prob": 0.1}
every_glm = pytest.mark.parametrize("glm", GLMS, ids=GLM_IDS)

# --- the printed bound


@every_glm
@given(SEEDS, st.sampled_from(LAWS), st.integers(2, 5), st.integers(1, 3), st.sampled_from([None, 0.8, 0.0]))
def test_terms_from_the_formula(glm, seed, law, n, d, frozen):
    """q_hat = -u dloss/du by mpmath at 20 digits; 1e-10 of the quadrature, twice as much in eta_hat times the loss."""
    rng, (x, y), theta = np.random.default_rng(seed), points(seed, n, d), in_ball(seed, d, RANGE)
    eta, gamma, B, delta = rng.uniform(0, 3), rng.uniform(0, 2), rng.uniform(0, 9), rng.uniform(0.01, 0.99)
    sizes = {"eta": eta, "gamma": gamma, "input_bound": 1.5, "bound_B": B, "failure_prob": delta}
    found, u = printed_bound(theta, x, y, law, **sizes, glm=glm, eta_hat=frozen), x @ theta
    with mpmath.workdps(20):
        q_hat = [float((t - mpmath.diff(A[glm.name], v)) * v) for t, v in zip(y, u, strict=True)]
    mixup, penalty = slow_mixup_loss(u, y, law, glm.name), mean_a(law) * sum(map(abs, q_hat)) / n
    scale = abs(mixup) / abs(mixup + eta * penalty) if frozen is None else frozen
    L = glm.lipschitz_A
    complexity = 2 * scale * eta * L * gamma * 1.5 / (math.sqrt(n) * (1 + L))
    confidence = B * math.sqrt(-math.log(delta) / 2 / n)
    size = 1 + 2 / max(abs(mixup + eta * penalty), 1e-3)  # what an error of the loss does to eta_hat
    for got, expected in (
        (found.mixup, mixup),
        (found.regularizer, penalty),
        (found.eta_hat, scale),
        (found.scaled_mixup, scale * mixup),
        (found.complexity, complexity),
        (found.confidence, confidence),
        (found.total, scale * mixup + complexity + confidence),
    ):
        assert abs(got - expected) <= 1e-10 * size * max(1, complexity)
    assert found.in_theta == (max(map(abs, q_hat)) <= gamma)


def test_theta_is_compared_with_gamma_point_by_point():
    """One point on the wrong side: abs(q_hat) = u sigma(u) = 0.88 at u = 1, y = 0; the other's is u (1 - sigma(u))."""
    at = lambda gamma: printed_bound([1.0], [[1.0], [1.0]], [0, 1], LAWS[0], **ARGUMENTS | {"gamma": gamma}).in_theta
    worst = 1 / (1 + math.exp(-1))
    assert at(worst)
    assert not at(worst * (1 - 1e-9))


def test_two_readings_of_the_input_bound():
    """||x|| <= 2 is X = 2 or X = 4, and the number itself stands in the formula."""
    x, y = [[2.0], [1.0]], [1, 0]
    norm, squared = (
        printed_bound([0.5], x, y, LAWS[0], **ARGUMENTS | {"input_bound": bound}, input_reading=reading)
        for bound, reading in ((2.0, "norm"), (4.0, "squared"))
    )
    assert squared.complexity == pytest.approx(2 * norm.complexity, rel=1e-14)
    assert squared.scaled_mixup == norm.scaled_mixup
    with pytest.raises(ValueError, match="input_bound must be at least"):
        printed_bound([0.5], x, y, LAWS[0], **ARGUMENTS | {"input_bound": 3.9}, input_reading="squared")


@given(SEEDS, st.sampled_from(LAWS), st.floats(0.0, 5.0))
def test_monotone(seed, law, more):
    """In B, gamma and eta as the formula says; theta = 0 has no regularizer, and eta_hat = 1."""
    (x, y), theta = points(seed, 4, 2), in_ball(seed, 2, RANGE)
    at = lambda theta=theta, **changed: printed_bound(theta, x, y, law, **ARGUMENTS | changed)
    assert at(bound_B=2.0 + more).total >= at().total
    assert at(gamma=0.5 + more).complexity >= at().complexity
    assert at(eta=0.7 + more).scaled_mixup <= at().scaled_mixup
    assert at(failure_prob=0.05).confidence > at().confidence
    zero = at(theta=np.zeros(2))
    assert (zero.regularizer, zero.in_theta) == (0.0, True)
    assert zero.scaled_mixup == pytest.approx(math.log(2), abs=1e-10)


GOOD = {"theta": [1.0], "x": [[1.0], [-0.5]], "y": [1, 0], "law": LAWS[0], **ARGUMENTS}
CONCAVE = GLM("concave", lambda u: -(u**2), lambda u: -2 * u, 9.0)
BAD = {
    "gamma negative": ({"gamma": -1.0}, ValueError, "gamma must be a finite number >= 0, got -1"),
    "gamma NaN": ({"gamma": NAN}, ValueError, "gamma must be"),
    "eta negative": ({"eta": -1e-9}, ValueError, "eta must be a finite number >= 0"),
    "B negative": ({"bound_B": -1.0}, ValueError, "bound_B must be"),
    "B infinite": ({"bound_B": INF}, ValueError, "bound_B must be"),
    "X negative": ({"input_bound": -1.0}, ValueError, "input_bound must be a finite number >= 0"),
    "X small": ({"input_bound": 0.9}, ValueError, r"input_bound must be at least.*\|\|x_0\|\| = 1"),
    "delta 0": ({"failure_prob": 0.0}, ValueError, "failure_prob must be"),
    "delta 1": ({"failure_prob": 1.0}, ValueError, "failure_prob must be"),
    "eta_hat": ({"eta_hat": -0.5}, ValueError, "eta_hat must be"),
    "reading": ({"input_reading": "square"}, ValueError, "input_reading must be one of.*did you mean 'squared'"),
    "one row": ({"x": [[1.0]], "y": [1]}, ValueError, "x must have n >= 2 rows"),
    "concave A": ({"glm": CONCAVE}, ValueError, "glm 'concave': A must be convex"),
    "no GLM": ({"glm": None}, TypeError, "glm must be a GLM"),
    "no law": ({"law": "uniform"}, TypeError, "law must be a BetaLaw, got str"),
}


@pytest.mark.parametrize(("more", "error", "words"), BAD.values(), ids=BAD)
def test_bad_input(more, error, words):
    with pytest.raises(error, match=words):
        printed_bound(**GOOD | more)


# --- the counterexample


@pytest.mark.parametrize(("alpha", "eta", "theta"), [(1.0, 1.0, math.log(3)), (0.3, 2.0, 0.5), (6.0, 1e-3, 4.0)])
def test_constants_by_quadrature(alpha, eta, theta):
    """20 digits, each from its definition; 1e-11 of softplus's size at theta, 4 at most."""
    two, law = counterexample(alpha, eta, theta), BetaLaw(alpha)
    with mpmath.workdps(20):
        u = mpmath.mpf(theta)
        mixed = lambda lam: A["logistic"]((2 * lam - 1) * u) - lam * (2 * lam - 1) * u  # input 2 lam - 1, label lam
        same, opposite = A["logistic"](-u), expectation(mixed, law)
        gamma = u * (1 - 1 / (1 + mpmath.exp(-u)))
        regularizer, limit = mpmath.mpf(alpha) / (2 * alpha + 1) * gamma, (same + opposite) / 2
        scale = limit / (limit + eta * regularizer)
    expected = (same, opposite, gamma, regularizer, limit, scale * limit, limit - scale * limit)
    got = (two.same, two.opposite, two.gamma, two.regularizer, two.limit_lhs, two.limit_rhs, two.gap)
    assert got == pytest.approx(tuple(map(float, expected)), abs=1e-10)
    assert two.limit_lhs == pytest.approx(two.expected_mixup_loss([theta], law, 10**15), abs=1e-12)


def test_constants_in_closed_form():
    """alpha = eta = 1, e^theta = 3, at 60 digits: gamma = theta/4, R = theta/12, opposite by the dilogarithm."""
    two = counterexample(1.0, 1.0, math.log(3))
    with mpmath.workdps(60):
        theta = mpmath.log(3)
        opposite = theta / 12 + (mpmath.pi**2 / 12 + mpmath.polylog(2, -mpmath.mpf(1) / 3)) / theta
        limit = (mpmath.log(mpmath.mpf(4) / 3) + opposite) / 2
        rhs = limit**2 / (limit + theta / 12)
    got = (two.same, two.opposite, two.gamma, two.regularizer, two.limit_lhs, two.limit_rhs, two.gap)
    assert got == pytest.approx(
        [float(v) for v in (mpmath.log(4) - theta, opposite, theta / 4, theta / 12, limit, rhs, limit - rhs)], abs=1e-11
    )


def excess(two, n, bound_B, delta, k):
    """Left side less right side, for a sample with a share k of one kind, every term from its definition."""
    with mpmath.workdps(40):
        same, opposite, k = (mpmath.mpf(v) for v in (two.same, two.opposite, k))
        # of two points of a sample, one is the other, or they are of one kind with probability 1/2
        left = same / n + (1 - mpmath.mpf(1) / n) * (same + opposite) / 2
        loss, penalty = same * (k**2 + (1 - k) ** 2) + opposite * 2 * k * (1 - k), mpmath.mpf(two.regularizer)
        scale = loss / (loss + two.eta * penalty)
        middle = 2 * scale * two.eta * two.gamma / (mpmath.sqrt(n) * 2)  # L_A = X = 1
        return left - scale * loss - middle - bound_B * mpmath.sqrt(mpmath.log(1 / mpmath.mpf(delta)) / (2 * n))


@settings(max_examples=60)
@given(
    st.floats(0.01, 50),
    st.floats(0.01, 10),
    st.floats(0.05, 8),
    st.floats(0, 50),
    st.floats(1e-6, 0.999),
    st.floats(0, 1),
)
@example(1.0, 1.0, math.log(3), 1.0, 0.05, 0.5)
def test_fails_from(alpha, eta, theta, bound_B, delta, other):
    """At n for every share of the points, at n - 1 not for halves. Rounding of 1e-11 in the constants moves n by as
    much of it, with theta's small gamma by ten times: 1e-9 of n, or nothing."""
    two = counterexample(alpha, eta, theta)
    n = two.fails_from(bound_B, delta)
    slack = math.ceil(1e-9 * n) if n > 10**6 else 0
    for share in (0.5, 0.5 + 1 / n, 0.0, other):
        assert excess(two, n + slack, bound_B, delta, min(share, 1.0)) > 0
    if n - 1 - slack > 1:
        assert excess(two, n - 1 - slack, bound_B, delta, 0.5) <= 0


@pytest.mark.parametrize(
    ("alpha", "eta", "theta", "B"), [(1.0, 1.0, 1.0, 0.0), (8.0, 20.0, 2.0, 0.0), (1.0, 5.0, 1.5, 0.3)]
)
def test_all_samples_at_the_n_from_which_it_fails(alpha, eta, theta, B):
    """With ``printed_bound`` itself on every kind of sample, against the expectation over all of them."""
    two, law = counterexample(alpha, eta, theta), BetaLaw(alpha)
    first = two.fails_from(B, 0.5)
    assert 2 < first < 120
    holds = {}
    below = first - 2 + first % 2  # even
    for n in (first, first + 1, below):
        left = sum(math.comb(n, k) / 2**n * slow_mixup_loss_of(two, law, n, k) for k in range(n + 1))
        sizes = {"eta": eta, "gamma": two.gamma, "input_bound": 1.0, "bound_B": B, "failure_prob": 0.5}
        samples = [np.repeat([1, 0], [k, n - k]) for k in range(n + 1)]
        holds[n] = [printed_bound([theta], 2.0 * y[:, None] - 1, y, law, **sizes).total >= left for y in samples]
    assert not any(holds[first] + holds[first + 1])
    assert holds[below][below // 2]


def slow_mixup_loss_of(two, law, n, k):
    """Of k points of the first kind and n - k of the second, from two losses by the slow rule."""
    u, y = np.array([two.theta, -two.theta]), np.array([1.0, 0.0])
    same = slow_mixup_loss(u[:1], y[:1], law)
    opposite = 2 * slow_mixup_loss(u, y, law) - same
    return same + 2 * k * (n - k) / n**2 * (opposite - same)


@given(st.floats(0.05, 10), st.floats(0.05, 5), st.floats(0.1, 5), st.floats(0, 20), st.floats(0.01, 0.5))
def test_later_with_a_larger_constant_and_never_without(alpha, eta, theta, bound_B, delta):
    two = counterexample(alpha, eta, theta)
    n = two.fails_from(bound_B, delta)
    assert two.fails_from(bound_B + 1, delta) > n
    assert two.fails_from(bound_B + 1, delta / 2) > two.fails_from(bound_B + 1, delta)
    assert two.gap > 0
    assert two.opposite > two.same


@pytest.mark.parametrize("name", ["alpha", "eta", "theta"])
def test_bad_examples(name):
    for value, error in ((0.0, ValueError), (-1.0, ValueError), (NAN, ValueError), ("1", TypeError)):
        with pytest.raises(error, match=f"{name} must be a finite number > 0"):
            counterexample(**{"alpha": 1.0, "eta": 1.0, "theta": 1.0} | {name: value})


@pytest.mark.parametrize(
    ("B", "delta", "words"), [(-1.0, 0.1, "bound_B must"), (1.0, 0.0, "failure_prob"), (1.0, 1.0, "failure_prob")]
)
def test_bad_constants(B, delta, words):
    with pytest.raises(ValueError, match=words):
        counterexample(1.0, 1.0, 1.0).fails_from(B, delta)


@pytest.mark.parametrize(("eta", "theta", "B"), [(1e-300, 1.0, 1.0), (1.0, 1e-300, 1.0), (1.0, 1.0, 1e200)])
def test_n_beyond_float64_is_refused(eta, theta, B):
    with pytest.raises(ValueError, match=r"bound_B must leave n below 2\^53"):
        counterexample(1.0, eta, theta).fails_from(B, 0.05)


@pytest.mark.parametrize("theta", [20.0, 36.0, 100.0])
def test_gamma_at_large_theta_does_not_cancel(theta):
    """gamma = theta sigma(-theta) to rounding; theta is in its own Theta."""
    two = counterexample(1.0, 1.0, theta)
    with mpmath.workdps(60):
        assert two.gamma == pytest.approx(float(theta / (1 + mpmath.exp(mpmath.mpf(theta)))), rel=1e-14)
    sizes = {"eta": 1.0, "gamma": two.gamma, "input_bound": 1.0, "bound_B": 1.0, "failure_prob": 0.5}
    assert printed_bound([theta], two.x, two.y, BetaLaw(1.0), **sizes).in_theta


def test_everything_exported_exists():
    assert all(hasattr(theorem2, name) for name in theorem2.__all__)
    assert theorem2.LOGISTIC is LOGISTIC

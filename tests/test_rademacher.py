"""Rademacher complexities by all signs in turn and by maximizing over theta; the limit by mpmath and by chance."""

import itertools
import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from theorem2_cases import INF, NAN, SEEDS

from mixupe_theory.rademacher import axes_ratio, rademacher, rademacher_limit

XI = st.floats(0.01, 10)


def inputs(seed, n, d):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) * rng.uniform(0.1, 3, (n, 1))


@given(SEEDS, st.integers(1, 7), st.integers(1, 3), XI)
def test_all_signs_in_turn(seed, n, d, xi):
    """The supremum over the ball by Cauchy and Schwarz, for each of the 2^n sign vectors."""
    x, total = inputs(seed, n, d), 0.0
    for signs in itertools.product((-1, 1), repeat=n):
        total += math.hypot(*(sum(s * x[i, k] for i, s in enumerate(signs)) for k in range(d)))
    assert rademacher(x, xi) == pytest.approx(math.sqrt(xi) * total / 2**n / n, rel=1e-13)


@settings(max_examples=8)
@given(SEEDS, st.integers(1, 6), XI)
def test_maximized_over_theta(seed, n, xi):
    """In the plane, over 720 directions of length sqrt(xi): below, by a factor of at most cos(half a step)."""
    x, turn = inputs(seed, n, 2), 2 * np.pi * np.arange(720) / 720
    thetas = math.sqrt(xi) * np.stack([np.cos(turn), np.sin(turn)])
    signs = np.array(list(itertools.product((-1, 1), repeat=n)))
    found = (signs @ x @ thetas / n).max(1).mean()
    exact = rademacher(x, xi)
    assert exact * math.cos(np.pi / 720) * (1 - 1e-12) <= found <= exact * (1 + 1e-12)


@given(SEEDS, st.integers(1, 8), st.integers(1, 4), XI)
def test_the_deck_s_bound_and_a_lower_one(seed, n, d, xi):
    """sqrt(xi X/n); and Khinchine's constant 1/sqrt(2) (Szarek; Latala and Oleszkiewicz for vectors)."""
    x = inputs(seed, n, d)
    squares = (x**2).sum(1)
    value = rademacher(x, xi)
    assert value <= math.sqrt(xi * squares.max() / n) * (1 + 1e-12)
    assert value >= math.sqrt(xi * squares.sum() / 2) / n * (1 - 1e-12)


@given(SEEDS, st.integers(1, 6), st.integers(1, 3), XI, st.floats(0.1, 10))
def test_symmetries(seed, n, d, xi, c):
    """Signs and order of the inputs do not matter, rotations neither; sizes go through sqrt(xi) ||x||."""
    x, rng = inputs(seed, n, d), np.random.default_rng(seed)
    q = np.linalg.qr(rng.normal(size=(d, d)))[0]
    value = rademacher(x, xi)
    others = [rademacher(rng.choice([-1, 1], (n, 1)) * x, xi), rademacher(x[rng.permutation(n)] @ q, xi)]
    assert others == pytest.approx([value] * 2, rel=1e-12)
    assert [rademacher(c * x, xi / c**2), rademacher(x, c**2 * xi) / c] == pytest.approx([value] * 2, rel=1e-12)


def test_twenty_inputs_and_no_more():
    """Twenty equal ones: E |sum of 20 signs|/20, from the binomial law."""
    exact = sum(math.comb(20, k) * abs(20 - 2 * k) for k in range(21)) / 2**20 / 20
    assert rademacher(np.ones((20, 1)), 1.0) == pytest.approx(exact, rel=1e-13)
    with pytest.raises(ValueError, match=r"1 <= n <= 20, d >= 1, got \(21, 1\)"):
        rademacher(np.ones((21, 1)), 1.0)


def test_no_radius():
    assert rademacher(np.ones((3, 2)), 0.0) == 0.0


# --- inputs on the axes


@pytest.mark.parametrize(("n", "d"), [(1, 1), (2, 1), (7, 1), (12, 1), (2, 2), (8, 2), (12, 3), (10, 5), (6, 6)])
def test_axes_by_enumeration(n, d):
    """n/d copies of each axis, all 2^n signs; X = 1, so that the bound is 1/sqrt(n)."""
    x = np.repeat(np.eye(d), n // d, axis=0)
    total = sum(np.linalg.norm(np.array(signs) @ x) for signs in itertools.product((-1, 1), repeat=n))
    assert axes_ratio(n, d) == pytest.approx(total / 2**n / n * math.sqrt(n), rel=1e-13)


@pytest.mark.parametrize("d", [1, 2, 3, 10, 1000])
def test_limit_by_mpmath(d):
    """The gammas, and the mean norm of a normal vector from chi's density at 20 digits."""
    with mpmath.workdps(20):
        gammas = (
            mpmath.sqrt(mpmath.mpf(2) / d) * mpmath.gamma((d + mpmath.mpf(1)) / 2) / mpmath.gamma(mpmath.mpf(d) / 2)
        )
        if d <= 10:
            density = lambda r: r ** (d - 1) * mpmath.exp(-r * r / 2)
            mean = mpmath.quad(lambda r: r * density(r), [0, 5, 20]) / mpmath.quad(density, [0, 5, 20])
            assert abs(mean / mpmath.sqrt(d) - gammas) < 1e-12
    assert rademacher_limit(d) == pytest.approx(float(gammas), rel=1e-12)


@pytest.mark.parametrize("d", [1, 2, 5])
def test_limit_by_chance(d):
    """100 000 normal vectors, to 5 standard errors; and E ||g|| < sqrt(d) by Jensen."""
    norms = np.linalg.norm(np.random.default_rng(d).normal(size=(100_000, d)), axis=1) / math.sqrt(d)
    assert abs(norms.mean() - rademacher_limit(d)) <= 5 * norms.std() / math.sqrt(100_000)
    assert rademacher_limit(d) < 1


@pytest.mark.parametrize("d", [1, 2, 5])
def test_ratios_approach_the_limit(d):
    """As 1/n, to 1/(4n) in d = 1; in d = 2 the lattice's n^(-3/2) is as large at these n."""
    near, far = (abs(axes_ratio(n * d, d) - rademacher_limit(d)) for n in (80, 40))
    assert near < far < 1 / (40 * d)
    if d == 1:
        assert near * 80 * 4 == pytest.approx(rademacher_limit(1), rel=0.02)


# --- refusals

BAD = {
    "a vector": (np.ones(3), 1.0, ValueError, r"x must have shape \(n, d\) with .*got \(3,\)"),
    "empty": (np.zeros((0, 2)), 1.0, ValueError, "x must have shape"),
    "no column": (np.zeros((2, 0)), 1.0, ValueError, "x must have shape"),
    "NaN": ([[NAN]], 1.0, ValueError, "x must be finite"),
    "text": ([["a"]], 1.0, TypeError, "x must be an array of real numbers"),
    "xi negative": ([[1.0]], -1.0, ValueError, "xi must be a finite number >= 0, got -1"),
    "xi infinite": ([[1.0]], INF, ValueError, "xi must be"),
    "xi text": ([[1.0]], "1", TypeError, "xi must be"),
}


@pytest.mark.parametrize(("x", "xi", "error", "words"), BAD.values(), ids=BAD)
def test_bad_input(x, xi, error, words):
    with pytest.raises(error, match=words):
        rademacher(x, xi)


@pytest.mark.parametrize(
    ("n", "d", "error", "words"),
    [
        (5, 2, ValueError, "n must be a multiple of d = 2, got 5"),
        (0, 1, ValueError, "n must be an integer >= 1"),
        (2, 0, ValueError, "d must be an integer >= 1"),
        (2.0, 1, TypeError, "n must be an integer"),
    ],
)
def test_bad_axes(n, d, error, words):
    with pytest.raises(error, match=words):
        axes_ratio(n, d)
    if "d must" in words:
        with pytest.raises(error, match=words):
            rademacher_limit(d)

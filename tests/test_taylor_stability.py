"""Orders up to 40 in float64 against python-flint's power series at 500 bits.

Cauchy's estimate |c_k| <= M(R)/R^k, M(R) = max_{|t| = R} |g(t)|, is what coefficients of g can be accurate to: it is
the size of the terms they are made of. It holds at every R inside the disc of convergence, and errors are measured here
by the *smallest* of these bounds, each order by its own R: the hardest test (order 0 by |g(0)| itself). g stands for
its Taylor polynomial of degree 96, to which the estimate applies at every R > 0; outside g's disc of convergence the
polynomial explodes, so that no radius need be known. ``test_yardstick`` compares it with g itself. For a network |g| is
the larger of the two outputs.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from mixupe_theory import tracing_rules
from mixupe_theory.taylor import pairwise_jet, taylor_coefficients

flint = pytest.importorskip("flint")
arb, acb, arb_series = flint.arb, flint.acb, flint.arb_series

ORDER, DEGREE, TOLERANCE = 40, 96, 1e-12  # the tolerance is the project's promise
LOG_RADII = np.log(2) / 16 * np.arange(-6 * 16, 9 * 16)  # in lengths of the direction; 4 % apart
SEEDS = st.integers(0, 2**32 - 1)


@pytest.fixture(autouse=True)
def _precision():
    before = flint.ctx.prec, flint.ctx.cap
    flint.ctx.prec, flint.ctx.cap = 500, DEGREE + 1
    yield
    flint.ctx.prec, flint.ctx.cap = before


# --- the functions, in torch and on flint's series or complex numbers


def sigmoid(u):
    return 1 / (1 + (-u).exp())


def tanh(u):
    return 1 - 2 * sigmoid(-2 * u)


SCALAR = {
    "tanh": (torch.tanh, tanh),
    "sigmoid": (torch.sigmoid, sigmoid),
    "softplus": (F.softplus, lambda u: (1 + u.exp()).log()),
    "gelu": (F.gelu, lambda u: u * (-u / arb(2).sqrt()).erfc() / 2),
    "silu": (F.silu, lambda u: u * sigmoid(u)),
}
MODULES = {"tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "softplus": nn.Softplus, "gelu": nn.GELU, "silu": nn.SiLU}


def logsumexp(u):
    return sum((z.exp() for z in u), arb_series([0])).log()


def polynomial(rng):
    """A random polynomial of degree 4 that stays in [-30, 30] for |x| <= 32."""
    a = rng.normal(size=5)
    a *= 30 / np.abs(a).sum()

    def path(x, tanh):
        u = x * float(a[4] / 32) + float(a[3])
        for c in a[2::-1].tolist():
            u = u * x * 2.0**-5 + c
        return u

    return path


# x -> u(x), in torch and in flint alike; every constant is a float64, so both mean the same path
PATHS = {
    "linear": lambda x, tanh: x * 1.0,
    "tanh": lambda x, tanh: tanh(x * 0.25) * 20.0 + x * 0.25,
    "polynomial": polynomial(np.random.default_rng(0)),
}


def dyadic(a):
    """Rounded to 30 binary places, so that differences of points are exact."""
    return torch.from_numpy(np.round(np.asarray(a, float) * 2**30) / 2**30)


# --- the yardstick


def log_maxima(c):
    """log max_{|t| = R} |sum_k c_k t^k| for each radius, from 256 points of the circle."""
    with np.errstate(divide="ignore"):
        size = np.log(np.abs(c)) + np.arange(DEGREE + 1) * LOG_RADII[:, None]
    largest = size.max(1, keepdims=True)
    if np.isneginf(largest).any():  # no coefficient is left
        return largest[:, 0]
    circle = np.fft.rfft(np.sign(c) * np.exp(size - largest), 256, axis=1)
    return largest[:, 0] + np.log(np.abs(circle).max(1))


def log_bounds(c):
    """Logarithm of the smallest of Cauchy's bounds for orders 0..ORDER of one series of floats, (ORDER + 1,)."""
    return (log_maxima(c)[:, None] - np.arange(ORDER + 1) * LOG_RADII[:, None]).min(0)


@dataclass
class Reference:
    """Coefficients along one displacement, in units of 2^-e of it (e makes it of length about 1)."""

    unit: int
    coefficients: list  # per output, ORDER + 1 arbs
    log_bound: np.ndarray

    @classmethod
    def along(cls, g, x, v):
        """g on a list of series, at x along v; both lists of floats."""
        length = max(abs(a) for a in v)
        unit = -round(np.log2(length)) if length else 0
        outputs = g([arb_series([arb(a), arb(b) * arb(2) ** unit]) for a, b in zip(x, v, strict=True)])
        series = [[u[k] for k in range(DEGREE + 1)] for u in outputs]
        floats = [[float(c) for c in s] for s in series]
        return cls(unit, [s[: ORDER + 1] for s in series], np.max([log_bounds(np.array(s)) for s in floats], 0))

    def errors(self, value):
        """Error over bound of each order, (K + 1,), for value (K + 1, c)."""
        worst = np.zeros(len(value))
        for exact, column in zip(self.coefficients, value.T.tolist(), strict=True):
            for k, c in enumerate(column):
                error = float(abs(arb(c) * arb(2) ** (self.unit * k) - exact[k]).upper())
                if error > 0:
                    worst[k] = max(worst[k], np.exp(np.log(error) - self.log_bound[k]))
        return worst


# --- the engines under test: (K + 1, pairs, c)


def by_direction(f, x, i, j, order=ORDER):
    return taylor_coefficients(f, x[i], x[j] - x[i], order)


def by_pairs(f, x, i, j, order=ORDER):
    out = {}
    for a, b, c in pairwise_jet(f, x, order):
        out |= zip(zip(a.tolist(), b.tolist(), strict=True), c.unbind(1), strict=True)
    return torch.stack([out[pair] for pair in zip(i.tolist(), j.tolist(), strict=True)], 1)


ENGINES = [by_direction, by_pairs]


def references(g, x, pairs):
    return [Reference.along(g, x[i].tolist(), (x[j] - x[i]).tolist()) for i, j in pairs]


def largest_error(engine, f, exact, x, pairs, order=ORDER):
    value = engine(f, x, *torch.tensor(pairs).T, order)
    return max(r.errors(value[:, p]).max() for p, r in enumerate(exact))


# --- activations: arguments in [-30, 30], directions of 0.1 to 10, coinciding points and points 1e-6 apart

POINTS = dyadic([-30, -29.9, -21, -12.4, -7.3, -3, -0.4, 0, 0, 2.0**-20, 1.5, 8.7, 17, 26.5, 30])[:, None]
DISTANCE = torch.cdist(POINTS, POINTS)
CLOSE = [(7, 7), (7, 8), (8, 9), (9, 7)]
FAR = [(i, j) for i, j in np.ndindex(DISTANCE.shape) if i % 2 != j % 2 and 0.09 < DISTANCE[i, j] < 10]


def scalar(name, path):
    function, exact = SCALAR[name]
    curve = PATHS[path]
    return lambda x: function(curve(x, torch.tanh)), lambda u: [exact(curve(u[0], tanh))]


@cache
def scalar_references(name, path):
    return references(scalar(name, path)[1], POINTS, FAR + CLOSE)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", SCALAR)
def test_activation(name, path, engine):
    """The polynomial's first step is affine; for its close points see the test of networks 1e-6 apart."""
    pairs = FAR if engine is by_pairs and path == "polynomial" else FAR + CLOSE
    exact = scalar_references(name, path)[: len(pairs)]
    assert largest_error(engine, scalar(name, path)[0], exact, POINTS, pairs) <= TOLERANCE


@pytest.mark.parametrize("name", SCALAR)
def test_activation_compiled(name, monkeypatch):
    """The compiled code of a linear path and of a curved one. Code and compilation grow with K^2: one goes to 40."""
    monkeypatch.setattr(tracing_rules, "COMPILE_FROM", 0)
    for path, order in (("linear", ORDER if name == "tanh" else 14), ("tanh", 14)):
        f, exact = scalar(name, path)[0], scalar_references(name, path)
        assert largest_error(by_pairs, f, exact, POINTS, FAR + CLOSE, order) <= TOLERANCE


@pytest.mark.parametrize("name", SCALAR)
@settings(max_examples=2)
@given(seed=SEEDS)
def test_activation_of_a_random_polynomial(name, seed):
    rng = np.random.default_rng(seed)
    curve, (function, exact) = polynomial(rng), SCALAR[name]
    x = dyadic(rng.uniform(-25, 25, size=6))[:, None]
    x = torch.cat([x, dyadic(x.numpy() + rng.uniform(0.1, 5, size=(6, 1)))])
    pairs = [(i, (i + 6) % 12) for i in range(12)]
    f, g = lambda z: function(curve(z, torch.tanh)), lambda u: [exact(curve(u[0], tanh))]
    exact = references(g, x, pairs)
    assert all(largest_error(engine, f, exact, x, pairs) <= TOLERANCE for engine in ENGINES)


# --- logsumexp


@pytest.mark.parametrize("path", ["linear", "tanh"])
@pytest.mark.parametrize("c", [2, 5, 10])
@settings(max_examples=2)
@given(seed=SEEDS)
def test_logsumexp(c, path, seed):
    """Logits in [-30, 30]: far apart, alike, all equal; steps of all sizes, also of all logits together."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-30, 30, size=(3, c))
    steps = [rng.uniform(-0.1, 0.1, (3, c)), rng.uniform(-6, 6, (3, c)), 2.0**-20 * rng.integers(-3, 4, (3, c))]
    x = dyadic([*x, *(x + steps[0]), *(x + steps[1]), *(x + steps[2]), *(x + 1), *np.zeros((2, c)), np.ones(c)])
    pairs = [(i, i + 3 * m) for i in range(3) for m in range(5)] + [(6, 0), (9, 1), (15, 16), (15, 17), (15, 0)]
    f = lambda z: PATHS[path](z, torch.tanh).logsumexp(1, keepdim=True)
    g = lambda u: [logsumexp([PATHS[path](z, tanh) for z in u])]
    exact = references(g, x, pairs)
    assert all(largest_error(engine, f, exact, x, pairs) <= TOLERANCE for engine in ENGINES)


# --- networks


def network(rng, name, weight):
    f = nn.Sequential(nn.Linear(2, 6), MODULES[name](), nn.Linear(6, 5), MODULES[name](), nn.Linear(5, 2)).double()
    for p in f.requires_grad_(False).parameters():
        p.copy_(torch.from_numpy(weight * rng.normal(size=p.shape)))

    def g(u):
        for layer in f:
            if isinstance(layer, nn.Linear):
                rows = zip(layer.weight.tolist(), layer.bias.tolist(), strict=True)
                u = [sum((w * z for w, z in zip(row, u, strict=True)), arb_series([b])) for row, b in rows]
            else:
                u = [SCALAR[name][1](z) for z in u]
        return u

    return f, g


@pytest.mark.parametrize("weight", [0.5, 3.0])
@pytest.mark.parametrize("name", SCALAR)
@settings(max_examples=2)
@given(seed=SEEDS)
def test_network(name, weight, seed):
    """Two hidden layers, mild and saturated (arguments of some tens)."""
    rng = np.random.default_rng(seed)
    f, g = network(rng, name, weight)
    x = dyadic([*3 * rng.normal(size=(4, 2)), *0.1 * rng.normal(size=(2, 2))])
    pairs = [(i, (i + m) % 6) for i in range(6) for m in (1, 2)] + [(0, 0)]
    exact = references(g, x, pairs)
    assert all(largest_error(engine, f, exact, x, pairs) <= TOLERANCE for engine in ENGINES)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", SCALAR)
def test_network_between_points_1e_6_apart(name, engine):
    """Close pairs are expanded one by one, since the difference W x_j - W x_i would have lost six digits."""
    rng = np.random.default_rng(0)
    f, g = network(rng, name, 1.0)
    x = dyadic(3 * rng.normal(size=(1, 2)))
    x = torch.cat([x, x + 2.0**-20])
    pairs = [(0, 1), (1, 0)]
    assert largest_error(engine, f, references(g, x, pairs), x, pairs) <= TOLERANCE


# --- the yardstick and the comparison themselves


@pytest.mark.parametrize("name", SCALAR)
def test_yardstick(name):
    """The polynomial's maxima against those of g itself, and Cauchy's estimate.

    Up to 0.85 of the radius of convergence a polynomial of degree 96 lacks some 0.85^97, a millionth; GELU is entire
    and grows as e^{|u| R} at first, so that at |u| = 20 it stands for R up to 2. A maximum over 256 points is some
    1e-3 below the circle's.
    """
    function = SCALAR[name][1]
    for u in (-20.0, 0.7, 12.0):
        singularity = {"tanh": 0.5j * np.pi, "gelu": u + 2}.get(name, 1j * np.pi)
        inside = np.exp(LOG_RADII) < 0.85 * abs(u - singularity)
        reference = Reference.along(lambda s: [function(s[0])], [u], [1.0])
        series = function(arb_series([u, 1]))
        maxima = log_maxima(np.array([float(series[k]) for k in range(DEGREE + 1)]))[inside][::12]
        circle = [acb(z.real, z.imag) for z in np.exp(1j * np.linspace(0, np.pi, 257))]
        for log_max, log_radius in zip(maxima, LOG_RADII[inside][::12], strict=True):
            values = [analytic(function, name, u + arb(np.exp(log_radius)) * z) for z in circle]
            assert abs(log_max - np.log(max(float(abs(z)) for z in values))) <= 0.01
        sizes = [float(abs(c)) for c in reference.coefficients[0]]
        assert (sizes <= 1.01 * np.exp(reference.log_bound)).all()


def analytic(function, name, z):
    """softplus is z + log(1 + e^-z) to the right of 0, where the other form would leave its branch."""
    return z + function(-z) if name == "softplus" and z.real > 0 else function(z)


def naive_tanh(u, order):
    """w' = (1 - w^2) u' along u + t: what the coupled form avoids."""
    w = [np.tanh(u)]
    for k in range(1, order + 1):
        w.append(((k == 1) - sum(w[i] * w[k - 1 - i] for i in range(k))) / k)
    return torch.tensor(w, dtype=torch.float64)[:, None]


def test_the_comparison_fails_unstable_formulas():
    """Controls: logarithms of a series, float32, and tanh from 1 - w^2 where that cancels."""
    x = dyadic([[-2.0, 3.0, 4.0], [7.0, 13.5, 12.0]])
    exact = references(lambda u: [logsumexp(u)], x, [(0, 1)])
    error = lambda engine, f: largest_error(engine, f, exact, x, [(0, 1)])
    single = lambda f, x, *rest: by_direction(f, x.float(), *rest).double()
    assert error(by_direction, lambda z: z.logsumexp(1, keepdim=True)) <= TOLERANCE
    assert error(single, lambda z: z.logsumexp(1, keepdim=True)) > 100 * TOLERANCE
    assert error(by_direction, lambda z: z.exp().sum(1, keepdim=True).log()) > 100 * TOLERANCE

    x = dyadic([[20.0], [21.0]])
    exact = references(scalar("softplus", "linear")[1], x, [(0, 1)])
    assert error(by_direction, F.softplus) <= TOLERANCE
    assert error(by_direction, lambda z: (1 + z.exp()).log()) > 100 * TOLERANCE

    exact = references(scalar("tanh", "linear")[1], dyadic([[12.0], [13.0]]), [(0, 1)])
    assert exact[0].errors(naive_tanh(12.0, ORDER)).max() > 100 * TOLERANCE

"""Taylor coefficients against nested torch.func.jvp, mpmath at 60 digits, sympy, and f itself."""

import math

import mpmath as mp
import numpy as np
import pytest
import sympy
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from mixupe_theory import taylor
from mixupe_theory.taylor import pairwise_jet, taylor_coefficients

EPS = torch.finfo(torch.float64).eps
SEEDS = st.integers(0, 2**32 - 1)
FLAT, IMAGE = (3,), (2, 6, 6)


@pytest.fixture(autouse=True)
def _reference_settings(forward_mode):
    with mp.workdps(60):
        yield


def normal(rng, *shape):
    return torch.from_numpy(rng.normal(size=shape))


def fill(module, rng):
    """Random parameters and running statistics (variances positive), in float64 and evaluation mode."""
    module = module.double().eval()
    with torch.no_grad():
        for name, t in [*module.named_parameters(), *module.named_buffers()]:
            if t.is_floating_point():
                t.copy_(normal(rng, *t.shape).abs() + 0.5 if name.endswith("var") else normal(rng, *t.shape))
    return module


def mlp(rng, activation, d=3, c=2):
    layers = nn.Linear(d, 5), activation(), nn.Linear(5, 4), activation(), nn.Linear(4, c)
    return fill(nn.Sequential(*layers), rng)


def nested_jvp(f, x, v, order):
    """Derivatives of t -> f(x + t v) at 0 by ``order`` nested forward modes, the k-th over k!."""
    zero, one = x.new_zeros(()), x.new_ones(())

    def extended(g):
        """From t -> (f, f', ..., f^(k)) to t -> (f, f', ..., f^(k + 1))."""

        def with_next(t):
            values, slopes = torch.func.jvp(g, (t,), (one,))
            return *values, slopes[-1]

        return with_next

    derivatives = lambda t: (f(x + t * v),)
    for _ in range(order):
        derivatives = extended(derivatives)
    return torch.stack([d / math.factorial(k) for k, d in enumerate(derivatives(zero))])


def relative_errors(value, reference):
    """Largest error of each order over that order's largest entry, 0 where both are exactly zero."""
    error, scale = ((t.flatten(1).abs().amax(1)) for t in (value - reference, reference))
    return torch.where(error == 0, 0.0, error / scale)


def scalar_coefficients(f, order):
    """Coefficients of the scalar t -> f(t) at 0, as floats."""
    zero = torch.zeros(1, 1, dtype=torch.float64)
    return taylor_coefficients(f, zero, zero + 1, order).flatten().tolist()


def assert_coefficients(value, reference, units=32, floors=()):
    """Each within units (k + 1) eps of the largest reference at k - 1, k, k + 1 (one alone may cross zero).

    Order k sums k + 1 rounded products. ``reference`` holds one order more than ``value``; ``floors`` are
    absolute errors allowed to the lowest orders.
    """
    floors = [*floors, *[0.0] * len(value)]
    for k, c in enumerate(value):
        scale = max(abs(r) for r in reference[max(k - 1, 0) : k + 2])
        assert abs(mp.mpf(c) - reference[k]) <= units * (k + 1) * EPS * scale + floors[k], (k, c, reference[k])


# --- against nested forward mode: every layer and function with a rule


class Residual(nn.Module):
    """A residual block, the sum of two branches, as networks are written."""

    def __init__(self):
        super().__init__()
        self.conv, self.shortcut = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(2, 3, 1)
        self.norm = nn.BatchNorm2d(3)
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x):
        x = F.silu(self.norm(self.conv(x)) + self.shortcut(x))
        return self.pool(x).view(x.size(0), -1)


W = torch.tensor([[0.3, -1.2, 0.7], [1.1, 0.4, -0.5], [-0.8, 0.2, 0.9]], dtype=torch.float64)

# name: (a module's factory, or a callable; shape of one input)
LAYERS = {
    "linear": (lambda: nn.Linear(3, 4), FLAT),
    "linear without bias": (lambda: nn.Linear(3, 4, bias=False), FLAT),
    "conv2d": (lambda: nn.Conv2d(2, 3, 3, stride=2, padding=1), IMAGE),
    "conv2d, groups, no bias": (lambda: nn.Conv2d(2, 4, 3, groups=2, bias=False), IMAGE),
    "conv2d, circular": (lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), IMAGE),
    "avg pool": (lambda: nn.AvgPool2d(2, padding=1), IMAGE),
    "adaptive avg pool": (lambda: nn.AdaptiveAvgPool2d((2, 3)), IMAGE),
    "batch norm 1d": (lambda: nn.BatchNorm1d(3), FLAT),
    "batch norm 2d": (lambda: nn.BatchNorm2d(2), IMAGE),
    "batch norm, not affine": (lambda: nn.BatchNorm2d(2, affine=False), IMAGE),
    "flatten": (lambda: nn.Flatten(), IMAGE),
    "dropout": (lambda: nn.Dropout(0.5), FLAT),
    "residual block": (Residual, IMAGE),
    "tanh": (nn.Tanh, FLAT),
    "sigmoid": (nn.Sigmoid, FLAT),
    "log sigmoid": (nn.LogSigmoid, FLAT),
    "softplus": (nn.Softplus, FLAT),
    "softplus, beta": (lambda: nn.Softplus(beta=3.0), FLAT),
    "gelu": (nn.GELU, FLAT),
    "gelu, tanh": (lambda: nn.GELU(approximate="tanh"), FLAT),
    "silu": (nn.SiLU, FLAT),
    "relu": (nn.ReLU, FLAT),
    "softmax": (lambda: nn.Softmax(1), FLAT),
    "softmax, dim -1": (lambda: nn.Softmax(-1), FLAT),
    "log softmax": (lambda: nn.LogSoftmax(1), FLAT),
}
FUNCTIONS = {
    "logsumexp": lambda x: x - x.logsumexp(1)[:, None],
    "logsumexp of images": lambda x: torch.logsumexp(x.unflatten(1, (3, 1)), -2),
    "sin": torch.sin,
    "cos": lambda x: x.cos(),
    "exp": torch.exp,
    "log": lambda x: torch.log(x * x + 0.5),
    "sqrt": lambda x: torch.sqrt(x**2 + 0.5),
    "quotient": lambda x: (1 + x) / (2 + x.square()),
    "constant over jet": lambda x: 1 / (2 + x * x),
    "reciprocal": lambda x: torch.reciprocal(x.square() + 1),
    "integer power": lambda x: x**3 - 2.0 * x,
    "real power": lambda x: (x.square() + 1) ** -1.5,
    "tensor minus jet": lambda x: W[0] - x,
    "tensor times jet": lambda x: W[0] * x + x * W[1],
    "tensor over jet": lambda x: W[0] / (x * x + 1),
    "affine by hand": lambda x: x @ W + W[0],
    "matmul from the left": lambda x: (W @ x.unsqueeze(-1)).squeeze(-1),
    "matmul of jets": lambda x: (x.unsqueeze(2) @ x.unsqueeze(1)).flatten(1),
    "indexing": lambda x: x[:, :2] * x[:, 1:] + x[:, [0]],
    "mean and sum": lambda x: x * x.mean(1, keepdim=True) - x.sum(dim=1, keepdim=True),
    "reshape": lambda x: x.reshape(len(x), 3, 1).permute(0, 2, 1).flatten(1),
    "softmax by hand": lambda x: x.exp() / x.exp().sum(1, keepdim=True),
}
CASES = {
    **{name: (lambda rng, make=make: fill(make(), rng), shape) for name, (make, shape) in LAYERS.items()},
    **{name: (lambda rng, f=f: f, FLAT) for name, f in FUNCTIONS.items()},
}


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=2)
@given(seed=SEEDS)
def test_matches_nested_forward_mode(name, seed):
    """Behind a curved inner function, so that all orders enter. Tolerance: rounding, with room for 5!."""
    rng = np.random.default_rng(seed)
    make, shape = CASES[name]
    layer = make(rng)
    f = lambda z: layer(z + z * z / 4).flatten(1)
    x, v = normal(rng, 3, *shape), normal(rng, 3, *shape)
    value = taylor_coefficients(f, x, v, 5)
    torch.testing.assert_close(value[0], f(x), rtol=1e-13, atol=1e-13)
    assert (relative_errors(value, nested_jvp(f, x, v, 5)) <= 1e-11).all()


@pytest.mark.parametrize("activation", [nn.Tanh, nn.Sigmoid, nn.Softplus, nn.GELU, nn.SiLU, nn.ReLU])
@settings(max_examples=4)
@given(seed=SEEDS)
def test_gradient_in_parameters_matches_nested_forward_mode(activation, seed):
    rng = np.random.default_rng(seed)
    f = mlp(rng, activation)
    x, v, weights = normal(rng, 2, 3), normal(rng, 2, 3), normal(rng, 4, 2, 2)
    gradient = lambda c: nn.utils.parameters_to_vector(
        torch.autograd.grad((weights * c).sum(), list(f.parameters()), materialize_grads=True)
    )
    value, reference = (gradient(c(f, x, v, 3)) for c in (taylor_coefficients, nested_jvp))
    assert (value - reference).norm() <= 1e-12 * reference.norm()


# --- against mpmath


def mp_sigmoid(z):
    return 1 / (1 + mp.exp(-z))


def mp_gelu_tanh(z):
    return z / 2 * (1 + mp.tanh(mp.sqrt(2 / mp.pi) * (z + mp.mpf(0.044715) * z**3)))


WHOLE, POSITIVE = (-8.0, 8.0), (0.2, 20.0)
SCALAR = {  # name: (torch's function, mpmath's, where its argument is drawn)
    "tanh": (torch.tanh, mp.tanh, WHOLE),
    "sigmoid": (torch.sigmoid, mp_sigmoid, WHOLE),
    "softplus": (F.softplus, lambda z: mp.log(1 + mp.exp(z)), WHOLE),
    "softplus, beta": (lambda z: F.softplus(z, beta=3.0), lambda z: mp.log(1 + mp.exp(3 * z)) / 3, WHOLE),
    "log sigmoid": (F.logsigmoid, lambda z: -mp.log(1 + mp.exp(-z)), WHOLE),
    "silu": (F.silu, lambda z: z * mp_sigmoid(z), WHOLE),
    "gelu": (F.gelu, lambda z: z * mp.ncdf(z), WHOLE),
    "gelu, tanh": (lambda z: F.gelu(z, approximate="tanh"), mp_gelu_tanh, WHOLE),
    "exp": (torch.exp, mp.exp, WHOLE),
    "sin": (torch.sin, mp.sin, WHOLE),
    "cos": (torch.cos, mp.cos, WHOLE),
    "log": (torch.log, mp.log, POSITIVE),
    "sqrt": (torch.sqrt, mp.sqrt, POSITIVE),
    "reciprocal": (lambda z: 1 / z, lambda z: 1 / z, POSITIVE),
    "real power": (lambda z: z**2.5, lambda z: z ** mp.mpf(2.5), POSITIVE),
    "negative power": (lambda z: z**-2, lambda z: z**-2, POSITIVE),
}
SATURATING = ["tanh", "sigmoid", "softplus", "softplus, beta", "log sigmoid", "silu", "exp"]


@pytest.mark.parametrize("name", SCALAR)
@settings(max_examples=12)
@given(position=st.floats(0, 1), curvature=st.sampled_from([0.0, 0.25]))
def test_order_12_matches_mpmath(name, position, curvature):
    """The coefficients of F(u + t + curvature t^2) to some eps of their size, also where they are 1e-10.

    GELU's factors Phi(u) and 1 + tanh are torch's: right to eps of 1 and not of their size for u << 0. They
    enter orders 0 to 2.
    """
    function, reference, (low, high) = SCALAR[name]
    u = low + position * (high - low)
    value = scalar_coefficients(lambda t: function(u + t + curvature * t * t), 12)
    exact = mp.taylor(lambda t: reference(u + t + curvature * t * t), 0, 13)
    assert_coefficients(value, exact, floors=[EPS * (abs(u) + 1)] * 3 if name.startswith("gelu") else [])


@pytest.mark.parametrize("u", [-36.0, -20.0, 20.0, 36.0])
@pytest.mark.parametrize("name", SATURATING)
def test_no_digit_is_lost_where_the_function_saturates(name, u):
    """At u = 36 the coefficients are as small as 1e-16 (1e-47 with beta = 3) and still relatively accurate.

    torch's threshold = 20 beyond which its softplus is the identity is not part of the analytic function.
    """
    function, reference, _ = SCALAR[name]
    value = scalar_coefficients(lambda t: function(u + t), 14)
    assert_coefficients(value, mp.taylor(lambda t: reference(u + t), 0, 15))


VECTOR = {  # name: (torch's function of a row, mpmath's entry i from the exponentials of the row)
    "logsumexp": (lambda x: x.logsumexp(1, keepdim=True), lambda e, i: mp.log(sum(e))),
    "softmax": (lambda x: x.softmax(1), lambda e, i: e[i] / sum(e)),
    "log softmax": (lambda x: x.log_softmax(1), lambda e, i: mp.log(e[i] / sum(e))),
}


@pytest.mark.parametrize("scale", [1.0, 12.0])
@pytest.mark.parametrize("name", VECTOR)
def test_softmax_family_matches_mpmath_at_order_12(name, scale):
    """Logits up to some 30 apart; a logarithm of a series would have lost half the digits by order 10.

    Orders 0 and 1 of log_softmax subtract numbers of the logits' size, as torch's own log_softmax does.
    """
    function, reference = VECTOR[name]
    for seed in range(5):
        rng = np.random.default_rng(seed)
        u, v = scale * normal(rng, 1, 4), normal(rng, 1, 4)
        value = taylor_coefficients(function, u, v, 12)[:, 0]
        line = list(zip(u[0].tolist(), v[0].tolist(), strict=True))
        for i in range(value.shape[1]):
            exact = mp.taylor(lambda t, i=i: reference([mp.exp(a + b * t) for a, b in line], i), 0, 13)  # noqa: B023
            assert_coefficients(value[:, i].tolist(), exact, floors=[4 * EPS * scale] * 2)


def mp_network(f, activation, x, v):
    """t -> the entries of f(x + t v) in mpmath, for a network of linear layers and one activation."""
    layers = [(m.weight.tolist(), m.bias.tolist()) for m in f if isinstance(m, nn.Linear)]

    def at(t):
        z = [a + t * b for a, b in zip(x.tolist(), v.tolist(), strict=True)]
        for k, (weight, bias) in enumerate(layers):
            z = [mp.fdot(row, z) + b for row, b in zip(weight, bias, strict=True)]
            z = [activation(a) for a in z] if k < len(layers) - 1 else z
        return z

    return at


@pytest.mark.parametrize(
    ("activation", "name"),
    [(nn.Tanh, "tanh"), (nn.Sigmoid, "sigmoid"), (nn.SiLU, "silu"), (nn.Softplus, "softplus")],
)
@settings(max_examples=3)
@given(seed=SEEDS)
def test_order_12_of_a_network_matches_mpmath(activation, name, seed):
    """Three layers. Sums over hidden units may cancel, so errors are relative to the largest of both outputs.

    Tolerance: eps times the growth of the coefficients' terms, which nearby poles make some hundreds.
    """
    rng = np.random.default_rng(seed)
    f = mlp(rng, activation)
    x, v = normal(rng, 1, 3), normal(rng, 1, 3)
    value = taylor_coefficients(f, x, v, 12)[:, 0]
    network = mp_network(f, SCALAR[name][1], x[0], v[0])
    reference = [[float(c) for c in mp.taylor(lambda t, i=i: network(t)[i], 0, 12)] for i in range(2)]
    assert (relative_errors(value, torch.tensor(reference, dtype=torch.float64).T) <= 1e-12).all()


# --- against sympy

COMPOSITES = {
    "tanh": (torch.tanh, sympy.tanh),
    "softplus": (F.softplus, lambda z: sympy.log(1 + sympy.exp(z))),
    "sine of exp": (lambda z: torch.sin(torch.exp(z)), lambda z: sympy.sin(sympy.exp(z))),
    "quotient": (lambda z: z / (1 + z**2), lambda z: z / (1 + z**2)),
}


@pytest.mark.parametrize("name", COMPOSITES)
def test_two_layers_with_rational_weights_match_sympy(name):
    """Derivatives of the symbolic composite, evaluated in mpmath. Tolerance: a few roundings per order."""
    function, symbolic = COMPOSITES[name]
    half, fifth, t = sympy.Rational(1, 2), sympy.Rational(1, 5), sympy.Symbol("t")
    inner = symbolic(half * (fifth + 2 * t) - 3 * fifth * (half - t) + fifth)
    outer = symbolic(2 * inner - half)
    derivatives = [sympy.lambdify(t, sympy.diff(outer, t, k), "mpmath") for k in range(6)]
    exact = [derivative(mp.mpf(0)) / math.factorial(k) for k, derivative in enumerate(derivatives)]

    point, direction = (torch.tensor([z], dtype=torch.float64) for z in ([0.2, 0.5], [2.0, -1.0]))
    weight = torch.tensor([[0.5], [-0.6]], dtype=torch.float64)
    f = lambda x: function(2 * function(x @ weight + 0.2) - 0.5)
    assert_coefficients(taylor_coefficients(f, point, direction, 4).flatten().tolist(), exact)


# --- ReLU

KINKS = {  # name: (what ReLU is applied to, direction, the one-sided polynomial's coefficients)
    "up": (lambda z: z, 1.0, [0, 1, 0, 0]),
    "down": (lambda z: z, -1.0, [0, 0, 0, 0]),
    "first order vanishes, up": (lambda z: z**2, -1.0, [0, 0, 1, 0]),
    "first order vanishes, down": (lambda z: -(z**2), 1.0, [0, 0, 0, 0]),
    "two orders vanish, up": (lambda z: -(z**3), -1.0, [0, 0, 0, 1]),
    "two orders vanish, down": (lambda z: z**3, -1.0, [0, 0, 0, 0]),
    "later orders disagree": (lambda z: z - 5 * z**2, 1.0, [0, 1, -5, 0]),
    "identically zero": (lambda z: z * 0, 1.0, [0, 0, 0, 0]),
    "no kink": (lambda z: 1 - z, 1.0, [1, -1, 0, 0]),
}


@pytest.mark.parametrize("name", KINKS)
def test_relu_at_a_kink_takes_the_branch_along_v(name):
    """Exact in floating point; and f(x + t v) itself is that polynomial for small t > 0."""
    inner, v, expected = KINKS[name]
    value = scalar_coefficients(lambda z: torch.relu(inner(v * z)), 3)
    assert value == expected
    t = torch.tensor(2.0**-6, dtype=torch.float64)
    assert torch.relu(inner(v * t)).item() == sum(c * t.item() ** k for k, c in enumerate(value))


def test_relu_network_at_a_kink_of_its_second_layer():
    """Left and right polynomials differ, each right on its own side. Tolerance: rounding of f."""
    f = nn.Sequential(nn.Linear(1, 2, bias=False), nn.ReLU(), nn.Linear(2, 1), nn.ReLU()).double()
    with torch.no_grad():
        f[0].weight.copy_(torch.tensor([[1.0], [2.0]]))
        f[2].weight.copy_(torch.tensor([[1.0, 0.5]]))
        f[2].bias.fill_(-2.0)  # 1 + 0.5 * 2 = 2: the kink lies at x = 1
    x = torch.ones(1, 1, dtype=torch.float64)
    right, left = (taylor_coefficients(f, x, v, 2).flatten().tolist() for v in (x, -x))
    assert right == [0, 2, 0]
    assert left == [0, 0, 0]


# --- what every expansion obeys


@pytest.mark.parametrize("s", [-1.0, -0.5, 0.0, 3.0])
@settings(max_examples=5)
@given(seed=SEEDS)
def test_coefficient_k_is_homogeneous_of_degree_k(s, seed):
    rng = np.random.default_rng(seed)
    f, x, v = mlp(rng, nn.GELU), normal(rng, 3, 3), normal(rng, 3, 3)
    one, scaled = taylor_coefficients(f, x, v, 6), taylor_coefficients(f, x, s * v, 6)
    powers = torch.tensor([s**k for k in range(7)], dtype=torch.float64).reshape(-1, 1, 1)
    assert (relative_errors(scaled, powers * one) <= 1e-12).all()


@pytest.mark.parametrize("activation", [nn.Tanh, nn.Sigmoid, nn.Softplus, nn.GELU, nn.SiLU])
@pytest.mark.parametrize("order", [1, 2, 3, 4, 5, 6])
def test_remainder_is_of_the_next_order(activation, order):
    """f(x + t v) - sum_k c_k t^k = c_{K+1} t^{K+1} + O(t^{K+2}): the fitted slope is K + 1 up to O(t)."""
    rng = np.random.default_rng(order)
    f, x, v = mlp(rng, activation), normal(rng, 8, 3), normal(rng, 8, 3)
    v = 0.5 * v / v.norm(dim=1, keepdim=True)
    with torch.no_grad():
        c = taylor_coefficients(f, x, v, order)
        times = 2.0 ** -torch.arange(2, 5, dtype=torch.float64)
        errors = [(f(x + t * v) - sum(c[k] * t**k for k in range(order + 1))).norm() for t in times]
    slope = np.polyfit(times.log(), torch.stack(errors).log(), 1)[0]
    assert abs(slope - (order + 1)) < 0.3


def test_constant_functions_have_no_higher_orders():
    x = torch.ones(2, 3, dtype=torch.float64)
    value = taylor_coefficients(lambda z: torch.full((2, 4), 7.0, dtype=torch.float64), x, x, 3)
    assert value.shape == (4, 2, 4)
    assert (value[0] == 7).all()
    assert (value[1:] == 0).all()


@pytest.mark.parametrize("activation", [nn.Tanh, nn.Softplus, nn.GELU, nn.ReLU])
def test_float32_keeps_its_dtype(activation):
    """Against float64: some hundred roundings of 6e-8, relative to each order's largest."""
    rng = np.random.default_rng(0)
    f, x, v = mlp(rng, activation), normal(rng, 4, 3), normal(rng, 4, 3)
    reference = taylor_coefficients(f, x, v, 4)
    value = taylor_coefficients(f.float(), x.float(), v.float(), 4)
    assert value.dtype == torch.float32
    assert (relative_errors(value.double(), reference) <= 2e-5).all()


def test_in_place_activation_changes_its_argument():
    """x = relu_(x); x + x: as written in many residual networks."""

    class InPlace(nn.Module):
        def forward(self, x):
            x = x + 0.0
            return F.relu(x, inplace=True) + x

    x = torch.tensor([[-1.0, 2.0]], dtype=torch.float64)
    torch.testing.assert_close(taylor_coefficients(InPlace(), x, x, 1)[0], InPlace()(x))


# --- all pairs


@pytest.mark.parametrize("held", [1, 12, 30, 4096])
def test_pairwise_jet_visits_each_ordered_pair_once(held, monkeypatch):
    """Chunks of 1 to n^2 pairs, dividing n^2 and not: the chunk boundaries change nothing."""
    monkeypatch.setattr(taylor, "PAIR_CHUNK", held)
    rng = np.random.default_rng(0)
    f, x, order = mlp(rng, nn.Tanh), normal(rng, 5, 3), 3
    chunks = list(pairwise_jet(f, x, order))
    i, j = (torch.cat([chunk[k] for chunk in chunks]) for k in range(2))
    coefficients = torch.cat([chunk[2] for chunk in chunks], dim=1)
    assert sorted(zip(i.tolist(), j.tolist(), strict=True)) == list(np.ndindex(5, 5))
    assert (len(chunks) == 1) == (held == 4096)
    assert coefficients.shape == (order + 1, 25, 2)
    expected = taylor_coefficients(f, x[i], x[j] - x[i], order)
    assert (relative_errors(coefficients, expected) <= 1e-14).all()
    torch.testing.assert_close(coefficients[0], f(x[i]), rtol=1e-14, atol=1e-14)
    assert (coefficients[1:, i == j] == 0).all()
    assert (coefficients[1:, i != j] != 0).all()


def test_pairwise_jet_of_images_carries_gradients():
    """The mean first-order coefficient over all pairs is differentiable, against a loop of single jvps."""
    rng = np.random.default_rng(0)
    f = fill(Residual(), rng)
    x = normal(rng, 3, *IMAGE)
    value = sum(c[1].sum() for _, _, c in pairwise_jet(f, x, 2))
    reference = sum(nested_jvp(f, x[[i]], x[[j]] - x[[i]], 1)[1].sum() for i, j in np.ndindex(3, 3))
    for one, other in zip(*(torch.autograd.grad(t, list(f.parameters())) for t in (value, reference)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((nn.MaxPool1d(2), torch.ones(2, 4), 2), "MaxPool1d"), ((nn.Tanh(), torch.ones(2, 4), 0), "^order")],
    ids=["rule", "order"],
)
def test_pairwise_jet_complains_at_the_call(arguments, message):
    """Not at the first chunk: no iteration here."""
    with pytest.raises(ValueError, match=message):
        pairwise_jet(*arguments)

"""Unrolled recurrences: the generated text run on exact numbers, and compiled against the plain recurrences."""

import math
from fractions import Fraction

import numpy as np
import pytest
import sympy
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mixupe_theory import recurrences, straightline

SEEDS = st.integers(0, 2**32 - 1)


def normal(rng, *shape):
    return torch.from_numpy(rng.normal(size=shape))


SYMBOLIC = {  # the function, and what its recurrence starts from at u0
    "tanh": (sympy.tanh, lambda u: {"p0": 1 - sympy.tanh(u) ** 2, "slope": -2 * sympy.tanh(u)}),
    "sigmoid": (lambda z: 1 / (1 + sympy.exp(-z)), lambda u: {}),
    "softplus": (lambda z: sympy.log(1 + sympy.exp(z)), lambda u: {}),
    "silu": (lambda z: z / (1 + sympy.exp(-z)), lambda u: {}),
    "gelu": (
        lambda z: z * (1 + sympy.erf(z / sympy.sqrt(2))) / 2,
        lambda u: {
            "d0": sympy.exp(-(u**2) / 2) / sympy.sqrt(2 * sympy.pi),
            "c0": (1 + sympy.erf(u / sympy.sqrt(2))) / 2,
            "u0": u,
        },
    ),
}


def started(name, u):
    """Symbolic tables; those of the sigmoid family from s, s(1 - s) and 1 - 2s."""
    s = 1 / (1 + sympy.exp(-u))
    return SYMBOLIC[name][1](u) or {"p0": s * (1 - s), "slope": 1 - 2 * s, "s0": s, "u0": u}


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("name", SYMBOLIC)
def test_the_code_run_on_symbols_gives_the_series(name, affine):
    """The text that numba compiles, executed on exact numbers: equal to 40 digits to sympy's derivatives."""
    order = 4
    u = [sympy.Rational(*r) for r in ((3, 10), (7, 5), (0 if affine else -2, 3), (0 if affine else 1, 2), (0, 1))]
    constants = {"zero": sympy.Integer(0)}
    constants |= {f"number{k}": sympy.Integer(k) for k in range(1, order + 1)}
    constants |= {f"inverse{k}": sympy.Rational(1, k) for k in range(1, order + 1)}
    exec(straightline.source(name, order, 1, affine=affine), constants)
    names = list(straightline.tables(name, torch.zeros(1), affine=affine)[1])
    start = [(started(name, u[0]) | {"u0": u[0]})[table] for table in names]
    w = [None] * order
    constants["kernel"]([u[0] + u[1]] if affine else u[1:], start, w, 1, 1)
    t = sympy.Symbol("t")
    path = SYMBOLIC[name][0](sum(c * t**k for k, c in enumerate(u)))
    for k in range(1, order + 1):
        expected = sympy.diff(path, t, k).subs(t, 0) / math.factorial(k)
        assert abs(sympy.N(w[k - 1] - expected, 50)) <= Fraction(1, 10**40)


@pytest.mark.parametrize(
    ("name", "order", "dtype"),
    [
        *((name, order, torch.float64) for name in straightline.FUNCTIONS for order in (1, 2, 3, 8)),
        *((name, 4, torch.float32) for name in straightline.FUNCTIONS),
        ("tanh", 25, torch.float64),
    ],
)
@settings(max_examples=1)
@given(seed=SEEDS)
def test_kernels_match_the_recurrences(name, order, dtype, seed):
    """Rows of series whose radius is 1: every order within (k + 1) roundings of some, relative to what is summed."""
    rng = np.random.default_rng(seed)
    anchors, partners, width = 2, 3, 5
    u0 = (4 * normal(rng, anchors, width)).to(dtype)
    u = normal(rng, anchors * partners, order, width).to(dtype) / 2
    value, tables = straightline.tables(name, u0, affine=False)
    start = torch.stack([*tables.values()], 1)
    w = torch.full_like(u, torch.nan)
    kernel = straightline.kernel(name, order, width, dtype, affine=False)
    kernel(*(t.flatten().numpy() for t in (u, start, w)), anchors, partners)
    series = torch.cat([u0.repeat_interleave(partners, 0)[None], u.transpose(0, 1)]).double()
    plain = {"silu": lambda u: recurrences.mul(u, recurrences.sigmoid(u))}.get(name) or getattr(recurrences, name)
    expected = plain(series)
    largest = plain(torch.cat([series[:1], series[1:].abs()])).abs().amax(0) + expected.abs().amax(0) + 1
    eps = torch.finfo(dtype).eps
    assert ((value.repeat_interleave(partners, 0) - expected[0]).abs() <= 8 * eps * (1 + expected[0].abs())).all()
    assert ((w.transpose(0, 1) - expected[1:]).abs() <= 40 * (order + 1) * eps * largest).all()

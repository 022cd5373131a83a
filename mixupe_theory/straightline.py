"""Compiled pointwise functions of many Taylor series at once: the recurrences, unrolled for one order.

A recurrence of order K is some K^2 multiplications on numbers that fit in registers, but a loop of array operations
moves each of them through memory. Here its K steps are written out as straight-line code (:func:`source` shows it),
which numba turns into vector instructions. ``recurrences`` states the same equations plainly, and is what this is
tested against.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numba
import numpy as np
import torch

Statements = list[str]


@dataclass(frozen=True)
class Pointwise:
    """A function with an unrolled recurrence.

    Attributes:
        start: From u_0 to w_0 and the numbers that the recurrence starts from, by name.
        statements: (order, degree) -> the code from u1 .. u<degree> and the tables to w1 .. w<order>.
    """

    start: Callable[[torch.Tensor], tuple[torch.Tensor, dict[str, torch.Tensor]]]
    statements: Callable[[int, int], Statements]


def _product(u: str, w: str, k: int, first: int, last: int) -> str:
    """Sum over j = first..last of u_j w_{k-j}."""
    return " + ".join(f"{u}{j} * {w}{k - j}" for j in range(first, last + 1)) or "zero"


def _integral(w: str, p: str, k: int, degree: int) -> str:
    """The k-th coefficient of w where w' = p u', with v_j = j u_j."""
    return f"{w}{k} = inverse{k} * ({_product('v', p, k, 1, min(k, degree))})"


def _logistic(order: int, degree: int, w: str = "w") -> Statements:
    """w' = p u' where p is quadratic in w, as for tanh and sigmoid: p_k = slope w_k - sum_{0<j<k} w_j w_{k-j}."""
    lines = [f"v{j} = number{j} * u{j}" for j in range(1, degree + 1)]
    for k in range(1, order + 1):
        lines.append(_integral(w, "p", k, degree))
        half = _product(w, w, k, 1, (k - 1) // 2)
        middle = f" - {w}{k // 2} * {w}{k // 2}" if k % 2 == 0 else ""
        lines.append(f"p{k} = slope * {w}{k} - number2 * ({half}){middle}")
    return lines


def _softplus(order: int, degree: int) -> Statements:
    return _logistic(order, degree, "s") + [_integral("w", "s", k, degree) for k in range(1, order + 1)]


def _silu(order: int, degree: int) -> Statements:
    products = [f"w{k} = {_product('u', 's', k, 0, min(k, degree))}" for k in range(1, order + 1)]
    return _logistic(order, degree, "s") + products


def _gelu(order: int, degree: int) -> Statements:
    """w = u Phi(u), Phi' = phi u', phi' = -u u' phi with u u' = (u^2/2)', here t_j = j (u^2/2)_j."""
    lines = [f"v{j} = number{j} * u{j}" for j in range(1, degree + 1)]
    reach = min(order, 2 * degree)
    lines += [f"t{k} = {_product('v', 'u', k, max(1, k - degree), min(k, degree))}" for k in range(1, reach + 1)]
    for k in range(1, order + 1):
        lines.append(f"d{k} = -inverse{k} * ({_product('t', 'd', k, 1, min(k, reach))})")
        lines.append(_integral("c", "d", k, degree))
        lines.append(f"w{k} = {_product('u', 'c', k, 0, min(k, degree))}")
    return lines


def _relu(order: int, degree: int) -> Statements:
    """The branch of the first coefficient that is not zero."""
    branch = "zero"
    for j in range(degree, -1, -1):
        branch = f"(u{j} if u{j} != zero else {branch})"
    lines = [f"on = {branch} > zero"]
    return lines + [f"w{k} = (u{k} if on else zero)" if k <= degree else f"w{k} = zero" for k in range(1, order + 1)]


def _tanh_slope(u: torch.Tensor) -> torch.Tensor:
    """tanh' = 1/cosh^2, to full relative accuracy where it is tiny, which 1 - tanh^2 is not."""
    return u.cosh().square_().reciprocal_()


def _of_sigmoid(value: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], *kept: str) -> Callable:
    """The start of sigmoid's recurrence, and with it ``value`` of (u, sigmoid(u))."""

    def start(u):
        s = u.sigmoid()
        tables = {"p0": _tanh_slope(u / 2) / 4, "slope": 1 - 2 * s, "s0": s, "u0": u}
        return value(u, s), {name: tables[name] for name in ("p0", "slope", *kept)}

    return start


def _start_tanh(u):
    w = u.tanh()
    return w, {"p0": _tanh_slope(u), "slope": -2 * w}


def _start_gelu(u):
    cdf = torch.special.erfc(-u / 2**0.5) / 2  # keeps its digits for u << 0, which ndtr does not
    return u * cdf, {"d0": torch.exp(-u * u / 2) / (2 * torch.pi) ** 0.5, "c0": cdf, "u0": u}


FUNCTIONS = {
    "tanh": Pointwise(_start_tanh, _logistic),
    "sigmoid": Pointwise(_of_sigmoid(lambda u, s: s), _logistic),
    "softplus": Pointwise(_of_sigmoid(lambda u, s: torch.logaddexp(u, torch.zeros_like(u)), "s0"), _softplus),
    "silu": Pointwise(_of_sigmoid(lambda u, s: u * s, "s0", "u0"), _silu),
    "gelu": Pointwise(_start_gelu, _gelu),
    "relu": Pointwise(lambda u: (u.relu(), {"u0": u}), _relu),
}


def tables(name: str, u: torch.Tensor, *, affine: bool) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The function's value at u, and what a kernel starts from at each anchor."""
    value, start = FUNCTIONS[name].start(u)
    return value, start | {"u0": u} if affine else start


def source(name: str, order: int, width: int, *, affine: bool, in_place: bool = False) -> str:
    """The code of one kernel, for all pairs of some anchors and partners.

    The series of a pair, ``width`` numbers each, lie order by order, orders 1..K, in u and w; each anchor's tables one
    after the other. ``affine``: u holds order 0 of the partners instead; order 1 is its difference from the anchor's,
    and there is no other. ``in_place``: w is u, and must be written so for the compiler to see that it is.
    """
    function, degree = FUNCTIONS[name], 1 if affine else order
    names = list(tables(name, torch.zeros(1), affine=affine)[1])
    load = [f"{table} = start[anchor + {q * width} + l]" for q, table in enumerate(names)]
    if affine:
        load += [f"u1 = u[b * {width} + l] - u0"]
    else:
        load += [f"u{k} = u[pair + {(k - 1) * width} + l]" for k in range(1, order + 1)]
    target = "u" if in_place else "w"
    store = [f"{target}[pair + {(k - 1) * width} + l] = w{k}" for k in range(1, order + 1)]
    body = "\n".join(f"                {line}" for line in load + function.statements(order, degree) + store)
    return f"""
def kernel(u, start, w, anchors, partners):
    for a in range(anchors):
        anchor = a * {len(names) * width}
        for b in range(partners):
            pair = (a * partners + b) * {order * width}
            for l in range({width}):
{body}
"""


@lru_cache(maxsize=256)
def kernel(name: str, order: int, width: int, dtype: torch.dtype, *, affine: bool, in_place: bool = False) -> Callable:
    """The compiled kernel of :func:`source`'s arguments and a dtype; it takes flat numpy arrays and integers."""
    real = np.float32 if dtype == torch.float32 else np.float64
    # typed constants: a Python number would turn float32 arithmetic into float64
    constants = {"zero": real(0), "number2": real(2)}
    constants |= {f"number{k}": real(k) for k in range(1, order + 1)}
    constants |= {f"inverse{k}": real(1 / k) for k in range(1, order + 1)}
    exec(source(name, order, width, affine=affine, in_place=in_place), constants)
    return numba.njit(nogil=True, fastmath={"contract"}, error_model="numpy")(constants["kernel"])

"""Certificates: Theorem 1's identity for one pair, proved in ball arithmetic (python-flint) instead of tested.

Let phi(a) = ell(f(x_i + a (x_j - x_i)), y_i), I g(a) = int_0^a g, and a = 1 - lambda with lambda ~ D_lambda. The pair's
term of L_n^mix is E[phi(a)], its term of L_n^std is phi(0), and Taylor's formula with its integral remainder reads

    E[phi(a)] = phi(0) + sum_{k=1}^K E[a^k] phi^(k)(0)/k! + E[(I^(K+1) phi^(K+1))(a)].

Left side and remainder are integrals of one kind, of a function and of its derivative along the whole segment: nothing
is got by subtraction, so that the two sides agree is a statement about every factor of the theorem.
:mod:`mixupe_theory.enclosures` encloses such integrals, with the proof that it does.

The deck's nested form is a polynomial in a whose terms of degree <= k are the Taylor terms; its remainder is therefore
Taylor's minus the expectation of its terms of degree > k, again no difference of the two sides.
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

import torch
from torch import nn

from mixupe_theory import _validation as check
from mixupe_theory.mixing import BetaLaw, check_law

if TYPE_CHECKING:
    from flint import acb, arb, arb_poly

GAP = 1e-30  # a proved identity's two sides differ by less


@dataclass(frozen=True)
class Certificate:
    """Balls (``flint.arb``) around every quantity of Theorem 1 for one pair, orders k = 1..K.

    Attributes:
        mixup: The pair's term of L_n^mix, E[phi(a)].
        standard: The pair's term of L_n^std, phi(0).
        collected: K terms E[a^k] phi^(k)(0)/k!.
        taylor_remainder: K expected Taylor remainders after the term of order k, from phi^(k+1) along the segment.
        nested: K values of the deck's R with both sums truncated at k (cumulative).
        remainder: K values of what nested leaves, from ``taylor_remainder``.
        nodes: Number of points of the segment at which phi and its derivatives were enclosed.
        precision: Working precision in bits.
    """

    mixup: arb
    standard: arb
    collected: tuple[arb, ...]
    taylor_remainder: tuple[arb, ...]
    nested: tuple[arb, ...]
    remainder: tuple[arb, ...]
    nodes: int
    precision: int

    @property
    def gaps(self) -> tuple[arb, ...]:
        """2 K balls: mixup - standard - R - remainder, with R collected up to k = 1..K, then with R nested."""
        with _enclosures().arithmetic(self.precision):
            collected = zip(accumulate(self.collected), self.taylor_remainder, strict=True)
            nested = zip(self.nested, self.remainder, strict=True)
            return tuple(self.mixup - self.standard - terms - rest for terms, rest in (*collected, *nested))

    @property
    def gap(self) -> float:
        """An upper bound of the absolute value of every gap, infinite where a ball is."""
        return max(
            math.nextafter(float(gap.abs_upper()), math.inf) if gap.is_finite() else math.inf for gap in self.gaps
        )

    @property
    def proved(self) -> bool:
        """Whether every gap's ball contains 0 and has an upper bound below 1e-30."""
        return self.gap < GAP and not self.refuted

    @property
    def refuted(self) -> bool:
        """Whether some gap's ball excludes 0: a quantity is wrong. Neither proved nor refuted: too wide a ball."""
        return any(not gap.contains(0) for gap in self.gaps)


def certify(
    f: nn.Module,
    x_i: torch.Tensor,
    x_j: torch.Tensor,
    y_i,
    law: BetaLaw,
    order: int,
    head: str = "softmax",
    *,
    precision: int = 160,
) -> Certificate:
    """Enclose both sides of Theorem 1's identity for one pair (deck, "Theorem 1").

    The network is the mathematical function of its floating-point parameters: torch's rounding plays no part,
    softplus is analytic (no threshold), and ell = h(f) - y^T f for the given y, however its entries were rounded.

    Args:
        f: An nn.Linear, or an nn.Sequential of Linear, Tanh, Sigmoid, Softplus, SiLU and (exact) GELU.
        x_i: The point, (d,), floating point.
        x_j: The other point x', of x_i's shape and dtype.
        y_i: Class index of x_i, or its targets: (c,) in the simplex; with head "sigmoid" a value in [0, 1].
        law: The law of lambda, any alpha and beta > 0.
        order: Highest order K, at least 1.
        head: "softmax" or "sigmoid".
        precision: Working precision in bits, at least 128. More of it helps where the terms are huge.

    Returns:
        A :class:`Certificate`; its ``proved`` is the verdict.

    Raises:
        ModuleNotFoundError: If python-flint is not installed.
        NoEllipse: (a ValueError) if the loss has singularities too close to the segment.
        TypeError, ValueError: On bad arguments, naming them.

    Example:
        >>> x_i, x_j = torch.tensor([[0.5], [-0.5]], dtype=torch.float64)
        >>> certify(nn.Linear(1, 1).double(), x_i, x_j, 1.0, BetaLaw(0.3), order=3, head="sigmoid").proved
        True
    """
    balls = _enclosures()
    layers = _layers(f, balls.ACTIVATIONS)
    targets = _targets(f, x_i, x_j, y_i, head)
    check_law(law)
    order = check.integer("order", order, least=1)
    precision = check.integer("precision", precision, least=128)
    with balls.arithmetic(precision):
        path = balls.Path(layers, x_i.tolist(), x_j.tolist(), targets, head)
        (mixup, *taylor_remainder), nodes = balls.integrals(path, [0, *range(2, order + 2)], law)
        standard = path.values([balls.flint.arb(0)])[0]
        # the terms may be huge and cancel
        with balls.arithmetic(4 * precision):
            moments = _moments(law, order**2 + 1)
            logits, loss = path.coefficients(balls.flint.acb(0), order)
            collected = [moments[k] * loss[k].real for k in range(1, order + 1)]
            nested = [_nested_polynomial(logits, path.targets, k) for k in range(1, order + 1)]
            values = [_expectation(polynomial, moments) for polynomial in nested]
            tails = [_expectation(polynomial, moments, k + 1) for k, polynomial in enumerate(nested, start=1)]
        return Certificate(
            mixup=mixup,
            standard=standard,
            collected=tuple(collected),
            taylor_remainder=tuple(taylor_remainder),
            nested=tuple(values),
            remainder=tuple(rest - tail for rest, tail in zip(taylor_remainder, tails, strict=True)),
            nodes=nodes,
            precision=precision,
        )


def _moments(law: BetaLaw, count: int) -> list[arb]:
    """E[a^k], k < count, of a = 1 - lambda, lambda ~ D_lambda.

    They are [alpha (beta)_k + beta (alpha)_k] / [(alpha + beta) (alpha + beta + 1)_k], (z)_k = z (z + 1) ... (z + k-1).
    """
    from flint import arb

    alpha, beta = arb(law.alpha), arb(law.beta)
    total = alpha + beta

    def rising(z: arb):
        return accumulate((z + k for k in range(count - 1)), operator.mul, initial=arb(1))

    products = zip(rising(alpha), rising(beta), rising(total + 1), strict=True)
    return [(alpha * b + beta * a) / (total * t) for a, b, t in products]


def _nested_polynomial(logits: list[list[acb]], targets: list[arb], k: int) -> arb_poly:
    """The deck's R before its expectation, both sums truncated at k, a polynomial in a.

    With D = a Delta_i and H_r = J_h^r D^r/r!, it is H_1 + ... + H_k - y^T D. From e_r = sum_j p_j D_j^r/r!, p the
    softmax, sum_r H_r s^r = log(1 + sum_r e_r s^r) gives r H_r = r e_r - sum_{l<r} l H_l e_{r-l}.
    """
    from flint import arb, arb_poly

    top = max((u[0].real for u in logits), key=lambda u: float(u.mid()))
    weights = [(u[0].real - top).exp() for u in logits]
    deltas = [arb_poly([0, *(c.real for c in u[1 : k + 1])]) for u in logits]
    total = sum(weights)
    e = [
        sum((w / total / math.factorial(r) * d**r for w, d in zip(weights, deltas, strict=True)), arb_poly())
        for r in range(k + 1)
    ]
    h = [arb_poly()]
    for r in range(1, k + 1):
        h.append(e[r] - sum((arb(l) / r * h[l] * e[r - l] for l in range(1, r)), arb_poly()))
    return sum(h, arb_poly()) - sum((y * d for y, d in zip(targets, deltas, strict=True)), arb_poly())


def _expectation(polynomial: arb_poly, moments: list[arb], lowest: int = 0) -> arb:
    """E of the terms of degree >= lowest."""
    terms = list(zip(polynomial.coeffs(), moments, strict=False))[lowest:]
    return sum((c * moment for c, moment in terms), start=0 * moments[0])


def _enclosures():
    """:mod:`mixupe_theory.enclosures`, imported when first needed."""
    try:
        from mixupe_theory import enclosures
    except ModuleNotFoundError as error:
        message = 'certificates need python-flint: pip install "mixupe-theory[certify]"'
        raise ModuleNotFoundError(message, name=error.name) from error
    return enclosures


def _layers(f, activations: dict) -> list:
    """f as (weight, bias) pairs of lists and activation classes."""
    if not isinstance(f, nn.Module):
        raise TypeError(f"f must be an nn.Sequential or nn.Linear, got {type(f).__name__}")
    allowed = f"Linear, {', '.join(kind.__name__ for kind in activations)}"
    layers = []
    for name, module in f.named_modules():
        if type(module) is nn.Sequential:
            continue
        if type(module) is nn.Linear:
            bias = torch.zeros(module.out_features) if module.bias is None else module.bias
            layers.append((module.weight.tolist(), bias.tolist()))
            continue
        where = f"layer {name or 'f'!r} ({type(module).__name__})"
        if type(module) not in activations:
            raise ValueError(f"f must be a Sequential of {allowed}; {where} is none of them")
        if isinstance(module, nn.GELU) and module.approximate != "none":
            raise ValueError(f"f must have exact GELU, got approximate={module.approximate!r} in {where}")
        if isinstance(module, nn.Softplus) and module.beta != 1:
            raise ValueError(f"f must have Softplus with beta=1, got beta={module.beta} in {where}")
        layers.append(type(module))
    return layers


def _targets(f, x_i, x_j, y_i, head: str) -> list[float]:
    """y_i as targets, after a look at the point and the other one."""
    for name, x in (("x_i", x_i), ("x_j", x_j)):
        if not isinstance(x, torch.Tensor):
            raise TypeError(f"{name} must be a torch.Tensor of shape (d,), got {type(x).__name__}")
        if x.ndim != 1 or x.shape != x_i.shape or x.dtype != x_i.dtype:
            raise ValueError(f"{name} must have shape (d,), x_i's size and dtype; got {check.kind(x)}")
        check.inputs(name, x[None])
    y = torch.as_tensor(y_i)
    if y.is_floating_point():
        y = torch.as_tensor(y_i, dtype=x_i.dtype)
    with torch.no_grad():
        return check.problem(f, x_i[None], y[None], head)[0].tolist()

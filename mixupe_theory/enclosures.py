r"""The loss along a segment, and integrals of it and its derivatives, in ball arithmetic (needs python-flint).

Let phi(a) = ell(f(x_i + a (x_j - x_i)), y_i) and I g(a) = int_0^a g. :func:`integrals` encloses E[(I^k phi^(k))(a)], a
of a mixture of Beta laws: for k = 0 the mean of phi itself. No density, singular or not, is ever evaluated.

**Why the balls are enclosures.** Weights, inputs and the law's parameters are floats, hence exact; every operation is
flint's, whose result contains the exact one. What is left is the step from E[(I^k g)(a)], g = phi^(k), to finitely
many values of g:

1. *Analyticity.* E(b) is the ellipse with foci 0 and 1, of half height b and half width A(b) = sqrt(1/4 + b^2). Boxes
   cover its upper half, and phi' is evaluated on each (the lower half follows: phi(conj a) = conj phi(a)). Layers are
   compositions of functions analytic off their poles and cuts, and a box that meets one of these gives no finite
   ball; so where all are finite, f is analytic and S = sum_j exp f_j has no zero. E(b) is simply connected, so log S,
   and with it phi, has an analytic branch on E(b) that is phi on [0, 1]; phi' = S'/S - y^T f' needs no branch.
2. *Bounds.* Let M bound phi' on E(b). There phi is at most |phi(1/2)| + A(b) M, E(b) being convex. For k >= 2 take
   b' < b. Discs of radius d = A(b) - A(b') about the points of E(b') lie in E(b): the squares of the two support
   functions sqrt(A^2 cos^2 + b^2 sin^2) differ by a constant, so the functions differ least where they are largest,
   on the real axis. Hence phi^(k)/k! is at most M / (k d^(k-1)) on E(b'), Cauchy's inequality for phi'.
3. *Quadrature.* Let M bound g on E(b), and rho = 2 b + 2 A(b). The Chebyshev coefficients of g on [0, 1] are at most
   2 M rho^-m, and interpolation in the N + 1 points (1 + cos(pi j/N))/2 puts some T_l, l <= N, for each T_m, m > N. So
   the interpolant differs from g by at most sum_{m>N} 4 M rho^-m = 4 M rho^-N/(rho - 1) (Trefethen, Approximation
   Theory and Approximation Practice, theorems 8.1 and 8.2). g -> E[(I^k g)(a)] is linear and positive; of the
   interpolant it is a sum of values of g with weights got from E[T_m(2a - 1)], m <= N + k, and the rest changes it by
   at most E[(I^k 1)(a)] = E[a^k]/k! times that bound.

phi itself comes from flint's real functions, its derivatives from arithmetic of power series: two routes through f.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise

import flint
from torch import nn

from mixupe_theory.mixing import BetaLaw

TRUNCATION = 1e-33  # what interpolation may add to an integral over a measure of mass 1
TALLEST, LOWEST, STEP = 1.5, 1 / 128, 0.8  # half heights of the ellipses that are tried
BISECTIONS, BOXES = 4, 3000  # effort to cover one of them
ROOT_TEST = 24  # order of the series whose radius of convergence says which ellipse to try first
SHRINKINGS = (0.97, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5)  # b'/b
COARSE = 64  # bits; enough for bounds


class NoEllipse(ValueError):
    """The loss could not be shown to be analytic on any ellipse about the segment."""


@contextmanager
def arithmetic(bits: int) -> Iterator[None]:
    """Work in balls of ``bits`` bits and in series of any length; flint's global settings are put back."""
    before = flint.ctx.prec, flint.ctx.cap
    try:
        flint.ctx.prec, flint.ctx.cap = bits, 10**6
        yield
    finally:
        flint.ctx.prec, flint.ctx.cap = before


def _sigmoid(u):
    return (1 + (-u).exp()).inv()


def _softplus(u):
    inside = 1 + u.exp()
    if inside[0].log(analytic=True).is_finite():
        return inside.log()
    return inside * flint.acb("nan")  # a box across the logarithm's cut


# of a real ball, and of a power series with complex coefficients
ACTIVATIONS: dict[type, tuple[Callable, Callable]] = {
    nn.Tanh: (lambda u: u.tanh(), lambda u: 1 - 2 * _sigmoid(-2 * u)),
    nn.Sigmoid: (lambda u: 1 / (1 + (-u).exp()), _sigmoid),
    nn.Softplus: (lambda u: u.exp().log1p(), _softplus),
    nn.SiLU: (lambda u: u / (1 + (-u).exp()), lambda u: u * _sigmoid(u)),
    nn.GELU: (
        lambda u: u * (-u / flint.arb(2).sqrt()).erfc() / 2,
        lambda u: u * (1 + (u / flint.arb(2).sqrt()).erf()) / 2,
    ),
}


class Path:
    """phi, for a network of (weight, bias) pairs of lists and activation classes.

    Args:
        layers: The network.
        x_i: Floats; the path starts here.
        x_j: Floats; the path is here at a = 1.
        targets: Floats, c of them (head "sigmoid": 1).
        head: "softmax" or "sigmoid".
    """

    def __init__(self, layers: list, x_i: list[float], x_j: list[float], targets: list[float], head: str):
        self.layers = [
            layer if isinstance(layer, type) else (flint.arb_mat(layer[0]), flint.arb_mat([[b] for b in layer[1]]))
            for layer in layers
        ]
        self.targets = [flint.arb(t) for t in targets]
        # a sigmoid head is the softmax of (0, f) with targets (1 - y, y)
        self.zero_logit = head == "sigmoid"
        if self.zero_logit:
            self.targets.insert(0, 1 - self.targets[0])
        line = flint.arb_mat([[start, flint.arb(end) - start] for start, end in zip(x_i, x_j, strict=True)])
        while self.layers and isinstance(self.layers[0], tuple):  # affine maps act on the line, once
            weight, bias = self.layers.pop(0)
            line = weight * line + bias * flint.arb_mat([[1, 0]])
        self.line = line

    def values(self, points: list[flint.arb]) -> list[flint.arb]:
        """phi at real points."""

        def activate(kind, u):
            return flint.arb_mat(u.nrows(), u.ncols(), [ACTIVATIONS[kind][0](entry) for entry in u.entries()])

        logits = self._logits(flint.arb_mat, [1] * len(points), points, activate)
        return [self._loss(list(column), lambda u: u) for column in zip(*logits, strict=True)]

    def coefficients(self, centre: flint.acb, order: int) -> tuple[list[list[flint.acb]], list[flint.acb]]:
        """Taylor coefficients 0..order about a point or box: of each logit, and of phi (order 0 up to a branch)."""
        length = order + 1

        def row(u: list) -> flint.acb_series:
            return flint.acb_series(u, prec=length)

        def padded(u: flint.acb_series) -> list:
            return u.coeffs() + [flint.acb(0)] * (length - len(u))

        def activate(kind, u):
            return flint.acb_mat([padded(ACTIVATIONS[kind][1](row(entries))) for entries in u.tolist()])

        with arithmetic(flint.ctx.prec):  # flint truncates series at ctx.cap
            logits = self._logits(flint.acb_mat, [1] + [0] * order, [centre, 1] + [0] * (order - 1), activate)
            return logits, padded(self._loss([row(u) for u in logits], lambda u: u[0].real))

    def _logits(self, matrix: type, one: list, variable: list, activate: Callable) -> list[list]:
        """The network on the line, given what stands for 1 and for a: values at points, or power series."""
        one = matrix([one])
        u = matrix(self.line) * matrix([one.entries(), variable])
        for layer in self.layers:
            u = activate(layer, u) if isinstance(layer, type) else matrix(layer[0]) * u + matrix(layer[1]) * one
        rows = u.tolist()
        return [[0 * entry for entry in rows[0]], *rows] if self.zero_logit else rows

    def _loss(self, logits: list, size: Callable):
        """log sum exp - y^T logits, of numbers or of series."""
        top = max(logits, key=lambda u: float(size(u).mid()))
        linear = sum(y * u for y, u in zip(self.targets, logits, strict=True))
        return top + sum((u - top).exp() for u in logits).log() - linear


def integrals(path: Path, orders: list[int], law: BetaLaw) -> tuple[list[flint.arb], int]:
    """Enclose E[(I^k phi^(k))(a)], I the integral from 0, of a = 1 - lambda with lambda ~ law.tilted().

    Args:
        path: phi.
        orders: The k's, increasing, without 1.
        law: The law of lambda before tilting.

    Returns:
        The integrals, in the order of ``orders``, and how many points they took.
    """
    degree, errors = _rule(path, orders)
    with arithmetic(flint.ctx.prec + 2 * degree):  # the recurrence of _mean_chebyshev may lose 1.3 bits at each step
        alpha, beta = flint.arb(law.alpha), flint.arb(law.beta)
        components = (_mean_chebyshev(p, q + 1, degree + orders[-1]) for p, q in ((beta, alpha), (alpha, beta)))
        means = [[(alpha * u + beta * w) / (alpha + beta) for u, w in zip(*components, strict=True)]]
        for _ in range(orders[-1]):
            means.append(_integrated(means[-1]))
    points = [(1 + flint.arb.cos_pi_fmpq(flint.fmpq(j, degree))) / 2 for j in range(degree + 1)]
    series = [path.coefficients(flint.acb(a), orders[-1])[1] for a in points]
    result = []
    for k in orders:
        values = [phi[k].real for phi in series] if k else path.values(points)
        interpolated = sum(w * v for w, v in zip(_weights(means[k][: degree + 1]), values, strict=True))
        result.append(math.factorial(k) * (interpolated + means[k][0] * errors[k] * flint.arb(0, 1)))
    return result, degree + 1


def _mean_chebyshev(p: flint.arb, q: flint.arb, degree: int) -> list[flint.arb]:
    """M_m = E[T_m(2a - 1)], m = 0..degree, of a ~ Beta(p, q).

    The integral over [-1, 1] of the derivative of (1 - x^2) w(x) T_m(x), w = (1 + x)^(p-1) (1 - x)^(q-1), is 0:
    (p + q + m) M_{m+1} = 2 (p - q) M_m + (m - p - q) M_{m-1}.
    """
    means = [flint.arb(1), (p - q) / (p + q)]
    for m in range(1, degree):
        means.append((2 * (p - q) * means[m] + (m - p - q) * means[m - 1]) / (p + q + m))
    return means


def _integrated(means: list[flint.arb]) -> list[flint.arb]:
    """L(I T_m), one fewer, from L(T_m) for a linear functional L, with T_m(2a - 1) on [0, 1] and I the integral from 0.

    I T_m = (T_{m+1}/(m+1) - T_{m-1}/(m-1))/4 - (-1)^m/(2 (m^2 - 1)) for m >= 2, since T_m = (-1)^m at a = 0.
    """
    result = [(means[0] + means[1]) / 2, (means[2] - means[0]) / 8]
    for m in range(2, len(means) - 1):
        constant = means[0] / (2 * (m * m - 1))
        ends = (means[m + 1] / (m + 1) - means[m - 1] / (m - 1)) / 4
        result.append(ends + constant if m % 2 else ends - constant)
    return result


def _weights(means: list[flint.arb]) -> list[flint.arb]:
    """Weights of the points (1 + cos(pi j/N))/2 giving T_m(2a - 1), m = 0..N, these means: a cosine transform."""
    n = len(means) - 1
    transform = flint.acb.dft(means + means[-2:0:-1])
    return [transform[j].real / (n if 0 < j < n else 2 * n) for j in range(n + 1)]


def _rule(path: Path, orders: list[int]) -> tuple[int, dict[int, flint.arb]]:
    """N, and by k a bound of the distance of phi_k to its interpolant in N + 1 points (steps 2 and 3 above)."""
    with arithmetic(COARSE):
        height, slope = _analytic_ellipse(path)
        centre = path.values([flint.arb(0.5)])[0]
        choices = {}
        for k in orders:
            bounds = []  # (bound of phi_k, rho) on ellipses
            for ratio in SHRINKINGS if k > 1 else (1.0,):
                inner = height * ratio
                distance = _half_width(height) - _half_width(inner)
                bound = slope * distance ** (1 - k) / k if k else abs(centre) + _half_width(height) * slope
                bounds.append((bound, 2 * inner + 2 * _half_width(inner)))
            choices[k] = min(bounds, key=lambda choice: _degree(*choice))
        degree = max(_degree(*choice) for choice in choices.values())
        return degree, {k: (4 * bound / rho**degree / (rho - 1)).upper() for k, (bound, rho) in choices.items()}


def _degree(bound: flint.arb, rho: flint.arb) -> int:
    """The N with 4 bound rho^-N / (rho - 1) about TRUNCATION, at least 2."""
    excess = (4 * bound / (rho - 1) / TRUNCATION).max(flint.arb(1))
    return max(2, math.ceil(float((excess.log() / rho.log()).upper())))


def _half_width(half_height: float) -> flint.arb:
    return (flint.arb(half_height) ** 2 + 0.25).sqrt()


def _analytic_ellipse(path: Path) -> tuple[float, flint.arb]:
    """Half height of an ellipse on which phi is analytic, and a bound of phi' there."""
    height = STEP * _height_by_root_test(path)  # at the height itself there is a singularity
    while height >= LOWEST:
        slope = _slope_bound(path, height)
        if slope is not None:
            return height, slope
        height *= STEP
    raise NoEllipse(
        f"the loss could not be shown to be analytic within {LOWEST:.1g} of the segment from x_i to x_j (lengths in "
        "units of it): f varies too fast along it; take x_j nearer to x_i"
    )


def _height_by_root_test(path: Path) -> float:
    """About the height of the tallest ellipse without singularities, from radii of convergence along the segment.

    Only a first guess, so floats do.
    """
    height = TALLEST
    for angle in range(1, 16):
        a = (1 - math.cos(math.pi * angle / 16)) / 2
        phi = path.coefficients(flint.acb(a), ROOT_TEST)[1]
        roots = [abs(float(phi[k].real.mid())) ** (1 / k) for k in range(ROOT_TEST - 8, ROOT_TEST + 1)]
        height = min(height, 1 / max(max(roots), 1e-9) / math.sin(math.pi * angle / 16))
    return height


def _slope_bound(path: Path, half_height: float) -> flint.arb | None:
    """A bound of phi' on the ellipse, by boxes over its upper half; None if a smallest box is not finite."""
    height = half_height * (1 + 1e-9)  # covers the rounding of what follows
    width = math.sqrt(0.25 + half_height**2) * (1 + 1e-9)
    strips = max(2, math.ceil(2 * width / height))
    edges = [0.5 - width + 2 * width * k / strips for k in range(strips + 1)]
    boxes = [(left, right, 0.0, height, 0) for left, right in pairwise(edges)]
    slope, tried = flint.arb(0), 0
    while boxes:
        left, right, low, high, depth = boxes.pop()
        outside = max(0.0, left - 0.5, 0.5 - right) / width
        top = height * math.sqrt(max(0.0, 1 - outside**2)) * (1 + 1e-9)
        if low > top:
            continue
        high = min(high, top)
        box = flint.acb(flint.arb(left).union(right), flint.arb(low).union(high))
        derivative = path.coefficients(box, 1)[1][1]
        tried += 1
        if derivative.is_finite():
            slope = slope.max(derivative.abs_upper())
        elif depth == BISECTIONS or tried > BOXES:
            return None
        else:
            x, y = (left + right) / 2, (low + high) / 2
            boxes += [(*h, *v, depth + 1) for v in ((low, y), (y, high)) for h in ((left, x), (x, right))]
    return slope

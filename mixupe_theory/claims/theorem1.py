"""Claims about Theorem 1's formula: the identity, each of its factors, its derivation, its first order."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from sympy import QQ, ring
from torch import nn

from mixupe_theory.claims.ledger import Claim, Evidence, any_of
from mixupe_theory.claims.references import (
    PLANTED_ERRORS,
    beta_rule,
    printed_formula,
    remainders_of_theorem1,
    slope,
    tilted_rule,
)
from mixupe_theory.claims.theorem1_certificates import CLAIMS as CERTIFICATE_CLAIMS
from mixupe_theory.claims.theorem1_radius import CLAIMS as RADIUS_CLAIMS
from mixupe_theory.claims.theorem1_series import CLAIMS as SERIES_CLAIMS
from mixupe_theory.losses import mean_response, mixup_loss, pointwise_loss
from mixupe_theory.mixing import BetaLaw
from mixupe_theory.networks import balanced, digits, load
from mixupe_theory.taylor import taylor_coefficients
from mixupe_theory.theorem1 import convergence_radius, expand, nested_polynomials

EPS = torch.finfo(torch.float64).eps
ACTIVATIONS = {"tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "softplus": nn.Softplus, "GELU": nn.GELU}
ORDER = 6


# --- the identity -----------------------------------------------------------------------------------------------


def _small_network(activation, classes: int, seed: int):
    rng = np.random.default_rng(seed)
    f = nn.Sequential(nn.Linear(2, 4), activation(), nn.Linear(4, classes)).double().requires_grad_(False)
    for p in f.parameters():
        p.copy_(torch.from_numpy(rng.normal(0, 0.6, p.shape)))
    return f, torch.from_numpy(rng.normal(0, 0.7, (3, 2))), torch.from_numpy(rng.dirichlet(np.ones(3), 3))


@cache
def _identity_cases():
    """(library's remainders, integral remainders, their quadrature error, the loss) for every case and K = 1..6."""
    law, cases = BetaLaw(0.7, 1.2), []
    with torch.no_grad():
        for seed, activation in enumerate(ACTIVATIONS.values()):
            for head, classes in (("softmax", 3), ("sigmoid", 1)):
                f, x, targets = _small_network(activation, classes, seed)
                targets = targets if head == "softmax" else targets[:, :1]
                cases.append((f, x, targets, head, ORDER))
        # a trained network on real images: a tenth of the way from a 0 to a 1, where few nodes do
        x, y = balanced(*digits(), 2)
        x = torch.stack([x[0], torch.lerp(x[0], x[1], 0.1)])
        cases.append((load("digits-tanh-mixup-1"), x, nn.functional.one_hot(y, 10).double(), "softmax", 3))
        results = []
        for f, x, targets, head, order in cases:
            expansion = expand(f, x, targets, law, order, head, rtol=1e-13)
            fine, coarse = remainders_of_theorem1(f, x, targets, head, law, order)
            loss = expansion.mixup.expand(order)
            results.append(torch.stack([expansion.remainder, fine, (fine - coarse).abs(), loss]))
    return torch.cat(results, 1).numpy()


def _identity(scale: float = 1.0) -> Evidence:
    library, reference, quadrature, loss = _identity_cases()
    allowed = 100 * EPS * loss + quadrature
    error = np.abs(library - scale * reference)
    return Evidence(
        bool((error <= allowed).all() and (allowed <= np.abs(reference) / 100).all()),
        {
            "cases": len(library),
            "largest error": float(error.max()),
            "worst allowed / remainder": float((allowed / np.abs(reference)).max()),
        },
        "100 float64 roundings of the loss plus the reference's quadrature error, from two rules; it must stay below "
        "1 % of the remainder, or the check would be void",
    )


def _gradient(with_remainder: bool = True) -> Evidence:
    """grad L_mix against grad (L_std + R), R the truncated formula plus the integral remainder, K = 2."""
    f, x, targets = _small_network(nn.Tanh, 3, seed=0)
    f.requires_grad_(True)
    law, k = BetaLaw(1.0), 2

    def gradient(value):
        return torch.cat([g.flatten() for g in torch.autograd.grad(value, list(f.parameters()), retain_graph=True)])

    mixup = gradient(mixup_loss(f, x, targets, law, rtol=1e-13))
    expansion = expand(f, x, targets, law, k, rtol=1e-13)
    parts = [gradient(expansion.standard + expansion.nested[-1])]
    parts += [gradient(r[-1]) for r in remainders_of_theorem1(f, x, targets, "softmax", law, k)]
    quadrature = (parts[1] - parts[2]).norm().item()
    error = (mixup - parts[0] - with_remainder * parts[1]).norm().item()
    allowed = 1e3 * EPS * mixup.norm().item() + quadrature
    return Evidence(
        error <= allowed,
        {"gradient error": error, "allowed": allowed, "gradient": mixup.norm().item()},
        "1000 float64 roundings of the gradient plus the reference's quadrature error",
    )


# --- the factors ------------------------------------------------------------------------------------------------


@cache
def _digit_paths(order: int, n: int = 10):
    """Real pairs of a trained network, with derivatives along them and a's that are fractions of their radius."""
    f = load("digits-tanh-mixup-1")
    x, y = balanced(*digits(), n)
    i, j = (t.flatten() for t in torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij"))
    i, j = i[i != j], j[i != j]
    targets = nn.functional.one_hot(y, 10).double()[i]
    coefficients = taylor_coefficients(f, x[i], x[j] - x[i], order)
    return f, x[i], x[j] - x[i], targets, coefficients, convergence_radius(f, x)[i, j][:, None]


def _factors(error: str | None = None, order: int = 3) -> Evidence:
    """Order of what the printed formula misses, and its agreement with the library's polynomials."""
    f, x, v, targets, coefficients, radius = _digit_paths(order)
    derivatives = [c * math.factorial(k) for k, c in enumerate(coefficients)]
    start = pointwise_loss(coefficients[0], targets)
    polynomials = nested_polynomials(coefficients, targets)[-1]
    fractions, misses, gap = np.array([1 / 8, 1 / 16, 1 / 32]), [], 0.0
    for fraction in fractions:
        a = fraction * radius
        printed = printed_formula(derivatives, targets, "softmax", a, error)
        misses.append((pointwise_loss(f(x + a * v), targets) - start - printed).abs().mean().item())
        terms = polynomials * a ** torch.arange(polynomials.shape[1])
        gap = max(gap, ((printed - terms.sum(1)).abs() / terms.abs().sum(1)).max().item())
    measured = slope(fractions, np.array(misses))
    return Evidence(
        abs(measured - (order + 1)) < 0.25 and gap <= 1e3 * EPS,
        {"slope": measured, "expected": order + 1, "gap to the library": gap},
        "orders are whole numbers, so a slope within 1/4 of K + 1 decides; the gap is rounding of the terms summed",
    )


def _derivation(error: str | None = None, order: int = 4) -> Evidence:
    """The printed formula for generic f (two outputs) and h, as polynomials in symbols, to order 4 and one beyond.

    Every Taylor coefficient of f along the path and every partial derivative of h is a free symbol, so agreement in
    each power of a up to K is a proof for all f and h of two outputs; the power K + 1 must differ.
    """
    top = order + 1
    partials = [(p, q) for p in range(top + 1) for q in range(top + 1 - p) if p + q]
    names = ["a", *(f"c{m}{k}" for m in range(2) for k in range(1, top + 1)), "y0", "y1"]
    names += [f"h{p}_{q}" for p, q in partials]
    symbols = dict(zip(names, ring(names, QQ)[1:], strict=True))
    a, zero = symbols["a"], symbols["a"] * 0

    def truncate(polynomial):
        return polynomial.ring.from_dict({m: c for m, c in polynomial.items() if m[0] <= top})

    def powers(polynomial):
        series = [zero + 1]
        for _ in range(top):
            series.append(truncate(series[-1] * polynomial))
        return series

    def h_terms(w, degree):
        """sum over p + q = degree of h_pq w0^p w1^q/(p! q!), that is J_h^degree w^degree / degree!"""
        w0, w1 = (powers(component) for component in w)
        terms = (
            symbols[f"h{p}_{q}"] * truncate(w0[p] * w1[q]) * QQ(1, math.factorial(p) * math.factorial(q))
            for p, q in partials
            if p + q == degree
        )
        return sum(terms, zero)

    true_orders = []
    for k in range(1, order + 1):
        path = [sum((symbols[f"c{m}{r}"] * a**r for r in range(1, top + 1)), zero) for m in range(2)]
        shift = 0 if error == "a^k for a^(k-1) in Delta" else 1
        scale = (lambda r: math.factorial(r)) if error == "no 1/k! in Delta" else (lambda r: 1)
        delta = [
            sum((scale(r) * symbols[f"c{m}{r}"] * a ** (r - shift) for r in range(1, k + 1)), zero) for m in range(2)
        ]
        exact = sum((h_terms(path, degree) for degree in range(1, top + 1)), zero)
        exact -= sum((symbols[f"y{m}"] * path[m] for m in range(2)), zero)
        printed = zero
        for degree in range(1, k + 1):
            factor = math.factorial(degree) if error == "no 1/k! outside" else 1
            power = degree - 1 if error == "a^(k-1) for a^k outside" else degree
            printed += truncate(h_terms(delta, degree) * a**power) * factor * (-1 if error == "J_h = -g" else 1)
        sign = 1 if error == "plus y" else -1
        printed += sign * a * sum((symbols[f"y{m}"] * delta[m] for m in range(2)), zero)
        difference = truncate(exact - printed)
        true_orders.append(min(monomial[0] for monomial in difference))
    expected = list(range(2, order + 2))
    return Evidence(
        true_orders == expected,
        {"first power of a that differs, K = 1..4": str(true_orders), "expected": str(expected)},
        "none: exact rational arithmetic",
    )


def _all_planted(check) -> Evidence:
    return any_of({error: check(error) for error in PLANTED_ERRORS})


# --- J_h and the first order ------------------------------------------------------------------------------------


def _gradient_of_h(response=mean_response) -> Evidence:
    """g against the complex-step derivative of h, exact to rounding."""
    rng = np.random.default_rng(0)
    worst = 0.0
    for head, c in (("softmax", 5), ("sigmoid", 1)):
        logits = rng.normal(0, 4, (200, c))
        g = response(torch.from_numpy(logits), head).numpy()
        for k in range(c):
            z = logits + 1e-200j * np.eye(c)[k]
            largest = z.real.max(1, keepdims=True).clip(0 if head == "sigmoid" else -np.inf)
            total = np.exp(z - largest).sum(1) + (np.exp(-largest[:, 0]) if head == "sigmoid" else 0)
            # h = largest + log(total): its imaginary part is that of log(total)
            worst = max(worst, np.abs(np.angle(total, deg=False) / 1e-200 - g[:, k]).max())
    return Evidence(worst <= 100 * EPS, {"largest error": float(worst)}, "100 roundings of a number of at most 1")


def _first_order(sign: float = 1.0, tilted: bool = True) -> Evidence:
    """Order 1 of the expansion against D^1 = E[a]/n sum_i q(x_i), q by one JVP along E[x'] - x_i.

    The mixup loss itself plays no part, so its accuracy is not asked for.
    """
    worst = 0.0
    for name in ("digits-tanh-erm", "digits-tanh-mixup-1"):
        f, (x, y) = load(name), balanced(*digits(), 40)
        targets = nn.functional.one_hot(y, 10).double()
        for law in (BetaLaw(1.0), BetaLaw(0.2), BetaLaw(2.0, 0.5)):
            first = expand(f, x, targets, law, 1, rtol=0.1)
            out, along = torch.func.jvp(f, (x,), (x.mean(0) - x,))
            q = ((mean_response(out) - sign * targets) * along).sum(1)
            lam, weights = tilted_rule(law, 8) if tilted else beta_rule(law.alpha, law.beta, 8)
            mean_a = (1 - lam) @ weights
            size = ((mean_response(out) + targets) * along.abs()).sum(1).mean().item()
            d1 = mean_a * q.mean()
            for value in (first.collected[0], first.nested[0]):
                worst = max(worst, (value - d1).abs().item() / size)
    return Evidence(
        worst <= 1e4 * EPS,
        {"largest error, in units of the terms summed": worst},
        "rounding: at most 1600 pairs of ten terms each are summed",
    )


CLAIMS = (
    Claim(
        id="theorem1.identity",
        title="Mixup loss = standard loss + R",
        slide="Theorem 1",
        statement=r"$L_n^{mix}=L_n^{std}+R$ with $R$ as printed, $K=1..6$",
        verdict="holds",
        finding="To 100 roundings against Taylor's integral remainder: four activations, both heads, a network trained "
        "on digits ($D_\\lambda$ as above).",
        check=_identity,
        control=lambda: any_of({"remainder 0.1 % off": _identity(1.001), "no remainder": _identity(0.0)}),
    ),
    *CERTIFICATE_CLAIMS,
    Claim(
        id="theorem1.equivalence",
        title="Minimizing mixup = minimizing ERM + R",
        slide="Implication of Theorem 1",
        statement="Minimizing mixup loss is equivalent to adding an implicit regularization $R$ to ERM loss",
        verdict="holds if $R$ keeps its remainder",
        finding="The gradients agree to rounding with the remainder in $R$, and not without it.",
        check=_gradient,
        control=lambda: _gradient(with_remainder=False),
    ),
    Claim(
        id="theorem1.factors",
        title="Each factor of the printed R",
        slide="Theorem 1",
        statement=r"Each factor of $R$: $\frac{a^k}{k!}\mathbf{J}_h^k\Delta_i^{\otimes k}-a\mathbf{y}_i^\top\Delta_i$, "
        r"$\Delta_i=\sum_k\frac{a^{k-1}}{k!}\mathbf{J}_f^k(\mathbf{x}'-\mathbf{x}_i)^{\otimes k}$",
        verdict="holds",
        finding="Right in each factor: any of six planted errors lowers the order of what is missed.",
        check=_factors,
        control=lambda: _all_planted(_factors),
    ),
    Claim(
        id="theorem1.derivation",
        title="The derivation, symbolically",
        slide="Theorem 1",
        statement="The expansion holds for generic $f$ and $h$",
        verdict="holds",
        finding="Proved symbolically to order 4 with every derivative a free symbol.",
        check=_derivation,
        control=lambda: _all_planted(_derivation),
    ),
    Claim(
        id="theorem1.gradient-of-h",
        title="The Jacobian of h is g",
        slide="Theorem 1",
        statement=r"$\mathbf{J}_h(f_\theta)(\mathbf{x}_i)=g(f_\theta(\mathbf{x}_i))^\top$, $g$ the softmax or sigmoid",
        verdict="holds",
        finding="To rounding, for both heads.",
        check=_gradient_of_h,
        control=lambda: _gradient_of_h(lambda logits, head: logits.sigmoid() if head == "softmax" else logits.tanh()),
    ),
    Claim(
        id="theorem1.first-order",
        title="First order = D¹ of the later slide",
        slide="Proposed MixupE",
        statement=r"The first order of $R$ is $D^1=\frac1n\mathbb{E}_{D_\lambda}[a]\sum_i q(\mathbf{x}_i)$, "
        r"$q(\mathbf{x}_i)=(g-\mathbf{y}_i)^\top\mathbf{J}_f(\mathbb{E}[\mathbf{x}']-\mathbf{x}_i)$",
        verdict="holds",
        finding="Equal to the expansion's first order on trained networks.",
        check=_first_order,
        control=lambda: any_of({"plus y": _first_order(sign=-1.0), "E[a] under Beta": _first_order(tilted=False)}),
    ),
    *SERIES_CLAIMS,
    *RADIUS_CLAIMS,
)

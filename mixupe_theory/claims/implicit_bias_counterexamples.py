"""Claims about why the directions differ: two points, three points, linear equivariance."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from mixupe_theory.claims.implicit_bias_measurements import DRAWS, THREE_POINTS, TWO_POINTS, soudry
from mixupe_theory.claims.ledger import Claim, Evidence, any_of
from mixupe_theory.claims.references import beta_rule
from mixupe_theory.implicit_bias import angle, kkt, max_margin, mixup_minimizer, signed_inputs
from mixupe_theory.mixing import BetaLaw

ALPHAS = (0.1, 1.0, 10.0)


def _two_points(direction=(1, -6)) -> Evidence:
    """x = (1, 0) with label 1, (-7, -1) with label 0: exact directions in rational numbers, and mixup's minimizer."""
    x, y = TWO_POINTS
    z = [[Fraction(int(v)) for v in row] for row in signed_inputs(x, y)]
    # hard margin: w = z_0 has margins 1 and 7, multipliers 1 and 0: the KKT conditions, exactly
    w_hat = z[0]
    margins = [sum(a * b for a, b in zip(w_hat, row, strict=True)) for row in z]
    exact = margins == [1, 7] and kkt(x, y, np.array(w_hat, dtype=float))[1] < 1e-15
    # mixup: exchanging the points exchanges the margins, so by uniqueness they are equal: w is a multiple of (1, -6)
    equal = [sum(Fraction(a) * b for a, b in zip(direction, row, strict=True)) for row in z]
    exact = exact and equal[0] == equal[1] > 0
    worst, worst_scale = 0.0, 0.0
    for alpha in ALPHAS:
        w = mixup_minimizer(x, y, BetaLaw(alpha)).w
        worst = max(worst, float(angle(w, np.array(direction, dtype=float))))
        worst_scale = max(worst_scale, abs(w[0] / _common_margin(alpha) - 1))
    degrees = float(np.degrees(angle(np.array([1.0, 0.0]), np.array(direction, dtype=float))))
    return Evidence(
        bool(exact and worst < 1e-9 and worst_scale < 1e-9 and degrees > 80),
        {"angle (degrees)": degrees, "largest angle to (1, -6)": worst, "error of the common margin": worst_scale},
        "the minimizer's accuracy, 1e-12 of its norm, times the inputs' condition number, below 10^2",
    )


def _common_margin(alpha: float) -> float:
    """The margin c of two points: it minimizes softplus(-c) + E[softplus(u) - lambda u], u = (2 lambda - 1) c."""
    lam, weights = (t.numpy() for t in beta_rule(alpha, alpha, 200))
    return brentq(
        lambda c: -expit(-c) + weights @ ((expit((2 * lam - 1) * c) - lam) * (2 * lam - 1)), 1e-3, 100, xtol=1e-14
    )


def _misclassifies(points=THREE_POINTS) -> Evidence:
    """A separable data set whose mixup minimizer gets a training point wrong, with an error bound on the margin."""
    x, y = points
    z = signed_inputs(x, y)
    found = mixup_minimizer(x, y, BetaLaw(1.0))
    bound = 1e3 * (found.accuracy + np.finfo(float).eps * np.linalg.norm(found.w)) * np.linalg.norm(z, axis=1).max()
    margins, best = z @ found.w, 1 / np.linalg.norm(max_margin(x, y))
    return Evidence(
        bool(margins.min() < -bound and best > 0),
        {
            "mixup's least margin / ||w||": float(margins.min() / np.linalg.norm(found.w)),
            "the largest possible": float(best),
            "error bound": float(bound),
        },
        "1000 times the Newton step that a finer rule would take, and rounding",
    )


SOLVERS = {"mixup": lambda x, y: mixup_minimizer(x, y, BetaLaw(1.0)).w, "hard margin": max_margin}


@cache
def _moved() -> list[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    """(solver, A, w(X), w(AX)) for 30 random maps A and draws of Soudry's data."""
    rng, cases = np.random.default_rng(0), []
    for seed in range(DRAWS):
        (x, y), a = soudry(seed), rng.normal(size=(2, 2)) + 2 * np.eye(2)
        cases += [(name, a, solve(x, y), solve(x @ a.T, y)) for name, solve in SOLVERS.items()]
    return cases


def _equivariance(transport=lambda a: np.linalg.inv(a).T) -> Evidence:
    """w*(AX) against A^-T w*(X), and the same of the hard-margin vector."""
    errors = {name: [] for name in SOLVERS}
    for name, a, w, moved in _moved():
        expected = transport(a) @ w
        errors[name].append(np.linalg.norm(moved - expected) / np.linalg.norm(expected))
    return Evidence(
        bool(max(errors["mixup"]) < 1e-8 and np.median(errors["hard margin"]) > 0.01),
        {
            "mixup, largest relative error": float(max(errors["mixup"])),
            "hard margin, median": float(np.median(errors["hard margin"])),
        },
        "the minimizer's accuracy times the maps' condition numbers, below 10^3",
    )


CLAIMS = (
    Claim(
        id="implicit_bias.two-points",
        title="Two points, 80 degrees",
        slide="Same implicit bias on Linear Model",
        statement="Addition: for $x=(1,0)$ with label 1 and $(-7,-1)$ with label 0 mixup's direction is $(1,-6)$ for "
        "every $\\alpha$, the max-margin one $(1,0)$",
        verdict="holds",
        finding="The angle is $\\arctan 6=80.5^\\circ$, and $\\arctan(a-1)$ with $a$ for 7: as close to $90^\\circ$ "
        "as one likes. No smaller data set exists: one point has one class, and in $d=1$ there is one direction.",
        check=_two_points,
        control=lambda: _two_points(direction=(1, 0)),
    ),
    Claim(
        id="implicit_bias.training-errors",
        title="Mixup may not even separate",
        slide="Same implicit bias on Linear Model",
        statement="Addition: on separable data mixup's minimizer can misclassify a training point: $(1,1),(-1,-2)$ "
        "with label 1, $(-2,2)$ with label 0, $\\alpha=1$",
        verdict="holds",
        finding="$(1,1)$ gets a negative margin. With two independent points it cannot happen: their margins are "
        "equal.",
        check=_misclassifies,
        control=lambda: _misclassifies(TWO_POINTS),
    ),
    Claim(
        id="implicit_bias.equivariance",
        title="Mixup is linearly equivariant, the margin is not",
        slide="Same implicit bias on Linear Model",
        statement=r"Addition: $w^*(AX)=A^{-\top}w^*(X)$ for invertible $A$; the $L_2$ max-margin vector has no such "
        r"property, so "
        "the two cannot agree in general",
        verdict="holds",
        finding="Mixup's loss sees inputs only through $w^\\top x$; a norm sees more.",
        check=_equivariance,
        control=lambda: any_of({"A^-1": _equivariance(np.linalg.inv), "A": _equivariance(lambda a: a)}),
    ),
)

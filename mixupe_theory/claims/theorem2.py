"""Claims of the deck about Theorem 2: the bound as printed, and what each of its parts may mean."""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from mpmath import iv
from scipy.stats import binom

from mixupe_theory.claims import theorem2_corrected, theorem2_parts
from mixupe_theory.claims.ledger import Claim, Evidence
from mixupe_theory.claims.theorem2_measurements import CONSTANTS, DELTA, LAW, THETA, two_points
from mixupe_theory.losses import mixup_loss
from mixupe_theory.mixing import BetaLaw
from mixupe_theory.objective import eta_hat, q_hat, regularizer
from mixupe_theory.samples import CountedSamples
from mixupe_theory.theorem2 import FiniteDistribution, Printed

SLIDE = "Generalization Guarantee"


# --- the printed bound fails ------------------------------------------------------------------------------------


def balls() -> dict:
    """The counterexample's constants at alpha = 1, eta = 1, e^theta = 3 as intervals (mpmath's ``iv``, 60 digits).

    opposite = E log(2 cosh(v/2)) - E[lambda (2 lambda - 1)] theta with v uniform on (-theta, theta), that is
    theta/4 + (pi^2/12 + Li_2(-1/3))/theta - theta/6, Li_2 by its alternating series.
    """
    iv.dps = 60
    theta = iv.log(3)
    terms = [iv.mpf((-1) ** k) / (iv.mpf(3) ** k * k**2) for k in range(1, 101)]
    dilogarithm = sum(terms[:-1]) + terms[-1] * iv.mpf([0, 1])  # an alternating series stops within its next term
    same, opposite = iv.log(iv.mpf(4) / 3), theta / 12 + (iv.pi**2 / 12 + dilogarithm) / theta
    limit, gamma = (same + opposite) / 2, theta / 4
    return {"same": same, "opposite": opposite, "limit": limit, "regularizer": gamma / 3, "gamma": gamma}


def _excess(n: int, bound_B: int, restored: bool = False):
    """Left side less right side at the sample that is best for the bound, as an interval."""
    c = balls()
    scale = c["limit"] / (c["limit"] + c["regularizer"])
    right = scale * c["limit"] + (scale * c["gamma"] + bound_B * iv.sqrt(iv.log(20) / 2)) / iv.sqrt(n)
    if restored:
        right = right + scale * c["regularizer"]
    return c["limit"] - (c["opposite"] - c["same"]) / (2 * n) - right


def _fails(restored: bool = False) -> Evidence:
    """For each B: the n from which the bound fails, proved by intervals on both sides of it, and counted on samples."""
    two, sound, found = two_points(), True, {}
    for bound_B in CONSTANTS:
        n = two.fails_from(bound_B, DELTA)
        sound = sound and _excess(n, bound_B, restored).a > 0 and _excess(n - 1, bound_B, restored).b < 0
        even = n + n % 2
        printed = Printed(LAW, [[THETA]], two.eta, two.gamma, 1.0, bound_B, restored=restored)
        counts = np.array([[even // 2, even // 2], [even // 2 + 1, even // 2 - 1], [even, 0]])
        sound = sound and bool((printed.margins(CountedSamples(two, even, LAW, counts), DELTA, 0)[1] < 0).all())
        found[f"n from which it fails, B = {bound_B}"] = n
    return Evidence(
        bool(sound),
        {"limit of the left side": two.limit_lhs, "of the right side": two.limit_rhs} | found,
        "none: intervals of 60 digits exclude 0 at n and, for half of the points of each kind, at n - 1; that sample "
        "has the largest mixup loss, L* = same/2 + opposite/2, so that no other one escapes",
    )


def probability_of_failure(printed: Printed, two: FiniteDistribution, n: int) -> float:
    """Exactly, over the n + 1 kinds of samples (those beyond 20 standard deviations, less than 1e-80, left out)."""
    reach = min(n // 2, math.ceil(10 * math.sqrt(n)))
    k = np.arange(n // 2 - reach, n // 2 + reach + 1)
    samples = CountedSamples(two, n, printed.law, np.column_stack([k, n - k]))
    return float(binom.pmf(k, n, 0.5) @ (printed.margins(samples, DELTA, 0)[1] < 0))


def _readings(growth: float = 0.0) -> Evidence:
    """P(the bound fails) in each reading, B n^growth for B. As abs(x) = 1, X = 1 bounds both norm and squared norm."""
    two, least = two_points(), {}
    for left, frozen in itertools.product(("loss", "mixup", "test"), (None, two.limit_rhs / two.limit_lhs)):
        theta, gamma = (-THETA, 0.75 * THETA) if left == "test" else (THETA, two.gamma)
        for bound_B, n in ((1, 2000), (10, 10**5), (100, 4 * 10**6)):
            printed = Printed(LAW, [[theta]], 1.0, gamma, 1.0, bound_B * n**growth, left, frozen)
            probability = probability_of_failure(printed, two, n)
            least[left] = min(least.get(left, 1.0), probability)
    measured = {f"left side {left}: least probability of failure": value for left, value in least.items()}
    return Evidence(
        min(least.values()) > DELTA, measured, "the theorem allows delta = 0.05; the probabilities are finite sums"
    )


# --- which risk the left side is --------------------------------------------------------------------------------


def _left_side(of: str = "mixup") -> Evidence:
    """E_S L(theta, S) by all samples in turn, with the objective's own parts, against E L_n^mix and the test risk."""
    law, eta = BetaLaw(0.7), 0.5
    x, y, p = np.array([[1.0, 0.5], [-1.0, 0.2], [0.3, -1.0]]), np.array([1.0, 0.0, 0.4]), np.array([0.5, 0.3, 0.2])
    population, worst, differences = FiniteDistribution(x, y, p), 0.0, []
    for theta in (np.array([1.5, -0.5]), np.array([-2.0, 1.0])):
        f = lambda rows, theta=theta: (rows @ torch.from_numpy(theta))[:, None]  # noqa: E731
        for n in (1, 2, 3, 4):
            total = 0.0
            for rows in itertools.product(range(3), repeat=n):
                inputs, labels = (torch.from_numpy(t[list(rows)]) for t in (x, y))
                mixup = mixup_loss(f, inputs, labels, law, "sigmoid")
                penalty = regularizer(q_hat(f(inputs), labels, "sigmoid"), law.tilted().a_moment(1))
                value = eta_hat(mixup, penalty, eta) * (mixup + eta * penalty)
                total += p[list(rows)].prod() * value.item()
            claimed = population.expected_mixup_loss(theta, law, n) if of == "mixup" else population.risk(theta)
            worst = max(worst, abs(total - claimed) / claimed)
        differences.append(population.expected_mixup_loss(theta, law, 10**9) - population.risk(theta))
    return Evidence(
        bool(worst < 1e-9 and differences[0] > 0 > differences[1]),
        {
            f"largest relative difference to the {of} loss": worst,
            "E L_mix - test risk at a good theta": float(differences[0]),
            "at a bad one": float(differences[1]),
        },
        "1e-10 of the quadrature over lambda, on both sides, and rounding",
    )


BOUND = theorem2_corrected.BOUND
CLAIMS = (
    Claim(
        id="theorem2.bound",
        title="The generalization bound",
        slide=SLIDE,
        statement=r"$\tilde{\mathcal L}(\theta)\le\hat\eta L_n^{mix}+\frac{2\hat\eta\eta L_A\gamma\mathcal X}"
        r"{\sqrt n(1+L_A)}+B\sqrt{\log(1/\delta)/(2n)}$ with probability $1-\delta$, for some constant $B$",
        verdict="fails as printed",
        finding=r"In value $\mathcal L(\theta,S)=L_n^{mix}(\theta,S)$, while the right side shrinks it by $\hat\eta<1$ "
        r"and leaves $\hat\eta\eta R$ out. Two points, $x=\pm1$ with labels 1 and 0, $e^\theta=3$, $\alpha=\eta=1$, "
        r"$\delta=0.05$: no sample satisfies it from $n=375$, 1266, 27 426, 2 653 497 on for $B=1$, 2, 10, 100, proved "
        "with intervals.",
        check=_fails,
        control=lambda: _fails(restored=True),
        corrected=BOUND,
    ),
    Claim(
        id="theorem2.readings",
        title="No reading of the bound helps",
        slide=SLIDE,
        statement=r"Addition: the bound fails with $\hat\eta$ the sample's own or frozen, $\mathcal X$ a bound on "
        r"$\lVert x\rVert$ or on $\lVert x\rVert^2$, and on the left $\mathbb E_S\mathcal L$, $\mathbb E_SL_n^{mix}$ "
        "or the test risk",
        verdict="holds",
        finding=r"Twelve readings, on the same two points (for the test risk at $e^\theta=1/3$): for $B=1$, 10, 100 it "
        "fails with probability above 0.99 at some $n$; summed over all samples, not simulated.",
        check=_readings,
        control=lambda: _readings(growth=0.5),
    ),
    Claim(
        id="theorem2.left-side",
        title="Which risk is bounded",
        slide=SLIDE,
        statement=r"Expected risk of MixupE: $\tilde{\mathcal L}(\theta)=\mathbb E_S\mathcal L(\theta,S)$",
        verdict="holds if risk means the expected mixup loss of a sample of $n$ points",
        finding=r"For a loss that is not negative $\mathbb E_S\mathcal L(\theta,S)=\mathbb "
        r"E_SL_n^{mix}=(1-\frac1n)\mathbb E\,\varphi_\theta(z,z')+\frac1n\mathbb E\,\ell(\theta,z)$: neither the test "
        r"risk nor a bound of it. It lies above the test risk at a good $\theta$ and below at a bad one.",
        check=_left_side,
        control=lambda: _left_side(of="test"),
    ),
    *theorem2_parts.CLAIMS,
    *theorem2_corrected.CLAIMS,
)

"""Claims of the deck about mixing and the mixup loss, checked on networks trained on digits and two-moons."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from scipy.integrate import quad

from mixupe_theory.claims.ledger import Claim, Evidence, any_of
from mixupe_theory.claims.references import beta_rule, mean_above_zero, path_losses
from mixupe_theory.losses import mixup_loss, pointwise_loss, standard_loss
from mixupe_theory.mixing import BetaLaw
from mixupe_theory.networks import MOONS_SEEDS, Recipe, balanced, digits, load

LAWS = (BetaLaw(1.0), BetaLaw(0.2), BetaLaw(2.0, 0.5))
RTOL = 1e-10
NODES, COARSER = 128, 96  # the plain side's rules; their difference is its quadrature error


def _problem(n: int = 24):
    x, y = balanced(*digits(), n)
    return x, torch.nn.functional.one_hot(y, 10).double()


# --- the change of law ------------------------------------------------------------------------------------------


def _one_label_loss(f, x, targets, rule) -> float:
    """1/n sum_i E_{lambda ~ rule, x' ~ D_X} ell(lambda x_i + (1 - lambda) x', y_i), summed plainly."""
    lam, weights = (torch.as_tensor(t) for t in rule)
    return (path_losses(f, x, targets, "softmax", 1 - lam).mean((1, 2)) @ weights).item()


@cache
def _exact_loss(name: str, law: BetaLaw) -> float:
    x, targets = _problem()
    return mixup_loss(load(name), x, targets, law, rtol=RTOL).item()


def _change_of_law(rule_of) -> Evidence:
    """Largest relative gap between the mixup loss and the one-label loss under ``rule_of(law, nodes)``."""
    x, targets = _problem()
    gaps, errors = [], []
    with torch.no_grad():
        for name in ("digits-tanh-erm", "digits-tanh-mixup-1"):
            f = load(name)
            for law in LAWS:
                exact = _exact_loss(name, law)
                fine, coarse = (_one_label_loss(f, x, targets, rule_of(law, m)) for m in (NODES, COARSER))
                gaps.append(abs(fine - exact) / exact)
                errors.append(abs(fine - coarse) / exact)
    tolerance = RTOL + max(errors)
    return Evidence(
        max(gaps) <= tolerance < 1e-6,
        {"largest relative gap": max(gaps), "allowed": tolerance},
        "the mixup loss's rtol plus the plain side's quadrature error, from two rules",
    )


def _check_change_of_law() -> Evidence:
    return _change_of_law(lambda law, m: law.tilted().quadrature(m))


def _control_change_of_law() -> Evidence:
    return any_of(
        {
            "Beta(alpha, beta) itself": _change_of_law(lambda law, m: law.quadrature(m)),
            "one component": _change_of_law(lambda law, m: beta_rule(law.alpha + 1, law.beta, m)),
            "components exchanged": _change_of_law(
                lambda law, m: law.reflected().tilted().components[0][1].quadrature(m)
            ),
        }
    )


def _conditions(squared: bool = True, cyclic: bool = True, one_component: bool = True) -> Evidence:
    """The gap that each condition's violation opens; a control leaves one condition unviolated."""
    x, targets = _problem()
    f, law = load("digits-tanh-mixup-1"), BetaLaw(2.0, 0.5)
    lam, weights = beta_rule(law.alpha, law.beta, NODES)
    gaps = {}
    with torch.no_grad():
        exact = mixup_loss(f, x, targets, law).item()
        # 1. a loss that is not affine in y: the squared one. Its gap is E[lambda (1 - lambda)] mean |y_i - y_j|^2
        i, j = (t.flatten() for t in torch.meshgrid(torch.arange(len(x)), torch.arange(len(x)), indexing="ij"))
        mixed_label, one_label = 0.0, 0.0
        for t, w in zip(lam, weights, strict=True):
            out = f(torch.lerp(x[j], x[i], t))
            labels = torch.lerp(targets[j], targets[i], t)
            separate = t * (out - targets[i]).square().sum(1) + (1 - t) * (out - targets[j]).square().sum(1)
            mixed_label += w * ((out - labels).square().sum(1) if squared else separate).mean()
            one_label += w * separate.mean()
        gaps["squared loss"] = abs(mixed_label - one_label).item() / one_label.item()
        # 2. i and j not exchangeable: a fixed cyclic permutation
        partner = torch.roll(torch.arange(len(x)), 1)
        tilted_lam, tilted_weights = (torch.from_numpy(t) for t in law.tilted().quadrature(NODES))
        sides = []
        for t, w, mix_labels in ((lam, weights, True), (tilted_lam, tilted_weights, False)):
            points = torch.lerp(x[partner][:, None], x[:, None], t[:, None])
            labels = (
                torch.lerp(targets[partner][:, None], targets[:, None], t[:, None]) if mix_labels else targets[:, None]
            )
            out = f(points.flatten(0, 1)).unflatten(0, points.shape[:2])
            sides.append((pointwise_loss(out, labels.expand_as(out), "softmax") @ w).mean().item())
        gaps["cyclic permutation"] = abs(sides[0] - sides[1]) / exact if cyclic else 0.0
        # 3. another law
        rule = beta_rule(law.alpha + 1, law.beta, NODES) if one_component else law.tilted().quadrature(NODES)
        gaps["one component"] = abs(_one_label_loss(f, x, targets, rule) - exact) / exact
    return Evidence(
        min(gaps.values()) > 1e-6,
        {f"gap, {name}": gap for name, gap in gaps.items()},
        "1e-6: 10^4 times the accuracy of both sides, so a gap above it is no numerical error",
    )


def _control_conditions() -> Evidence:
    return any_of(
        {
            "affine after all": _conditions(squared=False),
            "exchangeable after all": _conditions(cyclic=False),
            "the right law after all": _conditions(one_component=False),
        }
    )


# --- alpha -> 0 -------------------------------------------------------------------------------------------------


def _small_alpha(factor: float = 1.0) -> Evidence:
    """L_mix - L_std = alpha C + alpha^2 C_2 + remainder, both constants and the remainder's bound in closed form.

    For lambda ~ D_lambda the density of a is r(alpha) alpha e^{alpha l(a)}/a with l = log(a (1 - a)) and
    0 <= r - 1 <= exp(zeta(2) alpha^2) - 1, so with phi(a) the mean of ell(x_i + a v, y_i) - ell(x_i, y_i) over pairs
    C = int phi/a, C_2 = int phi l/a, and the rest is at most alpha^3 int |phi| l^2/(2a) + (r - 1)(...) in size.
    """
    x, targets = _problem(16)
    f = load("digits-tanh-mixup-1")
    alphas = np.array([0.08, 0.04, 0.02, 0.01])

    def phi(a):
        losses = path_losses(f, x, targets, "softmax", torch.tensor([0.0, a], dtype=torch.float64))
        return (losses[1] - losses[0]).mean().item()

    def integral(g):
        return quad(lambda a: g(phi(a), np.log(a) + np.log1p(-a)) / a, 0, 1, epsabs=1e-10, epsrel=1e-10, limit=200)

    with torch.no_grad():
        (c, c_error), (c2, c2_error) = integral(lambda p, l: p), integral(lambda p, l: p * l)
        bound, _ = integral(lambda p, l: abs(p) * l**2 / 2)
        standard = standard_loss(f, x, targets).item()
        gap = np.array([mixup_loss(f, x, targets, BetaLaw(a)).item() - standard for a in alphas])
    normalization = np.expm1(np.pi**2 / 6 * alphas**2) * alphas * (abs(c) + alphas * abs(c2) + alphas**2 * bound)
    allowed = alphas**3 * bound + normalization + alphas * (c_error + c2_error) + RTOL * (standard + gap)
    error = np.abs(gap - factor * alphas * c - alphas**2 * c2)
    return Evidence(
        bool((error <= allowed).all()),
        {
            "constant C": c,
            "(L_mix - L_std)/(alpha C) at 0.01": gap[-1] / (alphas[-1] * factor * c),
            "worst error / allowed": float((error / allowed).max()),
        },
        "remainder of e^{alpha l} and of the Beta normalization, bounded in closed form",
    )


# --- what mixing does to predictions ----------------------------------------------------------------------------


def _midpoint_entropy(first: str, second: str) -> Evidence:
    """Predictive entropy half way between test digits of different classes, second network minus first."""
    x, y = digits("test")
    i, j = torch.arange(0, len(x) - 1, 2), torch.arange(1, len(x), 2)  # disjoint pairs are independent
    keep = y[i] != y[j]
    middle = (x[i[keep]] + x[j[keep]]) / 2

    def entropy(name):
        log_p = load(name)(middle).log_softmax(1)
        return -(log_p.exp() * log_p).sum(1)

    return mean_above_zero((entropy(second) - entropy(first)).numpy(), "entropy gained (nats)")


def dirichlet_energy(f) -> float:
    """Mean of |grad p(y = 1 | x)|^2 over a grid on [-2, 3] x [-1.5, 2], the square of two-moons."""
    grid = torch.cartesian_prod(
        torch.linspace(-2, 3, 101, dtype=torch.float64), torch.linspace(-1.5, 2, 71, dtype=torch.float64)
    ).requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(f(grid).sigmoid().sum(), grid)
    return gradient.square().sum(1).mean().item()


def _smoothness(first: float, second: float) -> Evidence:
    logs = [
        np.log([dirichlet_energy(load(Recipe("moons", "tanh", alpha, seed).name)) for seed in range(MOONS_SEEDS)])
        for alpha in (first, second)
    ]
    return mean_above_zero(logs[0] - logs[1], "log ratio of Dirichlet energies")


CLAIMS = (
    Claim(
        id="mixup_loss.change-of-law",
        title="Mixing labels = one label under D_λ",
        slide="Theorem 1",
        statement=r"$L_n^{mix}=\frac1n\sum_i\mathbb{E}_{\lambda\sim D_\lambda,\,x'\sim D_X}\,"
        r"\ell(\lambda x_i+(1-\lambda)x',\,y_i)$ ($D_\lambda$ is not defined in the deck)",
        verdict="holds if $D_\\lambda=\\frac{\\alpha}{\\alpha+\\beta}\\mathrm{Beta}(\\alpha{+}1,\\beta)"
        "+\\frac{\\beta}{\\alpha+\\beta}\\mathrm{Beta}(\\beta{+}1,\\alpha)$",
        finding="Exact with that law; every other reading of it is off by far more than rounding.",
        check=_check_change_of_law,
        control=_control_change_of_law,
    ),
    Claim(
        id="mixup_loss.conditions",
        title="What the change of law needs",
        slide="Theorem 1",
        statement="The change of law needs no further condition",
        verdict="holds if the loss is affine in $y$, $i$ and $j$ are exchangeable, and $D_\\lambda$ is the above",
        finding="Each of the three is necessary: a squared loss, a fixed permutation, a single component break it.",
        check=_conditions,
        control=_control_conditions,
    ),
    Claim(
        id="mixup_loss.recovers-erm",
        title="α → 0 recovers ERM",
        slide="Mixup formulation",
        statement=r"Mixup recovers the ERM principle as $\alpha\to0$",
        verdict="holds if $\\theta$ is held fixed",
        finding="The losses differ by $\\alpha C+\\alpha^2C_2+O(\\alpha^3)$, both constants in closed form; "
        "minimizers are another matter (implicit bias).",
        check=_small_alpha,
        control=lambda: _small_alpha(factor=2.0),
    ),
    Claim(
        id="mixup_loss.in-between-uncertainty",
        title="Uncertainty of in-between samples",
        slide="Backgrounds",
        statement="Mixup models the uncertainty of in-between samples",
        verdict="holds",
        finding="Half way between test digits of different classes the mixup network is less certain than the ERM one.",
        check=lambda: _midpoint_entropy("digits-tanh-erm", "digits-tanh-mixup-1"),
        control=lambda: _midpoint_entropy("digits-tanh-mixup-1", "digits-tanh-erm"),
    ),
    Claim(
        id="mixup_loss.smoother-boundary",
        title="Smoother decision boundary",
        slide="Smoother feature space",
        statement="Mixup yields a smoother decision boundary in feature space than ERM",
        verdict="holds if smoothness is the Dirichlet energy of $p(y=1\\mid x)$ (two-moons)",
        finding="Over 16 paired seeds the mean squared gradient of the probability is lower after mixup.",
        check=lambda: _smoothness(0, 1),
        control=lambda: _smoothness(1, 0),
    ),
)

"""Claims about q and its approximation q_hat: the first order of Theorem 1, centring, homogeneity."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from mixupe_theory.claims.ledger import Claim, Evidence, any_of
from mixupe_theory.claims.objective_batchnorm import CLAIMS as BATCH_NORM_CLAIMS
from mixupe_theory.claims.objective_costs import CLAIMS as COST_CLAIMS
from mixupe_theory.claims.objective_measurements import (
    ARCHITECTURES,
    BATCH_NORM,
    CASES,
    EXACT,
    STATES,
    approximation,
    images,
    mean_error,
    network,
    relative_error,
)
from mixupe_theory.claims.objective_regularizer import CLAIMS as REGULARIZER_CLAIMS
from mixupe_theory.claims.objective_variants import CLAIMS as VARIANT_CLAIMS
from mixupe_theory.claims.references import jacobians, path_losses, tilted_rule
from mixupe_theory.losses import mean_response, standard_loss
from mixupe_theory.mixing import BetaLaw
from mixupe_theory.networks import balanced, load
from mixupe_theory.objective import q, q_hat
from mixupe_theory.taylor import pairwise_jet
from mixupe_theory.theorem1 import expand, loss_coefficients

EPS = torch.finfo(torch.float64).eps


# --- q is the first order, and L_mix contains it already ----------------------------------------------------------


def _first_order(sign: float = 1.0, centre: bool = True) -> Evidence:
    """q_i against the mean over j of the first Taylor coefficient along x_j - x_i; E[a] mean q against Theorem 1."""
    worst = 0.0
    for name in ("digits-tanh-mixup-1", "digits-relu-biasfree-mixup-1", "centred-relu-batchnorm-mixup-1"):
        f = load(name)
        x, y = balanced(*images(name), 40)
        targets = nn.functional.one_hot(y, 10).double()
        values = sign * q(f, x, y, x.mean(0) if centre else None)
        along = torch.zeros_like(values)
        for i, _, c in pairwise_jet(f, x, 1):
            along.index_add_(0, i, loss_coefficients(c, targets[i])[1] / len(x))
        worst = max(worst, ((values - along).abs().max() / along.abs().max()).item())
        for law in (BetaLaw(1.0), BetaLaw(2.0, 0.5)):
            first = expand(f, x, y, law, 1, rtol=0.1).collected[0]
            d1 = law.tilted().a_moment(1) * values.mean()
            worst = max(worst, (d1 - first).abs().item() / along.abs().mean().item())
    return Evidence(
        worst <= 1e4 * EPS,
        {"largest error, relative": worst},
        "rounding: 1600 pairs of ten terms each are summed",
    )


def _counted_once(times: float = 1.0) -> Evidence:
    """(L_mix(eps) - L_std) / (eps E[a] mean q) -> 1 as all displacements shrink by eps, extrapolated twice."""
    f, law = load("digits-tanh-mixup-1"), BetaLaw(1.0)
    x, y = balanced(*images("digits-tanh"), 12)
    targets = nn.functional.one_hot(y, 10).double()
    lam, weights = tilted_rule(law, 8)
    first = law.tilted().a_moment(1) * q(f, x, y, x.mean(0)).mean()
    eps = 2.0 ** -np.arange(8, 11)
    gained = [weights @ path_losses(f, x, targets, "softmax", t * (1 - lam)).mean((1, 2)) for t in eps]
    ratios = np.array([((g - standard_loss(f, x, y)) / (t * first)).item() for g, t in zip(gained, eps, strict=True)])
    once = 2 * ratios[1:] - ratios[:-1]
    twice = (4 * once[1] - once[0]) / 3
    allowed = abs(twice - once[1])
    return Evidence(
        bool(abs(twice - times) <= allowed <= 0.01),
        {"weight of E[a] mean q in L_mix": float(twice), "allowed error": float(allowed)},
        "Richardson: the last correction of the extrapolation bounds its error; it must be below 1 %",
    )


# --- q_hat against q ------------------------------------------------------------------------------------------------


def _is_no_approximation(cases: list[tuple[str, bool]]) -> Evidence:
    """Passed means: the mean error of q_hat is above a tenth of mean |q| on each network, before and after training."""
    errors = {s: [relative_error(architecture, s, training) for architecture, training in cases] for s in STATES}
    x, y = torch.ones(1, 1, dtype=torch.float64), torch.ones(1)
    tanh = [_explained("centred-tanh", s) for s in STATES]
    smallest = [value.item() for value in (q(_all_bias, x, y, head="sigmoid"), q_hat(_all_bias(x), y, "sigmoid"))]
    return Evidence(
        all(min(values) > 0.1 for values in errors.values()) and smallest[0] == 0 != smallest[1] and max(tanh) < 0,
        {"f = 2, y = 1, one logit: q": smallest[0], "q_hat": smallest[1]}
        | {f"error of q_hat, {STATES[s]}": f"{min(v):.2f} to {max(v):.2f} of mean abs(q)" for s, v in errors.items()}
        | {f"BatchNorm in training mode, {STATES[s]}": relative_error(BATCH_NORM, s, True) for s in STATES}
        | {f"explained share, tanh, {STATES[s]}": share for s, share in zip(STATES, tanh, strict=True)},
        "an approximation is read as right to a tenth; one that explains a share below 0 is worse than q = 0",
    )


def _all_bias(x: torch.Tensor) -> torch.Tensor:
    return 0 * x + 2


def _explained(architecture: str, state: str) -> float:
    """1 - sum (q_hat - q)^2 / sum q^2: 1 for an exact approximation, 0 for the approximation "0"."""
    exact, approximate = approximation(architecture, state)
    return 1 - float(((approximate - exact) ** 2).sum() / (exact**2).sum())


def _identity(sign: float = 1.0, with_mean: bool = True) -> Evidence:
    """q_hat - q = (y - g)^T (f - J x) + (y - g)^T J E[x'], the Jacobian in full by reverse mode."""
    worst = 0.0
    for architecture in ARCHITECTURES:
        for state in STATES:
            net = network(architecture, state).requires_grad_(False)
            x, y = images(architecture)
            x_mean, x, y = x.mean(0), x[:100], y[:100]
            out, jacobian = net(x), jacobians(net, x)
            residual = nn.functional.one_hot(y, 10).double() - mean_response(out)
            along = (jacobian @ x[..., None])[..., 0]
            right = (residual * (out - sign * along)).sum(1) + with_mean * (residual * (jacobian @ x_mean)).sum(1)
            left = q_hat(out, y) - q(net, x, y, x_mean)
            size = (out.abs() + along.abs() + (jacobian @ x_mean).abs()).sum(1)
            worst = max(worst, ((left - right).abs() / size).max().item())
    return Evidence(
        worst <= 1e3 * EPS,
        {"largest error, in units of the terms": worst, "networks": len(ARCHITECTURES) * len(STATES)},
        "rounding in sums over 64 pixels and ten classes, and of y - g, whose error is absolute",
    )


def _centring(sign: float = 1.0) -> Evidence:
    """Bias-free ReLU networks: q_hat = q with every pixel centred, not with one mean for all pixels, nor with none."""
    error: dict[str, list[float]] = {}
    for data in ("centred", "channelwise", "digits"):
        cases = [approximation(f"{data}-relu-biasfree", state) for state in STATES]
        error[data] = [mean_error(exact, sign * found) for exact, found in cases]
    x = images("channelwise-relu-biasfree")[0]
    left = (x.mean(0).square().sum() / x.square().sum(1).mean()).item()
    return Evidence(
        max(error["centred"]) < 1e-10 and min(error["channelwise"] + error["digits"]) > 0.1,
        {
            "error of q_hat, each pixel centred": max(error["centred"]),
            "one mean for all pixels": f"{min(error['channelwise']):.2f} to {max(error['channelwise']):.2f}",
            "not centred": f"{min(error['digits']):.2f} to {max(error['digits']):.2f}",
            "share of mean |x|^2 in the mean image, one mean for all": left,
        },
        "rounding, amplified where g - y is small; an error above 0.1 of mean |q| is not rounding",
    )


HOMOGENEOUS = {
    "ReLU": lambda: [nn.Linear(16, 12, bias=False), nn.ReLU(), nn.Linear(12, 5, bias=False)],
    "leaky ReLU": lambda: [nn.Linear(16, 12, bias=False), nn.LeakyReLU(0.1), nn.Linear(12, 5, bias=False)],
    "convolution, max and average pooling": lambda: [
        nn.Unflatten(1, (1, 4, 4)),
        nn.Conv2d(1, 6, 3, padding=1, bias=False),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 2, padding=1, bias=False),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 5, bias=False),
    ],
}
INHOMOGENEOUS = {
    "bias": lambda: [nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 5, bias=False)],
    "tanh": lambda: [nn.Linear(16, 12, bias=False), nn.Tanh(), nn.Linear(12, 5, bias=False)],
    "GELU": lambda: [nn.Linear(16, 12, bias=False), nn.GELU(), nn.Linear(12, 5, bias=False)],
    "two factors": lambda: [nn.Linear(16, 12, bias=False), nn.ReLU(), _Square(), nn.Linear(12, 5, bias=False)],
}


class _Square(nn.Module):
    """Homogeneous, but of degree 2."""

    def forward(self, x):
        return x**2


def _euler(networks, gaps=()) -> Evidence:
    """Euler's identity J x = f at random points of random networks, by reverse mode; how far trained ones are off."""
    rng, worst = np.random.default_rng(0), 0.0
    for layers in networks.values():
        net = nn.Sequential(*layers()).double().requires_grad_(False)
        for p in net.parameters():
            p.copy_(torch.from_numpy(rng.normal(size=p.shape)))
        x = torch.from_numpy(rng.normal(size=(20, 16)))
        out, along = torch.autograd.functional.jvp(net, x, x)
        worst = max(worst, ((along - out).abs().max() / out.abs().max()).item())
    return Evidence(
        worst <= 1e3 * EPS,
        {"largest |J x - f| / |f|": worst, **{f"{ARCHITECTURES[a]}, {STATES[s]}": _gap(a, s) for a, s in gaps}},
        "rounding",
    )


GAPS = (("centred-relu", "before"), ("centred-relu", "erm"), ("centred-relu", "mixup-1"), ("centred-tanh", "mixup-1"))


def _gap(architecture: str, state: str) -> float:
    """|f - J x| / |f| over the training images."""
    x, _ = images(architecture)
    out, along = torch.func.jvp(network(architecture, state).requires_grad_(False), (x,), (x,))
    return ((out - along).norm() / out.norm()).item()


_IDENTITY = Claim(
    id="objective.q-hat-identity",
    title="q̂ − q, exactly",
    slide="Proposed MixupE",
    statement=r"Corrected: $\hat q-q=(\mathbf{y}_i-g)^\top(f-\mathbf{J}_f\mathbf{x}_i)"
    r"+(\mathbf{y}_i-g)^\top\mathbf{J}_f\mathbb{E}[\mathbf{x}']$",
    verdict="holds",
    finding="For any network and data; so $q=\\hat q$ where both terms vanish.",
    check=_identity,
    control=lambda: any_of({"f + J x": _identity(sign=-1), "no mean": _identity(with_mean=False)}),
)

CLAIMS = (
    Claim(
        id="objective.first-order",
        title="q is the first order of R",
        slide="Proposed MixupE",
        statement=r"$q(\mathbf{x}_i)=(g-\mathbf{y}_i)^\top\mathbf{J}_f(\mathbf{x}_i)(\mathbb{E}[\mathbf{x}']"
        r"-\mathbf{x}_i)$ captures the first-order directional derivative",
        verdict="holds",
        finding="Each $q(\\mathbf{x}_i)$, by one forward-mode pass, is the mean first Taylor coefficient along all "
        "displacements, and $\\mathbb{E}[a]$ times their mean is Theorem 1's first order.",
        check=_first_order,
        control=lambda: any_of({"sign": _first_order(sign=-1), "E[x'] left out": _first_order(centre=False)}),
    ),
    Claim(
        id="objective.double-counting",
        title="Mixup's loss already contains the first order",
        slide="Limitation",
        statement=r"Addition: $L_n^{mix}$ contains $\mathbb{E}[a]\frac1n\sum_iq(\mathbf{x}_i)$ with weight 1",
        verdict="holds",
        finding="Before anything is added; a signed first-order term would change its weight to $1\\pm\\eta$.",
        check=_counted_once,
        control=lambda: any_of({"not contained": _counted_once(0), "2 % more": _counted_once(1.02)}),
    ),
    Claim(
        id="objective.q-hat",
        title="q ≈ q̂",
        slide="Proposed MixupE",
        statement=r"$q(\mathbf{x}_i)\approx\hat q(\mathbf{x}_i)=(\mathbf{y}_i-g)^\top f_\theta(\mathbf{x}_i)$",
        verdict="fails as printed",
        finding="Centred digits, ReLU with biases: the mean error is 580 % of mean $\\lvert q\\rvert$ before training, "
        "30 % after ERM, 31 % after mixup; with BatchNorm 690, 38, 72 %; with tanh $\\hat q$ is worse than "
        "$q\\approx0$, trained or not. Smallest counterexample: $f=b$, where $q=0$ and $\\hat q=(y-g)b$.",
        check=lambda: _is_no_approximation([case for case in CASES if case[0] != EXACT]),
        control=lambda: _is_no_approximation([(EXACT, False)]),
        corrected=_IDENTITY,
    ),
    _IDENTITY,
    Claim(
        id="objective.normalization",
        title="Centred inputs",
        slide="Proposed MixupE",
        statement=r"Normalization: $\mathbb{E}_{\mathbf{x}'}[\mathbf{x}']=\mathbf{0}$",
        verdict="holds if every input coordinate is centred",
        finding="One mean for the whole channel, the usual normalization of images, leaves half of "
        "$\\mathbb{E}\\lVert\\mathbf{x}'\\rVert^2$ in the mean image of digits: $\\hat q$ is then off "
        "by 60 to 90 %, even without biases.",
        check=_centring,
        control=lambda: _centring(sign=-1),
    ),
    Claim(
        id="objective.homogeneity",
        title="J x ≈ f for ReLU",
        slide="Proposed MixupE",
        statement=r"ReLU: $\mathbf{J}_{f_\theta}(\mathbf{x}_i)\mathbf{x}_i\approx f_\theta(\mathbf{x}_i)$",
        verdict="holds if the network is positively homogeneous of degree 1 (no biases, no BatchNorm shift)",
        finding="Exact by Euler's identity for bias-free ReLU, leaky ReLU, convolutions, max and average pooling; "
        "a bias or a smooth activation breaks it.",
        check=lambda: _euler(HOMOGENEOUS, GAPS),
        control=lambda: any_of({name: _euler({name: layers}) for name, layers in INHOMOGENEOUS.items()}),
    ),
    *BATCH_NORM_CLAIMS,
    *REGULARIZER_CLAIMS,
    *VARIANT_CLAIMS,
    *COST_CLAIMS,
)

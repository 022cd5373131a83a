"""Claims about q and its approximation q_hat: the first order of Theorem 1, centring, homogeneity, BatchNorm."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from mixupe_theory.claims.ledger import Claim, Evidence, any_of
from mixupe_theory.claims.objective_costs import CLAIMS as COST_CLAIMS
from mixupe_theory.claims.objective_measurements import (
    ARCHITECTURES,
    BATCH_NORM,
    CASES,
    STATES,
    approximation,
    images,
    network,
    relative_error,
)
from mixupe_theory.claims.objective_regularizer import CLAIMS as REGULARIZER_CLAIMS
from mixupe_theory.claims.objective_variants import CLAIMS as VARIANT_CLAIMS
from mixupe_theory.claims.references import path_losses, slope, tilted_rule
from mixupe_theory.losses import mean_response, standard_loss
from mixupe_theory.mixing import BetaLaw
from mixupe_theory.networks import balanced, load
from mixupe_theory.objective import official_q, q, q_hat
from mixupe_theory.taylor import pairwise_jet
from mixupe_theory.theorem1 import expand, loss_coefficients

EPS = torch.finfo(torch.float64).eps
EXACT = "centred-relu-biasfree"


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


def _counted_once(times: int = 1) -> Evidence:
    """|L_mix(eps) - L_std - times eps E[a] mean q| = O(eps^2), displacements scaled by eps, for times = 1 only."""
    f, law = load("digits-tanh-mixup-1"), BetaLaw(1.0)
    x, y = balanced(*images("digits-tanh"), 12)
    targets = nn.functional.one_hot(y, 10).double()
    lam, weights = tilted_rule(law, 8)
    first = law.tilted().a_moment(1) * q(f, x, y, x.mean(0)).mean()
    eps = 2.0 ** -np.arange(6, 9)
    values = [
        (weights @ path_losses(f, x, targets, "softmax", t * (1 - lam)).mean((1, 2)))
        - standard_loss(f, x, y)
        - times * t * first
        for t in eps
    ]
    order = slope(eps, np.array(values))
    return Evidence(
        abs(order - 2) < 0.25,
        {"order of what is left": order},
        "what is left is of order 1 unless the coefficient is right, else 2; a slope within 1/4 decides",
    )


# --- q_hat against q ------------------------------------------------------------------------------------------------


def _is_no_approximation(cases: list[tuple[str, bool]]) -> Evidence:
    """Passed means: the mean error of q_hat is above a tenth of mean |q| on each network, before and after training."""
    errors = {s: [relative_error(architecture, s, training) for architecture, training in cases] for s in STATES}
    x, y = torch.ones(1, 1, dtype=torch.float64), torch.ones(1)
    smallest = [value.item() for value in (q(_all_bias, x, y, head="sigmoid"), q_hat(_all_bias(x), y, "sigmoid"))]
    return Evidence(
        all(min(values) > 0.1 for values in errors.values()) and smallest[0] == 0 != smallest[1],
        {"f = 2, y = 1, one logit: q": smallest[0], "q_hat": smallest[1]}
        | {f"error of q_hat, {STATES[s]}": f"{min(v):.2f} to {max(v):.2f} of mean abs(q)" for s, v in errors.items()}
        | {f"BatchNorm in training mode, {STATES[s]}": relative_error(BATCH_NORM, s, True) for s in STATES}
        | {f"explained share, tanh, {STATES[s]}": _explained("centred-tanh", s) for s in STATES},
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
            jacobian = torch.func.vmap(torch.func.jacrev(lambda z, net=net: net(z[None])[0]))(x)
            out = net(x)
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


def _centring(exact_data: str = "centred") -> Evidence:
    """Bias-free ReLU networks: q_hat = q with every pixel centred, not with one mean for all pixels, nor with none."""
    error = {
        data: [relative_error(f"{data}-relu-biasfree", s) for s in STATES]
        for data in ("centred", "channelwise", "digits")
    }
    x = images("channelwise-relu-biasfree")[0]
    others = [value for data, values in error.items() if data != exact_data for value in values]
    return Evidence(
        max(error[exact_data]) < 1e-10 and min(others) > 0.1,
        {
            "error of q_hat, each pixel centred": max(error["centred"]),
            "one mean for all pixels": f"{min(error['channelwise']):.2f} to {max(error['channelwise']):.2f}",
            "not centred": f"{min(error['digits']):.2f} to {max(error['digits']):.2f}",
            "share of E|x|^2 in the mean image then": (x.mean(0).square().sum() / x.square().sum(1).mean()).item(),
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


def _euler(networks) -> Evidence:
    """Euler's identity J x = f at random points of random networks, by reverse mode."""
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
        {"largest |J x - f| / |f|": worst, **{f"{a}, {s}": _gap(a, s) for a, s in GAPS}},
        "rounding",
    )


GAPS = (("centred-relu", "before"), ("centred-relu", "erm"), ("centred-relu", "mixup-1"), ("centred-tanh", "mixup-1"))


def _gap(architecture: str, state: str) -> float:
    """|f - J x| / |f| over the training images."""
    x, _ = images(architecture)
    out, along = torch.func.jvp(network(architecture, state).requires_grad_(False), (x,), (x,))
    return ((out - along).norm() / out.norm()).item()


# --- BatchNorm in training mode ---------------------------------------------------------------------------------------


def _official_sum(eps: float, training: bool) -> tuple[float, float]:
    """|sum of the official q| on a batch of 100, and the sum of |q| with fixed statistics, at BatchNorm's eps."""
    net = network(BATCH_NORM, "mixup-1").requires_grad_(False).train(training)
    for layer in net:
        if isinstance(layer, nn.BatchNorm1d):
            layer.eps = eps
    x, y = images(BATCH_NORM)
    x, y = x[:100], y[:100]
    return official_q(net, x, y).sum().abs().item(), q(net, x, y).abs().sum().item()


def _with_statistics_of(x: torch.Tensor) -> nn.Module:
    """The BatchNorm network in evaluation mode, its running statistics those of the batch x."""
    net = network(BATCH_NORM, "mixup-1").requires_grad_(False).train()
    norms = [layer for layer in net if isinstance(layer, nn.BatchNorm1d)]
    for layer in norms:
        layer.momentum = 1.0
    net(x)
    for layer in norms:
        layer.running_var *= (len(x) - 1) / len(x)
    return net.eval()


def _batch_norm(training: bool = True) -> Evidence:
    """q holds the statistics fixed; the official q's sum is the derivative along -x of all samples at once, O(eps).

    BatchNorm in training mode maps s z to the same values for every s > 0, but for its eps; so does a network whose
    first layer it follows, and the derivative in s vanishes with eps.
    """
    eps = 10.0 ** -np.arange(4, 7)
    sums = np.array([_official_sum(e, training) for e in eps])
    order = slope(eps, sums[:, 0])
    x, y = (t[:100] for t in images(BATCH_NORM))
    net = network(BATCH_NORM, "mixup-1").requires_grad_(False).train()
    values, official = q(net, x, y), official_q(net, x, y)
    fixed = _by_jacobian(_with_statistics_of(x), x, y)
    error = ((values - fixed).abs().max() / fixed.abs().max()).item()
    return Evidence(
        abs(order - 1) < 0.05 and error <= 1e4 * EPS,
        {
            "q against the Jacobian at fixed statistics": error,
            "official q against it, mean error": ((official - fixed).abs().mean() / fixed.abs().mean()).item(),
            "order of the official sum in eps": order,
            "official sum / sum of abs(q), eps = 1e-5": float(sums[1, 0] / sums[1, 1]),
        },
        "rounding; scale invariance up to eps gives order 1, without it the order is 0",
    )


def _by_jacobian(net: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """q at E[x'] = 0 from each sample's whole Jacobian."""
    jacobian = torch.func.vmap(torch.func.jacrev(lambda z: net(z[None])[0]))(x)
    return ((mean_response(net(x)) - nn.functional.one_hot(y, 10)) * -(jacobian @ x[..., None])[..., 0]).sum(1)


def _centring_control() -> Evidence:
    return any_of({"one mean": _centring("channelwise"), "none": _centring("digits")})


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
        statement=r"Retaining mixup with an extra first-order term adds to $L_n^{mix}$ what it lacks",
        verdict="holds if counting twice is meant",
        finding="$L_n^{mix}$ contains $\\mathbb{E}[a]\\frac1n\\sum_iq(\\mathbf{x}_i)$ exactly once before anything is "
        "added; a signed first-order term changes its weight from 1 to $1\\pm\\eta$.",
        check=_counted_once,
        control=lambda: any_of({"not contained": _counted_once(0), "twice": _counted_once(2)}),
    ),
    Claim(
        id="objective.q-hat",
        title="q ≈ q̂",
        slide="Proposed MixupE",
        statement=r"$q(\mathbf{x}_i)\approx\hat q(\mathbf{x}_i)=(\mathbf{y}_i-g)^\top f_\theta(\mathbf{x}_i)$",
        verdict="fails as printed",
        finding="Unless the network has no biases and each pixel is centred, the mean error is 30 to 690 % of mean "
        "$\\lvert q\\rvert$ on networks for digits; with tanh $\\hat q$ is worse than $q\\approx0$, "
        "trained or not. Smallest counterexample: $f=b$, where $q=0$ and $\\hat q=(y-g)b$.",
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
        "$\\mathbb{E}\\lVert\\mathbf{x}'\\rVert^2$ in the mean image: "
        "$\\hat q$ is then off by 60 to 90 % even without biases.",
        check=_centring,
        control=_centring_control,
    ),
    Claim(
        id="objective.homogeneity",
        title="J x ≈ f for ReLU",
        slide="Proposed MixupE",
        statement=r"ReLU: $\mathbf{J}_{f_\theta}(\mathbf{x}_i)\mathbf{x}_i\approx f_\theta(\mathbf{x}_i)$",
        verdict="holds if the network is positively homogeneous of degree 1 (no biases, no BatchNorm shift)",
        finding="Exact by Euler's identity for bias-free ReLU, leaky ReLU, convolutions, max and average pooling; "
        "a bias or a smooth activation breaks it.",
        check=lambda: _euler(HOMOGENEOUS),
        control=lambda: any_of({name: _euler({name: layers}) for name, layers in INHOMOGENEOUS.items()}),
    ),
    Claim(
        id="objective.batch-norm",
        title="q with BatchNorm in training mode",
        slide="Proposed MixupE",
        statement=r"$q(\mathbf{x}_i)$ is a quantity of one sample (networks with BatchNorm in training)",
        verdict="holds if the batch statistics are held fixed",
        finding="The official double backward lets samples influence each other: its values are others, and their sum "
        "is of the order of BatchNorm's eps, so official_v1's penalty vanishes unless its threshold binds.",
        check=_batch_norm,
        control=lambda: _batch_norm(training=False),
    ),
    *REGULARIZER_CLAIMS,
    *VARIANT_CLAIMS,
    *COST_CLAIMS,
)

"""Claims about the deck's R and its scaling: what abs(q_hat) rewards, why it is absolute, what eta_hat does."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from scipy.integrate import quad
from scipy.optimize import minimize
from scipy.special import entr, lambertw
from torch.nn import functional

from mixupe_theory.claims.ledger import Claim, Evidence, any_of
from mixupe_theory.claims.objective_measurements import (
    LAW,
    MEAN_A,
    STATES,
    approximation,
    gradient,
    images,
    network,
)
from mixupe_theory.losses import mixup_loss, pointwise_loss, standard_loss
from mixupe_theory.networks import balanced, load
from mixupe_theory.objective import MixupE, eta_hat, q_hat

EPS = torch.finfo(torch.float64).eps
CLASSES = (2, 3, 8, 9, 10, 100)


# --- what abs(q_hat) rewards ------------------------------------------------------------------------------------------


def _entropy_identity(unit: float = 1.0, argument: float = -1.0) -> Evidence:
    """q_hat = entropy - cross-entropy, at random logits and targets; its maximum over logits is W((c - 1)/e)."""
    rng, worst, maximum = np.random.default_rng(0), 0.0, 0.0
    for c in CLASSES:
        logits, y = rng.normal(0, 3, (200, c)), rng.dirichlet(np.full(c, 0.3), 200)
        values = q_hat(torch.from_numpy(logits), torch.from_numpy(y)).numpy()
        p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        right = entr(p).sum(1) / unit + (y * np.log(p)).sum(1)
        worst = max(worst, float(np.abs(values - right).max() / np.abs(logits).max()))

        def minus_q_hat(free, c=c):  # logits of the wrong classes are counted from that of the right one
            free = torch.tensor(free, dtype=torch.float64, requires_grad=True)
            value = -q_hat(torch.cat([free.new_zeros(1), free])[None], torch.tensor([0]))[0]
            (slope,) = torch.autograd.grad(value, free)
            return value.item(), slope.numpy()

        found = max(
            -minimize(minus_q_hat, rng.normal(-1, 0.5, c - 1), jac=True, options={"gtol": 1e-8}).fun for _ in range(3)
        )
        bound = lambertw((c + argument) / np.e).real
        maximum = max(maximum, abs(found - bound))
    return Evidence(
        worst <= 1e3 * EPS and maximum <= 1e-8,
        {"largest error of the identity": worst, "of the maximum": float(maximum), "numbers of classes": len(CLASSES)},
        "rounding; the optimizer stops at a gradient of 1e-8, and its error in the value is of second order",
    )


def _rewards(variant: str = "deck") -> Evidence:
    """The sign of d abs(q_hat) / d margin, other logits equal: -, + up to 1 + W((c - 1)/e), then - again."""
    agreed, total = 0, 0
    criterion = MixupE(1.0, variant=variant)
    for c in CLASSES:
        barrier = 1 + lambertw((c - 1) / np.e).real
        margins = np.concatenate([np.linspace(-8, -0.1, 40), np.linspace(0.1, barrier - 0.1, 20)])
        margins = np.concatenate([margins, np.linspace(barrier + 0.1, 12, 40)])
        margin = torch.from_numpy(margins).requires_grad_()
        logits = functional.pad(margin[:, None], (0, c - 1))
        penalty = len(margins) * criterion.penalty(lambda x: x, logits, torch.zeros(len(margins), dtype=torch.long))
        (slope,) = torch.autograd.grad(penalty, margin)
        expected = np.where((margins < 0) | (margins > barrier), -1, 1)
        agreed += int((np.sign(slope.numpy()) == expected).sum())
        total += len(margins)
    lowered = {f"share of right points made less sure, {STATES[s]}": _made_less_sure(s) for s in STATES}
    return Evidence(
        agreed == total,
        {"signs as derived": f"{agreed} of {total}", **lowered},
        "none: a sign is right or wrong; margins keep 0.1 from the zeros",
    )


def _made_less_sure(state: str) -> float:
    """Share of the correctly classified training images whose own log-probability a small step down R lowers."""
    x, y = images("centred-relu")
    logits = network("centred-relu", state)(x).detach().requires_grad_()
    (down,) = torch.autograd.grad(q_hat(logits, y).abs().sum(), logits)
    own = functional.one_hot(y, 10) - logits.softmax(1)  # gradient of log p_y
    correct = logits.argmax(1) == y
    return ((own * down).sum(1) > 0)[correct].double().mean().item()


def _spiked_totals(n: int, eta: float, heights: np.ndarray, absolute: bool = False) -> np.ndarray:
    """L_mix + eta E[a] mean q_hat for a model that is wrong at n points by t, and undecided elsewhere; exact.

    Points 0..n-1 on a line, classes in turn, one logit (sigmoid), alpha = 1. The logit is 0 but for a hat of height t
    and half-width t^-2 at each point, on the wrong side.
    """
    totals = []
    for t in heights:
        width, points = t**-2, np.arange(n)
        wrong = np.where(points % 2, -1.0, 1.0) * t  # class 1 at odd points

        def loss(lam, i, j, width=width, wrong=wrong):
            x, y = lam * i + (1 - lam) * j, lam * (i % 2) + (1 - lam) * (j % 2)
            nearest = round(x)
            f = wrong[nearest] * max(0.0, 1 - abs(x - nearest) / width)
            return np.logaddexp(0, f) - y * f

        mixup = 0.0
        for i in points:
            for j in points:
                inside = {(k + s - j) / (i - j) for k in points for s in (-width, 0, width)} if i != j else set()
                cuts = [0.0, *sorted(cut for cut in inside if 0 < cut < 1), 1.0]
                mixup += sum(quad(loss, a, b, (i, j))[0] for a, b in pairwise(cuts)) / n**2
        values = q_hat(torch.from_numpy(wrong)[:, None], torch.from_numpy(points % 2), "sigmoid")
        totals.append(mixup + eta * MEAN_A * (values.abs() if absolute else values).mean().item())
    return np.array(totals)


def _slack(eta: float) -> float:
    """Least L_mix + eta E[a] mean q_hat - (1/n - eta E[a]) L_std, over L_std, of networks given the wrong labels."""
    slack = []
    for name in ("digits-tanh-erm", "digits-tanh-mixup-1", "centred-tanh-erm"):
        f = load(name)
        x, y = balanced(*images(name), 12)
        y = (y + 1) % 10
        standard, mixup = standard_loss(f, x, y), mixup_loss(f, x, y, LAW, rtol=1e-6)
        signed = mixup + eta * MEAN_A * q_hat(f(x), y).mean()
        slack.append((signed / standard - (1 / len(x) - eta * MEAN_A)).item())
    return min(slack)


def _negativity(absolute: bool = False) -> Evidence:
    """Signed, the total is at least (1/n - eta E[a]) L_std, and for a flexible network no more than that.

    Proof: the n pairs i = j make L_mix >= L_std / n, all losses being positive, and q_hat = H - CE >= -CE. The spiked
    model, wrong by t at each point and undecided elsewhere, has L_mix = t/n + O(1) and q_hat = -t + o(1).
    """
    n, heights = 4, np.array([20.0, 40.0, 80.0])
    rates = {}
    for factor in (0.5, 2.0):
        totals = _spiked_totals(n, factor / (n * MEAN_A), heights, absolute)
        rates[factor] = float(np.diff(totals)[-1] / np.diff(heights)[-1] * n)
    slack = min(_slack(factor / (12 * MEAN_A)) for factor in (0.5, 2.0))
    below = {s: float((approximation("centred-relu", s)[1] < 0).mean()) for s in STATES}
    return Evidence(
        abs(rates[2.0] + 1) < 0.05 and abs(rates[0.5] - 0.5) < 0.05 and slack >= -1e-6,
        {
            "growth of n x total with the error t, eta E[a] = 2/n": rates[2.0],
            "eta E[a] = 1/(2n)": rates[0.5],
            "least distance from the bound, of L_std": slack,
            **{f"share of q_hat < 0, {STATES[s]}": share for s, share in below.items()},
        },
        "growth is 1 - n eta E[a] up to the spikes' share of the segments, of order 1/t; quadrature to 1e-6",
    )


def _calibrated(penalty=lambda logits, y: q_hat(logits, y, "sigmoid").abs()) -> Evidence:
    """One logit, P(y = 1) = p: at the calibrated logit E q_hat = 0 and E abs(q_hat) > 0; the latter is 0 at f = 0."""
    f, worst, at = torch.linspace(-6, 6, 1201, dtype=torch.float64)[:, None], 0.0, {}
    ones = torch.ones(len(f))
    for p in (0.6, 0.8, 0.95):
        expected = p * penalty(f, ones) + (1 - p) * penalty(f, 0 * ones)
        calibrated = torch.tensor([[np.log(p / (1 - p))]])
        signed = [q_hat(calibrated, torch.full((1,), y), "sigmoid").item() for y in (1.0, 0.0)]
        worst = max(worst, abs(p * signed[0] + (1 - p) * signed[1]), abs(f[expected.argmin()].item()))
        at[f"E abs(q_hat) at calibrated p = {p}"] = p * abs(signed[0]) + (1 - p) * abs(signed[1])
    return Evidence(
        worst <= 1e3 * EPS and min(at.values()) > 0.01,
        {"largest abs(E q_hat) where calibrated, or abs(f) at the minimum": worst, **at},
        "rounding; the grid holds f = 0",
    )


# --- eta_hat ----------------------------------------------------------------------------------------------------------


def _distances(detached: bool) -> np.ndarray:
    """Relative distances of the loss from L_mix, of its gradient from the rescaled step, and from grad L_mix."""
    eta, distances = 0.5, []
    for state in STATES:
        net = network("centred-relu", state)
        x, y = balanced(*images("centred-relu"), 100)
        criterion = MixupE(1.0, eta=eta)
        mixup, penalty = criterion.terms(net, x, y, lam=0.3, permutation=torch.arange(100).roll(7))
        scale, total = eta_hat(mixup, penalty, eta), mixup + eta * penalty
        loss = criterion.combine(mixup, penalty) if detached else scale * total
        step, plain = gradient(loss, net), gradient(mixup, net)
        rescaled = scale.detach() * (plain + eta * gradient(penalty, net))
        errors = (loss / mixup - 1, (step - rescaled).norm() / plain.norm(), (step - plain).norm() / plain.norm())
        distances.append([abs(error.item()) for error in errors])
    return np.max(distances, 0)


def _normalized(detached: bool = True) -> Evidence:
    value, from_rescaled, from_mixup = _distances(detached).tolist()
    inert = float(_distances(detached=False)[2])
    return Evidence(
        max(value, from_rescaled, inert) <= 1e3 * EPS and from_mixup > 1e-3,
        {
            "loss against L_mix": value,
            "gradient against eta_hat (grad L_mix + eta grad R)": from_rescaled,
            "gradient against grad L_mix": from_mixup,
            "not detached: gradient against grad L_mix": inert,
        },
        "rounding of sums over a hundred images",
    )


CLAIMS = (
    Claim(
        id="objective.entropy",
        title="q̂ = entropy − cross-entropy",
        slide="Proposed MixupE",
        statement=r"Addition: $\hat q=H(g)-\mathrm{CE}(g,\mathbf{y})\le W(\frac{c-1}{e})$, $W$ Lambert's function",
        verdict="holds",
        finding="$R$ penalizes any gap between a prediction's entropy and its loss; with 8 classes or fewer "
        "$\\hat q<1$, and the threshold 1 of official_v3 never binds.",
        check=_entropy_identity,
        control=lambda: any_of({"bits": _entropy_identity(unit=np.log(2)), "W(c/e)": _entropy_identity(argument=0.0)}),
    ),
    Claim(
        id="objective.rewards",
        title="What abs(q̂) rewards",
        slide="Proposed MixupE",
        statement=r"Addition: in the margin $u$ of the right logit over the others, all equal, $\lvert\hat q\rvert$ "
        r"falls for $u<0$, grows up to $u=1+W(\frac{c-1}{e})$, and falls from there",
        verdict="holds",
        finding="Wrong points are drawn to the undecided prediction (in general to where the loss equals the entropy), "
        "right ones with a small margin too; only beyond the barrier is confidence rewarded.",
        check=_rewards,
        control=lambda: any_of({v: _rewards(v) for v in ("deck_detached", "official_v3", "official_v4")}),
    ),
    Claim(
        id="objective.calibration",
        title="R does not reward calibration",
        slide="Proposed MixupE",
        statement=r"Addition: calibrated predictions have $\mathbb{E}\,\hat q=0$, but $\mathbb{E}\lvert\hat q\rvert$ "
        "is least, 0, at the undecided prediction",
        verdict="holds",
        finding="With $P(y=1)=0.8$ the calibrated logit has $\\mathbb{E}\\lvert\\hat q\\rvert=0.44$, the "
        "undecided one 0.",
        check=_calibrated,
        control=lambda: _calibrated(lambda logits, y: pointwise_loss(logits, y.double()[:, None], "sigmoid")),
    ),
    Claim(
        id="objective.negativity",
        title="|q̂| avoids negativity",
        slide="Proposed MixupE",
        statement=r'$\lvert\hat q\rvert$ is needed "to avoid negativity"',
        verdict="holds if $\\eta\\,\\mathbb{E}[a]>1/n$, $n$ points being mixed with one another",
        finding="The signed total is at least $(1/n-\\eta\\mathbb{E}[a])L_n^{std}$, and unbounded below where that is "
        "negative and the network can learn points wrong and their mixtures not. With batches of $n=100$ and the "
        "README's $\\eta\\mathbb{E}[a]=0.0004$ nothing can turn negative.",
        check=_negativity,
        control=lambda: _negativity(absolute=True),
    ),
    Claim(
        id="objective.eta-hat",
        title="The normalized loss",
        slide="Proposed MixupE",
        statement=r"$\hat\eta(L_n^{mix}+\eta R)$ is the final (normalized) loss",
        verdict="holds if $\\hat\\eta$ is detached",
        finding="Differentiated through, the gradient is that of $L_n^{mix}$ and $R$ is inert; detached, the step is "
        "$\\hat\\eta(\\nabla L_n^{mix}+\\eta\\nabla R)$ while the loss's value is $L_n^{mix}$ itself.",
        check=_normalized,
        control=lambda: _normalized(detached=False),
    ),
)

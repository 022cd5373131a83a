"""Claims about cost: of q, of high orders, of the implicit regularizer, of MixupE; counted in FLOPs and passes."""

from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
import torch
from torch import nn

from mixupe_theory.claims.ledger import Claim, Evidence, any_of
from mixupe_theory.claims.objective_measurements import images
from mixupe_theory.claims.references import jacobians, nested_derivative
from mixupe_theory.flops import count
from mixupe_theory.losses import mixup_loss, pointwise_loss, standard_loss
from mixupe_theory.mixing import BetaLaw
from mixupe_theory.networks import balanced, load
from mixupe_theory.objective import MixupE, q
from mixupe_theory.taylor import taylor_coefficients

CLASSES, BATCH = 10, 8


def _convolutional(blocks: int = 1, training: bool = True) -> nn.Module:
    """Convolutions and BatchNorm for 16 x 16 colour images."""
    block = [(nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1, bias=False)) for _ in range(blocks)]
    layers = [nn.Conv2d(3, 16, 3, padding=1), *(layer for part in block for layer in part)]
    layers += [nn.AvgPool2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(1024, CLASSES)]
    return nn.Sequential(*layers).double().train(training)


NETWORKS = {  # only shapes matter to a count
    "768-32-32-10": lambda: nn.Sequential(
        *(nn.Flatten(), nn.Linear(768, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, CLASSES))
    ).double(),
    "2 convolutions": _convolutional,
    "9 convolutions": lambda: _convolutional(8),
}


def _batch() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(np.random.default_rng(0).normal(size=(BATCH, 3, 16, 16))), torch.arange(BATCH) % CLASSES


def _forward_flops() -> int:
    return count(lambda: _convolutional(training=False)(_batch()[0]))


def step_flops(variant: str, net: nn.Module) -> int:
    """FLOPs of one training step of a MixupE variant, forward and backward."""
    criterion = MixupE(variant=variant, threshold=float("inf"))
    return count(lambda: criterion(net, *_batch(), lam=0.3, permutation=torch.arange(BATCH).flip(0)).backward())


def _plain_flops(net: nn.Module, batches: int = 1) -> int:
    """FLOPs of a step on the loss of a mixed batch, or on the difference of the losses of two batches."""
    x, y = _batch()
    targets = nn.functional.one_hot(y, CLASSES).double()
    return count(lambda: sum(pointwise_loss(net(x), targets).mean() for _ in range(batches)).backward())


def _in_steps_of_mixup(variant: str) -> list[float]:
    """FLOPs of a variant's step over those of mixup's, on each network."""
    return [step_flops(variant, make()) / _plain_flops(make()) for make in NETWORKS.values()]


COUNTED = "none: FLOPs of matrix products and convolutions are whole numbers"


def _efficient(variants=("deck", "deck_detached", "official_v3", "official_v4")) -> Evidence:
    ratios = {variant: _in_steps_of_mixup(variant) for variant in variants}
    return Evidence(
        all(ratio == 2 for values in ratios.values() for ratio in values),
        {f"{variant} / mixup, on {len(NETWORKS)} networks": max(values) for variant, values in ratios.items()},
        COUNTED,
    )


def _jacobian_cost(compute=None) -> Evidence:
    """q takes two forward passes' FLOPs, the Jacobian one and c backward passes; a step with q 1.5 times the deck's."""
    net, (x, y) = _convolutional(training=False), _batch()  # a Jacobian is one sample's
    compute = compute or (lambda: q(net, x, y))
    with torch.no_grad():
        of_q = count(compute) / _forward_flops()
    jacobian = count(lambda: jacobians(net, x)) / _forward_flops()
    exact, official = _in_steps_of_mixup("exact"), _in_steps_of_mixup("official_v1")
    return Evidence(
        of_q == 2 and jacobian >= CLASSES and all(ratio == 3 for ratio in exact),
        {
            "forward passes, f and q": of_q,
            "forward passes, f and the Jacobian": jacobian,
            "step with the exact q, in steps of mixup": max(exact),
            **{f"step with double backward, {name}": value for name, value in zip(NETWORKS, official, strict=True)},
        },
        COUNTED,
    )


def _high_orders(taylor=True) -> Evidence:
    """Taylor mode needs K + 1 passes along a direction, nested forward mode at least 2^K."""
    net, (x, _) = _convolutional(training=False), _batch()
    forward, orders = _forward_flops(), range(1, 6)

    with torch.no_grad():
        by_nesting = [count(lambda k=k: nested_derivative(lambda t: net(x + t * x), k)) / forward for k in orders]
        jets = [count(lambda k=k: taylor_coefficients(net, x, x, k)) / forward for k in orders]
    heavy = all(passes >= 2**k for k, passes in zip(orders, by_nesting, strict=True))
    return Evidence(
        heavy and (jets if taylor else by_nesting) == [k + 1 for k in orders],
        {"passes at K = 5, Taylor mode": jets[-1], "nested": by_nesting[-1]},
        COUNTED,
    )


def _explicit(order: int = 4) -> Evidence:
    """R as the difference of two losses costs what the deck's step costs; its Taylor series costs more."""
    net, (x, _) = _convolutional(training=False), _batch()
    difference, deck = _plain_flops(_convolutional(), 2), step_flops("deck", _convolutional())
    series = count(lambda: taylor_coefficients(net, x, x, order).sum().backward())
    return Evidence(
        difference == deck and series > deck,
        {"L_mix - L_std, in steps of MixupE": difference / deck, f"series to order {order}": series / deck},
        COUNTED,
    )


def _batch_estimate(factor=lambda batch, n: (1 - 1 / batch) / (1 - 1 / n)) -> Evidence:
    """Mean of (batch mixup loss - batch loss) over all batches of B of 4 points, all permutations, and lambda."""
    f, law = load("digits-tanh-mixup-1"), BetaLaw(1.0)
    x, y = balanced(*images("digits-tanh"), 4)
    targets = nn.functional.one_hot(y, 10).double()
    lam, weights = (torch.from_numpy(t) for t in law.quadrature(64))
    lam = lam[:, None, None]
    implicit = mixup_loss(f, x, y, law) - standard_loss(f, x, y)
    errors = {}
    for size in (2, 3, 4):
        found = []
        for rows in combinations(range(4), size):
            batch = [t[list(rows)] for t in (x, targets)]
            for partner in permutations(range(size)):
                mixed, labels = (lam * t + (1 - lam) * t[list(partner)] for t in batch)
                gained = weights @ pointwise_loss(f(mixed), labels).mean(1) - standard_loss(f, *batch)
                found.append(gained)
        ratio = (torch.stack(found).mean() / implicit).item()
        errors[f"B = {size} of 4: mean estimate / R"] = ratio
        errors[f"B = {size}: error"] = abs(ratio - factor(size, 4))
    cost = _plain_flops(_convolutional(), 2) / step_flops("deck", _convolutional())
    return Evidence(
        max(value for name, value in errors.items() if "error" in name) <= 1e-9 and cost == 1,
        errors | {"cost, in steps of MixupE": cost},
        "quadrature to 1e-10 of the loss; FLOPs are whole numbers",
    )


_DIFFERENCE = Claim(
    id="objective.implicit-regularizer",
    title="R is a difference of two losses",
    slide="Limitation",
    statement=r"Corrected: $R=L_n^{mix}-L_n^{std}$; a batch of $B$ with a random permutation estimates "
    r"$\frac{1-1/B}{1-1/n}R$ without bias, at the cost of one MixupE step",
    verdict="holds",
    finding="Theorem 1 itself says so; no derivative is needed.",
    check=_batch_estimate,
    control=lambda: _batch_estimate(factor=lambda batch, n: 1.0),
)

CLAIMS = (
    Claim(
        id="objective.jacobian-cost",
        title="Cost of the Jacobian",
        slide="Proposed MixupE",
        statement="Computing the Jacobian at each step is expensive",
        verdict="holds if the whole Jacobian is formed",
        finding="$q$ needs one product with it: one forward pass more, 1.5 times the deck's step in training. The "
        "official double backward takes about as much, 3.0 to 3.9 steps of mixup on three networks.",
        check=_jacobian_cost,
        control=lambda: _jacobian_cost(lambda: jacobians(_convolutional(training=False), _batch()[0])),
    ),
    Claim(
        id="objective.high-order-cost",
        title="Cost of high orders",
        slide="Limitation",
        statement="High-order approximations suffer a heavy computational burden",
        verdict="holds if derivatives are nested",
        finding="Nested forward mode takes at least $2^K$ passes (torch $3^K$); Taylor mode $K+1$ for each direction.",
        check=_high_orders,
        control=lambda: _high_orders(taylor=False),
    ),
    Claim(
        id="objective.implicit-impractical",
        title="Explicit minimization is impractical",
        slide="Limitation",
        statement="Minimizing the implicit regularization explicitly is impractical",
        verdict="fails as printed",
        finding="As $L_n^{mix}-L_n^{std}$ it costs exactly what MixupE costs; even its series to order 4, along one "
        "direction per sample, costs 2.5 such steps.",
        check=_explicit,
        control=lambda: _explicit(order=1),
        corrected=_DIFFERENCE,
    ),
    _DIFFERENCE,
    Claim(
        id="objective.efficient-alternative",
        title="An efficient alternative",
        slide="Limitation",
        statement="Mixup with an extra regularization is a computationally efficient alternative",
        verdict="holds if twice the cost of mixup is efficient",
        finding="The clean batch's forward and backward pass doubles mixup's FLOPs, exactly.",
        check=_efficient,
        control=lambda: any_of({v: _efficient((v,)) for v in ("exact", "official_v1", "official_v2")}),
    ),
)

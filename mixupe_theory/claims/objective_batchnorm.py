"""The claim about q with BatchNorm in training mode, where an output depends on the whole batch."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from mixupe_theory.claims.ledger import Claim, Evidence
from mixupe_theory.claims.objective_measurements import BATCH_NORM, images, network
from mixupe_theory.claims.references import jacobians, slope
from mixupe_theory.losses import mean_response
from mixupe_theory.objective import official_q, q

EPS = torch.finfo(torch.float64).eps


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
            "mean abs(official q - q) / mean abs(q)": ((official - fixed).abs().mean() / fixed.abs().mean()).item(),
            "order in eps of the sum of the official q": order,
            "sum of the official q / sum of abs(q), eps = 1e-5": float(sums[1, 0] / sums[1, 1]),
        },
        "rounding; scale invariance up to eps gives order 1, without it the order is 0",
    )


def _by_jacobian(net: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """q at E[x'] = 0 from each sample's whole Jacobian."""
    along = -(jacobians(net, x) @ x[..., None])[..., 0]
    return ((mean_response(net(x)) - nn.functional.one_hot(y, 10)) * along).sum(1)


CLAIMS = (
    Claim(
        id="objective.batch-norm",
        title="q with BatchNorm in training mode",
        slide="Proposed MixupE",
        statement=r"$q(\mathbf{x}_i)$ is a quantity of one sample (networks with BatchNorm in training)",
        verdict="holds if the batch statistics are held fixed",
        finding="The official double backward lets samples influence each other. Where every path from the inputs "
        "meets BatchNorm right behind a linear layer, its values sum to the order of BatchNorm's eps: official_v1's "
        "penalty vanishes unless its threshold binds.",
        check=_batch_norm,
        control=lambda: _batch_norm(training=False),
    ),
)

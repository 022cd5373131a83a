"""One step as the official code makes it: eager, a forward pass for each batch, and waiting for the device.

A slow and obvious reference for :mod:`mixupe_theory.training.step`, with which it shares no code but the q of "exact".
It follows the algorithm of oneHuster/MixupE, main.py and mixup.py: its losses, its checks, the numbers it reads back at
each step for its log. It leaves out the gradient in the inputs, which that code computes and never uses. The variant
"official_v3" is ``mixupe_version`` 3 there; "deck" and "exact", which it does not have, are done in its manner.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from mixupe_theory import _validation as check
from mixupe_theory.first_order import q

_VARIANTS = ("deck", "official_v3", "exact")


def plain_step(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    x: torch.Tensor,
    y: torch.Tensor,
    lam: float | None = None,
    partner: torch.Tensor | None = None,
    *,
    variant: str | None = None,
    alpha: float = 1.0,
    eta: float = 1e-3,
    threshold: float = 1.0,
    x_mean: torch.Tensor | None = None,
) -> tuple[float, float]:
    """Train on one batch: ERM without lam, mixup without variant, else MixupE.

    Args:
        network: In training mode.
        optimizer: Of its parameters.
        x: Normalized inputs, (n, ...), on the network's device.
        y: Their classes, (n,).
        lam: Lambda of the batch.
        partner: Each sample's partner, a permutation of 0..n-1.
        variant: "deck", "official_v3" or "exact".
        alpha: Of lambda ~ Beta(alpha, alpha).
        eta: Weight of the penalty.
        threshold: Of "official_v3".
        x_mean: E[x'], for "exact".

    Returns:
        The loss and the accuracy on what was learnt from, in percent, as the official code logs them.

    Raises:
        ArithmeticError: If the loss is NaN.

    Example:
        >>> network = nn.Linear(2, 3, bias=False)
        >>> optimizer = torch.optim.SGD(network.parameters(), 0.1)
        >>> loss, _ = plain_step(network, optimizer, torch.zeros(4, 2), torch.arange(4) % 3)
        >>> round(loss, 1)
        1.1
    """
    if lam is None:
        output = network(x)
        loss = functional.cross_entropy(output, y)
    else:
        output = network(lam * x + (1 - lam) * x[partner])
        loss = lam * functional.cross_entropy(output, y) + (1 - lam) * functional.cross_entropy(output, y[partner])
    if variant is not None:
        check.choice("variant", variant, _VARIANTS)
        if torch.isnan(loss):
            raise ArithmeticError("the loss is NaN")
        mixup = loss.detach().abs()
        loss = loss + eta * alpha / (2 * alpha + 1) * _penalty(network, x, y, variant, threshold, x_mean)
        loss = mixup / loss.detach().abs() * loss
    correct = output.argmax(1) == y
    logged = loss.item(), 100 * correct.float().mean().item()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return logged


def _penalty(network, x, y, variant, threshold, x_mean) -> torch.Tensor:
    if variant == "exact":
        return q(network, x, y, x_mean).abs().sum() / len(x)
    output = network(x)
    residual = functional.one_hot(y, output.shape[1]) - output.softmax(1)
    values = (residual * output).sum(1)
    if variant == "deck":
        return values.abs().sum() / len(x)
    below = torch.nonzero(values.detach() < threshold).squeeze(1)
    return -values[below].sum() / len(x)

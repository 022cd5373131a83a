"""The first-order directional derivative q, its approximation q_hat, and the official code's q.

    q(x_i) = (g(f(x_i)) - y_i)^T J_f(x_i) (E[x'] - x_i),      q_hat(x_i) = (y_i - g(f(x_i)))^T f(x_i)

(deck, "Proposed MixupE"). :mod:`mixupe_theory.objective` offers them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from mixupe_theory import _validation as check
from mixupe_theory.directional import jvp, uncompiled
from mixupe_theory.losses import mean_response


def q_hat(
    logits: torch.Tensor, y: torch.Tensor, head: str = "softmax", *, residual_detached: bool = False
) -> torch.Tensor:
    """The deck's approximation q_hat = (y - g(f))^T f of q (slide "Proposed MixupE", equation 1).

    With head "softmax" it equals the entropy of softmax(f) minus the cross-entropy of f at y.

    Args:
        logits: f(x), (..., c), floating point.
        y: Class indices (...), or targets (..., c) in the simplex; with head "sigmoid" (c = 1) values in [0, 1].
        head: "softmax" or "sigmoid".
        residual_detached: Whether y - g counts as a constant in the gradient.

    Returns:
        One value for each row of logits, (...), in float32 at least.

    Raises:
        TypeError, ValueError: On bad arguments, naming them.

    Example:
        >>> logits = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
        >>> round(q_hat(logits, torch.tensor([0])).item(), 4)  # 1 - sigmoid(1)
        0.2689
    """
    check.head(head)
    logits = check.batch_logits(logits, head)
    residual = check.batch_targets(y, logits, head) - mean_response(logits, head)
    if residual_detached:
        residual = residual.detach()
    if head == "softmax":  # the residual sums to 0, so logits may be counted from their maximum, which saves digits
        logits = logits - logits.detach().amax(-1, keepdim=True)
    return (residual * logits).sum(-1)


def q(
    model: Callable, x: torch.Tensor, y: torch.Tensor, x_mean: torch.Tensor | None = None, head: str = "softmax"
) -> torch.Tensor:
    """The first-order directional derivative q = (g(f) - y)^T J_f(x) (E[x'] - x) (slide "Proposed MixupE").

    E[a] times its mean is the first order of Theorem 1's R. One forward-mode pass gives f(x) and J_f(x) (E[x'] - x)
    together; BatchNorm in training mode keeps its batch statistics fixed (:func:`mixupe_theory.directional.jvp`).

    Args:
        model: A callable (n, ...) -> (n, ..., c).
        x: Inputs, (n, ...), floating point.
        y: Targets, as in :func:`q_hat`.
        x_mean: E[x'], the mean of the training inputs, of shape x.shape[1:]; None means zeros.
        head: "softmax" or "sigmoid".

    Returns:
        One value for each row of logits, (n, ...), differentiable in the model's parameters.

    Raises:
        TypeError, ValueError: On bad arguments, naming them.

    Example:
        >>> x = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
        >>> round(q(lambda x: x, x, torch.tensor([0])).item(), 4)  # a linear model and E[x'] = 0: q = q_hat
        0.2689
    """
    check.batch(model, x, head)
    logits, derivative = jvp(model, x, _towards_mean(x, x_mean))
    logits = check.batch_logits(logits, head, len(x))
    return ((mean_response(logits, head) - check.batch_targets(y, logits, head)) * derivative).sum(-1)


@torch.compiler.disable
def official_q(
    model: Callable, x: torch.Tensor, y: torch.Tensor, x_mean: torch.Tensor | None = None, head: str = "softmax"
) -> torch.Tensor:
    """The q of the official code's first two versions, by reverse mode through a sum over the batch.

    q_i = <grad_{x_i} sum_j (g - y)_j . f_j, x_mean - x_i>, g - y detached, the gradient kept in the graph. For a model
    that treats samples apart it has the values of :func:`q`; with BatchNorm in training mode samples enter each
    other's. torch.compile has no double backward, so this runs outside it.

    Args:
        model: A callable (n, ...) -> (n, ..., c), twice differentiable in reverse mode.
        x: Inputs, (n, ...), floating point.
        y: Targets, as in :func:`q_hat`.
        x_mean: E[x'], of shape x.shape[1:]; None means zeros.
        head: "softmax" or "sigmoid".

    Returns:
        One value for each sample, (n,): the mean over a sample's positions where logits are (n, ..., c).

    Raises:
        TypeError, ValueError: On bad arguments, naming them.
    """
    check.batch(model, x, head)
    towards_mean = _towards_mean(x, x_mean)
    with torch.enable_grad(), uncompiled():
        x = x.clone().requires_grad_()
        logits = check.batch_logits(model(x.clone()), head, len(x))  # a copy that the model may change in place
        residual = (mean_response(logits, head) - check.batch_targets(y, logits, head)).detach()
        (gradient,) = torch.autograd.grad((residual * logits).sum(), x, create_graph=True)
    positions = logits[0, ..., 0].numel()
    products = gradient.to(logits.dtype) * towards_mean
    return products.reshape(len(x), -1).sum(1) / positions


def _towards_mean(x: torch.Tensor, x_mean: torch.Tensor | None) -> torch.Tensor:
    if x_mean is None:
        return -x
    if x_mean.shape != x.shape[1:]:
        raise ValueError(f"x_mean must have the shape of one input, {tuple(x.shape[1:])}, got {tuple(x_mean.shape)}")
    if x_mean.device != x.device:
        raise ValueError(f"x_mean must be on x's device, {x.device}, got {x_mean.device}; move the criterion there")
    return x_mean.to(x.dtype) - x

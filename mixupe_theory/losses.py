"""The standard loss, the exact mixup loss over all n^2 pairs, and its Monte-Carlo estimate.

The mixup loss (deck, "Implicit Regularization of Mixup") is

    L_n^mix(theta, S) = 1/n^2 sum_{i,j} E_{lambda ~ Beta(alpha, beta)} ell(theta, x_ij(lambda), y_ij(lambda)),

x_ij(lambda) = lambda x_i + (1 - lambda) x_j, y_ij likewise, ell(theta, (x, y)) = h(f(x)) - y^T f(x).
Here the expectation is a Gauss-Jacobi rule, refined until two rules agree, and the double sum is complete.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch.utils.checkpoint import checkpoint

from mixupe_theory import _validation as check
from mixupe_theory.mixing import BetaLaw, check_law, symmetrized_quadrature

FIRST_RULE, MAX_NODES = 16, 1024
PILOT_PAIRS = 512
DEFAULT_CHUNK = 4096


class AccuracyNotReached(ValueError):
    """The quadrature over lambda did not reach the requested accuracy.

    Attributes:
        reached: The relative accuracy reached, estimated from the last two rules.
        nodes: The number of nodes of the finest rule tried.
    """

    def __init__(self, reached: float, rtol: float, nodes: int):
        self.reached, self.nodes = reached, nodes
        super().__init__(
            f"mixup_loss reached a relative accuracy of {reached:.1e} with {nodes} nodes, rtol={rtol:g} was asked "
            f"for; f is probably not smooth along the pairs (ReLU, max pooling): pass rtol >= {2 * reached:.1e}"
        )


def log_partition(logits: torch.Tensor, head: str = "softmax") -> torch.Tensor:
    """The deck's h: log sum_j exp f_j (softmax) or log(1 + exp f) (sigmoid), (..., c) -> (...).

    Example:
        >>> round(log_partition(torch.zeros(1, 2, dtype=torch.float64)).item(), 4)
        0.6931
    """
    if head == "softmax":
        return logits.logsumexp(-1)
    return torch.logaddexp(logits, torch.zeros_like(logits)).squeeze(-1)


def mean_response(logits: torch.Tensor, head: str = "softmax") -> torch.Tensor:
    """The deck's g = grad h: softmax(f) or sigmoid(f), (..., c) -> (..., c)."""
    return logits.softmax(-1) if head == "softmax" else logits.sigmoid()


def pointwise_loss(logits: torch.Tensor, targets: torch.Tensor, head: str = "softmax") -> torch.Tensor:
    """The deck's ell = h(f) - y^T f for (..., c) logits and targets in the simplex, giving (...).

    Written as log1p(sum of the other exponentials) + y^T (max f - f), sums of non-negative terms, so that a tiny loss
    keeps its digits where h and y^T f would cancel.
    """
    if head == "sigmoid":  # softplus(f) - y f is the softmax loss of logits (0, f), targets (1 - y, y)
        logits = torch.cat([torch.zeros_like(logits), logits], -1)
        targets = torch.cat([1 - targets, targets], -1)
    top = logits.argmax(-1, keepdim=True)
    below = logits - logits.gather(-1, top)  # <= 0
    others = torch.scatter(below.exp(), -1, top, 0.0).sum(-1)
    return others.log1p() - (targets * below).sum(-1)


def standard_loss(f: Callable, x: torch.Tensor, y: torch.Tensor, head: str = "softmax") -> torch.Tensor:
    """L_n^std = 1/n sum_i ell(theta, (x_i, y_i)) (deck, "Implicit Regularization of Mixup").

    Args:
        f: Any callable (n, ...) -> (n, c); a module must be in evaluation mode if it has BatchNorm or dropout.
        x: Inputs, (n, ...), floating point, finite.
        y: Class indices (n,), or targets (n, c) in the simplex; with head "sigmoid" (c = 1) values in [0, 1] of shape
            (n,) or (n, 1).
        head: "softmax" or "sigmoid".

    Returns:
        A 0-d tensor, differentiable in f's parameters.

    Raises:
        TypeError: If an argument has the wrong type or dtype.
        ValueError: If a value or shape is not allowed; the message names the argument.

    Example:
        >>> x, y = torch.eye(2, dtype=torch.float64), torch.tensor([0, 1])
        >>> round(standard_loss(lambda x: 3 * x, x, y).item(), 4)
        0.0486
    """
    targets = check.problem(f, x, y, head)
    return pointwise_loss(check.logits(f, x, head), targets, head).mean()


def mixup_loss(
    f: Callable,
    x: torch.Tensor,
    y: torch.Tensor,
    law: BetaLaw,
    head: str = "softmax",
    *,
    rtol: float = 1e-10,
    chunk: int | None = None,
) -> torch.Tensor:
    """The exact mixup loss L_n^mix over all n^2 pairs (deck, "Implicit Regularization of Mixup").

    Pairs (i, j) and (j, i) visit the same segment, so each unordered pair is visited once under the law of lambda or
    1 - lambda with equal probability; the n diagonal pairs are the standard loss. The number m of nodes is
    doubled from 16 until, summed over pairs, the rules of m and of m/2 - 1 nodes (an odd one sees the middle) differ by
    at most ``rtol`` times the loss; a pilot on some hundred pairs finds m, so that the full sum is usually taken once.

    Args:
        f: Any callable (n, ...) -> (n, c); see :func:`standard_loss`.
        x: Inputs, (n, ...). n = 1 is allowed: the loss is then the standard loss.
        y: Class indices, one-hot or soft targets; see :func:`standard_loss`.
        law: The law of lambda.
        head: "softmax" or "sigmoid".
        rtol: Relative accuracy of the expectation over lambda. The sum over pairs is exact.
        chunk: Rows given to f at once, 4096 by default; bounds the memory, which does not grow with n. Chunks are
            checkpointed, so this holds for gradients too.

    Returns:
        A 0-d tensor, differentiable in f's parameters.

    Raises:
        AccuracyNotReached: (a ValueError) if two rules of up to 1024 nodes still differ by more than rtol.
        TypeError: If an argument has the wrong type or dtype.
        ValueError: If a value or shape is not allowed; the message names the argument.

    Example:
        >>> x, y = torch.eye(2, dtype=torch.float64), torch.tensor([0, 1])
        >>> round(mixup_loss(lambda x: 3 * x, x, y, BetaLaw(1.0)).item(), 4)
        0.2782
    """
    targets = check.problem(f, x, y, head)
    check_law(law)
    rtol = check.positive("rtol", rtol)
    floor = 16 * torch.finfo(x.dtype).eps
    if rtol < floor:
        raise ValueError(f"rtol must be at least {floor:.1e} for inputs of {x.dtype}, got {rtol:g}")
    chunk = DEFAULT_CHUNK if chunk is None else check.integer("chunk", chunk, least=1)
    n = x.shape[0]
    diagonal = _sum_over_chunks(
        lambda rows: pointwise_loss(f(x[rows]), targets[rows], head).sum(), range(n), chunk, x.device
    )
    if n == 1:
        return diagonal
    pairs = range(n * (n - 1) // 2)
    problem = (f, x, targets, head, law, chunk)
    m = FIRST_RULE
    if len(pairs) > 2 * PILOT_PAIRS:
        pilot = pairs[:: len(pairs) // PILOT_PAIRS]
        with torch.no_grad():
            m = _refine(problem, pilot, m, rtol, diagonal.detach() * len(pilot) / len(pairs))[1]
    off_diagonal = _refine(problem, pairs, m, rtol, diagonal.detach())[0]
    return (diagonal + 2 * off_diagonal) / n**2


def mixup_loss_mc(
    f: Callable,
    x: torch.Tensor,
    y: torch.Tensor,
    law: BetaLaw,
    head: str = "softmax",
    *,
    samples: int,
    generator: np.random.Generator,
    chunk: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Monte-Carlo estimate of :func:`mixup_loss` from independent draws of (i, j, lambda).

    The estimator is unbiased; its standard error is the sample standard deviation over sqrt(samples), so
    ``estimate +- 1.96 * standard_error`` covers the mixup loss in about 95 % of runs.

    Args:
        f: As in :func:`mixup_loss`, but f need not be smooth.
        x: As in :func:`mixup_loss`.
        y: As in :func:`mixup_loss`.
        law: As in :func:`mixup_loss`.
        head: As in :func:`mixup_loss`.
        samples: Number of draws, at least 2.
        generator: Source of randomness.
        chunk: Rows given to f at once.

    Returns:
        ``(estimate, standard_error)``, 0-d tensors; the estimate is differentiable in f's parameters.

    Raises:
        TypeError: If an argument has the wrong type or dtype.
        ValueError: If a value or shape is not allowed; the message names the argument.
    """
    targets = check.problem(f, x, y, head)
    check_law(law)
    samples = check.integer("samples", samples, least=2)
    check.generator(generator)
    chunk = DEFAULT_CHUNK if chunk is None else check.integer("chunk", chunk, least=1)
    n = x.shape[0]
    i, j = (torch.from_numpy(generator.integers(n, size=samples)).to(x.device) for _ in range(2))
    lam = torch.from_numpy(law.sample(samples, generator)).to(x)

    def values(rows):
        mixed, labels = _mix(x, targets, i[rows], j[rows], lam[rows, None])
        return pointwise_loss(f(mixed.squeeze(1)), labels.squeeze(1), head)

    losses = torch.cat(_over_chunks(values, range(samples), chunk, x.device))
    if not torch.isfinite(losses).all():
        raise ValueError("f(x) must be finite, got NaN or infinite outputs at a mixed input")
    return losses.mean(), losses.detach().std() / samples**0.5


def pair_sum(f, x, targets, head, rule, pairs: range, chunk: int) -> torch.Tensor:
    """Sum over unordered pairs of E ell at mixed input and label, by one rule (nodes, weights) of lambda."""
    nodes, weights = (torch.as_tensor(t, dtype=x.dtype, device=x.device) for t in rule)
    values = lambda p: (_pair_losses(f, x, targets, head, nodes, p, chunk) @ weights).sum()  # noqa: E731
    return _sum_over_chunks(values, pairs, max(1, chunk // len(nodes)), x.device)


def _refine(problem, pairs: range, m: int, rtol: float, diagonal: torch.Tensor) -> tuple[torch.Tensor, int]:
    """Sum over unordered pairs with the first rule of m, 2m, 4m... nodes that agrees with one of half its size."""
    f, x, targets, head, law, chunk = problem
    while True:
        rules = [symmetrized_quadrature(law, k) for k in (m // 2 - 1, m)]
        (coarse, coarse_weights), (fine, fine_weights) = (
            [torch.as_tensor(t, dtype=x.dtype, device=x.device) for t in rule] for rule in rules
        )

        def value_and_error(p, rules=(coarse, coarse_weights, fine, fine_weights)):
            coarse, coarse_weights, fine, fine_weights = rules
            by_fine = _pair_losses(f, x, targets, head, fine, p, chunk) @ fine_weights
            with torch.no_grad():
                by_coarse = _pair_losses(f, x, targets, head, coarse, p, chunk) @ coarse_weights
            return torch.stack([by_fine.sum(), (by_fine - by_coarse).abs().sum()])

        value, error = _sum_over_chunks(value_and_error, pairs, max(1, chunk // m), x.device)
        if not torch.isfinite(value):
            raise ValueError("f(x) must be finite, got NaN or infinite outputs at a mixed input")
        total = (2 * value + diagonal).item()
        reached = 2 * error.item() / total if total else 0.0  # a loss of exactly 0 is exact
        if reached <= rtol:
            return value, m
        if 2 * m > MAX_NODES:
            raise AccuracyNotReached(reached, rtol, m)
        m *= 2


def _pair_losses(f, x, targets, head, nodes, p, chunk) -> torch.Tensor:
    """ell at (x_ij(lambda), y_ij(lambda)) for unordered pairs numbered p and all nodes, (len(p), m)."""
    i, j = _unrank(p)
    mixed, labels = _mix(x, targets, i, j, nodes)
    rows = mixed.flatten(0, 1)
    logits = f(rows) if len(rows) <= chunk else torch.cat([f(part) for part in rows.split(chunk)])
    return pointwise_loss(logits.unflatten(0, mixed.shape[:2]), labels, head)


def _mix(x, targets, i, j, lam) -> tuple[torch.Tensor, torch.Tensor]:
    """lambda x_i + (1 - lambda) x_j and the same of the targets, (pairs, nodes, ...)."""
    return tuple(torch.lerp(t[j, None], t[i, None], lam.reshape(lam.shape + (1,) * (t.ndim - 1))) for t in (x, targets))


def _unrank(p: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The p-th pair i < j, counted 01, 02, 12, 03, 13, ...: p = j(j-1)/2 + i."""
    j = ((1 + (1 + 8 * p.double()).sqrt()) / 2).floor().long()
    j = j - (j * (j - 1) // 2 > p).long()  # the root may round up
    return p - j * (j - 1) // 2, j


def _sum_over_chunks(values: Callable, indices: range, chunk: int, device) -> torch.Tensor:
    """Sum of values(indices in tensors of at most ``chunk``), keeping no activation of any chunk."""
    return torch.stack(_over_chunks(values, indices, chunk, device)).sum(0)


def _over_chunks(values: Callable, indices: range, chunk: int, device) -> list[torch.Tensor]:
    def on(part: range) -> torch.Tensor:
        return values(torch.arange(part.start, part.stop, part.step, device=device))

    parts = [indices[k : k + chunk] for k in range(0, len(indices), chunk)]
    if not torch.is_grad_enabled():
        return [on(part) for part in parts]
    return [checkpoint(on, part, use_reentrant=False, preserve_rng_state=False) for part in parts]

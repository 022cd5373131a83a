"""Taylor-mode differentiation of ordinary torch code along lines: J^k f(x) v^k / k! for k = 0..order.

f is called once with a :class:`mixupe_theory.jets.Jet` in place of its input. What has no Taylor rule raises
:class:`NoTaylorRule`, which names the layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import nn

from mixupe_theory import _validation as check
from mixupe_theory import pairwise
from mixupe_theory.jets import Jet, NoTaylorRule
from mixupe_theory.tracing import NotTraced

CLOSE = 1e-3  # |x_j - x_i| / |x_i| below which W x_j - W x_i has lost too many digits of W (x_j - x_i)
PAIR_CHUNK = 4096  # coefficients of pairs held at once


def taylor_coefficients(f: Callable, x: torch.Tensor, v: torch.Tensor, order: int) -> torch.Tensor:
    """Normalized directional derivatives J^k f(x) v^k / k!, k = 0..order (Theorem 1's inner expansion).

    Rules exist for Linear, Conv1d-3d, average pooling, evaluation-mode BatchNorm and dropout, Flatten and other
    reshapes, concatenations, sums, products, quotients and powers, exp, log, sin, cos, tanh, sigmoid, logsigmoid,
    softplus (as the analytic function, whatever torch's ``threshold``), GELU, SiLU, ReLU (at a kink: the branch along
    v), softmax, log_softmax and logsumexp.

    Args:
        f: A module or any callable (n, ...) -> (n, c) that acts on each row alone.
        x: Points, (n, ...), floating point.
        v: Directions, of x's shape and dtype.
        order: Highest order, at least 1.

    Returns:
        A tensor of shape (order + 1, n, c), differentiable in f's parameters.

    Raises:
        NoTaylorRule: (a ValueError) naming the layer that cannot be expanded.
        TypeError, ValueError: On bad arguments, naming them.

    Example:
        >>> x = torch.zeros(1, 1, dtype=torch.float64)
        >>> taylor_coefficients(torch.exp, x, x + 1, 3).flatten().tolist()
        [1.0, 1.0, 0.5, 0.16666666666666666]
    """
    check.inputs("x", x)
    check.inputs("v", v)
    if v.shape != x.shape or v.dtype != x.dtype or v.device != x.device:
        raise ValueError(
            f"v must have x's shape, dtype and device, {tuple(x.shape)}, {x.dtype}, {x.device}; "
            f"got {tuple(v.shape)}, {v.dtype}, {v.device}"
        )
    check.evaluation_mode(f)
    check.same_kind(f, x)
    return _coefficients(f, x, v, check.integer("order", order, least=1))


def pairwise_jet(f: Callable, x: torch.Tensor, order: int) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Taylor coefficients along every displacement x_j - x_i of a batch, in chunks of pairs.

    Where no gradient is asked for, f is called once, on the n points, and what it does to them is replayed for the
    orders 1..K of all pairs (:mod:`mixupe_theory.tracing`), in as many threads as torch uses. That covers linear
    layers, convolutions, average pooling, BatchNorm, reshapes, sums, products and pointwise functions; any other f that
    :func:`taylor_coefficients` can expand goes pair by pair. On a CPU, where there is much to do, pointwise functions
    and the linear layers between them are compiled (:mod:`mixupe_theory.chains`).

    The first layer's W (x_j - x_i) is the difference of W x_j and W x_i there; pairs closer than 1e-3 of their size,
    for which it would lose digits, go one by one as well.

    Args:
        f: As in :func:`taylor_coefficients`.
        x: Points, (n, ...).
        order: Highest order, at least 1.

    Returns:
        An iterator of (i, j, coefficients): indices of shape (p,) and coefficients (order + 1, p, c) of
        a -> f(x_i + a (x_j - x_i)). Iterated to the end it visits each of the n^2 ordered pairs once.

    Raises:
        NoTaylorRule, TypeError, ValueError: As :func:`taylor_coefficients`, at the call and not at the first chunk.

    Example:
        >>> x = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
        >>> [len(i) for i, j, coefficients in pairwise_jet(torch.sin, x, order=2)]
        [4]
    """
    check.inputs("x", x)
    check.evaluation_mode(f)
    check.same_kind(f, x)
    order = check.integer("order", order, least=1)
    try:
        trace = pairwise.trace(f, x, order)
    except NotTraced:
        with torch.no_grad():
            _coefficients(f, x[:1], torch.zeros_like(x[:1]), 1)  # a missing rule is reported before iteration
        return _pair_by_pair(f, x, order)
    return _all_pairs(f, x, order, trace)


def _all_pairs(f, x, order, trace):
    close = None
    for i, j, coefficients in pairwise.run(trace):
        if close is None:  # only now, while other threads work on the next chunks
            close = _close_pairs(x.detach().flatten(1).double().cpu().numpy()).to(x.device)
        if len(close):
            anew = torch.isin(i * len(x) + j, close).nonzero()[:, 0]
            start, end = x[i[anew]], x[j[anew]]
            with torch.no_grad():
                coefficients[:, anew] = _coefficients(f, start, end - start, order)
        yield i, j, coefficients


def _close_pairs(x: np.ndarray) -> torch.Tensor:
    """The indices i n + j of pairs whose distance is not 0 but small against x_i, both by their largest entry."""
    radius = CLOSE * np.abs(x).max(1)
    near = cKDTree(x).query_ball_point(x, radius, p=np.inf)
    found = [np.empty(0, int)]
    for i, others in enumerate(near):
        if len(others) > 1:  # than x_i itself
            j = np.array(others)
            found.append(i * len(x) + j[(x[j] != x[i]).any(1)])
    return torch.from_numpy(np.concatenate(found))


def _pair_by_pair(f, x, order):
    n = x.shape[0]
    chunk = max(1, PAIR_CHUNK // (order + 1))
    for start in range(0, n * n, chunk):
        pair = torch.arange(start, min(start + chunk, n * n), device=x.device)
        i, j = pair // n, pair % n
        yield i, j, _coefficients(f, x[i], x[j] - x[i], order)


def _coefficients(f, x, v, order) -> torch.Tensor:
    seed = torch.cat([x[None], v[None], x.new_zeros((order - 1, *x.shape))])
    try:
        out = f(Jet(seed))
    except NoTaylorRule as error:
        raise NoTaylorRule(f"f: {_layer(f, error)}{error}") from None
    if isinstance(out, torch.Tensor):  # f does not depend on x
        out = Jet(torch.cat([out[None], out.new_zeros((order, *out.shape))]))
    if not isinstance(out, Jet) or out.ndim != 2 or out.shape[0] != x.shape[0]:
        got = tuple(out.shape) if isinstance(out, Jet) else type(out).__name__
        raise ValueError(f"f(x) must have shape ({x.shape[0]}, c), got {got}")
    return check.finite_coefficients(out.coefficients)


def _layer(f, error: Exception) -> str:
    """Name the innermost module whose forward raised, from the traceback."""
    module, frame = None, error.__traceback__
    while frame is not None:
        owner = frame.tb_frame.f_locals.get("self")
        module = owner if isinstance(owner, nn.Module) else module
        frame = frame.tb_next
    if module is None:
        return ""
    names = {id(m): name for name, m in f.named_modules()} if isinstance(f, nn.Module) else {}
    return f"layer {names.get(id(module), '') or 'f'!r} ({type(module).__name__}): "

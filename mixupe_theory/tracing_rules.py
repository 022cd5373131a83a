"""What is written down for each torch function while f is traced at the points of all pairs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional as F

from mixupe_theory import straightline
from mixupe_theory.chains import Link, can_compile
from mixupe_theory.jets import Jet, function_name
from mixupe_theory.tracing import Node, NotTraced, Traced

COMPILE_FROM = 2**18  # numbers of one order over all pairs from which compiling a pointwise function pays
COMPILE_TO = 64  # the highest order that is unrolled; the code is quadratic in it


def _linear(trace, func, u, weight, bias=None) -> Node:
    _constants(u, weight, bias, rows=None)
    value = func(u.node.value, weight, bias)

    def step(pairs, given):
        out = trace.take((*given.shape[:-1], len(weight)))
        torch.mm(given.reshape(-1, given.shape[-1]), weight.T, out=out.view(-1, len(weight)))
        return out

    link = Link(None, weight.detach().contiguous().T) if can_compile(value) else None
    return trace.affine(value, (u,), step, fresh=True, link=link)


def _matmul(trace, func, u, weight) -> Node:
    _constants(u, weight, rows=None)
    if weight.ndim != 2:
        raise NotTraced
    value = func(u.node.value, weight)
    link = Link(None, weight.detach().contiguous()) if can_compile(value) else None
    return trace.affine(value, (u,), lambda pairs, given: given @ weight, fresh=True, link=link)


def _convolution(trace, func, u, weight, bias=None, *args, **kwargs) -> Node:
    value = func(u.node.value, weight, bias, *args, **kwargs)
    step = _rowwise(lambda rows: func(rows, weight, None, *args, **kwargs))
    return trace.affine(value, (u,), step, fresh=True)


def _pool(trace, func, u, *args, **kwargs) -> Node:
    return trace.affine(func(u.node.value, *args, **kwargs), (u,), _rowwise(lambda rows: func(rows, *args, **kwargs)))


def _batch_norm(trace, func, u, mean, var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5) -> Node:
    if training or mean is None:
        raise NotTraced
    scale = _rowwise(lambda rows: F.batch_norm(rows, torch.zeros_like(mean), var, weight, eps=eps))
    return trace.affine(F.batch_norm(u.node.value, mean, var, weight, bias, eps=eps), (u,), scale)


def _rowwise(function: Callable) -> Callable:
    """A function linear in each row, applied to every order of every pair at once."""
    return lambda pairs, given: function(given.flatten(0, 1)).unflatten(0, (-1, pairs.order))


def _dropout(trace, func, u, p=0.5, training=True, inplace=False) -> Node:
    if training:
        raise NotTraced
    return u.node


def _reshape(trace, func, u, *args, **kwargs) -> Node:
    value = func(u.node.value, *args, **kwargs)
    return trace.affine(value, (u,), lambda pairs, given: given.reshape(*given.shape[:2], *value.shape[1:]))


def _neg(trace, func, u) -> Node:
    return trace.affine(-u.node.value, (u,), lambda pairs, given: -given)


def _add(trace, func, u, w, sign: int = 1) -> Node:
    if not isinstance(u, Traced):
        return (_add if sign == 1 else _subtract_from)(trace, func, w, u)
    if not isinstance(w, Traced):
        _constants(u, w)
        return trace.affine(u.node.value + sign * w, (u,), lambda pairs, given: given)
    a, b = u.node, w.node
    if a.value.ndim != b.value.ndim:
        raise NotTraced

    def step(pairs, given_a, given_b):
        return torch.add(a.higher(pairs, given_a), b.higher(pairs, given_b), alpha=sign)

    return trace.affine(torch.add(a.value, b.value, alpha=sign), (u, w), step)


def _subtract_from(trace, func, u, w) -> Node:
    _constants(u, w)
    return trace.affine(w - u.node.value, (u,), lambda pairs, given: -given)


def _mul(trace, func, u, w) -> Node:
    if isinstance(u, Traced) and isinstance(w, Traced):
        return _series(trace, func, u, w)
    u, w = (u, w) if isinstance(u, Traced) else (w, u)
    _constants(u, w)
    return trace.affine(u.node.value * w, (u,), lambda pairs, given: given * w)


def _div(trace, func, u, w) -> Node:
    if isinstance(w, Traced):
        return _series(trace, func, u, w)
    _constants(u, w)
    return trace.affine(u.node.value / w, (u,), lambda pairs, given: given / w)


def _constants(u: Traced, *values, rows: int | None = 1) -> None:
    """Follow only constants that are the same for every row and need no gradient."""
    for w in values:
        if isinstance(w, Traced):
            raise NotTraced
        if rows is not None and isinstance(w, torch.Tensor) and w.ndim >= u.ndim:
            raise NotTraced


def _series(trace, func, *args, **kwargs) -> Node:
    """Any function with a rule for jets, applied to them chunk by chunk."""
    inputs = [u for u in args if isinstance(u, Traced)]
    nodes = tuple(u.node for u in inputs)
    for w in args:
        if not isinstance(w, Traced):
            _constants(inputs[0], w)
    if len({u.ndim for u in inputs}) > 1:
        raise NotTraced

    def apply(jets):
        jets = iter(jets)
        filled = tuple(next(jets) if isinstance(u, Traced) else u for u in args)
        return Jet.__torch_function__(func, (Jet,), filled, kwargs).coefficients

    def step(pairs, *given):
        series = (Jet(node.series(pairs, orders)) for node, orders in zip(nodes, given, strict=True))
        return apply(series)[1:].transpose(0, 1)

    return Node(apply(Jet(node.value[None]) for node in nodes)[0], nodes, step)


def _along(trace, func, u, dim, *args, **kwargs) -> Node:
    """Softmax and its like, along a dimension that is not the points'."""
    if not isinstance(dim, int) or dim in (0, -u.ndim):
        raise NotTraced
    return _series(trace, func, u, dim, *args, **kwargs)


def _pointwise(trace, func, u, *args, **kwargs) -> Node:
    """A pointwise function: compiled where that pays, else by the plain recurrences."""
    name, node, order = function_name(func), u.node, trace.order
    pays = trace.points * node.value.numel() >= COMPILE_FROM and order <= COMPILE_TO
    if (
        not pays
        or not can_compile(node.value)
        or name not in straightline.FUNCTIONS
        or not _is_default(name, *args, **kwargs)
    ):
        return _series(trace, func, u, *args, **kwargs)
    value, tables = straightline.tables(name, node.value, affine=node.is_affine)
    return Node(value, (node,), fresh=True, link=Link(name, torch.stack([*tables.values()], 1), node.is_affine))


def _is_default(name: str, *args, **kwargs) -> bool:
    """Whether softplus has beta 1 and GELU is the exact one, as the compiled functions are."""
    if name == "softplus":
        return (args or (kwargs.get("beta", 1.0),))[0] == 1
    return name != "gelu" or kwargs.get("approximate", "none") == "none"


RULES: dict[str, Callable] = {
    "linear": _linear,
    **dict.fromkeys(("matmul", "mm"), _matmul),
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _convolution),
    **dict.fromkeys(("avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d"), _pool),
    "batch_norm": _batch_norm,
    **dict.fromkeys(("dropout", "dropout1d", "dropout2d", "dropout3d"), _dropout),
    **dict.fromkeys(("flatten", "unflatten", "reshape", "view", "squeeze", "unsqueeze", "contiguous"), _reshape),
    "neg": _neg,
    "add": _add,
    "sub": lambda trace, func, u, w: _add(trace, func, u, w, -1),
    "__rsub__": _subtract_from,
    "mul": _mul,
    **dict.fromkeys(("div", "true_divide"), _div),
    **dict.fromkeys(("pow", "square", "sqrt", "reciprocal", "__rdiv__"), _series),
    **dict.fromkeys(
        ("exp", "log", "sin", "cos", "tanh", "sigmoid", "logsigmoid", "silu", "softplus", "gelu", "relu"), _pointwise
    ),
    **dict.fromkeys(("softmax", "log_softmax", "logsumexp"), _along),
}

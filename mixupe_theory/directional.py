"""A model's logits on a batch, and their derivative along one direction per sample, in one forward-mode pass."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import torch
import torch.autograd.forward_ad as forward_mode
from torch.nn import functional
from torch.overrides import TorchFunctionMode

_LINEAR = (functional.linear, functional.conv1d, functional.conv2d, functional.conv3d)


def _like_linear(input, weight, bias=None, *args, **kwargs):
    """The first parameters of each of them."""


_SIGNATURES = {functional.batch_norm: inspect.signature(functional.batch_norm)}
_SIGNATURES |= dict.fromkeys(_LINEAR, inspect.signature(_like_linear))


def jvp(model: Callable, x: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """f(x) and J_f(x_i) v_i for each sample, with BatchNorm's batch statistics held fixed.

    In training mode BatchNorm makes an output depend on the whole batch. Moving all samples at once would move the
    statistics as well (and BatchNorm hides a common scaling of its inputs, so the derivative along -x would nearly
    vanish); here only x_i moves. The values, and the update of the running statistics, are those of an ordinary
    forward pass, and both results are differentiable in the parameters, through the statistics too.

    Args:
        model: A callable (n, ...) -> (n, ..., c) whose operations torch can differentiate in forward mode.
        x: Inputs, (n, ...).
        v: Directions, of x's shape.

    Returns:
        ``(logits, derivative)``, both (n, ..., c).

    Example:
        >>> x = torch.tensor([[3.0]], dtype=torch.float64)
        >>> [t.item() for t in jvp(lambda x: x**2, x, torch.ones_like(x))]
        [9.0, 6.0]
    """
    model = getattr(model, "_orig_mod", model)  # forward mode cannot enter a module that torch.compile has compiled
    with forward_mode.dual_level(), _Rules():
        logits, derivative = forward_mode.unpack_dual(model(forward_mode.make_dual(x, v)))
    return logits, torch.zeros_like(logits) if derivative is None else derivative


class _Rules(TorchFunctionMode):
    """Within it, training-mode BatchNorm's mean and variance count as constants, and linear layers cost two products.

    torch's own rule multiplies the input by the weight's derivative as well, which is zero here: a third product.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in _SIGNATURES:
            call = _SIGNATURES[func].bind(*args, **kwargs)
            call.apply_defaults()
            x, tangent = forward_mode.unpack_dual(call.arguments["input"])
            if tangent is not None and func is functional.batch_norm and call.arguments["training"]:
                return _batch_norm(call, x, tangent)
            if tangent is not None and func in _LINEAR and not _moves(call.arguments["weight"]):
                return _linear(func, call, x, tangent)
        return func(*args, **kwargs)


def _linear(func, call, x, tangent) -> torch.Tensor:
    call.arguments["input"] = x
    out = func(*call.args, **call.kwargs)
    call.arguments |= {"input": tangent, "bias": None}
    return forward_mode.make_dual(out, func(*call.args, **call.kwargs))


def _batch_norm(call, x, tangent) -> torch.Tensor:
    call.arguments["input"] = x
    out = functional.batch_norm(*call.args, **call.kwargs)
    sample = x.to(torch.promote_types(x.dtype, torch.float32))
    variance = sample.var([d for d in range(x.ndim) if d != 1], correction=0, keepdim=True)
    slope = torch.rsqrt(variance + call.arguments["eps"])
    if call.arguments["weight"] is not None:
        slope = slope * call.arguments["weight"].reshape(slope.shape)
    return forward_mode.make_dual(out, (slope * tangent).to(out.dtype))


def _moves(weight) -> bool:
    return forward_mode.unpack_dual(weight).tangent is not None

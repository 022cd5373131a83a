"""A model's logits on a batch, and their derivative along one direction per sample, in one forward-mode pass."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.autograd.forward_ad as forward_mode
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from mixupe_theory import _validation as check

_LINEAR = (functional.linear, functional.conv1d, functional.conv2d, functional.conv3d)
_NORMS = (functional.batch_norm, functional.instance_norm, functional.layer_norm)


def _like_linear(input, weight, bias=None, *args, **kwargs):
    """The first parameters of each of them."""


_SIGNATURES = dict.fromkeys(_LINEAR, inspect.signature(_like_linear))
_SIGNATURES |= {norm: inspect.signature(norm) for norm in _NORMS}
_ATEN = torch.ops.aten
_OTHER_NAMES = {  # of the same normalizations, to which the rules below do not apply
    *(torch.batch_norm, torch.native_batch_norm, torch.instance_norm, torch.layer_norm, torch.native_layer_norm),
    *(_ATEN.batch_norm.default, _ATEN.native_batch_norm.default, _ATEN._native_batch_norm_legit.default),
    *(_ATEN.instance_norm.default, _ATEN.layer_norm.default, _ATEN.native_layer_norm.default),
}


def jvp(model: Callable, x: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """f(x) and J_f(x_i) v_i for each sample, with BatchNorm's batch statistics held fixed.

    In training mode BatchNorm makes an output depend on the whole batch. Moving all samples at once would move the
    statistics as well (and BatchNorm hides a common scaling of its inputs, so the derivative along -x would nearly
    vanish); here only x_i moves. The values, and the update of the running statistics, are those of an ordinary
    forward pass, and both results are differentiable in the parameters, through the statistics too. Normalization
    must be torch.nn's or torch.nn.functional's: written out by hand, its statistics would move.

    Args:
        model: A callable (n, ...) -> (n, ..., c) whose operations torch can differentiate in forward mode.
        x: Inputs, (n, ...).
        v: Directions, of x's shape.

    Returns:
        ``(logits, derivative)``, both (n, ..., c).

    Raises:
        TypeError: If the model is a TorchScript module or returns no tensor.
        NotImplementedError: If torch, or this module, has no forward-mode rule for an operation.

    Example:
        >>> x = torch.tensor([[3.0]], dtype=torch.float64)
        >>> [t.item() for t in jvp(lambda x: x**2, x, torch.ones_like(x))]
        [9.0, 6.0]
    """
    if not torch.compiler.is_compiling():
        _refuse_scripts(model)
    with uncompiled(), forward_mode.dual_level(), _Rules():
        out = model(forward_mode.make_dual(_own(x), _own(v)))
        if not isinstance(out, torch.Tensor):
            raise TypeError(f"logits must be a floating-point tensor of shape (n, ..., c), got {check.kind(out)}")
        logits, derivative = forward_mode.unpack_dual(out)
    return logits, torch.zeros_like(logits) if derivative is None else derivative


def _refuse_scripts(model) -> None:
    """TorchScript passes by the rules below."""
    parts = model.modules() if isinstance(model, nn.Module) else (model,)
    if any(isinstance(part, torch.jit.ScriptModule | torch.jit.ScriptFunction) for part in parts):
        raise TypeError("model must be Python code for its derivative along a direction, got a TorchScript module")


def uncompiled() -> AbstractContextManager:
    """Within it, modules and functions that torch.compile has compiled run as they were written.

    Neither forward mode nor a double backward can pass through compiled code; inside a graph that is being compiled
    there is none.
    """
    return nullcontext() if torch.compiler.is_compiling() else torch.compiler.set_stance("force_eager")


def _own(t: torch.Tensor) -> torch.Tensor:
    """A tensor whose entries have memory of their own, unlike an expanded one's."""
    return t.clone() if 0 in t.stride() else t


class _Rules(TorchFunctionMode):
    """Rules of forward mode for linear layers and normalizations, in place of torch's own.

    Linear layers: torch multiplies the input by the weight's derivative too, which is zero here, a third product.
    BatchNorm in training mode: the batch's mean and variance count as constants. LayerNorm and InstanceNorm: torch's
    rule treats mean and variance as constants when it is differentiated in the parameters, which is wrong.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in _SIGNATURES:
            call = _SIGNATURES[func].bind(*args, **kwargs)
            call.apply_defaults()
            given = call.arguments
            x, tangent = forward_mode.unpack_dual(given["input"])
            own_rule = func in _LINEAR or (given.get("training", True) and given.get("use_input_stats", True))
            if tangent is not None and own_rule and not _moves(given["weight"]) and not _moves(given["bias"]):
                given["input"] = x
                out = func(*call.args, **call.kwargs)
                derivative = _linear(func, call, tangent) if func in _LINEAR else _norm(func, given, x, tangent)
                return forward_mode.make_dual(out, derivative.to(out.dtype))
        elif func in _OTHER_NAMES:
            raise NotImplementedError(f"the derivative along a direction of {func} is not known; use torch.nn's layers")
        return func(*args, **kwargs)


def _linear(func, call, tangent) -> torch.Tensor:
    call.arguments |= {"input": tangent, "bias": None}
    return func(*call.args, **call.kwargs)


def _norm(func, given, x, tangent) -> torch.Tensor:
    """Derivative of (x - mean) / sqrt(variance + eps), times the weight."""
    channels_first = (1, -1) + (1,) * (x.ndim - 2)
    if func is functional.layer_norm:
        dims, shape = tuple(range(-len(given["normalized_shape"]), 0)), given["normalized_shape"]
    else:
        batch = (0,) if func is functional.batch_norm else ()
        dims, shape = batch + tuple(range(2, x.ndim)), channels_first
    x, tangent = (t.to(torch.promote_types(t.dtype, torch.float32)) for t in (x, tangent))
    variance, mean = torch.var_mean(x, dims, correction=0, keepdim=True)
    slope = torch.rsqrt(variance + given["eps"])
    if func is not functional.batch_norm:  # one sample's own statistics move with it
        normalized = (x - mean) * slope
        along = (normalized * tangent).mean(dims, keepdim=True)
        tangent = tangent - tangent.mean(dims, keepdim=True) - normalized * along
    derivative = slope * tangent
    return derivative if given["weight"] is None else derivative * given["weight"].reshape(shape)


def _moves(t) -> bool:
    return t is not None and forward_mode.unpack_dual(t).tangent is not None

"""Checks of arguments, shared by the mathematics: every error names the argument, what came and what is allowed."""

from __future__ import annotations

import math
import numbers

import numpy as np
import torch
from torch import nn

HEADS = ("softmax", "sigmoid")
_BATCH_DEPENDENT = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd, nn.AlphaDropout)


def integer(name: str, value, least: int) -> int:
    """Return ``value`` as an int of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be an integer >= {least}, got {value!r} of type {type(value).__name__}")
    if value < least:
        raise ValueError(f"{name} must be an integer >= {least}, got {value}")
    return int(value)


def positive(name: str, value) -> float:
    """Return ``value`` as a finite float > 0."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a finite number > 0, got {value!r} of type {type(value).__name__}")
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be a finite number > 0, got {value}")
    return float(value)


def generator(value) -> np.random.Generator:
    """Return ``value``, a numpy Generator."""
    if not isinstance(value, np.random.Generator):
        raise TypeError(f"generator must be a numpy.random.Generator, got {type(value).__name__}")
    return value


def head(value: str) -> str:
    """Return ``value``, one of the two heads."""
    if value not in HEADS:
        raise ValueError(f"head must be one of {HEADS}, got {value!r}")
    return value


def inputs(name: str, x) -> torch.Tensor:
    """Return ``x``, a non-empty batch of finite floating-point inputs of shape (n, ...)."""
    if not isinstance(x, torch.Tensor):
        raise TypeError(f"{name} must be a torch.Tensor of shape (n, ...), got {type(x).__name__}")
    if not x.is_floating_point():
        raise TypeError(f"{name} must be real floating point, got dtype {x.dtype}; convert with {name}.double()")
    if x.ndim < 2 or x.shape[0] == 0 or x.numel() == 0:
        raise ValueError(f"{name} must have shape (n, ...) with n >= 1, got {tuple(x.shape)}")
    if not torch.isfinite(x).all():
        raise ValueError(f"{name} must be finite, got {int((~torch.isfinite(x)).sum())} NaN or infinite entries")
    return x


def evaluation_mode(f) -> None:
    """Raise if ``f`` is a module whose outputs depend on the batch or on chance."""
    if not callable(f):
        raise TypeError(f"f must be a callable (n, ...) -> (n, c), got {type(f).__name__}")
    if not isinstance(f, nn.Module):
        return
    for name, module in f.named_modules():
        batch_statistics = isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is None
        if batch_statistics:
            raise ValueError(
                f"f: layer {name or 'f'!r} ({type(module).__name__}) has no running statistics, so its outputs depend "
                "on the whole batch; f must be a function of one input"
            )
        if isinstance(module, _BATCH_DEPENDENT) and module.training:
            raise ValueError(
                f"f: layer {name or 'f'!r} ({type(module).__name__}) is in training mode, so f is not a function "
                "of one input; call f.eval() first"
            )


def same_kind(f, x: torch.Tensor) -> None:
    """Raise unless x has the device and dtype of f's parameters, where f is a module with any."""
    if not isinstance(f, nn.Module):
        return
    for p in f.parameters():
        if p.device != x.device:
            raise ValueError(f"x must be on the device of f's parameters, {p.device}, got {x.device}")
        if p.is_floating_point() and p.dtype != x.dtype:
            raise TypeError(f"x must have the dtype of f's parameters, {p.dtype}, got {x.dtype}")


def logits(f, x: torch.Tensor, head_name: str | None) -> torch.Tensor:
    """Return f(x) after checking that it is a finite (n, c) tensor that fits the head."""
    out = f(x)
    if not isinstance(out, torch.Tensor) or out.ndim != 2 or out.shape[0] != x.shape[0]:
        got = tuple(out.shape) if isinstance(out, torch.Tensor) else type(out).__name__
        raise ValueError(f"f(x) must have shape ({x.shape[0]}, c), got {got}")
    if head_name == "softmax" and out.shape[1] < 2:
        raise ValueError("head 'softmax' needs f(x) of shape (n, c) with c >= 2, got c = 1; use head='sigmoid'")
    if head_name == "sigmoid" and out.shape[1] != 1:
        raise ValueError(f"head 'sigmoid' needs f(x) of shape (n, 1), got c = {out.shape[1]}; use head='softmax'")
    if not torch.isfinite(out).all():
        raise ValueError("f(x) must be finite, got NaN or infinite outputs")
    return out


def targets(y, out: torch.Tensor, head_name: str) -> torch.Tensor:
    """Return y as (n, c) targets in out's dtype: class indices become one-hot rows, soft targets are checked."""
    n, c = out.shape
    if not isinstance(y, torch.Tensor):
        raise TypeError(f"y must be a torch.Tensor, got {type(y).__name__}")
    if y.device != out.device:
        raise ValueError(f"y must be on the device of f(x), {out.device}, got {y.device}")
    if y.is_complex():
        raise TypeError(f"y must be class indices or real targets, got dtype {y.dtype}")
    if head_name == "sigmoid":
        if y.shape not in ((n,), (n, 1)):
            raise ValueError(f"y must have shape ({n},) or ({n}, 1) with head 'sigmoid', got {tuple(y.shape)}")
        y = y.reshape(n, 1).to(out.dtype)
        if not ((y >= 0) & (y <= 1)).all():
            raise ValueError(f"y must lie in [0, 1] with head 'sigmoid', got {_range(y)}")
        return y
    if not y.is_floating_point() and y.shape != (n, c):  # integer one-hot rows count as targets
        if y.shape != (n,):
            raise ValueError(f"y of class indices must have shape ({n},), got {tuple(y.shape)}")
        if y.dtype == torch.bool or not ((y >= 0) & (y < c)).all():
            raise ValueError(f"y of class indices must lie in 0..{c - 1}, got {_range(y)} of dtype {y.dtype}")
        return nn.functional.one_hot(y.long(), c).to(out.dtype)
    if y.shape != (n, c):
        raise ValueError(f"y of soft targets must have shape ({n}, {c}), got {tuple(y.shape)}")
    y = y if y.is_floating_point() else y.to(out.dtype)
    tolerance = 100 * torch.finfo(y.dtype).eps
    if not ((y >= 0) & ((y.sum(1, keepdim=True) - 1).abs() <= tolerance)).all():
        raise ValueError(
            f"each row of y must lie in the simplex (entries >= 0, sum 1 within {tolerance:.1e}), got entries in "
            f"{_range(y)} and sums in {_range(y.sum(1))}"
        )
    return y.to(out.dtype)


def problem(f, x, y, head_name: str) -> torch.Tensor:
    """Check f, x, y and the head together; return y as (n, c) targets."""
    head(head_name)
    inputs("x", x)
    evaluation_mode(f)
    if isinstance(y, torch.Tensor) and y.ndim > 0 and y.shape[0] != x.shape[0]:
        raise ValueError(f"y must have as many rows as x, {x.shape[0]}, got {y.shape[0]}")
    same_kind(f, x)
    with torch.no_grad():
        first = logits(f, x[:1], head_name)
    if first.dtype != x.dtype:
        raise TypeError(f"f(x) must have the dtype of x, {x.dtype}, got {first.dtype}")
    return targets(y, first.expand(x.shape[0], -1), head_name)


def _range(t: torch.Tensor) -> str:
    return f"[{t.min().item():g}, {t.max().item():g}]"

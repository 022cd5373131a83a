"""Checks of arguments, shared by the mathematics: every error names the argument, what came and what is allowed."""

from __future__ import annotations

import difflib
import math
import numbers
from collections.abc import Callable, Iterable

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
    return _number(name, value, "a finite number > 0", lambda v: math.isfinite(v) and v > 0)


def nonnegative(name: str, value) -> float:
    """Return ``value`` as a finite float >= 0."""
    return _number(name, value, "a finite number >= 0", lambda v: math.isfinite(v) and v >= 0)


def probability(name: str, value) -> float:
    """Return ``value`` as a float strictly between 0 and 1."""
    return _number(name, value, "a number strictly between 0 and 1", lambda v: 0 < v < 1)


def real(name: str, value) -> float:
    """Return ``value`` as a float, which may be infinite."""
    return _number(name, value, "a number", lambda v: not math.isnan(v))


def _number(name: str, value, allowed: str, test: Callable[[float], bool]) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be {allowed}, got {value!r} of type {type(value).__name__}")
    if not test(value):
        raise ValueError(f"{name} must be {allowed}, got {value}")
    return float(value)


def real_array(name: str, value) -> np.ndarray:
    """Return ``value`` as a float64 array of finite real numbers."""
    try:
        array = np.asarray(value)
    except ValueError as error:  # rows of different lengths
        raise ValueError(f"{name} must be an array of real numbers: {error}") from None
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must be an array of real numbers, got {type(value).__name__} of dtype {array.dtype}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got {int((~np.isfinite(array)).sum())} NaN or infinite entries")
    return array.astype(np.float64)


def vector(name: str, value, size: int) -> np.ndarray:
    """Return ``value`` as a float64 vector of ``size`` finite real numbers."""
    array = real_array(name, value)
    if array.shape != (size,):
        raise ValueError(f"{name} must have shape ({size},), got {array.shape}")
    return array


def choice(name: str, value, allowed: Iterable[str]) -> str:
    """Return ``value``, one of ``allowed``; the error suggests what is spelled alike."""
    allowed = tuple(allowed)
    if value not in allowed:
        alike = difflib.get_close_matches(str(value).lower(), allowed)
        hint = f"; did you mean {' or '.join(map(repr, alike))}?" if alike else ""
        raise ValueError(f"{name} must be one of {allowed}, got {value!r}{hint}")
    return value


def generator(value) -> np.random.Generator:
    """Return ``value``, a numpy Generator."""
    if not isinstance(value, np.random.Generator):
        raise TypeError(f"generator must be a numpy.random.Generator, got {type(value).__name__}")
    return value


def head(value: str) -> str:
    """Return ``value``, one of the two heads."""
    return choice("head", value, HEADS)


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


def finite_coefficients(coefficients: torch.Tensor) -> torch.Tensor:
    """Return Taylor coefficients of f unless one is NaN or infinite."""
    # a finite sum has finite terms, and is faster to look at; finite terms may have an infinite sum
    if not torch.isfinite(coefficients.sum()) and not torch.isfinite(coefficients).all():
        raise ValueError("f(x) must be finite with finite derivatives, got NaN or infinity")
    return coefficients


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
    """Return y as targets of out's shape (..., c) and dtype: class indices become one-hot rows, values are checked."""
    rows, valid = target_rows(y, out, head_name)
    if not valid.all():
        raise ValueError(no_targets(y, rows, head_name))
    return rows


def target_rows(y, out: torch.Tensor, head_name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return y in out's shape (..., c) and dtype, and which rows are targets, (...).

    Shapes and types are checked; values are compared, but nothing waits for the result. A row must lie in the simplex
    (head "softmax") or in [0, 1] (head "sigmoid"); a class index outside 0..c-1 becomes a row of zeros.
    """
    *leading, c = out.shape
    if not isinstance(y, torch.Tensor):
        raise TypeError(f"y must be a torch.Tensor, got {type(y).__name__}")
    if y.device != out.device:
        raise ValueError(f"y must be on the device of f(x), {out.device}, got {y.device}")
    if y.is_complex():
        raise TypeError(f"y must be class indices or real targets, got dtype {y.dtype}")
    indices, whole = tuple(leading), tuple(out.shape)
    if head_name == "sigmoid":
        if y.shape not in (indices, whole):
            raise ValueError(f"y must have shape {indices} or {whole} with head 'sigmoid', got {tuple(y.shape)}")
        rows = y.reshape(whole).to(out.dtype)
        return rows, ((rows >= 0) & (rows <= 1)).all(-1)
    if y.is_floating_point() or y.shape == whole:  # integer one-hot rows count as targets
        if y.shape != whole:
            raise ValueError(f"y of soft targets must have shape {whole}, got {tuple(y.shape)}")
        rows = y.to(out.dtype)
    else:
        if y.shape != indices:
            raise ValueError(f"y of class indices must have shape {indices}, got {tuple(y.shape)}")
        if y.dtype == torch.bool:
            raise ValueError(f"y of class indices must lie in 0..{c - 1}, got dtype {y.dtype}")
        rows = (y[..., None] == torch.arange(c, device=y.device)).to(out.dtype)
    return rows, (rows >= 0).all(-1) & ((rows.sum(-1) - 1).abs() <= _simplex_tolerance(y, rows))


def no_targets(y: torch.Tensor, rows: torch.Tensor, head_name: str) -> str:
    """What is wrong with the values of y."""
    if head_name == "sigmoid":
        return f"y must lie in [0, 1] with head 'sigmoid', got {_range(y)}"
    if y.shape != rows.shape:
        return f"y of class indices must lie in 0..{rows.shape[-1] - 1}, got {_range(y)} of dtype {y.dtype}"
    return (
        f"each row of y must lie in the simplex (entries >= 0, sum 1 within {_simplex_tolerance(y, rows):.1e}), got "
        f"entries in {_range(rows)} and sums in {_range(rows.sum(-1))}"
    )


def _simplex_tolerance(y: torch.Tensor, rows: torch.Tensor) -> float:
    """100 roundings of the coarser dtype, so that computed targets pass; 4 where it is of half precision."""
    eps = max(torch.finfo(t.dtype).eps for t in (y, rows) if t.is_floating_point())
    return (100 if eps < 1e-6 else 4) * eps


def or_nan(t: torch.Tensor, valid: torch.Tensor, message: Callable[[], str]) -> torch.Tensor:
    """Return ``t`` where ``valid`` (of t's leading shape); elsewhere raise, or put NaN where nobody may look.

    Values are read only where that neither waits for a device nor breaks a compiled graph.
    """
    if valid.device.type == "cpu" and not torch.compiler.is_compiling():
        if not valid.all():
            raise ValueError(message())
        return t
    return torch.where(valid.reshape(valid.shape + (1,) * (t.ndim - valid.ndim)), t, torch.nan)


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


def batch(model, x, head_name: str) -> None:
    """Check what a loss is given, by types and shapes alone: nothing waits for a device."""
    head(head_name)
    if not callable(model):
        raise TypeError(f"model must be a callable (n, ...) -> (n, ..., c), got {type(model).__name__}")
    if not isinstance(x, torch.Tensor) or not x.is_floating_point():
        raise TypeError(f"x must be a floating-point tensor of shape (n, ...), got {kind(x)}")
    if x.ndim == 0 or x.numel() == 0:
        raise ValueError(f"x must have shape (n, ...) with n >= 1, got {tuple(x.shape)}")


def batch_logits(out, head_name: str, n: int | None = None) -> torch.Tensor:
    """Return logits (n, ..., c) in float32 at least, after a look at their type and shape."""
    if not isinstance(out, torch.Tensor) or not out.is_floating_point():
        raise TypeError(f"logits must be a floating-point tensor of shape (n, ..., c), got {kind(out)}")
    if out.ndim < 2 or (n is not None and len(out) != n):
        raise ValueError(f"logits must have shape ({'n' if n is None else n}, ..., c), got {tuple(out.shape)}")
    if (out.shape[-1] < 2) != (head_name == "sigmoid"):
        raise ValueError(f"logits with c = {out.shape[-1]} do not fit head {head_name!r}: c = 1 wants 'sigmoid'")
    return out.to(torch.promote_types(out.dtype, torch.float32))


def batch_targets(y, logits: torch.Tensor, head_name: str) -> torch.Tensor:
    """Return y as targets of logits' shape; values that are not allowed raise, or become NaN where nobody may look."""
    rows, valid = target_rows(y, logits, head_name)
    return or_nan(rows, valid, lambda: no_targets(y, rows, head_name))


def kind(value) -> str:
    """What ``value`` is, for an error message."""
    if isinstance(value, torch.Tensor):
        return f"{value.dtype} of shape {tuple(value.shape)}"
    return type(value).__name__

"""A tensor-like value that carries Taylor coefficients through ordinary torch code.

Each torch function that meets a :class:`Jet` is answered by the rule in ``_RULES`` (``__torch_function__``), so modules
and plain callables need no change.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional as F

from mixupe_theory import recurrences as series


class NoTaylorRule(ValueError):
    """f calls a function that has no Taylor rule; the message names the layer and the function."""


class TensorLike:
    """What ordinary torch code sees of a traced value: a shape, operators, and methods that answer by rules."""

    _sample: Callable[[], torch.Tensor]  # a tensor of the value's shape, dtype and device

    shape = property(lambda self: self._sample().shape)
    ndim = property(lambda self: self._sample().ndim)
    dtype = property(lambda self: self._sample().dtype)
    device = property(lambda self: self._sample().device)

    def dim(self) -> int:
        """Number of dimensions of the value."""
        return self.ndim

    def size(self, dim: int | None = None):
        """Shape of the value, or one entry of it."""
        return self.shape if dim is None else self.shape[dim]

    def __len__(self):
        return self.shape[0]

    def __getattr__(self, name):
        method = getattr(torch.Tensor, name, None)
        if name.startswith("_") or method is None:
            raise AttributeError(f"a Jet has no attribute {name!r}")
        if not callable(method):
            raise NoTaylorRule(f"tensor attribute {name!r} has no Taylor rule")
        return lambda *args, **kwargs: self.__torch_function__(method, (type(self),), (self, *args), kwargs)

    def _operator(method):
        return lambda self, *args: self.__torch_function__(method, (type(self),), (self, *args))

    __getitem__ = _operator(torch.Tensor.__getitem__)
    __add__ = __radd__ = _operator(torch.Tensor.add)
    __sub__ = _operator(torch.Tensor.sub)
    __rsub__ = _operator(torch.Tensor.__rsub__)
    __neg__ = _operator(torch.Tensor.neg)
    __mul__ = __rmul__ = _operator(torch.Tensor.mul)
    __truediv__ = _operator(torch.Tensor.div)
    __rtruediv__ = _operator(torch.Tensor.__rtruediv__)
    __pow__ = _operator(torch.Tensor.pow)
    __matmul__ = _operator(torch.Tensor.matmul)
    __rmatmul__ = _operator(torch.Tensor.__rmatmul__)

    def _refuse(self, *others):
        raise NoTaylorRule("comparisons, truth values and a Jet as exponent have no Taylor rule")

    __lt__ = __le__ = __gt__ = __ge__ = __bool__ = __rpow__ = __float__ = _refuse


def function_name(func: Callable) -> str:
    """The name rules are kept by: add for torch.add, Tensor.add and Tensor.add_."""
    return func.__name__ if func.__name__.startswith("__") else func.__name__.removesuffix("_")


def is_in_place(func: Callable, kwargs: dict) -> bool:
    """Whether func is to change its first argument."""
    return bool(kwargs.get("inplace")) or (func.__name__.endswith("_") and not func.__name__.startswith("__"))


class Jet(TensorLike):
    """A tensor-like value that carries Taylor coefficients of shape (order + 1, *shape)."""

    def __init__(self, coefficients: torch.Tensor):
        self.coefficients = coefficients

    def _sample(self) -> torch.Tensor:
        return self.coefficients[0]

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        name, kwargs = function_name(func), kwargs or {}
        if name not in _RULES:
            raise NoTaylorRule(f"torch function {name!r} has no Taylor rule; rules exist for {', '.join(_NAMES)}")
        out = _RULES[name](func, *args, **kwargs)
        if is_in_place(func, kwargs) and isinstance(args[0], Jet):
            args[0].coefficients = out.coefficients
            return args[0]
        return out


def _linear(func, u: Jet, *args, **kwargs) -> Jet:
    """A function linear in its first argument acts on each order alone."""
    return Jet(torch.func.vmap(lambda c: func(c, *args, **kwargs))(u.coefficients))


def _affine(func, u: Jet, weight, bias=None, *args, **kwargs) -> Jet:
    """Linear and convolutions: the bias belongs to order 0 alone."""
    first = func(u.coefficients[0], weight, bias, *args, **kwargs)
    rest = torch.func.vmap(lambda c: func(c, weight, None, *args, **kwargs))(u.coefficients[1:])
    return Jet(torch.cat([first[None], rest]))


def _batch_norm(func, u: Jet, mean, var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5) -> Jet:
    if training or mean is None:
        raise NoTaylorRule("BatchNorm with batch statistics is not a function of one input; call f.eval() first")
    first = F.batch_norm(u.coefficients[0], mean, var, weight, bias, eps=eps)
    scale = lambda c: F.batch_norm(c, torch.zeros_like(mean), var, weight, eps=eps)  # noqa: E731
    return Jet(torch.cat([first[None], torch.func.vmap(scale)(u.coefficients[1:])]))


def _dropout(func, u: Jet, p=0.5, training=True, inplace=False) -> Jet:
    if training:
        raise NoTaylorRule("dropout in training mode is not a function; call f.eval() first")
    return u


def _pad(func, u: Jet, pad, mode="constant", value=None) -> Jet:
    if mode == "constant" and value:
        raise NoTaylorRule("padding with a non-zero constant has no Taylor rule")
    return _linear(func, u, pad, mode=mode)


def _add(func, u, w, alpha=1) -> Jet:
    if alpha != 1:
        w = w * alpha
    a, b = _align(u, w)
    return Jet(a + b)


def _align(u, w) -> tuple[torch.Tensor, torch.Tensor]:
    """Coefficients of two operands, constants as series, shapes padded so that they broadcast after the order."""
    jet = u if isinstance(u, Jet) else w
    a, b = ((v if isinstance(v, Jet) else _constant(v, jet)).coefficients for v in (u, w))
    rank = max(a.ndim, b.ndim)
    return tuple(c.reshape(len(c), *(1,) * (rank - c.ndim), *c.shape[1:]) for c in (a, b))


def _mul(func, u, w) -> Jet:
    if isinstance(u, Jet) and isinstance(w, Jet):
        return Jet(series.mul(*_align(u, w)))
    jet, constant = (u, w) if isinstance(u, Jet) else (w, u)
    return Jet(torch.func.vmap(lambda c: c * constant)(jet.coefficients))


def _div(func, u, w) -> Jet:
    if not isinstance(w, Jet):
        return Jet(torch.func.vmap(lambda c: c / w)(u.coefficients))
    return Jet(series.div(*_align(u, w)))


def _pow(func, u, exponent) -> Jet:
    if not isinstance(u, Jet) or not isinstance(exponent, (int, float)):
        raise NoTaylorRule("a power needs a Jet as base and a number as exponent")
    return Jet(series.power(u.coefficients, exponent))


def _matmul(func, u, w) -> Jet:
    if isinstance(u, Jet) and isinstance(w, Jet):
        a, b = u.coefficients, w.coefficients
        return Jet(torch.stack([sum(a[j] @ b[k - j] for j in range(k + 1)) for k in range(len(a))]))
    if isinstance(u, Jet):
        return Jet(torch.func.vmap(lambda c: c @ w)(u.coefficients))
    return Jet(torch.func.vmap(lambda c: u @ c)(w.coefficients))


def _cat(func, operands, dim=0) -> Jet:
    """Concatenate or stack jets and constants along a dimension of the value."""
    jet = next(u for u in operands if isinstance(u, Jet))
    parts = [u if isinstance(u, Jet) else _constant(u, jet) for u in operands]
    return Jet(func([u.coefficients for u in parts], dim if dim < 0 else dim + 1))


def _constant(value, like: Jet) -> Jet:
    """A constant as a jet."""
    value = torch.as_tensor(value, dtype=like.dtype, device=like.device)
    return Jet(torch.cat([value[None], value.new_zeros((len(like.coefficients) - 1, *value.shape))]))


def _pointwise(rule: Callable) -> Callable:
    return lambda func, u, **ignored: Jet(rule(u.coefficients))


def _softplus(func, u: Jet, beta=1.0, threshold=20.0) -> Jet:
    return Jet(series.softplus(u.coefficients * beta) / beta)


def _gelu(func, u: Jet, approximate="none") -> Jet:
    if approximate == "none":
        return Jet(series.gelu(u.coefficients))
    inner = (u + 0.044715 * u**3) * (2 / torch.pi) ** 0.5
    return 0.5 * u * (1 + torch.tanh(inner))


def _relu(func, u: Jet, inplace=False) -> Jet:
    return Jet(series.relu(u.coefficients))


def _softmax_family(pick: Callable) -> Callable:
    def rule(func, u: Jet, dim, keepdim=False, dtype=None, **ignored):
        dim = dim[0] if isinstance(dim, tuple) and len(dim) == 1 else dim
        if not isinstance(dim, int):
            raise NoTaylorRule(f"{func.__name__} over several dimensions has no Taylor rule")
        dim = dim if dim < 0 else dim - u.ndim
        softmax, total, log_softmax = series.softmax_family(u.coefficients, dim)
        return Jet(pick(softmax, total if keepdim else total.squeeze(dim), log_softmax))

    return rule


_LINEAR = (
    "flatten unflatten reshape view permute transpose squeeze unsqueeze movedim expand contiguous clone sum mean neg "
    "narrow avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d"
).split()

_RULES: dict[str, Callable] = {
    **dict.fromkeys((*_LINEAR, "__getitem__"), _linear),
    **dict.fromkeys(("linear", "conv1d", "conv2d", "conv3d"), _affine),
    "batch_norm": _batch_norm,
    **dict.fromkeys(
        ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout"), _dropout
    ),
    "pad": _pad,
    **dict.fromkeys(("cat", "concat", "stack"), _cat),
    **dict.fromkeys(("add", "__add__", "__radd__"), _add),
    **dict.fromkeys(("sub", "__sub__"), lambda func, u, w, alpha=1: _add(func, u, -w, alpha)),
    "__rsub__": lambda func, u, w: _add(func, -u, w),
    **dict.fromkeys(("mul", "__mul__", "__rmul__"), _mul),
    **dict.fromkeys(("div", "true_divide", "__truediv__"), _div),
    **dict.fromkeys(("reciprocal", "__rdiv__", "__rtruediv__"), lambda func, u, w=1.0: _div(func, w, u)),
    **dict.fromkeys(("pow", "__pow__"), _pow),
    "square": lambda func, u: _pow(func, u, 2),
    "sqrt": lambda func, u: _pow(func, u, 0.5),
    **dict.fromkeys(("matmul", "mm", "bmm", "__matmul__"), _matmul),
    "__rmatmul__": lambda func, u, w: _matmul(func, w, u),
    "exp": _pointwise(series.exp),
    "log": _pointwise(series.log),
    "sin": _pointwise(lambda u: series.sin_cos(u)[0]),
    "cos": _pointwise(lambda u: series.sin_cos(u)[1]),
    "tanh": _pointwise(series.tanh),
    "sigmoid": _pointwise(series.sigmoid),
    **dict.fromkeys(("logsigmoid", "log_sigmoid"), _pointwise(lambda u: -series.softplus(-u))),
    "silu": _pointwise(lambda u: series.mul(u, series.sigmoid(u))),
    "softplus": _softplus,
    "gelu": _gelu,
    "relu": _relu,
    "softmax": _softmax_family(lambda softmax, total, log_softmax: softmax),
    "log_softmax": _softmax_family(lambda softmax, total, log_softmax: log_softmax),
    "logsumexp": _softmax_family(lambda softmax, total, log_softmax: total),
}
_NAMES = sorted(name for name in _RULES if not name.startswith("__"))

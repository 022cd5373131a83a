"""BatchNorm for a mixed and a clean batch in one pass: each half is normalized by its own statistics.

A batch of both halves then gives the outputs, the gradients and the running statistics of two passes, mixed then clean.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


class _Halves(_BatchNorm):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The halves of (2 n, c, ...), each normalized by itself; in evaluation mode as ever."""
        if not self.training:
            return super().forward(x)
        if torch.compiler.is_compiling():
            return self._in_one(x)
        return torch.cat([super(_Halves, self).forward(half) for half in x.chunk(2)])  # torch's own, fastest if eager

    def _in_one(self, x: torch.Tensor) -> torch.Tensor:
        """The same, written so that torch.compile makes one reduction and one fused pass of it, not two and a copy."""
        halves = x.unflatten(0, (2, -1))
        halves = halves.to(torch.promote_types(x.dtype, torch.float32))
        dims = (1, *range(3, halves.ndim))
        variance, mean = torch.var_mean(halves, dims, correction=0, keepdim=True)
        if self.running_mean is not None:
            count = halves[0].numel() // halves.shape[2]
            for k in range(2):
                self._remember(mean[k].detach().flatten(), variance[k].detach().flatten() * (count / (count - 1)))
        shape = (-1,) + (1,) * (x.ndim - 2)
        scale = torch.rsqrt(variance + self.eps)
        if self.affine:
            out = (halves - mean) * (scale * self.weight.reshape(shape)) + self.bias.reshape(shape)
        else:
            out = (halves - mean) * scale
        return out.to(x.dtype).flatten(0, 1)

    def _remember(self, mean: torch.Tensor, variance: torch.Tensor) -> None:
        self.num_batches_tracked.add_(1)
        share = self.num_batches_tracked.to(mean.dtype).reciprocal() if self.momentum is None else self.momentum
        self.running_mean.add_(share * (mean - self.running_mean))
        self.running_var.add_(share * (variance - self.running_var))


class _Halves1d(_Halves, nn.BatchNorm1d):
    pass


class _Halves2d(_Halves, nn.BatchNorm2d):
    pass


class _Halves3d(_Halves, nn.BatchNorm3d):
    pass


_OF = {nn.BatchNorm1d: _Halves1d, nn.BatchNorm2d: _Halves2d, nn.BatchNorm3d: _Halves3d}


def separate_halves(network: nn.Module) -> None:
    """From now on each BatchNorm of a network treats the two halves of a training batch apart.

    Parameters, buffers and their names stay, and so does evaluation mode.

    Raises:
        TypeError: If a layer's BatchNorm is none of torch's BatchNorm1d, 2d and 3d, whose statistics are known.

    Example:
        >>> norm = nn.BatchNorm1d(1, affine=False)
        >>> separate_halves(norm)
        >>> norm(torch.tensor([[0.0], [2.0], [100.0], [102.0]])).flatten().round().tolist()
        [-1.0, 1.0, -1.0, 1.0]
    """
    for name, module in network.named_modules():
        if isinstance(module, _BatchNorm) and not isinstance(module, _Halves):
            if type(module) not in _OF:
                raise TypeError(
                    f"network: layer {name or 'network'!r} must be torch.nn's BatchNorm1d, BatchNorm2d or BatchNorm3d "
                    f"for a joint pass, got {type(module).__name__}; train it without --fast"
                )
            module.__class__ = _OF[type(module)]

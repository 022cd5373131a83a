"""Floating-point operations, and bytes, of whatever torch runs, forward, backward, forward mode or both."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry


class Work(NamedTuple):
    """What matrix products, convolutions and attention do, gradients included.

    Attributes:
        flops: Two for each multiply-add.
        bytes: Each of their inputs read once, each output written once.
    """

    flops: int
    bytes: int


def count(function: Callable[[], object]) -> int:
    """FLOPs of one call of ``function``, two for each multiply-add of a matrix product, convolution or attention.

    The formulas are those of ``torch.utils.flop_counter``, whose own counter follows modules by hooks that a double
    backward does not survive. Element-wise operations are not counted.

    Example:
        >>> count(lambda: torch.ones(2, 3) @ torch.ones(3, 4))
        48
    """
    return work(function).flops


def work(function: Callable[[], object]) -> Work:
    """FLOPs of one call as :func:`count` has them, and the bytes that the same operations cannot do without.

    All else a step does (normalizations, activations, sums) could be fused with them; their bytes over the memory's
    bandwidth is a time that no step goes below.

    Example:
        >>> work(lambda: torch.ones(2, 3) @ torch.ones(3, 4))  # 4 (6 + 12 + 8) bytes
        Work(flops=48, bytes=104)
    """
    with _Counter() as counter:
        function()
    return Work(counter.flops, counter.bytes)


class _Counter(TorchDispatchMode):
    flops = bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func.overloadpacket)
        if formula is not None:
            self.flops += formula(*args, **(kwargs or {}), out_val=out)
            tensors = [t for t in tree_leaves((args, kwargs, out)) if isinstance(t, torch.Tensor)]
            self.bytes += sum(t.numel() * t.element_size() for t in tensors)
        return out

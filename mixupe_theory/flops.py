"""Floating-point operations of whatever torch runs, forward, backward, forward mode or both."""

from __future__ import annotations

from collections.abc import Callable

from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


def count(function: Callable[[], object]) -> int:
    """FLOPs of one call of ``function``, two for each multiply-add of a matrix product, convolution or attention.

    The formulas are those of ``torch.utils.flop_counter``, whose own counter follows modules by hooks that a double
    backward does not survive. Element-wise operations are not counted.

    Example:
        >>> import torch
        >>> count(lambda: torch.ones(2, 3) @ torch.ones(3, 4))
        48
    """
    with _Counter() as counter:
        function()
    return counter.total


class _Counter(TorchDispatchMode):
    total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func.overloadpacket)
        if formula is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=out)
        return out

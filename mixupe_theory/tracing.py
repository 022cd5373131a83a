"""f as a list of steps, each of which carries orders 1..K of many pairs at once.

Along x_i + a (x_j - x_i) order 0 of every value on f's way is that value at x_i, known for all n^2 pairs from one
forward of n points; and a value that is affine in x has order 1 alone, the difference of two such values. So f is
called once, on the n points, and what it does to them is written down.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from inspect import signature
from threading import get_ident

import torch
from torch.autograd.forward_ad import unpack_dual

from mixupe_theory.chains import Link
from mixupe_theory.jets import NoTaylorRule, TensorLike, function_name, is_in_place


class NotTraced(Exception):
    """f does something that no rule follows; it is to be expanded pair by pair instead."""


@dataclass(frozen=True)
class Pairs:
    """A chunk: the ordered pairs (i + a, j + b), a < anchors, b < partners."""

    i: int
    anchors: int
    j: int
    partners: int
    order: int

    def __len__(self):
        return self.anchors * self.partners

    def indices(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """(i, j) of each pair."""
        i = torch.arange(self.i, self.i + self.anchors, device=device)
        j = torch.arange(self.j, self.j + self.partners, device=device)
        return i.repeat_interleave(self.partners), j.repeat(self.anchors)

    def split(self, held: int) -> Iterator[Pairs]:
        """The same pairs in the same order, in chunks of at most ``held``."""
        anchors, partners = max(1, held // self.partners), min(held, self.partners)
        for i in range(0, self.anchors, anchors):
            for j in range(0, self.partners, partners):
                part = min(anchors, self.anchors - i), self.j + j, min(partners, self.partners - j)
                yield Pairs(self.i + i, *part, self.order)

    def start(self, value: torch.Tensor) -> torch.Tensor:
        """The value at each anchor x_i."""
        return value[self.i : self.i + self.anchors]

    def displacement(self, value: torch.Tensor) -> torch.Tensor:
        """The value at x_j less that at x_i, for each pair."""
        end = value[self.j : self.j + self.partners]
        return (end[None] - value[self.i : self.i + self.anchors, None]).flatten(0, 1)


@dataclass(eq=False)
class Node:
    """A value that f computes on its way.

    Attributes:
        value: Order 0, at all n points, (n, ...).
        inputs: The nodes it is computed from.
        step: (pairs, what the inputs' steps gave) -> its orders 1..K, (pairs, K, ...).
        fresh: Whether its step writes into memory of its own, which may be used again when the node is needed no more.
        link: What it is in a compiled chain, where it can be in one; :func:`mixupe_theory.chains.join` makes it a step.
    """

    value: torch.Tensor
    inputs: tuple[Node, ...] = ()
    step: Callable | None = None
    fresh: bool = False
    link: Link | None = None

    @property
    def is_affine(self) -> bool:
        """Whether the value is affine in x: there is nothing to do for its orders 1..K."""
        return self.step is None and self.link is None

    def higher(self, pairs: Pairs, given: torch.Tensor | None) -> torch.Tensor:
        """Orders 1..K, (pairs, K, ...), written out where the node is affine."""
        if given is not None:
            return given
        first = pairs.displacement(self.value)[:, None]
        return torch.cat([first, first.new_zeros(len(pairs), pairs.order - 1, *first.shape[2:])], 1)

    def series(self, pairs: Pairs, given: torch.Tensor | None) -> torch.Tensor:
        """Orders 0..K, (K + 1, pairs, ...)."""
        series = self.value.new_empty(pairs.order + 1, len(pairs), *self.value.shape[1:])
        series[0].unflatten(0, (pairs.anchors, pairs.partners)).copy_(pairs.start(self.value)[:, None])
        series[1:] = self.higher(pairs, given).transpose(0, 1)
        return series


class Trace:
    """The steps of f.

    Args:
        f: As in :func:`mixupe_theory.taylor.pairwise_jet`.
        x: Points, (n, ...).
        order: Highest order K.
        rules: By name of torch function, (trace, function, *its arguments) -> :class:`Node`.

    Raises:
        NotTraced: If f computes something that is not followed, or is being differentiated.
    """

    def __init__(self, f: Callable, x: torch.Tensor, order: int, rules: dict[str, Callable]):
        positive = x + 0.0  # -0 is 0; and whatever follows what is computed from x follows this
        if _is_differentiated(positive):
            raise NotTraced
        self.points, self.order, self.rules = len(x), order, rules
        self.first = _first_equal(positive.detach().flatten(1))
        self.nodes = [Node(x.detach())]
        try:
            out = f(Traced(self.nodes[0], self))
        except NoTaylorRule:
            raise NotTraced from None
        if not isinstance(out, Traced) or out.ndim != 2:
            raise NotTraced
        self.out = out.node
        self.widest = max(node.value[0].numel() for node in self.nodes)
        needed = {self.out}
        for node in reversed(self.nodes):
            if node in needed and not node.is_affine:
                needed.update(node.inputs)
        self.nodes = [node for node in self.nodes if node in needed]
        self.uses = Counter([self.out, *(u for node in self.nodes if not node.is_affine for u in node.inputs)])
        self._unused: dict[tuple, list[torch.Tensor]] = {}

    @property
    def widest_step(self) -> int:
        """Numbers of one point's largest value among those that steps compute."""
        return max(node.value[0].numel() for node in self.nodes if node is self.out or not node.is_affine)

    def affine(self, value: torch.Tensor, inputs: tuple[Traced, ...], step: Callable, **attributes) -> Node:
        """A node that is affine in its inputs."""
        nodes = tuple(u.node for u in inputs)
        if not all(node.is_affine for node in nodes):
            return Node(value, nodes, step, **attributes)
        return Node(value[self.first], nodes)

    @torch.no_grad()
    def replay(self, pairs: Pairs) -> torch.Tensor:
        """Coefficients (K + 1, pairs, c) of one chunk."""
        given, left = {}, dict(self.uses)
        for node in self.nodes:
            if node.is_affine:
                given[node] = None
                continue
            given[node] = node.step(pairs, *(given[u] for u in node.inputs))
            for u in node.inputs:
                left[u] -= 1
                if not left[u]:
                    self._keep(u, given.pop(u), given)
        series = self.out.series(pairs, given[self.out])
        self._keep(self.out, given.pop(self.out), given)
        return series

    def take(self, shape: tuple[int, ...]) -> torch.Tensor:
        """Memory for a step's result: what this thread needs no more, for it is still in the core's cache."""
        unused = self._unused.get((get_ident(), math.prod(shape)))
        return unused.pop().view(shape) if unused else self.out.value.new_empty(shape)

    def _keep(self, node: Node, memory: torch.Tensor | None, given: dict[Node, torch.Tensor | None]) -> None:
        """Keep the memory of a result that is needed no more, unless one that is has it too."""
        if not node.fresh or not memory.is_contiguous():
            return
        place = memory.untyped_storage().data_ptr()
        if all(other is None or other.untyped_storage().data_ptr() != place for other in given.values()):
            self._unused.setdefault((get_ident(), memory.numel()), []).append(memory)


class Traced(TensorLike):
    """What f sees in place of x."""

    def __init__(self, node: Node, trace: Trace):
        self.node, self.trace = node, trace

    def _sample(self) -> torch.Tensor:
        return self.node.value

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        name, kwargs = function_name(func), kwargs or {}
        traced = [u for u in args if isinstance(u, Traced)]
        if not traced or name not in traced[0].trace.rules or any(isinstance(u, Traced) for u in kwargs.values()):
            raise NotTraced
        trace = traced[0].trace
        rule = trace.rules[name]
        if not _takes(rule, len(args), tuple(kwargs)):  # an option that no rule follows
            raise NotTraced
        node = rule(trace, func, *args, **kwargs)
        if _is_differentiated(node.value) or node.value.ndim == 0 or len(node.value) != trace.points:
            raise NotTraced
        if node is not traced[0].node:
            trace.nodes.append(node)
        if is_in_place(func, kwargs):
            args[0].node = node
            return args[0]
        return Traced(node, trace)


@cache
def _takes(rule: Callable, arguments: int, names: tuple[str, ...]) -> bool:
    """Whether a rule has parameters for so many arguments of a torch function, and for these options."""
    try:
        signature(rule).bind(None, None, *[None] * arguments, **dict.fromkeys(names))
    except TypeError:
        return False
    return True


def _is_differentiated(value: torch.Tensor) -> bool:
    """Whether a derivative in f's parameters or in x goes through the value, by whatever mode of torch."""
    if torch.is_grad_enabled() and value.requires_grad:
        return True
    if unpack_dual(value).tangent is not None:
        return True
    try:
        value.data_ptr()
    except RuntimeError:  # a wrapper of torch.func
        return True
    return False


def _first_equal(x: torch.Tensor) -> torch.Tensor:
    """The first point equal to each: rows of a matrix product may differ in the last digit though inputs do not."""
    rows = x.contiguous().view(torch.uint8).cpu().numpy()
    first: dict[bytes, int] = {}
    return torch.tensor([first.setdefault(row.tobytes(), i) for i, row in enumerate(rows)], device=x.device)

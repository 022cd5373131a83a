"""Pointwise functions and linear layers that follow one another, as one compiled function of a chunk of pairs.

Step by step, threads would wait for each other at Python's lock between any two steps. A compiled chain holds that
lock nowhere, so each thread can work on chunks that its core's own cache holds. Its matrix products are those of
scipy's BLAS, which numba calls; :func:`mixupe_theory.pairwise.one_thread` keeps them to one thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from threading import local

import numba
import numpy as np
import torch

from mixupe_theory import straightline

AT_ONCE = 2**16  # numbers of one value at once: about what a core's own cache holds


@dataclass(frozen=True)
class Link:
    """What one node does to orders 1..K.

    Attributes:
        name: Of a pointwise function in ``straightline.FUNCTIONS``; None: the product with a matrix.
        constant: Its tables at the n points, (n, tables, ...), or the matrix, (inputs, outputs).
        affine: Whether the pointwise function is of a value that is affine in x, of which it gets order 0 alone.
    """

    name: str | None
    constant: torch.Tensor
    affine: bool = False


def can_compile(value: torch.Tensor) -> bool:
    """Whether numba and its BLAS compute with numbers of this kind."""
    return value.device.type == "cpu" and value.dtype in (torch.float32, torch.float64)


def join(trace) -> None:
    """Make each run of links with a pointwise function among them one step of the trace."""
    runs = {}  # by the run's last node so far
    for node in trace.nodes:
        if node.link:
            before = node.inputs[0]
            runs[node] = [*(runs.pop(before, []) if trace.uses[before] == 1 else []), node]
    for last, run in runs.items():
        if any(node.link.name for node in run):
            last.inputs, last.step = run[0].inputs, _step(trace, run)
            trace.nodes = [node for node in trace.nodes if node is last or node not in run]


def _step(trace, run) -> Callable:
    """What nodes that follow one another do to a chunk, as :class:`mixupe_theory.tracing.Node` asks for it."""
    shape = tuple((node.link.name, node.value[0].numel(), node.link.affine) for node in run)
    constants = [(node.link.constant.flatten(1) if node.link.name else node.link.constant).numpy() for node in run]
    points, out_shape = run[0].inputs[0].value.flatten(1).contiguous(), run[-1].value.shape[1:]
    memories, widest = sum(name is None for name, _, _ in shape[1:]), max(width for _, width, _ in shape)
    order, at_once = trace.order, max(1, AT_ONCE // (trace.order * widest))

    def step(pairs, given):
        u = points if given is None else given.contiguous().view(len(pairs) * order, -1)
        out = trace.take((len(pairs), order, *out_shape))
        parts = np.array([(part.i, part.anchors, part.j, part.partners) for part in pairs.split(at_once)])
        between = _between(min(2, memories), at_once * order * widest, out.dtype)
        chain = compiled(shape, order, out.dtype)
        chain(u.numpy(), between, out.view(len(pairs) * order, -1).numpy(), parts, *constants)
        return out

    return step


_KEPT = local()


def _between(memories: int, numbers: int, dtype: torch.dtype) -> np.ndarray:
    """Memory for a chain, (memories, numbers), that this thread keeps: it is still in its core's cache."""
    wanted = memories * numbers * dtype.itemsize
    if not hasattr(_KEPT, "memory") or _KEPT.memory.nbytes < wanted:
        _KEPT.memory = np.empty(wanted, np.uint8)
    return _KEPT.memory[:wanted].view(str(dtype).removeprefix("torch.")).reshape(memories, numbers)


def source(shape: tuple[tuple[str | None, int, bool], ...], order: int) -> str:
    """The code of one chain, from its input's orders 1..K, u, to its output's, all (pairs K, numbers).

    A matrix product goes from one memory into another, by turns in ``between``; a pointwise function works in place,
    but for the first one, since u may be needed again. Of an affine input u is order 0 at all points.

    Args:
        shape: (function's name or None, width, affine) of each link.
        order: Highest order K.
    """
    moves = [q for q, (name, _, _) in enumerate(shape) if name is None or q == 0]
    lines = [f"x = u[{'j : j + partners' if shape[0][2] else 'done : done + rows'}].reshape(-1)"]
    for q, (name, width, _) in enumerate(shape):
        if q == moves[-1]:
            lines.append("y = out[done : done + rows].reshape(-1)")
        elif q in moves:
            lines.append(f"y = between[{moves.index(q) % 2}, : rows * {width}]")
        if name is None:
            lines.append(f"product(x, c{q}, y)")
        else:
            lines.append(f"kernel{q}(x, c{q}[i:].reshape(-1), {'x' if q else 'y'}, anchors, partners)")
        if q in moves:
            lines.append("x = y")
    body = "\n".join(f"        {line}" for line in lines)
    return f"""
def chain(u, between, out, parts, {", ".join(f"c{q}" for q in range(len(shape)))}):
    done = 0
    for part in range(len(parts)):
        i, anchors, j, partners = parts[part, 0], parts[part, 1], parts[part, 2], parts[part, 3]
        rows = anchors * partners * {order}
{body}
        done += rows
"""


@numba.njit(nogil=True)
def _product(x, matrix, y):
    np.dot(x.reshape(-1, matrix.shape[0]), matrix, y.reshape(-1, matrix.shape[1]))


@lru_cache(maxsize=64)
def compiled(shape: tuple[tuple[str | None, int, bool], ...], order: int, dtype: torch.dtype) -> Callable:
    """The compiled function of :func:`source`'s arguments and a dtype; it takes numpy arrays and integers."""
    functions = {"product": _product}
    for q, (name, width, affine) in enumerate(shape):
        if name is not None:
            functions[f"kernel{q}"] = straightline.kernel(name, order, width, dtype, affine=affine, in_place=q > 0)
    exec(source(shape, order), functions)
    return numba.njit(nogil=True)(functions["chain"])

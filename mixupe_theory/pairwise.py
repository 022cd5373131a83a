"""Taylor coefficients of all n^2 pairs: f is traced at the n points and replayed for chunks that stay in cache."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from itertools import islice
from threading import Lock

import torch

from mixupe_theory import _validation as check
from mixupe_theory.tracing import Pairs, Trace
from mixupe_theory.tracing_rules import RULES

AT_ONCE = {"cpu": 2**17}  # numbers of one value worked on at once: about what a core's cache holds
ON_ACCELERATORS = 2**25  # the same there, where much work at once is wanted
TOGETHER = 4  # times as much is handed out together


def trace(f: Callable, x: torch.Tensor, order: int) -> Trace:
    """f as a list of steps; raises NotTraced where it cannot be."""
    with one_thread():
        return Trace(f, x, order, RULES)


def run(trace: Trace) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """(i, j, coefficients) in chunks; on a CPU each of torch's threads works on a chunk of its own."""
    device = trace.out.value.device
    widest = max(node.value[0].numel() for node in trace.nodes)
    held = max(1, AT_ONCE.get(device.type, ON_ACCELERATORS) // (trace.order * max(1, widest)))
    todo = list(Pairs(0, trace.points, 0, trace.points, trace.order).split(TOGETHER * held))

    def chunk(pairs: Pairs) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        coefficients = torch.cat([trace.replay(part) for part in pairs.split(held)], 1)
        return *pairs.indices(device), check.finite_coefficients(coefficients)

    threads = min(torch.get_num_threads(), len(todo)) if device.type == "cpu" else 1
    if threads == 1:
        yield from map(chunk, todo)
        return
    coming, waiting = iter(todo), deque()
    with one_thread():
        submit = _workers(threads).submit
        try:
            for _ in todo:
                waiting.extend(submit(chunk, ahead) for ahead in islice(coming, 2 * threads - len(waiting)))
                yield waiting.popleft().result()
        finally:
            for future in waiting:  # of an iteration that was given up
                future.cancel()


_RUNNING, _LOCK = [], Lock()


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch with one thread, as long as any such context lasts: the cores are busy, and so is a thread that waits.

    (A matrix product would start threads of its own within each of ours, and after a parallel operation torch's other
    threads keep their cores busy for milliseconds.)
    """
    with _LOCK:
        _RUNNING.append(torch.get_num_threads())
        torch.set_num_threads(1)
    try:
        yield
    finally:
        with _LOCK:
            before = _RUNNING.pop()
            if not _RUNNING:  # what the first to begin found, whoever is the last to end
                torch.set_num_threads(before)


@lru_cache(maxsize=1)
def _workers(threads: int) -> ThreadPoolExecutor:
    """Threads in which torch uses one each. They are kept: a new thread would have to fetch its memory anew."""
    return ThreadPoolExecutor(threads, "mixupe_theory", initializer=torch.set_num_threads, initargs=(1,))


if hasattr(os, "register_at_fork"):  # a forked process has none of its parent's threads
    os.register_at_fork(after_in_child=_workers.cache_clear)

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

import scipy.linalg  # noqa: F401 - loads its BLAS, for threadpoolctl to find
import torch
from threadpoolctl import ThreadpoolController

from mixupe_theory import _validation as check
from mixupe_theory.chains import join
from mixupe_theory.tracing import Pairs, Trace
from mixupe_theory.tracing_rules import RULES

AT_ONCE = {"cpu": 2**19}  # numbers of one step's result at once, for steps that each take a few calls from Python
ON_ACCELERATORS = 2**25  # the same there, where much work at once is wanted
LEAST = 2**18  # numbers of the widest value, for which handing out a chunk pays


def trace(f: Callable, x: torch.Tensor, order: int) -> Trace:
    """f as a list of steps; raises NotTraced where it cannot be."""
    with one_thread():
        trace = Trace(f, x, order, RULES)
        join(trace)
        return trace


def run(trace: Trace) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """(i, j, coefficients) in chunks; on a CPU each of torch's threads works on a chunk of its own."""
    device = trace.out.value.device
    threads = torch.get_num_threads() if device.type == "cpu" else 1
    held = AT_ONCE.get(device.type, ON_ACCELERATORS) // (trace.order * trace.widest_step)
    share = trace.points**2 // (2 * threads)  # two for each thread, if they are large enough
    chunk_size = max(1, min(held, max(share, LEAST // (trace.order * trace.widest))))
    todo = list(Pairs(0, trace.points, 0, trace.points, trace.order).split(chunk_size))

    def chunk(pairs: Pairs) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return *pairs.indices(device), check.finite_coefficients(trace.replay(pairs))

    if len(todo) == 1:
        yield chunk(todo[0])
        return
    threads = min(threads, len(todo))
    coming, waiting = iter(todo), deque()
    with one_thread():
        if threads == 1:
            yield from map(chunk, todo)
            return
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
    """Torch and BLAS with one thread each, as long as any such context lasts.

    (The cores are busy, and a thread that waits keeps one busy too. A matrix product would start threads of its own
    within each of ours, and after a parallel operation torch's other threads spin for milliseconds.)
    """
    with _LOCK:
        _RUNNING.append((torch.get_num_threads(), _blas().limit(limits=1)))
        torch.set_num_threads(1)
    try:
        yield
    finally:
        with _LOCK:
            before = _RUNNING.pop()
            if not _RUNNING:  # what the first to begin found, whoever is the last to end
                torch.set_num_threads(before[0])
                before[1].restore_original_limits()


@lru_cache(maxsize=1)
def _blas() -> ThreadpoolController:
    """The BLAS libraries of numpy and scipy, which numba's is one of."""
    return ThreadpoolController().select(user_api="blas")


@lru_cache(maxsize=1)
def _workers(threads: int) -> ThreadPoolExecutor:
    """Threads in which torch uses one each. They are kept: a new thread would have to fetch its memory anew."""
    return ThreadPoolExecutor(threads, "mixupe_theory", initializer=torch.set_num_threads, initargs=(1,))


if hasattr(os, "register_at_fork"):  # a forked process has none of its parent's threads
    os.register_at_fork(after_in_child=_workers.cache_clear)

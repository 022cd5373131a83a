"""Taylor coefficients of all n^2 pairs: f is traced at the n points and replayed for chunks that stay in cache."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from threading import Barrier

import torch

from mixupe_theory.tracing import Pairs, Trace
from mixupe_theory.tracing_rules import RULES

CACHED = 2**17  # numbers that a chunk of pairs may hold in one value: about what a core's cache holds
ON_DEVICE = 2**25  # the same on an accelerator, which wants much work at once


def trace(f: Callable, x: torch.Tensor, order: int) -> Trace:
    """f as a list of steps; raises NotTraced where it cannot be."""
    return Trace(f, x, order, RULES)


def chunks(trace: Trace) -> Iterator[Pairs]:
    """Rectangles of pairs that cover all n^2."""
    n, widest = trace.points, max(node.value[0].numel() for node in trace.nodes)
    numbers = CACHED if trace.out.value.device.type == "cpu" else ON_DEVICE
    held = max(1, numbers // (trace.order * max(1, widest)))
    anchors, partners = max(1, held // n), min(held, n)
    for i in range(0, n, anchors):
        for j in range(0, n, partners):
            yield Pairs(i, min(anchors, n - i), j, min(partners, n - j), trace.order)


def run(trace: Trace) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """(i, j, coefficients) of every chunk, in order; on a CPU one thread works on each chunk."""
    device, todo = trace.out.value.device, list(chunks(trace))
    threads = min(torch.get_num_threads(), len(todo)) if device.type == "cpu" else 1
    with _workers(threads) as submit:
        coming, waiting = iter(todo), deque()
        for pairs in todo:
            waiting.extend(submit(trace.replay, ahead) for ahead in islice(coming, 2 * threads - len(waiting)))
            yield *pairs.indices(device), waiting.popleft()()


@contextmanager
def _workers(threads: int) -> Iterator[Callable]:
    """A function that starts a call and returns one that waits for its result; one thread does it when waited for."""
    if threads == 1:
        yield lambda function, pairs: lambda: function(pairs)
        return
    ready = Barrier(threads + 1)

    def begin():
        torch.set_num_threads(1)
        ready.wait()

    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(threads)
    try:
        for _ in range(threads):
            pool.submit(begin)
        ready.wait()
        torch.set_num_threads(before)  # the workers' setting is their own, except that threads to come inherit it
        yield lambda function, pairs: pool.submit(function, pairs).result
    finally:
        pool.shutdown(cancel_futures=True)

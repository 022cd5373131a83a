"""Timings, side by side in one process, medians of alternating runs. Nothing is asserted here."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import torch
from sklearn.datasets import load_digits
from tabulate import tabulate
from torch import nn
from tqdm import trange

from mixupe_theory import _validation as check
from mixupe_theory.losses import DEFAULT_CHUNK, pair_sum, pointwise_loss
from mixupe_theory.mixing import BetaLaw, symmetrized_quadrature

NODES = 16


def alternating(runs: dict[str, Callable], repeats: int) -> dict[str, float]:
    """Median seconds of each function over ``repeats`` rounds, one call of each per round after one to warm up."""
    seconds = {name: [] for name in runs}
    for repeat in trange(repeats + 1, desc="rounds"):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if repeat:
                seconds[name].append(time.perf_counter() - start)
    return {name: median(values) for name, values in seconds.items()}


@torch.no_grad()
def mixup_loss_table(n: int = 300, repeats: int = 5) -> str:
    """The final rule of ``mixup_loss`` against all ordered pairs with the same nodes, done plainly.

    Digits, a 64-256-256-10 tanh network, float64, Beta(1, 1), 16 nodes, rows in equally large chunks.
    """
    check.integer("n", n, least=2)
    check.integer("repeats", repeats, least=1)
    pixels, labels = load_digits(return_X_y=True)
    n = min(n, len(pixels))
    x = torch.from_numpy(pixels[:n] / 16)
    targets = nn.functional.one_hot(torch.from_numpy(labels[:n]), 10).double()
    layers = (nn.Linear(64, 256), nn.Tanh(), nn.Linear(256, 256), nn.Tanh(), nn.Linear(256, 10))
    f = nn.Sequential(*layers).double()
    rule = symmetrized_quadrature(BetaLaw(1.0), NODES)
    nodes, weights = (torch.from_numpy(t) for t in rule)
    per_chunk = DEFAULT_CHUNK // NODES

    def plain():
        total = 0.0
        for start in range(0, n * n, per_chunk):
            pair = torch.arange(start, min(start + per_chunk, n * n))
            i, j = pair // n, pair % n
            mixed = nodes[:, None] * x[i][:, None] + (1 - nodes[:, None]) * x[j][:, None]
            mixed_y = nodes[:, None] * targets[i][:, None] + (1 - nodes[:, None]) * targets[j][:, None]
            total += (
                pointwise_loss(f(mixed.flatten(0, 1)), mixed_y.flatten(0, 1)).unflatten(0, (-1, NODES)) @ weights
            ).sum()
        return total / n**2

    def ours():
        pairs = pair_sum(f, x, targets, "softmax", rule, range(n * (n - 1) // 2), DEFAULT_CHUNK)
        return (pointwise_loss(f(x), targets).sum() + 2 * pairs) / n**2

    difference = abs(plain() - ours()).item()
    seconds = alternating({"all pairs, same nodes, plain": plain, "mixup_loss, its final rule": ours}, repeats)
    slow = seconds["all pairs, same nodes, plain"]
    table = tabulate(
        [(name, f"{value:.3f}", f"{value / slow:.2f}") for name, value in seconds.items()],
        ("", "seconds", "ratio"),
        disable_numparse=True,
    )
    return f"{table}\nn = {n}, {torch.get_num_threads()} threads; the two values differ by {difference:.1e}"

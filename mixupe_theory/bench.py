"""Timings, side by side in one process, medians of alternating runs. Nothing is asserted here."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from statistics import median

import numpy as np
import torch
from sklearn.datasets import load_digits
from tabulate import tabulate
from torch import nn
from tqdm import tqdm, trange

from mixupe_theory import _validation as check
from mixupe_theory.implicit_bias import descend, linear_loss, soudry_data
from mixupe_theory.losses import DEFAULT_CHUNK, pair_sum, pointwise_loss
from mixupe_theory.mixing import BetaLaw, symmetrized_quadrature

NODES = 16
ALPHAS = (0.1, 0.2, 0.5, 1.0, 2.0)


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


def implicit_bias_table(draws: int = 30, threads: int = 2) -> str:
    """Gradient descent on Soudry's data: ERM for a million steps, exact mixup to convergence at five alphas.

    Each run is compiled and single-threaded, runs go side by side in threads. Mixup has converged when the gradient's
    norm is at most 1e-10. The ratio is to the same steps as a plain loop of numpy calls, timed on a few of them.
    """
    check.integer("n", draws, least=1)
    data = [soudry_data(np.random.default_rng(seed)) for seed in range(draws)]
    kinds = {
        "ERM": [(x, y, None, "erm", 10**6, 0.0) for x, y in data],
        "exact mixup": [(x, y, BetaLaw(alpha), "full", 10**6, 1e-10) for x, y in data for alpha in ALPHAS],
    }

    def run(case) -> tuple[int, bool]:
        x, y, law, reading, steps, tolerance = case
        at = descend(x, y, law, reading, steps=steps, tolerance=tolerance).converged_at
        return (steps, False) if at is None else (int(at), True)

    rows = []
    for name, cases in kinds.items():
        x, y, law, reading, *_ = cases[0]
        descend(x, y, law, reading, steps=10)  # compile
        loss, w = linear_loss(x, y, law, reading, NODES), np.zeros(x.shape[1])
        start = time.perf_counter()
        for _ in range(300):
            w = w - loss.gradient(w)
        plain = (time.perf_counter() - start) / 300
        start = time.perf_counter()
        with ThreadPoolExecutor(threads) as pool:
            done = list(tqdm(pool.map(run, cases), name, len(cases), unit="run"))
        seconds = time.perf_counter() - start
        steps, converged = (sum(column) for column in zip(*done, strict=True))
        ratio = plain * steps / threads / seconds
        rows.append((name, len(cases), converged, f"{steps:.2e}", f"{seconds:.1f}", f"{ratio:.0f}"))
    headers = ("", "runs", "converged", "steps", "seconds", "ratio of a plain loop to it")
    return f"{tabulate(rows, headers, disable_numparse=True)}\n{threads} threads"

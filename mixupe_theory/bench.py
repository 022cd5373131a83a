"""``mixupe-theory bench implicit-bias``: compiled descent on a linear model against a plain loop."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from tabulate import tabulate
from tqdm import tqdm

from mixupe_theory import _validation as check
from mixupe_theory.implicit_bias import descend, linear_loss, soudry_data
from mixupe_theory.mixing import BetaLaw

NODES = 16
ALPHAS = (0.1, 0.2, 0.5, 1.0, 2.0)


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

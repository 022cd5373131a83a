"""``mixupe-theory bench mixup-loss``: the exact mixup loss against the same sum done plainly, by JAX and by chance.

Digits, a 64-256-256-10 tanh network, float64, Beta(1, 1). All exact contenders sum over the same 16 nodes, and nothing
is timed before its value was compared with ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from statistics import median

import numpy as np
import torch
from sklearn.datasets import load_digits
from tabulate import tabulate
from torch import nn
from tqdm import tqdm

from mixupe_theory import _validation as check
from mixupe_theory.bench_peers import NotAvailable, Problem
from mixupe_theory.bench_timing import alternating, limited_to
from mixupe_theory.environment import described, environment
from mixupe_theory.losses import DEFAULT_CHUNK, mixup_loss_mc, pair_sum, pointwise_loss
from mixupe_theory.mixing import BetaLaw, symmetrized_quadrature

WIDTHS, NODES, SIZES, LAW = (64, 256, 256, 10), 16, (25, 50, 100, 200), BetaLaw(1.0)
RULES, FINE = (2, 4, 8, 16), 64  # nodes whose error is measured, against the rule of FINE
SAMPLES = (1_000, 10_000, 100_000)
OURS, PLAIN = "mixup_loss, its final rule", "all ordered pairs, plain"
EPS = np.finfo(float).eps


def measure(rounds: int = 7, threads: int = 2, sizes: Iterable[int] = SIZES) -> dict:
    """Time the exact mixup loss by number of points, and its error by time, against Monte Carlo.

    Args:
        rounds: Alternating rounds of each case.
        threads: Threads of torch and numba.
        sizes: Numbers of digits, at least 2 each.

    Returns:
        A record: "environment"; "setup"; "rows", one for each n and contender with its seconds, or a "note" why it has
        none; "accuracy", at the largest n, each with its seconds and relative error (Monte Carlo: standard error).

    Raises:
        TypeError, ValueError: On bad arguments, naming them.
    """
    check.integer("rounds", rounds, least=1)
    check.integer("threads", threads, least=1)
    sizes = [check.integer("n", n, least=2) for n in sizes]
    place = environment(threads, "cpu")
    bar = tqdm(total=len(sizes) + 1, desc="bench mixup-loss", unit="case")
    with torch.no_grad(), limited_to(threads), bar:
        rows = []
        for n in sizes:
            rows += _case(n, rounds)
            bar.update()
        accuracy = _accuracy(max(sizes), rounds)
        bar.update()
    setup = {"widths": list(WIDTHS), "nodes": NODES, "alpha": LAW.alpha, "n": max(sizes), "rounds": rounds}
    return {"environment": place, "setup": setup, "rows": rows, "accuracy": accuracy}


def ours(f, x, targets, nodes: int = NODES) -> torch.Tensor:
    """The rule that ``mixup_loss`` ends with: each segment once, its diagonal as the standard loss."""
    rule = symmetrized_quadrature(LAW, nodes)
    pairs = pair_sum(f, x, targets, "softmax", rule, range(len(x) * (len(x) - 1) // 2), DEFAULT_CHUNK)
    return (pointwise_loss(f(x), targets).sum() + 2 * pairs) / len(x) ** 2


def plain(f, x, targets) -> torch.Tensor:
    """The double sum as it is printed, in chunks of as many rows."""
    n, total = len(x), 0.0
    nodes, weights = (torch.from_numpy(t) for t in symmetrized_quadrature(LAW, NODES))
    for pair in torch.arange(n * n).split(DEFAULT_CHUNK // NODES):
        i, j = pair // n, pair % n
        mixed, labels = (nodes[:, None] * t[i][:, None] + (1 - nodes[:, None]) * t[j][:, None] for t in (x, targets))
        total += (
            pointwise_loss(f(mixed.flatten(0, 1)), labels.flatten(0, 1)).unflatten(0, (-1, NODES)) @ weights
        ).sum()
    return total / n**2


def by_jax(f, x, targets, each_segment_once: bool) -> Callable[[], float]:
    """The same sum, vmapped over nodes and pairs, in chunks of as many rows by ``lax.map``, jitted as a whole."""
    try:
        import jax
    except ImportError:
        raise NotAvailable("not installed") from None
    jax.config.update("jax_enable_x64", True)
    np_ = jax.numpy
    nodes, node_weights = symmetrized_quadrature(LAW, NODES)
    n, size = len(x), DEFAULT_CHUNK // NODES
    i, j = (t.ravel() for t in np.indices((n, n)))
    count = np.ones(n * n)
    if each_segment_once:
        i, j, count = i[i <= j], j[i <= j], np.where(i == j, 1.0, 2.0)[i <= j]
    padding = (0, -len(i) % size)  # pairs that count for nothing fill the last chunk
    i, j, count = (np.pad(t, padding).reshape(-1, size) for t in (i, j, count))

    def loss(weights, x, y):
        *hidden, (w, b) = weights
        for weight, bias in hidden:
            x = np_.tanh(weight @ x + bias)
        logits = w @ x + b
        return jax.nn.logsumexp(logits) - y @ logits

    @jax.jit
    def total(weights, x, y, i, j, count):
        def pair(x1, y1, x2, y2):
            mixed = jax.vmap(lambda a: loss(weights, a * x1 + (1 - a) * x2, a * y1 + (1 - a) * y2))
            return mixed(np_.asarray(nodes)) @ np_.asarray(node_weights)

        chunk = lambda c: jax.vmap(pair)(x[c[0]], y[c[0]], x[c[1]], y[c[1]]) @ c[2]  # noqa: E731
        return jax.lax.map(chunk, (i, j, count)).sum() / n**2

    weights = [(layer.weight.numpy(), layer.bias.numpy()) for layer in f if isinstance(layer, nn.Linear)]
    arguments = jax.device_put((weights, x.numpy(), targets.numpy(), i, j, count))
    return lambda: float(total(*arguments))


PEERS: dict[str, Callable[..., Callable[[], float]]] = {
    PLAIN: lambda *data: lambda: plain(*data).item(),
    "jax, all ordered pairs": lambda *data: by_jax(*data, each_segment_once=False),
    "jax, each segment once": lambda *data: by_jax(*data, each_segment_once=True),
}
"""What is compared and timed: from f, x and targets, a function that returns the loss."""


def _problem(n: int):
    pixels, labels = load_digits(return_X_y=True)
    targets = nn.functional.one_hot(torch.from_numpy(labels[:n]), 10).double()
    return Problem(WIDTHS, n, 1).network(), torch.from_numpy(pixels[:n] / 16), targets


def _case(n: int, rounds: int) -> list[dict]:
    data = _problem(n)
    runs = {OURS: lambda: ours(*data).item()}
    reference = runs[OURS]()
    rows = {OURS: {"n": n, "who": OURS, "value": reference}}
    for name, make in PEERS.items():
        row = rows[name] = {"n": n, "who": name}
        try:
            run = make(*data)
        except NotAvailable as reason:
            row["note"] = str(reason)
            continue
        row["difference"] = abs(run() / reference - 1)
        if row["difference"] <= n * n * NODES * EPS:  # what rounding can do to a sum of so many terms >= 0
            runs[name] = run
        else:
            row["note"] = "disagrees"
    for name, seconds in alternating(runs, rounds).items():
        rows[name]["seconds"] = seconds
    return list(rows.values())


def _accuracy(n: int, rounds: int) -> list[dict]:
    """Error and seconds of rules of a few nodes and of a few sample sizes."""
    data, generator = _problem(n), np.random.default_rng(0)
    exact = ours(*data, FINE).item()
    rows, runs = {}, {}
    for m in RULES:
        runs[f"{m} nodes"] = lambda m=m: ours(*data, m)
        rows[f"{m} nodes"] = {"rule": m, "error": max(abs(ours(*data, m).item() / exact - 1), EPS)}
    for samples in SAMPLES:
        sample = lambda s=samples: mixup_loss_mc(*data, LAW, samples=s, generator=generator)  # noqa: E731
        runs[f"{samples} samples"] = sample
        rows[f"{samples} samples"] = {"samples": samples, "error": sample()[1].item() / exact}
    for name, seconds in alternating(runs, rounds).items():
        rows[name]["seconds"] = seconds
    return list(rows.values())


def against_chance(record: dict) -> dict[str, float]:
    """The rule of most nodes against Monte Carlo, whose standard error falls like one over the root of the time.

    Returns:
        The rule's relative "error" and its "seconds"; "sampled_seconds", in which the standard error of Monte Carlo
        would be the rule's error; "sampled_error", its standard error in the rule's time. Both are extrapolated from
        the largest sample.
    """
    exact = max((row for row in record["accuracy"] if "rule" in row), key=lambda row: row["rule"])
    sampled = max((row for row in record["accuracy"] if "samples" in row), key=lambda row: row["samples"])
    time, sampling = median(exact["seconds"]), median(sampled["seconds"])
    return {
        "error": exact["error"],
        "seconds": time,
        "sampled_seconds": sampling * (sampled["error"] / exact["error"]) ** 2,
        "sampled_error": sampled["error"] * (sampling / time) ** 0.5,
    }


def table(record: dict) -> str:
    """The record as text: seconds, ratios to ours, accuracy against time, the machine."""
    sizes = sorted({row["n"] for row in record["rows"]})
    cells = {(row["who"], row["n"]): row for row in record["rows"]}
    names = list(dict.fromkeys(row["who"] for row in record["rows"]))
    heads = ("", *(f"n = {n}" for n in sizes))

    def seconds(row):
        return f"{median(row['seconds']):.3g}" if "seconds" in row else row["note"]

    def ratio(row):
        ours = median(cells[OURS, row["n"]]["seconds"])
        return f"{median(row['seconds']) / ours:.2f}" if "seconds" in row else ""

    def grid(what, cell, extra=()):
        body = [[name, *(cell(cells[name, n]) for n in sizes)] for name in names]
        return f"{what}\n" + tabulate(body, heads, disable_numparse=True, stralign="right")

    named = lambda row: f"rule of {row['rule']} nodes" if "rule" in row else f"{row['samples']} samples"  # noqa: E731
    accuracy = [(named(row), f"{row['error']:.1e}", seconds(row)) for row in record["accuracy"]]
    found = [row["difference"] for row in record["rows"] if "difference" in row]
    chance = against_chance(record)
    return "\n\n".join(
        (
            grid("seconds", seconds),
            grid("ratio to ours", ratio),
            f"n = {record['setup']['n']}\n"
            + tabulate(accuracy, ("", "relative error", "seconds"), disable_numparse=True, stralign="right"),
            "A relative error of {error:.0e} takes ours {seconds:.2g} s, Monte Carlo would take {sampled_seconds:.0e} "
            "s; in the time of ours it comes to {sampled_error:.0e} (extrapolated).".format(**chance),
            f"Same 16 nodes, largest relative difference from ours {max(found):.0e}; medians of "
            f"{record['setup']['rounds']} alternating rounds\n" + described(record["environment"]),
        )
    )

"""What Taylor mode over all pairs is timed against. Every function here makes a run.

A run takes no argument and yields the normalized coefficients J^k f(x_i) (x_j - x_i)^k / k!, (order + 1, p, c), of all
ordered pairs in chunks. Peers get their inputs ready-made; ours forms them itself.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from mixupe_theory.pairwise import one_thread
from mixupe_theory.taylor import pairwise_jet, taylor_coefficients

NESTED_UP_TO = 4  # torch takes 3^K passes for order K
Run = Callable[[], Iterator]


class NotAvailable(RuntimeError):
    """The peer cannot run here; the message says why, in a word or two."""


@dataclass(frozen=True)
class Problem:
    """All pairs of n points, standard normal, and a tanh network with torch's initialization; both seeded."""

    widths: tuple[int, ...]
    n: int
    order: int
    dtype: str = "float64"
    device: str = "cpu"

    def network(self) -> nn.Sequential:
        """A multilayer perceptron whose parameters need no gradient."""
        generator, layers = torch.Generator().manual_seed(0), []
        for fan_in, fan_out in itertools.pairwise(self.widths):
            layer = nn.utils.skip_init(nn.Linear, fan_in, fan_out)
            for parameter in layer.parameters():
                nn.init.uniform_(parameter, -(fan_in**-0.5), fan_in**-0.5, generator)
            layers += [layer, nn.Tanh()]
        return nn.Sequential(*layers[:-1]).requires_grad_(False).to(self.device, self.torch_dtype)

    def points(self) -> torch.Tensor:
        """The points, (n, d)."""
        x = torch.randn(self.n, self.widths[0], generator=torch.Generator().manual_seed(1))
        return x.to(self.device, self.torch_dtype)

    def pairs_at_once(self, chunk: int | None) -> int:
        """Pairs whose orders 1..order make at most ``chunk`` rows together (None: all pairs)."""
        return self.n**2 if chunk is None else min(self.n**2, max(1, chunk // self.order))

    def lines(self, chunk: int | None) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """x_i and x_j - x_i of all ordered pairs, in chunks of so many rows (None: in one)."""
        x = self.points()
        start, end = x.repeat_interleave(self.n, 0), x.repeat(self.n, 1)
        size = self.pairs_at_once(chunk)
        return list(zip(start.split(size), (end - start).split(size), strict=True))

    torch_dtype = property(lambda self: getattr(torch, self.dtype))


def ours(problem: Problem) -> Run:
    """``pairwise_jet``."""
    f, x = problem.network(), problem.points()
    return lambda: (coefficients for _, _, coefficients in pairwise_jet(f, x, problem.order))


def dense(problem: Problem, chunk: int | None = None) -> Run:
    """This library's recurrences pair by pair, nothing shared between pairs: ``taylor_coefficients``."""
    f, lines = problem.network(), problem.lines(chunk)
    return lambda: (taylor_coefficients(f, x, v, problem.order) for x, v in lines)


def nested_jvp(problem: Problem, chunk: int | None = None) -> Run:
    """``torch.func.jvp`` of itself, ``order`` times; one call gives all orders."""
    if problem.order > NESTED_UP_TO:
        raise NotAvailable("-")
    f, lines = problem.network(), problem.lines(chunk)

    def nest(g, v):
        def derivatives(x):
            values, slopes = torch.func.jvp(g, (x,), (v,))
            return (*values, slopes[-1])

        return derivatives

    def coefficients(x, v):
        g = lambda x: (f(x),)  # noqa: E731
        for _ in range(problem.order):
            g = nest(g, v)
        return torch.stack([derivative / math.factorial(k) for k, derivative in enumerate(g(x))])

    return lambda: (coefficients(x, v) for x, v in lines)


def jax_jet(problem: Problem, chunk: int | None = None) -> Run:
    """``jax.experimental.jet`` under ``jax.jit``, weights as arguments."""
    try:
        import jax
        from jax.experimental.jet import jet
    except ImportError:
        raise NotAvailable("not installed") from None
    if problem.device == "cuda" and jax.default_backend() != "gpu":
        raise NotAvailable("no GPU")
    jax.config.update("jax_enable_x64", True)
    np_ = jax.numpy

    def f(weights, x):
        *hidden, (w, b) = weights
        for weight, bias in hidden:
            x = np_.tanh(x @ weight.T + bias)
        return x @ w.T + b

    @jax.jit
    def coefficients(weights, x, v):
        series = [v] + [np_.zeros_like(v)] * (problem.order - 1)
        value, derivatives = jet(lambda x: f(weights, x), (x,), (series,))
        return np_.stack([value] + [d / math.factorial(k) for k, d in enumerate(derivatives, 1)])

    convert = lambda t: jax.device_put(t.cpu().numpy())  # noqa: E731
    weights = [(convert(layer.weight), convert(layer.bias)) for layer in _linear_layers(problem)]
    lines = [(convert(x), convert(v)) for x, v in problem.lines(chunk)]
    # all chunks are dispatched before the first is waited for
    return lambda: iter(jax.block_until_ready([coefficients(weights, x, v) for x, v in lines]))


def torch_jet(problem: Problem, chunk: int | None = None) -> Run:
    """``jet`` of the package jet-for-pytorch."""
    try:
        from jet import jet
    except (ImportError, SyntaxError):  # another package of that name, or a Python older than it asks for
        raise NotAvailable("not installed") from None
    f, lines = problem.network(), problem.lines(chunk)
    along = {len(x): jet(f, (x,)) for x, _ in lines}

    def coefficients(x, v):
        derivatives = along[len(x)]((x, v, *[torch.zeros_like(v)] * (problem.order - 1)))
        return torch.stack([derivative / math.factorial(k) for k, derivative in enumerate(derivatives)])

    return lambda: (coefficients(x, v) for x, v in lines)


PEERS: dict[str, Callable[..., Run]] = {
    "dense recurrences": dense,
    "jax jet": jax_jet,
    "jax jet, chunked": jax_jet,
    "jet-for-pytorch": torch_jet,
    "nested jvp": nested_jvp,
}
"""The peers by name. Those of ``CHUNKED`` run in chunks of their best size, the others on all pairs at once."""
CHUNKED = ("dense recurrences", "jax jet, chunked", "jet-for-pytorch")


def forward(problem: Problem) -> Run:
    """f, once at the end of every line: the unit that costs are given in."""
    f, ends = problem.network(), problem.points().repeat(problem.n, 1)
    return lambda: iter((f(ends),))


def gemm_floor(problem: Problem, chunk: int) -> Run:
    """Nothing but the matrix products that orders 1..order take from the second layer on, stacked, written in place.

    On a CPU every thread of torch takes chunks of its own, as ours does: faster than to share each product. The first
    layer and order 0 need n rows alone and are left out.
    """
    weights = [layer.weight.T for layer in _linear_layers(problem)[1:]]
    kind = {"dtype": problem.torch_dtype, "device": problem.device}
    pairs, threads = problem.pairs_at_once(chunk), torch.get_num_threads() if problem.device == "cpu" else 1
    starts = range(0, problem.n**2, pairs)
    rows, widths = problem.order * pairs, problem.widths[1:]
    buffers = [[torch.ones(rows, width, **kind) for width in widths] for _ in range(threads)]

    def products(thread: int) -> None:
        for start in starts[thread::threads]:
            used = problem.order * min(pairs, problem.n**2 - start)
            source, *targets = (buffer[:used] for buffer in buffers[thread])
            for weight, target in zip(weights, targets, strict=True):
                source = torch.mm(source, weight, out=target)

    if threads == 1:
        return lambda: map(products, range(1))
    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))

    def run():
        with one_thread():
            yield from pool.map(products, range(threads))

    return run


def collect(run: Run) -> np.ndarray:
    """All that a run yields, (order + 1, n^2, c)."""
    return np.concatenate([np.asarray(t.cpu() if isinstance(t, torch.Tensor) else t) for t in run()], axis=1)


def differences(reference: np.ndarray, result: np.ndarray) -> list[float]:
    """For each order max |result - reference| / max |reference|, over pairs and outputs."""
    if result.shape != reference.shape:
        raise ValueError(f"result must have the reference's shape {reference.shape}, got {result.shape}")
    axes = tuple(range(1, reference.ndim))
    return (np.abs(result - reference).max(axes) / np.abs(reference).max(axes)).tolist()


def agree(reference: np.ndarray, differences: list[float]) -> bool:
    """Whether every order agrees to half the digits of the dtype.

    Rounding takes a few of them; a wrong term or normalization leaves none.
    """
    return all(difference <= np.finfo(reference.dtype).eps ** 0.5 for difference in differences)  # NaN is not


def _linear_layers(problem: Problem) -> list[nn.Linear]:
    return [layer for layer in problem.network() if isinstance(layer, nn.Linear)]

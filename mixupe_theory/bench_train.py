"""``mixupe-theory bench train``: our training step against a plain one after the official code, side by side.

Nothing is timed before its first step, from the same weights and the same batch, was compared with the plain one's. On
the CPU the networks are narrower.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
import torch._dynamo
from tabulate import tabulate
from torch.profiler import ProfilerActivity, profile
from tqdm import tqdm

from mixupe_theory import _validation as check
from mixupe_theory.bench_timing import alternating, limited_to, peak_extra_memory
from mixupe_theory.bench_train_cases import (
    NETWORKS,
    TRAINED_BY,
    WAYS,
    Contender,
    Fast,
    Plain,
    contenders,
    random_images,
    rounding,
    within,
    work_of_a_step,
)
from mixupe_theory.bench_train_report import table
from mixupe_theory.environment import environment
from mixupe_theory.files import write_atomically
from mixupe_theory.training.data import Dataset
from mixupe_theory.training.step import WARM_UP

__all__ = ["measure", "plan", "table"]

BATCH_SIZE = 100
AT_LEAST = 0.3  # seconds that one reading of the clock should span on a GPU
MATRIX, COPY = {"cpu": 2048, "cuda": 8192}, {"cpu": 2**27, "cuda": 2**31}  # rows and columns; bytes
PROFILED_STEPS, OPERATIONS = 3, 8


def measure(
    rounds: int = 7,
    threads: int = 2,
    device: str = "cpu",
    *,
    networks: Iterable[str] = tuple(NETWORKS),
    methods: Iterable[str] = tuple(TRAINED_BY),
    batch_size: int = BATCH_SIZE,
    minutes: float | None = None,
    profiles: Path | None = None,
) -> dict:
    """Time steps of both ways, alternating for all methods of a network.

    Args:
        rounds: Alternating rounds for each network.
        threads: Threads of torch.
        device: "cpu" or "cuda".
        networks: Keys of ``NETWORKS``.
        methods: Keys of ``TRAINED_BY``.
        batch_size: Examples of a step.
        minutes: For all of it; contenders that would not fit are left out. None for no limit.
        profiles: A folder for a table of each contender's operations, if wanted.

    Returns:
        A record: "environment"; "setup"; "ceilings", of products by precision (FLOP/s) and of a copy (bytes/s); "rows",
        one for each contender: seconds of a step in each round, FLOPs and bytes of its products, peak memory in MiB,
        the first step's seconds, which compiles, its "difference" from the plain one in float32, and what "rounding"
        may do to it, where it is more than the theory of it allows twice what it does to the plain way in the same
        precision; or a "note" why not.

    Raises:
        TypeError, ValueError: On bad arguments, naming them.
    """
    for name, value, least in (("rounds", rounds, 1), ("threads", threads, 1), ("batch_size", batch_size, 2)):
        check.integer(name, value, least)
    check.choice("device", device, ("cpu", "cuda"))
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device must be 'cpu' here: torch sees no CUDA device")
    wanted = _wanted(networks, methods, minutes)
    end = None if minutes is None else time.monotonic() + 60 * minutes
    wanted, left = within(minutes, wanted)
    place = environment(threads, device)
    visits = 2 if device == "cpu" else 1  # each is set up; on the CPU its memory is measured later
    bar = tqdm(total=visits * len(wanted), desc="bench train", unit="visit")
    with limited_to(threads), bar, _settings():
        data = random_images(device)
        found = {precision: _products(precision, device) for precision in ("float32", "bfloat16")}
        rows = []
        for network in dict.fromkeys(contender.network for contender in wanted):
            of_network = [contender for contender in wanted if contender.network == network]
            rows += _of_network(of_network, data, device, batch_size, rounds, end, profiles, bar.update)
        ceilings = {**found, "copy": _copy(device)}
    rows += [vars(contender) | {"note": "no time left"} for contender in left]
    forms = {name: NETWORKS[name][device == "cpu"] for name in dict.fromkeys(c.network for c in wanted)}
    setup = {"device": device, "batch_size": batch_size, "networks": forms, "rounds": rounds, "minutes": minutes}
    return {"environment": place, "setup": setup, "ceilings": ceilings, "rows": rows}


def plan(networks: Iterable[str], methods: Iterable[str], minutes: float | None) -> str:
    """What :func:`measure` would time within so many minutes, by guessed times, and what it would leave out."""
    chosen, left = within(minutes, _wanted(networks, methods, minutes))
    rows = [(*vars(contender).values(), contender.seconds) for contender in chosen]
    lines = [
        tabulate(rows, ("network", "trained by", "way", "precision", "about s")),
        f"together about {math.ceil(sum(contender.seconds for contender in chosen) / 60)} minutes",
        *(
            f"no time for {first.network} {first.method} ({first.precision}, {second.precision})"
            for first, second in zip(left[::2], left[1::2], strict=True)
        ),
    ]
    return "\n".join(lines)


def _wanted(networks, methods, minutes) -> list[Contender]:
    if minutes is not None:
        check.positive("minutes", minutes)
    networks = [check.choice("networks", name, NETWORKS) for name in networks]
    return contenders(networks, [check.choice("methods", name, TRAINED_BY) for name in methods])


def _of_network(wanted, data, device, batch_size, rounds, end, profiles, done: Callable[[], object]) -> list[dict]:
    """Rows of one network: its contenders are set up and compared, then timed in turns."""
    rows, ready, steps = {}, {}, {}
    for contender in wanted:
        row = rows[contender] = dict(vars(contender))
        if end is None or time.monotonic() + contender.seconds < end:
            try:
                row |= work_of_a_step(contender, device, batch_size)._asdict()
                way = _set_up(contender, data, device, batch_size, row)
            except (RuntimeError, ArithmeticError) as error:  # a compiler's, say, or of memory: the others go on
                row["note"] = f"{type(error).__name__}: {error}".splitlines()[0]
            else:
                if row["difference"] <= row["rounding"]:
                    ready[contender] = way
                    steps[contender] = _steps(way, device)
                else:
                    row["note"] = "disagrees"
        else:
            row["note"] = "no time left"
        done()
    runs = {contender: partial(way.go, steps[contender]) for contender, way in ready.items()}
    for contender, seconds in alternating(runs, rounds, device).items():
        rows[contender]["seconds"] = [float(f"{s / steps[contender]:.4g}") for s in seconds]
    if profiles is not None:
        for contender, way in ready.items():
            rows[contender]["operations"] = _profiled(contender, way, device, profiles)
    if device == "cpu":  # where only a process of its own can tell
        for contender in wanted:
            if contender in ready:
                threads = torch.get_num_threads()
                rows[contender]["MiB"] = peak_extra_memory(_memory_run, contender, batch_size, threads)
            done()
    return list(rows.values())


def _set_up(contender: Contender, data: Dataset, device: str, batch_size: int, row: dict) -> Plain | Fast:
    """A contender that has made its first steps; what is seen of them goes into its row."""
    run = contender.run(device, batch_size)
    expected = Plain(replace(run, precision="float32"), data, device).first_step()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
    began = time.perf_counter()
    way = WAYS[contender.way](run, data, device)
    change = way.first_step()
    row["first step"] = float(f"{time.perf_counter() - began:.3g}")
    if device == "cuda":
        way.go(WARM_UP + 1)  # the last is the first that a graph makes
        torch.cuda.synchronize()
        row["MiB"] = round((torch.cuda.max_memory_allocated() - held) / 2**20, 1)
    difference, allowed = _distance(change, expected), rounding(way.trainer.model, contender.precision)
    if difference > allowed and contender.precision == "bfloat16":
        # a derivative may lose more, it jumps where rounding turns a ReLU over; the plain way shows how much
        allowed = max(allowed, 2 * _distance(Plain(run, data, device).first_step(), expected))
    row["difference"], row["rounding"] = (float(f"{value:.2g}") for value in (difference, allowed))
    return way


def _distance(one: torch.Tensor, other: torch.Tensor) -> float:
    return ((one - other).norm() / other.norm()).item()


def _steps(way: Plain | Fast, device: str) -> int:
    """How many steps one reading of the clock should span."""
    seconds = alternating({"": partial(way.go, 2)}, 2, device)[""]
    return max(1, math.ceil(AT_LEAST / (min(seconds) / 2)))


def _memory_run(contender: Contender, batch_size: int, threads: int):
    torch.set_num_threads(threads)
    way = WAYS[contender.way](contender.run("cpu", batch_size), random_images("cpu", 2 * batch_size), "cpu")
    return partial(way.go, 2), partial(way.go, 1)


def _profiled(contender: Contender, way: Plain | Fast, device: str, folder: Path) -> list[list]:
    """Names of the operations that take longest, with their share of all time; the table goes into the folder."""
    kinds = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (device == "cuda")
    with profile(activities=kinds, acc_events=True) as seen:
        way.go(PROFILED_STEPS)
        if device == "cuda":
            torch.cuda.synchronize()
    key = "self_cpu_time_total" if device == "cpu" else "self_device_time_total"
    operations = sorted(seen.key_averages(), key=lambda entry: getattr(entry, key), reverse=True)
    name = "_".join(vars(contender).values())
    table = seen.key_averages().table(sort_by=key, row_limit=40)
    write_atomically(folder / f"{name}.txt", table.encode())
    total = sum(getattr(entry, key) for entry in operations)
    return [[entry.key[:60], round(getattr(entry, key) / total, 4)] for entry in operations[:OPERATIONS]]


@contextmanager
def _settings() -> Iterator[None]:
    """cuDNN times its algorithms and chooses, for both ways; torch.compile does not give up after eight networks."""
    before, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, True
    try:
        with torch._dynamo.config.patch(recompile_limit=100):
            yield
    finally:
        torch.backends.cudnn.benchmark = before
        torch.compiler.reset()


def _products(precision: str, device: str) -> float:
    """FLOP/s of a large square product, at best; on a GPU in TF32 for float32, as convolutions there are."""
    n, dtype = MATRIX[device], getattr(torch, precision)
    a, b = (torch.randn(n, n, generator=torch.Generator().manual_seed(k)).to(device, dtype) for k in range(2))
    before, torch.backends.cuda.matmul.allow_tf32 = torch.backends.cuda.matmul.allow_tf32, True
    try:
        return 2 * n**3 / _least_seconds(lambda: a @ b, device)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def _copy(device: str) -> float:
    """Bytes per second, read and written, of a large copy."""
    a = torch.ones(COPY[device], dtype=torch.uint8, device=device)
    b = torch.empty_like(a)
    return 2 * COPY[device] / _least_seconds(lambda: b.copy_(a), device)


def _least_seconds(function: Callable[[], object], device: str) -> float:
    """Of one call, over readings that span several."""
    repeats = 20 if device == "cuda" else 2

    def several() -> None:
        for _ in range(repeats):
            function()

    several()
    return min(alternating({"": several}, 5, device)[""]) / repeats

"""How the benchmarks measure: alternating runs in one process, and peak memory in a process of its own."""

from __future__ import annotations

import ctypes
import multiprocessing
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numba
import torch

LEAST_ROUNDS, PATIENCE = 3, 40.0  # a case that took PATIENCE seconds ends after LEAST_ROUNDS rounds
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_M_MMAP_THRESHOLD = -3  # of malloc.h


@contextmanager
def limited_to(threads: int) -> Iterator[None]:
    """Give torch and numba ``threads`` threads for a ``with`` block.

    JAX takes every core the process may use: on a larger machine start the command under ``taskset``.
    """
    before = torch.get_num_threads(), numba.get_num_threads()
    torch.set_num_threads(threads)
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        numba.set_num_threads(before[1])


def alternating(runs: dict[str, Callable[[], object]], rounds: int, device: str = "cpu") -> dict[str, list[float]]:
    """Seconds of each run in each round; every other round goes through the runs backwards.

    Nothing is warmed up here: results are compared before they are timed, which calls every run once.

    Args:
        runs: Functions of no argument by name.
        rounds: Rounds, fewer (but at least 3) where they take more than 40 seconds together.
        device: "cuda" waits for the device before each reading of the clock.

    Returns:
        The seconds by name, one for each round.
    """
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    began = time.perf_counter()
    for done in range(rounds):
        if done >= LEAST_ROUNDS and time.perf_counter() - began > PATIENCE:
            break
        for name in list(runs) if done % 2 == 0 else reversed(runs):
            wait()
            time.sleep(0.02)  # threads of the run before spin for some milliseconds
            start = time.perf_counter()
            runs[name]()
            wait()
            seconds[name].append(float(f"{time.perf_counter() - start:.4g}"))
    return seconds


def peak_extra_memory(prepare: Callable, *arguments) -> float | None:
    """Peak memory of one run over what the process held before it, in MiB, whoever allocates: torch, numpy or JAX.

    A new process calls ``warm_up, run = prepare(*arguments)``, then ``warm_up()``, and reads the kernel's high-water
    mark of resident memory, reset before ``run()``. malloc is told to return blocks of 64 KiB and more to the system
    when they are freed, so that nothing kept from the warm-up hides an allocation.

    Args:
        prepare: A function of a module (a new process imports it); it may return None for "not here".
        *arguments: Its arguments.

    Returns:
        MiB, to about half a MiB; None where ``prepare`` says so, or the system is not Linux with glibc.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(_measure, prepare, arguments).result()


def _measure(prepare, arguments) -> float | None:
    libc = ctypes.CDLL(None)
    if not (_CLEAR.exists() and hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim")):
        return None
    libc.mallopt(_M_MMAP_THRESHOLD, 1 << 16)
    prepared = prepare(*arguments)
    if prepared is None:
        return None
    warm_up, run = prepared
    warm_up()
    libc.malloc_trim(0)
    before = _resident("VmRSS")
    _CLEAR.write_text("5")  # the high-water mark starts anew
    run()
    return round((_resident("VmHWM") - before) / 1024, 1)


def _resident(key: str) -> int:
    """An entry of the process's status, in KiB."""
    return next(int(line.split()[1]) for line in _STATUS.read_text().splitlines() if line.startswith(f"{key}:"))

"""``mixupe-theory bench taylor``: Taylor mode over all pairs against the peers that are installed.

Everything is timed side by side in one process, and nothing is timed before its coefficients were compared with ours.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from functools import partial
from statistics import median

import torch
from tabulate import tabulate
from tqdm import tqdm

from mixupe_theory import _validation as check
from mixupe_theory.bench_peers import (
    CHUNKED,
    PEERS,
    NotAvailable,
    Problem,
    agree,
    collect,
    differences,
    forward,
    gemm_floor,
    ours,
)
from mixupe_theory.bench_timing import alternating, limited_to, peak_extra_memory
from mixupe_theory.environment import described, environment

WIDTHS = (32, 256, 256, 256, 10)
ORDERS, N, SIZES, ORDER = range(1, 9), 64, (16, 32, 64, 128, 256), 4
CASES = (
    *(("float64", N, order) for order in ORDERS),
    *(("float64", n, ORDER) for n in SIZES if n != N),
    *(("float32", N, order) for order in (2, 4, 8)),
)
BY_SIZE = ("dense recurrences", "jax jet", "jax jet, chunked")  # the peers that follow n
MEMORY_CASES = (
    *(("ours", dtype, order) for dtype in ("float64", "float32") for order in (4, 8)),
    *(("one plain forward", dtype, 0) for dtype in ("float64", "float32")),
    ("jax jet", "float64", 4),
)
CHUNKS = (16384, 4096, 2048, 1024, 512, 256)  # rows: pairs times orders; the best is found once, at ORDER or below
OURS, FORWARD, FLOOR = "ours", "one plain forward", "GEMM floor"


def measure(
    rounds: int = 7,
    threads: int = 2,
    device: str = "cpu",
    *,
    cases: Iterable[tuple[str, int, int]] = CASES,
    memory_cases: Iterable[tuple[str, str, int]] = MEMORY_CASES,
    widths: tuple[int, ...] = WIDTHS,
) -> dict:
    """Time ours, the peers, one plain forward and the GEMM floor, by order and by number of points.

    Args:
        rounds: Alternating rounds of each case.
        threads: Threads of torch and numba.
        device: "cpu" or "cuda".
        cases: (dtype, n, order) of each case.
        memory_cases: (who, dtype, order) of each measurement of memory, at the largest n of the cases up to 64.
        widths: Of the tanh network.

    Returns:
        A record: "environment"; "setup"; "rows", one for each case and contender with its seconds and its differences
        from ours by order, or a "note" why it has none; "memory", with peak extra MiB (None: cannot be measured here).

    Raises:
        TypeError, ValueError: On bad arguments, naming them.
    """
    check.integer("rounds", rounds, least=1)
    check.integer("threads", threads, least=1)
    check.choice("device", device, ("cpu", "cuda"))
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device must be 'cpu' here: torch sees no CUDA device")
    cases, memory_cases = list(cases), list(memory_cases)
    place = environment(threads, device)
    n = max(size for _, size, _ in cases if size <= N)
    bar = tqdm(total=len(cases) + len(memory_cases) + 1, desc="bench taylor", unit="case")
    with limited_to(threads), bar:
        chunks = _best_chunks(Problem(widths, n, min(ORDER, max(order for _, _, order in cases)), device=device))
        bar.update()
        rows = []
        for dtype, size, order in cases:
            names = PEERS if size == n else BY_SIZE
            rows += _case(Problem(widths, size, order, dtype, device), names, chunks, rounds)
            bar.update()
        memory = []
        for who, dtype, order in memory_cases:
            mib = _memory(who, Problem(widths, n, max(order, 1), dtype, device), threads)
            memory.append({"who": who, "dtype": dtype, "n": n, "order": order, "MiB": mib})
            bar.update()
    setup = {"widths": list(widths), "n": n, "rounds": rounds, "chunks": chunks}
    return {"environment": place, "setup": setup, "rows": rows, "memory": memory}


def _best_chunks(problem: Problem) -> dict[str, int]:
    """Rows at once, for those that run in chunks: the fastest of a few sizes, by the least of three runs."""
    makers = {FLOOR: gemm_floor, **{name: PEERS[name] for name in CHUNKED}}
    return {name: best for name, make in makers.items() if (best := _best_chunk(make, problem))}


def _best_chunk(make, problem: Problem) -> int | None:
    seconds = {}
    for chunk in CHUNKS:
        try:
            run = make(problem, chunk)
        except NotAvailable:
            return None
        _exhaust(run)  # compiles
        seconds[chunk] = min(alternating({"": partial(_exhaust, run)}, 3, problem.device)[""])
        if seconds[chunk] > 1.5 * min(seconds.values()):  # smaller ones are no better
            break
    return min(seconds, key=seconds.get)


def _case(problem: Problem, names: Iterable[str], chunks: dict[str, int], rounds: int) -> list[dict]:
    """Rows of one case: every result is compared with ours, then those that agree are timed."""
    case = {"dtype": problem.dtype, "n": problem.n, "order": problem.order}
    runs = {OURS: ours(problem), FORWARD: forward(problem), FLOOR: gemm_floor(problem, chunks[FLOOR])}
    for name in (FORWARD, FLOOR):
        _exhaust(runs[name])
    reference = collect(runs[OURS])
    rows = {name: {**case, "who": name} for name in (*runs, *names)}
    for name in names:
        try:
            run = PEERS[name](problem, chunks.get(name))
        except NotAvailable as reason:
            rows[name]["note"] = str(reason)
            continue
        found = differences(reference, collect(run))
        rows[name]["differences"] = [float(f"{d:.2g}") if d == d else None for d in found]
        if agree(reference, found):
            runs[name] = run
        else:
            rows[name]["note"] = "disagrees"
    timed = {name: partial(_exhaust, run) for name, run in runs.items()}
    for name, seconds in alternating(timed, rounds, problem.device).items():
        rows[name]["seconds"] = seconds
    return list(rows.values())


def _exhaust(run) -> None:
    deque(run(), maxlen=0)


def _memory(who: str, problem: Problem, threads: int) -> float | None:
    makers = {OURS: ours, FORWARD: forward, **PEERS}
    if problem.device == "cpu":
        return peak_extra_memory(_memory_run, makers[who], problem, threads)
    run = makers[who](problem)
    _exhaust(run)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    _exhaust(run)
    return round((torch.cuda.max_memory_allocated() - before) / 2**20, 1)


def _memory_run(make, problem: Problem, threads: int):
    """Called in a new process. The warm-up is the same run: compiled code that stays does not count."""
    try:
        run = make(problem)
    except NotAvailable:
        return None

    def exhaust():
        with limited_to(threads):
            _exhaust(run)

    return exhaust, exhaust


def timings(record: dict, **case) -> dict[str, dict]:
    """Rows of one case by name, such as ``timings(record, dtype="float64", n=64, order=4)``."""
    return {row["who"]: row for row in record["rows"] if all(row[key] == value for key, value in case.items())}


def ratio(rows: dict[str, dict], who: str, to: str = OURS) -> float | None:
    """Ratio of two medians of one case; None where either was not timed."""
    if not all("seconds" in rows.get(name, {}) for name in (who, to)):
        return None
    return median(rows[who]["seconds"]) / median(rows[to]["seconds"])


def targets(record: dict) -> list[tuple[str, str, str]]:
    """What was aimed at, what was measured, and the aim, for the cases of the record (float64, its largest n to 64)."""
    n, lines = record["setup"]["n"], []
    at = {order: timings(record, dtype="float64", n=n, order=order) for order in ORDERS}

    def line(what: str, value: float | None, aim: str) -> None:
        if value is not None:
            lines.append((what, f"{value:.2f}", aim))

    for name in ("jax jet", "jax jet, chunked"):
        for order, aim in ((2, "≥ 2"), (4, "≥ 2.5"), (8, "≥ 3")):
            line(f"{name} / ours, K = {order}", ratio(at[order], name), aim)
    line("nested jvp / ours, K = 4", ratio(at[4], "nested jvp"), "≥ 40")
    for order in ORDERS:
        line(f"ours / GEMM floor, K = {order}", ratio(at[order], OURS, FLOOR), "≤ 1.15")
    if "seconds" in at[4].get(OURS, {}) and "seconds" in at[8].get(OURS, {}):
        four, eight = (median(at[order][OURS]["seconds"]) / order for order in (4, 8))
        line("time per order, K = 8 / K = 4", eight / four, "1 if linear")
    held = {(row["who"], row["dtype"], row["order"]): row["MiB"] for row in record["memory"]}
    for (who, dtype, order), mib in held.items():
        one = held.get((FORWARD, dtype, 0))
        if who == OURS and mib is not None and one:
            line(f"peak memory, ours / one forward, {dtype}, K = {order}", mib / one, "< 1")
    return lines


def table(record: dict) -> str:
    """The record as text: milliseconds, ratios to ours and to one plain forward, memory, targets, the machine."""
    n, order = record["setup"]["n"], ORDER
    rows = record["rows"]
    sweeps = [
        (f"{dtype}, n = {n}", "K", "order", [r for r in rows if r["dtype"] == dtype and r["n"] == n])
        for dtype in dict.fromkeys(row["dtype"] for row in rows)
    ]
    by_size = [r for r in rows if r["dtype"] == "float64" and r["order"] == order]
    if len({row["n"] for row in by_size}) > 1:
        sweeps.append((f"float64, K = {order}", "n", "n", by_size))
    parts = [text for sweep in sweeps for text in _sweep(*sweep)]
    memory = [(m["who"], m["dtype"], m["order"] or "", m["MiB"]) for m in record["memory"]]
    if memory:
        parts.append(
            f"Peak extra memory, MiB, n = {n}\n" + tabulate(memory, ("", "dtype", "K", "MiB"), missingval="unknown")
        )
    if aims := targets(record):
        parts.append("Targets\n" + tabulate(aims, ("", "measured", "aim"), disable_numparse=True))
    setup = record["setup"]
    parts.append(
        f"tanh network {'-'.join(map(str, setup['widths']))}, all n² ordered pairs, medians of {setup['rounds']} "
        f"alternating rounds; rows at once (pairs times orders): {setup['chunks']}\n" + described(record["environment"])
    )
    return "\n\n".join(parts)


def _sweep(title: str, letter: str, axis: str, rows: list[dict]) -> list[str]:
    """Three tables over one axis: milliseconds and agreement, ratio to ours, ratio to one plain forward."""
    values = sorted({row[axis] for row in rows})
    names = list(dict.fromkeys(row["who"] for row in rows))
    cells = {value: {row["who"]: row for row in rows if row[axis] == value} for value in values}
    heads = [f"{letter} = {value}" for value in values]

    def grid(what: str, cell, skip: str, extra: str = "") -> str:
        body = [
            [name, *(cell(cells[value], name) for value in values), *([_worst(rows, name)] if extra else [])]
            for name in names
            if name != skip
        ]
        heading = ("", *heads, *([extra] if extra else []))
        return f"{title}: {what}\n" + tabulate(body, heading, disable_numparse=True, stralign="right")

    def milliseconds(case, name):
        row = case.get(name, {})
        return f"{1e3 * median(row['seconds']):.3g}" if "seconds" in row else row.get("note", "")

    def ratio_to(other):
        return lambda case, name: "" if (r := ratio(case, name, other)) is None else f"{r:.2f}"

    return [
        grid("milliseconds, and the largest difference from ours", milliseconds, "", "difference"),
        grid("times as long as ours", ratio_to(OURS), OURS),
        grid("in plain forwards", ratio_to(FORWARD), FORWARD),
    ]


def _worst(rows: list[dict], name: str) -> str:
    found = [d for row in rows if row["who"] == name for d in row.get("differences", ()) if d is not None]
    return f"{max(found):.0e}" if found else ""

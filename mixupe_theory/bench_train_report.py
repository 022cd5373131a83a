"""What a record of ``mixupe-theory bench train`` says: ratios, shares of the ceilings, targets, and all as text."""

from __future__ import annotations

from statistics import median

from tabulate import tabulate

from mixupe_theory.bench_train_cases import TARGETS
from mixupe_theory.environment import described

FASTER, TIMES_ERM = 4.0, 2.05  # aimed at on one H200


def summary(record: dict) -> list[dict]:
    """What the rows that were timed come to.

    Returns:
        One dict for each: its contender's entries; "images" per second; "faster" than the plain way in float32; "times"
        ERM's time for an image, in the same way and precision; "mfu", the share of the measured ceiling of products;
        "floor", the share of the time that products need at both ceilings, whichever is longer; None where what it
        would be compared with was not timed.
    """
    timed = {_key(row): row for row in record["rows"] if "seconds" in row}
    entries = []
    for (network, method, way, precision), row in timed.items():
        ceiling, copy = record["ceilings"][precision], record["ceilings"]["copy"]
        plain, erm = timed.get((network, method, "plain", "float32")), timed.get((network, "erm", way, precision))
        seconds = median(row["seconds"])
        entries.append(
            row
            | {
                "images": record["setup"]["batch_size"] / seconds,
                "faster": plain and _ratio(plain, row),
                "times": erm and _ratio(row, erm),
                "mfu": row["flops"] / seconds / ceiling,
                "floor": max(row["flops"] / ceiling, row["bytes"] / copy) / seconds,
            }
        )
    return entries


def targets(record: dict) -> list[tuple[str, str, str]]:
    """What was aimed at on one H200, for the variants "deck" and "official_v3": what, measured, the target."""
    entries = {_key(row): row for row in summary(record)}
    found = []
    for (network, method, way, precision), row in entries.items():
        if way == "fast" and precision == "bfloat16" and method in TARGETS[1:]:
            for name, what, target in (
                ("faster", "times the plain step's images/s", f">= {FASTER:g}"),
                ("times", "times ERM's time for an image", f"<= {TIMES_ERM:g}"),
            ):
                if row[name] is not None:
                    found.append((f"{network} {method}: {what}", f"{row[name]:.2f}", target))
    return found


def _key(row: dict) -> tuple[str, str, str, str]:
    return row["network"], row["method"], row["way"], row["precision"]


def _ratio(slow: dict, fast: dict) -> float:
    """Median of the ratios round by round."""
    return median(a / b for a, b in zip(slow["seconds"], fast["seconds"], strict=True))


def table(record: dict) -> str:
    """The record as text: one line for each contender, the ceilings, the machine."""
    shown = "{:.3g}".format
    lines = []
    for row in summary(record):
        ratios = ["" if row[name] is None else f"{row[name]:.2f}" for name in ("faster", "times")]
        work = [
            shown(row["flops"] / 1e9),
            shown(row["bytes"] / 1e6),
            f"{100 * row['mfu']:.1f}",
            f"{100 * row['floor']:.0f}",
        ]
        memory = "" if row["MiB"] is None else f"{row['MiB']:.0f}"
        lines.append([*_key(row), f"{row['images']:.0f}", *ratios, *work, memory, shown(row["first step"])])
    heads = (
        *("network", "trained by", "way", "precision", "images/s", "times plain", "times ERM", "GFLOP", "MB"),
        *("MFU %", "floor %", "peak MiB", "first step s"),
    )
    notes = [f"{' '.join(_key(row))}: {row['note']}" for row in record["rows"] if "note" in row]
    notes += [
        f"{' '.join(_key(row))}: rounding moves its first step by as much as it is long, so the comparison says nothing"
        for row in record["rows"]
        if row.get("rounding", 0) >= 1
    ]
    aims = tabulate(targets(record), ("", "measured", "target on one H200"), disable_numparse=True, stralign="right")
    setup = record["setup"]
    float32, bfloat16 = (record["ceilings"][name] / 1e12 for name in ("float32", "bfloat16"))
    forms = ", ".join(f"{name} {form}" for name, form in setup["networks"].items())
    return "\n\n".join(
        (
            tabulate(lines, heads, disable_numparse=True, stralign="right"),
            *notes,
            aims,
            f"batches of {setup['batch_size']}; {forms}; medians of {setup['rounds']} alternating rounds",
            f"ceilings: products {float32:.3g} TFLOP/s in float32, {bfloat16:.3g} in bfloat16; a copy "
            f"{record['ceilings']['copy'] / 1e9:.3g} GB/s. GFLOP and MB: of a step's products and "
            "convolutions; floor: the share of the time that these need at the ceilings",
            described(record["environment"]),
        )
    )

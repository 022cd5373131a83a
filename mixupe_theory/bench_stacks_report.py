"""What a record of ``mixupe-theory bench stacks`` says: ratios, and all as text."""

from __future__ import annotations

from statistics import median

from tabulate import tabulate

from mixupe_theory.environment import described


def summary(record: dict) -> list[dict]:
    """What the rows that were timed come to.

    Returns:
        One dict for each: its row's entries; "faster step", "faster evaluation" and "faster epoch" (its steps and its
        evaluation), how many times as long one run takes alone as together; "faster kept", how many times as long a
        step together takes where freed memory is returned as where it is kept, None where that was not measured.
    """
    entries = []
    for row in (row for row in record["rows"] if "note" not in row):
        alone, together = (
            {what: row[f"{what} {way}"] for what in ("step", "evaluation")} for way in ("alone", "together")
        )
        for times in (alone, together):
            pairs = zip(times["step"], times["evaluation"], strict=True)
            times["epoch"] = [row["steps"] * step + evaluation for step, evaluation in pairs]
        faster = {f"faster {what}": _ratio(alone[what], together[what]) for what in alone}
        entries.append(row | faster | {"faster kept": _ratio(row["returned"], row["kept"]) if "kept" in row else None})
    return entries


def _ratio(slow: list[float], fast: list[float]) -> float:
    """Median of the ratios round by round."""
    return median(a / b for a, b in zip(slow, fast, strict=True))


def table(record: dict) -> str:
    """The record as text: one line for each data set, what keeping freed memory gains, the machine."""
    lines, kept = [], []
    for row in summary(record):
        cells = [row["data"], row["model"], str(row["runs"])]
        for what in ("step", "evaluation"):
            cells += [f"{1e3 * median(row[f'{what} {way}']):.3g}" for way in ("alone", "together")]
            cells.append(f"{row[f'faster {what}']:.2f}")
        lines.append([*cells, f"{row['faster epoch']:.2f}"])
        if row["faster kept"] is not None:
            kept.append(f"{row['data']} {row['faster kept']:.2f}")
    heads = ("data", "model", "runs", "step: alone", "together", "ratio", "evaluation: alone", "together", "ratio")
    notes = [f"{row['data']}: {row['note']}" for row in record["rows"] if "note" in row]
    differences = [row["difference"] for row in record["rows"] if "difference" in row]
    setup = record["setup"]
    return "\n\n".join(
        (
            tabulate(lines, (*heads, "epoch: ratio"), disable_numparse=True, stralign="right"),
            *notes,
            "where freed memory is returned to the system, a step together takes so many times as long: "
            + (", ".join(kept) or "not measured"),
            f"ms for one run; medians of {setup['rounds']} alternating rounds, each of {setup['steps']} steps of every "
            f"run; largest relative difference of losses in float64 {max(differences, default=0):.0e}",
            described(record["environment"]),
        )
    )

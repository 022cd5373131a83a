"""Records in a table: mean test errors over seeds, with confidence intervals."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy import stats
from tabulate import tabulate

from mixupe_theory.training.runs import Run

LEVEL = 0.95


def interval(values: Iterable[float], level: float = LEVEL) -> tuple[float, float]:
    """Mean and half width of Student's confidence interval for it; the width of a single value is NaN.

    Example:
        >>> mean, width = interval([1.0, 2.0, 3.0])
        >>> round(mean, 3), round(width, 3)
        (2.0, 2.484)
    """
    values = np.asarray(list(values), dtype=float)
    if len(values) < 2:
        return float(values.mean()), float("nan")
    half = stats.t.ppf((1 + level) / 2, len(values) - 1) * stats.sem(values)
    return float(values.mean()), float(half)


def table(records: Iterable[dict]) -> str:
    """Test error in percent, last, best and mean of the last ten epochs, for each setting over its seeds and folds."""
    groups: dict[str, list[dict]] = {}
    for entry in records:
        groups.setdefault(_setting(Run.from_dict(entry["run"])), []).append(entry)
    rows = []
    for setting, entries in groups.items():
        errors = {
            name: _percent([entry["summary"][name]["test_error"] for entry in entries])
            for name in ("last", "mean_of_last_10", "best")
        }
        rows.append((setting, len(entries), *errors.values()))
    headers = ("", "runs", "last", "mean of last 10", "best (chosen on the test set)")
    note = f"test error in %, ± half a {LEVEL:.0%} interval (Student) over runs"
    return f"{tabulate(rows, headers, disable_numparse=True)}\n{note}"


def _setting(run: Run) -> str:
    """What the run is, but for its seed and fold."""
    parts = [run.data, run.model, run.title]
    parts += [f"{name} {getattr(run, name):g}" for name in ("alpha", "eta") if getattr(run, name) is not None]
    parts += [run.loss] if run.loss != "cross_entropy" else []
    parts += [f"{run.held_out:g} held out"] if run.held_out else []
    return ", ".join(parts)


def _percent(errors: list[float]) -> str:
    mean, half = interval([100 * error for error in errors])
    return f"{mean:.2f}" if np.isnan(half) else f"{mean:.2f} ± {half:.2f}"

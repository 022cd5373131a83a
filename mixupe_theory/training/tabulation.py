"""Records in a table: mean test errors over seeds and folds, with confidence intervals."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy import stats
from tabulate import tabulate

from mixupe_theory.training.runs import Run

LEVEL = 0.95
# averaged over, or shown by their parts or in the title
_IN_PARTS = {"seed", "fold", "recipe", "model_options", "method", "variant", "origin"}
_PLAIN = ("title", "data", "model", "optimizer", "loss", "precision")  # whose values speak for themselves
_ABOVE = {*_PLAIN, "epochs", "batch_size", "learning_rate", "subset", "held_out", "alpha", "eta", "width"}


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
    """Test error in percent, last, best and mean of the last ten epochs, for each setting over its seeds and folds.

    What all runs have in common stands above the table, if it is among the main settings; a row says what is its own.
    """
    groups: dict[tuple, list[dict]] = {}
    for entry in records:
        groups.setdefault(tuple(_settings(entry["run"]).items()), []).append(entry)
    common = set.intersection(*map(set, groups))
    rows = []
    for settings, entries in groups.items():
        errors = (
            _percent([entry["summary"][name]["test_error"] for entry in entries])
            for name in ("last", "mean_of_last_10", "best")
        )
        rows.append((_words(item for item in settings if item not in common), len(entries), *errors))
    headers = ("", "runs", "last", "mean of last 10", "best (chosen on the test set)")
    above = _words(item for item in next(iter(groups)) if item in common and item[0] in _ABOVE)
    note = f"test error in %, ± half a {LEVEL:.0%} interval (Student) over runs"
    return f"{above}\n{tabulate(rows, headers, disable_numparse=True)}\n{note}"


def _settings(settings: dict) -> dict:
    """What a run is but for its seed and fold, flat, without what is not used."""
    flat = {"title": Run.from_dict(settings).title} | settings | settings["recipe"] | settings["model_options"]
    return {name: str(value) for name, value in flat.items() if name not in _IN_PARTS and value not in (None, 0.0, [])}


def _words(items: Iterable[tuple[str, str]]) -> str:
    """Such as "MixupE deck, alpha 1.0"."""
    return ", ".join(value if name in _PLAIN else f"{name} {value}" for name, value in items)


def _percent(errors: list[float]) -> str:
    mean, half = interval([100 * error for error in errors])
    return f"{mean:.2f}" if np.isnan(half) else f"{mean:.2f} ± {half:.2f}"

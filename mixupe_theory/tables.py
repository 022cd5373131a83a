"""What the deck's printed tables say once their ± is used: tests, effect sizes, corrections for many comparisons.

Only a mean and a spread are printed for each cell, so the runs of two methods are taken as independent (Welch), or as
paired with a correlation that the caller assumes. What ± means, and of how many runs, is an argument too, because the
deck does not always say.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from scipy import stats

from mixupe_theory import _validation as check
from mixupe_theory.fold_spread import fold_sizes, least_fold_spread
from mixupe_theory.summary_tests import MeanDifference, hedges_g, holm, paired, welch
from mixupe_theory.tables_data import TABLES, Table

__all__ = [
    "SPREADS",
    "SPREAD_UNITS",
    "TABLES",
    "Comparison",
    "MeanDifference",
    "Significant",
    "Table",
    "cell",
    "compare",
    "fold_sizes",
    "hedges_g",
    "holm",
    "least_fold_spread",
    "not_best",
    "paired",
    "signed_rank",
    "significant",
    "welch",
]

SPREADS = ("std", "population", "sem")
"""Readings of ±: sample standard deviation; the same divided by n, not n - 1 (numpy's default); standard error."""

SPREAD_UNITS = {"percent": 1.0, "fraction": 100.0}
"""Units that ± may be printed in, in percentage points."""


@dataclass(frozen=True)
class Comparison:
    """A method against one baseline in one row of a table.

    Attributes:
        row: The row's name.
        baseline: The other method.
        difference: Mean of the method minus mean of the baseline, percentage points.
        low: Lower end of the difference's confidence interval, for this comparison alone.
        high: Upper end.
        g: Hedges' g, of the difference's sign.
        g_low: Lower end of its confidence interval.
        g_high: Upper end.
        p: Two-sided p-value of "no difference".
        p_holm: The same after Holm's correction over all comparisons of the table.
        better: Whether the method's mean is the better one.
    """

    row: str
    baseline: str
    difference: float
    low: float
    high: float
    g: float
    g_low: float
    g_high: float
    p: float
    p_holm: float
    better: bool


@dataclass(frozen=True)
class Significant:
    """How many comparisons are significant after Holm's correction.

    Attributes:
        better: Those in which the method's mean is the better one.
        worse: Those in which it is the worse one.
        of: All comparisons.
    """

    better: int
    worse: int
    of: int


def compare(
    table: str | Table,
    method: str = "MixupE",
    *,
    runs: int | None = None,
    spread: str = "std",
    spread_unit: str | None = None,
    correlation: float | None = None,
    confidence: float = 0.95,
) -> list[Comparison]:
    """A method against every other one, row by row.

    Args:
        table: A key of ``TABLES``, or a table.
        method: One of its columns.
        runs: Runs behind each cell, >= 2; the printed number if None.
        spread: What ± is, one of ``SPREADS``.
        spread_unit: Its unit, one of ``SPREAD_UNITS``; the table's if None.
        correlation: Of the runs of two methods, if they were paired; None: independent runs, Welch's test.
        confidence: Level of the intervals.

    Returns:
        The comparisons, rows in the table's order.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If a name or value is not allowed, the table prints no ±, or runs is None and no number is printed.

    Example:
        >>> first = compare("speech")[0]
        >>> f"{first.row} against {first.baseline}: {first.difference:.2f} [{first.low:.2f}, {first.high:.2f}]"
        'LeNet against ERM: -0.41 [-0.48, -0.34]'
    """
    table, pairs = _pairs(table, method, runs, spread, spread_unit)
    tests = [_test(a, b, correlation, confidence) for _, _, a, b in pairs]
    adjusted = holm([test.p for test in tests])
    return [
        Comparison(
            row,
            baseline,
            test.difference,
            test.low,
            test.high,
            *hedges_g(*a, *b, confidence=confidence),
            test.p,
            float(p_holm),
            _is_better(table, test.difference),
        )
        for (row, baseline, a, b), test, p_holm in zip(pairs, tests, adjusted, strict=True)
    ]


def significant(
    table: str | Table,
    method: str = "MixupE",
    *,
    runs: int | None = None,
    spread: str = "std",
    spread_unit: str | None = None,
    correlation: float | None = None,
    level: float = 0.05,
) -> Significant:
    """How many of :func:`compare`'s differences are significant after Holm's correction, at the given level.

    Arguments and errors are those of :func:`compare`.

    Example:
        >>> significant("images", runs=5)
        Significant(better=16, worse=0, of=18)
    """
    level = check.probability("level", level)
    table, pairs = _pairs(table, method, runs, spread, spread_unit)
    tests = [_test(a, b, correlation, 0.95) for _, _, a, b in pairs]
    found = holm([test.p for test in tests]) <= level
    better = np.array([_is_better(table, test.difference) for test in tests])
    return Significant(int((found & better).sum()), int((found & ~better).sum()), len(tests))


def not_best(table: str | Table, method: str = "MixupE") -> dict[str, str]:
    """Rows in which another method's printed mean is better: row -> the best method. No ± is used.

    Raises:
        ValueError: If a name is not allowed.

    Example:
        >>> not_best("graphs")
        {'PTC': 'Mixup'}
    """
    table, method = _names(table, method)
    best = max if not table.lower_is_better else min
    found = {}
    for row, cells in table.rows.items():
        winner = best(cells, key=lambda name, cells=cells: cells[name][0])
        if cells[winner][0] != cells[method][0]:
            found[row] = winner
    return found


def signed_rank(table: str | Table, baseline: str, method: str = "MixupE") -> float:
    """Wilcoxon's signed-rank test of two methods over the rows of a table (Demšar 2006): exact two-sided p-value.

    Rows whose difference of printed means is 0 are left out and equal differences share their mean rank; the law of
    the rank sum is computed over all 2^rows signs, so ties cost no approximation. Runs and ± are not used.

    Raises:
        ValueError: If a name is not allowed, or the two columns are equal.

    Example:
        >>> f"{signed_rank('tabular', 'ERM'):.5f}, {signed_rank('tabular', 'Mixup'):.2f}"
        '0.00085, 0.19'
    """
    table, method = _names(table, method)
    check.choice("baseline", baseline, table.methods)
    # Decimal, so that printed differences that are equal stay equal.
    means = [[Fraction(str(cells[name][0])) for name in (method, baseline)] for cells in table.rows.values()]
    differences = [a - b for a, b in means if a != b]
    if not differences:
        raise ValueError(f"baseline must differ from method in some row, got {baseline!r} and {method!r}")
    doubled = (2 * stats.rankdata([float(abs(d)) for d in differences])).astype(int)  # mean ranks may be halves
    law = np.ones(1)
    for rank in doubled:
        law = np.convolve(law, [0.5, *[0.0] * (rank - 1), 0.5])
    positive = sum(rank for rank, d in zip(doubled, differences, strict=True) if d > 0)
    return float(min(1.0, 2 * min(law[: positive + 1].sum(), law[positive:].sum())))


def cell(table: str | Table, row: str, method: str) -> tuple[float, float | None]:
    """The printed mean and the number after ± (None where none is printed).

    Raises:
        ValueError: If a name is not allowed.

    Example:
        >>> cell("tabular", "Letter", "Mixup")
        (3.71, 0.18)
    """
    table, method = _names(table, method)
    return table.rows[check.choice("row", row, table.rows)][method]


def _names(table: str | Table, method: str) -> tuple[Table, str]:
    if not isinstance(table, Table):
        table = TABLES[check.choice("table", table, TABLES)]
    return table, check.choice("method", method, table.methods)


def _test(a: tuple, b: tuple, correlation: float | None, confidence: float) -> MeanDifference:
    if correlation is None:
        return welch(*a, *b, confidence=confidence)
    return paired(*a[:2], *b, correlation=correlation, confidence=confidence)


def _is_better(table: Table, difference: float) -> bool:
    return difference < 0 if table.lower_is_better else difference > 0


def _pairs(table, method, runs, spread, spread_unit) -> tuple[Table, list[tuple[str, str, tuple, tuple]]]:
    """Row, baseline, and (mean, sample standard deviation, runs) of the method and of the baseline."""
    table, method = _names(table, method)
    check.choice("spread", spread, SPREADS)
    if table.spread_unit is None:
        raise ValueError(f"table {table.id!r} prints no ±, so its differences cannot be tested; see not_best")
    if runs is None and table.runs is None:
        raise ValueError(f"runs must be given: the deck prints no number of runs for table {table.id!r}")
    runs = check.integer("runs", table.runs if runs is None else runs, 2)
    spread_unit = table.spread_unit if spread_unit is None else spread_unit
    unit = SPREAD_UNITS[check.choice("spread_unit", spread_unit, SPREAD_UNITS)]
    factor = unit * {"std": 1.0, "population": math.sqrt(runs / (runs - 1)), "sem": math.sqrt(runs)}[spread]
    pairs = []
    for row, cells in table.rows.items():
        samples = {name: (mean, factor * printed, runs) for name, (mean, printed) in cells.items()}
        ours = samples.pop(method)
        pairs += [(row, baseline, ours, theirs) for baseline, theirs in samples.items()]
    return table, pairs

"""What the claims about the printed tables measure."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from itertools import product

import numpy as np
from scipy import stats

from mixupe_theory.claims.ledger import Evidence
from mixupe_theory.tables import (
    SPREAD_UNITS,
    SPREADS,
    TABLES,
    Table,
    cell,
    fold_sizes,
    holm,
    least_fold_spread,
    not_best,
    signed_rank,
    significant,
)
from mixupe_theory.tables_data import GRAPH_CLASSES

LEVEL = 0.05
RUNS = 5  # of the image table, which does not print its number: that of the deck's other tables
CORRELATION = 0.7  # between the runs of two methods, in case they were paired
_WELCH = "Holm's 5 % over all comparisons of the table, Welch's test; the same decisions from runs with exactly these "
_WELCH += "means and spreads"


def _decided(table: str | Table, runs: int | None = None, spread_unit: str | None = None) -> tuple[int, int, bool]:
    """Significant differences for and against MixupE, and whether another computation decides the same.

    The other one builds runs with exactly the printed mean and spread, gives them to SciPy's test of raw samples, and
    steps through the p-values as Holm's article does.
    """
    found = significant(table, runs=runs, spread_unit=spread_unit, level=LEVEL)
    table = TABLES[table] if isinstance(table, str) else table
    n, scale = runs or table.runs, SPREAD_UNITS[spread_unit or table.spread_unit]
    shape = np.linspace(-1, 1, n) / np.linspace(-1, 1, n).std(ddof=1)
    tests = []
    for cells in table.rows.values():
        samples = {name: mean + scale * spread * shape for name, (mean, spread) in cells.items()}
        ours = samples.pop("MixupE")
        for other in samples.values():
            test = stats.ttest_ind(ours, other, equal_var=False)
            tests.append((test.pvalue, (test.statistic < 0) == ("error" in table.unit)))
    rejected = []
    for k, (p, favours) in enumerate(sorted(tests)):
        if p > LEVEL / (len(tests) - k):
            break
        rejected.append(favours)
    return found.better, found.worse, (sum(rejected), len(rejected) - sum(rejected)) == (found.better, found.worse)


def _changed(table: str, change) -> Table:
    """A table with every cell (row number, method, cell) replaced: to plant errors."""
    table = TABLES[table]
    rows = {
        row: {method: change(k, method, *pair) for method, pair in cells.items()}
        for k, (row, cells) in enumerate(table.rows.items())
    }
    return replace(table, rows=rows)


def tenth(table: str) -> Table:
    """The table with a tenth of every ±: a planted error."""
    return _changed(table, lambda row, method, mean, spread: (mean, spread / 10))


def images(method: str = "MixupE") -> Evidence:
    """Is the method lowest in every row, by significant differences in most of them but not in all?"""
    table, behind = TABLES["images"], not_best("images", method)
    for_it, against, agree = _decided(table, RUNS)
    comparisons = len(table.rows) * (len(table.methods) - 1)
    return Evidence(
        bool(not behind and agree and comparisons / 2 < for_it < comparisons and against == 0),
        {
            "rows with the lowest mean": len(table.rows) - len(behind),
            "rows": len(table.rows),
            f"significant at {RUNS} runs": for_it,
            "at 3": significant(table, runs=3).better,
            "at 2": significant(table, runs=2).better,
            "comparisons": comparisons,
        },
        f"printed means compared as they are; {_WELCH}",
    )


def tabular(table: str | Table = "tabular") -> Evidence:
    """Is MixupE beaten in some rows, and no difference significant?"""
    for_it, against, agree = _decided(table)
    behind, counts = not_best(table), [significant(table, spread=spread) for spread in SPREADS]
    counts.append(significant(table, correlation=CORRELATION))
    return Evidence(
        bool(behind and agree and for_it == against == 0 and not any(c.better or c.worse for c in counts)),
        {
            "rows in which another mean is lower": len(behind),
            "significant": for_it + against,
            "comparisons": counts[0].of,
            "these rows": ", ".join(behind),
        },
        f"{_WELCH}; whichever of its three readings ± has, and if runs were paired with a correlation of {CORRELATION}",
    )


def _enumerated(table: Table, baseline: str) -> float:
    """The signed-rank test's p-value from all signs, one by one."""
    pairs = [(cells["MixupE"][0], cells[baseline][0]) for cells in table.rows.values()]
    differences = np.array([round(100 * a) - round(100 * b) for a, b in pairs])
    ranks = stats.rankdata(abs(differences))
    sums = np.array(list(product((-1, 1), repeat=len(ranks)))) @ ranks
    return float(np.mean(abs(sums) >= abs(np.sign(differences) @ ranks)))


def tabular_together(shift: int = 0) -> Evidence:
    """Signed ranks over data sets; ``shift`` pairs each error with another set's."""
    rows = list(TABLES["tabular"].rows.values())
    table = _changed(
        "tabular", lambda k, method, *pair: pair if method == "MixupE" else rows[(k + shift) % len(rows)][method]
    )
    p = [signed_rank(table, baseline) for baseline in ("ERM", "Mixup")]
    agree = np.allclose(p, [_enumerated(table, baseline) for baseline in ("ERM", "Mixup")], rtol=1e-9)
    against_erm, against_mixup = holm(p)
    return Evidence(
        bool(agree and against_erm <= LEVEL < against_mixup),
        {"p against ERM": p[0], "p against mixup": p[1], "data sets": len(rows)},
        "Wilcoxon's signed ranks of the printed means, two-sided, all 2^15 signs; Holm's 5 % over the two",
    )


def speech(spread_unit: str = "percent") -> Evidence:
    """Is MixupE lowest in every row, and every difference significant?"""
    for_it, _, agree = _decided("speech", spread_unit=spread_unit)
    readings = {spread: significant("speech", spread=spread, spread_unit=spread_unit) for spread in SPREADS}
    return Evidence(
        bool(not not_best("speech") and agree and for_it == readings["std"].of == readings["population"].better),
        {
            "significant": for_it,
            "comparisons": readings["std"].of,
            "if ± is a standard error": readings["sem"].better,
        },
        _WELCH,
    )


def graphs(spread_unit: str = "fraction") -> Evidence:
    """Is MixupE beaten in some rows, and no difference significant?"""
    for_it, against, agree = _decided("graphs", spread_unit=spread_unit)
    behind, paired = not_best("graphs"), significant("graphs", spread_unit=spread_unit, correlation=CORRELATION)
    return Evidence(
        bool(behind and agree and for_it == against == paired.better == paired.worse == 0),
        {
            "rows in which another mean is lower": len(behind),
            "which": ", ".join(behind),
            "significant": for_it + against,
            "comparisons": significant("graphs").of,
            "significant if ± were percents": significant("graphs", spread_unit="percent").better,
        },
        f"{_WELCH}; also if folds were paired with a correlation of {CORRELATION}",
    )


def graphs_together(method: str = "MixupE") -> Evidence:
    """Lower than ERM everywhere and than mixup in most sets; too few sets for the signed ranks."""
    others = [name for name in TABLES["graphs"].methods if name != method]
    lower = {
        other: sum(cells[method][0] < cells[other][0] for cells in TABLES["graphs"].rows.values()) for other in others
    }
    sets, p = len(TABLES["graphs"].rows), [signed_rank("graphs", other, method) for other in others]
    return Evidence(
        bool(lower[others[0]] == sets and sets / 2 < lower[others[1]] < sets and min(holm(p)) > LEVEL),
        {f"lower mean than {other}": count for other, count in lower.items()}
        | {"data sets": sets}
        | {f"p against {other}": value for other, value in zip(others, p, strict=True)},
        "counts of printed means; Wilcoxon's exact signed ranks, Holm's 5 % over the two",
    )


def _least_spreads() -> dict[tuple[str, str], float]:
    """For each cell of Table 6 the least spread of ten fold errors, over both ways to deal folds, in percent."""
    return {
        (row, method): min(
            least_fold_spread(cell("graphs", row, method)[0], fold_sizes(classes, by_class=by_class))
            for by_class in (False, True)
        )
        for row, classes in GRAPH_CLASSES.items()
        for method in TABLES["graphs"].methods
    }


def _search_is_right(least: dict[tuple[str, str], float]) -> bool:
    """Ten folds of one size N share S = 10 a + r errors as a or a + 1 each: the spread is sqrt(r (10 - r))/(10 N)."""
    for (row, method), value in least.items():
        size, rest = divmod(sum(GRAPH_CLASSES[row]), 10)
        if rest == 0 and all(count % 10 == 0 for count in GRAPH_CLASSES[row]):
            r = round(cell("graphs", row, method)[0] * size / 10) % 10
            if not math.isclose(value, 10 * math.sqrt(r * (10 - r)) / size, rel_tol=1e-12):
                return False
    return True


def graph_units(spread_unit: str = "percent") -> Evidence:
    """Cells whose ± is below the least spread that folds of this size can have, as a standard deviation."""
    least, unit = _least_spreads(), SPREAD_UNITS[spread_unit]
    most = {pair: unit * (cell("graphs", *pair)[1] + 0.005) for pair in least}
    return Evidence(
        bool(_search_is_right(least) and all(most[pair] < least[pair] for pair in least)),
        {
            "cells below the least spread": sum(most[pair] < least[pair] for pair in least),
            "cells": len(least),
            "below it even as a standard error": sum(3 * most[pair] < least[pair] for pair in least),
            "smallest least spread / largest that ± allows": min(least[pair] / most[pair] for pair in least),
        },
        "exact: one error rate per fold, ten folds dealt in either of scikit-learn's ways, printed digits rounded; the "
        "standard error is the spread over sqrt(10 - 1)",
    )


def graph_fractions(spread_unit: str = "fraction") -> Evidence:
    """± against the spread that counting errors on a fold has by itself."""
    ratios = []
    for row, classes in GRAPH_CLASSES.items():
        for method in TABLES["graphs"].methods:
            mean, spread = cell("graphs", row, method)
            counting = math.sqrt(mean * (100 - mean) / (sum(classes) / 10))
            ratios.append(SPREAD_UNITS[spread_unit] * spread / counting)
    low, high = (math.sqrt(stats.chi2.ppf(p, 9) / 9) for p in (0.005 / len(ratios), 1 - 0.005 / len(ratios)))
    return Evidence(
        bool(low < min(ratios) and max(ratios) < high),
        {"smallest ± / binomial spread": min(ratios), "largest": max(ratios), "allowed": f"{low:.2f} to {high:.2f}"},
        "a standard deviation of ten binomial error rates, chi-square with 9 degrees of freedom, 99 % for all 18 cells "
        "together (Bonferroni)",
    )


def robustness(table: str | Table = "robustness") -> Evidence:
    """Is MixupE behind each other method somewhere, in fewer than half of the rows, and the ranks undecided?"""
    table = TABLES["robustness"] if table == "robustness" else table
    sign = -1 if table.lower_is_better else 1
    lost = Counter(
        other for cells in table.rows.values() for other in cells if sign * (cells[other][0] - cells["MixupE"][0]) > 0
    )
    others, half = table.methods[:-1], len(table.rows) / 2
    p = [signed_rank(table, other) for other in others]
    return Evidence(
        bool(all(0 < lost[other] < half for other in others) and min(holm(p)) > LEVEL),
        {f"behind {other}": lost[other] for other in others}
        | {"deformations": len(table.rows)}
        | {f"p against {other}": value for other, value in zip(others, p, strict=True)},
        "printed means compared as they are, no ± being printed; exact signed ranks, Holm's 5 % over the two",
    )


def robustness_kinds(planted: bool = False) -> Evidence:
    """MixupE's place among the three for each deformation; ``planted`` exchanges two columns."""
    places: dict[str, list[int]] = {}
    for row, cells in TABLES["robustness"].rows.items():
        means = {name: mean for name, (mean, _) in cells.items()}
        ours = means["Manifold Mixup" if planted else "MixupE"]
        kind = " ".join(word for word in row.split() if word in ("Rotation", "Shearing", "Zoom", "In", "Out"))
        places.setdefault(kind, []).append(1 + sum(mean > ours for mean in means.values()))
    expected = {"Rotation": [1, 1], "Zoom In": [1, 1], "Shearing": [1, 2], "Zoom Out": [3, 3]}
    return Evidence(
        places == expected,
        {f"place, {kind}": " and ".join(map(str, found)) for kind, found in places.items()},
        "places of printed means, exact; no ± is printed, so nothing says which gaps are noise",
    )


def runs(times: int = 1) -> Evidence:
    """Significant improvements against the assumed number of runs; ``times`` counts every run more than once."""
    numbers = range(2, 11)
    images = [_decided("images", times * n) for n in numbers]
    counts, of = [found[0] for found in images], significant("images", runs=RUNS).of
    tabular = [significant("tabular", runs=times * n).better for n in range(RUNS, 11)]
    first = next((n for n, count in enumerate(tabular, RUNS) if count), 0)
    return Evidence(
        bool(
            all(found[2] for found in images)
            and counts == sorted(counts)
            and counts[0] < of / 2 < counts[1] < of == counts[-1]
            and first > RUNS
        ),
        {f"images, {n} runs": count for n, count in zip(numbers, counts, strict=True) if n in (2, 3, 5)}
        | {"comparisons": of, "all of them from": next(n for n in numbers if counts[n - 2] == of)}
        | {"tabular, some from": first},
        _WELCH,
    )

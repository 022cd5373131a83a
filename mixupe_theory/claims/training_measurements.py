"""What the claims about the deck's tables, trained again, measure: from the committed records of runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from mixupe_theory.claims.ledger import Evidence
from mixupe_theory.summary_tests import holm

if TYPE_CHECKING:
    from mixupe_theory.training.replication import Replication  # which needs the extra "train"

LEVEL = 0.05
BASELINES = ("ERM", "mixup")
VARIANTS = ("MixupE deck", "MixupE official_v3")
_TESTS = "Holm's 5 % over the four exact signed-rank tests; paired t tests as SciPy's"
_AGREE = 1e-9  # of p-values from the same errors by SciPy: rounding


def _replicated(name: str, change: Callable[[float], float] | None = None) -> tuple[Replication, bool]:
    """A study's table from the committed records, and whether SciPy's tests of the raw records decide alike.

    Args:
        name: Of the study.
        change: Of MixupE's test errors: a planted difference.
    """
    from mixupe_theory.training.studies import STUDIES, recorded, replication

    entries = recorded(STUDIES[name])
    if change:
        for entry in entries:
            if entry["run"]["method"] == "mixupe" and not entry["run"]["held_out"]:
                for values in (*entry["summary"].values(), *entry["epochs"]):
                    values["test_error"] = change(values["test_error"])
    found = replication(STUDIES[name], entries)
    lines = {entry["id"]: entry for entry in entries}
    agree = [_by_scipy(found, c, lines) for c in found.comparisons] if STUDIES[name].selections[0] == "last" else [True]
    return found, all(agree)


def _by_scipy(found: Replication, comparison, lines: dict[str, dict]) -> bool:
    """The plain paired t test of a comparison, from the record lines of its two cells."""
    cells = found.ours[comparison.row]
    errors = (
        [100 * lines[id]["summary"]["last"]["test_error"] for id in cells[title].ids]
        for title in (comparison.title, comparison.baseline)
    )
    first, second = map(np.array, errors)
    if np.ptp(first - second) == 0:  # SciPy's t would be 0/0
        return True
    return abs(stats.ttest_rel(first, second).pvalue - comparison.test.p_plain) < _AGREE


def improved(name: str, change: Callable[[float], float] | None = None) -> Evidence:
    """Is it *not* shown, over a table's rows, that a variant of MixupE has lower errors than both ERM and mixup?"""
    found, agree = _replicated(name, change)
    pairs = [(title, baseline) for title in VARIANTS for baseline in BASELINES]
    p = dict(zip(pairs, holm([found.signed_rank(*pair) for pair in pairs]), strict=True))
    below = {pair: bool(np.subtract(*found.means(pair).T).mean() < 0) and p[pair] <= LEVEL for pair in pairs}
    sure = [c for c in found.comparisons if c.significant]
    measured = {"rows": len(found.means(VARIANTS))}
    measured |= {f"p, {title} against {baseline}": float(p[title, baseline]) for title, baseline in pairs}
    measured |= {"differences in single rows that are significant": len(sure)}
    shown = any(all(below[title, baseline] for baseline in BASELINES) for title in VARIANTS)
    return Evidence(agree and not shown, measured, _TESTS)


def alike(name: str, change: Callable[[float], float] | None = None) -> Evidence:
    """Do both variants differ from mixup, on average over rows, by less than the deck's own spread of a cell?"""
    found, agree = _replicated(name, change)
    there = [row for row, cells in found.ours.items() if cells]
    spread = float(np.mean([found.deck[row]["MixupE"].spread for row in there]))
    measured, within = {}, []
    for title in VARIANTS:
        ours, theirs = found.means((title, "mixup")).T
        middle = float((ours - theirs).mean())
        half = float(stats.t.isf(LEVEL / 2, len(ours) - 1) * stats.sem(ours - theirs))
        measured |= {f"{title} − mixup, points": middle, f"half of its 95 % interval, {title}": half}
        within.append(abs(middle) + half < spread)
    tolerance = f"{spread:.2g} points, the mean of the deck's ± of MixupE; Student's 95 % interval over rows"
    return Evidence(agree and all(within), measured, tolerance)

"""What the claims about the deck's tables, trained again, measure: from the committed records of runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from mixupe_theory.claims.ledger import Evidence
from mixupe_theory.summary_tests import holm

if TYPE_CHECKING:
    from mixupe_theory.training.replication import Replication  # which needs the extra "train"

LEVEL = 0.05
BASELINES = ("ERM", "mixup")
_AGREE = 1e-9  # of p-values from the same errors by SciPy: rounding


def read_records(name: str, change: Callable[[float], float] | None = None) -> list[dict]:
    """A study's committed records.

    Args:
        name: Of the study.
        change: Of MixupE's test errors: a planted difference.
    """
    from mixupe_theory.training.studies import STUDIES, recorded

    entries = recorded(STUDIES[name])
    for entry in entries:
        if change and entry["run"]["method"] == "mixupe" and not entry["run"]["held_out"]:
            for values in (*entry["summary"].values(), *entry["epochs"]):
                values["test_error"] = change(values["test_error"])
    return entries


def _table(name: str, entries: list[dict], selection: str | None = None) -> Replication:
    from mixupe_theory.training.studies import STUDIES, replication

    return replication(STUDIES[name], entries, selection)


def scipy_agrees(
    found: Replication, entries: list[dict], raw: Callable[[list[dict]], list[float]] | None = None
) -> bool:
    """Whether SciPy's paired t tests of what the raw records hold have the p-values of the table's plain ones.

    Args:
        found: The table.
        entries: The records.
        raw: Reads values off records, up to a factor; by default the errors.
    """
    lines = {entry["id"]: entry for entry in entries}
    raw = raw or (lambda entries: _raw(found.selection, entries))
    for comparison in found.comparisons:
        cells = found.ours[comparison.row]
        pair = (cells[title] for title in (comparison.title, comparison.baseline))
        first, second = (np.array(raw([lines[id] for id in cell.ids])) for cell in pair)
        same = np.ptp(first - second) == 0  # SciPy's t would be 0/0
        if not same and not abs(stats.ttest_rel(first, second).pvalue - comparison.test.p_plain) < _AGREE:
            return False
    return bool(found.comparisons)


def _raw(selection: str, entries: Sequence[dict]) -> list[float]:
    """Errors of the final runs; with "nested" the inner runs follow them."""
    if selection == "last":
        return [entry["epochs"][-1]["test_error"] for entry in entries]
    half = len(entries) // 2
    found = []
    for final, inner in zip(entries[:half], entries[half:], strict=True):
        judged = [(epoch["test_error"], epoch["test_loss"]) for epoch in inner["epochs"]]
        found.append(final["epochs"][judged.index(min(judged))]["test_error"])
    return found


def _variants(found: Replication) -> list[str]:
    return [title for title in found.titles if title.startswith("MixupE")]


def improved(name: str, change: Callable[[float], float] | None = None) -> Evidence:
    """Is it *not* shown, over a table's rows, that a variant of MixupE has lower errors than both ERM and mixup?

    Where all rows have the same seeds or folds, by the paired test of the means over rows; else by Wilcoxon's.
    """
    entries = read_records(name, change)
    found = _table(name, entries)
    return _not_shown(found, scipy_agrees(found, entries), BASELINES)


def generalizes(change: Callable[[float], float] | None = None) -> Evidence:
    """Is it *not* shown that a variant of MixupE is above mixup and manifold mixup on deformed images?

    Of the small networks, on average over the deck's eight deformations and over networks. A change is of MixupE's
    errors on deformed images.
    """
    from mixupe_theory.training.robustness import BASELINES

    return _not_shown(*_deformed(change), BASELINES)


def _deformed(change: Callable[[float], float] | None) -> tuple[Replication, bool]:
    """Mean accuracies over the deformations, and whether SciPy's tests agree."""
    from mixupe_theory.training.measures import measure
    from mixupe_theory.training.robustness import BASELINES
    from mixupe_theory.training.studies import STUDIES

    def raw(entries: list[dict]) -> list[float]:
        return [sum(entry["examination"]["deformations"].values()) for entry in entries]

    entries = read_records("images-small")
    for entry in entries:
        if change and entry["run"]["method"] == "mixupe":
            deformed = entry["examination"]["deformations"]
            deformed.update((row, change(error)) for row, error in deformed.items())
    found = measure(entries, STUDIES["images-small"].rows, "deformed", BASELINES)
    return found, scipy_agrees(found, entries, raw)


def _not_shown(found: Replication, agrees: bool, baselines: Sequence[str]) -> Evidence:
    """Is it not shown, over a table's rows, that a variant of MixupE is better than all of the baselines?"""
    better = -1 if found.table.lower_is_better else 1
    pairs = [(title, baseline) for title in _variants(found) for baseline in baselines]
    together = [found.on_average(*pair) for pair in pairs]
    adjusted = holm([t.p if t else found.signed_rank(*pair) for t, pair in zip(together, pairs, strict=True)])
    p = dict(zip(pairs, adjusted, strict=True))
    won = {pair: bool(better * np.subtract(*found.means(pair).T).mean() > 0) and p[pair] <= LEVEL for pair in pairs}
    shown = any(all(won[title, baseline] for baseline in baselines) for title in _variants(found))
    measured = {"rows": len(found.means(_variants(found)))}
    measured |= {f"p, {title} against {baseline}": float(p[title, baseline]) for title, baseline in pairs}
    measured |= {"differences in single rows that are significant": sum(c.significant for c in found.comparisons)}
    over = "paired tests of means over rows" if all(together) else "exact signed-rank tests"
    tolerance = f"Holm's 5 % over the {len(pairs)} {over}; paired t tests as SciPy's"
    return Evidence(agrees and not shown, measured, tolerance)


def alike(name: str, change: Callable[[float], float] | None = None) -> Evidence:
    """Do all variants differ from mixup, on average over rows, by less than the deck's own spread of a cell?"""
    entries = read_records(name, change)
    found = _table(name, entries)
    spread = float(np.mean([found.deck[row]["MixupE"].spread for row, cells in found.ours.items() if cells]))
    return _within(spread, "the mean of the deck's ± of MixupE", found, scipy_agrees(found, entries))


def within_the_gain(name: str, change: Callable[[float], float] | None = None) -> Evidence:
    """Do all variants differ from mixup by less than the deck's MixupE gains, on average over rows (its, of CIFAR)?"""
    from mixupe_theory.tables_data import IMAGES

    entries = read_records(name, change)
    found = _table(name, entries)
    of_cifar = [cells for row, cells in IMAGES.rows.items() if "CIFAR" in row]
    gain = float(np.mean([cells["Mixup"][0] - cells["MixupE"][0] for cells in of_cifar]))
    words = "the mean gain of the deck's MixupE on mixup, on CIFAR"
    return _within(gain, words, found, scipy_agrees(found, entries))


def deformed_within_the_gain(change: Callable[[float], float] | None = None) -> Evidence:
    """Do all variants differ from mixup, on deformed images, by less than the deck's MixupE gains there, on average?"""
    from mixupe_theory.tables_data import ROBUSTNESS

    gain = float(np.mean([cells["MixupE"][0] - cells["Mixup"][0] for cells in ROBUSTNESS.rows.values()]))
    return _within(gain, "the mean gain of the deck's MixupE on mixup, on deformed images", *_deformed(change))


def _within(bound: float, words: str, found: Replication, agrees: bool) -> Evidence:
    """Are the 95 % intervals of all variants' mean differences to mixup, over rows, within a bound?"""
    measured, within = {}, []
    for title in _variants(found):
        if test := found.on_average(title, "mixup"):
            middle, half = test.difference, test.half_width
        else:
            ours, theirs = found.means((title, "mixup")).T
            middle = float((ours - theirs).mean())
            half = float(stats.t.isf(LEVEL / 2, len(ours) - 1) * stats.sem(ours - theirs))
        measured |= {f"{title} − mixup, points": middle, f"half of its 95 % interval, {title}": half}
        within.append(abs(middle) + half < bound)
    tolerance = f"{bound:.2g} points, {words}; a 95 % interval of the mean over rows"
    return Evidence(agrees and all(within), measured, tolerance)


def above_erm(name: str, change: Callable[[float], float] | None = None) -> Evidence:
    """Do mixup and all variants of MixupE have *higher* errors than ERM, by the paired test of the means over rows?"""
    entries = read_records(name, change)
    found = _table(name, entries)
    titles = ["mixup", *_variants(found)]
    together = [found.on_average(title, "ERM") for title in titles]
    adjusted = holm([test.p for test in together])
    measured, above = {}, []
    for title, test, p in zip(titles, together, adjusted, strict=True):
        measured |= {f"{title} − ERM, points": test.difference, f"p, {title} against ERM": float(p)}
        above.append(test.difference > 0 and p <= LEVEL)
    tolerance = f"Holm's 5 % over the {len(titles)} paired tests of means over rows; paired t tests as SciPy's"
    return Evidence(scipy_agrees(found, entries) and all(above), measured, tolerance)

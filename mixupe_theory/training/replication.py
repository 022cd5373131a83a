"""The deck's tables trained again: our numbers beside the printed ones."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mixupe_theory.summary_tests import holm
from mixupe_theory.tables import SPREAD_UNITS
from mixupe_theory.tables_data import Table
from mixupe_theory.training.outcomes import Sample, errors
from mixupe_theory.training.paired_tests import LEVEL, PairedTest, Ranks, paired_test, ranks, signed_rank
from mixupe_theory.training.tabulation import interval

BASELINES = ("ERM", "mixup")
"""Titles of the methods that MixupE is compared with, unless others are named."""

_COLUMNS_OF_DECK = {"ERM": "ERM", "mixup": "Mixup", "manifold mixup": "Manifold Mixup"}

CONTROL = "mixup + clean forward"
"""Title of the control, to which MixupE may be compared as well; the deck has none."""

METHOD = "MixupE"
"""How the titles of its variants begin, and the deck's column."""

COLUMNS = {
    "ERM": "ERM",
    "mixup": "mixup",
    "manifold mixup": "manifold",
    "MixupE deck": "MixupE deck",
    "MixupE deck_detached": "detached",
    "MixupE exact": "exact",
    "MixupE official_v3": "MixupE v3",
    CONTROL: "control",
}
"""Titles -> heads of our columns."""


@dataclass(frozen=True)
class Row:
    """What was run for a row of the deck.

    Attributes:
        data: Name of the data set.
        model: Name of the network.
        absent: Why there is no number of ours, in plain words; empty where there is one.
    """

    data: str
    model: str
    absent: str = ""


@dataclass(frozen=True)
class Cell:
    """A mean error in percent.

    Attributes:
        mean: The mean.
        spread: The deck's number after ± in percentage points; of ours half of Student's 95 % interval (NaN for a
            single run).
        n: Number of runs; None where the deck prints none.
        ids: Of the records it comes from; none for the deck's.
    """

    mean: float
    spread: float
    n: int | None
    ids: tuple[str, ...] = ()

    def __format__(self, spec: str) -> str:
        """Mean and spread, each by ``spec``, by default with two decimals."""
        spec = spec or ".2f"
        return f"{self.mean:{spec}}" if np.isnan(self.spread) else f"{self.mean:{spec}}±{self.spread:{spec}}"


@dataclass(frozen=True)
class RowComparison:
    """A variant of MixupE against a baseline in one row.

    Attributes:
        row: The deck's row.
        title: The variant.
        baseline: "ERM" or "mixup".
        test: Ours, in percentage points.
        p_holm: Its p-value after Holm's correction over all comparisons of the table.
        deck: The difference of the deck's printed means; NaN where it prints none.
    """

    row: str
    title: str
    baseline: str
    test: PairedTest
    p_holm: float
    deck: float

    @property
    def significant(self) -> bool:
        """Whether the difference is, at 5 % over the whole table."""
        return self.p_holm <= LEVEL


@dataclass(frozen=True)
class Replication:
    """A table of the deck with our numbers.

    Attributes:
        table: The deck's.
        selection: Of the epoch, see :mod:`mixupe_theory.training.outcomes`.
        rows: What was run, by the deck's rows, in its order.
        deck: The deck's cells: row -> column -> cell; no columns where the row is not the deck's.
        ours: Our cells: row -> title -> cell; no titles where the row is absent.
        samples: The runs' errors behind them, likewise.
        comparisons: Of each variant of MixupE with ERM and mixup, where there are two runs or more.
    """

    table: Table
    selection: str
    rows: Mapping[str, Row]
    deck: Mapping[str, Mapping[str, Cell]]
    ours: Mapping[str, Mapping[str, Cell]]
    samples: Mapping[str, Mapping[str, Sample]]
    comparisons: tuple[RowComparison, ...]

    @property
    def titles(self) -> tuple[str, ...]:
        """Titles that occur, those of ``COLUMNS`` first."""
        found = dict.fromkeys(title for cells in self.ours.values() for title in cells)
        return tuple(title for title in COLUMNS if title in found) + tuple(t for t in found if t not in COLUMNS)

    @property
    def ranked(self) -> tuple[str, ...]:
        """All but the control, which is no competitor, and without BatchNorm is mixup once more."""
        return tuple(title for title in self.titles if title != CONTROL)

    @property
    def apart(self) -> bool:
        """Whether each row has runs of its own: rows that share runs are no sample to rank or to sign over."""
        there = [(row.data, row.model) for row in self.rows.values() if not row.absent]
        return len(there) == len(set(there))

    def means(self, titles: Sequence[str]) -> np.ndarray:
        """Mean errors in the rows that have a number of each of these titles, (rows, titles)."""
        rows = [cells for cells in self.ours.values() if all(title in cells for title in titles)]
        return np.array([[cells[title].mean for title in titles] for cells in rows]).reshape(-1, len(titles))

    def ranks(self) -> Ranks:
        """The methods ranked over the rows that have them all.

        Raises:
            ValueError: If there are fewer than two such rows, or than three methods.
        """
        sign = 1 if self.table.lower_is_better else -1
        return ranks(self.ranked, sign * self.means(self.ranked))

    def signed_rank(self, title: str, baseline: str) -> float:
        """Wilcoxon's test of two methods over the rows that have both."""
        return signed_rank(*self.means((title, baseline)).T)

    def on_average(self, title: str, baseline: str, among: Collection[str] | None = None) -> PairedTest | None:
        """Two methods over the rows that have both, taken together: the paired test of the errors' means over rows.

        The k-th pair is that of the k-th seed or fold. None unless all these rows have the same ones, two or more, and
        their splits are alike. Unlike Wilcoxon's, the test can tell with few rows, and it speaks of these rows alone.

        Args:
            title: A method.
            baseline: Another.
            among: Rows to take; all of them by default.
        """
        taken = [cells for row, cells in self.samples.items() if among is None or row in among]
        rows = [cells for cells in taken if title in cells and baseline in cells]
        kinds = {(s.by, *s.units.tolist(), s.overlap > 0) for cells in rows for s in (cells[title], cells[baseline])}
        if len(kinds) != 1 or len(rows[0][title].units) < 2:
            return None
        first, second = (np.mean([cells[t].values for cells in rows], axis=0) for t in (title, baseline))
        return paired_test(first, second, float(np.mean([cells[title].overlap for cells in rows])))


def replicate(
    table: Table,
    rows: Mapping[str, Row],
    records: Iterable[dict],
    selection: str = "last",
    baselines: Sequence[str] = BASELINES,
) -> Replication:
    """Set our errors beside a table of the deck.

    Each variant of MixupE is compared with the baselines by the paired t test over seeds or folds, with Nadeau and
    Bengio's variance where each run has a split of its own; Holm's correction goes over all comparisons of the table.

    Args:
        table: One of :data:`mixupe_theory.tables_data.TABLES` that prints errors.
        rows: For each of its rows what was run, or why nothing was; rows that are not the deck's may follow.
        records: Of all runs; those that belong to no row are left out.
        selection: Of the epoch, one of :data:`mixupe_theory.training.outcomes.SELECTIONS`.
        baselines: Titles of the methods that MixupE is compared with, where a row has them; not the control where its
            runs' errors are mixup's.

    Raises:
        ValueError: If the table prints no errors; if one of its rows is missing; if a row that is not absent has
            no final runs, or no ERM or mixup to compare a variant of MixupE with, or other seeds or folds than these;
            or as :func:`mixupe_theory.training.outcomes.errors` does.

    Example:
        >>> from mixupe_theory.tables_data import SPEECH
        >>> from mixupe_theory.training.replication_text import as_text
        >>> rows = {name: Row("speech_v2", "lenet", absent="not trained yet") for name in SPEECH.rows}
        >>> print(as_text(replicate(SPEECH, rows, [])).splitlines()[-1])
        no numbers of ours: LeNet, VGG-11, VGG-13 (not trained yet)
    """
    if not table.lower_is_better:
        raise ValueError(f"table must print errors, {table.id!r} does not")
    if missing := sorted(table.rows.keys() - rows.keys()):
        raise ValueError(f"rows must have all those of table {table.id!r}, missing: {missing}")
    rows = {name: rows[name] for name in table.rows} | rows
    wanted = {(row.data, row.model) for row in rows.values() if not row.absent}
    chosen = [entry for entry in records if (entry["run"]["data"], entry["run"]["model"]) in wanted]
    found = errors(chosen, selection)
    samples = {name: {} if row.absent else _samples(name, row, found) for name, row in rows.items()}
    return compare(table, rows, samples, selection, baselines)


def compare(
    table: Table,
    rows: Mapping[str, Row],
    samples: Mapping[str, Mapping[str, Sample]],
    selection: str,
    baselines: Sequence[str] = BASELINES,
) -> Replication:
    """The same from samples of what the table prints: row -> title -> sample."""
    unit = 1.0 if table.spread_unit is None else SPREAD_UNITS[table.spread_unit]
    deck = {
        name: {
            column: Cell(mean, float("nan") if spread is None else unit * spread, table.runs)
            for column, (mean, spread) in table.rows.get(name, {}).items()
        }
        for name in rows
    }
    ours = {name: {title: _cell(sample) for title, sample in cells.items()} for name, cells in samples.items()}
    return Replication(table, selection, rows, deck, ours, samples, _compare(samples, deck, baselines))


def _samples(name: str, row: Row, found: dict[tuple[str, str], dict[str, Sample]]) -> dict[str, Sample]:
    if (row.data, row.model) not in found:
        raise ValueError(f"row {name!r} must have final runs of {row.model} on {row.data}, got none; is it absent?")
    samples = found[row.data, row.model]
    if any(title.startswith(METHOD) for title in samples) and (missing := [t for t in BASELINES if t not in samples]):
        raise ValueError(f"row {name!r} must have runs of {' and '.join(missing)} to compare MixupE with, got none")
    units = {title: sample.units.tolist() for title, sample in samples.items()}
    if len(set(map(tuple, units.values()))) > 1:
        raise ValueError(f"row {name!r} must have the same seeds or folds for all methods, got {units}")
    return samples


def _cell(sample: Sample) -> Cell:
    return Cell(*interval(sample.values), len(sample.units), sample.ids)


def _compare(
    samples: dict[str, dict[str, Sample]], deck: dict[str, dict[str, Cell]], baselines: Sequence[str]
) -> tuple[RowComparison, ...]:
    pairs = [
        (name, title, baseline, paired_test(sample.values, cells[baseline].values, sample.overlap))
        for name, cells in samples.items()
        for title, sample in cells.items()
        if title.startswith(METHOD) and len(sample.units) > 1
        for baseline in _present(baselines, cells)
    ]
    adjusted = holm([test.p for *_, test in pairs]) if pairs else []
    return tuple(
        RowComparison(*pair, float(p), _printed(deck[pair[0]], pair[2]))
        for pair, p in zip(pairs, adjusted, strict=True)
    )


def _present(baselines: Sequence[str], cells: dict[str, Sample]) -> list[str]:
    """Those that a row has; not the control where it is mixup once more, run by run, as it is without BatchNorm."""
    again = {"mixup", CONTROL} <= cells.keys() and np.array_equal(cells["mixup"].values, cells[CONTROL].values)
    return [name for name in baselines if name in cells and not (again and name == CONTROL)]


def _printed(cells: dict[str, Cell], baseline: str) -> float:
    """The difference of the deck's printed means; NaN where it prints none."""
    names = (METHOD, _COLUMNS_OF_DECK.get(baseline))
    return cells[names[0]].mean - cells[names[1]].mean if cells.keys() >= set(names) else float("nan")

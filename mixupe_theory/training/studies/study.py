"""A study: the runs behind one of the deck's tables."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial

from mixupe_theory import paths
from mixupe_theory.tables_data import Table
from mixupe_theory.training import data, records
from mixupe_theory.training.grids import choose
from mixupe_theory.training.replication import BASELINES, Replication, Row, replicate
from mixupe_theory.training.runs import Run


@dataclass(frozen=True)
class Study:
    """The runs behind one of the deck's tables.

    Attributes:
        table: The deck's.
        rows: What is trained for each of its rows.
        plan: Makes the list of all runs; where hyper-parameters are chosen, with every setting that is tried.
        choose: Share of the training part, held out, on which they are chosen; None where there is nothing to choose.
        together: Whether runs are trained as stacks.
        selections: How errors are read off runs (:mod:`mixupe_theory.training.outcomes`), the main way first.
        baselines: Titles of what MixupE is compared with.
        main: Whether a run is behind the table; others are for a comparison of the study's own.
        cost: About how many seconds a run takes on the machine that the study is for; None for runs that are trained
            together, or where nobody measured it.
        fast: Whether runs are trained the fast way where there is a GPU.
    """

    table: Table
    rows: Mapping[str, Row]
    plan: Callable[[], list[Run]]
    choose: float | None = None
    together: bool = False
    selections: tuple[str, ...] = ("last",)
    baselines: tuple[str, ...] = BASELINES
    main: Callable[[Run], bool] = lambda run: True
    cost: Callable[[Run], float] | None = None
    fast: bool = False

    @cached_property
    def runs(self) -> list[Run]:
        """What ``plan`` gives."""
        return self.plan()


def at_hand(runs: Iterable[Run], known: Container[str] = ()) -> tuple[list[Run], list[str]]:
    """The runs whose data is there, and for each data set that is not, where it belongs.

    Args:
        runs: The runs.
        known: Names of data sets that need not be there, since what is to be done with them has been done.

    Raises:
        CorruptData: If a data set is damaged.
    """
    runs, missing = list(runs), {}
    for name in dict.fromkeys(run.data for run in runs if run.data not in known):
        try:
            data.source(name).verify(data.data_folder())
        except data.MissingData as error:
            missing[name] = str(error)
    return [run for run in runs if run.data not in missing], list(missing.values())


def conduct(study: Study, runs: list[Run], sweep: Callable):
    """Do some of a study's runs.

    Args:
        study: The study.
        runs: Of its runs, those to do.
        sweep: ``sweep(runs, brief=False)`` does runs and returns an
            :class:`mixupe_theory.training.sweeps.Outcome`; trials may be recorded in brief.

    Returns:
        The outcome of the final runs, those with the settings that were chosen.
    """
    return sweep(runs if study.choose is None else choose(runs, study.choose, partial(sweep, brief=True)))


def recorded(study: Study) -> list[dict]:
    """The committed records of a study."""
    return records.read(paths.FIGURE_DATA / "runs" / f"{study.table.id}.jsonl")


def replication(study: Study, entries: Iterable[dict], selection: str | None = None) -> Replication:
    """The study's table from the records of its runs; a row some of whose runs are not recorded is left out.

    Args:
        study: The study.
        entries: Records of its runs.
        selection: In place of the study's main one.
    """
    own = [
        (run, entry) for run, entry in ((Run.from_dict(entry["run"]), entry) for entry in entries) if study.main(run)
    ]
    rows = {}
    for title, row in study.rows.items():
        found = [run for run, _ in own if (run.data, run.model) == (row.data, row.model)]
        if study.choose is None:
            done = {run.id for run in found}
            wanted = {r.id for r in study.runs if study.main(r) and (r.data, r.model) == (row.data, row.model)}
            complete = bool(done) and wanted <= done
        else:  # only the chosen settings have final runs, all of them recorded at once
            complete = any(not run.held_out for run in found)
        rows[title] = replace(row, absent="" if complete else row.absent or "not yet run")
    own = [entry for _, entry in own]
    return replicate(study.table, rows, own, selection or study.selections[0], study.baselines)

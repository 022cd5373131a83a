"""A study: the runs behind one of the deck's tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from mixupe_theory.tables_data import Table
from mixupe_theory.training import data
from mixupe_theory.training.grids import choose
from mixupe_theory.training.replication import Replication, Row, replicate
from mixupe_theory.training.runs import Run


@dataclass(frozen=True)
class Study:
    """The runs behind one of the deck's tables.

    Attributes:
        table: The deck's.
        rows: What is trained for each of its rows.
        runs: All runs; where hyper-parameters are chosen, with every setting that is tried.
        choose: Share of the training part, held out, on which they are chosen; None where there is nothing to choose.
        together: Whether runs are trained as stacks.
        selection: How an error is read off a run (:mod:`mixupe_theory.training.outcomes`).
    """

    table: Table
    rows: Mapping[str, Row]
    runs: tuple[Run, ...]
    choose: float | None = None
    together: bool = False
    selection: str = "last"


def at_hand(study: Study) -> tuple[list[Run], list[str]]:
    """The runs whose data is there, and for each data set that is not, where it belongs.

    Raises:
        CorruptData: If a data set is damaged.
    """
    folder, missing = data.data_folder(), {}
    for name in dict.fromkeys(run.data for run in study.runs):
        try:
            data.source(name).verify(folder)
        except data.MissingData as error:
            missing[name] = str(error)
    return [run for run in study.runs if run.data not in missing], list(missing.values())


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


def replication(study: Study, records: Iterable[dict], selection: str | None = None) -> Replication:
    """The study's table from the records of its runs, those not at hand left out.

    Args:
        study: The study.
        records: Of runs; those that are not the study's are ignored.
        selection: In place of the study's own.
    """
    ids = {run.id for run in study.runs}
    own = [record for record in records if record["id"] in ids]
    there = {(record["run"]["data"], record["run"]["model"]) for record in own}
    rows = {
        title: replace(row, absent="" if (row.data, row.model) in there else row.absent or "not yet run")
        for title, row in study.rows.items()
    }
    return replicate(study.table, rows, own, selection or study.selection)

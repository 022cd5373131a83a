"""The commands ``mixupe-theory study`` and ``mixupe-theory tables``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mixupe_theory.cli_training import add_places, report

if TYPE_CHECKING:
    from mixupe_theory.training.replication import Replication  # which needs the extra "train"

NAMES = ("tabular", "graphs", "speech", "images", "images-small")
_EXAMINED = ("images", "images-small")  # their runs are behind the table of robustness
_TABLES = (*NAMES, "robustness")


def add_study(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``study``."""
    parser.set_defaults(run=study)
    parser.add_argument(
        "name",
        choices=NAMES,
        help="the table: tabular (4), graphs (6), speech (5), images (for a GPU), images-small (for a CPU)",
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only these data sets or networks, as in iris vgg11")
    parser.add_argument(
        "--list", action="store_true", help="print the runs and, of images, how long each should take; train nothing"
    )
    parser.add_argument(
        "--minutes",
        type=float,
        metavar="M",
        help="begin a run only if it should end within M minutes from now (images)",
    )
    add_places(parser.add_argument_group("where"))


def add_tables(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``tables``."""
    parser.set_defaults(run=tables)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(_TABLES)} (default: all)")
    parser.add_argument("--records", type=Path, metavar="FOLDER", help="of NAME.jsonl (default: the committed ones)")


def study(arguments: argparse.Namespace) -> int:
    """Run ``mixupe-theory study``."""
    from mixupe_theory.training import records
    from mixupe_theory.training.budget import Budget
    from mixupe_theory.training.execution import chosen_device
    from mixupe_theory.training.replication_text import as_text
    from mixupe_theory.training.studies import STUDIES, at_hand, conduct, replication
    from mixupe_theory.training.sweeps import RECORDS, sweep

    chosen = STUDIES[arguments.name]
    runs, budget = chosen.runs, None
    fast = chosen.fast and chosen_device(arguments.device).type == "cuda"
    if arguments.minutes is not None:
        if chosen.cost is None:
            able = ", ".join(name for name, other in STUDIES.items() if other.cost)
            raise ValueError(f"minutes must be left out for {arguments.name}; allowed for {able}")
        budget = Budget(arguments.minutes, chosen.cost)
    if arguments.only:
        known = {name for run in runs for name in (run.data, run.model)}
        if unknown := set(arguments.only) - known:
            raise ValueError(f"only must name some of {', '.join(sorted(known))}, got {', '.join(sorted(unknown))}")
        runs = [run for run in runs if {run.data, run.model} & set(arguments.only)]
    if arguments.list:
        for run in runs:
            about = f"  about {chosen.cost(run) / 60:.1f} minutes" if chosen.cost else ""
            print(f"{run.id}  {run}{about}")
        return 0
    recorded = arguments.records or arguments.out / RECORDS
    runs, missing = at_hand(runs, {entry["run"]["data"] for entry in records.read(recorded)})
    for message in missing:
        print(f"mixupe-theory: left out: {message}", file=sys.stderr)

    def go(runs, *, brief=False):
        return sweep(
            runs,
            arguments.out,
            workers=arguments.workers,
            recorded=recorded,
            together=chosen.together,
            brief=brief,
            budget=budget,
            fast=fast,
            device=arguments.device,
            deterministic=arguments.deterministic,
            checkpoint_seconds=arguments.checkpoint_seconds,
        )

    return report(conduct(chosen, runs, go), recorded, lambda entries: as_text(replication(chosen, entries)))


def tables(arguments: argparse.Namespace) -> int:
    """Run ``mixupe-theory tables``."""
    from mixupe_theory import _validation as check
    from mixupe_theory.training import records
    from mixupe_theory.training.replication_text import as_text
    from mixupe_theory.training.robustness import robustness
    from mixupe_theory.training.studies import STUDIES, recorded, replication

    def read(name: str) -> list[dict]:
        return records.read(arguments.records / f"{name}.jsonl") if arguments.records else recorded(STUDIES[name])

    def tables_of(name: str) -> Iterator[Replication]:
        if name in STUDIES:
            found = read(name)
            yield from (replication(STUDIES[name], found, selection) for selection in STUDIES[name].selections)
            return
        for study in map(STUDIES.get, _EXAMINED):
            found = read(study.table.id)
            for title, cells in replication(study, found).ours.items():
                if cells:
                    yield robustness(found, study.rows[title].data, study.rows[title].model)

    for name in arguments.names or _TABLES:
        for table in tables_of(check.choice("name", name, _TABLES)):
            print(as_text(table), end="\n\n")
    return 0

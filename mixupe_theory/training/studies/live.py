"""A few runs of a study, trained on the spot."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from mixupe_theory.training.runs import Run
from mixupe_theory.training.studies.study import Study
from mixupe_theory.training.sweeps import sweep
from mixupe_theory.training.tabulation import table


def live(
    study: Study,
    runs: Iterable[Run],
    *,
    epochs: int | None = None,
    show: Callable[[list[dict]], str] = table,
) -> str:
    """Train some of a study's runs, keep nothing, and return what is to be shown of them, or why there is nothing.

    Small networks, which are trained together, in float64, so that machines differ as little as possible.

    Args:
        study: The study.
        runs: Of its runs.
        epochs: The schedule is shortened to so many, if given.
        show: Makes text of their records; by default their table of errors.
    """
    changed = [
        replace(
            run,
            precision="float64" if study.together else run.precision,
            recipe=run.recipe if epochs is None else run.recipe.scaled(epochs),
        )
        for run in runs
    ]
    with TemporaryDirectory() as folder:
        outcome = sweep(changed, Path(folder), together=study.together, device="cpu")
    return outcome.failures[0] if outcome.failures else show(outcome.records)

"""``mixupe-theory bench stacks``: runs of small networks trained together against the same runs trained one by one.

The runs are those of the studies of Tables 4 and 6, on their data. Nothing is timed before both ways were compared, in
float64: the losses of their first steps, and then those of all networks on clean data. What
:mod:`mixupe_theory.training.memory` gains is measured between two new processes, since one cannot take it back.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import cache

import torch
from tqdm import tqdm

from mixupe_theory import _validation as check
from mixupe_theory.bench_stacks_report import table
from mixupe_theory.bench_timing import alternating, limited_to
from mixupe_theory.environment import environment
from mixupe_theory.training import data, evaluation
from mixupe_theory.training.execution import settings
from mixupe_theory.training.memory import keep_freed_memory
from mixupe_theory.training.runs import Run
from mixupe_theory.training.stacks import evaluation as stacked_evaluation
from mixupe_theory.training.stacks.trainer import StackTrainer
from mixupe_theory.training.streams import own_torch
from mixupe_theory.training.studies import STUDIES
from mixupe_theory.training.trainer import Trainer

__all__ = ["measure", "table"]

CASES = ("cmc", "pendigits", "mnist_784", "mutag", "proteins")
SEEDS = 5
WARM_UP, STEPS = 3, 10  # steps that are compared; steps of every run that one reading of the clock spans
TOLERANCE = 1e-5  # of losses in float64; Adam blows up the rounding of gradients that are 0 to some 1e-6
CPU = torch.device("cpu")


def measure(rounds: int = 7, threads: int = 1, names: Iterable[str] = CASES) -> dict:
    """Time a step and an epoch's evaluation of one run, alone and together, in alternating rounds.

    Args:
        rounds: Alternating rounds of each case.
        threads: Threads of torch.
        names: Data sets whose runs the studies train together. What to do about one that is missing is printed, and
            the others are measured.

    Returns:
        A record: "environment"; "setup"; "rows", one for each data set: number of "runs", "steps" of an epoch, largest
        relative "difference" of losses between the ways, and, for one run in each round, seconds: "step alone", "step
        together", "evaluation alone", "evaluation together" and, where the C library can be told to keep freed memory,
        of a step together in a process of its own where it is "kept" and where it is "returned"; or a "note" why not.

    Raises:
        TypeError, ValueError: On bad arguments, naming them.
        CorruptData: If a data set is not what was published.
    """
    check.integer("rounds", rounds, least=1)
    check.integer("threads", threads, least=1)
    known = dict.fromkeys(run.data for study in STUDIES.values() if study.together for run in study.runs)
    names = [check.choice("names", name, known) for name in names]
    place = environment(threads, "cpu")
    bar = tqdm(total=len(names), desc="bench stacks", unit="case")
    with limited_to(threads), settings(CPU, deterministic=False, fast=False), bar:
        rows = []
        for name in names:
            try:
                row = _case(name, rounds)
            except data.MissingData as error:
                tqdm.write(str(error), file=sys.stderr)
                row = {"data": name, "note": "not measured, its files are missing"}
            if "note" not in row and keep_freed_memory():
                row |= _memory(name, row["runs"], rounds, threads)
            rows.append(row)
            bar.update()
    return {"environment": place, "setup": {"rounds": rounds, "steps": STEPS}, "rows": rows}


def runs_of(name: str) -> list[Run]:
    """A data set's runs in its study, of every method, of five seeds or ten folds, under the first setting tried."""
    chosen: dict[tuple, Run] = {}
    for run in (run for study in STUDIES.values() if study.together for run in study.runs):
        if run.data == name and run.seed < SEEDS and not run.held_out:
            chosen.setdefault((run.title, run.seed, run.fold), run)
    return list(chosen.values())


def loader() -> Callable[[Run], data.Dataset]:
    """A function that loads the data set of each seed and fold once."""
    load = cache(lambda name, seed, fold: data.load(name, seed=seed, fold=fold))
    return lambda run: load(run.data, run.seed, run.fold)


def both_ways(runs: list[Run], load: Callable[[Run], data.Dataset]) -> tuple[StackTrainer, list[Trainer]]:
    """The trainer of the runs together, and the trainers of the same runs alone, in its order."""
    stack = StackTrainer(runs, load, CPU)
    return stack, [Trainer(run, load(run), CPU) for run in stack.runs]


def advance(trainer: Trainer | StackTrainer, steps: int) -> torch.Tensor:
    """Make the next steps, epoch after epoch without evaluation; their losses, (steps, ...)."""
    losses = []
    with own_torch(CPU):
        for _ in range(steps):
            losses.append(trainer.one_step())
            if trainer.step == trainer.steps_per_epoch:
                trainer.epoch, trainer.step = trainer.epoch + 1, 0
    return torch.stack(losses).double()


def evaluate_alone(alone: list[Trainer]) -> torch.Tensor:
    """An epoch's evaluation, one network after the other; the losses on training and test examples, (2, runs)."""
    parts = ([(t, t.training_sample) for t in alone], [(t, t.dataset.test) for t in alone])
    losses = [[evaluation.evaluate(t.model, t.dataset, part, t.run, t.ranks)[0] for t, part in own] for own in parts]
    return torch.tensor(losses, dtype=torch.float64)


def evaluate_together(stack: StackTrainer) -> torch.Tensor:
    """The same of a stack."""
    parts = ([split.sample for split in stack.splits], [split.test for split in stack.splits])
    losses = [stacked_evaluation.evaluate(stack.networks, own, stack.owner, stack.classes)[0] for own in parts]
    return torch.tensor(losses, dtype=torch.float64)


def _case(name: str, rounds: int) -> dict:
    runs, load = runs_of(name), loader()
    row = {"data": name, "model": runs[0].model, "runs": len(runs), "difference": _difference(runs, load)}
    if not row["difference"] <= TOLERANCE:
        return row | {"note": "not timed, the ways disagree"}
    stack, alone = both_ways(runs, load)
    ways = {
        "step alone": lambda: [advance(trainer, STEPS) for trainer in alone],
        "step together": lambda: advance(stack, STEPS),
        "evaluation alone": lambda: evaluate_alone(alone),
        "evaluation together": lambda: evaluate_together(stack),
    }
    for way in ways.values():
        way()
    row["steps"] = stack.steps_per_epoch
    for way, seconds in alternating(ways, rounds).items():
        row[way] = _of_one(seconds, len(runs) * (STEPS if way.startswith("step") else 1))
    return row


def _difference(runs: list[Run], load: Callable[[Run], data.Dataset]) -> float:
    """The largest relative difference in float64 between the ways' losses, of the first steps and on clean data."""
    stack, alone = both_ways([replace(run, precision="float64") for run in runs], load)
    ours = torch.cat([advance(stack, WARM_UP), evaluate_together(stack)])
    theirs = torch.cat([torch.stack([advance(trainer, WARM_UP) for trainer in alone], 1), evaluate_alone(alone)])
    return float(f"{((ours - theirs) / theirs).abs().max().item():.2g}")


def _memory(name: str, runs: int, rounds: int, threads: int) -> dict[str, list[float]]:
    """Seconds of a step together where freed memory is kept and where it is returned, each in its own process."""
    with ExitStack() as stack:
        steps = {}
        for kept, way in ((True, "kept"), (False, "returned")):
            pool = stack.enter_context(ProcessPoolExecutor(1, multiprocessing.get_context("spawn")))
            steps[way] = lambda pool=pool, kept=kept: pool.submit(_step_here, name, threads, kept).result()
            steps[way]()  # sets it up
        return {way: _of_one(seconds, runs * STEPS) for way, seconds in alternating(steps, rounds).items()}


def _step_here(name: str, threads: int, kept: bool) -> None:
    advance(_stack_here(name, threads, kept), STEPS)


@cache
def _stack_here(name: str, threads: int, kept: bool) -> StackTrainer:
    """The runs together; this process gets the settings of one that trains, but for memory where it is not kept."""
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    if kept:
        keep_freed_memory()
    return StackTrainer(runs_of(name), loader(), CPU)


def _of_one(seconds: list[float], number: int) -> list[float]:
    return [float(f"{value / number:.4g}") for value in seconds]

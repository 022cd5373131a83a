"""A stack of runs from beginning to end, in a folder: taken up where it was killed, finished once, recorded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import torch

from mixupe_theory.environment import environment
from mixupe_theory.files import write_atomically
from mixupe_theory.training import checkpoints, data, records
from mixupe_theory.training.execution import (
    CHECKPOINT_SECONDS,
    VERSIONS,
    Keeper,
    chosen_device,
    exclusive,
    settings,
)
from mixupe_theory.training.ranks import Ranks
from mixupe_theory.training.runs import Run
from mixupe_theory.training.stacks.trainer import Member, StackTrainer


def execute_together(
    runs: Sequence[Run],
    folder: Path,
    *,
    device: str = "auto",
    deterministic: bool = False,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    progress: Callable[[StackTrainer], None] = lambda trainer: None,
) -> list[dict | str]:
    """Do runs of one :func:`mixupe_theory.training.stacks.trainer.stack_key` side by side, or what is left of them.

    As :func:`mixupe_theory.training.execution.execute`, but checkpoints are of all of them together, in
    ``folder/stack-<id>``; at the end each run's own folder has its network and its record. A run that diverges does not
    stop the others.

    Returns:
        For each run its record, which says how many there were, or why it failed.

    Raises:
        AlreadyRunning: If another process is at it.
        MissingData, CorruptData, CorruptCheckpoint, OSError, ValueError: Saying what to do.
    """
    own = Path(folder) / f"stack-{stack_id(runs)}"
    place = chosen_device(device)
    with exclusive(own, Ranks()), settings(place, deterministic, fast=False):
        if (own / "records.jsonl").is_file():
            return records.read(own / "records.jsonl")
        begun_in = environment(torch.get_num_threads(), place.type, VERSIONS)
        trainer = StackTrainer(runs, _loader(), place)
        keeper = Keeper(own, checkpoint_seconds, Ranks())
        keeper.take_up(trainer)

        def after_step(trainer: StackTrainer) -> None:
            keeper.after_step(trainer)
            progress(trainer)

        trainer.advance(after_step)
        keeper.save(trainer)
        found: list[dict | str] = []
        for k, member in enumerate(trainer.members()):
            if k in trainer.diverged:
                found.append(f"{member.run}: the loss is not finite in epoch {trainer.diverged[k]}")
            else:
                record = records.record(member, begun_in, keeper.resumed) | {"together": len(runs)}
                _leave(member, record, Path(folder) / member.run.id, trainer.position)
                found.append(record)
        if not trainer.diverged:
            write_atomically(own / "records.jsonl", "".join(map(records.line, found)).encode())
        return found


def stack_id(runs: Sequence[Run]) -> str:
    """Twelve hexadecimal digits that depend on the runs, but not on their order."""
    return hashlib.sha256(" ".join(sorted(run.id for run in runs)).encode()).hexdigest()[:12]


def _leave(member: Member, record: dict, folder: Path, position: int) -> None:
    """Leave in a run's own folder what a run alone would have left: its network and its record."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {
        "run": member.run.as_dict(),
        "shape": list(member.dataset.shape),
        "classes": len(member.dataset.classes),
        "model": member.model.state_dict(),
    }
    checkpoints.save(folder, position, state, keep=1)
    write_atomically(folder / "record.json", records.line(record).encode())


def _loader() -> Callable[[Run], data.Dataset]:
    """Loads each data set of a seed and fold once."""
    load = cache(lambda name, seed, fold: data.load(name, seed=seed, fold=fold))
    return lambda run: load(run.data, run.seed, run.fold)

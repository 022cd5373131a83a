"""Records of finished runs, as JSON lines: one line for each run, everything an analysis needs.

A line holds ``id``; ``run``, the settings; ``split``, how the data was split, and its sizes; ``summary``; ``epochs``,
with the loss and error on clean data of each; ``seconds``, spent in training and evaluation; ``resumed``, how often the
run was taken up again; ``environment``, with the code's version; of images ``examination``, what is measured on the
finished network (:mod:`mixupe_theory.training.examination`). In a file epochs are columns, which take less
room: ``{"epoch": [0, 1], "test_error": [0.3, 0.1], ...}``; here they are a list with an entry for each epoch.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import filelock
import numpy as np

from mixupe_theory.files import write_atomically
from mixupe_theory.training.trainer import Trainer

LAST = 10


class CorruptRecords(ValueError):
    """A file of records holds a line that is no record; the message names file and line."""


def summary(epochs: list[dict]) -> dict:
    """Test loss and error of the last epoch, of the best one, and on average over the last ten.

    "best" is the epoch of the smallest test error, the first of equals; chosen on the test set, it is optimistic.

    Example:
        >>> epochs = [{"epoch": k, "test_loss": 1.0, "test_error": error} for k, error in enumerate((0.3, 0.1, 0.2))]
        >>> {name: round(values["test_error"], 2) for name, values in summary(epochs).items()}
        {'last': 0.2, 'best': 0.1, 'mean_of_last_10': 0.2}
    """
    names = ("test_loss", "test_error")
    best = min(epochs, key=lambda entry: entry["test_error"])
    last = epochs[-LAST:]
    return {
        "last": {name: epochs[-1][name] for name in names},
        "best": {name: best[name] for name in names} | {"epoch": best["epoch"]},
        "mean_of_last_10": {name: float(np.mean([entry[name] for entry in last])) for name in names}
        | {"epochs": len(last)},
    }


def record(trainer: Trainer, environment: dict, resumed: int) -> dict:
    """The record of a finished run, with the environment that it, or the last part of it, was begun in."""
    dataset = trainer.dataset
    return {
        "id": trainer.run.id,
        "run": trainer.run.as_dict(),
        "split": {
            **dataset.split,
            "train": len(dataset.train),
            "test": len(dataset.test),
            "clean_train_loss_on": len(trainer.training_sample),
        },
        "parameters": sum(p.numel() for p in trainer.model.parameters()),
        "summary": summary(trainer.history),
        "epochs": trainer.history,
        "seconds": round(sum(entry["seconds"] for entry in trainer.history), 3),
        "resumed": resumed,
        "processes": trainer.ranks.size,
        "fast": trainer.fast,
        "environment": environment,
    }


def line(entry: dict) -> str:
    r"""A record as a line of a file.

    Example:
        >>> line({"id": "a", "epochs": [{"epoch": 0, "test_error": 0.5}, {"epoch": 1, "test_error": 0.25}]})
        '{"id": "a", "epochs": {"epoch": [0, 1], "test_error": [0.5, 0.25]}}\n'
    """
    epochs = entry["epochs"]
    columns = {name: [epoch[name] for epoch in epochs] for name in (epochs[0] if epochs else ())}
    return json.dumps({**entry, "epochs": columns}, allow_nan=False) + "\n"


def read(path: Path) -> list[dict]:
    """The records of a file, in its order; none where there is no file.

    Raises:
        CorruptRecords: If a line is not a record.
    """
    if not path.is_file():
        return []
    records = []
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            entry = json.loads(text)
            entry["id"], entry["summary"]
            columns = entry["epochs"]
            entry["epochs"] = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        except (ValueError, KeyError, TypeError, AttributeError):
            raise CorruptRecords(f"{path}: line {number} is not a record; delete it and its run is repeated") from None
        records.append(entry)
    return records


def add(path: Path, new: Iterable[dict]) -> None:
    """Add those records whose id is not there yet; the file is replaced as a whole, so no line is ever half-written.

    Several processes may do so at once.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(path.with_name(f".{path.name}.lock")):
        there = read(path)
        ids = {entry["id"] for entry in there}
        added = [entry for entry in new if entry["id"] not in ids]
        if added:
            text = "".join(map(line, there + added))
            write_atomically(path, text.encode())

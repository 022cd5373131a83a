"""The deck's robustness table trained again: accuracy on deformed images, from the records of runs on images."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from mixupe_theory.tables_data import TABLES
from mixupe_theory.training.outcomes import measured
from mixupe_theory.training.replication import Replication, Row, compare

BASELINES = ("mixup", "manifold mixup")  # the deck's


def robustness(records: Iterable[dict], data: str, model: str) -> Replication:
    """Our accuracies beside the deck's, row by row, after the last epoch.

    Args:
        records: With examinations (:mod:`mixupe_theory.training.examination`); those of other data and networks are
            left out.
        data: Name of the data set.
        model: Of the network.

    Raises:
        ValueError: If there are no such records, one has no examination, or as
            :func:`mixupe_theory.training.outcomes.measured` does.
    """
    own = [entry for entry in records if (entry["run"]["data"], entry["run"]["model"]) == (data, model)]
    if not own or not all("examination" in entry for entry in own):
        raise ValueError(f"records must have examined runs of {model} on {data}, got {len(own)} runs of it")
    deck = TABLES["robustness"]
    rows = {name: Row(data, model) for name in deck.rows}
    samples = {name: measured(own, lambda entry, name=name: _accuracy(entry, name))[data, model] for name in rows}
    return compare(replace(deck, title=f"{deck.title}; ours: {model} on {data}"), rows, samples, "last", BASELINES)


def _accuracy(entry: dict, name: str) -> float:
    """In percent."""
    return 100 * (1 - entry["examination"]["deformations"][name])
